"""What is small to send and large to handle costs the sender, not the server; and nothing sent becomes another line."""

import base64
import gzip
import hashlib
import io
import json
import logging
import socket
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import psutil
import pytest

from builderos.trust.policy.document import read_document
from builderos.trust.policy.globs import NamePatterns, PathPatterns, host_fault, matches_name, path_fault

from .conftest import Target

JSON_BOMBS = {
    "deep list": "[" * 100_000 + "]" * 100_000,
    "deep object": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "deep in a field": '{"metadata": ' + "[" * 5_000 + "]" * 5_000 + "}",
    "huge number": '{"limit": ' + "9" * 1_000_000 + "}",
    "huge exponent": '{"limit": 1e999999999}',
    "not a number": '{"limit": NaN}',
    "infinity": '{"limit": -Infinity}',
    "huge list": '{"paths": [' + '"x",' * 200_000 + '"x"]}',
    "many members": "{" + ",".join(f'"k{n}":1' for n in range(100_000)) + "}",
    "same member twice": '{"branch": "mine", "branch": "main"}',
    "lone surrogate": '{"branch": "\\ud800"}',
    "escaped nul": '{"branch": "a\\u0000b"}',
    "two documents": '{"branch": "a"}{"branch": "b"}',
    "a comment": '{"branch": "a" /* x */}',
    "no object": '"text"',
    "utf-16": '{"branch": "a"}'.encode("utf-16").decode("latin-1"),
    "bom": "\ufeff{}",
}


def arrays(
    node: object, defs: dict[str, object], seen: frozenset[str] = frozenset()
) -> Iterator[dict[str, object]]:
    """Every list that a schema of JSON allows."""
    if isinstance(node, list):
        for item in node:
            yield from arrays(item, defs, seen)
    if not isinstance(node, dict):
        return
    named = str(node.get("$ref", "")).rpartition("/")[2]
    if named:
        if named not in seen:
            yield from arrays(defs[named], defs, seen | {named})
        return
    if node.get("type") == "array":
        yield node
    for name, value in node.items():
        if name != "$defs":
            yield from arrays(value, defs, seen)


def test_every_list_that_can_be_sent_has_an_end(target: Target) -> None:
    for operation in target.lab.world.app.operations():
        schema = operation.body.model_json_schema()
        endless = [a for a in arrays(schema, schema.get("$defs", {})) if "maxItems" not in a]
        assert endless == [], operation.name


@pytest.mark.parametrize("name", JSON_BOMBS)
def test_no_json_document_costs_more_than_it_weighs(target: Target, name: str) -> None:
    began = time.process_time()
    content = JSON_BOMBS[name].encode("latin-1" if name == "utf-16" else "utf-8")
    for path in ("/git/log", "/system/fetch_files", "/mcp"):
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        response = target.send("POST", path, target.box.token, content=content, headers=headers)
        assert response.status_code < 500, response.text
        assert response.status_code >= 400 or path == "/mcp", (path, response.text)
        assert len(response.content) < 20_000
    assert time.process_time() - began < 3
    assert target.send("GET", "/readyz").status_code == 200


BOMB = zlib.compress(b"\0" * 50_000_000, 9)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip"])
def test_a_folded_body_is_not_unfolded(target: Target, encoding: str) -> None:
    memory = psutil.Process().memory_info().rss
    content = gzip.compress(b'{"repo_name": "' + b"x" * 50_000_000 + b'"}')
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    response = target.send("POST", "/git/log", target.box.token, content=content, headers=headers)
    target.refused(response, "unsupported_media_type", "validation_failed", "payload_too_large")
    assert psutil.Process().memory_info().rss - memory < 200_000_000


def pack(kind: int, size: int, stream: bytes) -> bytes:
    """A pack of one object that says how large it will be."""
    head, rest = (kind << 4) | (size & 15), size >> 4
    coded = bytearray()
    while rest:
        coded.append(head | 0x80)
        head, rest = rest & 0x7F, rest >> 7
    coded.append(head)
    body = b"PACK" + struct.pack(">II", 2, 1) + bytes(coded) + stream
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


@pytest.mark.parametrize("said", [50_000_000, 10, 2**40])
def test_a_pack_that_unfolds_into_something_huge_is_refused(target: Target, said: int) -> None:
    before = target.box.post("/git/log")["items"][0]["sha"]
    memory = psutil.Process().memory_info().rss
    command = f"{before} {'1' * 40} refs/heads/{target.box.branch}\0report-status\n".encode()
    content = f"{len(command) + 4:04x}".encode() + command + b"0000" + pack(3, said, BOMB)
    began = time.process_time()
    for more, body in (({}, content), ({"Content-Encoding": "gzip"}, gzip.compress(content))):
        headers = {"Content-Type": "application/x-git-receive-pack-request", **more}
        response = target.send(
            "POST", "/git/lab.git/git-receive-pack", target.box.token, content=body, headers=headers
        )
        assert response.status_code < 500
        assert b"ng refs/heads" in response.content or b"unpack ok" not in response.content
    assert psutil.Process().memory_info().rss - memory < 200_000_000
    assert time.process_time() - began < 30, "CPU seconds of client and server"
    assert target.box.post("/git/log")["items"][0]["sha"] == before


def test_an_archive_stays_a_file(target: Target) -> None:
    """Zip and tar bombs and archives with ways out of their folder: nothing here opens an archive."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../../../tmp/out", b"x")
        archive.writestr("zeros", b"\0" * 10_000_000)
    file = {"path": "bomb.zip", "content": base64.b64encode(held.getvalue()).decode(), "encoding": "base64"}
    made = target.box.try_post("/commit_and_log_output", message="m", files=[file])
    target.lab.ok(made)
    (found,) = target.box.post("/system/fetch_files", mode="single", path="bomb.zip")["files"]
    assert base64.b64decode(found["content"]) == held.getvalue()
    for path in ("/v1/prompts/import", "/v1/packs/install", "/v1/import"):
        assert target.send("POST", path, target.lab.world.owner_token, json={}).status_code in (404, 405, 422)


SPLIT = [
    "x\r\nSet-Cookie: a=b",
    "x\nLocation: https://evil.example",
    "x\r\n\r\n<html>",
    "%0d%0aSet-Cookie:a=b",
    "x\u2028y",
]


@pytest.mark.parametrize("text", SPLIT)
def test_no_text_of_a_caller_begins_a_header_or_another_answer(target: Target, text: str) -> None:
    owner = target.lab.world.owner_token
    answers = [
        target.send("GET", "/v1/audit", owner, params={"object": text}),
        target.send("GET", "/sign-in", params={"next": text}),
        target.send("GET", "/device", params={"user_code": text}),
        target.send("GET", "/v1/auth/oidc/start", params={"org_slug": text, "next": text}),
        target.post("/git/log", owner, repo_name=text), target.post("/v1/repos", owner, name=text),
        target.send("GET", "/git/" + text.encode().hex() + ".git/info/refs", owner, params={"service": text}),
    ]  # fmt: skip
    for answer in answers:
        assert answer.status_code < 500
        assert "a=b" not in answer.headers.get("set-cookie", "")
        assert "evil.example" not in answer.headers.get("location", "")


@pytest.mark.parametrize("raw", [
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / H\r\n",
    b"POST /git/log HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\nContent-Length: 40\r\n\r\nabcd",
    b"POST /git/log HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: x\x0bchunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
    b"GET /\r\nX: y HTTP/1.1\r\n\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
])  # fmt: skip
def test_a_request_that_can_be_read_in_two_ways_is_read_in_none(target: Target, raw: bytes) -> None:
    at = urlsplit(target.url)
    with socket.create_connection((at.hostname or "", at.port or 0), timeout=120) as wire:
        wire.sendall(raw)
        wire.shutdown(socket.SHUT_WR)
        said = b""
        while piece := wire.recv(65536):
            said += piece
    assert said.count(b"HTTP/1.1 200") <= 1
    assert b"HTTP/1.1 500" not in said
    if b"evil.example\r\n\r\n" in raw or b"\r\nHost: evil" in raw:
        assert b"HTTP/1.1 200" not in said


NEXT = [
    "https://evil.example/", "//evil.example", "/\\evil.example", "/%2f/evil.example", "javascript:alert(1)", "/a//b",
    "/sign-in@evil.example", "\thttps://evil.example", "/oauth/authorize/../../evil", "/device@evil.example",
]  # fmt: skip


@pytest.mark.parametrize("to", NEXT)
def test_no_address_of_ours_sends_a_browser_somewhere_else(target: Target, to: str) -> None:
    for path in ("/sign-in", "/v1/auth/verify", "/v1/auth/oidc/start", "/v1/auth/oidc/callback", "/oauth/authorize",
                 "/device", "/v1/auth/sign-out", "/"):  # fmt: skip
        for name in ("next", "redirect_uri", "return_to"):
            response = target.send(
                "GET", path, params={name: to, "client_id": "x", "response_type": "code", "state": "x"}
            )
            where = response.headers.get("location", "")
            assert response.status_code < 500
            assert urlsplit(where).netloc in ("", urlsplit(target.url).netloc), (path, name, where)
            assert not where.startswith(("//", "/\\")), where


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO):
        yield caplog


FORGERIES = [
    "x\n2026-11-21 ERROR builderos: owner signed in",
    "x\r\nroot: ok",
    "\x1b[2J\x1b[1;31mALERT",
    "x\u2028forged",
]


@pytest.mark.parametrize("text", FORGERIES)
def test_no_text_of_a_caller_becomes_a_line_of_the_log(
    target: Target, lines: pytest.LogCaptureFixture, text: str
) -> None:
    raw = text.encode()
    for headers in (
        {"User-Agent": raw},
        {"X-Request-Id": raw},
        {"Authorization": b"Bearer " + raw},
        {"Referer": raw},
    ):
        if b"\n" not in raw:
            target.wire.get(target.url + "/v1/repos", headers=headers)  # type: ignore[arg-type]
    target.send("GET", "/v1/repos/" + quote(text, safe=""))
    target.post("/git/log", target.box.token, repo_name=text, branch=text)
    target.box.try_post("/commit_and_log_output", message=text, file_path=text, content="x")
    for record in lines.records:
        said = record.getMessage()
        assert not any(sign in said for sign in "\r\x1b\u2028"), repr(said)
        assert "\n2026-11-21 ERROR" not in said


def test_what_is_missing_and_what_is_hidden_are_one_answer(target: Target) -> None:
    """Who has no right to know learns neither which organisations nor which people nor which things there are."""
    stranger = target.lab.open_sandbox()
    repo = target.lab.sql("select id from ops.repositories where name = 'shop'")[0][0]
    member = target.team.owner.id
    for real, made_up, path in (
        (repo, "repo_" + "0" * 26, "/v1/repos/{}"), (member, "usr_" + "0" * 26, "/v1/members/{}"),
        (target.team.slug, "no-such-org", "/sandbox/init"), ("shop", "no-such-repo", "/git/{}.git/info/refs"),
    ):  # fmt: skip
        said = []
        for name in (real, made_up):
            if path == "/sandbox/init":
                response = target.post(path, None, org_slug=name, repo_name="shop")
            else:
                how = {"params": {"service": "git-upload-pack"}} if path.startswith("/git") else {}
                response = target.send("GET", path.format(name), stranger.token, **how)
            body = (
                response.json()
                if "json" in response.headers.get("content-type", "")
                else {"text": response.text}
            )
            body.pop("request_id", None)
            said.append((response.status_code, json.dumps(body).replace(name, "NAME")))
        assert said[0] == said[1], path
    for email in ("ann@acme.example", "nobody@acme.example"):
        first = target.post("/v1/auth/magic-link", None, email=email, org_slug=target.team.slug)
        assert (
            first.status_code
            == target.post("/v1/auth/magic-link", None, email=email, org_slug="none").status_code
        )


PATTERN = "/".join(["**", "a*a*a*a*a*a*b"] * 8)[:250]
NASTY = "*a" * 60 + "*b"


def seconds(times: int) -> float:
    """How long all kinds of patterns need for text that almost fits, so many times as long."""
    paths = PathPatterns([PATTERN, "**/" + "*a" * 60 + "b", "?" * 200 + "b"], folded=True)
    text, deep = "a" * 200 * times, "/".join(["a" * 20] * 20 * times)
    names = NamePatterns([NASTY, "a*" * 60 + "b"])
    began = time.process_time()
    for number in range(40):
        paths._match_uncached(f"{deep}/{number}")
        paths._match_uncached(text)
        names.which(text)
        matches_name(NASTY, text)
        host_fault(text + ".a")
    return time.process_time() - began


def test_a_pattern_takes_time_that_grows_with_the_text_and_no_faster() -> None:
    """ReDoS in the globs of a policy: four times the text costs about four times as much, whatever the pattern."""
    assert path_fault("**/" + "*a" * 60 + "b") == ""
    read_document(f"version: 1\nrules: [{{id: a, deny: {{tools: ['{NASTY[:120]}']}}}}]\n")
    seconds(1)
    short, long = min(seconds(1) for _ in range(3)), min(seconds(4) for _ in range(3))
    assert long < short * 12 + 0.05
    assert long < 5
