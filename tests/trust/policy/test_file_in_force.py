"""A policy file from its proposal to the refusals it causes, through the public doors."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from builderos.core.clock import utcnow
from builderos.core.problems import Problem
from tests.support.world import Json, Sandbox, World, world_in_temp

NO_ENV = """\
version: 1
rules:
  - {id: no-env, scope: {project: "*"}, deny: {paths: ["**/.env", "secrets/**"]}}
"""


@pytest.fixture
def world(database: object) -> Iterator[World]:
    """A server of this test alone: a policy holds for a whole organisation."""
    with world_in_temp(database) as made:  # type: ignore[arg-type]
        yield made


def propose(world: World, content: str, **more: object) -> dict[str, object]:
    body = {"content": content, "reason": "Because.", **more}
    return world.ok(world.as_owner("PUT", "/v1/policies", json=body), 202)


def decide(world: World, approval_id: object, decision: str = "approve") -> object:
    body = {"decision": decision, "comment": "Read it."}
    return world.as_owner("POST", f"/v1/approvals/{approval_id}", json=body)


def in_force(world: World, content: str) -> None:
    world.ok(decide(world, propose(world, content)["approval_id"]))


def refused(world: World, response: object, rule: str) -> None:
    assert world.problem(response, "policy_denied")["policy_rule"] == rule


def commit(box: Sandbox, path: str, content: str | None = "x\n") -> object:
    files = [{"path": path, "delete": True} if content is None else {"path": path, "content": content}]
    return box.try_post("/commit_and_log_output", files=files, message="Change")


def test_a_rule_comes_into_force_by_an_approval_and_refuses_a_commit(world: World) -> None:
    box = world.open_sandbox()
    box.commit({"a.txt": "a\n"})
    waiting = propose(world, NO_ENV)
    assert commit(box, "conf/.env").status_code == 200  # type: ignore[attr-defined]
    world.ok(decide(world, waiting["approval_id"]))
    refused(world, commit(box, "conf/.env", "y\n"), "no-env")
    refused(world, commit(box, "conf/.ENV"), "no-env")
    refused(world, commit(box, "conf/.env", None), "no-env")
    refused(world, commit(box, "secrets/deep/key"), "no-env")
    box.commit({"src/env.py": "fine\n"})
    shown = world.ok(world.as_owner("GET", "/v1/policies"))
    assert (shown["version"], shown["content"], shown["digest"]) == (1, NO_ENV, waiting["digest"])
    line = world.ok(world.as_owner("GET", "/v1/audit", params={"type": "refused", "limit": 1}))["items"][0]
    assert line["rules"] == ["no-env"]


def refuse_lines(world: World) -> list[Json]:
    return world.ok(world.as_owner("GET", "/v1/audit", params={"type": "refused", "limit": 50}))["items"]


def test_an_undo_of_a_denied_path_is_refused_and_of_another_one_is_not(world: World) -> None:
    box = world.open_sandbox()
    box.commit({"conf/.env": "a\n"})
    made = box.commit({"conf/.env": "b\n", "a.txt": "a\n"})["commit_sha"]
    other = box.commit({"b.txt": "b\n"})["commit_sha"]
    in_force(world, NO_ENV)
    refused(world, box.try_post("/git/rollback_commit", commit_sha=made, reason="No."), "no-env")
    box.post("/git/rollback_commit", commit_sha=other, reason="No.")


def test_a_file_cannot_take_the_place_of_a_denied_folder(world: World) -> None:
    box = world.open_sandbox()
    box.commit({"secrets/key": "k\n"})
    in_force(world, NO_ENV)
    response = commit(box, "secrets")
    assert response.status_code == 400, response.text  # type: ignore[attr-defined]


def test_tasks_and_plans_obey_the_rules_for_their_files(world: World) -> None:
    box = world.open_sandbox()
    box.commit({"a.txt": "a\n"})
    in_force(world, "version: 1\nrules: [{id: no-plans, deny: {paths: ['project/**']}}]\n")
    response = box.try_post("/tasks/lifecycle", action="create", task_id="1_one", title="One")
    refused(world, response, "no-plans")
    box.commit({"b.txt": "the logs that the server keeps are no act of the user\n"})


def test_a_change_of_a_denied_path_is_not_promoted_and_not_merged(world: World) -> None:
    early, late = world.open_sandbox(), world.open_sandbox()
    for box in (early, late):
        box.commit({f"{box.branch}/.env": "k\n"})
    opened = world.ok(early.try_post("/git/promote", title="Early"), 202)
    in_force(world, NO_ENV)
    refused(world, late.try_post("/git/promote", title="Late"), "no-env")
    refused(world, decide(world, opened["approval_id"]), "no-env")
    assert world.ok(world.as_owner("GET", f"/v1/pulls/{opened['promotion_id']}"))["state"] == "open"


def test_main_comes_into_a_branch_whatever_the_rules_say_of_its_paths(world: World) -> None:
    box, stale = world.open_sandbox(), world.open_sandbox()
    stale.commit({"mine.txt": "m\n"})
    box.commit({"conf/.env": "k\n"})
    world.ok(decide(world, world.ok(box.try_post("/git/promote", title="First"), 202)["approval_id"]))
    in_force(world, NO_ENV)
    ids = {s["branch"]: s["id"] for s in world.ok(world.as_owner("GET", "/v1/sandboxes"))["items"]}
    headers = stale.headers
    world.ok(world.http.post(f"/v1/sandboxes/{ids[stale.branch]}/update", json={}, headers=headers))
    reset = {"to": "main", "reason": "Start over."}
    world.ok(world.http.post(f"/v1/sandboxes/{ids[stale.branch]}/reset", json=reset, headers=headers))
    refused(world, commit(stale, "conf/.env", "mine\n"), "no-env")


def test_rules_for_tools_hold_for_every_door_and_leave_a_line(world: World) -> None:
    box = world.open_sandbox()
    box.commit({"a.txt": "a\n"})
    in_force(
        world,
        "version: 1\nrules: [{id: calm, scope: {agent: 'sandbox-*'}, deny: {tools: [rollback, git.log]}}]\n",
    )
    refused(world, box.try_post("/git/log"), "calm")
    box.commit({"b.txt": "b\n"})
    (line,) = refuse_lines(world)
    assert (line["rules"], line["payload"]["branch"], line["payload"]["action"]) == (
        ["calm"],
        box.branch,
        "git.log",
    )
    assert (
        world.as_owner("POST", "/git/log", json={"repo_name": "lab", "branch": box.branch}).status_code == 200
    )


def test_a_file_can_lower_what_a_sandbox_may_hold(world: World) -> None:
    box = world.open_sandbox()
    in_force(world, "version: 1\nlimits: {sandbox: {commits: 2, files: 2}}\n")
    box.commit({"a.txt": "a\n"})
    assert (
        world.problem(
            box.try_post(
                "/commit_and_log_output",
                files=[{"path": f"{n}.txt", "content": "x"} for n in range(3)],
                message="Three",
            ),
            "quota_exceeded",
        )["limit"]
        == 2
    )
    box.commit({"b.txt": "b\n"})
    assert world.problem(commit(box, "b.txt", "c\n"), "quota_exceeded")["limit"] == 2


def test_a_file_can_shorten_the_life_of_an_unused_sandbox_and_never_lengthen_it(world: World) -> None:
    def days() -> float:
        opened = world.ok(world.http.post("/sandbox/init", json={"repo_name": "lab"}))
        return (datetime.fromisoformat(opened["expires_at"]) - utcnow()) / timedelta(days=1)

    in_force(world, "version: 1\nlimits: {sandbox: {days: 3}}\n")
    assert 2.9 < days() <= 3
    in_force(world, "version: 1\nlimits: {sandbox: {days: 4000}}\n")
    assert 89.9 < days() <= 90


def test_a_file_can_lower_the_rates_but_not_for_those_who_can_replace_it(world: World) -> None:
    box, other = world.open_sandbox(), world.open_sandbox()
    in_force(world, "version: 1\nlimits: {rate: {per_token: 3/min, per_org: 100000/min}}\n")
    world.ok(world.as_owner("GET", "/v1/policies"))
    for _ in range(3):
        box.post("/git/log")
    problem = world.problem(box.try_post("/git/log"), "rate_limited")
    assert (problem["limit"], problem["name"]) == (3, "per_token")
    assert 0 < problem["retry_after_s"] <= 60
    other.post("/git/log")
    for _ in range(5):
        world.ok(world.as_owner("GET", "/v1/policies"))
    in_force(world, "version: 1\nlimits: {rate: {per_org: 1/min}}\n")
    world.ok(world.as_owner("GET", "/v1/policies"))
    assert world.problem(other.try_post("/git/log"), "rate_limited")["name"] == "per_org"
    in_force(world, "version: 1\n")
    world.ok(world.as_owner("GET", "/v1/policies"))
    box.post("/git/log")


class TestProposing:
    def test_a_denied_proposal_and_one_that_was_changed_leave_everything_as_it_is(self, world: World) -> None:
        first = propose(world, NO_ENV)
        assert propose(world, NO_ENV)["approval_id"] == first["approval_id"]
        second = propose(world, NO_ENV.replace("no-env", "other"))
        world.problem(decide(world, first["approval_id"]), "illegal_transition")
        world.ok(decide(world, second["approval_id"], "deny"))
        assert world.ok(world.as_owner("GET", "/v1/policies"))["version"] == 0

    def test_a_file_that_is_in_force_is_not_proposed_again(self, world: World) -> None:
        in_force(world, NO_ENV)
        again = {"content": NO_ENV, "reason": "Again."}
        world.problem(world.as_owner("PUT", "/v1/policies", json=again), "conflict")

    def test_a_trial_checks_and_shows_the_change_and_proposes_nothing(self, world: World) -> None:
        body = {"content": NO_ENV, "reason": "Try.", "dry_run": True}
        reply = world.ok(world.as_owner("PUT", "/v1/policies", json=body), 200)
        assert reply["approval_id"] is None
        assert "+  - {id: no-env" in reply["diff"]
        assert world.ok(world.as_owner("GET", "/v1/approvals"))["items"] == []

    def test_a_mistake_is_refused_with_its_line_and_an_id_of_the_shipped_rules_too(
        self, world: World
    ) -> None:
        body = {"content": "version: 1\nrules:\n  - {id: a, deny: {path: [x]}}\n", "reason": "Try."}
        problem = world.problem(world.as_owner("PUT", "/v1/policies", json=body), "validation_failed")
        assert problem["issues"][0]["line"] == 3
        body["content"] = NO_ENV.replace("no-env", "owner")
        assert (
            "owner"
            in world.problem(world.as_owner("PUT", "/v1/policies", json=body), "validation_failed")["detail"]
        )

    def test_a_workspace_neither_proposes_nor_reads_nor_decides(self, world: World) -> None:
        box = world.open_sandbox()
        waiting = propose(world, NO_ENV)
        body = {"content": NO_ENV, "reason": "Mine."}
        for method, path, sent in (
            ("PUT", "/v1/policies", body),
            ("GET", "/v1/policies", None),
            ("POST", f"/v1/approvals/{waiting['approval_id']}", {"decision": "approve"}),
        ):
            response = world.http.request(method, path, json=sent, headers=box.headers)
            assert response.status_code == 403, response.text

    def test_a_reviewer_does_not_decide_about_the_policy(self, world: World) -> None:
        waiting = propose(world, NO_ENV)
        made = world.ok(
            world.as_owner("POST", "/v1/api-keys", json={"label": "r", "scopes": ["approve"]}), 201
        )
        headers = {"Authorization": f"Bearer {made['api_key']}"}
        path = f"/v1/approvals/{waiting['approval_id']}"
        response = world.http.post(path, json={"decision": "approve"}, headers=headers)
        assert world.problem(response, "policy_denied")["policy_rule"] == "approvers"
        assert world.ok(world.as_owner("GET", "/v1/policies"))["version"] == 0


def test_the_file_says_who_approves_how_many_of_them_and_for_how_long(world: World) -> None:
    in_force(
        world,
        """\
version: 1
approvals:
  - {id: two, when: {action: [git.push_main]}, from: [Owner, Reviewer], count: 2, expires: 2h}
""",
    )
    box = world.open_sandbox()
    box.commit({"a.txt": "a\n"})
    opened = world.ok(box.try_post("/git/promote", title="Both"), 202)
    asked = world.ok(world.as_owner("GET", f"/v1/approvals/{opened['approval_id']}"))
    assert asked["required"] == {"from": ["Reviewer", "Owner"], "count": 2, "rule": "two"} or asked[
        "required"
    ]["from"] == ["Owner", "Reviewer"]
    assert world.ok(decide(world, opened["approval_id"]))["state"] == "pending"
    assert world.ok(decide(world, opened["approval_id"]))["state"] == "pending"
    made = world.ok(world.as_owner("POST", "/v1/api-keys", json={"label": "r", "scopes": ["approve"]}), 201)
    headers = {"Authorization": f"Bearer {made['api_key']}"}
    path = f"/v1/approvals/{opened['approval_id']}"
    done = world.ok(world.http.post(path, json={"decision": "approve"}, headers=headers))
    assert done["state"] == "approved"
    assert [d["verdict"] for d in done["decisions"]] == ["approve"] * len(done["decisions"])


RELEASE = "  - {id: release, when: {action: [git.release]}, count: 2, expires: 30m}\n"
MERGE = "  - {id: merge, when: {action: [git.push_main]}, count: 1, expires: 2h}\n"


def asked_for(world: World, path: str, **promotion: str) -> Json:
    box = world.open_sandbox()
    box.commit({path: "x\n"})
    opened = world.ok(box.try_post("/git/promote", title="Land", **promotion), 202)
    return world.ok(world.as_owner("GET", f"/v1/approvals/{opened['approval_id']}"))


def second_voice(world: World, approval_id: str) -> Json:
    made = world.ok(world.as_owner("POST", "/v1/api-keys", json={"label": "r", "scopes": ["approve"]}), 201)
    headers = {"Authorization": f"Bearer {made['api_key']}"}
    path = f"/v1/approvals/{approval_id}"
    return world.ok(world.http.post(path, json={"decision": "approve"}, headers=headers))


@pytest.mark.parametrize("rules", [MERGE + RELEASE, RELEASE + MERGE], ids=["merge first", "release first"])
def test_a_release_needs_what_its_own_rule_asks_and_a_merge_does_not(world: World, rules: str) -> None:
    in_force(world, f"version: 1\napprovals:\n{rules}")
    release = asked_for(world, "a.txt", mode="release", version="1.0.0")
    assert (release["action"], release["required"]["rule"], release["required"]["count"]) == (
        "git.release", "release", 2,
    )  # fmt: skip
    assert datetime.fromisoformat(release["expires_at"]) < utcnow() + timedelta(minutes=31)
    assert world.ok(decide(world, release["id"]))["state"] == "pending"
    assert world.ok(world.as_owner("GET", f"/v1/pulls/{release['object']}"))["state"] == "open"
    assert second_voice(world, release["id"])["state"] == "approved"
    assert world.ok(world.as_owner("GET", f"/v1/pulls/{release['object']}"))["tag"]
    merge = asked_for(world, "b.txt")
    assert (merge["action"], merge["required"]["rule"]) == ("pull.merge", "merge")
    assert world.ok(decide(world, merge["id"]))["state"] == "approved"
    question = {"action": "git.release", "role": "owner"}
    told = world.ok(world.as_owner("POST", "/v1/policies/explain", json=question))
    assert "release: 2 of Owner, Admin, Reviewer; merge: 1 of" in told["deciding"]["approvals"]


def test_a_release_falls_under_the_rule_for_main_where_it_has_none_or_a_weaker_one(world: World) -> None:
    stricter = MERGE.replace("count: 1", "count: 3")
    in_force(world, f"version: 1\napprovals:\n{stricter}{RELEASE}")
    release = asked_for(world, "a.txt", mode="release", version="1.0.0")
    assert (release["required"]["rule"], release["required"]["count"]) == ("merge", 3)


def test_where_two_rules_name_other_roles_each_of_them_is_fulfilled(world: World) -> None:
    owner = MERGE.replace("count: 1", "from: [Owner]")
    reviewer = RELEASE.replace("count: 2", "from: [Reviewer]")
    in_force(world, f"version: 1\napprovals:\n{owner}{reviewer}")
    release = asked_for(world, "a.txt", mode="release", version="1.0.0")
    assert release["required"]["from"] == ["Owner", "Reviewer"]
    assert release["quorum"]["missing"] == 1
    assert second_voice(world, release["id"])["state"] == "pending", "the reviewer is no owner"
    shown = world.ok(world.as_owner("GET", f"/v1/approvals/{release['id']}"))
    assert (shown["quorum"]["given"], shown["quorum"]["missing"]) == (1, 1)
    assert world.ok(decide(world, release["id"]))["state"] == "approved"


def test_a_promotion_that_becomes_a_release_waits_for_the_release_alone(world: World) -> None:
    in_force(world, f"version: 1\napprovals:\n{MERGE}{RELEASE}")
    box = world.open_sandbox()
    box.commit({"a.txt": "x\n"})
    first = world.ok(box.try_post("/git/promote", title="Land"), 202)["approval_id"]
    second = world.ok(box.try_post("/git/promote", title="Land", mode="release", version="1.0.0"), 202)
    assert world.ok(world.as_owner("GET", f"/v1/approvals/{first}"))["state"] == "cancelled"
    world.problem(decide(world, first), "illegal_transition")
    assert world.ok(decide(world, second["approval_id"]))["state"] == "pending"


def test_a_stored_file_that_cannot_be_read_any_more_denies_all_but_its_replacement(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = world.open_sandbox()
    box.commit({"a.txt": "a\n"})

    def unreadable(_content: str) -> None:
        raise Problem("validation_failed", "unknown version")

    with monkeypatch.context() as patched:
        patched.setattr("builderos.trust.policy.force.read_document", unreadable)
        in_force(world, NO_ENV)
        refused(world, commit(box, "b.txt"), "unreadable-policy")
        assert world.ok(world.as_owner("GET", "/v1/policies"))["content"] == NO_ENV
        waiting = propose(world, "version: 1\n")
    world.ok(decide(world, waiting["approval_id"]))
    box.commit({"b.txt": "b\n"})
