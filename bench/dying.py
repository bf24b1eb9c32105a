"""Processes that are killed while a step runs, and how soon somebody goes on with it."""

import http.client
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psycopg

from builderos import app as root
from builderos.core.database import Database
from builderos.core.settings import load_settings
from builderos.execution.compute.service import SandboxProviders
from builderos.integrations.embedded_postgres import service as embedded_postgres

from .report import Report
from .stage import LIMITS, Server

LONG: Final = 'name: long\nsteps:\n  - {id: long, run: "sleep 60"}\n'


def resumed(report: Report, place: Path, times: int) -> None:
    """Seconds from being ready again, or from the death of another, to the next attempt of a step that was running."""
    home = place / "resumed"
    settings = load_settings(home=home, engine=False, **LIMITS)
    root.build(settings).app.context.get(Database).close()
    conninfo = embedded_postgres.start(home).superuser_conninfo
    secret = (home / "secret.key").read_text()
    shared = {
        "BUILDEROS_DATABASE_URL": conninfo, "BUILDEROS_SECRET_KEY": secret, "BUILDEROS_RUN_SLOTS": "4",
        "BUILDEROS_ARTIFACT_URL": f"file://{place}/shared",
    }  # fmt: skip
    try:
        with psycopg.connect(conninfo, autocommit=True) as watching:
            again = [_restarted(place, shared, watching) for _ in range(times)]
            report.at_most("resumed after the server is ready, p95 [s]", _p95(again), 2, f"{times} kills -9")
            taken = _taken_over(place, shared, watching, times)
            report.at_most(
                "dead worker → taken over, p95 [s]", _p95(taken), 2, f"{times} kills -9, two processes"
            )
    finally:
        embedded_postgres.stop(home)


def _p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, round(0.95 * len(values)))]


def _start_long(server: Server) -> str:
    _post(server, "/v1/pipelines", {"content": LONG, "name": "long"}, 200, 201, 409)
    return str(_post(server, "/v1/runs", {"pipeline": "long"}, 202)["run_id"])


def _post(server: Server, path: str, body: dict[str, Any], *good: int) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    token = (server.home / "owner.token").read_text().strip()
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    reply = connection.getresponse()
    said = json.loads(reply.read())
    assert reply.status in good, said
    return said


def _place(watching: psycopg.Connection[Any], run_id: str) -> str:
    """Where its command runs, once it does."""
    asked = "select place from ops.sandbox_runs where run_id = %s"
    return str(_soon(lambda: watching.execute(asked, (run_id,)).fetchone())[0])


def _claim(watching: psycopg.Connection[Any], run_id: str, other: str = "") -> str:
    """Who carries the step out, once it is another one."""
    asked = "select claim from ops.run_steps where run_id = %s and claim <> %s"
    return str(_soon(lambda: watching.execute(asked, (run_id, other)).fetchone())[0])


def _soon(look: Callable[[], Any]) -> Any:
    until = time.monotonic() + 30
    while (found := look()) is None:
        assert time.monotonic() < until, "nobody took it over"
        time.sleep(0.005)
    return found


def _restarted(place: Path, shared: dict[str, str], watching: psycopg.Connection[Any]) -> float:
    server = Server(_own(place, "alone"), **shared)
    run_id = _start_long(server)
    _place(watching, run_id)
    first = _claim(watching, run_id)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server = Server(_own(place, "alone"), **shared)
    ready = time.monotonic()
    _claim(watching, run_id, first)
    seen = time.monotonic()
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    _forget(watching, run_id)
    return seen - ready


def _taken_over(
    place: Path, shared: dict[str, str], watching: psycopg.Connection[Any], times: int
) -> list[float]:
    names = ("left", "right")
    servers = {name: Server(_own(place, name), **shared) for name in names}
    took: list[float] = []
    try:
        for number in range(times):
            run_id = _start_long(servers[names[number % 2]])
            where, first = _place(watching, run_id), _claim(watching, run_id)
            dying = next(name for name in names if SandboxProviders(place / name).place == where)
            time.sleep(0.5)
            killed = time.monotonic()
            servers[dying].process.send_signal(signal.SIGKILL)
            _claim(watching, run_id, first)
            took.append(time.monotonic() - killed)
            _forget(watching, run_id)
            servers[dying].process.wait()
            servers[dying] = Server(_own(place, dying), **shared)
    finally:
        for server in servers.values():
            server.process.kill()
            server.process.wait()
    return took


def _own(place: Path, name: str) -> Path:
    home = place / name
    home.mkdir(exist_ok=True)
    return home


def _forget(watching: psycopg.Connection[Any], run_id: str) -> None:
    """Nobody shall go on with it."""
    watching.execute(
        "update ops.run_steps set status = 'cancelled', ended_at = now() where run_id = %s", (run_id,)
    )
    watching.execute("update ops.runs set status = 'cancelled', ended_at = now() where id = %s", (run_id,))
