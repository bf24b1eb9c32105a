"""What was made from what: both directions, circles, bounds, and who sees which edges."""

from collections.abc import Iterator, Sequence

import pytest

from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.workloads.lineage import service as lineage
from builderos.workloads.lineage.service import Node
from tests.support.databases import Databases
from tests.support.world import Json, World, world_in_temp

DATA, CODE = Node("dataset", "dst_a", "iris@1"), Node("code", "c" * 40, "lab at cccccccc")
RUN, MODEL = Node("experiment_run", "exr_a", "first"), Node("model", "mdv_a", "iris@1")
ENDPOINT = Node("endpoint", "enp_a", "iris in prod")
CHAIN = (
    (DATA, RUN, "input_of"),
    (CODE, RUN, "input_of"),
    (RUN, MODEL, "made"),
    (MODEL, ENDPOINT, "served_by"),
)
PAIRS = {(source.id, target.id) for source, target, _ in CHAIN}


@pytest.fixture(scope="module")
def told(databases: Databases) -> Iterator[World]:
    """A server that knows the chain."""
    with databases.fresh() as database, world_in_temp(database) as world:
        tell(world, CHAIN)
        yield world


def tell(world: World, edges: Sequence[tuple[Node, Node, str]]) -> None:
    def write(unit: Unit) -> None:
        for source, target, relation in edges:
            lineage.record(unit, source, target, relation)  # type: ignore[arg-type]

    as_system(world.context, world.org_id, write)


def graph(world: World, id_: str, **query: str) -> Json:
    return world.ok(world.as_owner("GET", f"/v1/lineage/{id_}", params=query))


def pairs(shown: Json) -> set[tuple[str, str]]:
    return {(edge["source"], edge["target"]) for edge in shown["edges"]}


def test_a_graph_reaches_from_the_data_to_the_endpoint_and_tells_how_far_each_lies(told: World) -> None:
    shown = graph(told, "exr_a")
    depths = {node["id"]: node["depth"] for node in shown["nodes"]}
    assert depths == {"dst_a": -1, CODE.id: -1, "exr_a": 0, "mdv_a": 1, "enp_a": 2}
    assert pairs(shown) == PAIRS
    assert not shown["truncated"]


def test_each_direction_shows_its_own_half(told: World) -> None:
    up, down = graph(told, "mdv_a", direction="up"), graph(told, "mdv_a", direction="down")
    assert pairs(up) == PAIRS - {("mdv_a", "enp_a")}
    assert pairs(down) == {("mdv_a", "enp_a")}
    assert [node["id"] for node in graph(told, "enp_a", direction="down")["nodes"]] == ["enp_a"]


def test_what_was_said_twice_stands_once_and_a_circle_ends(told: World) -> None:
    one, other = Node("run", "run_b", "b"), Node("dataset", "dst_b", "b@1")
    for _ in range(2):
        tell(told, [(one, other, "made"), (other, one, "input_of")])
    assert pairs(graph(told, "dst_b")) == {("run_b", "dst_b"), ("dst_b", "run_b")}


def test_a_bound_on_the_depth_says_that_there_is_more(told: World) -> None:
    shown = graph(told, "dst_a", depth="1")
    assert pairs(shown) == {("dst_a", "exr_a")}
    assert shown["truncated"]
    assert not graph(told, "dst_a", depth="3")["truncated"]


def test_of_a_crowd_so_many_are_shown_as_one_can_look_at(told: World) -> None:
    crowd = Node("dataset", "dst_c", "crowded")
    tell(told, [(crowd, Node("run", f"run_{i:05}", str(i)), "input_of") for i in range(600)])
    shown = graph(told, "dst_c")
    assert len(shown["nodes"]) == lineage.MOST
    assert shown["truncated"]


def test_nothing_is_made_from_itself_and_nothing_is_known_of_the_unknown(told: World) -> None:
    with pytest.raises(Problem, match="itself"):
        tell(told, [(DATA, DATA, "made")])
    World.problem(told.as_owner("GET", "/v1/lineage/dst_x"), "not_found")


def test_the_token_of_a_workspace_sees_what_was_done_in_it_alone(told: World) -> None:
    sandbox = told.open_sandbox()
    World.problem(told.http.get("/v1/lineage/dst_a", headers=sandbox.headers), "not_found")
    own = told.ok(told.as_owner("GET", "/v1/sandboxes"))["items"][0]["id"]

    def write(unit: Unit) -> None:
        lineage.record(unit, DATA, Node("run", "run_d", "d"), "input_of", sandbox_id=own)

    as_system(told.context, told.org_id, write)
    shown = told.ok(told.http.get("/v1/lineage/dst_a", headers=sandbox.headers))
    assert pairs(shown) == {("dst_a", "run_d")}


def test_the_receipt_of_a_run_is_named(told: World) -> None:
    tell(told, [(Node("dataset", "dst_e", "e@1"), Node("run", "run_e", "train"), "input_of")])
    hrefs = {node["id"]: node["href"] for node in graph(told, "dst_e")["nodes"]}
    assert hrefs == {"dst_e": "/v1/datasets/dst_e", "run_e": "/v1/runs/run_e/receipt"}
