"""What every provider of deployments does, here or far away.

A *place* is what has an address: one environment of one repository. A *version* is what is served there, one after the
other; it goes by its `ref`, and whatever is asked twice with the same `ref` happens once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from builderos.core.registry import Registry
from builderos.execution.compute.schema import Limits, LogChunk, Secret

Stage = Literal["building", "ready", "live", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class Check:
    """How a version says that it is well: the path answers with the status, at first within so many seconds."""

    path: str = "/"
    status: int = 200
    within_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Site:
    """Files below `folder` of the version, as they are; `fallback` answers for paths that are not there."""

    folder: str = ""
    fallback: str = ""


class LogSink(Protocol):
    """Takes what a version prints."""

    def write(self, data: bytes, /) -> object:
        """The next bytes, raw."""
        ...

    def close(self) -> None:
        """There is no more."""
        ...


@dataclass(frozen=True, slots=True)
class Release:
    """One version. `folder` holds its files, is not changed any more, and stays until the version is stopped.

    Either a `site` or a `command` for a shell, which listens on port `$PORT` of its loopback. `address` is where the
    place was reached before: it is kept where that is possible. Values of `secrets` are never written to a disk.
    """

    ref: str
    place: str
    environment: str
    folder: str
    site: Site | None = None
    command: str = ""
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[Secret, ...] = ()
    hosts: tuple[str, ...] = ()
    check: Check = Check()
    limits: Limits = field(default_factory=Limits)
    address: str = ""
    log: Callable[[], LogSink] | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a version stands. `building`: it starts and is not well yet; `ready`: it is, and is not served; `live`: it is
    served at `url`; `failed`: it never became well, `detail` says why.
    """

    ref: str
    stage: Stage
    url: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """What the last look at a version found; `well` None: nobody has looked yet."""

    well: bool | None
    status: int | None = None
    latency_ms: float | None = None
    detail: str = ""
    at: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """For a row or a reply."""
        return {
            "well": self.well, "status": self.status, "latency_ms": self.latency_ms, "detail": self.detail,
            "at": self.at.isoformat() if self.at is not None else None,
        }  # fmt: skip


class Deployer(Protocol):
    """Serves versions of places. Methods block; call them from a thread. All but `deploy` and `rollback` raise
    `not_found` for a `ref` that was never deployed here or has been forgotten.
    """

    @property
    def name(self) -> str:
        """As deployments name it."""
        ...

    @property
    def remote(self) -> bool:
        """Whether what it serves goes on while no server of ours runs. Else it is deployed again after a start."""
        ...

    def deploy(self, release: Release) -> Standing:
        """Begin to bring a version up; what its place serves stays as it is. Where that `ref` is known already, say how
        it stands instead; where it failed, it is tried again.

        Raises `unavailable` where it cannot be served here at all, `validation_failed`; then nothing was begun.
        """
        ...

    def status(self, ref: str) -> Standing:
        """How it stands now."""
        ...

    def promote(self, ref: str) -> Standing:
        """Have the place serve this version from now on, without a gap. Raises `illegal_transition` where it is not
        ready. The one before stays up for a while, so that it can come back at once.
        """
        ...

    def rollback(self, place: str) -> Standing:
        """Have the place serve the version that it served before this one. Raises `conflict` where none is up."""
        ...

    def health(self, ref: str) -> Health:
        """What was found when it was looked at last: at least every ten seconds while it is served."""
        ...

    def logs(self, ref: str, offset: int = 0, limit: int = 65536) -> LogChunk:
        """What it printed, raw; at most `limit` bytes from byte `offset`."""
        ...

    def stop(self, ref: str) -> None:
        """End it with all its processes, and forget it; where it was served, its place answers no more. May be called
        again.
        """
        ...

    def watch(self, tell: Callable[[str, Health], None]) -> None:
        """Call `tell(ref, health)`, from any thread, when a version that is served stops being well, or is again. It
        must not block.
        """
        ...

    def close(self) -> None:
        """End everything that lasts no longer than this process."""
        ...


class Deployers(Registry[Callable[[], Deployer]]):
    """Providers by name, built when they are first needed."""

    def __init__(self) -> None:
        super().__init__("provider of deployments")
        self._built: dict[str, Deployer] = {}

    def provider(self, name: str) -> Deployer:
        """The one of this name. Raises `KeyError`."""
        if name not in self._built:
            self._built.setdefault(name, self.get(name)())
        return self._built[name]

    def close(self) -> None:
        """Close those that were built."""
        built, self._built = self._built, {}
        for provider in built.values():
            provider.close()
