"""Leases: nobody's unfinished work is taken while its owner lives, and everybody's is when the owner is dead."""

import functools
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from builderos.engine.lease import Lease
from tests.support.databases import FreshDatabase
from tests.support.engines import Worker, bench, lines, select, workers
from tests.support.servers import until


class Watch:
    """A lease, the executors that own work in its eyes, and whose work it took."""

    def __init__(
        self, database: FreshDatabase, me: str, *, interval_s: float = 0.05, doubt_s: float = 0.1, silence_s: float = 60
    ) -> None:  # fmt: skip
        self.owners: set[str] = set()
        self.taken: list[str] = []
        self.looks = 0
        conninfo = (
            sa.make_url(database.engine_url)
            .set(drivername="postgresql")
            .render_as_string(hide_password=False)
        )
        self.regained = 0
        self.lease = Lease(
            conninfo, me, self._executors, self.taken.append, interval_s=interval_s, doubt_s=doubt_s,
            silence_s=silence_s, regained=self._note,
        )  # fmt: skip

    def _note(self) -> None:
        assert not self.lease.sure
        self.regained += 1

    def _executors(self) -> set[str]:
        self.looks += 1
        return set(self.owners)

    def looked(self, times: int) -> None:
        """Return after so many more looks."""
        until(lambda goal=self.looks + times: self.looks >= goal)


@pytest.fixture
def made(database: FreshDatabase) -> Iterator[list[Watch]]:
    watches: list[Watch] = []
    yield watches
    for watch in watches:
        watch.lease.stop()


def watch(made: list[Watch], database: FreshDatabase, me: str, **options: float) -> Watch:
    made.append(Watch(database, me, **options))
    return made[-1]


def end_sessions(database: FreshDatabase) -> None:
    select(
        database.superuser_conninfo,
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'builderos-lease'",
    )


def test_the_work_of_the_dead_is_taken_and_that_of_the_living_is_not(
    made: list[Watch], database: FreshDatabase
) -> None:
    living, heir = watch(made, database, "living"), watch(made, database, "heir")
    living.lease.start()
    heir.owners = {"living", "dead", "heir"}
    heir.lease.start()
    until(lambda: heir.taken != [])
    heir.looked(3)
    assert set(heir.taken) == {"dead"}
    living.lease.stop()
    until(lambda: "living" in heir.taken)


def test_one_look_is_not_enough(made: list[Watch], database: FreshDatabase) -> None:
    heir, late = watch(made, database, "heir", doubt_s=1e-9), watch(made, database, "slow")
    look = functools.partial(heir.lease._look, heir.lease._locked_session())
    heir.owners = {"slow"}
    look()
    late.lease.start()  # after a restart of the database it has its lock again before the second look
    look()
    look()
    assert heir.taken == []
    late.lease.stop()
    until(lambda: look() or heir.taken == ["slow"])


def test_looking_never_keeps_an_owner_from_starting(made: list[Watch], database: FreshDatabase) -> None:
    heir = watch(made, database, "heir", interval_s=0.001)
    heir.owners = {f"e{number}" for number in range(6)}
    heir.lease._take_over = lambda _name: None
    heir.lease.start()
    for number in range(6):
        watch(made, database, f"e{number}").lease.start()


def test_a_lease_whose_session_was_ended_is_taken_again(made: list[Watch], database: FreshDatabase) -> None:
    mine = watch(made, database, "mine")
    mine.lease.start()
    mine.looked(1)
    end_sessions(database)
    here = "(select oid from pg_database where datname = current_database())"
    held = f"select count(*) from pg_locks where locktype = 'advisory' and database = {here}"
    until(lambda: select(database.superuser_conninfo, held) == [(1,)])
    mine.looked(2)


def test_a_lease_that_says_nothing_is_lost_and_known_to_be_before_anybody_takes_its_work(
    made: list[Watch], database: FreshDatabase
) -> None:
    frozen = watch(made, database, "frozen", interval_s=60, silence_s=0.4)
    frozen.lease.start()
    assert frozen.lease._sure_until > 0, "it was sure of itself"
    heir, sure = watch(made, database, "heir"), list[bool]()
    heir.owners = {"frozen"}
    heir.lease._take_over = lambda _name: sure.append(frozen.lease.sure)
    heir.lease.start()
    until(lambda: sure != [])
    assert not any(sure)


def test_who_has_its_lease_again_looks_what_was_taken_before_it_is_sure(
    made: list[Watch], database: FreshDatabase
) -> None:
    mine = watch(made, database, "mine")
    mine.lease.start()
    end_sessions(database)
    until(lambda: mine.regained == 1)
    until(lambda: mine.lease.sure)


def test_an_id_is_held_once(made: list[Watch], database: FreshDatabase) -> None:
    watch(made, database, "mine").lease.start()
    with pytest.raises(psycopg.OperationalError, match="alive"):
        watch(made, database, "mine").lease.start()


def test_a_fault_in_looking_does_not_end_the_watch(made: list[Watch], database: FreshDatabase) -> None:
    heir = watch(made, database, "heir")
    faults = iter(range(3))

    def executors() -> set[str]:
        heir.looks += 1
        if next(faults, None) is not None:
            raise RuntimeError("the library's pool is exhausted")
        return {"dead"}

    heir.lease._executors = executors
    heir.lease.start()
    until(lambda: heir.taken != [])


def test_a_process_that_lives_takes_over_from_one_that_is_killed(
    tmp_path: Path, database: FreshDatabase
) -> None:
    log = tmp_path / "log"
    with bench(tmp_path / "home", database) as it:
        dying = Worker(tmp_path / "home", database, log, dies_at=f"visit {it.org_id}")
        survivor = Worker(tmp_path / "home", database, tmp_path / "second")
        with workers(survivor, dying):
            dying.wait_running()
            survivor.wait_running()
            survivor.process.send_signal(signal.SIGSTOP)  # so that the other one gets the work
            print("visit", file=dying.stdin, flush=True)
            assert dying.process.wait(120) == 9
            survivor.process.send_signal(signal.SIGCONT)
            until(lambda: finished(it.conninfo))
            assert survivor.end() == 0
    assert lines(log) == lines(tmp_path / "second") == [f"visit {it.org_id}"]


def finished(conninfo: str) -> bool:
    query = "select status from dbos.workflow_status where workflow_uuid like 'sched-visit-%'"
    return select(conninfo, query) == [("SUCCESS",)]
