"""`ssot/providers/ai/provider.yaml`: which models there are, who serves them, what they cost. Unknown keys are errors.

It is the server's own file: an organisation narrows with its policy which of them it uses.
"""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from builderos.core.problems import Problem

from .schema import NANO, Label

PATH: Final = "ssot/providers/ai/provider.yaml"
MAX_BYTES: Final = 256 * 1024
ENV: Final = "env:"
SECRET: Final = "secret:"
_PER: Final = 10**6  # prices are per million tokens
_MAX_DEPTH: Final = 20
_Name = Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$")]
_Model = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,190}$")]
_Key = Annotated[str, Field(pattern=r"^(?:env|secret):[A-Za-z_][A-Za-z0-9_.-]{0,120}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(_Strict):
    """A model of a provider: prices per million tokens, the most that one answer can have, how much it takes in."""

    input: float = Field(default=0, ge=0, le=10**4)
    cached: float | None = Field(default=None, ge=0, le=10**4)
    output: float = Field(default=0, ge=0, le=10**4)
    max_output: int = Field(default=32_768, gt=0, le=10**8)
    context: int | None = Field(default=None, gt=0, le=10**9)

    def cost(self, sent: int, made: int, cached: int = 0) -> int:
        """Billionths of the currency, rounded up."""
        price_cached = self.input if self.cached is None else self.cached
        exact = (sent - cached) * self.input + cached * price_cached + made * self.output
        return -int(-exact * (NANO // _PER) // 1)


class Provider(_Strict):
    """Who answers. `openai`: any address that speaks OpenAI's interface; `anthropic`; `recorded`: files.

    `keys`: names of environment variables or of secrets of the calling organisation; the next one is taken where one is
    refused or used up. `models`: with an entry `"*"`, or none at all, any name is passed on. `retries`: how often a
    request is tried again before anything of an answer has been passed on.
    """

    kind: Literal["openai", "anthropic", "recorded"]
    base_url: str | None = Field(default=None, max_length=500)
    keys: tuple[_Key, ...] = Field(default=(), max_length=20)
    models: dict[Annotated[str, Field(max_length=200)], Model] = Field(default_factory=dict, max_length=1000)
    headers: dict[_Name, Annotated[str, Field(max_length=500)]] = Field(default_factory=dict, max_length=20)
    enabled: bool = True
    retries: int = Field(default=2, ge=0, le=10)
    first_s: float = Field(default=120, gt=0, le=3600)
    idle_s: float = Field(default=120, gt=0, le=3600)
    total_s: float = Field(default=900, gt=0, le=6 * 3600)
    max_bytes: int = Field(default=16 * 1024 * 1024, gt=0, le=2**30)
    mode: Literal["replay", "record", "scripted"] | None = None
    folder: str | None = Field(default=None, max_length=500)
    source: _Name | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind == "recorded" and (self.mode is None or self.folder is None):
            raise ValueError("kind recorded needs a mode and a folder")
        if (self.mode == "record") != (self.source is not None):
            raise ValueError("mode record needs the source that it records, and no other mode has one")
        return self

    @property
    def label(self) -> Label:
        """What answers of this provider are, also those that do not come."""
        labels: dict[str | None, Label] = {"replay": "recorded", "scripted": "scripted"}
        return labels.get(self.mode, "live")

    def model(self, name: str) -> Model | None:
        """What is known of a model; None where it may not be used."""
        found = self.models.get(name) or self.models.get("*")
        return found if found is not None or self.models else Model()


class AiFile(_Strict):
    """The whole file. `default`: what `default` means. `fallbacks`: who is asked when a model's provider is away."""

    version: Literal[1] = 1
    default: _Model | None = None
    aliases: dict[_Name, _Model] = Field(default_factory=dict, max_length=500)
    providers: dict[_Name, Provider] = Field(default_factory=dict, max_length=100)
    fallbacks: dict[_Model, tuple[_Model, ...]] = Field(default_factory=dict, max_length=500)

    @model_validator(mode="after")
    def _known(self) -> Self:
        for alias in self.aliases:
            if alias == "default" or "/" in alias:
                raise ValueError(f"alias {alias}: choose a name without a slash, other than default")
        named = [
            *self.aliases.values(),
            *self.fallbacks,
            *(n for names in self.fallbacks.values() for n in names),
        ]
        for name in [*named, *([self.default] if self.default else [])]:
            if name not in self.aliases and name.partition("/")[0] not in self.providers:
                raise ValueError(f"{name}: there is no such provider; names are provider/model")
        for name, provider in self.providers.items():
            if provider.source is not None and provider.source not in self.providers:
                raise ValueError(f"providers.{name}.source: there is no provider {provider.source}")
        return self


class AiFiles:
    """The server's file, read again when it changes. Without one: what the usual variables of the environment name."""

    def __init__(self, folder: Path, default: str | None, environ: Mapping[str, str] = os.environ) -> None:
        self._path = folder / PATH
        self._default = default
        self._environ = environ
        self._lock = threading.Lock()
        self._known: tuple[object, AiFile] | None = None

    def current(self) -> AiFile:
        """Raises `validation_failed` for a file that is not valid."""
        mark = self._mark()
        known = self._known
        if known is not None and known[0] == mark:
            return known[1]
        with self._lock:
            found = parse(self._path.read_bytes()) if mark is not None else shipped(self._environ)
            if self._default is not None:
                found = AiFile.model_validate(found.model_dump() | {"default": self._default})
            self._known = (mark, found)
            return found

    @property
    def folder(self) -> Path:
        """What relative folders of the file are relative to."""
        return self._path.parent

    def _mark(self) -> object:
        """Changes when the file does; None: there is none."""
        try:
            info = os.stat(self._path)
        except OSError:
            return None
        return info.st_mtime_ns, info.st_size, info.st_ino


def shipped(environ: Mapping[str, str]) -> AiFile:
    """What there is without a file: providers whose variables are set, by the names that everybody uses."""
    providers: dict[str, Provider] = {}
    if environ.get("OPENAI_API_KEY") or environ.get("OPENAI_BASE_URL"):
        providers["openai"] = Provider(
            kind="openai", base_url=environ.get("OPENAI_BASE_URL") or None,
            keys=("env:OPENAI_API_KEY",) if environ.get("OPENAI_API_KEY") else (),
        )  # fmt: skip
    if environ.get("ANTHROPIC_API_KEY"):
        providers["anthropic"] = Provider(
            kind="anthropic",
            base_url=environ.get("ANTHROPIC_BASE_URL") or None,
            keys=("env:ANTHROPIC_API_KEY",),
        )
    return AiFile(providers=providers)


def parse(data: bytes) -> AiFile:
    """Raises `validation_failed`, whose `errors` say where."""
    if len(data) > MAX_BYTES:
        raise _unfit([f"more than {MAX_BYTES} bytes"])
    try:
        text = data.decode()
        _look_over(text)
        found: Any = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise _unfit([str(error)[:300]]) from None
    try:
        return AiFile.model_validate(found if found is not None else {})
    except ValidationError as error:
        where = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:20]]
        raise _unfit(where) from None


def _look_over(text: str) -> None:
    """Refuse what a few bytes of make hours or gigabytes: deep nesting, aliases."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > _MAX_DEPTH:
            raise _unfit(["aliases and deep nesting are not allowed"])


def _unfit(errors: list[str]) -> Problem:
    return Problem(
        "validation_failed", f"{PATH} is not valid: {errors[0]}", hint="Mend the file.", errors=errors
    )
