"""What one server process counts, in the Prometheus data model. One object per server, put into its context by `app`.

Every label has a bounded number of values that stand in our own code: operations, doors, status and problem codes,
kinds of branches. Ids, names, addresses and anything a caller chose never become one.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from builderos import VERSION

from .problems import Problem

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LIMITS_NAMED: Final = 50
_LIMIT_CODES: Final = frozenset({"rate_limited", "quota_exceeded"})


class Metrics:
    """Counters of this process. Safe between threads; counting takes some microseconds and never waits."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._limit_names: set[str] = set()
        self.requests = Counter(
            "builderos_http_requests", "Requests by operation and status.", ("operation", "status"),
            registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "builderos_http_request_seconds", "Time from the first byte of a request to the last of its reply.",
            ("operation",), buckets=BUCKETS, registry=registry,
        )  # fmt: skip
        self.in_progress = Gauge(
            "builderos_http_requests_in_progress", "Requests being served.", registry=registry
        )
        self.calls = Counter(
            "builderos_calls", "Calls of operations through any door by outcome: ok, or the code of the problem.",
            ("operation", "door", "outcome"), registry=registry,
        )  # fmt: skip
        self.limits = Counter(
            "builderos_limit_refusals", "Calls refused by a rate or a quota.", ("limit",), registry=registry
        )
        self.moves = Counter(
            "builderos_branch_moves", "Commits, merges and pushes that moved a branch, by kind of the branch.",
            ("branch",), registry=registry,
        )  # fmt: skip
        self.pushes = Counter(
            "builderos_git_pushes", "Pushes of git clients by outcome: accepted, refused, bad_pack.", ("outcome",),
            registry=registry,
        )  # fmt: skip
        Gauge("builderos_build_info", "Always 1.", ("version",), registry=registry).labels(VERSION).set(1)
        ProcessCollector(registry=registry)

    def request(self, operation: str, status: int, seconds: float) -> None:
        """Count one HTTP request. `operation` is the name of a route, never a path that was sent."""
        self.requests.labels(operation, str(status)).inc()
        self.seconds.labels(operation).observe(seconds)

    def call(self, operation: str, door: str, outcome: str) -> None:
        """Count one call of an operation, whatever door it came through."""
        self.calls.labels(operation, door, outcome).inc()

    def refused(self, problem: Problem) -> None:
        """Count a problem that is the breach of a limit, by the limit's name; other problems are not counted here."""
        if problem.code not in _LIMIT_CODES:
            return
        name = str(problem.extra.get("name", "other"))
        if name not in self._limit_names and len(self._limit_names) >= _LIMITS_NAMED:
            name = "other"
        self._limit_names.add(name)
        self.limits.labels(name).inc()

    def add(self, collector: Collector) -> None:
        """Ask `collector` too, whenever somebody reads."""
        self._registry.register(collector)

    def exposition(self) -> bytes:
        """Everything in the Prometheus text format. Blocks while collectors look at database and disk."""
        return generate_latest(self._registry)
