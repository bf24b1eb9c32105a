"""Workspaces, projects and grants: who has which role where, and what a policy file calls a project."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.support.databases import Databases
from tests.support.lab import lab_in_temp
from tests.support.teams import Person, Team
from tests.support.world import Json

_numbers = count()


@pytest.fixture(scope="module")
def team(databases: Databases) -> Iterator[Team]:
    with lab_in_temp(databases) as lab:
        yield Team(lab)


class Place:
    """A workspace with a project with a repository."""

    def __init__(self, team: Team) -> None:
        self.team, number = team, next(_numbers)
        ok, call = team.lab.ok, team.owner.call
        self.workspace: Json = ok(call("POST", "/v1/workspaces", name=f"Research {number}"), 201)
        self.project = self.add_project(f"bot-{number}")
        self.repo: Json = ok(call("POST", "/v1/repos", name=f"bot-{number}"), 201)
        self.move(self.project["id"])

    def add_project(self, name: str) -> Json:
        body = {"workspace_id": self.workspace["id"], "name": name, "stack": ["python"]}
        return self.team.lab.ok(self.team.owner.call("POST", "/v1/projects", **body), 201)

    def move(self, project_id: str | None) -> Json:
        path = f"/v1/repos/{self.repo['id']}/project"
        return self.team.lab.ok(self.team.owner.call("POST", path, project_id=project_id))

    def grant(
        self, person: Person, role: str, place: str | None = None, environment: str | None = None
    ) -> Json:
        body = {"member_id": person.id, "role": role, "place": place, "environment": environment}
        body = {name: value for name, value in body.items() if value is not None}
        return self.team.lab.ok(self.team.owner.call("POST", "/v1/grants", **body), 201)

    def may_build(self, person: Person) -> bool:
        return person.call("POST", "/sandbox/init", repo_name=self.repo["repo_name"]).status_code == 200


@pytest.fixture
def place(team: Team) -> Place:
    return Place(team)


def role(person: Person, object_: str, environment: str | None = None) -> str:
    query = {"object": object_} | ({"environment": environment} if environment else {})
    return person.team.lab.ok(person.call("GET", "/v1/me/permissions", **query))["role"]


def test_a_workspace_holds_projects_which_are_renamed_moved_and_put_away(team: Team, place: Place) -> None:
    lab, call = team.lab, team.owner.call
    shown = lab.ok(call("GET", f"/v1/workspaces/{place.workspace['id']}"))
    assert [(p["id"], p["envs"], p["stack"]) for p in shown["projects"]] == [
        (place.project["id"], ["dev", "stage", "prod"], ["python"])
    ]
    path = f"/v1/projects/{place.project['id']}"
    name = f"renamed-{next(_numbers)}"
    changed = lab.ok(call("POST", path, name=name, envs=["dev", "staging"], path="./src//bot"))
    assert (changed["name"], changed["envs"], changed["path"]) == (name, ["dev", "stage"], "src/bot")
    other = place.add_project(f"other-{next(_numbers)}")
    lab.problem(call("POST", path, name=other["name"]), "conflict")
    lab.ok(call("POST", path, archived=True))
    assert place.project["id"] not in {p["id"] for p in lab.ok(call("GET", "/v1/projects"))["items"]}
    assert place.project["id"] in {
        p["id"] for p in lab.ok(call("GET", "/v1/projects", archived=True))["items"]
    }
    moved = call("POST", f"/v1/repos/{place.repo['id']}/project", project_id=place.project["id"])
    lab.problem(moved, "illegal_transition")
    lab.ok(call("POST", f"/v1/workspaces/{place.workspace['id']}", archived=True))
    refused = call("POST", "/v1/projects", workspace_id=place.workspace["id"], name="late")
    lab.problem(refused, "illegal_transition")


def test_only_who_administers_makes_and_moves_places(team: Team, place: Place) -> None:
    builder = team.join("builder")
    for refused in (
        builder.call("POST", "/v1/workspaces", name="x"),
        builder.call("POST", "/v1/projects", workspace_id=place.workspace["id"], name="x"),
        builder.call("POST", f"/v1/projects/{place.project['id']}", name="x"),
        builder.call("POST", f"/v1/repos/{place.repo['id']}/project", project_id=None),
        builder.call("POST", "/v1/grants", member_id=builder.id, role="admin", place=place.project["id"]),
    ):
        team.lab.problem(refused, "policy_denied")
    team.lab.ok(builder.call("GET", f"/v1/projects/{place.project['id']}"))


def test_the_most_specific_grant_decides_alone(team: Team, place: Place) -> None:
    viewer, builder = team.join("viewer"), team.join("builder")
    assert not place.may_build(viewer)
    place.grant(viewer, "builder", place.workspace["id"])
    assert place.may_build(viewer)
    place.grant(viewer, "reviewer", place.project["id"])
    assert not place.may_build(viewer)
    place.grant(viewer, "builder", place.repo["id"])
    assert place.may_build(viewer)
    place.grant(builder, "viewer", place.project["id"])
    assert not place.may_build(builder), "a grant narrows, too"
    listed = team.lab.ok(team.owner.call("GET", "/v1/repos", project_id=place.project["id"]))["items"]
    assert [(repo["id"], repo["project_id"]) for repo in listed] == [(place.repo["id"], place.project["id"])]
    place.move(None)
    assert place.may_build(builder), "outside of the project the role in the organisation holds"


def test_a_grant_for_an_environment_counts_in_that_environment_alone(team: Team, place: Place) -> None:
    person, project = team.join("viewer"), place.project["id"]
    place.grant(person, "builder", project, "staging")
    assert [role(person, project, env) for env in (None, "dev", "stage", "staging")] == [
        "viewer", "viewer", "builder", "builder",
    ]  # fmt: skip
    assert role(person, place.repo["id"], "stage") == "builder"
    assert not place.may_build(person), "a commit happens in no environment"
    other = place.add_project(f"other-{next(_numbers)}")
    assert role(person, other["id"], "stage") == "viewer"
    place.grant(person, "admin", environment="prod")
    assert role(person, other["id"], "prod") == "admin"
    for wrong in ({"place": project, "environment": "moon"}, {"place": None}):
        body = {"member_id": person.id, "role": "builder", **{k: v for k, v in wrong.items() if v}}
        team.lab.problem(team.owner.call("POST", "/v1/grants", **body), "validation_failed")


def test_the_explanation_names_every_role_and_the_one_that_counts(team: Team, place: Place) -> None:
    person = team.join("viewer")
    wide = place.grant(person, "reviewer", place.workspace["id"])
    narrow = place.grant(person, "builder", place.project["id"])
    told = team.lab.ok(person.call("GET", "/v1/me/permissions", object=place.repo["id"]))
    assert [(r["role"], r["place"], r["grant"], r["counts"]) for r in told["roles"]] == [
        ("builder", place.project["id"], narrow["id"], True),
        ("reviewer", place.workspace["id"], wide["id"], False),
        ("viewer", team.made["id"], None, False),
    ]
    verdicts = {item["action"]: item["verdict"] for item in told["items"]}
    assert verdicts["sandbox.init"] == "allow"
    assert team.lab.ok(person.call("GET", "/v1/grants"))["items"] == [wide, narrow]
    assert team.lab.ok(team.join("viewer").call("GET", "/v1/grants"))["items"] == []


def test_what_was_opened_by_a_grant_ends_with_it(team: Team, place: Place) -> None:
    person, http = team.join("viewer"), team.lab.world.http
    for end in ("grant", "move"):
        given = place.grant(person, "builder", place.project["id"])
        box = team.lab.ok(person.call("POST", "/sandbox/init", repo_name=place.repo["repo_name"]))
        bearer = {"Authorization": f"Bearer {box['reuse_token']}"}
        team.lab.ok(http.post("/actions/list", json={}, headers=bearer))
        if end == "grant":
            team.lab.ok(team.owner.call("DELETE", f"/v1/grants/{given['id']}"))
        else:
            assert place.move(None)["credentials_ended"] == 1
        team.lab.problem(http.post("/actions/list", json={}, headers=bearer), "token_invalid")


def test_an_admin_of_a_project_manages_it_and_nothing_else(team: Team, place: Place) -> None:
    person = team.join("viewer")
    place.grant(person, "admin", place.project["id"])
    project = f"/v1/projects/{place.project['id']}"
    team.lab.ok(person.call("POST", project, stack=["go"]))
    other = place.add_project(f"other-{next(_numbers)}")
    for refused in (
        person.call("POST", f"/v1/projects/{other['id']}", stack=["go"]),
        person.call("POST", "/v1/workspaces", name="mine"),
        person.call("POST", f"/v1/repos/{place.repo['id']}/project", project_id=other["id"]),
        person.call("GET", "/v1/audit"),
        person.call("POST", "/v1/grants", member_id=person.id, role="admin", place=other["id"]),
    ):
        team.lab.problem(refused, "policy_denied")


def test_a_rule_for_a_project_binds_its_repositories_by_whatever_name_they_are_asked_for(
    place: Place,
) -> None:
    team = Team(place.team.lab)
    place = Place(team)
    rule = f"- {{id: no-env, scope: {{project: {place.project['name']}-p}}, deny: {{paths: ['**/.env']}}}}"
    team.lab.ok(
        team.owner.call("POST", f"/v1/projects/{place.project['id']}", name=f"{place.project['name']}-p")
    )
    links = (
        f"- {{id: no-links, scope: {{project: {place.project['name']}-p}}, deny: {{tools: [shareSandbox]}}}}"
    )
    put_in_force(team, f"version: 1\nrules:\n  {rule}\n  {links}\n")
    box = team.lab.ok(team.owner.call("POST", "/sandbox/init", repo_name=place.repo["repo_name"]))
    bearer = {"Authorization": f"Bearer {box['reuse_token']}"}
    secret = {"message": "m", "files": [{"path": "conf/.env", "content": "x"}]}
    refused = team.lab.world.http.post("/commit_and_log_output", json=secret, headers=bearer)
    assert team.lab.problem(refused, "policy_denied")["policy_rule"] == "no-env"
    question = {"action": "files.write", "project": place.repo["repo_name"], "paths": ["conf/.env"]}
    explained = team.lab.ok(team.owner.call("POST", "/v1/policies/explain", **question))
    assert explained["rules"] == ["no-env"], "the explanation is what the act meets"
    id_ = team.lab.sql("select id from ops.sandboxes where name = %s", box["branch"])[0][0]
    refused = team.lab.world.http.post(f"/v1/sandboxes/{id_}/share", json={}, headers=bearer)
    assert team.lab.problem(refused, "policy_denied")["policy_rule"] == "no-links", (
        "an act that names no project"
    )
    place.move(None)
    team.lab.ok(team.lab.world.http.post("/commit_and_log_output", json=secret, headers=bearer))


def put_in_force(team: Team, content: str) -> None:
    admin = team.join("admin")
    asked = team.lab.ok(team.owner.call("PUT", "/v1/policies", content=content, reason="x"))
    team.lab.ok(admin.call("POST", f"/v1/approvals/{asked['approval_id']}", decision="approve"))


def test_another_organisations_places_do_not_exist(team: Team, place: Place) -> None:
    other = Team(team.lab)
    grant = place.grant(team.join("viewer"), "builder", place.project["id"])
    mine = Place(other)
    for method, path, body in (
        ("GET", f"/v1/workspaces/{place.workspace['id']}", {}),
        ("POST", f"/v1/workspaces/{place.workspace['id']}", {"name": "x"}),
        ("GET", f"/v1/projects/{place.project['id']}", {}),
        ("POST", f"/v1/projects/{place.project['id']}", {"name": "x"}),
        ("POST", f"/v1/projects/{mine.project['id']}", {"workspace_id": place.workspace["id"]}),
        ("POST", "/v1/projects", {"workspace_id": place.workspace["id"], "name": "x"}),
        ("POST", f"/v1/repos/{place.repo['id']}/project", {"project_id": None}),
        ("POST", f"/v1/repos/{mine.repo['id']}/project", {"project_id": place.project["id"]}),
        ("DELETE", f"/v1/grants/{grant['id']}", {}),
        ("POST", "/v1/grants", {"member_id": other.owner.id, "role": "viewer", "place": place.project["id"]}),
        ("POST", "/v1/grants", {"member_id": grant["member_id"], "role": "viewer", "place": mine.project["id"]}),
    ):  # fmt: skip
        other.lab.problem(other.owner.call(method, path, **body), "not_found")
    assert (
        other.lab.ok(other.owner.call("GET", "/v1/projects", workspace_id=place.workspace["id"]))["items"]
        == []
    )


def test_who_reviews_in_one_project_decides_about_that_alone_and_sees_it_waiting(team: Team) -> None:
    mine, other = Place(team), Place(team)
    reviewer, barred = team.join("viewer"), team.join("reviewer")
    mine.grant(reviewer, "reviewer", mine.project["id"])
    mine.grant(barred, "viewer", mine.project["id"])
    here, there = ask_for_main(mine), ask_for_main(other)
    waiting = team.lab.ok(reviewer.call("GET", "/v1/inbox"))["items"]
    assert {item["id"] for item in waiting} & {here, there} == {here}
    decide = "/v1/approvals/{}".format
    team.lab.problem(reviewer.call("POST", decide(there), decision="approve"), "policy_denied")
    team.lab.problem(barred.call("POST", decide(here), decision="approve"), "policy_denied")
    assert team.lab.ok(reviewer.call("POST", decide(here), decision="approve"))["state"] == "approved"
    assert team.lab.ok(barred.call("POST", decide(there), decision="approve"))["state"] == "approved"


def ask_for_main(place: Place) -> str:
    """An open request to take a change into main."""
    lab, http = place.team.lab, place.team.lab.world.http
    box = lab.ok(place.team.owner.call("POST", "/sandbox/init", repo_name=place.repo["repo_name"]))
    bearer = {"Authorization": f"Bearer {box['reuse_token']}"}
    change = {"message": "m", "files": [{"path": f"n{next(_numbers)}.txt", "content": "x"}]}
    lab.ok(http.post("/commit_and_log_output", json=change, headers=bearer))
    return lab.ok(http.post("/git/promote", json={"title": "t"}, headers=bearer))["approval_id"]
