"""The contract as a document: what FastAPI derives from the operations, completed with what it cannot know."""

import json
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from .examples import EXAMPLES
from .problem import ProblemBody
from .routes import OperationRoute, quietly

Json = dict[str, Any]
PROBLEM: Final = "application/problem+json"
_METHODS: Final = ("get", "put", "post", "delete", "patch")
_TOKEN: Final[Json] = {
    "type": "http",
    "scheme": "bearer",
    "description": "A workspace token (bos_rt_…), an API key (bos_ak_…) or the local owner's credential (bos_ow_…). "
    "Operations over POST also take a workspace token as the member `reuse_token` of the body.",
}
_SIGNATURE: Final[Json] = {
    "type": "apiKey",
    "in": "header",
    "name": "webhook-signature",
    "description": "HMAC-SHA-256 over webhook-id, webhook-timestamp and body: see https://www.standardwebhooks.com.",
}


def install(api: FastAPI) -> None:
    """Make `api.openapi()` give the completed document."""

    def document() -> Json:
        if api.openapi_schema is None:
            api.openapi_schema = describe(api)
        return api.openapi_schema

    api.openapi = document


def describe(api: FastAPI) -> Json:
    """The OpenAPI 3.1 document of every route of `api`."""
    routes = [route.framework if isinstance(route, OperationRoute) else route for route in api.routes]
    with quietly():
        document = get_openapi(
            title=api.title, version=api.version, openapi_version="3.1.0", summary=api.summary,
            description=api.description, routes=routes, license_info=api.license_info,
            separate_input_output_schemas=False,
            servers=[{"url": "/", "description": "The server that serves this."}],
        )  # fmt: skip
    components: Json = document.setdefault("components", {})
    components["securitySchemes"] = {"token": _TOKEN, "signature": _SIGNATURE}
    schemas: Json = components.setdefault("schemas", {})
    schemas["Problem"] = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
    for path in document["paths"].values():
        for method, operation in path.items():
            if method in _METHODS:
                _complete(operation)
    document["tags"] = [{"name": name} for name in _tags(document)]
    return document


def _tags(document: Json) -> list[str]:
    found = {tag for p in document["paths"].values() for op in p.values() for tag in op.get("tags", [])}
    return sorted(found)


def _complete(operation: Json) -> None:
    """Problems with their media type, an example, and no default beside a reference (readers ignore it)."""
    responses: Json = operation["responses"]
    if "security" in operation:
        refusal = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for status, text in (("4XX", "The call was refused."), ("5XX", "The server could not do it.")):
            responses[status] = {"description": f"{text} `code` and `hint` say why.", "content": refusal}
    example = EXAMPLES.get(operation.get("operationId", ""))
    for parameter in operation.get("parameters", []):
        if example is not None and parameter["name"] in example:
            parameter["example"] = example[parameter["name"]]
    in_path = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
    content: Json = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    if content:
        content.get("schema", {}).pop("default", None)
        if example is not None:
            content["example"] = {name: value for name, value in example.items() if name not in in_path}


def render(document: Json) -> str:
    """The text of the document, the same for the same operations."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
