"""`/metrics`: what this process counts, and what the database and the disk say, in the Prometheus text format.

It tells of the whole server, so it is for operators: for whoever holds `metrics_token`; without one, for callers on the
same machine while no proxy stands in between.
"""

import hmac
import logging
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import urlsplit

import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.responses import Response
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.pool import QueuePool

from builderos.core.application import Application
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.inspection import numbers
from builderos.core.metrics import CONTENT_TYPE, Metrics
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.engine.service import Engine
from builderos.trust.quotas.service import Rates

from .place import LOOPBACK
from .serve import Incoming

log = logging.getLogger("builderos.http")
PATH: Final = "/metrics"
KEPT_S: Final = 5.0  # however many scrapers ask, the database is asked once in this time
_FORWARDED: Final = ("x-forwarded-for", "forwarded", "x-real-ip", "via")
_SUMS: Final = {  # what ops.numbers counts: its help, and the name of its label
    "organisations": ("Organisations.", ""),
    "repositories": ("Repositories that are not deleted.", ""),
    "sandboxes": ("Sandboxes by state.", "state"),
    "journal_rows": ("Moves of branches whose files are not known to be on disk yet.", ""),
    "journal_age_seconds": ("Age of the oldest of them.", ""),
    "outbox_messages": ("Messages of the outbox that wait: due, failing or later.", "state"),
    "outbox_lag_seconds": ("For how long the oldest message that is due has waited.", ""),
    "approvals_pending": ("Approval requests that nobody has decided.", ""),
    "alerts_open": ("Open alerts by severity.", "severity"),
    "ledger_lines": ("Lines in all ledgers.", ""),
    "ledger_unsigned_lines": ("Lines that no signed checkpoint covers yet.", ""),
    "ledger_unsigned_seconds": (
        "For how long the organisation that waits longest had no checkpoint over its lines.",
        "",
    ),
}


def add_metrics(api: FastAPI, app: Application) -> None:
    """Add the route. It is no part of the contract: names of metrics may come and go with versions."""
    context = app.context

    async def metrics(request: Request) -> Response:
        _admit(context, request)
        body = await anyio.to_thread.run_sync(context.get(Metrics).exposition)
        return Response(body, headers={"content-type": CONTENT_TYPE})

    api.add_api_route(PATH, metrics, methods=["GET"], name="metrics", include_in_schema=False)
    if Metrics in context:  # not where only the contract is wanted
        context.get(Metrics).add(Surroundings(context))


def _admit(context: Context, request: Request) -> None:
    """Raises `unauthenticated`, `token_invalid`, `rate_limited`; `not_found` for strangers where no token is set."""
    settings, incoming = context.get(Settings), request.state.incoming
    assert isinstance(incoming, Incoming)
    if settings.metrics_token is None:
        if not _is_here(settings, request):
            raise Problem(
                "not_found", "there is nothing here for you",
                hint="Ask from the same machine, or set BUILDEROS_METRICS_TOKEN.",
            )  # fmt: skip
        return
    if incoming.bearer is None:
        raise Problem(
            "unauthenticated", "metrics need their token", hint="Send it as Authorization: Bearer …."
        )
    if not hmac.compare_digest(incoming.bearer.encode(), settings.metrics_token.get_secret_value().encode()):
        context.get(Rates).hit("invalid_tokens", incoming.caller)
        raise Problem(
            "token_invalid", "this is not the token of the metrics", hint="See BUILDEROS_METRICS_TOKEN."
        )


def _is_here(settings: Settings, request: Request) -> bool:
    """Whether the caller is a process of this machine: behind a proxy, everybody would look like one."""
    public = urlsplit(settings.public_url).hostname if settings.public_url else None
    behind = settings.proxies or (public is not None and public not in LOOPBACK)
    if behind or any(name in request.headers for name in _FORWARDED):
        return False
    return request.client is not None and request.client.host in (*LOOPBACK, "::ffff:127.0.0.1")


class Surroundings(Collector):
    """Pool, disk, engine and the database's own sums, looked at when somebody reads."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._read_at = -KEPT_S
        self._rows: list[tuple[str, str, float]] | None = None

    def collect(self) -> Iterable[Metric]:
        """Never fails: what does not answer is missing, and `builderos_database_up` says 0."""
        rows = self._sums()
        yield GaugeMetricFamily(
            "builderos_database_up", "Whether the database answers.", float(rows is not None)
        )
        yield from _families(rows or [])
        yield from self._pool()
        yield from self._disk()
        running = self._context.get(Engine).state == "running" if Engine in self._context else False
        yield GaugeMetricFamily(
            "builderos_engine_running", "Whether this process runs schedules.", float(running)
        )

    def _sums(self) -> list[tuple[str, str, float]] | None:
        with self._lock:
            if time.monotonic() - self._read_at >= KEPT_S:
                try:
                    self._rows = numbers(self._context.get(Database))
                except Problem as problem:
                    log.warning("the metrics of the database are missing: %s", problem.detail)
                    self._rows = None
                self._read_at = time.monotonic()
            return self._rows

    def _pool(self) -> Iterator[Metric]:
        pool = self._context.get(Database).engine.pool
        if not isinstance(pool, QueuePool):
            return
        found = GaugeMetricFamily(
            "builderos_database_connections", "The pool's connections.", labels=["state"]
        )
        found.add_metric(["in_use"], pool.checkedout())
        found.add_metric(["idle"], pool.checkedin())
        yield found
        limit = pool.size() * 2  # as many again when all of them are in use, see core/database.py
        yield GaugeMetricFamily("builderos_database_connections_limit", "How many there may be.", limit)

    def _disk(self) -> Iterator[Metric]:
        try:
            usage = shutil.disk_usage(self._context.get(Settings).home_dir)
        except OSError as error:
            log.warning("the metrics of the disk are missing: %s", error.strerror)
            return
        found = GaugeMetricFamily(
            "builderos_disk_bytes", "The file system of the state folder.", labels=["state"]
        )
        found.add_metric(["free"], usage.free)
        found.add_metric(["used"], usage.used)
        yield found


def _families(rows: list[tuple[str, str, float]]) -> Iterator[Metric]:
    for name, (words, label) in _SUMS.items():
        mine = [(value_of, value) for found, value_of, value in rows if found == name]
        family = GaugeMetricFamily(f"builderos_{name}", words, labels=[label] if label else None)
        for value_of, value in mine:
            family.add_metric([value_of] if label else [], value)
        yield family
