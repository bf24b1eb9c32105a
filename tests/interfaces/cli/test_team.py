"""A team from the command line: an organisation, its members, their tokens."""

import uuid

from .conftest import Line


def test_an_organisation_is_made_joined_and_managed(person: Line, stranger: Line) -> None:
    slug = f"acme-{uuid.uuid4().hex[:8]}"
    made = person.json("org", "create", slug, "--name", "Acme", "--owner-email", "ann@acme.example")
    ann = stranger("member", "join", "-", "--name", "Ann", "--json", stdin=made["invite_token"]).json
    as_ann = ("--token", ann["access_token"])
    invited = person.json("member", "invite", "ben@acme.example", "--role", "viewer", *as_ann)
    assert "ben@acme.example" in person.ok("member", "invites", *as_ann)
    ben = stranger("member", "join", "-", "--json", stdin=invited["invite_token"]).json
    assert stranger("member", "join", "-", stdin=invited["invite_token"]).code == 3
    refused = person("member", "invite", "x@acme.example", "--role", "viewer", "--token", ben["access_token"])
    assert refused.code == 3
    assert "reviewer now" in person.ok("member", "change", ben["member_id"], "--role", "reviewer", *as_ann)
    assert "ben@acme.example" in person.ok("member", "list", *as_ann)
    token = person.json("token", "create", "laptop", "--scope", "read", "--token", ben["access_token"])
    assert token["id"] in person.ok("token", "list", "--token", ben["access_token"])
    assert ben["session_id"] in person.ok("token", "sessions", "--token", ben["access_token"])
    person.ok("member", "list", "--token", token["token"])
    person.ok("member", "remove", ben["member_id"], *as_ann)
    assert person("member", "list", "--token", token["token"]).code == 3
    program = person.json("member", "add-service", "ci", "--role", "builder", *as_ann)
    made = person.json(
        "token", "create", "ci", "--scope", "read", "--service-account", program["id"], *as_ann
    )
    person.ok("token", "revoke", made["id"], *as_ann)
    gone = person.json("member", "invite", "cy@acme.example", "--role", "viewer", *as_ann)
    person.ok("member", "uninvite", gone["id"], *as_ann)
    person.ok("token", "sign-out", ann["session_id"], *as_ann)
    assert person("member", "list", *as_ann).code == 3


def test_an_organisation_is_arranged_handed_over_left_and_closed(person: Line, stranger: Line) -> None:
    slug = f"acme-{uuid.uuid4().hex[:8]}"
    made = person.json("org", "create", slug, "--name", "Acme", "--owner-email", "ann@acme.example")
    ann = stranger("member", "join", "-", "--json", stdin=made["invite_token"]).json
    as_ann = ("--token", ann["access_token"])
    invited = person.json("member", "invite", "ben@acme.example", "--role", "viewer", *as_ann)
    ben = stranger("member", "join", "-", "--json", stdin=invited["invite_token"]).json
    assert f"slug: {slug}" in person.ok("org", "show", *as_ann)
    assert "Acme Two" in person.ok("org", "change", "--name", "Acme Two", "--anonymous", *as_ann)
    assert f"{slug}/*" in person.ok("org", "route", slug, "--pattern", f"{slug}/*")
    assert "no patterns" in person.ok("org", "route", slug, "--no-patterns")
    place = person.json("project", "add-workspace", "Research", *as_ann)
    assert "Labs" in person.ok("project", "change-workspace", place["id"], "--name", "Labs", *as_ann)
    assert "Labs" in person.ok("project", "workspaces", *as_ann)
    project = person.json("project", "create", "bot", "--workspace", place["id"], "--env", "staging", *as_ann)
    assert project["envs"] == ["stage"]
    assert "bot" in person.ok("project", "list", "--workspace", place["id"], *as_ann)
    repo = person.json("repo", "create", "bot", *as_ann)
    assert f"in {project['id']} now" in person.ok("project", "add-repo", project["id"], repo["id"], *as_ann)
    assert "no project now" in person.ok("project", "remove-repo", repo["id"], *as_ann)
    given = person.json(
        "project",
        "grant",
        ben["member_id"],
        "--role",
        "builder",
        "--in",
        project["id"],
        "--env",
        "stage",
        *as_ann,
    )
    assert given["id"] in person.ok("project", "grants", "--member", ben["member_id"], *as_ann)
    assert "no longer builder" in person.ok("project", "ungrant", given["id"], *as_ann)
    person.ok("project", "change", project["id"], "--archive", *as_ann)
    assert "archived_at" in person.ok("project", "show", project["id"], *as_ann)
    assert "org_owner now" in person.ok("member", "hand-over", ben["member_id"], *as_ann)
    person.ok("member", "leave", slug, *as_ann)
    assert person("member", "list", *as_ann).code == 3
    as_ben = ("--token", ben["access_token"])
    assert person("org", "close", slug, "--confirm", "acme", *as_ben).code == 2
    assert "is closed" in person.ok("org", "close", slug, "--confirm", slug, *as_ben)
    assert "open again" in person.ok("org", "keep", *as_ben)
