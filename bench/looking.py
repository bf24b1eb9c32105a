"""Rows about what people see of a run: the tail of a log, how soon an event is at its clients, the page of a run."""

import http.client
import json
import selectors
import threading
import time
from typing import Any, Self

from builderos.core.unit import Unit, as_system
from builderos.execution.runs import events
from builderos.execution.runs import service as execution
from builderos.execution.runs.definition import parse
from builderos.execution.runs.logs import Sink
from builderos.execution.runs.logs_find import ref_of, state_of
from builderos.execution.runs.model import steps
from builderos.execution.runs.rows import find_run, set_step

from .report import Report
from .stage import Home, Server
from .timing import Case, interleave, medians

MANY, FEW = 5_000, 50
LONG, SHORT = 1_000_000, 1_000
FOLLOWERS, EVENTS = 200, 150


def runs(report: Report, home: Home, server: Server, rounds: int) -> None:
    """All three, on runs that nobody carries out."""
    few, many = (_begin(home, count) for count in (FEW, MANY))
    _page(report, home, (few, many), rounds, "one after the other")
    _page(report, home, tuple(_begin(home, n, chain=False) for n in (FEW, MANY)), rounds, "side by side")
    _tail(report, home, few, many, rounds)
    _events(report, home, server, few)


def _begin(home: Home, count: int, *, chain: bool = True) -> str:
    """A run of so many steps, each after the one before or all at once."""
    lines = [
        f"  - {{id: s{n}, action: noop{f', needs: [s{n - 1}]' if n and chain else ''}}}" for n in range(count)
    ]
    definition = parse(f"name: bench{count}\nsteps:\n" + "\n".join(lines) + "\n", name=f"bench{count}")

    def begin(unit: Unit) -> str:
        return execution.begin(unit, definition, {}, None, {"type": "manual", "by": "bench"})

    return str(as_system(home.context, home.org_id, begin))


def _page(report: Report, home: Home, ids: tuple[str, ...], rounds: int, what: str) -> None:
    def look(run_id: str) -> Case:
        return lambda _n: home.run("viewRun", home.owner, id=run_id)

    ms = medians(interleave(rounds, {"few": look(ids[0]), "many": look(ids[1])}))
    report.at_most(
        f"run page at {MANY:,} steps {what} ÷ at {FEW}", ms["many"] / ms["few"], 1.5,
        f"{ms['many']:.2f} ms ÷ {ms['few']:.2f} ms",
    )  # fmt: skip


def _tail(report: Report, home: Home, few: str, many: str, rounds: int) -> None:
    """The last 100 lines, and 100 lines from the middle, of a long and a short log."""
    ids = {
        "short": as_system(home.context, home.org_id, lambda unit: _written(unit, few, SHORT)),
        "long": as_system(home.context, home.org_id, lambda unit: _written(unit, many, LONG)),
    }

    def read(name: str, **query: int) -> Case:
        return lambda _n: home.run("stepLogs", home.owner, id=ids[name], **query)

    for what, short, long in (
        ("tail", read("short", tail=100), read("long", tail=100)),
        ("middle", read("short", line=SHORT // 2, limit=6_000), read("long", line=LONG // 2, limit=6_000)),
    ):
        ms = medians(interleave(rounds, {"short": short, "long": long}))
        report.at_most(
            f"{what} of a log of {LONG:,} lines ÷ of {SHORT:,}", ms["long"] / ms["short"], 1.5,
            f"{ms['long']:.2f} ms ÷ {ms['short']:.2f} ms",
        )  # fmt: skip


def _written(unit: Unit, run_id: str, lines: int) -> str:
    """Give the first step of a run a log; returns the step's id."""
    run = find_run(unit, run_id)
    row = unit.execute(steps.select().where(steps.c.run_id == run_id, steps.c.position == 0)).one()
    ref = ref_of(run_id, row.name, 1)
    set_step(unit, row.id, attempt=1, logs_ref=ref)
    with Sink(state_of(unit, run) / ref, limit=1 << 30) as sink:
        for at in range(0, lines, 1000):
            numbers = range(at, min(lines, at + 1000))
            sink.write(b"".join(b"%07d the quick brown fox jumps over the lazy dog\n" % n for n in numbers))
    return str(row.id)


def _events(report: Report, home: Home, server: Server, run_id: str) -> None:
    """From the commit of the unit that tells an event until the last of all followers has it, over HTTP."""
    followers = [_Follower(server.port, home.owner_token, run_id) for _ in range(FOLLOWERS)]
    took: list[float] = []
    with _Reader(followers) as reader:
        reader.wait(lambda: all(f.opened for f in followers))
        time.sleep(0.5)
        for number in range(EVENTS):
            as_system(
                home.context, home.org_id, lambda unit, n=number: events.add(unit, run_id, "bench", {"n": n})
            )
            told = time.perf_counter()
            reader.wait(lambda n=number: all(f.last >= n for f in followers))
            took.append((time.perf_counter() - told) * 1000)
    took.sort()
    report.at_most(
        f"event to the last of {FOLLOWERS} clients, p95 [ms]", took[int(len(took) * 0.95)], 250,
        f"{EVENTS} events; p50 {took[len(took) // 2]:.1f} ms",
    )  # fmt: skip
    lost = [f for f in followers if f.heard != list(range(EVENTS))]
    if lost:
        raise RuntimeError(f"{len(lost)} clients missed events or got some twice")


class _Follower:
    """One open stream."""

    def __init__(self, port: int, token: str, run_id: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.connection.request(
            "GET", f"/v1/runs/{run_id}/events", headers={"Authorization": f"Bearer {token}"}
        )
        self.opened = False
        self.heard: list[int] = []
        self.last = -1
        self._rest = b""

    def take(self) -> None:
        """What has come."""
        sock = self.connection.sock
        assert sock is not None
        data = self._rest + sock.recv(65536)
        self.opened = self.opened or b"run.created" in data
        *lines, self._rest = data.split(b"\n")
        for line in lines:
            if line.startswith(b"data: ") and b'"bench"' in line:
                said: dict[str, Any] = json.loads(line[6:])
                self.last = int(said["payload"]["n"])
                self.heard.append(self.last)


class _Reader:
    """One thread that reads all of them."""

    def __init__(self, followers: list[_Follower]) -> None:
        self._followers = followers
        self._selector = selectors.DefaultSelector()
        for follower in followers:
            self._selector.register(follower.connection.sock, selectors.EVENT_READ, follower)
        self._came = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._main, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join()
        for follower in self._followers:
            follower.connection.close()

    def wait(self, until: Any) -> None:
        """Until it is so."""
        with self._came:
            if not self._came.wait_for(until, 30):
                raise RuntimeError("events did not arrive")

    def _main(self) -> None:
        while not self._over:
            ready = self._selector.select(0.05)
            with self._came:
                for key, _ in ready:
                    key.data.take()
                self._came.notify_all()
