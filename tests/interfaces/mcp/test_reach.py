"""What a workspace's token reaches over MCP of memory, agents, prompts, evals and models: its own branch alone."""

import json
from typing import Any

import pytest
from mcp import Client, MCPError

from tests.support.world import World

from .conftest import Way

CANARY = "the canary sings at dawn"
HOSTILE: dict[str, dict[str, Any]] = {
    "nul": {"query": "a\0b"}, "long": {"query": "a" * 200_000}, "number": {"query": 7},
    "many": {"query": "x", "k": 10**12}, "limit": {"query": "x", "limit": 10**6},
    "tier": {"query": "x", "tier": "everything"}, "agent": {"query": "x", "agent": "../../etc"},
    "org": {"query": "x", "org_id": "org_1"}, "cursor": {"query": "x", "cursor": "AAAA"},
}  # fmt: skip


def test_the_memory_of_another_workspace_cannot_be_found_or_changed(
    shared_world: World, http_way: Way
) -> None:
    mine, other = shared_world.open_sandbox(), shared_world.open_sandbox()
    kept = other.post("/memory/manage", action="add", tier="vector", body=CANARY)["changed"]

    async def story(client: Client) -> None:
        async def call(name: str, **arguments: Any) -> Any:
            answer = await client.call_tool(name, arguments)
            assert CANARY not in json.dumps(answer.structured_content)
            return answer.structured_content

        look = {"mode": "search", "tier": "all", "query": CANARY}
        assert (await call("memoryQuery", **look))["memories"] == []
        assert (await call("memoryQuery", **look, branch="main"))["memories"] == []
        for branch in (other.branch, f"refs/heads/{other.branch}", other.branch.upper()):
            assert (await call("memoryQuery", **look, branch=branch))["code"] == "forbidden_branch"
        add = {"action": "add", "tier": "vector", "body": "poison"}
        assert (await call("memoryManage", **add, branch=other.branch))["code"] == "forbidden_branch"
        assert (await call("memoryManage", **add, branch="main"))["code"] == "protected_branch"
        assert (await call("memoryManage", **add, shared=True))["code"] == "policy_denied"
        for action in ("remove", "pin", "update"):
            more = {"body": "poison"} if action == "update" else {}
            found = await call("memoryManage", action=action, tier="vector", ids=kept, **more)
            assert found["code"] == "not_found"

    http_way.run(story, mine.token)
    (item,) = other.post("/memory/query", mode="list", tier="vector")["memories"]
    assert (item["id"], item["body"], item["pinned"]) == (kept[0], CANARY, False)


def test_arguments_that_fit_nothing_are_refused_by_field(shared_world: World, http_way: Way) -> None:
    async def story(client: Client) -> None:
        for name, more in HOSTILE.items():
            answer = await client.call_tool("memoryQuery", {"mode": "search", "tier": "all", **more})
            assert answer.is_error, name
            assert answer.structured_content["code"] == "validation_failed", name
            assert "items after" not in json.dumps(answer.structured_content), name
        odd = {"mode": "search", "tier": "all", "query": "' or 1=1; drop table x; -- & | ! :* <->"}
        assert (await client.call_tool("memoryQuery", odd)).structured_content["memories"] == []

    http_way.run(story, shared_world.open_sandbox().token)


def test_no_tool_publishes_decides_pays_or_starts_for_others(shared_world: World, http_way: Way) -> None:
    mine, other = shared_world.open_sandbox(), shared_world.open_sandbox()

    async def story(client: Client) -> None:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        assert {"memoryQuery", "startRun"} <= listed
        assert not {"decideApproval", "getApproval"} & listed
        for name in (
            "publishPrompt",
            "labelPrompt",
            "runAgent",
            "streamCompletion",
            "setModelBudget",
            "runEval",
        ):
            with pytest.raises(MCPError, match="there is no tool"):
                await client.call_tool(name, {})
        decide = {"id": "apr_01M80MB19D8G0CHJY6PVJFJR6H", "decision": "approve"}
        assert (await client.call_tool("decideApproval", decide)).structured_content[
            "code"
        ] == "policy_denied"
        for branch in ("main", other.branch):
            start = {"pipeline": "feature_pipeline", "branch": branch, "params": {"goal": "x"}}
            answer = await client.call_tool("startRun", start)
            assert answer.structured_content["code"] == "forbidden_branch"

    http_way.run(story, mine.token)
