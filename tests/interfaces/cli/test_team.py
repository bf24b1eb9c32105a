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
