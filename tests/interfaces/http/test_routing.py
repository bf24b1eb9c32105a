"""In which organisation a call is: by slug, by credential, by the repository's name; and what the others hear of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.databases import Databases
from tests.support.lab import Lab, Org, lab_in_temp
from tests.support.teams import Team
from tests.support.world import make_repository


@pytest.fixture(scope="module")
def own_lab(databases: Databases) -> Iterator[Lab]:
    with lab_in_temp(databases) as lab:
        yield lab


@pytest.fixture(scope="module")
def demo(own_lab: Lab) -> Org:
    """An open organisation whose repositories are called demo-… or belong to demo."""
    org = own_lab.second_org("demo")
    source = make_repository(own_lab.world.home / "theirs")
    for name, owner in (("demo-ann-bot", "acme"), ("bot", "demo")):
        body = {"source": str(source), "name": name, "owner": owner}
        own_lab.ok(own_lab.world.http.post("/v1/repos/import", json=body, headers=org.owner), 201)
    routed = route(own_lab, org.id, patterns=["demo-*", "demo/*"])
    assert own_lab.ok(routed)["patterns"] == ["demo-*", "demo/*"]
    return org


@pytest.fixture(scope="module")
def private(own_lab: Lab) -> Team:
    """An organisation that only its members know of, with a repository and a pattern."""
    team = Team(own_lab)
    own_lab.ok(team.owner.call("POST", "/v1/repos", name="vault-plans"), 201)
    own_lab.ok(route(own_lab, team.made["id"], patterns=["vault-*", "vault/*"]))
    return team


def route(lab: Lab, org_id: str, **body: Any) -> Any:
    return lab.as_owner("POST", f"/v1/orgs/{org_id}/routing", json=body)


def visit(lab: Lab, **body: Any) -> Any:
    return lab.world.http.post("/sandbox/init", json=body)


def org_of(lab: Lab, reply: Any) -> str:
    branch = lab.ok(reply)["branch"]
    found = (
        "select org_id from ops.sandboxes where name = %s order by created_at desc"  # each has its own names
    )
    return lab.sql(found, branch)[0][0]


def test_a_visitor_is_led_by_slug_by_owner_by_name_or_home(own_lab: Lab, demo: Org) -> None:
    for body, org in (
        ({"repo_name": "lab"}, own_lab.world.org_id),
        ({"repo_name": "demo-ann-bot"}, demo.id),
        ({"repo_name": "bot", "repo_owner": "demo"}, demo.id),
        ({"repo_name": "bot", "org_slug": "demo"}, demo.id),
        ({"repo_name": "bot", "repo_owner": "demo", "org_slug": "demo"}, demo.id),
    ):
        assert org_of(own_lab, visit(own_lab, **body)) == org, body


def test_a_slug_and_a_name_that_contradict_each_other_are_refused_with_both(own_lab: Lab, demo: Org) -> None:
    refused = own_lab.problem(visit(own_lab, org_slug="local", repo_name="demo-ann-bot"), "conflict")
    assert "local" in refused["detail"]
    assert "demo" in refused["detail"]
    assert refused["hint"] == "Leave org_slug out, or say demo."


def test_a_private_organisation_answers_a_visitor_like_none(own_lab: Lab, private: Team) -> None:
    def told(**body: Any) -> dict[str, Any]:
        reply = visit(own_lab, **body).json()
        assert reply["status"] >= 400
        text = {k: v for k, v in reply.items() if k != "request_id"}
        return {k: str(v).replace("vault", "other").replace("plans", "things") for k, v in text.items()}

    assert told(org_slug=private.slug, repo_name="vault-plans") == told(
        org_slug="no-such", repo_name="other-things"
    )
    assert told(repo_name="vault-plans") == told(repo_name="other-things")
    assert told(org_slug="local", repo_name="vault-plans") == told(org_slug="local", repo_name="other-things")
    assert told(repo_owner="vault", repo_name="x") == told(repo_owner="other", repo_name="x")
    own_lab.ok(private.owner.call("POST", "/sandbox/init", repo_name="vault-plans"))


def test_a_credential_leads_to_its_own_organisation_whatever_the_name_says(
    own_lab: Lab, demo: Org, private: Team
) -> None:
    refused = private.owner.call("POST", "/sandbox/init", repo_name="demo-ann-bot")
    own_lab.problem(refused, "not_found")
    box = own_lab.ok(
        private.owner.call("POST", "/sandbox/init", repo_name="vault-plans", org_slug=private.slug)
    )
    elsewhere = visit(own_lab, org_slug="demo", repo_name="bot", reuse_token=box["reuse_token"])
    assert own_lab.ok(elsewhere)["token_status"] == "invalid"


def test_an_owner_opens_and_shuts_the_organisation_for_visitors(own_lab: Lab, private: Team) -> None:
    at = f"/v1/orgs/{private.slug}"
    assert own_lab.ok(private.owner.call("POST", at, anonymous=True))["anonymous"] is True
    assert org_of(own_lab, visit(own_lab, repo_name="vault-plans")) == private.made["id"]
    own_lab.ok(private.owner.call("POST", at, anonymous=False))
    own_lab.problem(visit(own_lab, org_slug=private.slug, repo_name="vault-plans"), "unauthenticated")
    own_lab.problem(private.join("builder").call("POST", at, anonymous=True), "policy_denied")


def test_names_are_given_out_by_the_servers_owner_alone_and_once(
    own_lab: Lab, demo: Org, private: Team
) -> None:
    mine = private.made["id"]
    own_lab.problem(private.owner.call("POST", f"/v1/orgs/{mine}/routing", patterns=["x/*"]), "policy_denied")
    taken = own_lab.problem(route(own_lab, mine, patterns=["vault-*", "demo/*"]), "conflict")
    assert "demo/*" in taken["detail"]
    assert own_lab.sql("select count(*) from ops.repo_patterns where org_id = %s", mine) == [(2,)]
    own_lab.problem(route(own_lab, mine, slug="demo"), "conflict")
    elsewhere = own_lab.world.http.post(f"/v1/orgs/{mine}/routing", json={"patterns": []}, headers=demo.owner)
    own_lab.problem(elsewhere, "not_found")
    own_lab.problem(route(own_lab, "org_x", slug="new"), "not_found")
    own_lab.problem(route(own_lab, "nobody", slug="new"), "not_found")
    own_lab.problem(route(own_lab, own_lab.world.org_id, slug="home"), "conflict")
    own_lab.problem(route(own_lab, mine, patterns=["*"]), "validation_failed")
    renamed = own_lab.ok(route(own_lab, private.slug, slug=f"{private.slug}-new"))
    assert renamed["id"] == mine
    assert own_lab.ok(private.owner.call("GET", "/v1/me"))["org_slug"] == f"{private.slug}-new"
    own_lab.ok(route(own_lab, mine, slug=private.slug))
