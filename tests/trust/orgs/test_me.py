"""Who am I and what may I do: the answer names the rules, and is the answer that the act itself gets."""

from collections.abc import Iterator

import pytest

from builderos.trust.policy.service import ACTIONS, actions_on
from tests.support.databases import Databases
from tests.support.lab import lab_in_temp
from tests.support.teams import Person, Team
from tests.support.world import Json


@pytest.fixture(scope="module")
def team(databases: Databases) -> Iterator[Team]:
    with lab_in_temp(databases) as lab:
        made = Team(lab)
        lab.ok(made.owner.call("POST", "/v1/repos", name="shop"), 201)
        yield made


def may(person: Person, object_: str | None = None) -> dict[str, Json]:
    query = {"object": object_} if object_ else {}
    reply = person.team.lab.ok(person.call("GET", "/v1/me/permissions", **query))
    return {item["action"]: item for item in reply["items"]}


def test_a_member_hears_who_it_is(team: Team) -> None:
    told = team.lab.ok(team.owner.call("GET", "/v1/me"))
    assert (told["role"], told["name"], told["email"]) == ("org_owner", "Ann", "ann@acme.example")
    assert (told["id"], told["org_slug"]) == (team.owner.id, team.slug)
    box = team.lab.ok(team.owner.call("POST", "/sandbox/init", repo_name="shop"))
    bearer = {"Authorization": f"Bearer {box['reuse_token']}"}
    workspace = team.lab.ok(team.lab.world.http.get("/v1/me", headers=bearer))
    assert (workspace["role"], workspace["member_id"]) == ("sandbox", team.owner.id)
    assert (workspace["branch"], workspace["email"]) == (box["branch"], None)


def test_permissions_say_which_rule_decides(team: Team) -> None:
    repo = team.lab.ok(team.owner.call("GET", "/v1/repos"))["items"][0]["id"]
    builder, viewer = team.join("builder"), team.join("viewer")
    assert may(builder, repo)["sandbox.init"]["rules"] == ["builder-opens-and-restores"]
    refused = may(viewer, repo)["sandbox.init"]
    assert (refused["verdict"], refused["rules"], refused["code"]) == (
        "deny", ["no_matching_allow"], "policy_denied",
    )  # fmt: skip
    assert refused["hint"]
    assert may(viewer, repo)["repo.read"]["rules"] == ["member-reads"]
    assert may(viewer)["audit.read"]["verdict"] == "deny"
    assert may(team.owner, team.owner.id)["member.manage"]["verdict"] == "allow"
    assert may(team.join("admin"), team.owner.id)["member.manage"]["rules"] == ["owners-manage-owners"]


def test_the_explanation_is_what_the_act_meets(team: Team) -> None:
    for role in ("admin", "builder", "reviewer"):
        person = team.join(role)
        told = may(person)
        for action, path in (
            ("audit.read", "/v1/audit"), ("member.list", "/v1/members"), ("alert.read", "/v1/alerts"),
        ):  # fmt: skip
            allowed = person.call("GET", path).status_code < 300
            assert allowed == (told[action]["verdict"] == "allow"), (role, action)
        for action, path, body in (
            ("member.manage", "/v1/invites", {"email": f"new-{role}@acme.example", "role": "viewer"}),
            ("credential.create", "/v1/api-keys", {"label": "k", "scopes": ["read"]}),
            ("token.create", "/v1/tokens", {"label": "t", "scopes": ["read"]}),
        ):
            allowed = person.call("POST", path, **body).status_code < 300
            assert allowed == (told[action]["verdict"] == "allow"), (role, action)


def test_main_waits_for_an_approval_and_the_answer_says_so(team: Team) -> None:
    box = team.lab.ok(team.owner.call("POST", "/sandbox/init", repo_name="shop"))
    bearer = {"Authorization": f"Bearer {box['reuse_token']}"}
    http = team.lab.world.http
    change = {"message": "m", "files": [{"path": "a.txt", "content": "x"}]}
    team.lab.ok(http.post("/commit_and_log_output", json=change, headers=bearer))
    promoted = team.lab.ok(http.post("/git/promote", json={"title": "t"}, headers=bearer))
    told = may(team.join("reviewer"), promoted["promotion_id"])
    assert told["pull.merge"]["verdict"] == "needs_approval"
    assert told["pull.merge"]["rules"] == ["main-needs-approval"]


def test_what_one_may_not_know_of_is_not_found(team: Team) -> None:
    other = Team(team.lab)
    repo = team.lab.ok(team.owner.call("GET", "/v1/repos"))["items"][0]["id"]
    for object_ in (repo, team.owner.id, "repo_x", "nonsense", "sbx_x", "br_x", "pul_x", "usr_x", "crd_x"):
        reply = other.owner.call("GET", "/v1/me/permissions", object=object_)
        team.lab.problem(reply, "not_found")


def test_every_act_fits_some_kind_of_object() -> None:
    kinds = ("alert", "approval", "backup", "branch", "credential", "ledger", "member", "org", "pull", "repo",
             "artifact", "sandbox", "schedule", "tool", "policy", "model")  # fmt: skip
    assert {action for kind in kinds for action in actions_on(kind)} == set(ACTIONS)
    assert "files.read" in actions_on("branch")
    assert actions_on("member") == ("member.manage",)
