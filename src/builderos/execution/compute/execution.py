"""One step's command, from the question whether it may run to the row that says how it ended."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Call, Unit, perform
from builderos.trust.policy import service as policy
from builderos.trust.quotas import service as quotas

from . import budgeting, costs
from .model import sandbox_runs
from .opening import FINAL, Opened, drop_row, open_row
from .orders import Order, Outcome, OutcomeReason
from .ports import LogSink, SandboxProvider
from .providers import SandboxProviders
from .schema import Result, Sandbox, Use
from .tiers import WEAK
from .waiting import finished

T = TypeVar("T")
_CHUNK: Final = 1 << 20
_LOOK_S: Final = 0.1
_COUNT_S: Final = (0.1, 5.0)  # at least and at most, from one look at what the run has used to the next
# What was ended from outside did not come to an end of its own: whoever asks again is to try again.
_REASONS: Final[dict[str, OutcomeReason]] = {
    "exit": "exit", "timeout": "timeout", "oom": "oom", "disk": "disk", "killed": "lost", "lost": "lost",
    "budget": "budget",
}  # fmt: skip


async def execute(context: Context, order: Order, sink: LogSink | None = None) -> Outcome:
    """Run a step's command and wait for its end. Called again with the same name, in this process or the next, it finds
    what already runs or ended: nothing is run twice.

    `sink` takes the whole log from its beginning, raw, while it grows. Where the caller is cancelled, all of the
    command's processes are ended, its row is closed, and the cancellation goes on. Raises the `Problem` that keeps it
    from starting (`runtime_not_approved`, `approval_required`, `policy_denied`, `not_found`, `validation_failed`,
    `unavailable`); then nothing ran, and where it is over, a later call may try again.
    """
    opened = await _unit(context, order.call, lambda unit: open_row(unit, order))
    row = opened.row
    if row is None:
        raise _waits(context, opened.approval)
    if row.status in FINAL:
        return replace(outcome_of(row), recorded=True)
    provider = await asyncio.to_thread(context.get(SandboxProviders).provider, row.provider)
    work = _Work(context, order.call, provider, opened, row, sink)
    try:
        await work.begin()
        ended = await work.within(order.credits)
        return outcome_of(await work.close(ended))
    except Problem:
        if (row := await work.undo()) is not None:  # somebody else saw it end, and had it forgotten
            return outcome_of(row)
        raise
    except BaseException:
        await asyncio.shield(asyncio.ensure_future(work.call_off()))
        raise


class _Work:
    """One execution under way."""

    def __init__(
        self, context: Context, call: Call, provider: SandboxProvider, opened: Opened, row: sa.Row[Any],
        sink: LogSink | None,
    ) -> None:  # fmt: skip
        self._context = context
        self._call = call
        self._provider = provider
        self._opened = opened
        self._row = row
        self._sink = sink
        self._place = context.get(SandboxProviders).place
        self._read = 0
        self._gone = False
        self._spent = ""

    @property
    def _name(self) -> str:
        return self._row.sandbox_id

    async def begin(self) -> None:
        """Start it, or find it where that has happened. Raises like `SandboxProvider.start`."""
        starting = asyncio.ensure_future(asyncio.to_thread(self._start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait([starting])  # a start under way cannot be called back, only ended
            raise

    def _start(self) -> None:
        opened = self._opened
        assert opened.spec is not None
        if not opened.fresh:
            try:
                self._provider.attach(self._name)
            except Problem as problem:
                if problem.code != "not_found":
                    raise
                self._gone = not self._provider.remote and self._row.place != self._place
            else:
                return
        if not self._gone:
            self._provider.start(opened.spec)

    async def end(self) -> Sandbox:
        """How it ended; the log went to the sink meanwhile."""
        if self._gone:
            lost = Result("lost", None, detail="the machine that ran it is gone")
            return Sandbox(self._name, self._provider.name, "strong", "failed", lost)
        ending = asyncio.ensure_future(finished(self._provider, self._name))
        try:
            while not ending.done():
                await asyncio.wait([ending], timeout=_LOOK_S)
                await asyncio.to_thread(self._pass_on)
        finally:
            ending.cancel()
        return ending.result()

    async def within(self, credits: float | None) -> Sandbox:
        """How it ended, by itself or because its run or its project has used up all that it may."""
        counting: list[asyncio.Task[None]] = []
        if credits is not None:
            counting.append(asyncio.create_task(self._count(credits)))
        if self._row.budget_repo_id is not None:
            counting.append(asyncio.create_task(self._count_project()))
        try:
            ended = await self.end()
        finally:
            for task in counting:
                task.cancel()
        result = ended.result
        if not self._spent or result is None or result.state == "success":
            return ended
        return replace(ended, state="failed", result=replace(result, reason="budget", detail=self._spent))

    async def _count_project(self) -> None:
        """End it when nothing of a budget of its project is left."""
        await self._used_up(await budgeting.until_used_up(self._context, self._row))

    async def _count(self, credits: float) -> None:
        """End it when nothing of the run's budget is left: looked at when that may be, at the earliest."""
        run_id, least, most = self._row.run_id, *_COUNT_S
        while True:
            try:
                left = await _unit(
                    self._context, self._call, lambda unit: costs.seconds_left(unit, run_id, credits)
                )
            except Problem as problem:  # the database is away: the command goes on, and is counted afterwards
                if not problem.retryable:
                    raise
                left = most
            if left <= 0:
                await self._used_up(f"ended when its run had used all its {credits:g} credits")
                return
            await asyncio.sleep(min(most, max(least, left)))

    async def _used_up(self, why: str) -> None:
        self._spent = why
        await asyncio.to_thread(self._provider.kill, self._name)

    def _pass_on(self) -> None:
        """Everything that was printed since the last time."""
        while self._sink is not None:
            chunk = self._provider.logs(self._name, self._read, _CHUNK)
            self._read = chunk.next_offset
            if not chunk.data:
                return
            self._sink.write(chunk.data)

    async def close(self, ended: Sandbox) -> sa.Row[Any]:
        """Write down how it ended, then have the provider forget it: from here on the row answers."""
        row = await _unit(self._context, self._call, lambda unit: close_row(unit, self._row.id, ended))
        if not self._gone:
            await asyncio.to_thread(self._provider.remove, self._name)
        return row

    async def undo(self) -> sa.Row[Any] | None:
        """Nothing ran: the name is free for another try. The row, where it says that something did."""
        return await _unit(self._context, self._call, lambda unit: drop_row(unit, self._row.id))

    async def call_off(self) -> None:
        """End it before its time, and write that down."""
        try:
            await asyncio.to_thread(self._provider.kill, self._name)
            await self.close(await self.end())
        except Problem as problem:
            if problem.code != "not_found":  # then it had not begun
                raise
            await self.undo()


def close_row(unit: Unit, id_: str, ended: Sandbox) -> sa.Row[Any]:
    """Write down how an execution ended; what is written already stays."""
    result = ended.result
    assert result is not None
    use = result.use
    values = {
        "status": result.state, "reason": result.reason, "exit_code": result.exit_code, "detail": result.detail[:2000],
        "tier": ended.tier, "truncated": result.truncated, "cpu_s": use.cpu_s, "wall_s": use.wall_s,
        "memory_peak": use.max_rss, "io_read": use.io_read, "io_written": use.io_written, "output_bytes": use.output,
        "network_sent": use.network_sent, "network_received": use.network_received,
        "egress": [asdict(line) for line in result.egress], "finished_at": unit.now,
    }  # fmt: skip
    c = sandbox_runs.c
    changed = sa.update(sandbox_runs).where(c.id == id_, c.finished_at.is_(None)).values(values)
    row = unit.execute(changed.returning(sandbox_runs)).one_or_none()
    if row is None:
        return unit.execute(sa.select(sandbox_runs).where(c.id == id_)).one()
    budgeting.count(unit, row, use.cpu_s, use.wall_s)
    quotas.metering.count_command(unit, row.created_by, cpu_s=use.cpu_s)
    return row


def outcome_of(row: sa.Row[Any]) -> Outcome:
    """What a row that is final says."""
    use = Use(
        row.cpu_s, row.wall_s, row.memory_peak, row.io_read, row.io_written, row.output_bytes, row.network_sent,
        row.network_received,
    )  # fmt: skip
    reason = None if row.status == "success" else _REASONS[row.reason]
    return Outcome(
        row.status, reason, row.exit_code, use, row.tier or "", row.id, row.detail, row.truncated,
        tuple(row.policy_events),
    )  # fmt: skip


def usage_of(outcome: Outcome) -> dict[str, float | int]:
    """What was used, by the names of the row: seconds and bytes."""
    use = outcome.usage
    return {
        "cpu_s": use.cpu_s, "wall_s": use.wall_s, "memory_peak": use.max_rss, "io_read": use.io_read,
        "io_written": use.io_written, "output_bytes": use.output, "network_sent": use.network_sent,
        "network_received": use.network_received,
    }  # fmt: skip


def _waits(context: Context, approval: str) -> Problem:
    return Problem(
        "approval_required", "the command would run in the weak sandbox, and waits for an approval",
        hint="An owner or a reviewer approves exactly this command; then it goes on.", approval_id=approval,
        policy_rule=WEAK, url=policy.approvals.link_to(context.get(Settings), approval),
    )  # fmt: skip


async def _unit(context: Context, call: Call, verb: Callable[[Unit], T]) -> T:
    """A transaction of its own, off the loop."""
    return await asyncio.to_thread(perform, context, call, verb)
