"""The server's contract, `openapi.json`: which operations there are and how a call of one is written."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

from .http import Client

Json = dict[str, Any]
_KEPT_S: Final = 600.0  # a remote server does not say when it was started
_METHODS: Final = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Operation:
    """One operation: `fields` are the names of its input with their schemas, `required` those that must be given."""

    name: str
    method: str
    path: str
    summary: str
    group: str
    profile: str
    consequential: bool
    deprecated: bool
    in_path: tuple[str, ...]
    fields: Mapping[str, Json]
    required: frozenset[str]
    is_json: bool

    def route(self, values: Mapping[str, Any]) -> tuple[str, Json]:
        """The path with its parameters filled in, and what is left for the query or body."""
        path = self.path
        for name in self.in_path:
            path = path.replace("{" + name + "}", quote(str(values.get(name, "")), safe=""))
        return path, {name: value for name, value in values.items() if name not in self.in_path}


class Contract:
    """The operations of one server by name."""

    def __init__(self, document: Json) -> None:
        self._schemas: Mapping[str, Json] = document.get("components", {}).get("schemas", {})
        self._written = {
            found["operationId"]: (path, method, found) for path, method, found in _all(document)
        }

    @property
    def names(self) -> list[str]:
        """Of all operations."""
        return list(self._written)

    @cached_property
    def operations(self) -> dict[str, Operation]:
        """All of them, by name."""
        return {name: self._operation(*written) for name, written in self._written.items()}

    def operation(self, name: str) -> Operation | None:
        """One of them, without reading the hundreds of others."""
        return self._operation(*self._written[name]) if name in self._written else None

    def _operation(self, path: str, method: str, found: Json) -> Operation:
        parameters: list[Json] = found.get("parameters", [])
        content = found.get("requestBody", {}).get("content", {}).get("application/json", {})
        body = self.resolve(content.get("schema", {}))
        fields = {p["name"]: self._described(p) for p in parameters if p.get("in") in ("path", "query")}
        required = {p["name"] for p in parameters if p.get("required")} | set(body.get("required", []))
        return Operation(
            name=found["operationId"], method=method, path=path, summary=str(found.get("summary", "")),
            group=str((found.get("tags") or ["other"])[0]), profile=str(found.get("x-profile", "platform")),
            consequential=bool(found.get("x-openai-isConsequential")), deprecated=bool(found.get("deprecated")),
            in_path=tuple(p["name"] for p in parameters if p.get("in") == "path"),
            fields={**fields, **{name: self.plain(schema) for name, schema in body.get("properties", {}).items()}},
            required=frozenset(required), is_json=_replies_with_json(found),
        )  # fmt: skip

    def _described(self, parameter: Json) -> Json:
        schema = self.plain(parameter.get("schema", {}))
        return {**schema, "description": parameter.get("description") or schema.get("description", "")}

    def resolve(self, schema: Json) -> Json:
        """The schema behind a reference."""
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        return self._schemas.get(name, {}) if name else schema

    def plain(self, schema: Json) -> Json:
        """A field's schema with its type on top: references followed, `X or null` as X."""
        found = {**self.resolve(schema), **{k: v for k, v in schema.items() if k != "$ref"}}
        options = [self.resolve(option) for option in cast("list[Json]", found.get("anyOf", []))]
        real = [option for option in options if option.get("type") != "null"]
        if len(real) == 1:
            found = {**real[0], **{k: v for k, v in found.items() if k != "anyOf"}}
        return found


def _all(document: Json) -> Iterator[tuple[str, str, Json]]:
    paths: Mapping[str, Mapping[str, Json]] = document.get("paths", {})
    for path, methods in paths.items():
        for method, found in methods.items():
            if method in _METHODS and "operationId" in found:
                yield path, method.upper(), found


def _replies_with_json(found: Json) -> bool:
    replies: Mapping[str, Json] = found.get("responses", {})
    kinds = {
        kind
        for status, reply in replies.items()
        if status.startswith("2")
        for kind in reply.get("content", {})
    }
    return not kinds or kinds == {"application/json"}


def load(client: Client, edition: str | None) -> Contract:
    """The contract of the client's server, read from a cache where that is still the same.

    `edition` tells one start of a server from the next (the local server's); without it the cache is believed for ten
    minutes. Raises `ClientError`.
    """
    path = _cache_file(client.url, edition)
    document = _cached(path, None if edition else _KEPT_S)
    if document is None:
        document = client.call("GET", "/openapi.json")
        _keep(path, document)
    return Contract(document)


def forget(client: Client, edition: str | None) -> None:
    """Ask the server again next time."""
    _cache_file(client.url, edition).unlink(missing_ok=True)


def _cache_file(url: str, edition: str | None) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = hashlib.sha256(f"{url}\n{edition or ''}".encode()).hexdigest()[:24]
    return Path(base) / "builderos" / f"openapi-{name}.json"


def _cached(path: Path, limit_s: float | None) -> Json | None:
    try:
        if limit_s is not None and time.time() - path.stat().st_mtime > limit_s:
            return None
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "paths" in found else None  # pyright: ignore[reportUnknownVariableType]


def _keep(path: Path, document: Json) -> None:
    """Write the cache; where that is not possible, the next command asks the server."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in sorted(path.parent.glob("openapi-*.json"), key=lambda p: p.stat().st_mtime)[:-8]:
            old.unlink(missing_ok=True)
        draft.write_text(json.dumps(document), "utf-8")
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
