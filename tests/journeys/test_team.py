"""The story of a team: two people sign in; a change of one waits for the yes of the other to exactly that change."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.oidc import Provider, running_provider
from tests.support.world import Json

SITE = "http://127.0.0.1"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with running_provider() as made:
        yield made


@pytest.fixture(scope="module")
def lab(databases: Databases, provider: Provider) -> Iterator[Lab]:
    with lab_in_temp(
        databases, oidc_issuer=provider.issuer, oidc_client_id="builderos", oidc_client_secret="s"
    ) as made:
        yield made


class Browser:
    """A person's browser that is signed in through the provider."""

    def __init__(self, lab: Lab, provider: Provider, sub: str) -> None:
        self.http = lab.world.http
        away = self.http.get("/v1/auth/oidc/start?org_slug=acme", follow_redirects=False)
        nonce = re.search(r"(__Host-bos_browser=\w+)", away.headers["set-cookie"])
        assert nonce
        back = provider.approve(away.headers["location"], sub)
        home = self.http.get(
            "/v1/auth/oidc/callback", params=back, headers={"cookie": nonce[1]}, follow_redirects=False
        )
        cookie = re.search(r"(__Host-bos=\w+)", str(home.headers.get_list("set-cookie")))
        assert cookie, home.text
        self.headers = {"cookie": cookie[1]}
        told = lab.ok(self.get("/v1/auth/session"))
        self.id = told["member_id"]
        self.writes = {**self.headers, "origin": SITE, "x-csrf-token": told["csrf_token"]}

    def get(self, path: str) -> Any:
        return self.http.get(path, headers=self.headers)

    def post(self, path: str, /, **body: Any) -> Any:
        return self.http.post(path, json=body, headers=self.writes)


def commit(lab: Lab, workspace: Json, content: str) -> Json:
    """A commit and a promotion from a workspace, with its token."""
    headers = {"Authorization": f"Bearer {workspace['reuse_token']}"}
    change = {"message": "Say it", "files": [{"path": "said.txt", "content": content}]}
    lab.ok(lab.world.http.post("/commit_and_log_output", json=change, headers=headers))
    return lab.ok(lab.world.http.post("/git/promote", json={"title": "Say it"}, headers=headers))


def test_a_change_reaches_main_with_the_yes_of_a_second_person_to_exactly_that_change(
    lab: Lab, provider: Provider
) -> None:
    for sub in ("ann", "ben", "cy"):
        provider.person(sub, email=f"{sub}@acme.example", email_verified=True, name=sub)
    org = {"slug": "acme", "name": "Acme", "owner_email": "ann@acme.example"}
    lab.ok(lab.as_owner("POST", "/v1/orgs", json=org), 201)
    ann = Browser(lab, provider, "ann")
    for name, role in (("ben", "reviewer"), ("cy", "viewer")):
        lab.ok(ann.post("/v1/invites", email=f"{name}@acme.example", role=role), 201)
    ben, cy = Browser(lab, provider, "ben"), Browser(lab, provider, "cy")

    lab.ok(ann.post("/v1/repos", name="shop"), 201)
    workspace = lab.ok(ann.post("/sandbox/init", repo_name="shop"))
    first = commit(lab, workspace, "hello\n")
    seen = lab.ok(ben.get(f"/v1/approvals/{first['approval_id']}"))
    assert "+hello" in seen["diff"]
    for nobody in (ann, cy):
        lab.problem(nobody.post(f"/v1/approvals/{first['approval_id']}", decision="approve"), "policy_denied")

    second = commit(lab, workspace, "hello again\n")
    assert second["approval_id"] != first["approval_id"]
    stale = ben.post(f"/v1/approvals/{first['approval_id']}", decision="approve")
    lab.problem(stale, "illegal_transition")
    old = ben.post(f"/v1/approvals/{second['approval_id']}", decision="approve", diff_hash=seen["diff_hash"])
    lab.problem(old, "conflict")

    decided = lab.ok(ben.post(f"/v1/approvals/{second['approval_id']}", decision="approve", comment="Fine"))
    assert (decided["state"], decided["self_approved"]) == ("approved", False)
    assert [d["who"] for d in decided["decisions"]] == [ben.id]
    if lab.ok(ann.get(f"/v1/pulls/{second['promotion_id']}"))["state"] == "open":
        lab.ok(ben.post(f"/v1/pulls/{second['promotion_id']}/merge"))
    wanted = {"repo_name": "shop", "branch": "main", "path": "said.txt"}
    assert "hello again" in str(lab.ok(cy.post("/system/fetch_files", **wanted)))
    told = [line["type"] for line in lab.ok(ann.get("/v1/audit?limit=200"))["items"]]
    assert {"org.created", "member.joined", "session.started", "approval.decided"} <= set(told)
