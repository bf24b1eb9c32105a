"""Requests are seen and decided over MCP, by those who may decide, and by nobody else."""

from typing import Any

from mcp import Client

from tests.support.world import World

from .conftest import Way

DECIDING = {"listInbox", "getApproval", "decideApproval"}


def key(world: World, *scopes: str) -> str:
    body = {"label": "mcp", "scopes": list(scopes)}
    return world.ok(world.as_owner("POST", "/v1/api-keys", json=body), 201)["api_key"]


def test_a_reviewer_finds_reads_and_approves_exactly_one_change(http_way: Way, shared_world: World) -> None:
    box = shared_world.open_sandbox()
    box.commit({"mcp.txt": "decided over MCP\n"})
    asked = box.post("/git/promote", title="Over MCP")["approval_id"]

    async def story(client: Client) -> None:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools >= DECIDING
        inbox = await call(client, "listInbox", kind="approval")
        assert asked in [item["id"] for item in inbox["items"]]
        shown = await call(client, "getApproval", id=asked)
        assert "decided over MCP" in shown["diff"]
        assert (shown["may_decide"], shown["risk"], shown["quorum"]["missing"]) == (True, "high", 1)
        wrong = {"id": asked, "decision": "approve", "diff_hash": "sha256:" + "0" * 64}
        assert (await call(client, "decideApproval", **wrong))["code"] == "conflict"
        right = {"id": asked, "decision": "approve", "diff_hash": shown["diff_hash"], "comment": "Read it."}
        assert (await call(client, "decideApproval", **right))["state"] == "approved"

    http_way.run(story, key(shared_world, "approve"))
    merged = shared_world.ok(shared_world.as_owner("GET", f"/v1/approvals/{asked}"))
    assert merged["decisions"][0]["comment"] == "Read it."


def test_whoever_may_not_decide_is_not_shown_how_and_is_refused(http_way: Way, shared_world: World) -> None:
    box = shared_world.open_sandbox()
    box.commit({"own.txt": "my own\n"})
    asked = box.post("/git/promote", title="My own")["approval_id"]

    async def story(client: Client) -> None:
        assert not DECIDING & {tool.name for tool in (await client.list_tools()).tools}
        verdict = {"id": asked, "decision": "approve"}
        assert (await call(client, "decideApproval", **verdict))["code"] in (
            "policy_denied",
            "forbidden_branch",
        )

    for token in (box.token, key(shared_world, "read", "write")):
        http_way.run(story, token)


async def call(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    return (await client.call_tool(name, arguments)).structured_content or {}
