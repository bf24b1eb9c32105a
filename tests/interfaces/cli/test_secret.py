"""Secrets from the command line: the value comes over stdin, and stands nowhere afterwards."""

import os
import random
import string

from .conftest import Line


def test_a_secret_is_kept_rotated_switched_and_deleted_without_being_shown(person: Line) -> None:
    name, value = f"MAIL_{os.urandom(3).hex()}", "hidden-" + os.urandom(6).hex()
    said = person.ok("secret", "set", name, "--description", "Mail out", stdin=value + "\n")
    said += person.ok("secret", "rotate", name, stdin=value + "-two")
    listed = person.ok("secret", "list")
    assert name in listed
    said += listed + person.ok("secret", "disable", name) + person.ok("secrets", "enable", name)
    said += person.ok("secret", "rotate-key") + person.ok("secret", "list", "--json")
    assert person("secret", "set", name, value).code == 2  # no value on the command line
    assert person("secret", "rotate", "NO_SUCH", stdin="x").code == 2
    assert person("secret", "set", name, "--for", "planet:x", stdin="x").code == 2
    said += person.ok("secret", "delete", name)
    assert name not in person.ok("secret", "list")
    assert value not in said


def test_a_secret_for_a_part_is_another_one(person: Line) -> None:
    name = f"KEY_{os.urandom(3).hex()}"
    person.ok("secret", "set", name, stdin="one")
    person.ok("secret", "set", name, "--for", "environment:prod", stdin="two")
    assert "environment:prod" in person.ok("secret", "list")
    person.ok("secret", "delete", name, "--for", "environment:prod")
    person.ok("secret", "delete", name)


def test_who_answers_for_the_organisation_lets_a_finding_in(builder: Line) -> None:
    secret = "bos_rt_" + "".join(random.choices(string.ascii_letters + string.digits, k=43))
    builder.write("conf.py", f"token = '{secret}'\n")
    refused = builder("commit", "conf.py", "-m", "Add")
    assert refused.code == 3
    assert "conf.py:1: BuilderOS token" in refused.err
    rows = builder.json("secret", "findings", "--open", "--as", "owner")["items"]
    (found,) = [row["fingerprint"] for row in rows if row["fingerprint"] in refused.err]
    assert builder("secret", "allow", found, "--reason", "A sample", "--token", secret).code == 3
    allowed = builder.ok("secret", "allow", found, "--reason", "A sample", "--hours", "1", "--as", "owner")
    assert "try again" in allowed
    builder.ok("commit", "conf.py", "-m", "Add")
    assert "not allowed" in builder.ok(
        "secret", "forbid", found, "--reason", "Once is enough", "--as", "owner"
    )
    assert secret not in refused.err + str(rows) + allowed
