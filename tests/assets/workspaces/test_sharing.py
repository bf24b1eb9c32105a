"""A link for reading one branch: what it shows, what it does not, and how it ends."""

from datetime import timedelta

import pytest

from builderos.core.clock import utcnow
from tests.support.lab import Lab
from tests.support.world import Json, Sandbox


@pytest.fixture
def box(lab: Lab) -> Sandbox:
    sandbox = lab.open_sandbox()
    sandbox.commit({"a.txt": "shared\n"})
    return sandbox


def share(lab: Lab, box: Sandbox, **body: object) -> Json:
    path = f"/v1/sandboxes/{lab.sandbox_id(box)}/share"
    return lab.ok(lab.world.http.post(path, json=body, headers=box.headers), 201)


def view(lab: Lab, token: str) -> object:
    return lab.world.http.get(f"/v1/shared/{token}")


def test_a_link_shows_the_files_and_history_of_one_branch(lab: Lab, box: Sandbox) -> None:
    made = share(lab, box)
    assert made["link"].endswith(f"/v1/shared/{made['share_token']}")
    shown = lab.ok(view(lab, made["share_token"]))
    assert (shown["branch"], shown["head_sha"]) == (box.branch, lab.tip(box.branch))
    assert "a.txt" in shown["files"]
    assert shown["commits"][0]["sha"] == shown["head_sha"]
    assert box.token not in str(shown) + str(made)
    reader = Sandbox(lab.world, "lab", box.branch, made["share_token"])
    assert reader.post("/system/fetch_files", path="a.txt")["files"][0]["content"] == "shared\n"
    assert reader.post("/git/diff")["files"]


def test_a_link_reads_nothing_else_and_writes_nothing(lab: Lab, box: Sandbox) -> None:
    other = lab.open_sandbox()
    reader = Sandbox(lab.world, "lab", box.branch, share(lab, box)["share_token"])
    tip = lab.tip(box.branch)
    for branch in ("main", "sandbox", other.branch):
        lab.problem(reader.try_post("/git/log", branch=branch), "forbidden_branch")
    for path, body in (
        ("/commit_and_log_output", {"file_path": "a", "content": "x", "message": "m"}),
        ("/git/rollback_commit", {"commit_sha": tip, "reason": "r"}), ("/git/promote", {"title": "t"}),
        ("/system/backup", {}), ("/tasks/lifecycle", {"action": "create", "task_id": "t", "title": "t"}),
    ):  # fmt: skip
        assert lab.problem(reader.try_post(path, **body), "policy_denied")["status"] == 403
    own = f"/v1/sandboxes/{lab.sandbox_id(box)}"
    for method, path, sent in (
        ("POST", f"{own}/share", {}), ("POST", f"{own}/token", {"action": "rotate"}), ("DELETE", own, None),
        ("POST", f"{own}/reset", {"to": "main"}), ("GET", "/v1/sandboxes", None), ("GET", "/v1/audit", None),
    ):  # fmt: skip
        response = lab.world.http.request(method, path, json=sent, headers=reader.headers)
        assert response.status_code == 403, (path, response.text)
    response = lab.init(reader.token)
    assert response.status_code == 403, response.text
    assert lab.tip(box.branch) == tip


def test_a_revoked_link_ends_at_once(lab: Lab, box: Sandbox) -> None:
    made, other = share(lab, box), share(lab, box)
    path = f"/v1/shares/{made['share_id']}"
    stranger = lab.open_sandbox()
    lab.problem(lab.world.http.delete(path, headers=stranger.headers), "not_found")
    lab.ok(lab.world.http.delete(path, headers=box.headers))
    lab.problem(view(lab, made["share_token"]), "token_invalid")
    assert lab.ok(view(lab, other["share_token"]))
    lab.problem(lab.world.http.delete("/v1/shares/shr_none", headers=box.headers), "not_found")


def test_a_link_ends_by_itself(lab: Lab, box: Sandbox) -> None:
    until = (utcnow() + timedelta(hours=2)).isoformat()
    made = share(lab, box, expires_at=until)
    with lab.later(hours=1):
        lab.ok(view(lab, made["share_token"]))
    with lab.later(hours=3):
        lab.problem(view(lab, made["share_token"]), "token_expired")


@pytest.mark.parametrize("at", ["2020-01-01T00:00:00Z", "2999-01-01T00:00:00", "tomorrow"])
def test_a_link_cannot_end_before_it_begins(lab: Lab, box: Sandbox, at: str) -> None:
    path = f"/v1/sandboxes/{lab.sandbox_id(box)}/share"
    lab.problem(lab.world.http.post(path, json={"expires_at": at}, headers=box.headers), "validation_failed")


def test_a_link_outlives_a_rotation_but_not_the_sandbox(lab: Lab, box: Sandbox) -> None:
    made = share(lab, box)
    lab.ok(lab.change_token(box, "rotate"))
    lab.ok(view(lab, made["share_token"]))
    lab.ok(lab.as_owner("DELETE", f"/v1/sandboxes/{lab.sandbox_id(box)}"))
    lab.problem(view(lab, made["share_token"]), "not_found")
    path = f"/v1/sandboxes/{lab.sandbox_id(box)}/share"
    lab.problem(lab.as_owner("POST", path, json={}), "illegal_transition")


def test_no_other_credential_opens_a_link(lab: Lab, box: Sandbox) -> None:
    for token in (box.token, lab.world.owner_token):
        assert view(lab, token).status_code in (401, 403, 404)
    lab.problem(view(lab, "bos_sh_" + "0" * 43), "token_invalid")
    lab.problem(view(lab, "x"), "token_invalid")


def test_only_the_own_sandbox_is_shared(lab: Lab, box: Sandbox) -> None:
    other = lab.open_sandbox()
    path = f"/v1/sandboxes/{lab.sandbox_id(other)}/share"
    lab.problem(lab.world.http.post(path, json={}, headers=box.headers), "not_found")


def test_the_ledger_knows_the_link_but_not_its_secret(lab: Lab, box: Sandbox) -> None:
    made = share(lab, box)
    lines = lab.events(object=lab.sandbox_id(box), type="sandbox.shared")
    assert lines[0]["payload"]["share_id"] == made["share_id"]
    assert made["share_token"] not in str(lab.events())
