"""Schedules: each tick runs once, whatever the number of processes and whoever dies."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from builderos.core.actor import system_actor
from builderos.core.clock import utcnow
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.ids import new_id
from builderos.core.unit import Call, perform
from builderos.engine import lease
from builderos.integrations.embedded_postgres import service as postgres
from builderos.trust.identity import service as identity
from tests.support.databases import Databases, FreshDatabase
from tests.support.engines import Bench, Worker, assembled, bench, lines, put, select, workers
from tests.support.servers import until

NEVER = "0 0 1 1 *"
EVERY_SECOND = "* * * * * *"


@pytest.fixture
def it(tmp_path: Path, database: FreshDatabase) -> Iterator[Bench]:
    with bench(tmp_path / "home", database) as made:
        yield made


def add_org(context: Context, slug: str) -> str:
    call = Call(actor=system_actor(new_id("org")))
    return perform(context, call, lambda unit: identity.create_org(unit, slug, slug, anonymous=False))


def statuses(it: Bench, prefix: str) -> list[str]:
    query = f"select status from dbos.workflow_status where workflow_uuid like '{prefix}%'"
    return sorted(row[0] for row in select(it.conninfo, query))


def test_a_schedule_visits_every_organisation(it: Bench) -> None:
    other = add_org(it.context, "other")
    seen: list[str] = []
    it.engine.cron("visit", NEVER, lambda _context, org_id: seen.append(org_id))
    it.run()
    it.engine.trigger("visit")
    until(lambda: len(seen) == 2)
    assert sorted(seen) == sorted([it.org_id, other])


def test_one_failing_organisation_keeps_no_other_from_its_turn(it: Bench) -> None:
    others = [add_org(it.context, f"o{i}") for i in range(3)]
    seen: list[str] = []

    def visit(_context: Context, org_id: str) -> None:
        if org_id == it.org_id:
            raise RuntimeError("cannot")
        seen.append(org_id)

    it.engine.cron("visit", NEVER, visit)
    it.run()
    it.engine.trigger("visit")
    until(lambda: statuses(it, "sched-visit-") == ["ERROR"])
    assert sorted(seen) == sorted(others)


def test_a_passing_fault_is_tried_again_at_once(it: Bench) -> None:
    faults = iter(range(2))
    done = threading.Event()

    def visit(_context: Context, _org_id: str) -> None:
        if next(faults, None) is not None:
            raise RuntimeError("the database went away")
        done.set()

    it.engine.cron("visit", NEVER, visit)
    it.run()
    it.engine.trigger("visit")
    assert done.wait(120)
    until(lambda: statuses(it, "sched-visit-") == ["SUCCESS"])


def test_a_schedule_of_the_server_runs_once_and_not_per_organisation(it: Bench) -> None:
    add_org(it.context, "other")
    seen: list[str] = []
    it.engine.cron("tick", NEVER, lambda _context: seen.append("tick"), each_org=False)
    it.run()
    it.engine.trigger("tick")
    until(lambda: statuses(it, "sched-tick-") == ["SUCCESS"])
    assert seen == ["tick"]


def test_a_name_is_enrolled_once(it: Bench) -> None:
    it.engine.cron("visit", NEVER, lambda _context, _org: None)
    with pytest.raises(ValueError, match="visit"):
        it.engine.cron("visit", NEVER, lambda _context, _org: None)


def test_every_tick_fires_once_over_two_processes(tmp_path: Path, database: FreshDatabase) -> None:
    log = tmp_path / "log"
    pair = [Worker(tmp_path / "home", database, log, tick=EVERY_SECOND) for _ in range(2)]
    with workers(*pair):
        for worker in pair:
            worker.wait_running()
        until(lambda: len(lines(log)) >= 6)
        assert [worker.end() for worker in pair] == [0, 0]
    ticks = select(
        database.superuser_conninfo,
        "select workflow_uuid from dbos.workflow_status where workflow_uuid like 'sched-tick-%' and status = 'SUCCESS'",
    )
    assert len(lines(log)) == len(ticks)


def test_what_a_dead_process_finished_is_not_repeated(tmp_path: Path, database: FreshDatabase) -> None:
    log = tmp_path / "log"
    context = assembled(tmp_path / "home", database.keys)
    orgs = sorted(add_org(context, f"o{i}") for i in range(4))
    context.get(Database).close()
    dying = Worker(tmp_path / "home", database, log, dies_at=f"visit {orgs[2]}")
    with workers(dying):
        dying.wait_running()
        print("visit", file=dying.stdin, flush=True)
        assert dying.process.wait(120) == 9
    heir = Worker(tmp_path / "home", database, log)
    with workers(heir):
        heir.wait_running()
        until(lambda: len(lines(log)) == 5)
        assert heir.end() == 0
    visited = [line.removeprefix("visit ") for line in lines(log)]
    assert sorted(visited) == sorted([*orgs, orgs[2]])  # only the one in whose middle it died


def test_a_run_missed_at_night_is_made_up_at_the_first_start_of_a_day(
    tmp_path: Path, database: FreshDatabase
) -> None:
    seen: list[str] = []
    for _ in range(2):
        with bench(tmp_path / "home", database) as it:
            it.engine.cron("backup", NEVER, lambda _context, org_id: seen.append(org_id), catch_up=True)
            it.run()
            until(lambda: statuses(it, "first-backup-") == ["SUCCESS"])
    assert len(seen) == 1


def test_everything_the_engine_stores_is_json(it: Bench) -> None:
    it.handlers.enrol("note", it.note)

    def fail(_context: Context, _org_id: str) -> None:
        raise LookupError("a kind of error that the reader may not know")

    it.engine.cron("fail", NEVER, fail)
    it.run()
    it.engine.trigger("fail")
    perform(it.context, Call(actor=system_actor(it.org_id)), lambda unit: put(unit, "a"))
    until(lambda: statuses(it, "sched-fail-") == ["ERROR"] and statuses(it, "outbox-") == ["SUCCESS"])
    columns = select(
        it.conninfo,
        "select table_name, column_name from information_schema.columns where table_schema = 'dbos'"
        " and column_name in ('inputs', 'output', 'error', 'context', 'message', 'value')",
    )
    texts: list[str] = []
    for table, column in columns:
        stored = select(it.conninfo, f"select {column} from dbos.{table} where {column} is not null")
        texts += [row[0] for row in stored]
    assert len(texts) > 6
    for text in texts:
        json.loads(text)


def test_runs_that_ended_long_ago_are_forgotten(it: Bench) -> None:
    it.engine.cron("tick", NEVER, lambda _context: None, each_org=False)
    it.run()
    it.engine.trigger("tick")
    until(lambda: statuses(it, "sched-tick-") == ["SUCCESS"])
    long_ago = int((utcnow() - timedelta(days=31)).timestamp() * 1000)
    select(
        it.conninfo,
        f"update dbos.workflow_status set created_at = {long_ago}, completed_at = {long_ago} returning 1",
    )
    it.engine.trigger("tick")
    it.engine.trigger("engine-purge")
    until(lambda: statuses(it, "sched-engine-purge-") == ["SUCCESS"])
    assert len(statuses(it, "sched-tick-")) == 1


def test_stopping_lets_running_work_end_and_leaves_the_rest_for_the_next_start(
    tmp_path: Path, database: FreshDatabase
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    seen: list[str] = []

    def slow(_context: Context, org_id: str) -> None:
        begun.set()
        may_end.wait(120)
        seen.append(org_id)

    with bench(tmp_path / "home", database) as it:
        orgs = [it.org_id, add_org(it.context, "other")]
        it.engine.cron("slow", NEVER, slow)
        it.run()
        it.engine.trigger("slow")
        assert begun.wait(120)
        stopping = threading.Thread(
            target=lambda: (until(lambda: it.engine.state == "stopping"), may_end.set())
        )
        stopping.start()
        assert it.engine.stop(120)
        stopping.join()
        assert len(seen) == 1
    with bench(tmp_path / "home", database) as it:
        it.engine.cron("slow", NEVER, slow)
        it.run()
        until(lambda: len(seen) == 2)
    assert sorted(seen) == sorted(orgs)


def test_stopping_does_not_wait_for_ever(it: Bench) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def endless(_context: Context, _org_id: str) -> None:
        begun.set()
        may_end.wait(120)

    it.engine.cron("endless", NEVER, endless)
    it.run()
    it.engine.trigger("endless")
    assert begun.wait(120)
    assert not it.engine.stop(0.1)
    may_end.set()


def test_an_engine_that_never_started_stops_at_once(it: Bench) -> None:
    assert it.engine.stop()
    assert it.engine.state == "off"


def test_the_engine_waits_for_a_database_that_is_not_there_yet(
    tmp_path: Path, database: FreshDatabase
) -> None:
    with bench(tmp_path / "home", database) as it:
        it.handlers.enrol("note", it.note)
        admin = database.superuser_conninfo
        name = database.name
        execute(
            admin,
            f"revoke connect on database {name} from public; revoke connect on database {name} from bos_engine",
        )
        it.engine.start()
        until(lambda: it.engine.state == "failed")
        execute(admin, f"grant connect on database {name} to bos_engine")
        assert it.engine.wait(120)


def execute(conninfo: str, statements: str) -> None:
    import psycopg

    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(statements)  # type: ignore[arg-type]


def test_the_engine_lives_through_a_restart_of_the_database(home: Path, tmp_path: Path) -> None:
    own = Databases(home, durable=False, folder=tmp_path)
    with own.fresh() as database, bench(tmp_path / "home", database) as it:
        it.handlers.enrol("note", it.note)
        ticks: list[int] = []
        it.engine.cron("tick", EVERY_SECOND, lambda _context: ticks.append(1), each_org=False)
        it.run()
        until(lambda: len(ticks) >= 1)
        postgres.stop(home)
        own.server()
        before = len(ticks)
        until(lambda: len(ticks) > before)
        perform(it.context, Call(actor=system_actor(it.org_id)), lambda unit: put(unit, "after"))
        until(lambda: it.done == ["after"])
        # its lease is there again: nobody else may take its work
        held = f"select count(*) from pg_locks where locktype = 'advisory' and classid = {lease._NAMESPACE}"
        until(lambda: select(database.superuser_conninfo, held) == [(1,)])


def test_importing_the_server_does_not_import_the_engine_s_library() -> None:
    script = "import sys, builderos.app; sys.exit('dbos' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
