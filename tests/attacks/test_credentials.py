"""A credential opens what it is for, on every way it is carried, as long as it holds; without one nothing opens."""

import base64
import stat
from typing import Any

import pytest
from starlette.routing import BaseRoute, Mount

from builderos.core.unit import Unit, as_system
from builderos.interfaces.http.cookies import SESSION, Cookies
from builderos.trust.identity import service as identity
from builderos.trust.orgs import service as orgs
from tests.support.databases import Databases
from tests.support.world import Json, world_in_temp

from .conftest import Target

# Doors that anybody may knock at; everything else asks for a credential first. A new name here needs a good reason.
OPEN = {
    "/", "/healthz", "/readyz", "/openapi.json", "/gpt/openapi.json", "/gpt/instructions", "/sandbox/init",
    "/sandbox/init_branch", "/get_started", "/metrics", "/mcp", "/device", "/sign-in", "/sign-in.css", "/sign-in.js",
    "/v1/auth/sign-out",
}  # fmt: skip


def leaves(routes: list[BaseRoute], prefix: str = "") -> list[tuple[str, str]]:
    """Every (method, path) that the server answers, of parts that are mounted, too."""
    found: list[tuple[str, str]] = []
    for route in routes:
        path = prefix + getattr(route, "path", "")
        if isinstance(route, Mount):
            found += leaves(list(route.routes or []), path) or [("GET", path + "/x"), ("POST", path + "/x")]
        else:
            found += [(m, path) for m in sorted(getattr(route, "methods", None) or {"GET"}) if m != "HEAD"]
    return found


def test_no_part_of_the_server_answers_without_a_credential_but_those_that_are_meant_to(
    target: Target,
) -> None:
    """Case 4: a part of the server that was mounted beside the middleware that asks who one is."""
    api: Any = target.lab.world.asgi
    while not hasattr(api, "routes"):
        api = api._app
    asked = leaves(list(api.routes))
    assert len(asked) > 100
    answered: set[str] = set()
    for method, path in asked:
        concrete = path.replace("{path:path}", "x").replace("{", "").replace("}", "")
        body: Json = {"json": {}} if method in ("POST", "PUT", "PATCH") else {}
        response = target.send(method, concrete, **body)
        assert response.status_code < 500, (method, path, response.text)
        if response.status_code < 400:
            answered.add(path)
    assert {path for path in answered if not path.startswith("/.well-known/")} <= OPEN, answered - OPEN


def test_there_is_no_first_password(databases: Databases) -> None:
    """Case 5: an administrator with a password that everybody knows."""
    with databases.fresh() as one, databases.fresh() as two, world_in_temp(one) as a, world_in_temp(two) as b:
        assert a.owner_token != b.owner_token
        assert len(a.owner_token) >= 43
        for user, password in (
            ("admin", "admin"),
            ("admin", "password"),
            ("owner", ""),
            ("builderos", "builderos"),
        ):
            basic = base64.b64encode(f"{user}:{password}".encode()).decode()
            for scheme in (f"Basic {basic}", f"Bearer {password or user}"):
                headers = {"Authorization": scheme}
                assert a.http.get("/v1/members", headers=headers).status_code == 401
                assert (
                    a.http.get("/git/lab.git/info/refs?service=git-upload-pack", headers=headers).status_code
                    == 401
                )
        assert a.http.get("/v1/members", headers=a.owner).json()["items"] == []
        for secret in a.home.rglob("owner.token"):
            assert stat.S_IMODE(secret.stat().st_mode) == 0o600


INJECTIONS = [
    "' or '1'='1", "'; drop table ops.ledger; --", "' union select id, org_id from ops.orgs --", "\\'; select 1; --",
    "%(org_id)s $1", "1; select pg_sleep(900)", "a'||'b",
]  # fmt: skip


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_word_of_a_caller_becomes_sql_before_or_after_signing_in(target: Target, text: str) -> None:
    """Case 9: SQL injection in the look-up of a key."""
    before = target.lines()
    quoted = text.encode()
    basic = base64.b64encode(b"x:" + quoted)
    for headers in ({"Authorization": b"Bearer " + quoted}, {"Authorization": b"Basic " + basic},
                    {"Cookie": SESSION.encode() + b"=" + quoted}):  # fmt: skip
        for path in ("/v1/repos", "/git/lab.git/info/refs?service=git-upload-pack"):
            assert target.wire.get(target.url + path, headers=headers).status_code == 401  # type: ignore[arg-type]
    for body in ({"reuse_token": text}, {"org_slug": text}, {"repo_name": text}):
        target.refused(
            target.post("/git/log", **body),
            "unauthenticated",
            "token_invalid",
            "validation_failed",
            "not_found",
        )
    owner = target.lab.world.owner_token
    for path in ("/v1/sandboxes", "/v1/audit", "/v1/pulls", "/v1/approvals"):
        for name in ("cursor", "q", "object", "branch", "repo_name"):
            response = target.send("GET", path, owner, params={name: text})
            assert response.status_code < 500, response.text
    memory = target.box.try_post("/memory/query", mode="search", query=text, tag=text)
    assert memory.status_code < 500
    assert target.lab.sql("select count(*) from ops.ledger")[0][0] >= before


def carriers(target: Target, secret: str) -> dict[str, dict[str, Any]]:
    """Every way in which one secret can be brought along."""
    basic = base64.b64encode(f"x:{secret}".encode()).decode()
    return {
        "bearer": {"headers": {"Authorization": f"Bearer {secret}"}},
        "lower case": {"headers": {"authorization": f"bearer {secret}"}},
        "basic": {"headers": {"Authorization": f"Basic {basic}"}},
        "body": {"json": {"reuse_token": secret}},
        "both": {"headers": {"Authorization": f"Bearer {secret}"}, "json": {"reuse_token": secret}},
        "cookie": {"headers": {"Cookie": f"{SESSION}={secret}"}},
        "query": {"params": {"access_token": secret, "token": secret, "reuse_token": secret}},
    }


def issue(target: Target, kind: identity.CredentialKind, **bound: Any) -> str:
    """A credential of the local organisation."""

    def make(unit: Unit) -> str:
        return identity.issue(unit, kind, actor_name="attacker", profile="full", **bound).secret

    return as_system(target.lab.world.context, target.lab.world.org_id, make)


def test_a_scope_counts_on_every_way_a_credential_is_carried(target: Target) -> None:
    """Case 11: a scope of a token that was honoured in one header and not in another."""
    key = issue(target, "api_key", scopes=("read",))
    change = {
        "repo_name": "lab",
        "branch": target.box.branch,
        "message": "m",
        "file_path": "x",
        "content": "x",
    }
    before = target.box.post("/git/log")["items"][0]["sha"]
    for name, carried in carriers(target, key).items():
        how = {**carried, "json": {**change, **carried.get("json", {})}}
        response = target.send("POST", "/commit_and_log_output", **how)
        assert response.status_code in (401, 403, 422), (name, response.text)
        made = target.send("POST", "/v1/repos", **{**how, "json": {"name": "mine"}})
        assert made.status_code in (401, 403, 422), (name, made.text)
        service = {"service": "git-receive-pack"}
        pushed = target.send("GET", "/git/lab.git/info/refs", headers=how.get("headers", {}), params=service)
        assert pushed.status_code in (401, 403), (name, pushed.text)
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                   "params": {"name": "commit_and_log", "arguments": how["json"]}}  # fmt: skip
        headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
        over_mcp = target.send("POST", "/mcp", headers={**headers, **how.get("headers", {})}, json=message)
        assert over_mcp.status_code >= 400 or over_mcp.json()["result"]["isError"], (name, over_mcp.text)
    assert target.box.post("/git/log")["items"][0]["sha"] == before
    assert target.lab.sql("select count(*) from ops.repositories where name = 'mine'") == [(0,)]


SELF = [
    ("POST", "/v1/tokens", {"label": "x", "scopes": ["admin"]}),
    ("POST", "/v1/tokens", {"label": "x", "scopes": ["read"]}),
    ("GET", "/v1/me/sessions", None), ("GET", "/v1/tokens", None), ("DELETE", "/v1/tokens/crd_x", None),
    ("DELETE", "/v1/me/sessions/ses_x", None), ("POST", "/v1/api-keys", {"label": "x", "scopes": ["read"]}),
]  # fmt: skip


def test_what_is_ones_own_needs_its_scope_too(target: Target) -> None:
    """Case 12: routes about oneself that skip the restriction of the token."""
    owner = target.team.owner
    made = target.lab.ok(owner.call("POST", "/v1/tokens", label="narrow", scopes=["read"]), 201)["token"]
    for method, path, body in SELF:
        response = target.send(method, path, made, **({"json": body} if body else {}))
        target.refused(response, "policy_denied", "not_found")
    assert target.send("GET", "/v1/me", made).status_code == 200


def browser(target: Target, member_id: str) -> tuple[str, dict[str, str], str]:
    """A browser that is signed in: the cookie's secret, headers of a page of ours, and the session."""

    def make(unit: Unit) -> tuple[str, str]:
        member = identity.members.find(unit, member_id)
        session = orgs.sessions.open_(unit, member, "link")
        made = identity.issue(
            unit, "cookie", actor_name=member.label, actor_id=member.id, profile="full", scopes=identity.EVERY_SCOPE,
            member_id=member.id, session_id=session,
        )  # fmt: skip
        return made.secret, session

    org_id = target.lab.sql("select org_id from ops.members where id = %s", member_id)[0][0]
    secret, session = as_system(target.lab.world.context, org_id, make)
    token = target.lab.world.context.get(Cookies).csrf(secret)
    return secret, {"Cookie": f"{SESSION}={secret}", "Origin": target.url, "X-CSRF-Token": token}, session


def test_a_cookie_ends_with_its_session_with_the_membership_and_with_the_role(target: Target) -> None:
    """Case 13: a cookie that survives the change of a password; a sign-in whose time is over."""
    ended, left, old = (target.member("admin") for _ in range(3))
    for person, end in (
        (ended, lambda session: ended.call("DELETE", f"/v1/me/sessions/{session}")),
        (left, lambda _: target.team.owner.call("DELETE", f"/v1/members/{left.id}")),
    ):
        _, page, session = browser(target, person.id)
        assert target.send("GET", "/v1/members", headers=page).status_code == 200
        target.lab.ok(end(session))
        assert target.send("GET", "/v1/members", headers=page).status_code == 401
    _, page, session = browser(target, old.id)
    target.lab.sql(
        "update ops.member_sessions set expires_at = now() - interval '1 s' where id = %s", session
    )
    target.lab.sql(
        "update ops.credentials set expires_at = now() - interval '1 s' where session_id = %s", session
    )
    assert target.send("GET", "/v1/members", headers=page).status_code == 401
    changed = target.member("admin")
    _, page, _ = browser(target, changed.id)
    target.lab.ok(target.team.owner.call("POST", f"/v1/members/{changed.id}", role="viewer"))
    denied = target.send("POST", "/v1/invites", headers=page, json={"email": "x@x.example", "role": "viewer"})
    assert denied.status_code in (401, 403)


FORGED = [
    {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "null"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, {"Referer": "http://127.0.0.1/"},
    {"X-CSRF-Token": "0" * 64}, {"Origin": "http://127.0.0.1.evil.example"}, {"Origin": "http://127.0.0.1@evil.example"},
    {"X-Requested-With": "XMLHttpRequest"}, {"X-HTTP-Method-Override": "GET"},
]  # fmt: skip


@pytest.mark.parametrize("headers", FORGED, ids=str)
def test_no_page_of_another_site_acts_with_a_members_cookie(target: Target, headers: dict[str, str]) -> None:
    """Case 14: a forged request that passes because of `Sec-Fetch-Mode`."""
    secret, page, _ = browser(target, target.team.owner.id)
    cookie = {"Cookie": f"{SESSION}={secret}"}
    body = {"label": "forged", "role": "viewer"}
    forged = target.send("POST", "/v1/service-accounts", headers={**cookie, **headers}, json=body)
    assert forged.status_code in (401, 403), forged.text
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        simple = {**cookie, **headers, "Content-Type": kind}
        response = target.send(
            "POST", "/v1/service-accounts", headers=simple, content=b'{"label": "x", "role": "viewer"}'
        )
        assert response.status_code in (401, 403, 415)
    stolen = {**page, "X-CSRF-Token": "f" * 64}
    assert target.send("POST", "/v1/service-accounts", headers=stolen, json=body).status_code in (401, 403)
    names = [m["label"] for m in target.lab.ok(target.team.owner.call("GET", "/v1/members"))["items"]]
    assert "forged" not in names


def test_an_address_that_is_only_opened_changes_nothing(target: Target) -> None:
    """Case 18: a link that makes a workspace with the attacker's parameters by one click."""
    _, page, _ = browser(target, target.team.owner.id)
    before = target.lines(), target.lab.sql("select count(*) from ops.sandboxes")
    for path in ("/sandbox/init", "/commit_and_log_output", "/git/promote", "/v1/repos/import", "/v1/tokens",
                 "/v1/invites/accept"):  # fmt: skip
        params = {
            "repo_name": "lab",
            "org_slug": "local",
            "source": "https://evil.example/x",
            "mode": "branch",
        }
        response = target.send("GET", path, params=params, headers={"Cookie": page["Cookie"]})
        assert response.status_code in (401, 404, 405, 422) or path == "/v1/tokens", (path, response.text)
    assert (target.lines(), target.lab.sql("select count(*) from ops.sandboxes")) == before
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""):
        headers = {"Content-Type": kind} if kind else {}
        response = target.send("POST", "/sandbox/init", content=b'{"repo_name":"lab"}', headers=headers)
        target.refused(response, "unsupported_media_type")


def test_comparing_a_secret_takes_no_longer_the_more_of_it_is_right(target: Target) -> None:
    """A secret is looked up by a keyed hash: how long it takes says nothing of how near a guess was."""
    token, wrong = target.box.token, "bos_rt_" + "A" * 43
    near = token[:-1] + ("A" if token[-1] != "A" else "B")
    hasher = target.lab.world.context.get(identity.Hasher)
    shared = [a == b for a, b in zip(hasher(token), hasher(near), strict=True)]
    assert sum(shared) < len(shared) / 2, "what is compared has nothing in common with a near guess"
    for guess in (near, wrong):
        target.refused(target.post("/git/log", guess), "token_invalid")
    (stored,) = target.lab.sql("select hash from ops.credentials where hash = %s", hasher(token))
    assert token.encode() not in bytes(stored[0])
