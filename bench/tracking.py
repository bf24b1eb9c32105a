"""Experiments: what it costs to log and to search, through the same requests, beside MLflow's own server (FULL=1).

MLflow is installed in an environment of its own and serves its SQLite file with one worker, as its manual starts it.
Server time is what a client waits for, less what it waits for at a server that answers nothing at all.
"""

import http.client
import json
import os
import sqlite3
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from builderos.core.unit import Unit, as_system

from .report import Report
from .stage import Home, Server
from .timing import Case, interleave, medians
from .trackers import Tracker, empty, mlflow_server

PARAMS, METRICS = 5, 5
UPLOAD = 50_000_000
# What a user runs: the client's own calls, timed by itself.
CLIENT = """
import sys, time, warnings
warnings.filterwarnings("ignore")
from mlflow import MlflowClient
from mlflow.entities import Metric
client, run, many, batches = MlflowClient(), sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for n in range(20): client.log_metric(run, "warm", n, step=n)
began = time.perf_counter()
for n in range(many): client.log_metric(run, "one", n, step=n)
one = (time.perf_counter() - began) / many
began = time.perf_counter()
for n in range(batches):
    client.log_batch(run, metrics=[Metric(f"m{i % 10}", i, i, n * 100 + i // 10) for i in range(1000)])
print(one * 1000, (time.perf_counter() - began) / batches * 1000)
"""


def logging(report: Report, server: Server, home: Home, place: Path, rounds: int, rival: bool) -> None:
    """The rows of logging and of uploads."""
    ours = Tracker(server.port, "/mlflow", home.owner_token)
    with empty() as nothing:
        floor = cost(nothing, "none", rounds), batch_cost(nothing, "none", rounds // 10 + 1)
        if not rival:
            alone(report, ours, floor, rounds)
            uploads(report, ours, None)
            return
        with mlflow_server(place) as (theirs, bin_, _):
            beside(report, ours, theirs, floor, rounds)
            through_client(report, ours, theirs, bin_, place)
            uploads(report, ours, theirs)


def searching(report: Report, server: Server, home: Home, place: Path, rounds: int, rival: bool) -> None:
    """The rows of searches among 10,000 runs."""
    ours = Tracker(server.port, "/mlflow", home.owner_token)
    if rival:
        with mlflow_server(place) as (theirs, _, store):
            fill_mlflow(store, 10_000)
            searches(report, home, ours, theirs, rounds)
    else:
        searches(report, home, ours, None, rounds)


def many_runs(report: Report, server: Server, home: Home, many: int) -> None:
    """The rows of searches among so many runs, and of comparing some of them."""
    at_scale(report, home, Tracker(server.port, "/mlflow", home.owner_token), many)


def cost(tracker: Tracker, run: str, rounds: int) -> float:
    """Milliseconds of one log-metric."""

    def once(n: int) -> None:
        body = {"run_id": run, "key": "loss", "value": n / 7, "timestamp": 1_700_000_000_000 + n, "step": n}
        tracker.raw("POST", "runs/log-metric", json.dumps(body).encode())

    return timed(once, rounds)


def batch_cost(tracker: Tracker, run: str, rounds: int) -> float:
    """Milliseconds of one log-batch of 1,000 points."""

    def once(n: int) -> None:
        points = [
            {"key": f"m{i % 10}", "value": i / 3, "timestamp": i, "step": n * 100 + i // 10}
            for i in range(1000)
        ]
        tracker.raw("POST", "runs/log-batch", json.dumps({"run_id": run, "metrics": points}).encode())

    return timed(once, rounds)


def timed(once: Callable[[int], None], rounds: int) -> float:
    """Median milliseconds, after a few that do not count."""
    for n in range(5):
        once(-n - 1)
    took: list[float] = []
    for n in range(rounds):
        began = time.perf_counter()
        once(n)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def alone(report: Report, ours: Tracker, floor: tuple[float, float], rounds: int) -> None:
    """Ours without anybody beside it."""
    one = cost(ours, ours.run("one"), rounds) - floor[0]
    many = batch_cost(ours, ours.run("many"), rounds // 10 + 1) - floor[1]
    report.at_most("log_metric, server time (ms)", one, 6, "less an empty server")
    report.at_most("log_batch of 1,000, server time (ms)", many, 60, "less an empty server")


def beside(report: Report, ours: Tracker, theirs: Tracker, floor: tuple[float, float], rounds: int) -> None:
    """Server time and eight clients, ours and theirs in turns."""
    runs = {id(t): t.run("beside") for t in (ours, theirs)}
    one = {id(t): cost(t, runs[id(t)], rounds) - floor[0] for t in (theirs, ours)}
    many = {id(t): batch_cost(t, runs[id(t)], rounds // 10 + 1) - floor[1] for t in (theirs, ours)}
    for name, took in (("log_metric", one), ("log_batch of 1,000", many)):
        how = f"{took[id(ours)]:.2f} ms, MLflow {took[id(theirs)]:.2f} ms"
        report.at_most(f"{name}, server time against MLflow", took[id(ours)] / took[id(theirs)], 0.25, how)
    rates = {id(t): crowd(t, 8, 40) for t in (theirs, ours)}
    how = f"{rates[id(ours)]:.0f}/s, MLflow {rates[id(theirs)]:.0f}/s"
    report.at_least("log_metric, 8 clients, against MLflow", rates[id(ours)] / rates[id(theirs)], 4, how)


def crowd(tracker: Tracker, clients: int, each: int) -> float:
    """log-metric per second of several clients at once."""
    lines = [Tracker(tracker.port, tracker.base, tracker.token) for _ in range(clients)]
    runs = [line.run("crowd") for line in lines]

    def work(line: Tracker, run: str) -> None:
        for n in range(each):
            line.ask("POST", "runs/log-metric", run_id=run, key="loss", value=n, timestamp=n, step=n)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(lines, runs, strict=True)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return clients * each / (time.perf_counter() - began)


def through_client(report: Report, ours: Tracker, theirs: Tracker, bin_: Path, place: Path) -> None:
    """The unmodified client, which takes its own time."""
    found: dict[int, list[float]] = {}
    (place / "client.py").write_text(CLIENT)
    for tracker in (theirs, ours, theirs, ours):
        env = {
            **os.environ,
            "MLFLOW_TRACKING_URI": tracker.address,
            "MLFLOW_TRACKING_TOKEN": tracker.token or "none",
        }
        argv = [bin_ / "python", place / "client.py", tracker.run("client"), "150", "15"]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
        took = [float(part) for part in done.stdout.split()[-2:]]
        found[id(tracker)] = [min(pair) for pair in zip(found.get(id(tracker), took), took, strict=True)]
    for at, (name, bound) in enumerate((("log_metric", 2), ("log_batch of 1,000", 2.5))):
        mine, other = found[id(ours)][at], found[id(theirs)][at]
        how = f"{mine:.2f} ms, MLflow {other:.2f} ms"
        report.at_least(f"{name} through the unmodified client, times faster", other / mine, bound, how)


def uploads(report: Report, ours: Tracker, theirs: Tracker | None) -> None:
    """A file of 50 MB, of bytes that nothing makes smaller; another one each time, so that none is known already."""
    found: dict[int, list[float]] = {}
    for tracker in (theirs, ours) * 3:
        if tracker is not None:
            found.setdefault(id(tracker), []).append(_uploaded(tracker))
    mine = max(found[id(ours)])
    if theirs is None:
        report.shown("artifact upload of 50 MB (MB/s)", mine, "PUT …/mlflow-artifacts")
        return
    other = max(found[id(theirs)])
    how = f"{mine:.0f} MB/s, MLflow {other:.0f} MB/s"
    report.at_least("artifact upload of 50 MB, against MLflow", mine / other, 1, how)


def _uploaded(tracker: Tracker) -> float:
    """Megabytes per second of one upload."""
    data, run = os.urandom(UPLOAD), tracker.run("upload")
    line = http.client.HTTPConnection("127.0.0.1", tracker.port, timeout=120)
    headers = {"Authorization": f"Bearer {tracker.token}"} if tracker.token else {}
    began = time.perf_counter()
    path = f"{tracker.base}/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/data.bin"
    line.request("PUT", path, data, {**headers, "Content-Type": "application/octet-stream"})
    reply = line.getresponse()
    took = time.perf_counter() - began
    if reply.status != 200:
        raise RuntimeError(f"{path}: {reply.status} {reply.read(500)!r}")
    reply.read()
    line.close()
    return UPLOAD / 1e6 / took


FILL = """
with e as (insert into ops.experiments (id, org_id, name, created_by, created_at, updated_at)
  values (%(exp)s, %(org)s, %(exp)s, 'bench', now(), now()) returning id),
r as (insert into ops.experiment_runs (id, org_id, experiment_id, name, status, external, user_name, started_at,
    created_by, created_at)
  select %(exp)s || '_' || n, %(org)s, %(exp)s, 'run-' || n,
    case when n %% 10 = 0 then 'failed' else 'finished' end, true, 'b',
    1700000000000 + (n::bigint * 7919) %% %(many)s, 'b', now()
  from generate_series(1, %(many)s) n returning id, started_at),
p as (insert into ops.run_params (org_id, run_id, key, value, experiment_id, started_at)
  select %(org)s, id, 'p' || k, ((substr(id, length(%(exp)s) + 2)::bigint * 31 + k) %% 10)::text, %(exp)s, started_at
  from r, generate_series(1, %(params)s) k),
t as (insert into ops.run_tags (org_id, run_id, key, value, experiment_id, started_at)
  select %(org)s, id, 'team', 'team-' || (substr(id, length(%(exp)s) + 2)::bigint %% 20), %(exp)s, started_at from r)
insert into ops.run_metrics_latest (org_id, run_id, key, step, at, value, experiment_id)
  select %(org)s, id, 'm' || k, 1, 1, ((substr(id, length(%(exp)s) + 2)::bigint * 7907 + k) %% 10007) / 10007.0, %(exp)s
  from r, generate_series(1, %(metrics)s) k
"""


def fill(home: Home, name: str, many: int) -> str:
    """An experiment with so many runs, written past the API."""

    def write(unit: Unit) -> None:
        values = {"exp": name, "org": unit.org_id, "many": many, "params": PARAMS, "metrics": METRICS}
        unit.driver.execute(FILL, values)

    as_system(home.context, home.org_id, write)
    return name


def fill_mlflow(store: Path, many: int) -> None:
    """The same runs in MLflow's own file."""
    base = sqlite3.connect(store)
    base.execute(
        "insert into experiments (experiment_id, name, artifact_location, lifecycle_stage) "
        "values (77, 'filled', 'x', 'active')"
    )
    numbers = range(1, many + 1)
    begun = {n: 1_700_000_000_000 + n * 7919 % many for n in numbers}
    base.executemany(
        "insert into runs (run_uuid, name, source_type, status, start_time, lifecycle_stage, experiment_id, user_id) "
        "values (?, ?, 'LOCAL', ?, ?, 'active', 77, 'b')",
        [(f"{n:032x}", f"run-{n}", "FAILED" if n % 10 == 0 else "FINISHED", begun[n]) for n in numbers],
    )
    base.executemany("insert into params (key, value, run_uuid) values (?, ?, ?)",
                     [(f"p{k}", str((n * 31 + k) % 10), f"{n:032x}")
                      for n in numbers for k in range(1, PARAMS + 1)])  # fmt: skip
    base.executemany("insert into tags (key, value, run_uuid) values (?, ?, ?)",
                     [("team", f"team-{n % 20}", f"{n:032x}") for n in numbers])  # fmt: skip
    base.executemany(
        "insert into latest_metrics (key, value, timestamp, step, is_nan, run_uuid) values (?, ?, 1, 1, 0, ?)",
        [
            (f"m{k}", (n * 7907 + k) % 10007 / 10007, f"{n:032x}")
            for n in numbers
            for k in range(1, METRICS + 1)
        ],
    )
    base.commit()
    base.close()


def searches(report: Report, home: Home, ours: Tracker, theirs: Tracker | None, rounds: int) -> None:
    """Searches among 10,000 runs."""
    mine = fill(home, "exp_searched", 10_000)
    asked: list[tuple[str, dict[str, Any], float]] = [
        ("search 100 of 10,000 runs", {"max_results": 100}, 4),
        ("search 1,000 of 10,000 runs", {"max_results": 1000}, 8),
        ("search by a metric among 10,000 runs", {"max_results": 100, "filter": "metrics.m1 > 0.9"}, 4),
    ]
    for name, body, bound in asked:
        cases: dict[str, Case] = {"ours": lambda _n, body=body: search(ours, mine, body)}
        if theirs is not None:
            cases["theirs"] = lambda _n, body=body, theirs=theirs: search(theirs, "77", body)
        took = medians(interleave(max(5, rounds // 20), cases))
        if theirs is None:
            report.shown(f"{name} (ms)", took["ours"], "raw HTTP")
            continue
        how = f"{took['ours']:.1f} ms, MLflow {took['theirs']:.1f} ms"
        report.at_least(f"{name}, times faster", took["theirs"] / took["ours"], bound, how)


def search(tracker: Tracker, experiment: str, body: dict[str, Any]) -> None:
    """One search, unread."""
    tracker.raw("POST", "runs/search", json.dumps({"experiment_ids": [experiment], **body}).encode())


def at_scale(report: Report, home: Home, ours: Tracker, many: int) -> None:
    """Indexed searches in an experiment with a hundred times the runs, and one that no index answers."""
    small, large = fill(home, "exp_10k", 10_000), fill(home, "exp_large", many)
    asked: dict[str, dict[str, Any]] = {
        "newest": {}, "equality": {"filter": "params.p1 = '3'"}, "range": {"filter": "metrics.m1 > 0.9"},
        "status": {"filter": "attributes.status = 'FAILED'"}, "order": {"order_by": ["metrics.m2 DESC"]},
        "tag and range": {"filter": "tags.team = 'team-3' AND metrics.m1 > 0.5"},
    }  # fmt: skip
    worst, told = 0.0, list[str]()
    for name, body in asked.items():
        few = timed(lambda _n, body=body: search(ours, small, {"max_results": 100, **body}), 9)
        lot = timed(lambda _n, body=body: search(ours, large, {"max_results": 100, **body}), 9)
        told.append(f"{name} {few:.1f} → {lot:.1f} ms")
        worst = max(worst, lot / few)
    report.at_most(f"indexed searches, {many:,} runs against 10,000", worst, 3, "; ".join(told))
    began = time.perf_counter()
    try:
        search(ours, large, {"max_results": 100, "filter": "params.p1 LIKE '%none%'"})
        said = "answered"
    except RuntimeError as error:
        said = "given up" if "given up" in str(error) else str(error)
    report.at_most(f"LIKE among {many:,} runs (s)", time.perf_counter() - began, 6, said)
    compared(report, home, ours, large)


def compared(report: Report, home: Home, ours: Tracker, experiment: str) -> None:
    """100 runs with 50 metrics side by side."""
    body = {"experiment_ids": [experiment], "max_results": 100}
    runs = [run["info"]["run_id"] for run in ours.ask("POST", "runs/search", **body)["runs"]]
    for run in runs:
        points = [{"key": f"c{k}", "value": k, "timestamp": 1, "step": 1} for k in range(45)]
        ours.ask("POST", "runs/log-batch", run_id=run, metrics=points)
    line = http.client.HTTPConnection("127.0.0.1", ours.port)

    def once(_n: int) -> None:
        path = f"/v1/experiments/{experiment}/compare?runs={','.join(runs)}"
        line.request("GET", path, headers={"Authorization": f"Bearer {ours.token}"})
        reply = line.getresponse()
        assert reply.status == 200, reply.read()
        reply.read()

    report.at_most("compare 100 runs of 50 metrics (ms)", timed(once, 9), 300, "GET …/compare")
    del home
