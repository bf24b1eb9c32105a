"""What reaches `/mcp` before any tool: hosts, origins, sizes, credentials; and that nothing is loaded in advance."""

import json
import logging
import subprocess
import sys
from typing import Any

import httpx
import pytest
from mcp import Client

from builderos.core.actor import Profile
from builderos.core.unit import Unit, as_system
from builderos.interfaces.mcp.tools import LOOKING
from builderos.trust.identity import service as identity
from tests.support.databases import FreshDatabase
from tests.support.ports import live
from tests.support.world import World, world_in_temp

from .conftest import Way
from .test_tools import listed

Json = dict[str, Any]
HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}


def ask(url: str, method: str = "tools/list", params: Json | None = None, **more: Any) -> httpx.Response:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
    headers = HEADERS | more.pop("headers", {})
    return httpx.post(url + "/mcp", json=message, headers=headers, timeout=120, **more)


def refused(response: httpx.Response, code: str) -> Json:
    assert response.headers["content-type"] == "application/problem+json", response.text
    body = response.json()
    assert (body["code"], body["status"]) == (code, response.status_code)
    return body


def credential(
    world: World, role: identity.CredentialKind, profile: Profile = "standard", *scopes: str, **bound: Any
) -> str:
    def make(unit: Unit) -> str:
        return identity.issue(
            unit, role, actor_name="somebody", profile=profile, scopes=scopes, **bound
        ).secret

    return as_system(world.context, world.org_id, make)


def test_a_message_is_answered_without_handshake_or_session(url: str) -> None:
    reply = ask(url)
    assert reply.status_code == 200
    assert "mcp-session-id" not in reply.headers
    assert "initSandbox" in {tool["name"] for tool in reply.json()["result"]["tools"]}


def test_a_foreign_host_is_misdirected(url: str) -> None:
    refused(ask(url, headers={"Host": "evil.example"}), "misdirected_request")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example", "http://[::1"]
)
def test_a_page_of_another_site_is_refused(url: str, origin: str) -> None:
    assert refused(ask(url, headers={"Origin": origin}), "policy_denied")["policy_rule"] == "same-site"


def test_a_page_of_this_server_may_use_it(url: str) -> None:
    assert ask(url, headers={"Origin": url}).status_code == 200


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_there_are_no_sessions_and_no_server_streams(url: str, method: str) -> None:
    refused(
        httpx.request(method, url + "/mcp", headers={"Accept": "text/event-stream"}), "method_not_allowed"
    )


def test_a_body_that_is_too_large_is_refused_with_and_without_a_length(shared_world: World, url: str) -> None:
    size = shared_world.settings.max_body + 1
    headers = HEADERS | {"Content-Type": "application/json"}
    refused(httpx.post(url + "/mcp", content=b"x" * size, headers=headers), "payload_too_large")
    pieces = (b"x" * 65536 for _ in range(size // 65536 + 1))
    refused(httpx.post(url + "/mcp", content=pieces, headers=headers), "payload_too_large")


def test_a_body_that_is_no_json_is_refused(url: str) -> None:
    refused(
        httpx.post(url + "/mcp", content=b"<x/>", headers={"Content-Type": "text/xml"}),
        "unsupported_media_type",
    )


def calling(arguments: bytes) -> bytes:
    call = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"gitLog","arguments":%s}}'
    return call % arguments


MALFORMED = {
    "half": b"{",
    "batch": b"[]",
    "null": b"null",
    "no UTF-8": b"\xff\xfe",
    "deep": b"[" * 5000,
    "a number for a name": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":1}}',
    "surrogate": calling(b'{"path":"\\ud800"}'),
    "NUL": calling(b'{"path":"\\u0000"}'),
    "NaN": calling(b'{"limit":NaN}'),
    "infinity": calling(b'{"limit":1e999}'),
    "deep arguments": calling(b'{"a":' * 3000 + b"1" + b"}" * 3000),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("era", ["2025-11-25", "2026-07-28"])
def test_malformed_messages_are_the_senders_fault(url: str, body: bytes, era: str) -> None:
    headers = HEADERS | {"Content-Type": "application/json", "MCP-Protocol-Version": era}
    reply = httpx.post(url + "/mcp", content=body, headers=headers, timeout=120)
    assert reply.status_code < 500, reply.text
    assert "Traceback" not in reply.text
    assert "site-packages" not in reply.text


def test_a_malformed_message_leaves_no_token_in_the_log(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    secret = "bos_rt_" + "Canary" * 7 + "x"
    for params in ({"name": 7, "arguments": {"reuse_token": secret}}, {"name": "gitLog", "arguments": secret},
                   {"name": "gitLog", "arguments": {"reuse_token": [secret]}}):  # fmt: skip
        reply = ask(url, "tools/call", params, headers={"Authorization": f"Bearer {secret}"})
        assert "Canary" not in reply.text
    assert "Canary" not in caplog.text


def test_the_list_shows_what_the_caller_may_use(shared_world: World, http_way: Way) -> None:
    sandbox = shared_world.open_sandbox()
    sandbox_id = shared_world.ok(shared_world.as_owner("GET", "/v1/sandboxes?limit=1"))["items"][0]["id"]
    every = set(http_way.run(listed))
    assert set(http_way.run(listed, sandbox.token)) == every
    deciding = {"listInbox", "getApproval", "decideApproval"}
    assert set(http_way.run(listed, shared_world.owner_token)) == every | deciding | LOOKING
    bound = {"sandbox_id": sandbox_id}
    assert set(http_way.run(listed, credential(shared_world, "share", **bound))) < every
    reader = set(http_way.run(listed, credential(shared_world, "api_key", "full", "read")))
    assert "fetchFiles" in reader
    assert not reader & {"commit_and_log", "rollback", "promote"}
    writer = set(http_way.run(listed, credential(shared_world, "api_key", "full", "read", "write")))
    assert "commit_and_log" in writer
    assert "promote" not in writer
    minimal = set(http_way.run(listed, credential(shared_world, "api_key", "minimal", "read", "write")))
    assert minimal == {"initSandbox", "commit_and_log", "fetchFiles", "listActions"}


def test_guessing_tokens_is_counted_over_mcp_too(database: FreshDatabase) -> None:
    with world_in_temp(database, rate_invalid_tokens=3) as world, live(world.asgi) as url:
        for n in range(3):
            headers = {"Authorization": f"Bearer bos_rt_{n}{'x' * 42}"}
            ask(url, headers=headers)
        answer = ask(
            url, "tools/call", {"name": "gitLog", "arguments": {"reuse_token": "bos_rt_" + "y" * 43}}
        )
        problem = answer.json()["result"]["structuredContent"]
        assert problem["code"] == "rate_limited"
        assert {"limit", "used", "resets_at"} <= set(problem)


def test_calls_over_mcp_spend_the_rate_of_the_token(database: FreshDatabase) -> None:
    with world_in_temp(database, rate_per_token=2) as world, live(world.asgi) as url:
        sandbox = world.open_sandbox()
        sandbox.post("/git/log")
        arguments = {"reuse_token": sandbox.token}
        assert (
            ask(url, "tools/call", {"name": "gitLog", "arguments": arguments}).json()["result"]["isError"]
            is False
        )
        over = ask(url, "tools/call", {"name": "gitLog", "arguments": arguments}).json()["result"]
        assert over["structuredContent"]["code"] == "rate_limited"
        assert sandbox.try_post("/git/log").status_code == 429


def test_an_act_over_mcp_stands_in_the_ledger_like_any_other(shared_world: World, http_way: Way) -> None:
    sandbox = shared_world.open_sandbox()

    async def story(client: Client) -> Any:
        change = {"message": "By MCP", "file_path": "mcp.txt", "content": "x"}
        return (await client.call_tool("commit_and_log", change)).structured_content

    sha = http_way.run(story, sandbox.token)["commit_sha"]
    found = shared_world.ok(shared_world.as_owner("GET", "/v1/audit?limit=5"))
    line = next(item for item in found["items"] if sha in json.dumps(item))
    assert "commit_and_log@1" in json.dumps(line)


def test_a_server_starts_without_loading_the_mcp_library_or_the_engine() -> None:
    code = "import sys, builderos.app; print([m for m in ('mcp', 'mcp_types', 'dbos') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_relay_says_when_no_server_answers(http_way: Way) -> None:
    async def story(client: Client) -> Any:
        return await client.call_tool("gitLog", {})

    answer = Way("stdio", "legacy", "http://127.0.0.1:9").run(story)
    assert answer.is_error
    assert answer.structured_content["code"] == "unavailable"
