"""`ssot/workbench/runtimes.yaml` and `ssot/providers/<name>/sandbox.yaml`: what is approved.

Unknown keys are errors.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, Self, TypeVar, cast

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from builderos.core.problems import Problem

from .schema import Limits, Tier

RUNTIMES_PATH: Final = "ssot/workbench/runtimes.yaml"
PROVIDERS_FOLDER: Final = "ssot/providers"
MAX_BYTES: Final = 256 * 1024
_MAX_DEPTH: Final = 20
_UNITS: Final = {"": 1, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "K": 1000, "M": 1000**2, "G": 1000**3}
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SIZE: Final = re.compile(r"([0-9]{1,12})(Ki|Mi|Gi|K|M|G)?\Z")


def _bytes_of(value: Any) -> Any:
    """`1Gi`, `512Mi`, `1000`: bytes, as Kubernetes spells them."""
    if isinstance(value, str) and (match := _SIZE.match(value)):
        return int(match[1]) * _UNITS[match[2] or ""]
    return value


_Name = Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$")]
_Folder = Annotated[
    str, Field(pattern=r"^/[A-Za-z0-9][A-Za-z0-9._+-]*(?:/[A-Za-z0-9._+-]+)+$", max_length=1000)
]
_Size = Annotated[int, BeforeValidator(_bytes_of), Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_File = TypeVar("_File", bound=_Strict)


class Runtime(_Strict):
    """What commands find: the system of this machine (`kind: local`), or an image pinned by digest.

    `folders`, of the server's own file alone: what they find of this machine beside its system, read-only and where it
    is, e.g. an environment of Python. Programs in the `bin` of each are found first.
    """

    name: _Name
    kind: Literal["local", "image"] = "image"
    languages: tuple[str, ...] = ()
    image: str | None = Field(None, pattern=r"^[a-z0-9][a-z0-9.:/_-]{0,255}@sha256:[0-9a-f]{64}$")
    folders: tuple[_Folder, ...] = Field((), max_length=16)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.kind == "image") != (self.image is not None):
            raise ValueError("give either `kind: local` or an `image` pinned by its sha256")
        if self.folders and self.kind == "image":
            raise ValueError("an image knows no folders of this machine")
        if any({".", ".."}.intersection(folder.split("/")) for folder in self.folders):
            raise ValueError("a folder is named by its whole path")
        return self

    @property
    def path(self) -> str:
        """Where its programs are looked for; empty where the system's own places are all there is."""
        return ":".join([*(f"{folder}/bin" for folder in self.folders), _PATH]) if self.folders else ""


class Profile(_Strict):
    """A size of room; `price` in credits per hour."""

    name: _Name
    cpu: float = Field(1, gt=0, le=256)
    memory: _Size = 1024**3
    gpu: int = Field(0, ge=0, le=64)
    max_seconds: int = Field(3600, gt=0, le=7 * 86400)
    price: float = Field(0, ge=0)

    def limits(self, wall_s: float | None = None) -> Limits:
        """The room's limits; a step's own `wall_s` can only shorten the profile's."""
        return Limits(
            cpu=self.cpu, memory=self.memory, wall_s=min(wall_s or self.max_seconds, self.max_seconds)
        )

    def within(self, bound: "Profile") -> "Profile":
        """No larger than another one, at no lower price."""
        return Profile(
            name=self.name, cpu=min(self.cpu, bound.cpu), memory=min(self.memory, bound.memory),
            gpu=min(self.gpu, bound.gpu), max_seconds=min(self.max_seconds, bound.max_seconds),
            price=max(self.price, bound.price),
        )  # fmt: skip


class RuntimeFile(_Strict):
    """The whole file."""

    runtimes: tuple[Runtime, ...] = ()
    profiles: tuple[Profile, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> Self:
        for items in (self.runtimes, self.profiles):
            names = [item.name for item in items]
            if len(set(names)) != len(names):
                raise ValueError("a name stands twice")
        return self

    def runtime(self, name: str) -> Runtime:
        """Raises `runtime_not_approved` for what is not listed."""
        for runtime in self.runtimes:
            if runtime.name == name:
                return runtime
        raise Problem(
            "runtime_not_approved", f"the runtime {name[:80]!r} is not listed in {RUNTIMES_PATH}",
            hint="Choose a listed one, or have it added to the file.", allowed=[r.name for r in self.runtimes],
        )  # fmt: skip

    def profile(self, name: str) -> Profile:
        """Raises `validation_failed` for what is not listed."""
        for profile in self.profiles:
            if profile.name == name:
                return profile
        raise Problem(
            "validation_failed", f"the profile {name[:80]!r} is not listed in {RUNTIMES_PATH}",
            hint="Choose a listed one.", allowed=[p.name for p in self.profiles],
        )  # fmt: skip


class ProviderFile(_Strict):
    """Who runs commands.

    `tier` strong: nothing else will do. weak: it will do. Not given: on a machine with only the weak one, each command
    needs an approval. `runtimes`: those it takes; all that it can where none is listed. `hosts`: the most that any
    command may ever reach; where there is no such list, the policy decides alone. `options`: what the provider needs to
    be reached; of the server's file alone.
    """

    provider: _Name
    enabled: bool = True
    tier: Tier | None = None
    runtimes: tuple[_Name, ...] = ()
    hosts: tuple[str, ...] | None = None
    preview: bool = False
    options: dict[_Name, str] = Field(default_factory=dict, max_length=20)

    def takes(self, runtime: Runtime) -> bool:
        """Whether commands of this runtime run here: the local one knows no images, the others know nothing else."""
        fits = (runtime.kind == "local") == (self.provider == "local")
        return fits and (not self.runtimes or runtime.name in self.runtimes)


def parse_runtimes(text: str) -> RuntimeFile:
    """Raises `validation_failed`, whose `errors` say where."""
    return _parse(text, RuntimeFile, RUNTIMES_PATH)


def parse_provider(text: str, name: str) -> ProviderFile:
    """Raises `validation_failed`; the file names its provider as its folder does."""
    path = f"ssot/providers/{name}/sandbox.yaml"
    found = _parse(text, ProviderFile, path)
    if found.provider != name:
        raise _unfit(path, [f"provider: {found.provider} lies in the folder of {name}"])
    return found


def _parse(text: str, model: type[_File], path: str) -> _File:
    if len(text) > MAX_BYTES:
        raise _unfit(path, [f"more than {MAX_BYTES} bytes"])
    try:
        _look_over(text, path)
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise _unfit(path, [str(error)[:300]]) from None
    try:
        return model.model_validate(data if data is not None else {})
    except ValidationError as error:
        where = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:20]]
        raise _unfit(path, where) from None


def _look_over(text: str, path: str) -> None:
    """Refuse what a few bytes of make hours or gigabytes: deep nesting, aliases. Raises `Problem`, `yaml.YAMLError`."""
    depth = 0
    for event in cast(Iterator[object], yaml.parse(text, yaml.SafeLoader)):  # pyright: ignore[reportUnknownMemberType]
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > _MAX_DEPTH:
            raise _unfit(path, ["aliases and deep nesting are not allowed"])


def _unfit(path: str, errors: list[str]) -> Problem:
    return Problem(
        "validation_failed", f"{path} is not valid: {errors[0]}", hint="Mend the file.", errors=errors
    )
