"""The story of a team: two people sign in; a change of one waits for the yes of the other to exactly that change."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builderos.interfaces.cli import verify_audit
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.oidc import Provider, running_provider
from tests.support.world import Json

SITE = "http://127.0.0.1"
# A machine without BuilderOS: its modules cannot be imported, and nothing of the environment is looked at.
ELSEWHERE = (
    "import runpy, sys; sys.modules['builderos'] = None; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
)


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
    """A commit and a promotion from a workspace, with its token: the promotion, and the commit's sha."""
    headers = {"Authorization": f"Bearer {workspace['reuse_token']}"}
    change = {"message": "Say it", "files": [{"path": "said.txt", "content": content}]}
    made = lab.ok(lab.world.http.post("/commit_and_log_output", json=change, headers=headers))
    asked = lab.ok(lab.world.http.post("/git/promote", json={"title": "Say it"}, headers=headers))
    return {**asked, "commit_sha": made["commit_sha"]}


def verified_elsewhere(folder: Path, export: bytes, *more: str) -> tuple[int, str]:
    """Exit code and words of the standalone script over an export."""
    script = shutil.copy(verify_audit.__file__, folder / "verify.py")
    (folder / "ledger.jsonl").write_bytes(export)
    command = [sys.executable, "-I", "-c", ELSEWHERE, str(script), str(folder / "ledger.jsonl"), *more]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_change_reaches_main_with_the_yes_of_a_second_person_to_exactly_that_change(
    lab: Lab, provider: Provider, tmp_path: Path
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

    story = lab.ok(cy.get("/v1/why?repo_name=shop&branch=main&path=said.txt&line=1"))
    assert story["commit"]["sha"] == second["commit_sha"]
    assert "the workspace of ann, made it" in story["story"][1]
    assert story["story"][-1].startswith("ben (member-")
    (promotion,) = story["promotions"]
    assert promotion["id"] == second["promotion_id"]
    assert [(yes["who"], yes["comment"]) for yes in promotion["approval"]["decisions"]] == [(ben.id, "Fine")]

    export = lab.world.http.get("/v1/audit/export", headers=ann.headers).content
    assert verified_elsewhere(tmp_path, export)[0] == 0
    at = export.index(second["approval_id"].encode())
    forged = export[:at] + bytes([export[at] ^ 1]) + export[at + 1 :]
    code, told_of = verified_elsewhere(tmp_path, forged)
    assert code == 1
    line = 1 + forged[:at].count(b"\n")
    assert f"line {line}" in told_of.lower()
