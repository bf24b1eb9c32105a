"""Rows about being watched: what metrics, logs and traces add to a request, and what reading them costs."""

import logging
import os

from builderos.assets.workspaces import rebuilding
from builderos.core import logs, tracing
from builderos.core.database import Database
from builderos.core.inspection import numbers
from builderos.core.metrics import Metrics
from builderos.core.unit import as_system
from builderos.trust.ledger import service as ledger

from .audit import best, fill
from .report import Report
from .stage import Home

CALLS = 2_000
LINES = 20_000
SPANS = 6  # of a commit: door, call, two round trips, objects, ref


def overhead(report: Report, home: Home) -> None:
    """Microseconds per request; best of 5, because that is what the work needs."""
    metrics, log = Metrics(), logging.getLogger("builderos.bench")

    def count() -> None:
        for _ in range(CALLS):
            metrics.in_progress.inc()
            metrics.call("commit_and_log", "http", "ok")
            metrics.moves.labels("sandbox").inc()
            metrics.in_progress.dec()
            metrics.request("commit_and_log", 200, 0.004)

    def trace() -> None:
        for _ in range(CALLS * SPANS):
            with tracing.span("postgresql"):
                pass

    def write() -> None:
        fields = {
            "operation": "commit_and_log",
            "method": "POST",
            "status": 200,
            "ms": 4.1,
            "actor": "sandbox",
        }
        for _ in range(CALLS):
            log.info("request", extra={logs.FIELDS: fields})

    report.at_most("counting a request [µs]", _each(count), 30, f"{CALLS} times; best of 5")
    report.at_most(
        "spans of a request while nobody keeps them [µs]", _each(trace), 5, f"{SPANS} of them; best of 5"
    )
    with open(os.devnull, "w") as nowhere:
        handler = logging.StreamHandler(nowhere)
        handler.setFormatter(logs.JsonLines())
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
        report.at_most("a request's line in the log, when asked for [µs]", _each(write), 200, "best of 5")
        log.removeHandler(handler)
    took = best(lambda: numbers(home.context.get(Database)), 5)
    report.at_most("what /metrics asks of the database [ms]", took * 1e3, 50, "best of 5")
    fill(home, home.org_id, LINES)
    lines = as_system(home.context, home.org_id, lambda unit: ledger.stored_head(unit)[0], read_only=True)
    took = best(lambda: as_system(home.context, home.org_id, rebuilding.missing, read_only=True), 2)
    report.at_least("rows told by the record, held against those there [1,000 lines/s]", lines / took / 1e3, 20,
                    f"{lines} lines; best of 2")  # fmt: skip


def _each(work: object) -> float:
    assert callable(work)
    return best(work, 5) / CALLS * 1e6
