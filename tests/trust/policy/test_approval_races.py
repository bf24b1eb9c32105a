"""An approval is decided once, about exactly one change, by as many people as were asked: whatever happens at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier
from typing import Any

import pytest

from builderos.core.unit import as_system
from builderos.trust.policy import service as policy
from tests.support.lab import Lab
from tests.support.teams import Person, Team
from tests.support.world import Json, Sandbox

ROUNDS = 6
_numbers = count()


def decide(who: Any, approval_id: str, **verdict: str) -> Callable[[], Any]:
    """A decision to be made: by a member, or by the owner of the server."""
    path = f"/v1/approvals/{approval_id}"
    if isinstance(who, Person):
        return lambda: who.call("POST", path, **verdict)
    return lambda: who.as_owner("POST", path, json=verdict)


def change(box: Sandbox, **file: str) -> Callable[[], Any]:
    """A commit to be made."""
    return lambda: box.try_post("/commit_and_log_output", message="m", **file)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What calls return that begin in the same moment."""
    start = Barrier(len(calls))

    def begin(call: Callable[[], Any]) -> Any:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [done.result() for done in [pool.submit(begin, call) for call in calls]]


@pytest.fixture(scope="module")
def team(lab: Lab) -> Team:
    made = Team(lab)
    lab.ok(made.owner.call("POST", "/v1/repos", name="shop"), 201)
    return made


@pytest.fixture(scope="module")
def reviewers(team: Team) -> tuple[Person, Person]:
    return team.join("reviewer"), team.join("reviewer")


def waiting(lab: Lab) -> tuple[Sandbox, Json]:
    """A promotion to main that waits for its approval."""
    box = lab.open_sandbox()
    box.commit({f"n{next(_numbers)}.txt": "x\n"})
    return box, lab.ok(box.try_post("/git/promote", title="Race"))


def state(lab: Lab, approval_id: str) -> Json:
    return lab.ok(lab.as_owner("GET", f"/v1/approvals/{approval_id}"))


def lines(lab: Lab, approval_id: str) -> list[str]:
    found = lab.ok(lab.as_owner("GET", "/v1/audit", params={"object": approval_id, "limit": 50}))
    return sorted(line["type"] for line in found["items"] if line["type"].startswith("approval."))


def test_a_change_and_a_yes_at_once_merge_what_was_seen_or_nothing(lab: Lab) -> None:
    for _ in range(ROUNDS):
        box, asked = waiting(lab)
        seen = state(lab, asked["approval_id"])["diff_hash"]
        head = box.post("/git/log")["items"][0]["sha"]
        decided, changed = at_once(
            decide(lab, asked["approval_id"], decision="approve", diff_hash=seen),
            change(box, file_path="late.txt", content="late\n"),
        )
        lab.ok(changed)
        pull = lab.ok(lab.as_owner("GET", f"/v1/pulls/{asked['promotion_id']}"))
        shown = {"repo_name": "lab", "branch": "main", "path": "late.txt"}
        late = lab.ok(lab.as_owner("POST", "/system/fetch_files", json=shown))
        assert late["files"] == [], "what nobody has seen is not on main"
        if pull["state"] == "merged":
            assert lab.ok(decided)["state"] == "approved"
            assert pull["head_sha"] == head
        else:
            assert decided.status_code in (200, 409), decided.text
        box.world.ok(lab.as_owner("POST", f"/v1/sandboxes/{lab.sandbox_id(box)}/archive", json={}))


def test_of_two_who_decide_at_once_one_is_told_that_it_is_decided(lab: Lab) -> None:
    for verdicts in (("approve", "approve"), ("approve", "deny")) * (ROUNDS // 2):
        _, asked = waiting(lab)
        replies = at_once(*(decide(lab, asked["approval_id"], decision=verdict) for verdict in verdicts))
        assert sorted(reply.status_code for reply in replies) == [200, 409]
        decided = state(lab, asked["approval_id"])
        assert len(decided["decisions"]) == 1
        assert lines(lab, asked["approval_id"]) == ["approval.decided", "approval.requested"]


def test_two_yes_at_once_fill_a_quorum_of_two_and_neither_is_lost(
    team: Team, reviewers: tuple[Person, Person]
) -> None:
    lab, admin = team.lab, team.join("admin")
    rule = "version: 1\napprovals: [{id: two, when: {action: [git.push_main]}, count: 2}]\n"
    http = lab.world.http
    body = {"content": rule, "reason": "Four eyes and two more."}
    proposed = lab.ok(http.put("/v1/policies", json=body, headers=team.owner.headers))["approval_id"]
    lab.ok(admin.call("POST", f"/v1/approvals/{proposed}", decision="approve"))
    for _ in range(ROUNDS):
        box = lab.ok(admin.call("POST", "/sandbox/init", repo_name="shop"))
        mine = {"Authorization": f"Bearer {box['reuse_token']}"}
        change = {"message": "m", "file_path": f"n{next(_numbers)}.txt", "content": "x"}
        lab.ok(http.post("/commit_and_log_output", json=change, headers=mine))
        asked = lab.ok(http.post("/git/promote", json={"title": "t"}, headers=mine))["approval_id"]
        replies = at_once(*(decide(who, asked, decision="approve") for who in reviewers))
        assert sorted(lab.ok(reply)["state"] for reply in replies) == ["approved", "pending"]
        decided = lab.ok(team.owner.call("GET", f"/v1/approvals/{asked}"))
        assert {said["who"] for said in decided["decisions"]} == {person.id for person in reviewers}


def test_a_yes_and_the_end_of_its_time_at_once_leave_one_answer(lab: Lab) -> None:
    for _ in range(ROUNDS):
        _, asked = waiting(lab)
        id_ = asked["approval_id"]
        lab.sql("update ops.approvals set expires_at = now() + interval '30 ms' where id = %s", id_)

        def expire() -> int:
            return as_system(lab.world.context, lab.world.org_id, policy.approvals.expire_overdue)

        decided, _ = at_once(decide(lab, id_, decision="approve"), expire)
        expire()
        found, told = state(lab, id_), lines(lab, id_)
        if decided.status_code == 200:
            assert (found["state"], told) == ("approved", ["approval.decided", "approval.requested"])
        else:
            assert decided.json()["code"] == "illegal_transition"
            assert found["state"] == "expired"
            assert "approval.decided" not in told
            assert told.count("approval.expired") <= 1
        lab.sql("update ops.approvals set expires_at = now() - interval '1 s' where id = %s", id_)
        expire()
        assert lines(lab, id_).count("approval.expired") + lines(lab, id_).count("approval.decided") == 1


def test_what_a_program_asks_for_its_maker_asks_for(team: Team) -> None:
    lab, maker, giver = team.lab, team.join("admin"), team.join("admin")
    account = lab.ok(maker.call("POST", "/v1/service-accounts", label=f"ci-{next(_numbers)}", role="builder"))
    ask: Json = {"label": "ci", "service_account": account["id"], "scopes": ["read", "write", "promote"]}
    made = lab.ok(giver.call("POST", "/v1/tokens", **ask), 201)
    program = Person(team, account["id"], {"access_token": made["token"]})
    box = lab.ok(program.call("POST", "/sandbox/init", repo_name="shop"))
    mine = {"Authorization": f"Bearer {box['reuse_token']}"}
    change = {"message": "m", "file_path": f"n{next(_numbers)}.txt", "content": "x"}
    lab.ok(lab.world.http.post("/commit_and_log_output", json=change, headers=mine))
    asked = lab.ok(lab.world.http.post("/git/promote", json={"title": "t"}, headers=mine))["approval_id"]
    for own in (maker, giver):
        refused = own.call("POST", f"/v1/approvals/{asked}", decision="approve")
        assert lab.problem(refused, "policy_denied")["policy_rule"] == "no-self-approval"
        assert lab.ok(own.call("GET", f"/v1/approvals/{asked}"))["may_decide"] is False
    other = team.join("reviewer")
    assert lab.ok(other.call("GET", f"/v1/approvals/{asked}"))["may_decide"] is True
    lab.ok(other.call("POST", f"/v1/approvals/{asked}", decision="approve"))
    shown = lab.ok(other.call("GET", f"/v1/approvals/{asked}"))
    person = lab.ok(other.call("GET", "/v1/me"))
    assert shown["names"] == {
        shown["requested_by"]: box["branch"],
        person["id"]: person["name"] or person["email"],
    }
