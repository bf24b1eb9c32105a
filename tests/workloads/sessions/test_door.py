"""Who may pass the door of a session, what changes on the way, and lines of WebSockets through it."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from yarl import URL

from builderos.interfaces.proxy import guarding
from tests.support.notebooks import PROTOCOL, Desk, bearer, kernel_at
from tests.support.servers import until
from tests.support.world import Json


@pytest.fixture(scope="module")
def session(desk: Desk) -> Json:
    return desk.start()


def ask(
    desk: Desk, path: str, method: str = "GET", host: str | None = None, **headers: str
) -> tuple[int, dict[str, str], str]:
    """Status, headers and text of one request to the door."""

    async def asked() -> tuple[int, dict[str, str], str]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {"Host": host} if host else {}
        jar = aiohttp.DummyCookieJar()
        url = URL(f"{desk.at}{path}", encoded=True)
        async with (
            aiohttp.ClientSession(cookie_jar=jar) as http,
            http.request(method, url, headers=sent, allow_redirects=False) as reply,
        ):
            named = {name.lower(): value for name, value in reply.headers.items()}
            return reply.status, named, await reply.text()

    return asyncio.run(asked())


def named_host(session: Json) -> str:
    """The name that only this session has."""
    return str(URL(session["url"]).raw_authority)


def cookie_of(desk: Desk, session: Json) -> str:
    """What a browser holds that has followed a link."""
    link = URL(desk.post(f"/v1/sessions/{session['id']}/token", 201)["url"])
    status, headers, _ = ask(desk, link.raw_path_qs, host=str(link.raw_authority))
    assert status == 303, headers
    return headers["set-cookie"].partition(";")[0]


def test_without_a_token_nobody_passes(desk: Desk, session: Json) -> None:
    path = f"/s/{session['id']}/api/status"
    status, headers, text = ask(desk, path)
    assert (status, json.loads(text)["code"]) == (401, "unauthenticated")
    assert headers["www-authenticate"].startswith("Bearer")
    for wrong in ("bos_wb_" + "x" * 43, "nonsense", desk.ship.box.token, desk.ship.world.owner_token):
        status, _, text = ask(desk, path, **bearer(wrong))
        assert (status, json.loads(text)["code"]) == (401, "token_invalid")


def test_a_token_of_another_session_and_one_that_was_revoked_are_refused(desk: Desk, session: Json) -> None:
    token = desk.token(session["id"])
    other = "nbs_" + "0" * 26
    status, _, text = ask(desk, f"/s/{other}/api/status", **bearer(token))
    assert (status, json.loads(text)["code"]) == (403, "policy_denied")
    stranger = desk.ship.world.open_sandbox()
    reply = desk.ship.world.http.post(
        f"/v1/sessions/{session['id']}/token", json={}, headers=stranger.headers
    )
    desk.ship.world.problem(reply, "not_found")


def test_a_token_lets_a_program_in_and_what_it_showed_stays_outside(desk: Desk, session: Json) -> None:
    token = desk.token(session["id"])
    status, headers, text = ask(desk, f"/s/{session['id']}/api/status", **bearer(token))
    assert (status, "kernels" in json.loads(text)) == (200, True)
    assert headers["content-security-policy"].startswith("sandbox allow-scripts ")
    assert "frame-ancestors 'self' http://127.0.0.1" in headers["content-security-policy"]
    assert token not in desk.log(session["id"])
    assert ask(desk, "/s/../v1/me", **bearer(token))[0] == 404


def test_another_name_for_the_door_is_misdirected(desk: Desk, session: Json) -> None:
    path, token = f"/s/{session['id']}/api/status", desk.token(session["id"])
    assert ask(desk, path, host="evil.example", **bearer(token))[0] == 421
    assert ask(desk, path, host=f"nbs-other.localhost:{URL(desk.at).port}", **bearer(token))[0] == 421
    assert ask(desk, path, host=named_host(session), **bearer(token))[0] == 200


def test_a_browser_follows_a_link_once_and_gets_a_cookie_of_that_session_alone(
    desk: Desk, session: Json
) -> None:
    link = URL(desk.post(f"/v1/sessions/{session['id']}/token", 201)["url"])
    assert str(link.host).endswith(".localhost")
    status, headers, _ = ask(desk, link.raw_path_qs, host=str(link.raw_authority))
    assert (status, headers["location"]) == (303, f"/s/{session['id']}/")
    first, *attributes = [part.strip() for part in headers["set-cookie"].split(";")]
    assert {f"Path=/s/{session['id']}/", "HttpOnly", "Secure", "SameSite=None"} <= set(attributes)
    assert str(link.query["token"]) not in first
    again = ask(desk, link.raw_path_qs, host=str(link.raw_authority))
    assert (again[0], json.loads(again[2])["code"]) == (401, "token_expired")
    path = f"/s/{session['id']}/api/status"
    assert ask(desk, path, host=named_host(session), Cookie=first)[0] == 200
    assert ask(desk, path, Cookie=first)[0] == 403  # at the name that all share


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {"Origin": "https://evil.example"}),
        ("POST", {}),
        ("GET", {"Origin": "http://127.0.0.1:8420"}),
        ("GET", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}),
        ("DELETE", {"Origin": "null"}),
    ],
    ids=[
        "post from elsewhere",
        "post without origin",
        "get from the console",
        "image elsewhere",
        "opaque origin",
    ],
)
def test_with_a_cookie_only_pages_of_the_session_may_ask(
    desk: Desk, session: Json, method: str, headers: dict[str, str]
) -> None:
    cookie = cookie_of(desk, session)
    path, host = f"/s/{session['id']}/api/terminals", named_host(session)
    status, _, text = ask(desk, path, method, host=host, Cookie=cookie, **headers)
    assert (status, json.loads(text)["code"]) == (403, "policy_denied")
    own = {"Origin": f"http://{host}", "Sec_Fetch_Site": "same-origin"}
    assert ask(desk, path, host=host, Cookie=cookie, **own)[0] == 200


def test_a_page_that_shows_the_token_of_its_own_server_is_known_by_its_cookie(
    desk: Desk, session: Json
) -> None:
    """JupyterLab puts `Authorization: token ...` on what it asks for."""
    cookie, host = cookie_of(desk, session), named_host(session)
    path, jupyters = f"/s/{session['id']}/api/status", {"Authorization": "token " + "a" * 48}
    own = {"Origin": f"http://{host}", "Sec_Fetch_Site": "same-origin"}
    assert ask(desk, path, host=host, Cookie=cookie, **jupyters, **own)[0] == 200
    assert ask(desk, path, "POST", host=host, Cookie=cookie, **jupyters)[0] == 403
    assert ask(desk, path, host=host, **jupyters)[0] == 401
    assert ask(desk, path, host=host, Cookie=cookie, **bearer("bos_wb_" + "x" * 43), **own)[0] == 401


def test_binary_messages_and_subprotocols_pass_both_ways(desk: Desk, session: Json) -> None:
    """The second protocol of kernels packs a message into one binary frame."""

    async def ran() -> tuple[str | None, str, int]:
        async with aiohttp.ClientSession(headers=bearer(desk.token(session["id"]))) as http:
            base = f"{desk.at}/s/{session['id']}/"
            kernel = await kernel_at(http, base)
            printed = await kernel.run("print('x' * 900_000)")
            await kernel.socket.close(code=1000)
            async with http.get(f"{base}api/kernels") as reply:
                id_ = (await reply.json())[0]["id"]
            url = f"{base}api/kernels/{id_}/channels"
            async with http.ws_connect(url, protocols=(PROTOCOL,), max_msg_size=0) as line:
                await line.send_bytes(packed("info"))
                while (message := await line.receive(timeout=300)).type is not aiohttp.WSMsgType.BINARY:
                    assert message.type is not aiohttp.WSMsgType.CLOSED
                return line.protocol, printed, len(message.data)

    protocol, printed, size = asyncio.run(ran())
    assert (protocol, len(printed)) == (PROTOCOL, 900_001)
    assert size > 0


def packed(session: str) -> bytes:
    """A `kernel_info_request` in the second protocol: count of offsets, offsets, then the parts (all little-endian)."""
    header: Json = {
        "msg_id": "m1", "session": session, "username": "t", "msg_type": "kernel_info_request", "version": "5.3",
        "date": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    parts: list[Any] = [b"shell", *(json.dumps(part).encode() for part in (header, {}, {}, {}))]
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    head = len(offsets).to_bytes(8, "little") + b"".join(offset.to_bytes(8, "little") for offset in offsets)
    return head + b"".join(parts)


def test_a_line_without_a_token_is_refused_before_it_is_one(desk: Desk, session: Json) -> None:
    async def ran() -> int:
        async with aiohttp.ClientSession() as http:
            try:
                await http.ws_connect(f"{desk.at}/s/{session['id']}/api/kernels/x/channels")
            except aiohttp.WSServerHandshakeError as refused:
                return refused.status
        return 0

    assert asyncio.run(ran()) == 401


def test_a_line_ends_with_the_right_to_it_and_the_session_with_whoever_started_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "_FRESH_S", 0.1)
    world = desk.ship.world
    box = world.open_sandbox()
    started = world.ok(world.http.post("/v1/sessions", json={"runtime": "py"}, headers=box.headers), 202)
    where = f"/v1/sessions/{started['id']}"

    def stands() -> Json:
        return world.ok(world.as_owner("GET", where))

    until(lambda: stands()["status"] in ("running", "idle"))
    boxes = world.ok(world.as_owner("GET", "/v1/sandboxes"))["items"]
    sandbox = next(item["id"] for item in boxes if item["branch"] == box.branch)
    token = world.ok(world.http.post(f"{where}/token", json={}, headers=box.headers), 201)["token"]

    async def hold() -> None:
        async with aiohttp.ClientSession(headers=bearer(token)) as http:
            kernel = await kernel_at(http, f"{desk.at}/s/{started['id']}/")
            world.ok(world.as_owner("POST", f"/v1/sandboxes/{sandbox}/token", json={"action": "revoke"}))
            while (await kernel.socket.receive(timeout=300)).type is aiohttp.WSMsgType.TEXT:
                pass
            async with http.get(f"{desk.at}/s/{started['id']}/api/status") as reply:
                assert reply.status in (401, 503)

    asyncio.run(hold())
    until(lambda: stands()["ended_at"] is not None)
    assert (stands()["status"], stands()["reason"]) == ("stopped", "revoked")
