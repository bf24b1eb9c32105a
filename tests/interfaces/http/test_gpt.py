"""What chat models read: limits of GPT Actions, and calls that need no header."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from builderos import app as root
from builderos.core.application import Application
from builderos.core.context import Context
from builderos.interfaces.http.examples import EXAMPLES
from builderos.interfaces.http.gpt import (
    MAX_INSTRUCTIONS,
    MAX_OPERATIONS,
    MAX_PARAMETER,
    MAX_SUMMARY,
    chat_pod,
    chat_schema,
    size,
    tools,
)
from tests.support.world import World

Json = dict[str, Any]
APP = Application(Context(), list(root.GROUPS))
SCHEMA = chat_schema(APP, "https://build.example/")
OPERATIONS = [op for methods in SCHEMA["paths"].values() for op in methods.values()]


def nodes(node: Any) -> Iterator[Json]:
    """Every object of a document."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


def test_the_chat_schema_stays_within_the_limits_of_chat_models() -> None:
    assert 0 < len(OPERATIONS) <= MAX_OPERATIONS
    for op in OPERATIONS:
        assert len(op["summary"]) <= MAX_SUMMARY
        assert len(op.get("description", "")) <= MAX_SUMMARY
    for node in nodes(SCHEMA):
        if isinstance(node.get("description"), str):
            assert len(node["description"]) <= MAX_PARAMETER, node
    assert size(SCHEMA) < 100_000


def test_the_chat_schema_has_the_tools_and_no_older_names() -> None:
    names = {op["operationId"] for op in OPERATIONS}
    assert {"initSandbox", "commit_and_log", "fetchFiles", "rollback", "promote"} <= names
    assert not names & {"initProject", "initBranch", "getStarted", "getBackups", "importRepo"}
    assert all("deprecated" not in op for op in OPERATIONS)


def test_the_chat_schema_marks_what_has_consequences() -> None:
    marked = {op["operationId"] for op in OPERATIONS if op["x-openai-isConsequential"]}
    assert marked == {o.name for o in tools(APP) if o.consequential}
    assert {"rollback", "promote", "restoreBackup"} <= marked
    assert not marked & {"initSandbox", "commit_and_log", "fetchFiles"}


def test_the_chat_schema_needs_no_header_and_has_no_references() -> None:
    for node in nodes(SCHEMA):
        assert "$ref" not in node
        assert "$defs" not in node
    for op in OPERATIONS:
        assert {p["in"] for p in op.get("parameters", [])} <= {"path"}
    assert SCHEMA["openapi"] == "3.1.0"
    assert SCHEMA["servers"] == [{"url": "https://build.example"}]


def test_every_object_of_the_chat_schema_has_properties() -> None:
    for node in nodes(SCHEMA["paths"]):
        if node.get("type") == "object":
            assert "properties" in node, node


@pytest.mark.parametrize("operation", list(tools(APP)), ids=lambda operation: operation.name)
def test_a_tool_can_be_called_with_a_token_in_the_body_alone(world: World, operation: Any) -> None:
    """Without any header the credential carries: whatever is wrong with the example, it is not the credential."""
    sandbox = world.open_sandbox()
    example = EXAMPLES[operation.name]
    path = operation.path.format(**{name: example[name] for name in operation.path_parameters})
    body = {n: v for n, v in example.items() if n not in operation.path_parameters}
    here = {"repo_name": "lab", "branch": sandbox.branch, "reuse_token": sandbox.token}
    body |= {name: value for name, value in here.items() if name in operation.body.model_fields}
    response = world.http.post(path, json=body)
    assert response.status_code not in (401, 403, 415, 422), response.text
    wrong = world.http.post(path, json=body | {"reuse_token": "bos_rt_" + "x" * 43})
    if operation.credential == "required":
        world.problem(wrong, "token_invalid")


def test_files_are_fetched_with_the_token_in_the_body(world: World) -> None:
    sandbox = world.open_sandbox()
    body = {"repo_name": "lab", "branch": sandbox.branch, "path": "README.md", "reuse_token": sandbox.token}
    reply = world.ok(world.http.post("/system/fetch_files", json=body))
    assert reply["files"][0]["content"] == "# Lab\n"


def test_the_chat_schema_is_served_with_the_address_that_was_asked(world: World) -> None:
    reply = world.ok(world.http.get("/gpt/openapi.json"))
    assert reply["servers"] == [{"url": "http://127.0.0.1"}]
    assert reply["paths"] == json.loads(json.dumps(SCHEMA["paths"]))


def test_the_instructions_are_a_versioned_prompt(world: World) -> None:
    text = world.http.get("/gpt/instructions")
    assert text.headers["content-type"].startswith("text/markdown")
    assert text.headers["x-prompt"] == "chat_pod@1.0.0"
    for word in ("repo_name", "branch", "reuse_token", "initSandbox"):
        assert word in text.text
    assert len(text.text) <= MAX_INSTRUCTIONS
    body = world.ok(world.http.get("/gpt/instructions", headers={"Accept": "application/json"}))
    assert body["template"] == text.text
    assert (body["name"], body["version"], body["sha256"]) == ("chat_pod", "1.0.0", chat_pod().sha256)


def test_the_instructions_name_only_tools_that_exist() -> None:
    import re

    names = {o.name for o in tools(APP)}
    called = {w for w in re.findall(r"`([A-Za-z_]+)`", chat_pod().template) if w[0].islower()}
    fields = set(
        "repo_name branch reuse_token bos_rt_ message sha expected_sha code detail hint retry_after_s idempotency_key "
        "token_invalid token_expired conflict forbidden_branch protected_branch".split()
    )
    assert called <= names | fields, called - names - fields


def test_the_prompt_file_has_the_form_of_a_prompt() -> None:
    found = yaml.safe_load(chat_pod().content)
    assert set(found) == {"name", "version", "changelog", "tags", "inputs", "template"}
