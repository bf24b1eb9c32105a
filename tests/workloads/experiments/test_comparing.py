"""Runs side by side: what differs, what came of each, how it came about."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.databases import Databases
from tests.support.world import Json, World, world_in_temp


@pytest.fixture(scope="module")
def site(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database, rate_logged=10**6) as made:
        yield made


class Bench:
    """An experiment with three runs: the second has no parameter `depth` and no file, the third logged nothing."""

    def __init__(self, site: World) -> None:
        self.site = site
        self.id = site.ok(site.as_owner("POST", "/v1/experiments", json={"name": "side by side"}))["id"]
        params = ({"lr": "0.1", "depth": "3", "same": "x"}, {"lr": "0.2", "same": "x"}, {"same": "x"})
        self.runs = [self.open(name=f"r{n}", params=one, started_at_ms=1000) for n, one in enumerate(params)]
        first, second, _ = self.runs
        steps = [{"key": "loss", "value": 10 - n / 10, "step": n, "at_ms": 1000 + 10 * n} for n in range(100)]
        self.log(first, [*steps, {"key": "acc", "value": 0.5}])
        odd = [{"key": "loss", "value": "NaN", "step": 1}, {"key": "loss", "value": "-Infinity", "step": 0}]
        self.log(second, [*odd, {"key": "acc", "value": 0.75}, {"key": "auc", "value": "Infinity"}])
        site.ok(self.ended(first, 900))
        site.ok(self.ended(second, 4000))

    def open(self, **body: Any) -> str:
        path = f"/v1/experiments/{self.id}/runs/open"
        return self.site.ok(self.site.as_owner("POST", path, json=body))["id"]

    def log(self, run: str, metrics: list[Json]) -> None:
        self.site.ok(self.site.as_owner("POST", f"/v1/experiment-runs/{run}/log", json={"metrics": metrics}))

    def ended(self, run: str, at: int) -> Any:
        return self.site.as_owner("POST", f"/v1/experiment-runs/{run}/end", json={"ended_at_ms": at})

    def compared(self, runs: list[str] | None = None, **more: Any) -> Any:
        query = {"runs": ",".join(self.runs if runs is None else runs), **more}
        return self.site.as_owner("GET", f"/v1/experiments/{self.id}/compare", params=query)


@pytest.fixture(scope="module")
def bench(site: World) -> Bench:
    return Bench(site)


def rows(found: Json, part: str) -> dict[str, Json]:
    """The rows of a table by their keys."""
    return {row["key"]: row for row in found[part]}


def test_parameters_that_differ_are_told_from_those_that_are_the_same(bench: Bench) -> None:
    found = bench.site.ok(bench.compared())
    assert [run["name"] for run in found["runs"]] == ["r0", "r1", "r2"]
    params = rows(found, "params")
    assert {key: (row["values"], row["differs"]) for key, row in params.items()} == {
        "lr": (["0.1", "0.2", None], True), "depth": (["3", None, None], True), "same": (["x"] * 3, False),
    }  # fmt: skip


def test_columns_stand_in_the_order_that_was_asked_for(bench: Bench) -> None:
    found = bench.site.ok(bench.compared([*reversed(bench.runs), bench.runs[0]]))
    assert [run["id"] for run in found["runs"]] == [*reversed(bench.runs)]
    assert rows(found, "metrics")["acc"]["values"] == [None, 0.75, 0.5]


def test_the_latest_values_stand_in_a_table_and_the_best_are_of_real_numbers_alone(bench: Bench) -> None:
    metrics = rows(bench.site.ok(bench.compared()), "metrics")
    acc, loss, auc = metrics["acc"], metrics["loss"], metrics["auc"]
    assert (acc["values"], acc["least"], acc["greatest"]) == ([0.5, 0.75, None], 0.5, 0.75)
    assert loss["values"] == [pytest.approx(0.1), "NaN", None]
    assert loss["least"] == loss["greatest"] == pytest.approx(0.1)
    assert (auc["values"], auc["least"], auc["greatest"]) == ([None, "Infinity", None], None, None)


def test_series_are_thinned_out_evenly_and_keep_their_first_and_last_points(bench: Bench) -> None:
    [loss] = bench.site.ok(bench.compared(series="loss", points=10))["series"]
    first, second, third = loss["points"]
    steps = [step for step, _ in first]
    assert (steps[0], steps[-1]) == (0, 99)
    assert steps[:-1] == [*range(0, 100, 10)]
    assert second == [[0, "-Infinity"], [1, "NaN"]]
    assert third == []
    [timed] = bench.site.ok(bench.compared(series="loss", points=2000, axis="time"))["series"]
    assert [place for place, _ in timed["points"][0]] == [10 * n for n in range(100)]


def test_a_run_whose_clock_ran_backwards_has_no_duration(bench: Bench) -> None:
    first, second, third = bench.site.ok(bench.compared())["runs"]
    assert (first["ended_at_ms"], first["duration_ms"]) == (900, None)
    assert (second["duration_ms"], third["ended_at_ms"]) == (3000, None)


def test_files_are_laid_side_by_side_by_their_names(bench: Bench) -> None:
    first, second, _ = bench.runs
    data = {first: b"one", second: b"other"}
    for run, content in data.items():
        path = f"/mlflow/api/2.0/mlflow-artifacts/artifacts/{bench.id}/{run}/artifacts/plot.txt"
        reply = bench.site.http.put(path, content=content, headers=bench.site.owner)
        assert reply.status_code == 200, reply.text
    [plot] = bench.site.ok(bench.compared())["files"]
    assert (plot["path"], plot["sizes"]) == ("plot.txt", [3, 5, None])
    assert plot["artifacts"][0] != plot["artifacts"][1]


Asked = Callable[[Bench], Any]


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (lambda bench: bench.compared(["xrn_none"]), "not_found"),
        (lambda bench: bench.compared([","]), "validation_failed"),
        (lambda bench: bench.compared([f"r{n}" for n in range(101)]), "validation_failed"),
        (lambda bench: bench.compared(series=",".join(f"k{n}" for n in range(21))), "validation_failed"),
        (lambda bench: bench.compared(points=1), "validation_failed"),
        (lambda bench: bench.site.as_owner("GET", "/v1/experiments/exp_no/compare", params={"runs": "x"}), "not_found"),
    ],
    ids=["no run", "none", "too many runs", "too many series", "one point", "no experiment"],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(bench: Bench, ask: Asked, code: str) -> None:
    World.problem(ask(bench), code)


def test_a_run_of_another_experiment_is_no_run_of_this_one(bench: Bench) -> None:
    site = bench.site
    other = site.ok(site.as_owner("POST", "/v1/experiments", json={"name": "another"}))["id"]
    run = site.ok(site.as_owner("POST", f"/v1/experiments/{other}/runs/open", json={"name": "r"}))["id"]
    World.problem(bench.compared([bench.runs[0], run]), "not_found")


def test_whoever_compares_has_read_these_runs(bench: Bench) -> None:
    bench.site.ok(bench.compared(bench.runs[:1]))
    seen = bench.site.ok(bench.site.as_owner("GET", "/v1/audit/access", params={"object": bench.id}))["items"]
    assert {row["action"] for row in seen} >= {"experiment.compare"}
