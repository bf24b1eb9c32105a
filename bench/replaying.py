"""Rows about replays: generated pipelines, and those that come along, executed again from their records."""

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from builderos import app as root
from builderos.core.application import Application
from builderos.core.settings import load_settings
from builderos.core.unit import Unit, as_system
from builderos.execution.compute.service import SandboxProviders
from builderos.execution.runs import replay, replay_view
from builderos.execution.runs import service as execution
from builderos.execution.runs.definition import Definition, parse
from builderos.execution.runs.replay_schema import ReplayIn, ReplayResult, ReplayResultIn
from builderos.execution.runs.rows import OVER, Row, find_run

from .corpus import generated
from .report import Report
from .stage import LIMITS

GENERATED = 20
_PATIENCE_S = 120.0


class _Server:
    """A server in this process whose engine runs."""

    def __init__(self, path: Path) -> None:
        started = root.build(load_settings(home=path, engine=False, **LIMITS))
        self.app: Application = started.app
        self.context = started.app.context
        self.org_id = root.ensure_default_org(self.context)
        self.engine = root.build_engine(started)
        self.engine.start()
        if not self.engine.wait(60):
            raise RuntimeError("the engine does not start")

    def close(self) -> None:
        self.engine.stop(5)
        self.context.get(SandboxProviders).close()

    def in_unit(self, verb: Any) -> Any:
        return as_system(self.context, self.org_id, verb)

    def ended(self, run_id: str) -> Row:
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            row: Row = self.in_unit(lambda unit: find_run(unit, run_id))
            if row.status in OVER:
                return row
            time.sleep(0.02)
        raise RuntimeError(f"{run_id} does not end")


def replays(report: Report, place: Path) -> None:
    """The corpus once, then its replay, one after the other."""
    server = _Server(place / "replays")
    try:
        pairs = [_both(server, definition) for definition in _corpus()]
    finally:
        server.close()
    took = [sum(_seconds(run) for run in column) for column in list(zip(*pairs, strict=True))[:2]]
    results = [result for _, _, result in pairs]
    same = sum(bool(result.reproduced) for result in results)
    executed = sum(result.executed for result in results)
    counted = executed + sum(result.served for result in results)
    report.at_least("replays with the same trees and artifacts [%]", 100 * same / len(results), 100,
                    f"{same} of {len(results)} pipelines")  # fmt: skip
    report.at_least(
        "steps that a replay really executes [%]", 100 * executed / counted, 80, f"{executed} of {counted}"
    )
    report.at_most("engine time of replays ÷ of their originals", took[1] / took[0], 1.2,
                   f"{took[1]:.1f} s ÷ {took[0]:.1f} s")  # fmt: skip


def _corpus() -> list[Definition]:
    return [parse(f"name: corpus{n}\n{generated(n)}", name=f"corpus{n}") for n in range(GENERATED)]


def _both(server: _Server, definition: Definition) -> tuple[Row, Row, ReplayResult]:
    def begin(unit: Unit) -> str:
        return execution.begin(unit, definition, {}, None, {"type": "manual", "by": "bench"})

    first = server.ended(server.in_unit(begin))
    if first.status != "succeeded":
        raise RuntimeError(f"{definition.name}: {first.detail}")
    begun = server.in_unit(lambda unit: replay.start(unit, ReplayIn(id=first.id)))
    again = server.ended(begun.body.run_id)
    return first, again, server.in_unit(lambda unit: replay_view.result(unit, ReplayResultIn(id=again.id)))


def _seconds(run: Row) -> float:
    began: datetime = run.started_at
    return (run.ended_at - began).total_seconds()
