"""For chat models: a trimmed contract that GPT Actions accept, and the instructions that go with it (SPEC §16)."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, cast

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, TypeAdapter

from builderos.assets.prompts import service as prompts
from builderos.assets.prompts.service import PromptVersion
from builderos.core.application import Application
from builderos.core.operations import Operation
from builderos.core.settings import Settings

Json = dict[str, Any]
MAX_OPERATIONS: Final = 30
MAX_SUMMARY: Final = 300
MAX_PARAMETER: Final = 700
MAX_INSTRUCTIONS: Final = 8000
_PROBLEM: Final[Json] = {
    "type": "object",
    "properties": {
        "code": {"type": "string", "description": "Stable code to branch on."},
        "detail": {"type": "string", "description": "What happened, in plain words."},
        "hint": {"type": "string", "description": "What to do next."},
        "retryable": {"type": "boolean"},
        "retry_after_s": {"type": "number"},
    },
}


def chat_pod() -> PromptVersion:
    """The instructions of a chat pod, as shipped."""
    found = prompts.shipped.find("chat_pod")
    assert found is not None
    return found


def tools(app: Application) -> Iterator[Operation]:
    """The operations a chat model sees: tools, without their older names."""
    for operation in app.operations():
        if operation.profile != "platform" and not operation.deprecated:
            yield operation


def chat_schema(app: Application, server_url: str) -> Json:
    """OpenAPI 3.1 of the tools: credentials are members of the body, references are written out, no header needed."""
    paths: dict[str, Json] = {}
    for operation in tools(app):
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "BuilderOS",
            "version": "0.1.0",
            "description": "Build in a real repository, on a branch that belongs to one person alone. Call initSandbox "
            "first; send its repo_name, branch and reuse_token in every call.",
        },
        "servers": [{"url": server_url.rstrip("/")}],
        "paths": paths,
        "components": {"schemas": {}},
    }


def _operation(operation: Operation) -> Json:
    schema = input_schema(operation)
    in_path = operation.path_parameters
    described: dict[str, Json] = schema["properties"]
    parameters = [
        {"name": name, "in": "path", "required": True, "description": described[name].get("description", name),
         "schema": {"type": "string"}}
        for name in in_path
    ]  # fmt: skip
    body = {**schema, "properties": {n: s for n, s in described.items() if n not in in_path}}
    body["required"] = [n for n in schema.get("required", []) if n not in in_path]
    if not body["required"]:
        del body["required"]
    return {
        "operationId": operation.name,
        "summary": operation.summary,
        "x-openai-isConsequential": operation.consequential,
        **({"parameters": parameters} if parameters else {}),
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            str(operation.status): {
                "description": "Done; `message` says what happened.",
                "content": {"application/json": {"schema": output_schema(operation)}},
            },
            "4XX": {
                "description": "Refused; do what `hint` says.",
                "content": {"application/problem+json": {"schema": _PROBLEM}},
            },
        },
    }


def input_schema(operation: Operation) -> Json:
    """The schema of the whole input, path parameters among it, without references and without `null`."""
    schema = plain(operation.body, by_alias=True)
    schema["properties"] = {
        n: s for n, s in schema.get("properties", {}).items() if n not in operation.implied
    }
    return schema


def output_schema(operation: Operation) -> Json:
    """The schema of the reply, without references."""
    return plain(operation.document, mode="serialization")


def plain(kind: Any, **options: Any) -> Json:
    """JSON schema of a model with every reference written out; of several models, one object that fits each."""
    adapter: TypeAdapter[BaseModel] = TypeAdapter(kind)
    schema = adapter.json_schema(**options)
    found = _trimmed(schema, schema.get("$defs", {}))
    return _merged(found["anyOf"]) if "anyOf" in found else found


def _merged(options: list[Json]) -> Json:
    properties: dict[str, Json] = {}
    for name in dict.fromkeys(name for option in options for name in option["properties"]):
        kinds = [option["properties"][name] for option in options if name in option["properties"]]
        properties[name] = kinds[0] if all(kind == kinds[0] for kind in kinds) else {"anyOf": kinds}
    required = [n for n in properties if all(n in option.get("required", []) for option in options)]
    description = " Or: ".join(option.get("description", "") for option in options)
    return {"type": "object", "description": description, "properties": properties, "required": required}


def _trimmed(schema: Any, definitions: Json) -> Any:
    """Write references out and fold `X or null` into X (an optional member is simply left out)."""
    if isinstance(schema, list):
        return [_trimmed(item, definitions) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    found = cast("Json", schema)
    if "$ref" in found:
        target = definitions[str(found["$ref"]).rpartition("/")[2]]
        return _trimmed({**target, **{k: v for k, v in found.items() if k != "$ref"}}, definitions)
    options: list[Json] = found.get("anyOf", [])
    real = [option for option in options if option.get("type") != "null"]
    if options and len(real) == 1:
        return _trimmed({**real[0], **{k: v for k, v in found.items() if k != "anyOf"}}, definitions)
    kept = {name: _word(name, value, definitions) for name, value in found.items() if _says(name, value)}
    if kept.get("type") == "object" and "properties" not in kept:
        kept |= {"properties": {}, "additionalProperties": True}
    return kept


def _word(name: str, value: Any, definitions: Json) -> Any:
    if name == "properties":
        return {n: _trimmed(s, definitions) for n, s in value.items()}
    return value if name in ("enum", "const", "required") else _trimmed(value, definitions)


def _says(name: str, value: Any) -> bool:
    """Whether a word of a schema tells a model something that GPT Actions take, too."""
    boundless = name == "maxLength" and value > 1_000_000
    return (
        name not in ("title", "default", "$defs", "additionalProperties", "discriminator") and not boundless
    )


def add_chat(api: FastAPI, app: Application) -> None:
    """Add the two documents; both can be read without a credential."""
    schema = cache(lambda: chat_schema(app, "/"))

    async def chat_contract(request: Request) -> Response:
        """Read the contract of the tools in the form that chat models accept."""
        url = app.context.get(Settings).public_url or str(request.base_url)
        return JSONResponse({**schema(), "servers": [{"url": url.rstrip("/")}]})

    async def chat_instructions(request: Request) -> Response:
        """Read the instructions for a chat model that uses the tools."""
        prompt = chat_pod()
        headers = {
            "x-prompt": f"{prompt.name}@{prompt.version}",
            "etag": f'"{prompt.sha256}"',
            "vary": "accept",
        }
        accepted = request.headers.get("accept", "")
        if "application/json" in accepted and "text/markdown" not in accepted:
            body = {"name": prompt.name, "version": prompt.version, "changelog": prompt.spec.changelog,
                    "tags": list(prompt.spec.tags), "sha256": prompt.sha256, "template": prompt.template}  # fmt: skip
            return JSONResponse(body, headers=headers)
        return Response(prompt.template, headers=headers, media_type="text/markdown")

    document: Json = {"schema": {"type": "object"}}
    whole: Json = {"description": "The document.", "content": {"application/json": document}}
    either = {"text/markdown": {"schema": {"type": "string"}}, "application/json": document}
    text: Json = {"description": "The instructions.", "content": either}
    for path, name, handler, reply in (
        ("/gpt/openapi.json", "getChatContract", chat_contract, whole),
        ("/gpt/instructions", "getChatInstructions", chat_instructions, text),
    ):
        api.add_api_route(
            path, handler, methods=["GET"], operation_id=name, summary=handler.__doc__, tags=["contract"],
            responses={200: reply}, response_class=Response,
        )  # fmt: skip


def size(document: Json) -> int:
    """Characters of a document on the wire."""
    return len(json.dumps(document, ensure_ascii=False, separators=(",", ":")))
