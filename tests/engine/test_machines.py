"""Several machines on one database: who has a place free takes the step; who dies or freezes is relieved."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from builderos.client.errors import ClientError
from tests.support.databases import Databases
from tests.support.machines import Fleet, fleet, step
from tests.support.servers import until

KILLS = 25 if os.environ.get("BUILDEROS_SOAK") else 3
WORKERS = ("one", "two")
LANES = """
steps:
  - {id: plan, run: "echo planned > plan.txt"}
  - {id: a, needs: [plan], lane: a, run: "cat plan.txt > a.txt; echo from a; sleep 0.7"}
  - {id: b, needs: [plan], lane: b, run: "cat plan.txt > b.txt; echo from b; sleep 0.7"}
  - {id: both, needs: [a, b], run: "cat a.txt b.txt > both.txt"}
  - {id: save, needs: [both], action: git.commit, inputs: {message: Build it}}
"""
LONG = """
steps:
  - {id: long, run: "sleep 1.03; echo made > long.txt"}
  - {id: save, needs: [long], action: git.commit}
"""
EVERYTHING = """
lanes: continue
steps:
  - {id: plan, cache: false, run: "sleep 0.131; head -c 8 /dev/urandom | od -An -tx1 > plan.txt"}
  - {id: a1, needs: [plan], lane: a, run: "sleep 0.131; echo a > a1.txt"}
  - {id: a2, needs: [a1], lane: a, run: "sleep 0.131; echo a > a2.txt"}
  - {id: b1, needs: [plan], lane: b, run: "sleep 0.131; echo b > b1.txt"}
  - {id: b2, needs: [b1], lane: b, run: "sleep 0.131; echo b > b2.txt"}
  - {id: tell, needs: [plan], lane: c, action: outside, inputs: {what: it}}
  - {id: both, needs: [a2, b2], run: "sleep 0.131; cat a2.txt b2.txt > both.txt"}
  - {id: save, needs: [both], action: git.commit, inputs: {message: Build it}}
  - {id: after, needs: [save, tell], action: outside, inputs: {what: that}}
"""


@pytest.fixture(scope="module")
def crew(databases: Databases) -> Iterator[Fleet]:
    """A server that takes no commands, and two workers with two places each."""
    with databases.fresh() as database, fleet(database, BUILDEROS_QUEUES="") as made:
        for name in WORKERS:
            enlist(made, name)
        yield made


def enlist(crew: Fleet, name: str) -> None:
    doors = name == "server"
    queues = "" if doors else "steps"
    crew.machines.start(name, doors=doors, BUILDEROS_QUEUES=queues, BUILDEROS_RUN_SLOTS="2")


def holder(crew: Fleet, run_id: str, name: str) -> str:
    """The machine on which a step's first attempt runs."""
    until(lambda: bool(crew.attempts(run_id, name)))
    place = crew.attempts(run_id, name)[0][0]
    return next(worker for worker in WORKERS if crew.machines.place(worker) == place)


def content(crew: Fleet, *paths: str) -> dict[str, str]:
    asked: dict[str, Any] = {"mode": "batch", "paths": list(paths)}
    files = crew.server.client(crew.token).call("POST", "/system/fetch_files", asked)["files"]
    return {file["path"]: file["content"] for file in files}


def test_steps_of_one_run_on_several_machines_find_each_others_trees_and_logs(crew: Fleet) -> None:
    run = crew.over(crew.start(LANES))
    assert run["status"] == "succeeded", run
    places = {place for name in ("plan", "a", "b", "both") for place, *_ in crew.attempts(run["id"], name)}
    assert places <= {crew.machines.place(name) for name in WORKERS}
    assert content(crew, "a.txt", "b.txt", "both.txt") == {
        "a.txt": "planned\n", "b.txt": "planned\n", "both.txt": "planned\nplanned\n",
    }  # fmt: skip
    assert step(run, "save")["commit_sha"] in run["provenance"]["commits"]
    log = f"/v1/steps/{step(run, 'a')['id']}/logs"
    client = crew.server.client(crew.token)
    until(lambda: client.call("GET", log)["text"] == "from a\n")  # the server ran none of it


def test_the_step_of_a_killed_worker_is_done_by_another(crew: Fleet) -> None:
    id_ = crew.start(LONG)
    dead = holder(crew, id_, "long")
    crew.machines.found[dead].kill()
    until(lambda: len(crew.attempts(id_, "long")) == 2)  # how long it takes is measured by the bench
    run = crew.over(id_)
    enlist(crew, dead)
    assert run["status"] == "succeeded", run
    (first, second) = crew.attempts(id_, "long")
    assert first == (crew.machines.place(dead), "failed", "lost")
    assert second[0] != first[0]
    assert second[1] == "success"


def test_a_worker_that_was_frozen_does_nothing_to_what_was_taken_over(crew: Fleet) -> None:
    id_ = crew.start(LONG)
    frozen = holder(crew, id_, "long")
    pid = crew.machines.pid(frozen)
    os.kill(pid, signal.SIGSTOP)
    try:
        # What PostgreSQL does by itself when a lease has said nothing for some seconds.
        end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'builderos-lease' and "
        crew.machines.sql(
            end + "query_start < now() - interval '0.6 s' and datname = %s", crew.machines.database.name
        )
        until(lambda: len(crew.attempts(id_, "long")) == 2)
        run = crew.over(id_)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert run["status"] == "succeeded", run
    seen = crew.run(id_), crew.attempts(id_, "long")
    taken = "tasks were taken over by others"
    until(lambda: taken in crew.machines.found[frozen].log.read_text())
    assert (crew.run(id_), crew.attempts(id_, "long")) == seen
    assert [a[1] for a in seen[1]] == ["failed", "success"]
    again = crew.over(crew.start(LANES.replace("0.7", "0.71")))  # it works on as before
    assert again["status"] == "succeeded", again


def test_a_run_that_waits_survives_the_exchange_of_every_process(crew: Fleet) -> None:
    id_ = crew.start("""
steps:
  - {id: make, run: "echo made > made.txt"}
  - {id: ask, needs: [make], question: Shall we?}
  - {id: use, needs: [ask], run: "cat made.txt > used.txt"}
  - {id: save, needs: [use], action: git.commit}
""")
    crew.until(id_, lambda run: run["status"] == "waiting_input")
    for name in (*WORKERS, "server"):  # one after the other, as a rolling update does
        assert crew.machines.found[name].stop() == 0
        enlist(crew, name)
    assert crew.run(id_)["status"] == "waiting_input"
    crew.server.client(crew.token).call("POST", f"/v1/runs/{id_}/answer", {"answer": "yes"})
    assert crew.over(id_)["status"] == "succeeded"
    assert content(crew, "used.txt") == {"used.txt": "made\n"}


# ---------------------------------------------------------------- killed at random moments


class Seen:
    """What was recorded of ended steps: it must never change."""

    def __init__(self, crew: Fleet) -> None:
        self._crew = crew
        self._ended: dict[str, tuple[Any, ...]] = {}

    def look(self) -> None:
        """Compare with what was there before, and remember what is new."""
        rows = self._crew.machines.sql(
            "select id, status, attempt, output_tree, ended_at from ops.run_steps where ended_at is not null"
        )
        now = {row[0]: row[1:] for row in rows}
        lost = {id_: was for id_, was in self._ended.items() if now.get(id_) != was}
        assert not lost, f"{len(lost)} recorded steps were lost or done again"
        self._ended = now


@pytest.mark.soak
def test_no_step_is_lost_or_done_twice_over_many_kills(crew: Fleet) -> None:
    chance, seen = random.Random(20261121), Seen(crew)
    runs: list[str] = []
    crew.commit({"ship/all/pipeline.yaml": f"name: all\n{EVERYTHING}"})
    for _ in range(KILLS):
        runs.append(crew.start_again("all"))
        time.sleep(chance.uniform(0.05, 0.95))
        seen.look()
        victim = chance.choice((*WORKERS, "server"))
        crew.machines.found[victim].kill()
        enlist(crew, victim)
        seen.look()
        run = crew.over(runs[-1])
        failed = [(s["name"], s["error"]) for s in run["steps"] if s["status"] != "succeeded"]
        assert run["status"] == "succeeded", failed
    seen.look()
    check_runs(crew, runs)
    print(f"{KILLS} kills over {len(runs)} runs: none lost, none done twice")


def check_runs(crew: Fleet, runs: list[str]) -> None:
    """No step that was recorded ran again, each effect happened once, nothing is left that runs.

    A command that had ended when its machine was killed, and whose files went with it before its step was recorded, is
    carried out once more as the next attempt: that is a step in flight, and the record names the attempt that counts.
    """
    again = (
        "select x.run_id, x.step_id, x.attempt from ops.sandbox_runs x join ops.run_steps s on s.run_id = x.run_id "
        "and s.name = x.step_id where x.run_id = any(%s) and (x.attempt > s.attempt or x.started_at > s.ended_at)"
    )
    assert crew.machines.sql(again, runs) == []
    counted = (
        "select s.run_id, s.name from ops.run_steps s where s.run_id = any(%s) and s.spec ? 'run' and not exists "
        "(select from ops.sandbox_runs x where x.run_id = s.run_id and x.step_id = s.name and x.attempt = s.attempt "
        "and x.status = 'success')"
    )
    assert crew.machines.sql(counted, runs) == []
    told = crew.machines.effects.read_text().splitlines()
    assert sorted(told) == sorted(f"{id_}.{name}" for id_ in runs for name in ("tell", "after"))
    until(lambda: not left_running())
    open_rows = "select count(*) from ops.sandbox_runs where finished_at is null"
    assert crew.machines.sql(open_rows) == [(0,)]
    verdict = crew.server.owner().call("GET", "/v1/audit/verify")
    assert verdict["ok"], verdict


def left_running() -> list[str]:
    """Commands of steps that nobody has ended."""
    listed = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if line.strip() == "sleep 0.131"]


def test_a_worker_without_the_servers_settings_says_what_is_missing(crew: Fleet) -> None:
    server = crew.server
    env = {k: v for k, v in server.env.items() if k != "BUILDEROS_SECRET_KEY"}
    env |= {"BUILDEROS_HOME": str(server.home.parent / "other")}
    said = subprocess.run(
        [sys.executable, "-m", "builderos.interfaces.cli.main", "worker"],
        env=env, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert said.returncode == 1
    assert "BUILDEROS_SECRET_KEY is not set" in said.stderr
    with pytest.raises(ClientError):
        server.client("wrong").call("GET", "/v1/runs")
