"""Runs beside what they stand on: raw workflows of DBOS in the same process, on the same database, taking turns.

With FULL=1 also against Prefect, installed into an environment of its own.
"""

import contextlib
import os
import resource
import statistics
import subprocess
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psycopg

from builderos import app as root
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.settings import load_settings
from builderos.core.steps import Action, Actions, Done, Work
from builderos.core.unit import Call, Unit, perform
from builderos.execution.runs import service as execution
from builderos.execution.runs.definition import Definition, parse
from builderos.integrations.embedded_postgres import service as embedded_postgres
from builderos.trust.identity import service as identity

from . import dying
from .report import Report
from .stage import LIMITS
from .timing import interleave, medians

NODES: Final = 20
CHAIN: Final = 6
APPROVALS: Final = 1000
PREFECT: Final = "prefect>=3,<4"
WITH_PREFECT: Final = "fastapi<0.120"  # later ones do not let its API be imported
_DEADLINE_S: Final = 120.0
_FLOW: Final = """
import sys
from prefect import flow, task

@task
def work(n):
    return n

@flow
def run(n):
    return work(n)

for number in range(int(sys.argv[1])):
    run(number)
"""


class Yard:
    """A server's engine in this process, with raw workflows of the library beside it."""

    def __init__(self, place: Path) -> None:
        self.home = place / "engine"
        settings = load_settings(home=self.home, run_slots=16, **LIMITS)
        self.started = root.build(settings)
        self.context: Context = self.started.app.context
        actions = self.context.get(Actions)
        actions.enrol("bench.light", Action(outside=_nothing))
        actions.enrol("bench.queued", Action(outside=_nothing, queue=execution.QUEUE))
        token = root.ensure_owner(self.context, root.ensure_default_org(self.context))
        owner = identity.authenticate(
            self.context.get(Database), self.context.get(identity.Hasher), token
        ).actor
        assert owner is not None
        self.call = Call(owner, "valid", request_id="bench", tool="bench", door="bench")
        self.engine = root.build_engine(self.started)
        self.raw = _raw()
        self.engine.start()
        assert self.engine.wait(60)
        conninfo = embedded_postgres.start(self.home).superuser_conninfo
        self.watching = psycopg.connect(conninfo, autocommit=True)

    def begin(self, definition: Definition) -> str:
        """Start a run as a door does."""

        def verb(unit: Unit) -> str:
            return execution.begin(unit, definition, {}, None, {"type": "manual", "by": unit.actor.id})

        return perform(self.context, self.call, verb)

    def run(self, definition: Definition) -> None:
        """Start a run and return when it is over."""
        self.over([self.begin(definition)])

    def over(self, ids: list[str]) -> None:
        """Return when these runs are over."""
        until = time.monotonic() + _DEADLINE_S
        wanted = "select count(*), count(*) filter (where status <> 'succeeded') from ops.runs "
        while True:
            counted = self.watching.execute(
                wanted + "where id = any(%s) and ended_at is not null", (ids,)
            ).fetchone()
            assert counted is not None
            assert counted[1] == 0, "a run failed"
            if counted[0] == len(ids):
                return
            assert time.monotonic() < until, "the runs do not end"
            time.sleep(0.001 if len(ids) == 1 else 0.01)

    def told(self, ids: list[str]) -> None:
        """Return when these runs have their receipts and files, too: what is done behind the calls."""
        until = time.monotonic() + _DEADLINE_S
        wanted = "select count(*) from ops.receipts where run_id = any(%s)"
        while (row := self.watching.execute(wanted, (ids,)).fetchone()) is None or row[0] < len(ids):
            assert time.monotonic() < until, "the receipts are not made"
            time.sleep(0.05)
        time.sleep(0.2)

    def close(self) -> None:
        """End the engine, then the database."""
        self.watching.close()
        self.engine.stop(5)
        self.context.get(Database).close()
        embedded_postgres.stop(self.home)


async def _nothing(_context: Context, _work: Work) -> Done:
    return Done()


def _raw() -> dict[str, Callable[..., Any]]:
    """A parent that starts a child with one step, so many times one after the other."""
    from dbos import DBOS

    @DBOS.step(name="bench-step")
    async def step(number: int) -> int:
        return number

    @DBOS.workflow(name="bench-child")
    async def child(number: int) -> int:
        return await step(number)

    @DBOS.workflow(name="bench-parent")
    async def parent(children: int) -> int:
        for number in range(children):
            handle = await DBOS.start_workflow_async(child, number)
            await handle.get_result(polling_interval_sec=0.05)
        return children

    @DBOS.workflow(name="bench-steps")
    async def steps(count: int) -> int:
        for number in range(count):
            await step(number)
        return count

    return {"parent": parent, "steps": steps}


def chain(nodes: int, action: str = "noop") -> Definition:
    """Steps that do nothing, one after the other."""
    steps = [f"  - {{id: s{n}, action: {action}{f', needs: [s{n - 1}]' if n else ''}}}" for n in range(nodes)]
    return parse(f"name: chain{nodes}\nsteps:\n" + "\n".join(steps) + "\n", name=f"chain{nodes}")


def runs(report: Report, place: Path, rounds: int, *, full: bool) -> None:
    """All rows of the engine."""
    yard = Yard(place)
    try:
        _nodes(report, yard, rounds)
        _queued(report, yard, 100 if not full else 400)
        _waiting(report, yard)
    finally:
        yard.close()
    dying.resumed(report, place, 5 if not full else 20)


def _nodes(report: Report, yard: Yard, rounds: int) -> None:
    from dbos import DBOS

    def raw(children: int) -> Callable[[int], None]:
        return lambda _: DBOS.start_workflow(yard.raw["parent"], children).get_result(
            polling_interval_sec=0.001
        )

    one, six, many = chain(1), chain(CHAIN), chain(NODES)
    took = medians(
        interleave(
            rounds,
            {
                "one": lambda _: yard.run(one), "six": lambda _: yard.run(six), "many": lambda _: yard.run(many),
                "raw one": raw(1), "raw six": raw(CHAIN), "raw many": raw(NODES),
            },
        )
    )  # fmt: skip
    ours, theirs = ((took[a] - took[b]) / (NODES - 1) for a, b in (("many", "one"), ("raw many", "raw one")))
    how = f"one more node in a chain, {ours:.1f} ms beside {theirs:.1f} ms; medians of {rounds}"
    report.at_most("node overhead ÷ raw DBOS child workflow with one step", ours / theirs, 2, how)
    how = f"{took['six']:.0f} ms beside {took['raw six']:.0f} ms, from the call to the end"
    report.at_most(
        "six-node chain ÷ the same chain of raw DBOS children", took["six"] / took["raw six"], 1.5, how
    )


def _queued(report: Report, yard: Yard, count: int) -> None:
    """Runs of one step that needs a slot, all at once; and the same work as raw workflows on the same queue."""
    from dbos import DBOS, SetEnqueueOptions

    definition = chain(1, "bench.queued")
    yard.run(definition)
    began = time.perf_counter()
    ids = [yard.begin(definition) for _ in range(count)]
    yard.over(ids)
    ours = count / (time.perf_counter() - began)
    began = time.perf_counter()
    with SetEnqueueOptions(queue_partition_key="bench", priority=1000):
        handles = [DBOS.enqueue_workflow(execution.QUEUE, yard.raw["parent"], 1) for _ in range(count)]
    for handle in handles:
        handle.get_result(polling_interval_sec=0.02)
    theirs = count / (time.perf_counter() - began)
    how = f"{ours:.0f}/s beside {theirs:.0f}/s, {count} at once"
    report.at_least("queued one-step runs/s ÷ raw DBOS parent + child + step", ours / theirs, 0.5, how)
    waits: list[float] = []
    for _ in range(40):
        id_ = yard.begin(definition)
        yard.over([id_])
        row = yard.watching.execute(
            "select extract(epoch from s.started_at - r.created_at)::float8 * 1000 from ops.runs r "
            "join ops.run_steps s on s.run_id = r.id where r.id = %s", (id_,),
        ).fetchone()  # fmt: skip
        assert row is not None
        waits.append(float(row[0]))
    report.at_most("enqueue → start, p50 [ms]", statistics.median(waits), 60, "40 runs on an idle server")


def _waiting(report: Report, yard: Yard) -> None:
    """Approvals that nobody gives."""
    definition = parse('name: ask\nsteps:\n  - {id: ask, approval: "May it?"}\n', name="ask")
    before = _resident_mb()
    for _ in range(APPROVALS):
        yard.begin(definition)
    asked = "select count(*) from ops.runs where status = 'waiting_approval'"
    until = time.monotonic() + _DEADLINE_S
    while (row := yard.watching.execute(asked).fetchone()) is None or row[0] < APPROVALS:
        assert time.monotonic() < until, "they do not ask"
        time.sleep(0.05)
    grown = _resident_mb() - before
    time.sleep(2)
    cpu, began = time.process_time(), time.perf_counter()
    time.sleep(10)
    share = (time.process_time() - cpu) / (time.perf_counter() - began)
    report.at_most(
        "1,000 open approvals [MB]", max(0.0, grown), 30, "more in memory of the server than before"
    )
    report.at_most("1,000 open approvals [% of a core]", share * 100, 5, "the whole server, over 10 s")


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


# ---------------------------------------------------------------- Prefect


def prefect(report: Report, place: Path, count: int = 200) -> None:
    """Processor time of 200 flows of one task, and of 200 runs of one step; each with its database."""
    env = place / "prefect"
    venv.create(env, with_pip=True)
    python = env / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-qq", PREFECT, WITH_PREFECT], check=True)
    (place / "flow.py").write_text(_FLOW)
    words = {
        **os.environ,
        "PREFECT_HOME": str(place / "prefect-home"),
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
        "DO_NOT_TRACK": "1",
    }
    theirs = _cpu_of([str(python), str(place / "flow.py"), str(count)], words)
    yard = Yard(place / "beside")
    try:
        definition = chain(1)
        # Both ways were gone some times before they are measured; receipts and files count.
        yard.told([yard.begin(definition) for _ in range(30)])
        began = _cpu(yard)
        ids = [yard.begin(definition) for _ in range(count)]
        yard.over(ids)
        yard.told(ids)
        ours = _cpu(yard) - began
    finally:
        yard.close()
    how = f"{ours:.1f} s beside {theirs:.1f} s of {PREFECT}"
    report.at_most(f"CPU of {count} one-step runs ÷ Prefect", ours / theirs, 1 / 50, how)


def _cpu_of(command: list[str], env: dict[str, str]) -> float:
    """Seconds that a command and all that it starts use: its server, too, for which it does not wait at the end."""
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, start_new_session=True)
    ticks: dict[str, int] = {}
    while process.poll() is None:
        ticks.update(_ticks_of_session(process.pid))
        time.sleep(0.2)
    assert process.returncode == 0, "it failed"
    return sum(ticks.values()) / os.sysconf("SC_CLK_TCK")


def _ticks_of_session(session: int) -> dict[str, int]:
    """What each process of a session has used so far."""
    found: dict[str, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                found[stat.parent.name] = sum(map(int, fields[11:13]))
    return found


def _cpu(yard: Yard) -> float:
    """Seconds that this process and its database have used: what runs, and what the database has seen end."""
    pid = int((yard.home / "pg18" / "postmaster.pid").read_text().split()[0])
    seconds, ticks = os.sysconf("SC_CLK_TCK"), 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(stat.parent.name) == pid:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == pid:
            ticks += sum(map(int, fields[11:13]))
    return time.process_time() + ticks / seconds
