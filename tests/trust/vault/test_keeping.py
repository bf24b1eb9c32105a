"""A secret goes in, is released where the policy says so, and comes out of no door, nor out of the database."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from builderos.core.actor import system_actor
from builderos.core.ids import new_id
from builderos.core.keys import ServerKeys
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, as_system, perform
from builderos.trust.policy.schema import Resource
from builderos.trust.policy.service import Refused, org_resource
from builderos.trust.secrets.service import Keyring
from builderos.trust.vault import service as vault
from tests.support.databases import SECRET as SERVER_SECRET
from tests.support.lab import Lab
from tests.support.world import Json

POLICY = """\
version: 1
rules:
  - {id: mail, scope: {agent: builderos}, allow: {secrets: [SMTP_*, MAIL]}}
  - {id: never, deny: {secrets: [SMTP_ROOT]}}
"""


@pytest.fixture(scope="module", autouse=True)
def rules(lab: Lab) -> None:
    proposed = lab.ok(lab.as_owner("PUT", "/v1/policies", json={"content": POLICY, "reason": "Mail"}))
    lab.ok(lab.as_owner("POST", f"/v1/approvals/{proposed['approval_id']}", json={"decision": "approve"}))


@pytest.fixture
def name(lab: Lab) -> Iterator[str]:
    yield f"SMTP_{os.urandom(4).hex()}"
    for item in secrets_of(lab):
        lab.ok(lab.as_owner("DELETE", f"/v1/secrets/{item['id']}"))


def put(lab: Lab, name: str, value: str, **more: Any) -> Json:
    return lab.ok(lab.as_owner("POST", "/v1/secrets", json={"key_name": name, "value": value, **more}), 201)


def secrets_of(lab: Lab) -> list[Json]:
    return lab.ok(lab.as_owner("GET", "/v1/secrets"))["items"]


def as_server(lab: Lab, verb: Callable[[Unit], Any]) -> Any:
    return as_system(lab.world.context, lab.world.org_id, verb)


def release(lab: Lab, *names: str, **where: Any) -> dict[str, str]:
    def verb(unit: Unit) -> dict[str, str]:
        place = Resource("repo", where["repo_id"], unit.org_id, **where) if where else org_resource(unit)
        return vault.release(unit, names, "a test", place)

    return as_server(lab, verb)


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(Problem) as caught:
        act()
    return caught.value.code


def test_a_value_is_released_by_policy_and_shown_by_no_door(lab: Lab, name: str) -> None:
    value = "correct-horse-" + os.urandom(8).hex()
    made = put(lab, name, value, description="Mail out")
    assert (made["version"], made["state"], made["last_used_at"]) == (1, "active", None)
    assert release(lab, name) == {name: value}
    (item,) = secrets_of(lab)
    assert item["last_used_at"] is not None
    lines = lab.events(object=made["id"])
    assert [line["type"] for line in lines] == ["secret.released", "secret.changed"]
    assert lines[0]["payload"] | {"purpose": "a test", "version": 1, "name": name} == lines[0]["payload"]
    tables = ("secrets", "secret_versions", "vault_keys", "org_keys", "ledger", "idempotency")
    rows = [row for table in tables for row in lab.sql(f"select * from ops.{table}")]
    assert value not in str(made) + str(item) + str(lines) + str(rows)
    assert all(value.encode() not in column for row in rows for column in row if isinstance(column, bytes))


def test_a_new_version_replaces_the_old_one_and_destroys_the_one_before(lab: Lab, name: str) -> None:
    prints = [put(lab, name, f"value number {number}")["fingerprint"] for number in range(3)]
    assert len(set(prints)) == 3
    assert release(lab, name) == {name: "value number 2"}
    kept = lab.sql(
        "select v.version, v.sealed is null from ops.secret_versions v join ops.secrets s on s.id = v.secret_id "
        "where s.name = %s order by 1",
        name,
    )
    assert kept == [(1, True), (2, False), (3, False)]
    assert put(lab, name, "value number 2")["fingerprint"] not in prints


def test_a_stale_expected_version_changes_nothing(lab: Lab, name: str) -> None:
    body = {"key_name": name, "value": "one", "expected_version": 0}
    lab.ok(lab.as_owner("POST", "/v1/secrets", json=body), 201)
    lab.problem(lab.as_owner("POST", "/v1/secrets", json=body | {"value": "two"}), "conflict")
    assert release(lab, name) == {name: "one"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"value": ""}, "validation_failed"),
        ({"value": "a\0b"}, "validation_failed"),
        ({"value": "x" * 65_537}, "payload_too_large"),
        ({"value": "ü" * 40_000}, "payload_too_large"),
        ({"key_name": "no spaces"}, "validation_failed"),
        ({"key_name": "../etc"}, "validation_failed"),
        ({"key_name": "N" * 101}, "validation_failed"),
        ({"scope": "repository"}, "validation_failed"),
        ({"of": "lab"}, "validation_failed"),
        ({"scope": "planet", "of": "x"}, "validation_failed"),
        ({"expected_version": -1}, "validation_failed"),
    ],
)
def test_bad_input_keeps_nothing_and_is_not_repeated(lab: Lab, name: str, change: Json, code: str) -> None:
    body = {"key_name": name, "value": "hidden-value-1234"} | change
    refused = lab.as_owner("POST", "/v1/secrets", json=body)
    assert "hidden-value" not in str(lab.problem(refused, code))
    assert secrets_of(lab) == []


def test_a_value_of_the_largest_size_with_any_signs_comes_back_as_it_was(lab: Lab, name: str) -> None:
    value = ("-----\n\ttwo\r\n'\"\\ ü 🔑 " * 3000)[: 65_536 // 2]
    assert len(value.encode()) <= 65_536
    put(lab, name, value)
    assert release(lab, name) == {name: value}


def test_nothing_is_released_without_a_rule_that_lists_it(lab: Lab, name: str) -> None:
    put(lab, name, "one")
    put(lab, "OTHER", "two")
    put(lab, "SMTP_ROOT", "three")
    for names in (("OTHER",), (name, "OTHER"), ("SMTP_ROOT",)):
        with pytest.raises(Refused) as caught:
            release(lab, *names)
        assert caught.value.code == "policy_denied"
    assert code_of(lambda: release(lab, name, "SMTP_NONE")) == "not_found"
    (line, *_) = lab.events(object=secrets_of(lab)[0]["id"])
    assert line["type"] == "secret.changed"  # where one is denied none is used


def test_a_disabled_or_deleted_secret_is_released_to_nobody(lab: Lab, name: str) -> None:
    made = put(lab, name, "one")
    path = f"/v1/secrets/{made['id']}"
    lab.ok(lab.as_owner("POST", path, json={"state": "disabled"}))
    assert code_of(lambda: release(lab, name)) == "not_found"
    lab.ok(lab.as_owner("POST", path, json={"state": "active"}))
    assert release(lab, name) == {name: "one"}
    lab.ok(lab.as_owner("DELETE", path))
    assert code_of(lambda: release(lab, name)) == "not_found"
    assert lab.sql(
        "select sealed, wrapped_key from ops.secret_versions where secret_id = %s", made["id"]
    ) == [(None, None)]
    lab.problem(lab.as_owner("DELETE", path), "not_found")
    assert put(lab, name, "again")["version"] == 1


def test_the_narrowest_secret_of_a_name_is_taken(lab: Lab, name: str) -> None:
    ((repo_id,),) = lab.sql(
        "select id from ops.repositories where name = 'lab' and org_id = %s", lab.world.org_id
    )
    put(lab, name, "everywhere")
    put(lab, name, "in the repository", scope="repository", of="lab")
    put(lab, name, "on stage", scope="environment", of="stage")
    assert release(lab, name) == {name: "everywhere"}
    assert release(lab, name, repo_id=repo_id, project="lab") == {name: "in the repository"}
    assert release(lab, name, repo_id=repo_id, project="lab", environment="stage") == {name: "on stage"}
    assert release(lab, name, repo_id=repo_id, project="lab", environment="prod") == {
        name: "in the repository"
    }


# ---------------------------------------------------------------- whoever can write to the database


def versions(lab: Lab, id_: str) -> list[tuple[Any, ...]]:
    wanted = "select version, key_version, wrapped_key, sealed from ops.secret_versions where secret_id = %s order by 1"
    return lab.sql(wanted, id_)


def test_a_sealed_value_opens_for_no_other_secret(lab: Lab, name: str) -> None:
    mine, theirs = put(lab, name, "mine"), put(lab, "MAIL", "theirs")
    ((_, key_version, wrapped, sealed),) = versions(lab, theirs["id"])
    swap = (
        "update ops.secret_versions set key_version = %s, wrapped_key = %s, sealed = %s where secret_id = %s"
    )
    lab.sql(swap, key_version, wrapped, sealed, mine["id"])
    assert code_of(lambda: release(lab, name)) == "unavailable"
    assert release(lab, "MAIL") == {"MAIL": "theirs"}


def test_an_older_version_cannot_be_put_back(lab: Lab, name: str) -> None:
    made = put(lab, name, "leaked")
    put(lab, name, "safe")
    lab.sql("update ops.secrets set version = 1 where id = %s", made["id"])
    assert code_of(lambda: release(lab, name)) == "unavailable"
    (old, new) = versions(lab, made["id"])
    lab.sql("update ops.secrets set version = 2 where id = %s", made["id"])
    put_in = (
        "update ops.secret_versions set wrapped_key = %s, sealed = %s where secret_id = %s and version = 2"
    )
    lab.sql(put_in, old[2], old[3], made["id"])
    assert code_of(lambda: release(lab, name)) == "unavailable"
    lab.sql(put_in, new[2], new[3], made["id"])
    assert release(lab, name) == {name: "safe"}


def test_a_disabled_secret_cannot_be_switched_on_in_the_database(lab: Lab, name: str) -> None:
    made = put(lab, name, "one")
    lab.ok(lab.as_owner("POST", f"/v1/secrets/{made['id']}", json={"state": "disabled"}))
    lab.sql("update ops.secrets set state = 'active' where id = %s", made["id"])
    assert code_of(lambda: release(lab, name)) == "unavailable"


def test_a_renamed_or_moved_secret_does_not_open(lab: Lab, name: str) -> None:
    made = put(lab, name, "one")
    lab.sql("update ops.secrets set name = 'MAIL' where id = %s", made["id"])
    assert code_of(lambda: release(lab, "MAIL")) == "unavailable"
    lab.sql(
        "update ops.secrets set name = %s, scope_kind = 'environment', scope_name = 'prod' where id = %s",
        name,
        made["id"],
    )
    assert code_of(lambda: release(lab, name)) == "not_found"


def test_nothing_of_one_organisation_opens_in_another(lab: Lab, name: str) -> None:
    put(lab, name, "ours")
    other = lab.second_org(f"o{os.urandom(3).hex()}")
    made = lab.ok(
        lab.world.http.post("/v1/secrets", json={"key_name": name, "value": "theirs"}, headers=other.owner),
        201,
    )
    assert secrets_of(lab) != lab.ok(lab.world.http.get("/v1/secrets", headers=other.owner))["items"]
    lab.problem(lab.as_owner("DELETE", f"/v1/secrets/{made['id']}"), "not_found")
    ours = lab.sql(
        "select key_version, wrapped_key, sealed from ops.secret_versions where org_id = %s and sealed is not null",
        lab.world.org_id,
    )[-1]
    swap = (
        "update ops.secret_versions set key_version = %s, wrapped_key = %s, sealed = %s where secret_id = %s"
    )
    lab.sql(swap, *ours, made["id"])
    call = Call(system_actor(other.id), request_id=new_id("req"))

    def opened(unit: Unit) -> object:
        from builderos.trust.vault.known import Known

        return Known().of(unit)

    assert not perform(lab.world.context, call, opened)  # what was swapped in does not open
    assert release(lab, name) == {name: "ours"}


# ---------------------------------------------------------------- keys


def test_a_new_key_of_the_vault_opens_everything_and_the_old_one_is_gone(lab: Lab, name: str) -> None:
    put(lab, name, "one")
    put(lab, name, "two")
    before = lab.sql("select version, wrapped from ops.vault_keys where org_id = %s", lab.world.org_id)
    reply = lab.ok(lab.as_owner("POST", "/v1/vault/rotate-key", json={}))
    assert reply["rewrapped"] >= 2
    after = lab.sql("select version, wrapped from ops.vault_keys where org_id = %s", lab.world.org_id)
    assert [version for version, _ in after] == [reply["key_version"]]
    assert after != before
    assert release(lab, name) == {name: "two"}
    assert put(lab, name, "three")["version"] == 3
    assert release(lab, name) == {name: "three"}


def test_a_rotation_that_fails_half_way_changes_nothing(lab: Lab, name: str) -> None:
    made = put(lab, name, "one")
    put(lab, "MAIL", "two")
    before = lab.sql("select * from ops.vault_keys order by org_id, version")
    ((_, _, wrapped, _),) = versions(lab, made["id"])
    lab.sql("update ops.secret_versions set wrapped_key = %s where secret_id = %s", b"x" * 60, made["id"])
    lab.problem(lab.as_owner("POST", "/v1/vault/rotate-key", json={}), "unavailable")
    assert lab.sql("select * from ops.vault_keys order by org_id, version") == before
    lab.sql("update ops.secret_versions set wrapped_key = %s where secret_id = %s", wrapped, made["id"])
    assert release(lab, name, "MAIL") == {name: "one", "MAIL": "two"}


def test_the_servers_wrapping_key_is_replaced_one_organisation_at_a_time(lab: Lab, name: str) -> None:
    put(lab, name, "one")
    context, keys = lab.world.context, ServerKeys(SERVER_SECRET)
    newer = "n" * 40
    context.put(Keyring, Keyring(keys, [newer]))
    try:
        assert release(lab, name) == {name: "one"}  # the older key still opens it
        assert as_server(lab, vault.rewrap) is True
        assert as_server(lab, vault.rewrap) is False  # what was interrupted goes on where it stopped
        assert release(lab, name) == {name: "one"}
        context.put(Keyring, Keyring(keys))
        assert code_of(lambda: release(lab, name)) == "unavailable"
        context.put(Keyring, Keyring(keys, ["m" * 40, newer]))
        assert as_server(lab, vault.rewrap) is True
        assert release(lab, name) == {name: "one"}
        assert [line["type"] for line in lab.events(type="org.key_rewrapped")] == ["org.key_rewrapped"] * 2
    finally:
        newest = lab.sql("select wrapped from ops.org_keys where org_id = %s", lab.world.org_id)
        assert len(newest) == 1
        back = Keyring(ServerKeys(b"m" * 40), [])
        context.put(Keyring, _returning(lab, back, Keyring(keys)))


def _returning(lab: Lab, old: Keyring, new: Keyring) -> Keyring:
    """Put the organisation's key back under the key that the other tests use."""

    def move(unit: Unit) -> None:
        plain, by = old._open(unit)
        new._newest, name = next(iter(new._wrapping)), by
        wrapped = new._wrapping[new._newest].seal(plain, f"org-key|{unit.org_id}")
        lab.sql(
            "update ops.org_keys set wrapped = %s, wrapped_by = %s where org_id = %s and wrapped_by = %s",
            wrapped, new._newest, unit.org_id, name,
        )  # fmt: skip

    as_system(lab.world.context, lab.world.org_id, move, read_only=True)
    return new


def test_without_the_organisations_key_nothing_opens_any_more(lab: Lab) -> None:
    other = lab.second_org(f"o{os.urandom(3).hex()}")
    body = {"key_name": "GONE", "value": "until the key is"}
    lab.ok(lab.world.http.post("/v1/secrets", json=body, headers=other.owner), 201)
    lab.sql("delete from ops.org_keys where org_id = %s", other.id)
    refused = lab.world.http.post("/v1/secrets", json=body, headers=other.owner)
    assert refused.status_code >= 500
    assert "until the key is" not in refused.text


# ---------------------------------------------------------------- who may


def test_owners_and_admins_keep_secrets_and_nobody_else(lab: Lab, name: str) -> None:
    box = lab.open_sandbox()
    body = {"key_name": name, "value": "hidden-value-1234"}
    for headers in (box.headers, lab.key("read", "write", "promote", "approve")):
        lab.problem(lab.world.http.post("/v1/secrets", json=body, headers=headers), "policy_denied")
        lab.problem(lab.world.http.get("/v1/secrets", headers=headers), "policy_denied")
    lab.ok(lab.world.http.post("/v1/secrets", json=body, headers=lab.key("admin")), 201)
    assert "hidden-value-1234" not in str(lab.events())


def test_a_setting_that_names_a_secret_gets_its_value(lab: Lab, name: str) -> None:
    put(lab, name, "one")
    context, org_id = lab.world.context, lab.world.org_id
    assert vault.resolve(context, org_id, f"secret:{name}", "smtp") == "one"
    assert vault.resolve(context, org_id, "plain", "smtp") == "plain"
    assert code_of(lambda: vault.resolve(context, org_id, "secret:OTHER_NAME", "smtp")) == "policy_denied"


def test_who_may_not_ask_learns_nothing_of_what_there_is(lab: Lab, name: str) -> None:
    made = put(lab, name, "one")
    box, key = lab.open_sandbox(), lab.key("read", "write")
    for headers in (box.headers, key):
        told = [
            lab.world.http.request(method, path, headers=headers, json=body).json() | {"request_id": ""}
            for known in (made["id"], "sec_" + "0" * 26)
            for method, path, body in (("POST", f"/v1/secrets/{known}", {"state": "disabled"}),)
        ]
        assert told[0] == told[1]
        assert told[0]["code"] == "policy_denied"
    assert release(lab, name) == {name: "one"}


def test_every_seal_is_another_one_even_of_the_same_value(lab: Lab, name: str) -> None:
    made = [put(lab, name, "the same value") for _ in range(2)]
    rows = versions(lab, made[0]["id"])
    assert len({row[3] for row in rows}) == len({row[2] for row in rows}) == 2
    assert made[0]["fingerprint"] != made[1]["fingerprint"]
