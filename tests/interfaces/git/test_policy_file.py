"""Path rules of a policy file hold for raw pushes as they do for every other way into a branch."""

import pytest

from tests.support.world import World

from .conftest import Live

RULES = """\
version: 1
rules:
  - {id: no-env, deny: {paths: ["**/.env"]}}
  - {id: frozen, scope: {branch: "release/*"}, deny: {tools: ["*"]}}
"""


def in_force(world: World, content: str) -> None:
    body = {"content": content, "reason": "Because."}
    waiting = world.ok(world.as_owner("PUT", "/v1/policies", json=body), 202)
    verdict = {"decision": "approve"}
    world.ok(world.as_owner("POST", f"/v1/approvals/{waiting['approval_id']}", json=verdict))


def test_a_pushed_commit_on_a_denied_path_is_refused_and_the_branch_stays(alone: Live) -> None:
    desk, before = alone.clone(), alone.tip()
    in_force(alone.world, RULES)
    desk.commit({"conf/.env": "KEY=1\n"})
    pushed = desk.push()
    assert not pushed.ok
    assert "policy_denied" in pushed.err
    assert "no-env" in pushed.err
    assert alone.tip() == before


def test_a_denied_path_that_only_a_commit_in_between_had_is_refused(alone: Live) -> None:
    desk = alone.clone()
    in_force(alone.world, RULES)
    desk.commit({".env": "KEY=1\n"})
    desk.commit({".env": None, "a.txt": "a\n"})
    pushed = desk.push()
    assert not pushed.ok
    assert "no-env" in pushed.err


def test_other_paths_are_pushed_as_before(alone: Live) -> None:
    desk = alone.clone()
    in_force(alone.world, RULES)
    sha = desk.commit({"src/env.py": "x = 1\n"})
    assert desk.push().ok
    assert alone.tip() == sha


def test_a_merge_of_main_brings_what_main_has_whatever_the_rules_say(alone: Live) -> None:
    alone.grow_main({"conf/.env": "public = 1\n"})
    desk = alone.clone()
    in_force(alone.world, RULES)
    desk.commit({"b.txt": "b\n"})
    desk.must("merge", "-q", "--no-edit", "origin/main")
    pushed = desk.push()
    assert pushed.ok, pushed.err


BRANCHES = {
    "denied by name": ("{id: shut, deny: {branches: ['%s*']}}", "shut"),
    "denied by scope": ("{id: shut, scope: {branch: '%s*'}, deny: {tools: [git.push, files.write]}}", "shut"),
    "not among the allowed": ("{id: some, scope: {branch: '%s*'}, allow: {branches: [main]}}", "no_matching_allow"),
    "of a shut project": ("{id: shut, scope: {project: l*, branch: '%s*'}, deny: {tools: ['*']}}", "shut"),
}  # fmt: skip


@pytest.mark.parametrize("case", BRANCHES)
def test_a_branch_pattern_stops_raw_pushes_and_the_api_alike_and_lets_other_branches_be(
    alone: Live, case: str
) -> None:
    rule, deciding = BRANCHES[case]
    shut, other = alone.sandbox, alone.world.open_sandbox()
    closed, open_ = alone.clone(), alone.clone("other", sandbox=other)
    before = alone.tip()
    in_force(alone.world, "version: 1\nrules:\n  - " + rule % shut.branch[:-1] + "\n")
    closed.commit({"a.txt": "a\n"})
    pushed = closed.push()
    assert not pushed.ok
    assert "policy_denied" in pushed.err
    assert rule[5:9] in pushed.err
    change = {"message": "m", "file_path": "b.txt", "content": "b"}
    by_api = alone.world.problem(shut.try_post("/commit_and_log_output", **change), "policy_denied")
    assert by_api["policy_rule"] == deciding
    assert alone.rows("select tip from ops.branches where name = %s", shut.branch) == [(before,)]
    sha = open_.commit({"a.txt": "a\n"})
    assert open_.push().ok
    assert alone.tip(other) == sha
    other.post("/commit_and_log_output", **change)
