"""The outbox: what a unit promised to the outside world happens, at least once, whatever dies in between."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from builderos.core.unit import Unit, as_system
from builderos.engine import outbox, service
from tests.support.databases import FreshDatabase
from tests.support.engines import Bench, Worker, bench, lines, put, select, workers
from tests.support.servers import until


@pytest.fixture
def it(tmp_path: Path, database: FreshDatabase) -> Iterator[Bench]:
    with bench(tmp_path / "home", database) as made:
        yield made


def say(it: Bench, *keys: str) -> None:
    as_system(it.context, it.org_id, lambda unit: put(unit, *keys))


def test_a_message_is_delivered_as_soon_as_its_unit_is_durable(
    it: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_POLL_S", 600.0)  # only the bell can have told
    it.handlers.enrol("note", it.note)
    it.run()
    say(it, "a", "b")
    until(lambda: sorted(it.done) == ["a", "b"])  # they are delivered at once, in no order
    until(lambda: it.rows() == [("a", 0, True), ("b", 0, True)])


def test_a_unit_that_fails_sends_nothing(it: Bench) -> None:
    it.handlers.enrol("note", it.note)
    it.run()

    def verb(unit: Unit) -> None:
        put(unit, "never")
        raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError):
        as_system(it.context, it.org_id, verb)
    say(it, "a")
    until(lambda: it.done == ["a"])
    assert [row[0] for row in it.rows()] == ["a"]


def test_the_same_key_is_one_message(it: Bench) -> None:
    it.handlers.enrol("note", it.note)
    it.run()
    first = as_system(it.context, it.org_id, lambda unit: outbox.put(unit, "note", "a", {"n": 1}))
    again = as_system(it.context, it.org_id, lambda unit: outbox.put(unit, "note", "a", {"n": 2}))
    say(it, "b")
    until(lambda: len(it.done) >= 2)
    assert (first, again, sorted(it.done)) == (True, False, ["a", "b"])


def test_a_message_waits_for_an_engine(it: Bench) -> None:
    say(it, "a")
    it.handlers.enrol("note", it.note)
    it.run()
    until(lambda: it.rows() == [("a", 0, True)])


def test_a_handler_gets_what_was_put(it: Bench) -> None:
    got: list[outbox.Message] = []
    it.handlers.enrol("note", lambda _context, message: got.append(message))
    it.run()
    say(it, "a")
    until(lambda: len(got) == 1)
    assert (got[0].org_id, got[0].kind, got[0].key, got[0].payload) == (it.org_id, "note", "a", {"n": "a"})


def test_a_failing_handler_is_tried_again_after_growing_pauses_and_holds_up_nobody(it: Bench) -> None:
    tries: list[str] = []

    def refuse(_context: object, message: outbox.Message) -> None:
        tries.append(message.key)
        raise RuntimeError("no answer")

    it.handlers.enrol("fail", refuse)
    it.handlers.enrol("note", it.note)
    as_system(it.context, it.org_id, lambda unit: outbox.put(unit, "fail", "f", {}))
    say(it, "a")
    it.run()
    until(lambda: it.done == ["a"] and it.rows()[0] == ("f", 1, False))
    assert tries == ["f"] * 3  # one round has a few quick attempts
    error = as_system(it.context, it.org_id, outbox.stuck)[0]
    assert error[:3] == ("fail", "f", 1)
    assert "no answer" in error[3]
    pauses = [pause(it)]
    for attempts in (2, 3):
        select(it.conninfo, "update ops.outbox set next_at = now() where key = 'f' returning id")
        it.context.get(outbox.Bell).ring()
        until(lambda n=attempts: it.rows()[0] == ("f", n, False))
        pauses.append(pause(it))
    assert pauses == sorted(pauses)
    assert pauses[2] > 3 * pauses[0]


def pause(it: Bench) -> float:
    return float(it.rows("extract(epoch from next_at - now())")[0][0])


def test_a_message_is_not_forgotten_when_even_its_failure_could_not_be_noted(
    it: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = iter(range(9))

    def fragile(context: object, message: outbox.Message) -> None:
        if next(faults, None) is not None:
            raise RuntimeError("not yet")
        it.note(it.context, message)

    def gone(*_: object) -> None:
        raise RuntimeError("the database went away")

    it.handlers.enrol("note", fragile)
    monkeypatch.setattr(outbox, "postpone", gone)
    say(it, "a")
    it.run()
    until(lambda: ring(it) and it.rows() == [("a", 0, True)])
    assert it.done == ["a"]


def ring(it: Bench) -> bool:
    it.context.get(outbox.Bell).ring()
    return True


def test_a_message_without_a_handler_waits_for_one(it: Bench) -> None:
    say(it, "a")
    it.run()
    until(lambda: it.rows() == [("a", 1, False)])
    assert "no outbox handler 'note'" in as_system(it.context, it.org_id, outbox.stuck)[0][3]


def test_the_pause_never_exceeds_an_hour(it: Bench) -> None:
    say(it, "a")
    select(it.conninfo, "update ops.outbox set attempts = 1000 returning id")
    message_id = it.rows("id")[0][0]
    outbox.postpone(it.context, it.org_id, message_id, "x" * 10_000)
    assert 3500 < pause(it) <= 3600
    assert it.rows("length(last_error)") == [(500,)]


def test_the_sweep_forgets_only_what_was_done_a_week_ago(it: Bench) -> None:
    say(it, "open", "fresh", "old")
    select(it.conninfo, "update ops.outbox set done_at = now() where key = 'fresh' returning id")
    select(
        it.conninfo,
        "update ops.outbox set done_at = now() - interval '8 days' where key = 'old' returning id",
    )
    assert as_system(it.context, it.org_id, outbox.sweep) == 1
    assert [row[0] for row in it.rows()] == ["open", "fresh"]


@pytest.mark.parametrize("moment", ["begin", "effect"])
def test_a_message_survives_the_death_of_the_process_that_handles_it(
    tmp_path: Path, database: FreshDatabase, moment: str
) -> None:
    log = tmp_path / "log"
    with bench(tmp_path / "home", database) as it:
        say(it, "k")
        dying = Worker(tmp_path / "home", database, log, dies_at=f"{moment} k")
        with workers(dying):
            assert dying.process.wait(120) == 9
        assert it.rows() == [("k", 0, False)]
        heir = Worker(tmp_path / "home", database, log)
        with workers(heir):
            heir.wait_running()
            until(lambda: it.rows() == [("k", 0, True)])
            assert heir.end() == 0
    expected = {"begin": ["begin k"], "effect": ["begin k", "effect k"]}[moment]
    assert lines(log) == [*expected, "begin k", "effect k"]


def test_two_processes_deliver_each_message_once(tmp_path: Path, database: FreshDatabase) -> None:
    log = tmp_path / "log"
    keys = [f"k{i:02}" for i in range(40)]
    with bench(tmp_path / "home", database) as it:
        pair = [Worker(tmp_path / "home", database, log) for _ in range(2)]
        with workers(*pair):
            for worker in pair:
                worker.wait_running()
            say(it, *keys)
            until(lambda: all(row[2] for row in it.rows()))
            assert [worker.end() for worker in pair] == [0, 0]
    assert sorted(line for line in lines(log) if line.startswith("effect")) == [
        f"effect {key}" for key in keys
    ]
