"""One session from its start to its end: its folder, its server in a jail, what its kernels do, when that is over."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from builderos.core.clock import utcnow
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, as_system, perform
from builderos.execution.compute import service as compute
from builderos.execution.compute.schema import Meter
from builderos.execution.runs import service as runs
from builderos.execution.serving.service import badges
from builderos.trust.vault import service as vault

from . import files, kernels, marimo, rows, tokens
from .editors import MISSING, PORT, Editor
from .ports import Address, Way, base_of
from .schema import Status

if TYPE_CHECKING:
    from builderos.execution.serving.service import Inside

T = TypeVar("T")
log = logging.getLogger("builderos.sessions")
_SAID: Final = {
    "oom": "it used more memory than it may", "disk": "it filled its disk", "timeout": "its time was over",
    "lost": "its processes are gone",
}  # fmt: skip
EDITORS: Final[dict[str, Editor]] = {"jupyter": kernels, "marimo": marimo}
_SILENT_S: Final = 300.0
_TRIES: Final = 30
_AGAIN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a session is looked at, when no work counts as idle, how long a start may take, and how often it is
    asked whether it still may. Seconds.
    """

    look_s: float = 2.0
    quiet_s: float = 10.0
    ready_s: float = 90.0
    first_s: float = 0.05
    rights_s: float = 10.0


@dataclass(frozen=True, slots=True)
class End:
    """How a session came to its end."""

    status: Status
    reason: str
    detail: str = ""
    usage: dict[str, Any] | None = None
    sandbox_run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked at: which server, where, on which files; how many seconds without work are too many."""

    editor: Editor
    base: str
    folder: Path
    idle_timeout: int


class Life:
    """One start of a session. Lives on the loop of its keeper; `way` is there while its server answers."""

    def __init__(self, context: Context, org_id: str, id_: str, pace: Pace) -> None:
        self.org_id = org_id
        self.id = id_
        self.way: Way | None = None
        self._context = context
        self._pace = pace
        self._secret = tokens.inner()
        self._stop = asyncio.Event()
        self._leaving = False
        self._last: datetime | None = None
        self.meter: Meter | None = None

    # ---------------------------------------------------------------- from outside

    def stop(self, *, leaving: bool = False) -> None:
        """End it. `leaving`: because this process ends."""
        self._leaving = self._leaving or leaving
        self._stop.set()

    async def live(self) -> None:
        """From its start to its end; never raises."""
        try:
            end = await self._run()
        except Problem as problem:
            end = End("failed", "refused" if problem.status < 500 else "unavailable", problem.told)
        except Exception as error:
            log.exception("the session %s failed", self.id)
            end = End("failed", "problem", f"{type(error).__name__}: {error}"[:500])
        self.way = None
        await asyncio.to_thread(self._ended, end)

    # ---------------------------------------------------------------- while it lasts

    async def _run(self) -> End:
        row, call, redactor, state = await self._unit(self._read)
        folder = await asyncio.to_thread(files.lay_out, self._context, self.org_id, self.id)
        base, editor = base_of(self.id), EDITORS[row.editor]
        holder = badges.Holder(self.id, f"session-{self.id[-6:].lower()}", row.repo_id, call.actor)
        badge = await badges.Badge.issued(self._context, self.org_id, holder, badges.Calls.of(row.calls))
        shown = badge.environment() if badge is not None else {}
        order = compute.Order(
            call=call, run_id=self.id, step_id="session", attempt=row.starts, workspace=str(folder),
            argv=editor.argv(base, compute.WORKSPACE), runtime=row.runtime, profile=row.profile,
            env=editor.environment(self._secret) | shown, repo_id=row.repo_id, branch=row.branch, logs_ref=row.logs_ref,
            serves=PORT, calls=badge is not None,
        )  # fmt: skip
        with await asyncio.to_thread(runs.Sink, state / row.logs_ref, redactor) as sink:
            work = asyncio.create_task(compute.execute(self._context, order, sink))
            watch = asyncio.create_task(
                self._watch(order.name, Watched(editor, base, folder, row.idle_timeout))
            )
            stop = asyncio.create_task(self._stop.wait())
            rights = asyncio.create_task(self._rights())
            tasks = (work, watch, stop, rights)
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                ended = rights if rights.done() else watch
                why = "" if work.done() else "asked" if stop.done() else ended.result()
                self.way = None
                if why:
                    await self._unit(lambda unit: rows.move(unit, self.id, "stopping"))
                    await self._end_command(order.name, work)
                return self._how(why, await work, editor)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                if badge is not None:
                    await badge.end()

    def _read(self, unit: Unit) -> tuple[rows.Row, Call, Any, Any]:
        row = rows.find(unit, self.id)
        actor = rows.actor_of(unit, row)
        call = Call(actor=actor, presented="valid", request_id=self.id, tool="session", door="session")
        return row, call, unit.get(vault.Known).of(unit), rows.state_of(unit, row)

    async def _rights(self) -> str:
        """`revoked`, once whoever it belongs to may use it no more."""
        while True:
            await asyncio.sleep(self._pace.rights_s)
            if not await asyncio.to_thread(self._may):
                return "revoked"

    def _may(self) -> bool:
        try:
            call = as_system(self._context, self.org_id, self._read, read_only=True)[1]
            perform(self._context, call, self._still_may)
        except Problem as problem:
            return problem.retryable  # the database is away: nothing is known of what changed
        return True

    def _still_may(self, unit: Unit) -> None:
        row = rows.find(unit, self.id)
        rows.require(unit, "session.use", row)
        calls = badges.Calls.of(row.calls)
        if not calls:
            return
        try:
            badges.checked(unit, calls)
        except Problem as problem:
            if not problem.retryable:  # the session goes on without what its owner may call no more
                badges.revoke(unit, self.id)

    async def _end_command(self, name: str, work: "asyncio.Task[compute.Outcome]") -> None:
        """Have it end; where it is only about to begin, once it has."""
        while not work.done():
            if await asyncio.to_thread(compute.end, self._context, name):
                return
            await asyncio.wait({work}, timeout=0.1)

    def _how(self, why: str, outcome: compute.Outcome, editor: Editor) -> End:
        usage, run = compute.usage_of(outcome), outcome.sandbox_run_id
        if why == "unready":
            return End("failed", why, "its server did not answer in time; see its log", usage, run)
        if why in ("asked", "idle", "revoked") and outcome.reason not in ("oom", "disk"):
            reason = "server" if self._leaving else why
            said = {
                "idle": "nothing was done in it for longer than its idle timeout",
                "server": "the server stopped",
                "revoked": "whoever started it may use it no more",
            }
            return End("stopped", reason, said.get(reason, ""), usage, run)
        if outcome.status == "timeout":
            return End("timed_out", "timeout", _SAID["timeout"], usage, run)
        if outcome.status == "success":
            return End("stopped", "exit", "its server ended by itself", usage, run)
        if outcome.reason == "budget":
            return End("stopped", "budget", outcome.detail, usage, run)
        reason = outcome.reason or "exit"
        if outcome.exit_code == MISSING:
            return End("failed", reason, f"the runtime does not bring {editor.PROGRAM}", usage, run)
        told = _SAID.get(reason, f"its server ended with exit code {outcome.exit_code}")
        return End("failed", reason, outcome.detail or told, usage, run)

    async def _watch(self, name: str, what: Watched) -> str:
        """Why it is to be stopped, once it is: `idle` or `unready`."""
        door = await asyncio.to_thread(compute.door_of, self._context, name)
        inside = await self._reached(door, what)
        if inside is None:
            return "unready"
        try:
            self.way = Way(door, self._secret)  # first: whoever is told that it runs may come at once
            await self._unit(self._ready)
            return await self._until_idle(inside, name, what)
        finally:
            await inside.close()

    async def _reached(self, door: Path, what: Watched) -> "Inside | None":
        """A line to its server once that answers; None where it does not in time."""
        until, pause = asyncio.get_running_loop().time() + self._pace.ready_s, self._pace.first_s
        while asyncio.get_running_loop().time() < until:
            if (inside := await self._line(door, what)) is not None:
                return inside
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)
        return None

    async def _line(self, door: Path, what: Watched) -> "Inside | None":
        from builderos.execution.serving.service import SILENT, Inside

        try:
            inside = Inside.at(door)
        except FileNotFoundError:
            return None
        with contextlib.suppress(*SILENT):
            if await what.editor.is_up(inside, what.base, self._secret):
                return inside
        await inside.close()
        return None

    def _ready(self, unit: Unit) -> None:
        url = unit.get(Address).url_of(self.id)
        rows.move(unit, self.id, "running", url=url, started_at=unit.now, last_active_at=unit.now)

    async def _until_idle(self, inside: "Inside", name: str, what: Watched) -> str:
        from builderos.execution.serving.service import SILENT

        clock = asyncio.get_running_loop().time
        since, heard = utcnow(), clock()
        every = max(0.05, min(self._pace.look_s, what.idle_timeout / 4))
        quiet_after = min(self._pace.quiet_s, what.idle_timeout / 2)
        status: Status = "running"
        while True:
            await asyncio.sleep(every)
            try:
                self.meter = meter = await asyncio.to_thread(compute.meter_of, self._context, name)
                doing = await what.editor.doing(inside, what.base, self._secret, what.folder)
            except (*SILENT, Problem, ValueError):
                if clock() - heard > _SILENT_S:
                    return "unready"
                continue
            heard, now = clock(), utcnow()
            if doing.busy or (meter is not None and meter.working):
                since = now
            elif doing.last is not None:
                since = max(since, min(doing.last, now))
            self._last = since
            quiet = (now - since).total_seconds()
            wanted: Status = "idle" if quiet >= quiet_after else "running"
            if wanted != status:
                status = wanted
                told = functools.partial(rows.move, id_=self.id, status=wanted, last_active_at=since)
                await self._unit(told)
            if quiet >= what.idle_timeout:
                return "idle"

    async def _unit(self, verb: Callable[[Unit], T]) -> T:
        return await asyncio.to_thread(as_system, self._context, self.org_id, verb)

    # ---------------------------------------------------------------- its end

    def _ended(self, end: End) -> None:
        """Keep its files, then write down how it ended. Where the database is away that is done at the next start."""
        import time

        for _ in range(_TRIES):
            try:
                files.keep(self._context, self.org_id, self.id, last=True)
                told = {name: value for name, value in asdict(end).items() if value is not None}
                if self._last is not None:
                    told["last_active_at"] = self._last
                as_system(self._context, self.org_id, lambda unit, t=told: rows.finish(unit, self.id, **t))
                return
            except Problem as problem:
                if not problem.retryable or self._leaving:
                    log.warning("the end of session %s could not be written down: %s", self.id, problem.code)
                    return
                time.sleep(_AGAIN_S)
