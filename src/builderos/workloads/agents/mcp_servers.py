"""Which MCP servers there are: those of the server's own file, and those that a branch declares.

`ssot/providers/mcp/servers.yaml` beside the server's state is its owner's: it may name addresses of the owner's own
networks, and variables of the environment. `mcp.yaml` on a branch is anybody's who may write there: public addresses
and commands in the jail, secrets as far as the policy file allows them. A name that both have is the owner's. Unknown
keys are errors.
"""

import os
import threading
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from builderos.core.dialing import target_of
from builderos.core.outgoing import Place
from builderos.core.problems import Problem

from .definition import Agent

PATH: Final = "ssot/providers/mcp/servers.yaml"
BRANCH: Final = "mcp.yaml"
PREFIX: Final = "mcp:"
ENV: Final = "env:"
SECRET: Final = "secret:"
MAX_BYTES: Final = 256 * 1024
_MAX_DEPTH: Final = 12
_Name = Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9_-]{0,40}[a-z0-9])?$")]
_Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,120}$")]
_Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,60}$")]
_Text = Annotated[str, Field(max_length=2_000, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Credential = Annotated[str, Field(pattern=r"^(?:env|secret):[A-Za-z_][A-Za-z0-9_.-]{0,120}$")]
_Secret = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,120}$")]
_Tool = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.*/-]{1,128}$")]
_TAKEN: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "content-type", "accept"}
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(_Strict):
    """One MCP server: an address that speaks streamable HTTP, or a command that speaks on its standard streams.

    `token`: sent as a bearer token; it and values of `headers` may be `secret:NAME`. `secrets`: what the command finds
    in variables of these names; `network`: hosts that it may reach, as far as the policy allows. `tools`: patterns for
    those that are offered. `networks`: of the owner's own, to which the address's name may lead.
    """

    url: str | None = Field(default=None, max_length=1_000)
    token: _Credential | None = None
    headers: dict[_Header, _Text] = Field(default_factory=dict, max_length=20)
    networks: tuple[str, ...] = Field(default=(), max_length=20)
    command: tuple[_Text, ...] = Field(default=(), max_length=50)
    env: dict[_Variable, _Text] = Field(default_factory=dict, max_length=50)
    secrets: tuple[_Secret, ...] = Field(default=(), max_length=20)
    network: tuple[str, ...] = Field(default=(), max_length=50)
    tools: tuple[_Tool, ...] = Field(default=("**",), max_length=200)
    timeout_s: float = Field(default=60, gt=0, le=3_600)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.url is None) == (not self.command):
            raise ValueError("say either url or command")
        there, elsewhere = ("url", "command") if self.url is not None else ("command", "url")
        other = {"url": ("token", "headers", "networks"), "command": ("env", "secrets", "network")}[elsewhere]
        if odd := [name for name in other if name in self.model_fields_set]:
            raise ValueError(f"{', '.join(odd)} does not go with {there}")
        if odd := [name for name in self.headers if name.lower() in _TAKEN]:
            raise ValueError(f"the header {odd[0]} is not yours to set")
        for text in self.networks:
            ip_network(text)
        return self

    @property
    def references(self) -> dict[str, str]:
        """Header → `env:…` or `secret:…`."""
        found = {name: text for name, text in self.headers.items() if text.startswith((ENV, SECRET))}
        return found | ({"Authorization": self.token} if self.token is not None else {})


class _File(_Strict):
    version: int = Field(default=1, ge=1, le=1)
    servers: dict[_Name, Server] = Field(default_factory=dict, max_length=100)


class Declared(_Strict):
    """A server as a session has it: frozen when it began. `own`: it stands in the owner's file."""

    name: str
    own: bool
    server: Server

    def where(self) -> Place:
        """What may be dialled for it. Raises `validation_failed`."""
        assert self.server.url is not None
        if not self.own:
            target_of(self.server.url)
            return Place(self.server.url)
        return Place.named(self.server.url, [ip_network(text) for text in self.server.networks])

    def asked_host(self) -> str | None:
        """The host that the policy has to allow; None where the owner has named an address of the server's own."""
        host = (urlsplit(self.server.url or "").hostname or "").rstrip(".")
        return None if self.own and (host == "localhost" or _is_address(host)) else host


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class McpServers:
    """The server's own file, read again when it changes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PATH
        self._lock = threading.Lock()
        self._known: tuple[object, Mapping[str, Server]] = (None, {})

    def current(self) -> Mapping[str, Server]:
        """Raises `validation_failed` for a file that is not valid."""
        mark = self._mark()
        with self._lock:
            if self._known[0] != mark:
                found = parse(self._path.read_bytes() if mark is not None else b"", PATH, own=True)
                self._known = (mark, found)
            return self._known[1]

    def _mark(self) -> object:
        try:
            info = os.stat(self._path)
        except OSError:
            return None
        return info.st_mtime_ns, info.st_size, info.st_ino


def servers_of(agent: Agent) -> list[str]:
    """Names of the servers that an agent's toolset speaks of, in its order."""
    named = (tool.removeprefix(PREFIX).partition("/")[0] for tool in agent.toolset if tool.startswith(PREFIX))
    return list(dict.fromkeys(named))


def frozen(agent: Agent, own: Mapping[str, Server], read: Callable[[str], str | None]) -> dict[str, Any]:
    """Name → the server, as JSON, for a session that begins. Raises `validation_failed` where there is none."""
    names = servers_of(agent)
    found: dict[str, Any] = {}
    text = read(BRANCH) if any(name not in own for name in names) else None
    branch = parse((text or "").encode(), BRANCH, own=False)
    for name in names:
        server = own.get(name) or branch.get(name)
        if server is None:
            raise Problem(
                "validation_failed", f"{agent.name} names the MCP server {name}, which nobody has declared",
                hint=f"Declare it in {BRANCH} of the branch, or in {PATH} of the server.",
            )  # fmt: skip
        found[name] = Declared(name=name, own=name in own, server=server).model_dump(
            mode="json", exclude_unset=True
        )
    return found


def places_of(spec: Mapping[str, Any]) -> dict[str, Declared]:
    """What `frozen` wrote."""
    found: Mapping[str, Any] = spec.get("mcp") or {}
    return {name: Declared.model_validate(one) for name, one in found.items()}


def parse(data: bytes, file: str, *, own: bool) -> Mapping[str, Server]:
    """Servers by name. Raises `validation_failed`, whose `errors` say where."""
    if len(data) > MAX_BYTES:
        raise _unfit(file, [f"more than {MAX_BYTES} bytes"])
    try:
        text = data.decode()
        _look_over(text, file)
        found = _File.model_validate(yaml.safe_load(text) or {})
    except ValidationError as error:
        where = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:20]]
        raise _unfit(file, where) from None
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise _unfit(file, [str(error)[:300]]) from None
    for name, server in found.servers.items():
        _check(file, name, server, own=own)
    return found.servers


def _check(file: str, name: str, server: Server, *, own: bool) -> None:
    """Where it may be. Raises `validation_failed`."""
    where = f"servers.{name}"
    if not own:
        if server.networks:
            raise _unfit(file, [f"{where}.networks: the owner of the server alone has networks of its own"])
        if any(text.startswith(ENV) for text in server.references.values()):
            raise _unfit(file, [f"{where}: variables of the server are its owner's: write secret:NAME"])
    if server.url is not None:
        try:
            Declared(name=name, own=own, server=server).where()
        except Problem as problem:
            raise _unfit(file, [f"{where}.url: {problem.detail}"]) from problem


def _look_over(text: str, file: str) -> None:
    """Refuse what a few bytes of make hours or gigabytes: deep nesting, aliases."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > _MAX_DEPTH:
            raise _unfit(file, ["aliases and deep nesting are not allowed"])


def _unfit(file: str, errors: list[str]) -> Problem:
    return Problem(
        "validation_failed", f"{file} is not valid: {errors[0]}", hint="Mend the file.", errors=errors
    )
