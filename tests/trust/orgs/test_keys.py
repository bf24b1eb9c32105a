"""API keys through HTTP: what their scopes open, that nobody widens them, and how they end."""

from datetime import timedelta

import pytest

from builderos.core.clock import utcnow
from tests.support.lab import Lab

WRITE = {"repo_name": "lab", "branch": "main", "file_path": "a", "content": "x", "message": "m"}


def create(lab: Lab, headers: dict[str, str], *scopes: str, **body: object) -> object:
    sent = {"label": "x", "scopes": list(scopes), **body}
    return lab.world.http.post("/v1/api-keys", json=sent, headers=headers)


def test_a_key_is_shown_once_and_listed_without_its_secret(lab: Lab) -> None:
    made = lab.ok(create(lab, lab.world.owner, "read", "write", "read"), 201)
    assert made["scopes"] == ["read", "write"]
    assert made["api_key"].startswith("bos_ak_")
    listed = lab.ok(lab.as_owner("GET", "/v1/api-keys"))
    assert made["id"] in [k["id"] for k in listed["items"]]
    assert made["api_key"] not in str(listed) + str(lab.events())


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("read", {"log", "list"}), ("write", {"init"}), ("promote", set()), ("approve", set()),
        ("admin", {"list", "audit", "keys"}),
    ],
)  # fmt: skip
def test_each_scope_opens_its_own_doors_alone(lab: Lab, scope: str, allowed: set[str]) -> None:
    headers, http = lab.key(scope), lab.world.http
    replies = {
        "log": http.post("/git/log", json={"repo_name": "lab", "branch": "main"}, headers=headers),
        "list": http.get("/v1/sandboxes", headers=headers),
        "init": http.post("/sandbox/init", json={"repo_name": "lab"}, headers=headers),
        "audit": http.get("/v1/audit", headers=headers),
        "keys": create(lab, headers, scope),
        "main": http.post("/commit_and_log_output", json=WRITE, headers=headers),
    }
    opened = {name for name, reply in replies.items() if reply.status_code < 300}
    assert opened == allowed
    assert {r.json()["code"] for n, r in replies.items() if n not in opened} <= {
        "policy_denied",
        "protected_branch",
    }


def test_nobody_gives_away_a_scope_that_the_own_key_lacks(lab: Lab) -> None:
    admin = lab.key("admin", "read")
    lab.ok(create(lab, admin, "read"), 201)
    for scopes in (("write",), ("read", "write"), ("approve",)):
        lab.problem(create(lab, admin, *scopes), "policy_denied")
    lab.problem(create(lab, lab.open_sandbox().headers, "read"), "policy_denied")
    lab.problem(create(lab, {}, "read"), "unauthenticated")


@pytest.mark.parametrize(
    "body",
    [
        {"scopes": []}, {"scopes": ["root"]}, {"scopes": "read"}, {"label": ""}, {"label": "a\nb"}, {"label": None},
        {"expires_at": "2020-01-01T00:00:00Z"}, {"expires_at": "2999-01-01T00:00:00"}, {"role": "owner"},
    ],
)  # fmt: skip
def test_a_malformed_key_is_refused(lab: Lab, body: dict[str, object]) -> None:
    sent = {"label": "x", "scopes": ["read"], **body}
    lab.problem(lab.as_owner("POST", "/v1/api-keys", json=sent), "validation_failed")


def test_a_key_ends_by_time_and_by_revocation(lab: Lab) -> None:
    soon = (utcnow() + timedelta(hours=1)).isoformat()
    headers = lab.key("read", expires_at=soon)
    assert lab.world.http.get("/v1/repos", headers=headers).status_code == 200
    with lab.later(hours=2):
        lab.problem(lab.world.http.get("/v1/repos", headers=headers), "token_expired")
    made = lab.ok(create(lab, lab.world.owner, "read"), 201)
    mine = {"Authorization": f"Bearer {made['api_key']}"}
    lab.ok(lab.as_owner("DELETE", f"/v1/api-keys/{made['id']}"))
    lab.problem(lab.world.http.get("/v1/repos", headers=mine), "token_invalid")
    lab.problem(lab.as_owner("DELETE", f"/v1/api-keys/{made['id']}"), "not_found")
    lab.problem(lab.as_owner("DELETE", "/v1/api-keys/crd_none"), "not_found")


def test_only_keys_are_revoked_through_this_door(lab: Lab) -> None:
    box = lab.open_sandbox()
    ids = lab.sql(
        "select id from ops.credentials where kind in ('owner', 'reuse_token') and org_id = %s",
        lab.world.org_id,
    )
    for (id_,) in ids:
        lab.problem(lab.as_owner("DELETE", f"/v1/api-keys/{id_}"), "not_found")
    assert box.post("/git/log")["items"]


def test_a_key_of_another_organisation_is_unknown(lab: Lab) -> None:
    other = lab.second_org("keys-of-others")
    made = lab.ok(create(lab, other.owner, "read"), 201)
    lab.problem(lab.as_owner("DELETE", f"/v1/api-keys/{made['id']}"), "not_found")
    headers = {"Authorization": f"Bearer {made['api_key']}"}
    response = lab.world.http.post("/git/log", json={"repo_name": "lab", "branch": "main"}, headers=headers)
    lab.problem(response, "not_found")
