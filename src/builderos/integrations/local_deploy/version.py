"""One version: its process in a jail, or its files; whether it is well."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import aiohttp
from aiohttp import web

from builderos.core.clock import utcnow
from builderos.core.problems import Problem
from builderos.execution.compute.ports import SandboxProvider
from builderos.execution.compute.schema import LogChunk, Result, Sandbox, Spec
from builderos.execution.serving.service import Files, Inside, Passing
from builderos.workloads.deployments.ports import Health, LogSink, Release, Stage, Standing

PORT: Final = 8000
_FOREVER_S: Final = 10 * 365 * 86400.0
_FIRST_LOOK_S: Final = 0.05
_AGAIN_S: Final = (0.1, 0.5, 2.0, 5.0, 15.0)  # pauses before a command that ended by itself is started again
_UNWELL_S: Final = 0.5  # pause before one that is not well is looked at again
_CALM_S: Final = 60.0  # after which it counts as steady
_ADDRESS: Final = "X-BuilderOS-Deployment"
_PIECE: Final = 1 << 20


class Jail(SandboxProvider, Protocol):
    """Where commands run whose port is reached through a socket file."""

    @property
    def folder(self) -> Path:
        """Where each execution has a folder of its name until it is forgotten."""
        ...

    def door(self, sandbox_id: str) -> Path:
        """The socket at which what `Spec.serves` names is reached."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How often versions are looked at, and how many bad looks in a row make one unwell."""

    every_s: float = 5.0
    patience_s: float = 3.0
    bad_looks: int = 3


class Version:
    """Lives on the loop of its deployer. `boot` makes names of executions unique among the starts of a server."""

    def __init__(
        self, release: Release, jail: Callable[[], Jail], boot: str, pace: Pace, tell: Callable[[str, Health], None]
    ) -> None:  # fmt: skip
        self.release = release
        self.stage: Stage = "building"
        self.detail = ""
        self.served = False
        self.health = Health(None)
        self.idle = asyncio.Event()
        self.idle.set()
        self._inflight = 0
        self._jail_of = jail
        self._boot = boot
        self._pace = pace
        self._tell = tell
        self._inside: Inside | None = None
        self._files: Files | None = None
        self._log: LogSink | None = None
        self._count = 0
        self._id = ""
        self._held = -1
        self._read = 0
        self._ended = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self._bad = 0

    @property
    def ref(self) -> str:
        """Its name."""
        return self.release.ref

    def standing(self, url: str) -> Standing:
        """How it stands; `url` where its place is reached."""
        stage: Stage = "live" if self.served and self.stage == "ready" else self.stage
        return Standing(self.ref, stage, url if self.served else "", self.detail)

    # ---------------------------------------------------------------- its life

    def begin(self) -> None:
        """Come up, in the background."""
        self.stage, self.detail = "building", ""
        self._life = asyncio.get_running_loop().create_task(self._live())

    async def close(self) -> None:
        """End it with all its processes."""
        self.stage = "stopped"
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)
        await self._down()
        if self._log is not None:
            await asyncio.to_thread(self._log.close)

    async def _live(self) -> None:
        try:
            if self.release.log is not None and self._log is None:
                self._log = await asyncio.to_thread(self.release.log)
            await self._up()
            why = await self._became_well()
        except Problem as problem:
            why = problem.told
        except OSError as error:
            why = f"it could not be started: {error}"
        if why:
            await self._down()
            self.stage, self.detail = "failed", why
            return
        self.stage = "ready"
        await self._keep()

    async def _became_well(self) -> str:
        """Empty once it is well; else why it did not become so in time."""
        until = time.monotonic() + self.release.check.within_s
        pause = _FIRST_LOOK_S
        while True:
            if await self._look():
                return ""
            if self._ended.is_set():
                return await self._last_words()
            if time.monotonic() > until:
                return f"it was not well within {self.release.check.within_s:g} s: {self.health.detail}"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), pause)
            pause = min(pause * 1.5, 1.0)

    async def _keep(self) -> None:
        """Look at it for ever; start it again where it ended by itself."""
        tries, since = 0, time.monotonic()
        while True:
            pause = self._pace.every_s if self.health.well else min(_UNWELL_S, self._pace.every_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), pause)
            if not self._ended.is_set():
                await self._look()
                continue
            tries = 0 if time.monotonic() - since > _CALM_S else tries
            self._note(well=False, detail=await self._last_words(), at_once=True)
            await self._down()
            await asyncio.sleep(_AGAIN_S[min(tries, len(_AGAIN_S) - 1)])
            tries, since = tries + 1, time.monotonic()
            try:
                await self._up()
            except (Problem, OSError) as error:
                self._note(well=False, detail=f"it could not be started again: {error}", at_once=True)
                self._ended.set()

    # ---------------------------------------------------------------- up and down

    async def _up(self) -> None:
        """Start it. Raises `Problem`, `OSError`."""
        release = self.release
        if release.site is not None:
            folder = Path(release.folder, release.site.folder)
            self._files = Files(release.ref, folder, release.site.fallback)
            return
        self._count += 1
        self._ended.clear()
        self._id, self._read = f"{release.ref}.{self._boot}-{self._count}", 0
        starting = asyncio.ensure_future(asyncio.to_thread(self._start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait([starting])  # a start under way cannot be called back, only ended
            raise
        self._held = os.open(self._jail_of().folder / self._id, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # The path of a socket may have 107 bytes, that of a folder more.
        self._inside = Inside(f"/proc/self/fd/{self._held}/{self._jail_of().door(self._id).name}")

    def _start(self) -> None:
        release, jail = self.release, self._jail_of()
        _forget_lost(jail, release.ref, self._id)
        env = (*release.env, ("PORT", str(PORT)), ("HOST", "127.0.0.1"))
        spec = Spec(
            self._id, ("/bin/sh", "-c", release.command), release.folder, writable=False, env=env,
            secrets=release.secrets, hosts=release.hosts, limits=replace(release.limits, wall_s=_FOREVER_S),
            serves=PORT,
        )  # fmt: skip
        jail.start(spec)
        jail.when_ended(self._id, self._heard)

    def _heard(self, ended: Sandbox) -> None:
        """On a thread of the jail."""
        loop = self._life.get_loop() if self._life is not None else None
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._gone, ended.id)

    def _gone(self, sandbox_id: str) -> None:
        if sandbox_id == self._id:
            self._ended.set()

    async def _down(self) -> None:
        """End what runs, and forget it."""
        inside, self._inside = self._inside, None
        if inside is not None:
            await inside.close()
        files, self._files = self._files, None
        if files is not None:
            files.close()
        if self._held >= 0:
            os.close(self._held)
            self._held = -1
        if self._id:
            await asyncio.to_thread(self._end)
            self._id = ""

    def _end(self) -> None:
        jail, name = self._jail_of(), self._id
        with contextlib.suppress(Problem):  # it never began, or everything there has ended
            jail.kill(name)
            jail.wait(name, self.release.limits.grace_s + 10)
            self._pump()
            jail.remove(name)

    async def _last_words(self) -> str:
        """How its process ended."""
        await asyncio.to_thread(self._pump)
        try:
            result = self._jail_of().poll(self._id).result
        except Problem as problem:
            return problem.detail
        return _said(result) if result is not None else "it is not there any more"

    # ---------------------------------------------------------------- looking

    async def _look(self) -> bool:
        """Ask it how it is; notes what it says."""
        check, began = self.release.check, time.monotonic()
        status: int | None = None
        detail = ""
        try:
            status = await self._status_of(check.path)
        except TimeoutError:
            detail = f"{check.path} did not answer within {self._pace.patience_s:g} s"
        except (aiohttp.ClientError, OSError):
            detail = f"{check.path} does not answer"
        if status is not None and status != check.status:
            detail = f"{check.path} answered {status}, not {check.status}"
        took = round((time.monotonic() - began) * 1000, 2)
        await asyncio.to_thread(self._pump)
        self._note(well=status == check.status, detail=detail, status=status, latency_ms=took)
        return status == check.status

    async def _status_of(self, path: str) -> int:
        if self._files is not None:
            return await asyncio.to_thread(self._files.look, path.partition("?")[0])
        if self._inside is None:
            raise OSError("not up")
        return await self._inside.look(path, self._pace.patience_s)

    def _note(
        self, *, well: bool, detail: str, status: int | None = None, latency_ms: float | None = None,
        at_once: bool = False,
    ) -> None:  # fmt: skip
        """Remember a look; tell of a change once it is certain."""
        was = self.health.well
        self._bad = 0 if well else self._bad + 1
        certain = well or at_once or self.stage != "ready" or self._bad >= self._pace.bad_looks
        self.health = Health(well if certain else was, status, latency_ms, detail, utcnow())
        if self.served and self.stage == "ready" and was is not None and self.health.well is not was:
            self._tell(self.ref, self.health)

    # ---------------------------------------------------------------- what it prints

    def _pump(self) -> None:
        """Hand on what it printed since the last time."""
        while self._log is not None and self._id:
            try:
                chunk = self._jail_of().logs(self._id, self._read, _PIECE)
            except Problem:
                return  # it is forgotten already
            self._read = chunk.next_offset
            if not chunk.data:
                return
            self._log.write(chunk.data)

    def logs(self, offset: int, limit: int) -> LogChunk:
        """What the process that runs now printed."""
        if not self._id:
            return LogChunk(b"", offset, ended=self.stage in ("failed", "stopped"))
        return self._jail_of().logs(self._id, offset, limit)

    # ---------------------------------------------------------------- serving

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """What a request gets."""
        headers = {_ADDRESS: self.ref}
        self._inflight += 1
        self.idle.clear()
        try:
            if self._files is not None:
                return await self._files.answer(request, headers)
            if self._inside is not None:
                return await self._inside.answer(request, Passing(headers))
            return web.Response(status=503, headers=headers, text="The deployment is starting again.\n")
        finally:
            self._inflight -= 1
            if not self._inflight:
                self.idle.set()


def _forget_lost(jail: Jail, ref: str, keep: str) -> None:
    """Executions of this version that a server left which was killed."""
    for folder in jail.folder.glob(f"{ref}.*"):
        with contextlib.suppress(Problem):
            if folder.name != keep and jail.attach(folder.name).result is not None:
                jail.remove(folder.name)


def _said(result: Result) -> str:
    if result.reason == "exit":
        return f"its command ended with exit code {result.exit_code}"
    why = {
        "oom": "it used more memory than it may",
        "disk": "it filled its disk",
        "timeout": "its time was over",
    }
    return why.get(result.reason, result.detail or f"its command ended: {result.reason}")
