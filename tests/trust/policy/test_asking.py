"""Questions to a policy: explain, simulate, diff. Nothing happens, and the answer is what an act would have got."""

import pytest

from builderos.core.problems import Problem
from builderos.trust.policy.asking import QuestionIn, Rules, answer, read_cases
from builderos.trust.policy.comparing import _possible
from builderos.trust.policy.document import read_document
from builderos.trust.policy.file_policy import FilePolicy
from builderos.trust.policy.service import ACTIONS, Policy
from tests.support.lab import Lab
from tests.support.world import World

SHIPPED = Policy.default()
FILE = """\
version: 1
rules:
  - {id: tests, scope: {agent: "*-tester"}, allow: {tools: [files.*, commit_and_log], paths: ["tests/**"]}}
  - {id: no-env, scope: {project: "*"}, deny: {paths: ["**/.env"]}}
"""
RULES = Rules(SHIPPED, FilePolicy(read_document(FILE)))


def ask(rules: Rules = RULES, **asked: object) -> tuple[str, str, list[str]]:
    found = answer(rules, QuestionIn.model_validate(asked))
    return found.verdict, found.decided_by, found.rules


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_can_be_asked_about(action: str) -> None:
    for role in ("owner", "sandbox", "anonymous"):
        named = {"network.reach": {"host": "api.example.com"}, "secret.use": {"secret": "TOKEN"}}
        assert "error" not in ask(action=action, role=role, **named.get(action, {}))[2]


def test_an_answer_tells_who_decided_and_by_which_rule() -> None:
    assert ask(action="files.write", paths=["a"]) == ("allow", "shipped", ["sandbox-own"])
    assert ask(action="files.write", own=False) == ("deny", "shipped", ["another-sandbox"])
    assert ask(action="files.write", project="lab", paths=["x/.env"]) == ("deny", "file", ["no-env"])
    assert ask(action="files.write", paths=["x/.env"]) == ("allow", "shipped", ["sandbox-own"])
    assert ask(action="git.push", agent="unit-tester")[1:] == ("file", ["no_matching_allow"])
    assert ask(action="pull.merge", role="owner")[0] == "needs_approval"
    assert ask(action="policy.write", role="owner", agent="unit-tester")[0] == "allow"


def test_a_member_is_asked_about_as_signed_in_whole_unless_scopes_are_named() -> None:
    assert ask(action="audit.read", role="admin")[0] == "allow"
    assert ask(action="pull.review", role="reviewer", own=False)[0] == "allow"
    assert ask(action="pull.read", role="viewer", own=False)[0] == "allow"
    assert ask(action="pull.review", role="reviewer", own=False, scopes=["read"])[0] == "deny"
    assert ask(action="git.push_main", role="admin", own=False)[0] == "needs_approval"


def test_what_the_shipped_rules_deny_stays_denied_in_their_words() -> None:
    verdict, by, rules = ask(action="files.write", branch_kind="main", project="lab", paths=["x/.env"])
    assert (verdict, by, rules[0]) == ("deny", "shipped", "protected-branch")


def test_an_answer_names_what_was_in_scope_and_which_level_decided() -> None:
    question = QuestionIn(action="files.write", agent="unit-tester", project="lab", paths=["tests/a"])
    found = answer(RULES, question)
    assert found.in_scope == ["no-env", "tests"]
    assert found.deciding == {"paths": "agent: tests", "tools": "agent: tests"}


def test_an_expectation_holds_or_not() -> None:
    def passed(**expected: str) -> bool | None:
        question = QuestionIn.model_validate(
            {"action": "files.write", "project": "lab", "paths": [".env"]} | expected
        )
        return answer(RULES, question).passed

    assert passed() is None
    assert passed(expect="deny") is True
    assert passed(expect="deny", rule="no-env") is True
    assert passed(rule="other") is False
    assert passed(expect="allow") is False


def test_an_unknown_action_is_no_question() -> None:
    with pytest.raises(Problem) as caught:
        ask(action="files.raed")
    assert caught.value.code == "validation_failed"


@pytest.fixture
def world(lab: Lab) -> World:
    return lab.world


def test_a_new_file_is_held_against_what_was_done_and_what_could_be_done(world: World) -> None:
    box = world.open_sandbox()
    box.commit({"conf/.env": "a\n", "a.txt": "a\n"})
    box.commit({"b.txt": "b\n"})
    found = world.ok(world.as_owner("POST", "/v1/policies/diff", json={"content": FILE}))
    (change,) = found["recorded"]
    assert (change["action"], change["branch"], change["project"]) == ("files.write", box.branch, "lab")
    assert (change["before"], change["after"]) == ("allow", "deny (no-env)")
    assert found["complete"]
    assert found["changed_cells"] > 0
    assert {c["after"] for c in found["possible"]} >= {"deny (no-env)", "deny (no_matching_allow)"}
    same = world.ok(world.as_owner("POST", "/v1/policies/diff", json={"content": "version: 1\n"}))
    assert (same["changed_lines"], same["changed_cells"]) == (0, 0)


def test_questions_go_through_the_public_door_and_change_nothing(world: World) -> None:
    questions = [
        {"action": "files.write", "project": "lab", "paths": [".env"], "expect": "deny", "rule": "no-env"},
        {"action": "files.write", "paths": ["a"], "expect": "deny"},
    ]
    body = {"questions": questions, "content": FILE}
    found = world.ok(world.as_owner("POST", "/v1/policies/simulate", json=body))
    assert [a["passed"] for a in found["answers"]] == [True, False]
    assert (found["allowed"], found["denied"], found["failed"]) == (1, 1, 1)
    asked = {"action": "files.write", "project": "lab", "paths": [".env"]}
    assert world.ok(world.as_owner("POST", "/v1/policies/explain", json=asked))["verdict"] == "allow"
    assert world.ok(world.as_owner("GET", "/v1/policies"))["version"] == 0
    box = world.open_sandbox()
    refused = world.http.post("/v1/policies/explain", json=asked, headers=box.headers)
    world.problem(refused, "policy_denied")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: b",
        "- 1",
        "- {action: files.write, expect: maybe}",
        "- {act: x}",
        "[",
        "[]",
        "- &a {action: x}",
    ],
)
def test_odd_cases_are_refused_with_their_place(text: str) -> None:
    with pytest.raises(Problem) as caught:
        read_cases(text)
    assert caught.value.code == "validation_failed"
    assert "case" in caught.value.detail


def test_cases_are_questions() -> None:
    (found,) = read_cases("- {action: git.push, paths: [a], expect: deny}")
    assert found == QuestionIn(action="git.push", paths=["a"], expect="deny")


def test_hosts_and_secrets_are_denied_until_a_rule_lists_them_and_the_answer_says_so() -> None:
    lists = "version: 1\nrules: [{id: out, allow: {network: [api.example.com], secrets: [CI]}}]\n"
    listed = Rules(SHIPPED, FilePolicy(read_document(lists)))
    reach = {"action": "network.reach", "host": "api.example.com"}
    use = {"action": "secret.use", "secret": "CI"}
    for asked in (reach, use):
        for role in ("sandbox", "system"):
            assert ask(listed, **asked, role=role)[0] == "allow"
            for rules in (RULES, Rules(SHIPPED, None)):
                assert ask(rules, **asked, role=role) == ("deny", "file", ["no_matching_allow"])
    assert ask(listed, action="network.reach", host="127.0.0.1")[2] == ["no_matching_allow"]
    found = answer(listed, QuestionIn.model_validate(reach))
    assert found.deciding == {"network": "org: out", "secrets": "org: out"}
    for name in ("network.reach", "secret.use"):
        with pytest.raises(Problem):
            ask(action=name)


def test_a_new_file_is_held_against_hosts_and_secrets_too() -> None:
    lists = "version: 1\nrules: [{id: out, allow: {network: [api.example.com], secrets: [CI]}}]\n"
    found, _, whole = _possible(FilePolicy(read_document("version: 1\n")), FilePolicy(read_document(lists)))
    changed = {(c.action, c.host or c.secret, c.after) for c in found}
    assert changed == {("network.reach", "api.example.com", "allow"), ("secret.use", "CI", "allow")}
    assert whole
