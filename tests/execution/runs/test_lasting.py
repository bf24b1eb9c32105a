"""What outlasts the process: runs that wait, and runs that were under way."""

from pathlib import Path

from builderos import app as root
from builderos.core.database import Database
from builderos.engine.durable import Durable
from tests.support.databases import FreshDatabase
from tests.support.engines import select
from tests.support.runs import Ship, ship_in_temp
from tests.support.servers import until


def engine_again(ship: Ship) -> None:
    """Stop the engine as a server does, and start another one as the next server would."""
    ship.engine.stop(5)
    ship.engine = root.build_engine(root.Started(ship.world.app, ship.database.engine_url))
    ship.engine.start()
    assert ship.engine.wait(120)


def test_a_waiting_run_is_in_no_process_and_goes_on_after_a_restart(database: FreshDatabase) -> None:
    with ship_in_temp(database) as ship:
        id_ = ship.start(
            ship.pipeline("""
steps:
  - {id: ask, question: Go on?}
  - {id: after, needs: [ask], action: noop}
""")
        )
        ship.until(id_, "waiting_input")
        until(lambda: not ship.context.get(Durable).running)
        unfinished = "select count(*) from dbos.workflow_status where status = 'PENDING' and name = 'node@1'"
        until(lambda: select(database.superuser_conninfo, unfinished) == [(0,)])
        engine_again(ship)
        ship.box.post("/runs/answer", run_id=id_, answer="yes")
        assert ship.until(id_)["status"] == "succeeded"


def test_what_was_committed_and_never_started_is_found(database: FreshDatabase) -> None:
    with ship_in_temp(database) as ship:
        name = ship.pipeline("steps:\n  - {id: a, action: noop}\n  - {id: b, needs: [a], action: noop}")
        ship.engine.stop(5)  # a server without engine takes the call
        id_ = ship.start(name)
        assert ship.run(id_)["status"] == "queued"
        engine_again(ship)
        assert ship.until(id_)["status"] == "succeeded"


def test_a_run_outlives_the_connections_to_its_database(database: FreshDatabase, tmp_path: Path) -> None:
    del tmp_path
    with ship_in_temp(database) as ship:
        chain = "\n".join(
            f"  - {{id: s{n}, run: 'sleep 0.1'{f', needs: [s{n - 1}]' if n else ''}}}" for n in range(5)
        )
        id_ = ship.start(ship.pipeline(f"steps:\n{chain}"))
        ship.until(id_, "running")
        ended = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = "
        select(database.superuser_conninfo, f"{ended}'{database.name}'")
        ship.context.get(Database).engine.dispose()
        run = ship.until(id_, within_s=60)
        assert run["status"] == "succeeded", run
        assert all(step["attempt"] <= 2 for step in run["steps"])  # only what was under way is made again
