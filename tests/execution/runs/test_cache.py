"""Steps that are served from the record of another one: only when all is equal, and all is whole."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from builderos.execution.compute.service import SandboxProviders
from tests.support.databases import Databases
from tests.support.runs import Ship, ship_in_temp
from tests.support.world import Json

MAKE = """\
params: {who: {type: string, default: you}}
steps:
  - {id: make, run: 'mkdir -p out; echo "hello $WHO" > out/hello.txt; date +%N > out/when.txt', cache: true,
     env: {WHO: "${{ params.who }}"}, outputs: ["out/*.txt"]}
  - {id: after, run: 'cat out/hello.txt > copy.txt', needs: [make]}
"""


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        probe = made.context.get(SandboxProviders).provider("local").probe()
        if probe.tier != "strong":
            pytest.skip(f"no strong sandbox on this machine: {' '.join(probe.missing)}")
        yield made


def step(run: Json, name: str = "make") -> Json:
    assert run["status"] == "succeeded", run
    return {s["name"]: s for s in run["steps"]}[name]


def twice(ship: Ship, text: str, other: str | None = None) -> tuple[Json, Json]:
    """Run one pipeline and then another (or the same), both in one tree."""
    names = [ship.pipeline(text)]
    names.append(ship.pipeline(other) if other is not None else names[0])
    first, second = (ship.until(ship.start(name)) for name in names)
    return first, second


def alerts(ship: Ship) -> list[str]:
    reply = ship.world.ok(ship.world.as_owner("GET", "/v1/alerts", params={"rule": "record_altered"}))
    return [alert["object"] for alert in reply["items"]]


def test_an_equal_step_is_served_and_marked(ship: Ship) -> None:
    text = MAKE.replace("hello", "served")
    first, second = twice(ship, text)
    a, b = step(first), step(second)
    assert (a["status"], b["status"]) == ("succeeded", "cached")
    assert a["cache_key"] == b["cache_key"]
    assert a["cache_key"].startswith("sha256:")
    assert a["output_tree"] == b["output_tree"]
    assert len(a["artifacts_ref"]) == 2
    assert not set(a["artifacts_ref"]) & set(b["artifacts_ref"])
    hashes = [
        [ship.world.ok(ship.world.as_owner("GET", f"/v1/artifacts/{id_}"))["hash"] for id_ in s["artifacts_ref"]]
        for s in (a, b)
    ]  # fmt: skip
    assert hashes[0] == hashes[1]
    assert step(second, "after")["status"] == "succeeded"
    assert step(second, "after")["output_tree"] == step(first, "after")["output_tree"]


@pytest.mark.parametrize(
    ("what", "by"),
    [("cache: true", "cache: false"), ('"hello $WHO"', '"hullo $WHO"'), ("default: you", "default: me"),
     ("cache: true", "cache: true, profile: medium"), ('["out/*.txt"]', '["out/hello.txt"]')],
    ids=["not asked for", "command", "param", "profile", "outputs"],
)  # fmt: skip
def test_a_step_that_differs_is_not_served(ship: Ship, what: str, by: str) -> None:
    _, second = twice(ship, MAKE, MAKE.replace(what, by))
    assert step(second)["status"] == "succeeded"


def test_another_input_tree_is_another_key(ship: Ship) -> None:
    name = ship.pipeline(MAKE.replace("hello", "tree"))
    first = ship.until(ship.start(name))
    ship.box.commit({"new.txt": "more\n"})
    second = ship.until(ship.start(name))
    assert step(second)["status"] == "succeeded"
    assert step(first)["cache_key"] != step(second)["cache_key"]


def test_a_failed_step_is_never_served(ship: Ship) -> None:
    text = "steps:\n  - {id: make, run: 'exit 3', cache: true}\n"
    for run in twice(ship, text):
        assert ship.statuses(run) == {"make": "failed"}


def test_a_damaged_record_is_not_used_and_an_alert_is_raised(ship: Ship) -> None:
    name = ship.pipeline(MAKE.replace("hello", "damage"))
    first = step(ship.until(ship.start(name)))
    change = "update ops.step_records set body = replace(body, '\"exit_code\":0', '\"exit_code\":1') where step_id = %s"
    as_superuser(ship, change, first["id"])
    again = ship.until(ship.start(name))
    assert step(again)["status"] == "succeeded"
    assert first["id"] in alerts(ship)
    assert step(ship.until(ship.start(name)))["status"] == "cached", "the newer record is whole"


def test_a_record_whose_tree_is_damaged_is_not_used(ship: Ship) -> None:
    name = ship.pipeline(MAKE.replace("hello", "rotten"))
    first = step(ship.until(ship.start(name)))
    (store,) = Path(ship.world.home).glob("repos/*/repo_*/runs.git")
    tree = first["output_tree"]
    path = store / "objects" / tree[:2] / tree[2:]
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(b"not an object")
    again = ship.until(ship.start(name))
    path.write_bytes(whole)
    assert step(again)["status"] != "cached"
    assert first["id"] in alerts(ship)


def test_a_record_of_another_repository_is_not_used(ship: Ship) -> None:
    name = ship.pipeline(MAKE.replace("hello", "apart"))
    first = step(ship.until(ship.start(name)))
    as_superuser(ship, "update ops.step_records set repo_id = null where step_id = %s", first["id"])
    assert step(ship.until(ship.start(name)))["status"] == "succeeded"


def test_every_command_finds_the_same_clock_zone_and_seed(ship: Ship) -> None:
    names = "SOURCE_DATE_EPOCH|TZ|LC_ALL|PYTHONHASHSEED|BUILDEROS_SEED"
    show = f"env | grep -E '^({names})=' | sort > env.txt; stat -c %Y README.md >> env.txt"
    run = ship.done(f"steps:\n  - {{id: make, run: {json.dumps(show)}, outputs: [env.txt]}}\n")
    (id_,) = step(run)["artifacts_ref"]
    said = ship.world.as_owner("GET", f"/v1/artifacts/{id_}/content").text.split()
    assert said == [
        "BUILDEROS_SEED=0",
        "LC_ALL=C.UTF-8",
        "PYTHONHASHSEED=0",
        "SOURCE_DATE_EPOCH=315532800",
        "TZ=UTC",
        "315532800",
    ]


def as_superuser(ship: Ship, query: str, *values: object) -> list[tuple[object, ...]]:
    with psycopg.connect(ship.database.superuser_conninfo, autocommit=True) as connection:
        cursor = connection.execute(query, values)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []
