"""A policy that nobody could approve is not proposed, and none that would be the last one."""

import pytest

from tests.support.lab import Lab
from tests.support.teams import Person, Team
from tests.support.world import Json


@pytest.fixture
def team(lab: Lab) -> Team:
    return Team(lab)


def rule(count: int, *roles: str) -> str:
    return (
        "version: 1\napprovals:\n"
        f"  - {{id: strict, when: {{action: [policy.activate]}}, from: [{', '.join(roles)}], count: {count}}}\n"
    )


def propose(person: Person, content: str) -> Json:
    body = {"content": content, "reason": "Try."}
    return person.team.lab.world.http.put("/v1/policies", json=body, headers=person.headers)


def refused(person: Person, content: str, code: str) -> Json:
    return person.team.lab.problem(propose(person, content), code)


def test_who_is_alone_is_told_to_invite_somebody_who_can_approve(team: Team) -> None:
    problem = refused(team.owner, "version: 1\n", "conflict")
    assert "Invite another Admin or Owner" in problem["hint"]
    team.join("reviewer")
    refused(team.owner, "version: 1\n", "conflict")
    assert team.lab.ok(team.owner.call("GET", "/v1/approvals"))["items"] == []
    team.join("admin")
    team.lab.ok(propose(team.owner, "version: 1\n"), 202)


def test_a_file_that_could_never_be_replaced_is_refused_with_its_line(team: Team) -> None:
    admin = team.join("admin")
    problem = refused(team.owner, rule(2, "Owner", "Admin"), "validation_failed")
    assert problem["issues"][0]["line"] == 3
    assert "invite another Admin or Owner" in problem["hint"]
    refused(team.owner, rule(2, "Owner"), "validation_failed")
    refused(team.owner, rule(1, "Reviewer").replace("count: 1", "count: 2"), "validation_failed")
    team.lab.ok(propose(team.owner, rule(1, "Owner")), 202)
    team.lab.ok(propose(admin, rule(1, "Owner", "Admin")), 202)


def test_programs_and_those_who_left_are_not_counted(team: Team) -> None:
    team.lab.ok(team.owner.call("POST", "/v1/service-accounts", label="ci", role="admin"), 201)
    refused(team.owner, "version: 1\n", "conflict")
    admin = team.join("admin")
    team.lab.ok(propose(team.owner, "version: 1\n"), 202)
    team.lab.ok(team.owner.call("DELETE", f"/v1/members/{admin.id}"))
    refused(team.owner, "version: 1 # again\n", "conflict")


def test_a_quorum_in_reach_is_reached_and_the_next_policy_needs_it(team: Team) -> None:
    admins = [team.join("admin") for _ in range(2)]
    asked = team.lab.ok(propose(team.owner, rule(2, "Owner", "Admin")), 202)["approval_id"]
    team.lab.ok(admins[0].call("POST", f"/v1/approvals/{asked}", decision="approve"))
    asked = team.lab.ok(propose(admins[0], "version: 1\n"), 202)["approval_id"]
    first = team.lab.ok(team.owner.call("POST", f"/v1/approvals/{asked}", decision="approve"))
    again = team.lab.ok(team.owner.call("POST", f"/v1/approvals/{asked}", decision="approve"))
    assert (first["state"], again["state"]) == ("pending", "pending")
    last = team.lab.ok(admins[1].call("POST", f"/v1/approvals/{asked}", decision="approve"))
    assert last["state"] == "approved"
    assert team.lab.ok(team.owner.call("GET", "/v1/policies"))["content"] == "version: 1\n"
