"""The contract: complete, up to date, and the same words for every operation."""

import json
from pathlib import Path
from typing import Any

import pytest

from builderos import app as root
from builderos.core.application import Application
from builderos.core.context import Context
from builderos.interfaces.http.contract import PROBLEM
from builderos.interfaces.http.examples import EXAMPLES
from builderos.interfaces.http.openapi import generate

Json = dict[str, Any]
COMMITTED = Path(__file__).parents[3] / "openapi.json"
OPERATIONS = list(Application(Context(), list(root.GROUPS)).operations())
# Operations under /v1 that touch a repository name their object by an id, which says repository and branch at once.
# Whoever adds one here explains why it can do without both members; the list only shrinks.
NAMED_OTHERWISE = {
    "listActions": "lists tools, touches no repository",
    "getActions": "lists tools, touches no repository",
    "importRepo": "makes the repository",
    "createRepo": "makes the repository",
    "listRepos": "lists repositories, shows nothing inside them",
    "publishPipeline": "published ones belong to the organisation",
    "validatePipeline": "a text, which lies nowhere yet",
    "listPipelines": "published ones belong to the organisation",
    "listTriggers": "belong to the organisation",
    "listPrompts": "published ones belong to the organisation",
    "publishPrompt": "published ones belong to the organisation",
    "exportPrompts": "published ones belong to the organisation",
    "importPrompts": "published ones belong to the organisation",
    "lintPrompt": "a text, which lies nowhere yet",
    "lintEval": "a text, which lies nowhere yet",
    "listEvals": "results of the whole organisation; a suite is tried on a branch",
    "listSandboxes": "lists sandboxes of all repositories, shows nothing inside them",
}
# What systems outside call: their signature is their credential. The list only shrinks.
SIGNED = {"callHook"}


@pytest.fixture(scope="module")
def document() -> Json:
    return json.loads(generate())


def operations(document: Json) -> list[tuple[str, str, Json]]:
    return [(m, p, op) for p, methods in document["paths"].items() for m, op in methods.items()]


def inputs(document: Json, operation: Json) -> set[str]:
    """Names of everything that one operation takes."""
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    body = document["components"]["schemas"][name] if name else schema
    return {p["name"] for p in operation.get("parameters", [])} | set(body.get("properties", {}))


def test_the_committed_contract_is_the_one_the_code_gives() -> None:
    assert COMMITTED.read_text() == generate(), "run `make openapi` and commit openapi.json"


def test_the_contract_needs_no_server_and_is_the_same_every_time() -> None:
    assert generate() == generate()


def test_the_contract_says_what_it_is(document: Json) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == "0.1.0"
    assert document["info"]["license"]["identifier"] == "Apache-2.0"


def test_every_operation_has_a_name_of_its_own_a_sentence_and_a_group(document: Json) -> None:
    found = operations(document)
    names = [op["operationId"] for _, _, op in found]
    assert len(names) == len(set(names))
    for _, path, op in found:
        assert op["operationId"].replace("_", "").isalnum(), f"{path}: hyphen-free names work everywhere"
        assert op["summary"].endswith("."), path
        assert len(op["summary"]) <= 300, path
        assert len(op["tags"]) == 1, path


def test_every_operation_says_who_may_call_it_and_how_it_refuses(document: Json) -> None:
    open_to_all = {op["operationId"] for _, _, op in operations(document) if "security" not in op}
    signing_in = {op["operationId"] for _, _, op in operations(document) if op["tags"] == ["sign-in"]}
    contract = {"health", "ready", "getContract", "getChatContract", "getChatInstructions"}
    assert open_to_all == contract | signing_in
    assert all(
        path.startswith("/v1/auth/") for _, path, op in operations(document) if op["tags"] == ["sign-in"]
    )
    for _, path, op in operations(document):
        if "security" in op:
            for status in ("4XX", "5XX"):
                assert set(op["responses"][status]["content"]) == {PROBLEM}, path
            wanted = {"signature": []} if op["operationId"] in SIGNED else {"token": []}
            assert wanted in op["security"], path
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_every_tool_takes_repo_name_and_branch_reads_included(document: Json) -> None:
    for _, path, op in operations(document):
        if op.get("x-profile") in ("minimal", "standard") and op["operationId"] not in NAMED_OTHERWISE:
            assert {"repo_name", "branch"} <= inputs(document, op), (
                f"{path} does not take repo_name and branch"
            )


def test_every_operation_that_touches_a_repository_says_where(document: Json) -> None:
    """An operation names a repository and a branch, or one object by its id, or it touches no repository at all."""
    untouched = {
        "admin",
        "contract",
        "approvals",
        "artifacts",
        "datasets",
        "experiments",
        "registry",
        "endpoints",
        "apps",
        "compute",
        "models",
        "alerts",
        "audit",
        "orgs",
        "sign-in",
        "inbox",
        "stream",
        "usage",
        "webhooks",
        "projects",
        "secrets",
    }
    for _, path, op in operations(document):
        if op["tags"][0] in untouched or op["operationId"] in NAMED_OTHERWISE:
            continue
        takes = inputs(document, op)
        by_id = any(p["in"] == "path" for p in op.get("parameters", []))
        assert {"repo_name", "branch"} <= takes or by_id, f"{path} does not say which branch it is about"


def test_no_exception_outlives_its_operation(document: Json) -> None:
    assert set(NAMED_OTHERWISE) <= {op["operationId"] for _, _, op in operations(document)}
    assert set(EXAMPLES) <= {operation.name for operation in OPERATIONS}


def test_every_parameter_of_a_tool_says_what_it_is() -> None:
    for operation in OPERATIONS:
        if operation.profile == "platform":
            continue
        for name, schema in operation.body.model_json_schema()["properties"].items():
            said = [o.get("description", "") for o in (schema, *schema.get("anyOf", []))]
            assert any(said), f"{operation.name}.{name}"
            assert max(map(len, said)) <= 700, f"{operation.name}.{name}"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_with_an_input_of_its_own_has_an_example_that_fits(operation: Any) -> None:
    assert operation.name in EXAMPLES, "write an example into interfaces/http/examples.py"
    example = EXAMPLES[operation.name]
    operation.body.model_validate({**example, **operation.implied})


def test_the_example_stands_in_the_document(document: Json) -> None:
    op = document["paths"]["/commit_and_log_output"]["post"]
    assert op["requestBody"]["content"]["application/json"]["example"] == EXAMPLES["commit_and_log"]


def test_no_token_is_ever_part_of_an_address(document: Json) -> None:
    for method, path, op in operations(document):
        for parameter in op.get("parameters", []):
            assert parameter["name"] != "reuse_token", f"{method} {path}"


def test_an_operation_that_may_wait_declares_202(document: Json) -> None:
    for operation in OPERATIONS:
        if operation.may_wait:
            assert "202" in document["paths"][operation.path][operation.method.lower()]["responses"]
    assert any(operation.may_wait for operation in OPERATIONS)


def test_every_reference_leads_somewhere(document: Json) -> None:
    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                assert node["$ref"].rpartition("/")[2] in document["components"]["schemas"]
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)
