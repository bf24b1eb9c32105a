"""Lines are found by what they name and by their time, also when acts that took long come late."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from builderos.core.clock import rfc3339
from builderos.core.database import Database
from builderos.core.unit import Unit, as_system
from builderos.trust.ledger import service as ledger
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp

START = datetime(2026, 3, 1, tzinfo=UTC)
LATE = {40: 90, 41: 3, 55: 1000}  # number of a line → by how many seconds it is late


@pytest.fixture(scope="module")
def lab(databases: Databases) -> Iterator[Lab]:
    """A server whose record has a hundred lines of one minute each in an organisation of their own."""
    with lab_in_temp(databases) as made:
        made.other = made.second_org("times")  # type: ignore[attr-defined]

        def fill(unit: Unit) -> None:
            for n in range(100):
                unit.send("ops.ledger_append", body(n))

        as_system(made.world.context, made.other.id, fill)  # type: ignore[attr-defined]
        yield made


def at(n: int) -> datetime:
    return START + timedelta(minutes=n) - timedelta(seconds=LATE.get(n, 0))


def body(n: int) -> str:
    paths = ["always.txt"] + ([f"src/{n % 10}.py"] if n % 2 else [])
    payload = {"n": n, "paths": paths, "branch": f"b{n % 5}"} | ({"code": "odd"} if n % 7 == 0 else {})
    return json.dumps({"actor": f"act_{n % 3}", "at": rfc3339(at(n)), "object": f"o{n}", "payload": payload,
                       "type": "test"}, sort_keys=True, separators=(",", ":"))  # fmt: skip


def found(lab: Lab, *, before: int | None = None, limit: int = 200, **wanted: object) -> list[int]:
    def verb(unit: Unit) -> list[int]:
        lines = ledger.search(unit, ledger.Wanted(**wanted), before=before, limit=limit)  # type: ignore[arg-type]
        return [line["payload"]["n"] for line in lines]

    return as_system(lab.world.context, lab.other.id, verb, read_only=True)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("since", "until"),
    [(0, 100), (10, 20), (38, 42), (39, 40), (40, 41), (41, 42), (54, 56), (99, 200), (-9, 1), (7, 7)],
)
def test_a_span_of_time_holds_its_lines_and_no_others(lab: Lab, since: int, until: int) -> None:
    first, last = (START + timedelta(minutes=n) for n in (since, until))
    inside = [n for n in range(100) if first <= at(n) < last]
    assert found(lab, since=first, until=last) == inside[::-1]
    assert found(lab, since=first) == [n for n in range(100) if at(n) >= first][::-1]
    assert found(lab, until=last) == [n for n in range(100) if at(n) < last][::-1]


def test_files_are_found_alone_and_together_with_all_else(lab: Lab) -> None:
    assert found(lab, path="src/3.py") == [93, 83, 73, 63, 53, 43, 33, 23, 13, 3]
    assert found(lab, path="src/3.py", limit=2, before=84) == [73, 63]  # line 84 holds number 83
    assert found(lab, path="src/3.py", actor="act_0") == [93, 63, 33, 3]
    assert found(lab, path="always.txt", branch="b4", code="odd") == [84, 49, 14]
    since, until = START + timedelta(minutes=20), START + timedelta(minutes=50)
    assert found(lab, path="src/3.py", since=since, until=until) == [43, 33, 23]
    assert found(lab, path="src/3.p") == []
    assert found(lab, path="SRC/3.py") == []


def test_a_word_that_only_has_the_same_short_hash_is_not_taken_for_it(lab: Lab) -> None:
    term = lab.sql("select substr(sha256('path:src/none.py'), 1, 8)")[0][0]
    lab.sql("insert into ops.ledger_terms values (%s, %s, 5)", lab.other.id, term)  # type: ignore[attr-defined]
    assert found(lab, path="src/none.py") == []


def test_what_lines_are_found_by_is_what_they_say(lab: Lab) -> None:
    rows = lab.sql(
        "select count(*) from ops.ledger where (type, object, actor, at, branch, code) is distinct from ("
        "body::jsonb ->> 'type', body::jsonb ->> 'object', body::jsonb ->> 'actor', "
        "(body::jsonb ->> 'at')::timestamptz, "
        "body::jsonb -> 'payload' ->> 'branch', body::jsonb -> 'payload' ->> 'code')"
    )
    assert rows == [(0,)]


@pytest.mark.parametrize("member", ["paths", "commits"])
@pytest.mark.parametrize("value", ["one", 3, None, True, {"a": 1}, [None, "one", 3, ["x"]], []])
def test_a_line_is_taken_whatever_stands_where_lists_of_names_are_looked_for(
    lab: Lab, member: str, value: object
) -> None:
    org = lab.world.org_id
    as_system(lab.world.context, org, lambda unit: ledger.record(unit, "test", "odd", {member: value}))
    assert lab.events(object="odd")[0]["payload"] == {member: value}
    assert as_system(lab.world.context, org, ledger.verify_stored, read_only=True).ok


def test_first_lines_that_race_make_one_chain(lab: Lab) -> None:
    org = lab.second_org("racing").id

    def write(number: int) -> None:
        as_system(lab.world.context, org, lambda unit: ledger.record(unit, "test", f"o{number}", {}))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(12)))
    with lab.world.context.get(Database).transaction(org) as transaction:
        assert transaction.driver.execute("select seq from ops.ledger order by seq").fetchall() == [
            (n,) for n in range(1, 13)
        ]
    verdict = as_system(lab.world.context, org, ledger.verify_stored, read_only=True)
    assert (verdict.ok, verdict.lines) == (True, 12)
