"""The tools over MCP: every transport and era gives what HTTP gives."""

import base64
import json
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from builderos.core.operations import Operation
from builderos.interfaces.http.contract import describe
from builderos.interfaces.http.server import build_api
from tests.support.world import World

from .conftest import Way

Json = dict[str, Any]
NOBODY = "bos_rt_" + "x" * 43


def tool_operations(world: World) -> dict[str, Operation]:
    return {o.name: o for o in world.app.operations() if o.profile != "platform"}


def expected_fields(operation: Operation) -> list[str]:
    fields = operation.body.model_fields
    return [field.alias or name for name, field in fields.items() if name not in operation.implied]


async def listed(client: Client) -> dict[str, Any]:
    return {tool.name: tool for tool in (await client.list_tools()).tools}


def test_every_way_lists_every_tool_with_its_schema(shared_world: World, way: Way) -> None:
    found = way.run(listed)
    expected = tool_operations(shared_world)
    assert list(found) == list(expected)
    for name, operation in expected.items():
        assert set(found[name].input_schema["properties"]) == set(expected_fields(operation))
        assert operation.summary in found[name].description
        assert found[name].output_schema["type"] == "object"


def test_a_whole_story_over_every_way(shared_world: World, way: Way) -> None:
    async def story(client: Client) -> None:
        opened = (await client.call_tool("initSandbox", {"repo_name": "lab"})).structured_content
        here = {"repo_name": "lab", "branch": opened["branch"], "reuse_token": opened["reuse_token"]}
        saved = await client.call_tool(
            "commit_and_log", {**here, "message": "Add", "file_path": "a.txt", "content": "one\n"}
        )
        assert not saved.is_error, saved
        read = await client.call_tool("fetchFiles", {**here, "path": "a.txt"})
        assert read.structured_content["files"][0]["content"] == "one\n"
        assert json.loads(read.content[0].text) == read.structured_content
        undone = await client.call_tool(
            "rollback", {**here, "commit_sha": saved.structured_content["commit_sha"], "reason": "Not wanted"}
        )
        assert not undone.is_error, undone
        gone = await client.call_tool("fetchFiles", {**here, "path": "a.txt"})
        assert gone.structured_content["missing"] == ["a.txt"]
        assert (await client.call_tool("initProject", {**here, "project_name": "Bot"})).is_error is False

    way.run(story)


def test_a_refusal_is_a_tool_error_with_the_problem_document(shared_world: World, way: Way) -> None:
    async def story(client: Client) -> None:
        for arguments, code in (
            ({"path": "README.md"}, "unauthenticated"),
            ({"path": "README.md", "reuse_token": NOBODY}, "token_invalid"),
            ({"mode": "batch", "path": "README.md"}, "validation_failed"),
            ({"pfad": "README.md"}, "validation_failed"),
        ):
            answer = await client.call_tool("fetchFiles", arguments)
            assert answer.is_error
            problem = answer.structured_content
            assert problem["code"] == code, problem
            assert {"type", "title", "status", "detail", "hint", "request_id", "retryable"} <= set(problem)
            assert "Traceback" not in answer.content[0].text

    way.run(story)


def test_another_branch_and_main_are_refused(shared_world: World, way: Way) -> None:
    mine, other = shared_world.open_sandbox(), shared_world.open_sandbox()

    async def story(client: Client) -> None:
        for branch, code in ((other.branch, "forbidden_branch"), ("main", "protected_branch")):
            change = {"repo_name": "lab", "branch": branch, "message": "x", "file_path": "x", "content": "x"}
            answer = await client.call_tool("commit_and_log", change)
            assert answer.structured_content["code"] == code

    way.run(story, mine.token)


def test_the_credential_of_the_connection_acts_when_no_other_is_given(shared_world: World, way: Way) -> None:
    sandbox = shared_world.open_sandbox()

    async def story(client: Client) -> Any:
        return await client.call_tool("fetchFiles", {"path": "README.md"})

    answer = way.run(story, sandbox.token)
    assert answer.structured_content["branch"] == sandbox.branch


def test_an_unknown_tool_is_a_protocol_error(way: Way) -> None:
    async def story(client: Client) -> None:
        with pytest.raises(MCPError, match="there is no tool"):
            await client.call_tool("rm_rf", {})

    way.run(story)


def test_the_annotations_say_what_reads_and_what_destroys(shared_world: World, http_way: Way) -> None:
    found = http_way.run(listed)
    for name, operation in tool_operations(shared_world).items():
        hints = found[name].annotations
        assert hints.read_only_hint == (operation.effect == "read"), name
        assert hints.destructive_hint == operation.consequential, name
    assert found["rollback"].annotations.destructive_hint
    assert found["fetchFiles"].annotations.read_only_hint


def test_the_names_and_schemas_are_those_of_the_contract(shared_world: World, http_way: Way) -> None:
    document = describe(build_api(shared_world.app))
    found = http_way.run(listed)
    for methods in document["paths"].values():
        for operation in methods.values():
            if operation.get("x-profile") not in ("minimal", "standard"):
                continue
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            body = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            in_path = {p["name"] for p in operation.get("parameters", [])}
            tool = found[operation["operationId"]].input_schema
            assert set(tool["properties"]) == set(body["properties"]) | in_path
            assert set(tool.get("required", [])) == set(body.get("required", [])) | in_path
            for name, field in body["properties"].items():
                assert tool["properties"][name].get("description") == field.get("description")


def test_a_download_comes_as_one_object(shared_world: World, http_way: Way) -> None:
    sandbox = shared_world.open_sandbox()
    sandbox.commit({"a.txt": "a\n"}, "Something to measure")

    async def story(client: Client) -> None:
        table = await client.call_tool("systemMetrics", {"mode": "export", "format": "csv"})
        assert not table.is_error, table
        assert table.structured_content["encoding"] == "utf-8"
        assert "," in table.structured_content["content"].splitlines()[0]
        packed = (
            await client.call_tool("systemMetrics", {"mode": "export", "format": "zip"})
        ).structured_content
        assert base64.b64decode(packed["content"])[:2] == b"PK"
        numbers = await client.call_tool("systemMetrics", {"mode": "summary"})
        assert numbers.structured_content["branch"] == sandbox.branch

    http_way.run(story, sandbox.token)


def test_a_download_that_is_too_large_for_a_message_is_refused(
    shared_world: World, http_way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builderos.interfaces.mcp.tools.MAX_FILE", 10)
    sandbox = shared_world.open_sandbox()

    async def story(client: Client) -> None:
        answer = await client.call_tool("systemMetrics", {"mode": "export", "format": "csv"})
        assert answer.structured_content["code"] == "payload_too_large"

    http_way.run(story, sandbox.token)


def test_both_doors_share_one_idempotency_window(shared_world: World, http_way: Way) -> None:
    sandbox = shared_world.open_sandbox()
    body = {"repo_name": "lab", "branch": sandbox.branch, "message": "Once", "file_path": "once", "content": "1",
            "idempotency_key": "shared between doors"}  # fmt: skip
    first = sandbox.post("/commit_and_log_output", **body)

    async def story(client: Client) -> None:
        again = await client.call_tool("commit_and_log", body)
        assert again.structured_content == first
        other = await client.call_tool("commit_and_log", body | {"content": "2"})
        assert other.structured_content["code"] == "idempotency_conflict"

    http_way.run(story, sandbox.token)


def test_a_crash_shows_nothing_of_the_inside(
    shared_world: World, http_way: Way, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(*_: Any) -> None:
        raise RuntimeError("secret inside")

    sandbox = shared_world.open_sandbox()
    monkeypatch.setattr("builderos.assets.workspaces.history.log", crash)

    async def story(client: Client) -> Any:
        return await client.call_tool("gitLog", {})

    answer = http_way.run(story, sandbox.token)
    assert answer.is_error
    assert answer.structured_content["code"] == "internal"
    assert "secret inside" not in answer.model_dump_json()
    assert "secret inside" in caplog.text, "the operator can find it in the log"
