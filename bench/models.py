"""The inference gateway: processor time and delay per request, beside a bare relay and LiteLLM's proxy; exact counts.

LiteLLM (FULL=1) is installed in an environment of its own, without a database or keys: it does less than we do.
"""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from builderos.core.unit import as_system
from builderos.execution.gateway.model import ai_usage

from .report import Report
from .stage import Home, Server

AT_ONCE = 8
FILE = """
providers:
  up: {{kind: openai, base_url: "http://127.0.0.1:{port}/v1", models: {{m: {{input: 1, output: 2}}}}}}
"""
LITELLM = "litellm[proxy]==1.106.2"
KEY = "sk-bench-4c6f0d2a9e8b7715"


@dataclass
class Cost:
    """Per request: milliseconds of processor time, and of waiting."""

    cpu_ms: float
    p50_ms: float
    p99_ms: float


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(*args: object, **options: Any) -> "subprocess.Popen[str]":
    """One of ours."""
    argv = [sys.executable, "-m", "bench.modelling", *map(str, args)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, **options)


@contextmanager
def upstream() -> Iterator[int]:
    """The model; gives its port."""
    process = program("upstream")
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def sent(port: int) -> dict[str, int]:
    """What the model has sent."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/sent") as reply:
        return json.load(reply)


def cpu_s(pid: int) -> float:
    """Processor time of a process and its children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(port: int, path: str, token: str, count: int, *, stream: bool, aborts: int = 0) -> list[float]:
    """Seconds of each request."""
    process = program("load", port, path, token, count, AT_ONCE, int(stream), aborts)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out
    return json.loads(out)


def cost(pid: int, port: int, path: str, token: str, count: int, *, stream: bool) -> Cost:
    """What one request costs the process that serves it."""
    load(port, path, token, max(50, count // 5), stream=stream)  # warm
    before = cpu_s(pid)
    took = sorted(load(port, path, token, count, stream=stream))
    used = cpu_s(pid) - before
    return Cost(used * 1000 / count, statistics.median(took) * 1000, p99(took))


def p99(took: list[float]) -> float:
    """In milliseconds."""
    return sorted(took)[int(len(took) * 0.99)] * 1000


@contextmanager
def other(argv: list[str], port: int, **environment: str) -> Iterator[int]:
    """A server that is not ours; gives its process id once it answers."""
    process = subprocess.Popen(
        argv, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None:
                raise RuntimeError(f"{argv[0]} ended with {process.returncode}")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def litellm(place: Path) -> Path:
    """Its program, in an environment of its own."""
    home = place / "litellm"
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    subprocess.run([home / "bin" / "pip", "install", "-q", LITELLM], check=True)
    return home / "bin" / "litellm"


def gateway(report: Report, source: Path, place: Path, count: int, *, rival: bool) -> None:
    """Every row about the gateway, on a home of its own."""
    home = Home(place / "models", source)
    try:
        with upstream() as model:
            _rows(report, home, place, count, model, rival=rival)
    finally:
        home.close()


def _rows(report: Report, home: Home, place: Path, count: int, model: int, *, rival: bool) -> None:
    file = home.path / "ssot" / "providers" / "ai" / "provider.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(FILE.format(port=model))
    budgets(home)
    server = Server(home.path, BUILDEROS_ENGINE="false")
    try:
        costs(report, home, server, model, place, count, rival=rival)
        exactness(report, home, server, model, count)
        killed(report, home, server, model)
    finally:
        if not server.ended():
            server.stop()


def budgets(home: Home) -> None:
    """Budgets that every request has to pass, and that none uses up."""
    for subject in ("org", "each-key"):
        home.run("setModelBudget", home.owner, subject=subject, period="month", meter="cost", amount=10**6)


def costs(
    report: Report, home: Home, server: Server, model: int, place: Path, count: int, *, rival: bool
) -> None:
    """Processor time and delay, plain and streamed."""
    ours_at, path = (server.process.pid, server.port), "/v1/chat/completions"
    port = free_port()
    direct = {stream: p99(load(model, path, "x", count, stream=stream)) for stream in (False, True)}
    with other([sys.executable, "-m", "bench.modelling", "relay", str(port), str(model)], port) as pid:
        bare = {stream: cost(pid, port, path, "x", count, stream=stream) for stream in (False, True)}
    ours = {
        stream: cost(*ours_at, f"/openai{path}", home.owner_token, count, stream=stream)
        for stream in (False, True)
    }
    theirs = _litellm(place, model, count) if rival else {}
    for stream, name in ((False, "plain"), (True, "stream")):
        one, least = ours[stream], bare[stream]
        told = f"{one.cpu_ms:.2f} ms, relay {least.cpu_ms:.2f} ms; p99 {one.p99_ms:.1f} ms, relay {least.p99_ms:.1f} ms"
        report.shown(f"gateway, {name}: CPU per request ÷ a bare relay", one.cpu_ms / least.cpu_ms, told)
        if stream in theirs:
            rest = theirs[stream]
            how = f"{one.cpu_ms:.2f} ms, LiteLLM {rest.cpu_ms:.2f} ms"
            report.at_most(
                f"gateway, {name}: CPU per request ÷ LiteLLM proxy", one.cpu_ms / rest.cpu_ms, 0.1, how
            )
            mine, other_ms = one.p99_ms - direct[stream], rest.p99_ms - direct[stream]
            how = f"{mine:.1f} ms, LiteLLM {other_ms:.1f} ms, {AT_ONCE} at once"
            report.at_most(f"gateway, {name}: added p99 ÷ LiteLLM proxy", mine / other_ms, 0.2, how)


def _litellm(place: Path, model: int, count: int) -> dict[bool, Cost]:
    script = litellm(place)
    config = place / "litellm.yaml"
    entry = {"model_name": "up/m", "litellm_params": {"model": "openai/m", "api_key": "x",
                                                      "api_base": f"http://127.0.0.1:{model}/v1"}}  # fmt: skip
    config.write_text(json.dumps({"model_list": [entry]}))
    port, path = free_port(), "/v1/chat/completions"
    argv = [str(script), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    with other(argv, port, LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MASTER_KEY=KEY) as pid:
        return {
            stream: cost(pid, port, path, KEY, max(200, count // 5), stream=stream)
            for stream in (False, True)
        }


def exactness(report: Report, home: Home, server: Server, model: int, count: int) -> None:
    """The ledger of usage beside what the model says it sent."""
    rows_before, sent_before = rows(home), sent(model)
    load(server.port, "/openai/v1/chat/completions", home.owner_token, count, stream=True, aborts=20)
    deadline = time.monotonic() + 30
    while (found := [row for row in rows(home) if row.id not in {r.id for r in rows_before}]) and (
        any(row.state == "reserved" for row in found) and time.monotonic() < deadline
    ):
        time.sleep(0.1)
    now = sent(model)
    done = [row for row in found if row.state == "done"]
    cut = [row for row in found if row.state == "aborted"]
    told = now["input"] + now["output"] - sent_before["input"] - sent_before["output"]
    counted = sum(row.input_tokens + row.output_tokens for row in done)
    how = f"{len(done)} requests, {counted} tokens"
    report.at_most(
        "gateway: |tokens in the ledger ÷ the model's count - 1|, completed", abs(counted / told - 1), 0, how
    )
    report.at_most(
        "gateway: requests without a row of their own", abs(count - len(found)), 0, f"{count} requests"
    )
    short = sum(not row.estimated or row.output_tokens < 3 for row in cut)
    relayed = now["cut_output"] - sent_before["cut_output"]
    how = f"{len(cut)} aborted, {sum(row.output_tokens for row in cut)} counted, {relayed} sent"
    report.at_most("gateway: aborted rows below what was passed on, or not marked", short, 0, how)


def killed(report: Report, home: Home, server: Server, model: int) -> None:
    """Requests under way when the server dies."""
    before = {row.id for row in rows(home)}
    process = program(
        "load",
        server.port,
        "/openai/v1/chat/completions",
        home.owner_token,
        64,
        64,
        1,
        -1,
        stderr=subprocess.DEVNULL,
    )
    while len(rows(home, "reserved")) < 16:
        time.sleep(0.005)
    server.process.kill()
    server.process.wait()
    process.wait()
    held = [row for row in rows(home) if row.id not in before]
    waiting = [row for row in held if row.state == "reserved"]

    def sweep(unit: Any) -> int:
        from builderos.execution.gateway import reserving

        unit.execute(
            sa.update(ai_usage)
            .where(ai_usage.c.state == "reserved")
            .values(expires_at=unit.now - timedelta(seconds=1))
        )
        return 0 if not waiting else reserving.sweep(unit)

    time.sleep(0.01)
    as_system(home.context, home.org_id, sweep)
    as_system(home.context, home.org_id, sweep)
    after = {row.id: row for row in rows(home)}
    lost = sum(
        row.id not in after or after[row.id].state == "reserved"
        or (after[row.id].state == "expired" and after[row.id].cost != row.held_cost)
        for row in held
    )  # fmt: skip
    how = f"{len(held)} requests begun, {len(waiting)} under way; model {sent(model)['requests']}"
    report.at_most("gateway: rows lost, or below their bound, after kill -9", lost, 0, how)


def rows(home: Home, state: str | None = None) -> list[Any]:
    """Every row of the ledger of usage, or those in a state."""
    wanted = sa.select(ai_usage).where(sa.true() if state is None else ai_usage.c.state == state)
    return list(as_system(home.context, home.org_id, lambda unit: unit.execute(wanted).all(), read_only=True))
