"""Runs that are executed again from their records: the same hashes, no effect, and the first thing that differs."""

from collections.abc import Iterator

import psycopg
import pytest

from builderos.execution.compute.service import SandboxProviders
from tests.support.databases import Databases
from tests.support.runs import Ship, ship_in_temp
from tests.support.world import Json

WHOLE = """\
params: {who: {type: string, default: you}}
steps:
  - {id: make, run: 'mkdir -p out; echo "hello $WHO" > out/a.txt; python3 -c "print({*str(9876)})" > out/set.txt',
     env: {WHO: "${{ params.who }}"}, outputs: ["out/*"]}
  - {id: pack, needs: [make], run: 'tar cf pack.tar out README.md', outputs: [pack.tar], lane: a}
  - {id: fails, needs: [make], run: 'exit 7', on_fail: continue, lane: b}
  - {id: never, needs: [fails], run: 'echo never > never.txt', when: "steps.fails.status == 'succeeded'"}
  - {id: clock, needs: [make], run: 'date +%N%s > clock.txt', deterministic: false, lane: c}
  - {id: save, needs: [pack, clock], action: git.commit, inputs: {message: Build it}}
"""


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        probe = made.context.get(SandboxProviders).provider("local").probe()
        if probe.tier != "strong":
            pytest.skip(f"no strong sandbox on this machine: {' '.join(probe.missing)}")
        yield made


def replay(ship: Ship, run_id: str, **body: str) -> Json:
    """Replay a run, wait for the end, and return how it came out."""
    http, headers = ship.world.http, ship.box.headers
    begun = ship.world.ok(http.post(f"/v1/runs/{run_id}/replay", json=body, headers=headers), 202)
    ship.until(begun["run_id"])
    return ship.world.ok(http.get(f"/v1/runs/{begun['run_id']}/replay", headers=headers))


def verdicts(found: Json) -> dict[str, str]:
    return {step["name"]: step["verdict"] for step in found["steps"]}


def tip(ship: Ship) -> str:
    return ship.box.post("/git/log")["items"][0]["sha"]


def test_a_run_is_reproduced_without_any_effect(ship: Ship) -> None:
    run = ship.done(WHOLE)
    assert run["status"] == "succeeded", run
    before = tip(ship)
    assert run["provenance"]["commits"] == [before]
    found = replay(ship, run["id"])
    assert verdicts(found) == {
        "make": "same", "pack": "same", "fails": "same", "never": "skipped", "clock": "recorded", "save": "recorded",
    }, found  # fmt: skip
    assert (found["reproduced"], found["executed"], found["served"]) == (True, 3, 2)
    whys = {step["name"]: step["why"] for step in found["steps"] if step["verdict"] == "recorded"}
    assert whys == {"clock": "it is not deterministic", "save": "it is not a command"}
    assert tip(ship) == before
    again = ship.steps(ship.run(found["run_id"]))
    first = ship.steps(run)
    for name in ("make", "pack", "clock"):
        assert again[name]["output_tree"] == first[name]["output_tree"]
        assert again[name]["artifacts_ref"] == []
    assert ship.run(found["run_id"])["kind"] == "replay"


def test_a_step_that_comes_to_something_else_is_named_and_hides_no_other(ship: Ship) -> None:
    """A command that reads the time was called deterministic; what builds on it is still compared."""
    run = ship.done(
        "steps:\n"
        "  - {id: lies, run: 'date +%s%N > when.txt; echo same > same.txt'}\n"
        "  - {id: after, needs: [lies], run: 'cat same.txt when.txt > both.txt'}\n"
    )
    found = replay(ship, run["id"])
    assert verdicts(found) == {"lies": "diverged", "after": "same"}
    assert found["reproduced"] is False
    first = found["first_divergence"]
    assert (first["step"], first["differs"], first["path"]) == ("lies", ["tree"], "when.txt")
    assert first["diff"]["text"].count("\n-1") == first["diff"]["text"].count("\n+1") == 1
    assert ship.steps(ship.run(found["run_id"]))["lies"]["reason"] == "hash_mismatch"


@pytest.mark.parametrize(
    ("against", "verdict", "ingredients"),
    [
        ("param.who=them", {"make": "diverged", "pack": "diverged"}, ["env.WHO"]),
        ("env.NOBODY_READS=1", {"make": "same", "pack": "same"}, ["env.NOBODY_READS"]),
        ("param.who=you", {"make": "unchanged", "pack": "unchanged"}, []),
    ],
)
def test_one_changed_thing_shows_where_it_matters(
    ship: Ship, against: str, verdict: dict[str, str], ingredients: list[str]
) -> None:
    run = ship.done(WHOLE)
    found = replay(ship, run["id"], against=against)
    came = verdicts(found)
    assert {name: came[name] for name in verdict} == verdict, found
    assert (came["clock"], came["save"], came["never"]) == ("recorded", "recorded", "skipped")
    steps = {step["name"]: step for step in found["steps"]}
    assert steps["make"]["ingredients"] == ingredients
    if "diverged" in verdict.values():
        first = found["first_divergence"]
        assert (first["step"], first["path"]) == ("make", "out/a.txt")
        assert "-hello you\n+hello them\n" in first["diff"]["text"]
        assert steps["pack"]["ingredients"] == ["tree"]


def test_the_network_is_off_and_a_step_that_used_it_is_served(ship: Ship) -> None:
    run = ship.done("steps:\n  - {id: asks, run: 'echo x > x.txt', network: [example.com]}\n")
    found = replay(ship, run["id"])
    assert verdicts(found) == {"asks": "recorded"}
    assert found["steps"][0]["why"] == "it used the network"


def test_a_damaged_record_is_not_replayed(ship: Ship) -> None:
    run = ship.done("steps:\n  - {id: one, run: 'echo one > one.txt'}\n")
    change = "update ops.step_records set body = replace(body, 'one.txt', 'two.txt') where run_id = %s"
    with psycopg.connect(ship.database.superuser_conninfo, autocommit=True) as connection:
        connection.execute(change, (run["id"],))
    found = replay(ship, run["id"])
    assert (verdicts(found), found["reproduced"]) == ({"one": "open"}, False)
    assert "cannot be used" in found["steps"][0]["why"]


def test_a_cached_step_is_executed_again(ship: Ship) -> None:
    name = ship.pipeline("steps:\n  - {id: one, run: 'echo cached > one.txt', cache: true}\n")
    runs = [ship.until(ship.start(name)) for _ in range(2)]
    assert ship.statuses(runs[1]) == {"one": "cached"}
    assert verdicts(replay(ship, runs[1]["id"])) == {"one": "same"}


def test_what_cannot_be_replayed_is_refused(ship: Ship) -> None:
    run = ship.done("steps:\n  - {id: one, run: 'true'}\n")
    found = replay(ship, run["id"])
    headers, http, problem = ship.box.headers, ship.world.http, ship.world.problem
    problem(http.post(f"/v1/runs/{found['run_id']}/replay", json={}, headers=headers), "illegal_transition")
    problem(http.post("/v1/runs/run_unknown/replay", json={}, headers=headers), "not_found")
    problem(http.get(f"/v1/runs/{run['id']}/replay", headers=headers), "not_found")
    for against in ("nonsense", "prompt@2.0.0", "env.A-B=1", "param.unknown=1", "pipeline@9.9.9"):
        reply = http.post(f"/v1/runs/{run['id']}/replay", json={"against": against}, headers=headers)
        assert reply.json()["code"] in ("validation_failed", "not_found"), reply.text
    other = ship.world.open_sandbox()
    problem(http.post(f"/v1/runs/{run['id']}/replay", json={}, headers=other.headers), "not_found")
    problem(http.get(f"/v1/runs/{found['run_id']}/replay", headers=other.headers), "not_found")
