"""What answers for a release: one process in a jail, or its files."""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Call
from builderos.execution.compute import service as compute
from builderos.execution.runs import service as runs
from builderos.execution.serving.service import badges

from . import files, kinds
from .files import Recipe

if TYPE_CHECKING:
    from builderos.execution.serving.service import Files

_LOOK_S: Final = 5.0  # how long an answer may take
_SAID: Final = {
    "oom": "it used more memory than it may", "disk": "it filled its disk", "timeout": "its time was over",
    "budget": "the budget was used up", "lost": "its processes are gone",
}  # fmt: skip


def _last_line(log: runs.Sink | None) -> str:
    lines = log.last_lines() if log is not None else []
    return lines[-1].strip()[:500] if lines else ""


class Instance:
    """Lives on the loop of its keeper. The counting of who is inside is its stand's, under a lock of that."""

    def __init__(self, context: Context, recipe: Recipe, start: int, call: Call) -> None:
        self.recipe = recipe
        self.start = start
        self.since = time.monotonic()
        self.door: Path | None = None
        self.files: Files | None = None
        self.inside = 0
        self.tended = False
        self.hangs = False  # it did not answer at all when it was looked at last, and is to be ended for that
        self.expired = False  # its profile's time was over: no fault of its own
        self._context = context
        self._call = call
        self._work: asyncio.Task[compute.Outcome] | None = None
        self._log: runs.Sink | None = None
        self._badge: badges.Badge | None = None
        self._ended = asyncio.Event()

    @property
    def key(self) -> str:
        """Its name among all that ever answer."""
        return f"{self.recipe.id}.{self.start}"

    @property
    def over(self) -> bool:
        """Whether its process has ended."""
        return self._work is not None and self._work.done()

    async def up(self) -> str:
        """Start it and wait until it is well. Empty once it is; else why it is not, and then it is down again."""
        try:
            why = await self._up()
        except Problem as problem:
            why = problem.told
        except OSError as error:
            why = f"it could not be started: {error}"
        except BaseException:
            await asyncio.shield(asyncio.ensure_future(self.down()))
            raise
        if why:
            await self.down()
        return why

    async def _up(self) -> str:
        await asyncio.to_thread(files.lay_out, self._context, self.recipe)
        check = self.recipe.spec["health"]
        if self.recipe.static:
            self.files = await asyncio.to_thread(self._open)
            status = await asyncio.to_thread(self.files.look, check["path"])
            return "" if status == check["status"] else _unlike(check["path"], status, check["status"])
        sink = self._log = await asyncio.to_thread(
            runs.Sink, self.recipe.logs / f"{self.start}.log", self.recipe.redactor
        )  # fmt: skip
        self._badge = await badges.Badge.issued(
            self._context, self.recipe.org_id, self.recipe.holder, self.recipe.calls
        )
        order = self._order()
        self._work = asyncio.create_task(self._run(order, sink))
        door = await asyncio.to_thread(compute.door_of, self._context, order.name)
        return await self._became_well(door, check["status"], check["within_s"])

    async def _run(self, order: compute.Order, sink: runs.Sink) -> compute.Outcome:
        try:
            return await compute.execute(self._context, order, sink)
        finally:
            await asyncio.to_thread(sink.close)
            self._ended.set()

    def _open(self) -> "Files":
        from builderos.execution.serving.service import Files

        return Files(self.recipe.id, files.served(self.recipe))

    def _order(self) -> compute.Order:
        recipe, spec = self.recipe, self.recipe.spec
        taken = {*spec["env"], *spec["secrets"]}
        shown = self._badge.environment(taken) if self._badge is not None else {}
        return compute.Order(
            call=self._call, run_id=recipe.id, step_id="app", attempt=self.start, workspace=str(recipe.folder),
            argv=("/bin/sh", "-c", spec["command"]), runtime=spec["runtime"], profile=spec["profile"],
            network=tuple(spec["network"]), secrets=tuple(compute.SecretAsked(name) for name in spec["secrets"]),
            env=kinds.environment_of(spec) | shown, repo_id=recipe.repo_id, branch=recipe.branch, serves=kinds.PORT,
            calls=self._badge is not None, writable=False,
        )  # fmt: skip

    async def _became_well(self, door: Path, wanted: int, within_s: float) -> str:
        loop, path, said = asyncio.get_running_loop(), self.recipe.health_path, "it does not answer"
        until, pause = loop.time() + within_s, 0.05
        while loop.time() < until:
            if self.over:
                return await self.last_words()
            status = await look(door, path)
            if status == wanted:
                self.door = door
                return ""
            said = said if status is None else _unlike(path, status, wanted)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), pause)
            pause = min(pause * 1.5, 0.5)
        tail = _last_line(self._log)
        return f"it was not well within {within_s:g} s: {said}" + (f"; it said: {tail}" if tail else "")

    async def well(self) -> str:
        """Empty where it is well now; else why not."""
        check = self.recipe.spec["health"]
        if self.door is None or self.over:
            return ""
        began = time.monotonic()
        status = await look(self.door, self.recipe.health_path)
        # Where nobody takes the connection, its end is only about to be heard.
        silent = status is None and time.monotonic() - began >= _LOOK_S
        self.hangs = silent and check.get("restart", True)
        if status == check["status"]:
            return ""
        path = self.recipe.health_path
        return f"{path} does not answer" if status is None else _unlike(path, status, check["status"])

    async def ended(self) -> None:
        """Wait for the end of its process; files have none."""
        await self._ended.wait()

    async def last_words(self) -> str:
        """How its process ended, once it has."""
        assert self._work is not None
        try:
            outcome = await self._work
        except Problem as problem:
            return problem.told
        self.expired = outcome.status == "timeout"
        tail = _last_line(self._log)
        code = f"its command ended with exit code {outcome.exit_code}"
        told = outcome.detail or _SAID.get(outcome.reason or "", code)
        return f"{told}; it said: {tail}" if tail else told

    async def down(self) -> None:
        """End its processes; files are let go of. May be called again."""
        self.door = None
        found, self.files = self.files, None
        if found is not None:
            found.close()
        badge, self._badge = self._badge, None
        if badge is not None:
            await badge.end()
        work = self._work
        if work is None:
            return
        while not work.done():
            if await asyncio.to_thread(compute.end, self._context, self._order().name):
                break
            await asyncio.wait({work}, timeout=0.1)  # it is only about to begin
        await asyncio.gather(work, return_exceptions=True)


async def look(door: Path, path: str) -> int | None:
    """The status that a path answers with; None where nobody answers."""
    from builderos.execution.serving.service import SILENT, Inside

    with contextlib.suppress(*SILENT):
        inside = Inside.at(door)
        try:
            return await inside.look(path, _LOOK_S)
        finally:
            await inside.close()
    return None


def _unlike(path: str, status: int, wanted: int) -> str:
    return f"{path} answered {status}, not {wanted}"
