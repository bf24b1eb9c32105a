"""Every way to fail has one shape: problem+json with a code, a hint and a request id; never HTML, never the inside."""

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from builderos.core.ids import is_id
from builderos.core.problems import STATUS, TITLES, Problem
from tests.support.ports import live
from tests.support.world import Json, Sandbox, World

MEMBERS = {"type", "title", "status", "code", "detail", "hint", "request_id", "retryable"}
SECURITY = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
LOG = "/git/log"


def shape(response: Any, code: str) -> Json:
    """Assert the shape of a failure; returns its body."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body = response.json()
    assert set(body) >= MEMBERS
    assert body["code"] == code, body
    assert body["status"] == response.status_code == STATUS[code]
    assert body["title"] == TITLES[code]
    assert body["type"] == f"urn:builderos:problem:{code}"
    assert isinstance(body["retryable"], bool)
    assert body["hint"], "a failure says what to do next"
    assert body["request_id"] == response.headers["x-request-id"]
    assert is_id(body["request_id"], "req")
    for name, value in SECURITY.items():
        assert response.headers[name] == value
    for inside in ("Traceback", "site-packages", "psycopg", "sqlalchemy", "<html", "select "):
        assert inside not in response.text
    return body


@pytest.fixture(scope="module")
def sandbox(shared_world: World) -> Sandbox:
    return shared_world.open_sandbox()


def raw(sandbox: Sandbox, content: Any, path: str = LOG, **headers: str) -> Any:
    """Bytes as they are, as the sandbox."""
    sent = {
        "content-type": "application/json",
        **sandbox.headers,
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    return sandbox.world.http.post(path, content=content, headers=sent)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/xml"]
)
def test_a_body_that_is_not_json_is_an_unsupported_media_type(sandbox: Sandbox, kind: str) -> None:
    shape(raw(sandbox, b"a=1", content_type=kind), "unsupported_media_type")


def test_a_body_without_a_type_is_an_unsupported_media_type(sandbox: Sandbox) -> None:
    shape(sandbox.world.http.post(LOG, content=b"{}", headers=sandbox.headers), "unsupported_media_type")


def test_json_with_a_charset_is_json(sandbox: Sandbox) -> None:
    assert raw(sandbox, b"{}", content_type="application/json; charset=utf-8").status_code == 200


def test_a_body_over_the_limit_is_too_large_before_it_is_read(sandbox: Sandbox) -> None:
    limit = sandbox.world.settings.max_body
    body = shape(raw(sandbox, b" " * (limit + 1)), "payload_too_large")
    assert body["limit"] == limit


def test_a_chunked_body_over_the_limit_is_too_large(sandbox: Sandbox) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(sandbox.world.settings.max_body // 65536 + 2):
            yield b" " * 65536

    shape(raw(sandbox, endless()), "payload_too_large")


def test_a_body_of_exactly_the_limit_is_read(sandbox: Sandbox) -> None:
    limit = sandbox.world.settings.max_body
    assert raw(sandbox, b"{}" + b" " * (limit - 2)).status_code == 200


HUGE = b"9" * 5000
MALFORMED: dict[str, bytes] = {
    "half a document": b'{"path": "',
    "no JSON": b"hello",
    "nothing but a byte": b"\xff",
    "invalid UTF-8 inside": b'{"path": "\xc3\x28"}',
    "UTF-16": '{"path": "a"}'.encode("utf-16"),
    "lone surrogate": b'{"path": "\\ud800"}',
    "lone surrogate as a member": b'{"\\udfff": 1}',
    "NUL": b'{"branch": "a\\u0000b"}',
    "control characters": b'{"branch": "a\\u0007b"}',
    "deep nesting": b'{"path": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "a huge integer": b'{"limit": ' + HUGE + b"}",
    "a huge exponent": b'{"limit": 1e400}',
    "NaN": b'{"limit": NaN}',
    "infinity": b'{"limit": -Infinity}',
    "a list": b"[]",
    "null": b"null",
    "a string": b'"x"',
    "a number": b"1",
    "an unknown member": b'{"pth": "a"}',
    "the wrong type": b'{"limit": "many"}',
    "true for a number": b'{"limit": true}',
    "out of range": b'{"limit": 100000}',
    "a member twice": b'{"limit": 1, "limit": 1}',
    "a byte order mark": b'\xef\xbb\xbf{"limit": 1}',
    "a foreign cursor": b'{"cursor": "bm90IG91cnM"}',
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_body_is_the_senders_fault(sandbox: Sandbox, body: bytes) -> None:
    shape(raw(sandbox, body), "validation_failed")


@pytest.mark.parametrize("value", ["\ud800", "a\x00b", "x" * 200_000])
def test_what_was_sent_does_not_come_back(sandbox: Sandbox, value: str) -> None:
    secret = "canary-of-a-password"
    response = raw(sandbox, json.dumps({"path": [secret, value]}).encode())
    shape(response, "validation_failed")
    assert secret not in response.text


UNSTORABLE: dict[str, bytes] = {
    "a surrogate in the message": b'"message": "\\ud800"',
    "a surrogate in the content": b'"content": "\\udfff"',
    "a surrogate in the path": b'"file_path": "\\ud800"',
    "NUL in the path": b'"file_path": "a\\u0000"',
    "a surrogate in metadata": b'"metadata": {"x": "\\ud800"}',
    "deep metadata": b'"metadata": {"x": ' + b"[" * 60 + b"]" * 60 + b"}",
    "a huge integer in metadata": b'"metadata": {"x": ' + HUGE + b"}",
    "a large integer in metadata": b'"metadata": {"x": ' + HUGE[:400] + b"}",
    "NaN in metadata": b'"metadata": {"x": NaN}',
    "an infinite number in metadata": b'"metadata": {"x": 1e400}',
    "a surrogate in the key": b'"idempotency_key": "\\ud800"',
    "a surrogate in the token": b'"reuse_token": "\\ud800"',
}


@pytest.mark.parametrize("member", UNSTORABLE.values(), ids=UNSTORABLE)
def test_a_commit_with_unstorable_text_changes_nothing(sandbox: Sandbox, member: bytes) -> None:
    before = sandbox.post(LOG, limit=1)["items"][0]["sha"]
    rest = {b'"message"': b'"m"', b'"file_path"': b'"a"', b'"content"': b'"b"'}
    missing = [name + b": " + value for name, value in rest.items() if not member.startswith(name)]
    response = raw(sandbox, b"{" + b", ".join([member, *missing]) + b"}", "/commit_and_log_output")
    assert response.status_code in (400, 401, 422), response.text
    shape(response, response.json()["code"])
    assert sandbox.post(LOG, limit=1)["items"][0]["sha"] == before


@pytest.mark.parametrize(
    "path", ["/nope", "/v1/nope", "/v1/sandboxes/", "/%00", "/%ff%fe", "/v1/pulls/%00", "/..%2f..%2fetc"]
)
def test_an_unknown_address_is_not_found(shared_world: World, path: str) -> None:
    response = shared_world.http.get(path, headers=shared_world.owner)
    shape(response, response.json()["code"])
    assert response.status_code in (404, 422)


WRONG = [
    "GET /git/log",
    "PUT /git/log",
    "DELETE /v1/repos",
    "POST /healthz",
    "OPTIONS /git/log",
    "TRACE /git/log",
]


@pytest.mark.parametrize("call", WRONG)
def test_a_wrong_method_is_not_allowed(shared_world: World, call: str) -> None:
    response = shared_world.http.request(*call.split())
    shape(response, "method_not_allowed")
    assert response.headers["allow"], "the caller is told which methods there are"


FOREIGN = ["evil.example", "127.0.0.1.evil.example", "", "[::1", "127.0.0.1@evil.example", "a" * 300]


@pytest.mark.parametrize("host", FOREIGN)
def test_another_host_name_is_misdirected(shared_world: World, host: str) -> None:
    shape(shared_world.http.get("/healthz", headers={"host": host}), "misdirected_request")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8420", "localhost:1", "[::1]:8420"])
def test_this_machine_is_answered(shared_world: World, host: str) -> None:
    assert shared_world.http.get("/healthz", headers={"host": host}).status_code == 200


def test_no_credential_and_a_wrong_one_are_401_and_say_how_to_authenticate(shared_world: World) -> None:
    answers = {
        "unauthenticated": shared_world.http.post(LOG, json={}),
        "token_invalid": shared_world.http.post(LOG, json={"reuse_token": "bos_rt_" + "x" * 43}),
    }
    for code, response in answers.items():
        shape(response, code)
        assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "value", ["Basic abc", "Bearer", "Bearer  ", "Bearer é", "bos_rt_x", "Bearer " + "x" * 8000]
)
def test_an_odd_authorization_header_is_a_missing_or_invalid_credential(
    shared_world: World, value: str
) -> None:
    response = shared_world.http.post(LOG, json={}, headers={"authorization": value.encode()})
    assert response.status_code == 401
    shape(response, response.json()["code"])


def test_a_crash_says_nothing_of_the_inside(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: Any) -> None:
        raise RuntimeError("password=hunter2 at /srv/secret")

    monkeypatch.setattr("builderos.assets.workspaces.history.log", crash)
    body = shape(sandbox.try_post(LOG), "internal")
    assert "hunter2" not in json.dumps(body)


def test_a_lost_database_is_unavailable_and_retryable(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from psycopg import OperationalError

    def gone(*_: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr("builderos.assets.workspaces.history.log", gone)
    assert shape(sandbox.try_post(LOG), "unavailable")["retryable"]


@pytest.mark.parametrize("code", sorted(STATUS))
def test_every_code_has_the_shape(sandbox: Sandbox, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise Problem(code, "because", hint="Do something else.", retry_after_s=2.4, conflicts=["a"])

    monkeypatch.setattr("builderos.assets.workspaces.history.log", refuse)
    response = sandbox.try_post(LOG)
    body = shape(response, code)
    assert (body["retry_after_s"], body["conflicts"]) == (2.4, ["a"])
    assert response.headers["retry-after"] == "2"


def test_success_has_a_request_id_and_the_security_headers_too(sandbox: Sandbox) -> None:
    response = sandbox.try_post(LOG)
    assert is_id(response.headers["x-request-id"], "req")
    for name, value in SECURITY.items():
        assert response.headers[name] == value


def test_two_requests_have_two_ids_and_nobody_else_chooses_them(shared_world: World) -> None:
    ids = {
        shared_world.http.get("/healthz", headers={"x-request-id": "mine"}).headers["x-request-id"]
        for _ in range(3)
    }
    assert len(ids) == 3
    assert "mine" not in ids


def test_a_removed_version_of_a_tool_says_what_to_use(sandbox: Sandbox) -> None:
    body = shape(sandbox.try_post(LOG, tool_version="0"), "tool_version_removed")
    assert body["upgrade"] == "gitLog@1"
    assert sandbox.try_post(LOG, tool_version="v1").status_code == 200


def test_validation_names_the_fields_and_not_the_values(sandbox: Sandbox) -> None:
    body = shape(sandbox.try_post(LOG, limit=0, pfad="canary"), "validation_failed")
    assert {f["field"].rpartition(".")[2] for f in body["fields"]} == {"limit", "pfad"}
    assert "canary" not in json.dumps(body)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"FETCH\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_in_the_same_shape(world: World, sent: bytes) -> None:
    with (
        live(world.asgi) as url,
        socket.create_connection((url[7:].split(":")[0], int(url.rsplit(":")[-1]))) as raw,
    ):
        raw.settimeout(10)
        raw.sendall(sent)
        reply = http.client.HTTPResponse(raw)
        reply.begin()
        body = reply.read()
    shape(httpx.Response(reply.status, headers=reply.getheaders(), content=body), "validation_failed")
