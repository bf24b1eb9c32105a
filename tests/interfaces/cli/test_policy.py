"""The policy file from the command line: proposed, approved, explained, tested, compared."""

from pathlib import Path

import pytest

from .conftest import Line

FILE = """\
version: 1
rules:
  - {id: no-cli-env, scope: {agent: "cli-*"}, deny: {paths: ["**/.env"]}}
"""
HOLDS = """\
- {action: files.write, agent: cli-x, paths: [a/.env], expect: deny, rule: no-cli-env}
- {action: files.write, agent: cli-x, paths: [a/env], expect: allow}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "builderos.policy.yaml"
    path.write_text(FILE)
    return str(path)


def test_a_policy_is_tried_proposed_and_put_into_force(person: Line, file: str, tmp_path: Path) -> None:
    cases = tmp_path / "cases.yaml"
    cases.write_text(HOLDS)
    person.ok("policy", "test", str(cases), "--file", file)
    assert "deny" in person.ok("policy", "simulate", str(cases), "--file", file)
    assert "possible acts" in person.ok("policy", "diff", file)
    assert "+version: 1" in person.ok("policy", "propose", file, "-m", "Try", "--dry-run")
    asked = ("policy", "explain", "files.write", "--agent", "cli-x", "--path", "a/.env")
    assert person.json(*asked)["verdict"] == "allow"
    assert person.json(*asked, "--file", file)["rules"] == ["no-cli-env"]
    proposed = person("policy", "propose", file, "-m", "Keep out", "--json")
    assert proposed.code == 4
    person.ok("approve", proposed.json["approval_id"])
    assert person.json(*asked)["rules"] == ["no-cli-env"]
    assert FILE in person.ok("policy", "show")


def test_a_failing_case_ends_with_one_and_a_faulty_file_names_its_line(
    person: Line, file: str, tmp_path: Path
) -> None:
    cases, broken = tmp_path / "cases.yaml", tmp_path / "broken.yaml"
    cases.write_text(HOLDS.replace("expect: allow", "expect: deny"))
    assert person("policy", "test", str(cases), "--file", file).code == 1
    broken.write_text("version: 1\nrules:\n  - {id: a, deny: {path: [x]}}\n")
    said = person("policy", "propose", str(broken), "-m", "No")
    assert said.code not in (0, 4)
    assert "builderos.policy.yaml:3" in said.err
    cases.write_text("just text")
    assert person("policy", "test", str(cases)).code not in (0, 1, 4)
    cases.write_text("- {action: files.write}\n")
    assert person("policy", "test", str(cases)).code == 2


def test_hosts_and_secrets_are_asked_about_by_name(person: Line, tmp_path: Path) -> None:
    path = tmp_path / "out.yaml"
    path.write_text("version: 1\nrules: [{id: out, allow: {network: [api.example.com], secrets: [CI]}}]\n")
    reach = ("policy", "explain", "network.reach", "--host")
    assert person.json(*reach, "api.example.com", "--file", str(path))["verdict"] == "allow"
    assert person.json(*reach, "127.0.0.1", "--file", str(path))["rules"] == ["no_matching_allow"]
    use = ("policy", "explain", "secret.use", "--environment", "dev", "--secret")
    assert person.json(*use, "CI", "--file", str(path))["verdict"] == "allow"
    assert person.json(*use, "DEPLOY", "--file", str(path))["rules"] == ["no_matching_allow"]
    assert person("policy", "explain", "secret.use").code not in (0, 3, 4)
