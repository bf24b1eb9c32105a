"""What is read of the workbench over MCP: by whom, with which words, and never more than a model can read."""

from typing import Any

import pytest
from mcp import Client

from builderos.interfaces.mcp import tools
from tests.support.world import World

from .conftest import Way
from .test_deciding import call, key


def test_whoever_may_read_the_organisation_finds_and_reads_experiments(
    http_way: Way, shared_world: World
) -> None:
    made = shared_world.ok(
        shared_world.as_owner("POST", "/v1/experiments", json={"name": "looked at over MCP"}), 201
    )

    async def story(client: Client) -> None:
        found = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(found) >= tools.LOOKING
        for name in tools.LOOKING:
            assert found[name].annotations.read_only_hint, name
            assert not found[name].annotations.destructive_hint, name
            told = found[name].input_schema["properties"]
            assert all(
                told[field].get("description") for field in ("id", "limit", "cursor") if field in told
            ), name
        listed = await call(client, "listExperiments", limit=200)
        assert made["id"] in [item["id"] for item in listed["items"]]
        runs = await call(client, "searchExperimentRuns", id=made["id"], limit=5)
        assert runs["items"] == []
        lineage = await call(client, "showLineage", id=made["id"])
        assert lineage.get("code") in (None, "not_found")

    http_way.run(story, key(shared_world, "read"))


def test_a_workspace_is_shown_its_own_tools_alone(http_way: Way, shared_world: World) -> None:
    async def story(client: Client) -> None:
        assert not tools.LOOKING & {tool.name for tool in (await client.list_tools()).tools}

    http_way.run(story, shared_world.open_sandbox().token)


def test_an_answer_that_no_model_could_read_is_refused_with_what_to_ask_instead(
    http_way: Way, shared_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "MAX_REPLY", 10)
    said: list[dict[str, Any]] = []

    async def story(client: Client) -> None:
        said.append(await call(client, "listExperiments"))

    http_way.run(story, key(shared_world, "read"))
    assert said[0]["code"] == "payload_too_large"
    assert "limit" in said[0]["hint"]
