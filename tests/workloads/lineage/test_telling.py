"""Runs as OpenLineage has them: what is told, to an address and into a file, at least once and behind the calls."""

import json
from collections.abc import Iterator

import pytest

from builderos.core.unit import Unit, as_system
from builderos.engine import outbox
from builderos.trust.ledger import service as ledger
from builderos.workloads.lineage import service as lineage
from builderos.workloads.lineage.service import Node, telling
from tests.support.databases import Databases
from tests.support.receivers import Receiver, receiver
from tests.support.world import Json, World, world_in_temp

PRODUCER = "https://builder.example"
HANDLERS = outbox.Handlers()
HANDLERS.enrol(telling.KIND, telling.carry)


@pytest.fixture(scope="module")
def collector() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture(scope="module")
def world(databases: Databases, collector: Receiver) -> Iterator[World]:
    settings = {
        "openlineage": collector.url,
        "openlineage_token": "let-me-in",
        "openlineage_producer": PRODUCER,
    }
    with databases.fresh() as database, world_in_temp(database, **settings) as made:
        telling.pass_on(made.context)
        yield made


def ran(world: World, run_id: str, status: str) -> None:
    """A run of an experiment that read a dataset and made a model."""

    def begin(unit: Unit) -> None:
        ledger.record(unit, "experiment_run.started", run_id, {"experiment_id": "exp_a", "name": "first"})

    def end(unit: Unit) -> None:
        run = Node("experiment_run", run_id, "first")
        lineage.record(unit, Node("dataset", "dst_a", "iris@3"), run, "input_of")
        lineage.record(unit, Node("code", "c" * 40, "lab at cccccccc"), run, "input_of")
        lineage.record(unit, run, Node("model", f"mdv_{run_id}", "iris@1"), "made")
        ledger.record(unit, "experiment_run.ended", run_id, {"status": status})

    as_system(world.context, world.org_id, begin)
    as_system(world.context, world.org_id, end)


def deliver(world: World) -> int:
    """One round of all that is due; how many there were."""
    found = [item for item in outbox.due(world.context) if item.org_id == world.org_id]
    for item in found:
        try:
            outbox.deliver(world.context, HANDLERS, item.org_id, item.id)
        except RuntimeError as error:
            outbox.postpone(world.context, item.org_id, item.id, str(error))
    return len(found)


def told(collector: Receiver) -> list[Json]:
    events = [json.loads(body) for _, body in collector.got]
    return sorted(events, key=lambda event: event["eventType"], reverse=True)


def test_a_run_is_told_of_when_it_begins_and_when_it_ends_with_what_it_read_and_made(
    world: World, collector: Receiver
) -> None:
    collector.got.clear()
    ran(world, "xrn_a", "finished")
    telling.pass_on(world.context)
    telling.pass_on(world.context)
    deliver(world)
    start, complete = told(collector)
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == complete["run"]["runId"]
    space = f"{PRODUCER}/{world.org_id}"
    for event in (start, complete):
        assert event["job"] == {"namespace": space, "name": "exp_a"}
        assert event["producer"] == PRODUCER
        assert event["schemaURL"] == "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
        assert {"eventTime", "inputs", "outputs"} <= event.keys()
    [data], [model] = complete["inputs"], complete["outputs"]
    assert (data["namespace"], data["name"]) == (f"{space}/dataset", "iris")
    assert data["facets"]["version"]["datasetVersion"] == "3"
    assert (model["namespace"], model["name"]) == (f"{space}/model", "iris")
    ours = complete["run"]["facets"]["builderos_run"]
    assert (ours["id"], ours["code"]) == ("xrn_a", ["c" * 40])
    assert collector.got[0][0]["authorization"] == "Bearer let-me-in"


@pytest.mark.parametrize(("status", "type_"), [("failed", "FAIL"), ("killed", "ABORT")])
def test_how_a_run_ended_is_told(world: World, collector: Receiver, status: str, type_: str) -> None:
    collector.got.clear()
    ran(world, f"xrn_{status}", status)
    telling.pass_on(world.context)
    deliver(world)
    ends = [event for event in told(collector) if event["eventType"] != "START"]
    assert [event["eventType"] for event in ends] == [type_]
    assert ("errorMessage" in ends[0]["run"]["facets"]) == (type_ == "FAIL")


def test_what_nobody_took_stays_until_somebody_does(world: World, collector: Receiver) -> None:
    collector.got.clear()
    ran(world, "xrn_late", "finished")
    telling.pass_on(world.context)
    collector.status = 503
    deliver(world)
    collector.status = 200
    waiting = as_system(world.context, world.org_id, outbox.stuck)
    assert [(kind, rounds, error) for kind, _, rounds, error in waiting] == [
        (telling.KIND, 1, "the address for lineage answered 503")
    ] * 2


def test_a_file_takes_an_event_in_each_line(
    databases: Databases,
) -> None:
    with databases.fresh() as database, world_in_temp(database, openlineage="file") as own:
        telling.pass_on(own.context)
        ran(own, "xrn_a", "finished")
        telling.pass_on(own.context)
        assert deliver(own) == 2
        file = own.home / "openlineage" / f"{own.org_id}.jsonl"
        events = [json.loads(line) for line in file.read_text().splitlines()]
        assert sorted(event["eventType"] for event in events) == ["COMPLETE", "START"]
        assert all(event["producer"].startswith("http://") for event in events)


def test_without_a_place_nothing_is_told(databases: Databases) -> None:
    with databases.fresh() as database, world_in_temp(database) as own:
        ran(own, "xrn_a", "finished")
        telling.pass_on(own.context)
        assert deliver(own) == 0
