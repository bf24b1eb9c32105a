"""The provider `local` of deployments: versions are processes in jails, or files, each place behind an address of its
own on this machine's loopback.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from builderos.core.loops import Loop
from builderos.core.problems import Problem
from builderos.execution.compute.schema import LogChunk
from builderos.workloads.deployments.ports import Health, Release, Standing

if TYPE_CHECKING:
    from .place import Place
    from .version import Jail, Pace, Version

_ANSWER_S: Final = 60.0
WARM_S: Final = 600.0
DRAIN_S: Final = 30.0


class LocalDeployer:
    """See `Deployer`. `jail` is asked for when the first command is deployed. Nothing is loaded before it is needed.

    `warm_s`: how long the version before stays up behind the one that is served; `drain_s`: how long a version that
    goes may take for its last answers.
    """

    name: str = "local"
    remote: bool = False

    def __init__(
        self, jail: "Callable[[], Jail]", *, pace: "Pace | None" = None, warm_s: float = WARM_S,
        drain_s: float = DRAIN_S,
    ) -> None:  # fmt: skip
        self._jail = jail
        self._pace = pace
        self._warm_s = warm_s
        self._drain_s = drain_s
        self._boot = f"{time.time_ns():x}"
        self._places: dict[str, Place] = {}
        self._versions: dict[str, Version] = {}
        self._tell: Callable[[str, Health], None] = lambda _ref, _health: None
        self._loop = Loop("deployments")

    # ---------------------------------------------------------------- see `Deployer`

    def deploy(self, release: Release) -> Standing:
        """See `Deployer`."""
        if not sys.platform.startswith("linux"):
            raise Problem(
                "unavailable", "deployments are served on Linux alone", hint="Use a remote provider."
            )
        if (release.site is None) == (release.command == ""):
            raise Problem(
                "validation_failed", "a version is either files or a command", hint="Name one of them."
            )
        return self._loop.run(self._deploy(release), _ANSWER_S)

    def status(self, ref: str) -> Standing:
        """See `Deployer`."""
        return self._loop.run(self._status(ref), _ANSWER_S)

    def promote(self, ref: str) -> Standing:
        """See `Deployer`."""
        return self._loop.run(self._promote(ref), _ANSWER_S)

    def rollback(self, place: str) -> Standing:
        """See `Deployer`."""
        return self._loop.run(self._rollback(place), _ANSWER_S)

    def health(self, ref: str) -> Health:
        """See `Deployer`."""
        return self._known(ref).health

    def logs(self, ref: str, offset: int = 0, limit: int = 65536) -> LogChunk:
        """See `Deployer`."""
        return self._known(ref).logs(offset, limit)

    def stop(self, ref: str) -> None:
        """See `Deployer`."""
        if ref in self._versions:
            self._loop.run(self._stop(ref), _ANSWER_S)

    def watch(self, tell: Callable[[str, Health], None]) -> None:
        """See `Deployer`."""
        self._tell = tell

    def close(self) -> None:
        """See `Deployer`."""
        self._loop.close(self._close, within_s=_ANSWER_S)

    # ---------------------------------------------------------------- on the loop

    async def _deploy(self, release: Release) -> Standing:
        from .place import Place
        from .version import Pace, Version

        place = self._places.setdefault(
            release.place,
            Place(release.place, warm_s=self._warm_s, drain_s=self._drain_s, forget=self._forget),
        )
        version = self._versions.get(release.ref)
        if version is None or version.stage in ("failed", "stopped"):
            version = Version(release, self._jail, self._boot, self._pace or Pace(), self._told)
            self._versions[release.ref] = version
            version.begin()
        return version.standing(place.url)

    async def _status(self, ref: str) -> Standing:
        version = self._known(ref)
        return version.standing(self._places[version.release.place].url)

    async def _promote(self, ref: str) -> Standing:
        version = self._known(ref)
        if version.stage != "ready":
            raise Problem(
                "illegal_transition",
                f"{ref} is {version.stage}, not ready",
                hint="Wait until it is.",
                allowed=[],
            )
        place = self._places[version.release.place]
        try:
            await place.open(version.release.address)
        except OSError as error:
            raise Problem("unavailable", f"it cannot be served here: {error}", hint="Try again.") from error
        place.point_to(version)
        return version.standing(place.url)

    async def _rollback(self, place: str) -> Standing:
        before = self._places[place].before if place in self._places else None
        if before is None or before.stage != "ready":
            raise Problem("conflict", "no version before this one is up", hint="Deploy one.", conflicts=[])
        return await self._promote(before.ref)

    async def _stop(self, ref: str) -> None:
        version = self._versions.pop(ref)
        place = self._places[version.release.place]
        place.let_go(version)
        if version.idle.is_set():
            await version.close()
        else:
            place.retire(version)
        if place.current is None and place.before is None and self._is_unused(place.name):
            del self._places[place.name]
            await place.close()

    def _is_unused(self, place: str) -> bool:
        return all(version.release.place != place for version in self._versions.values())

    async def _close(self) -> None:
        await asyncio.gather(*(place.close() for place in self._places.values()))
        await asyncio.gather(
            *(version.close() for version in self._versions.values()), return_exceptions=True
        )

    # ---------------------------------------------------------------- inside

    def _known(self, ref: str) -> "Version":
        version = self._versions.get(ref)
        if version is None:
            raise Problem("not_found", f"no deployment {ref[:200]} is known here", hint="Deploy it.")
        return version

    def _forget(self, version: "Version") -> None:
        """One that has ended: its secrets are not kept longer than it."""
        if self._versions.get(version.ref) is version:
            del self._versions[version.ref]

    def _told(self, ref: str, health: Health) -> None:
        self._tell(ref, health)
