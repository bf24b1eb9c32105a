"""Searches against a plain evaluator in Python: the same runs, whatever is asked."""

import math
import operator
import random
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.support.databases import Databases
from tests.support.world import Json, World, world_in_temp

KEYS: Final = ("acc", "loss", "val/loss 1")
WORDS: Final = ("net", "Net", "nest", "forest", "", "a'b", "ne%t", "ne_t")
NUMBERS: Final = (0.0, -0.0, 1.0, 1.5, -2.0, 1e300, math.nan, math.inf, -math.inf)
COMPARED: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
Clause = tuple[str, Callable[[Json], bool]]


@pytest.fixture(scope="module")
def site(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database, rate_logged=10**6) as made:
        yield made


@pytest.fixture(scope="module")
def known(site: World) -> tuple[str, list[Json]]:
    """An experiment, and its runs as they were logged; not every run has everything."""
    drawn = random.Random(20)
    experiment = site.ok(site.as_owner("POST", "/v1/experiments", json={"name": "searched"}))["id"]
    runs: list[Json] = []
    for n in range(40):
        metrics = {key: drawn.choice(NUMBERS) for key in KEYS if drawn.random() < 0.7}
        words = {kind: {key: drawn.choice(WORDS) for key in ("model", "odd key") if drawn.random() < 0.7}
                 for kind in ("params", "tags")}  # fmt: skip
        body = {"name": f"{drawn.choice(('red', 'Red', 'blue'))}-{n % 7}", "started_at_ms": n // 3, **words}
        id_ = site.ok(site.as_owner("POST", f"/v1/experiments/{experiment}/runs/open", json=body))["id"]
        points = [{"key": key, "value": worded(value)} for key, value in metrics.items()]
        site.ok(site.as_owner("POST", f"/v1/experiment-runs/{id_}/log", json={"metrics": points}))
        status = drawn.choice(("running", "finished", "failed"))
        if status != "running":
            site.ok(site.as_owner("POST", f"/v1/experiment-runs/{id_}/end", json={"status": status}))
        runs.append({"id": id_, "metrics": metrics, **body, "status": status.upper()})
    return experiment, runs


def worded(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def metric(drawn: random.Random) -> Clause:
    key, sign = drawn.choice(KEYS), drawn.choice(sorted(COMPARED))
    value = drawn.choice([number for number in NUMBERS if math.isfinite(number)])
    compare = COMPARED[sign]
    return (
        f"metrics.`{key}` {sign} {value!r}",
        lambda run: key in run["metrics"] and compare(run["metrics"][key], value),
    )


def word(drawn: random.Random) -> Clause:
    kind, key = drawn.choice(("params", "tags")), drawn.choice(("model", "odd key"))
    sign, value = drawn.choice(("=", "!=", "LIKE", "ILIKE", "IS NULL", "IS NOT NULL")), drawn.choice(WORDS)
    if sign.startswith("IS"):
        return f"{kind}.`{key}` {sign}", lambda run: (key in run[kind]) == (sign == "IS NOT NULL")
    matches = matcher(sign, value)
    return f"{kind}.`{key}` {sign} {quoted(value)}", lambda run: key in run[kind] and matches(run[kind][key])


def attribute(drawn: random.Random) -> Clause:
    what = drawn.choice(("start_time", "status", "run_name", "in"))
    if what == "start_time":
        sign, value = drawn.choice(sorted(COMPARED)), drawn.randrange(14)
        return f"attributes.start_time {sign} {value}", lambda run: COMPARED[sign](
            run["started_at_ms"], value
        )
    if what == "status":
        wanted = drawn.choice(("RUNNING", "FINISHED", "FAILED"))
        return f"status = '{wanted}'", lambda run: run["status"] == wanted
    if what == "run_name":
        sign, pattern = drawn.choice(("LIKE", "ILIKE")), drawn.choice(("red%", "%-3", "%E%", "blue-_"))
        matches = matcher(sign, pattern)
        return f"run_name {sign} '{pattern}'", lambda run: matches(run["name"])
    some = drawn.sample(("red-1", "Red-2", "blue-3", "nobody"), 2)
    no = drawn.choice(("", "NOT "))
    listed = ", ".join(f"'{name}'" for name in some)
    return f"attributes.run_name {no}IN ({listed})", lambda run: (run["name"] in some) == (not no)


def matcher(sign: str, value: str) -> Callable[[str], bool]:
    if sign in ("=", "!="):
        return lambda text: COMPARED[sign](text, value)
    pattern = "".join({"%": ".*", "_": "."}.get(letter, re.escape(letter)) for letter in value)
    found = re.compile(pattern, re.DOTALL | (re.IGNORECASE if sign == "ILIKE" else 0))
    return lambda text: found.fullmatch(text) is not None


def quoted(value: str) -> str:
    return f'"{value}"' if "'" in value else f"'{value}'"


def test_a_search_finds_what_an_evaluator_in_python_finds(site: World, known: tuple[str, list[Json]]) -> None:
    experiment, runs = known
    drawn = random.Random(7)
    seen = set[int]()
    for _ in range(100):
        clauses = [drawn.choice((metric, word, attribute))(drawn) for _ in range(drawn.randint(1, 3))]
        text = drawn.choice((" AND ", " and  ")).join(clause for clause, _ in clauses)
        wanted = {run["id"] for run in runs if all(holds(run) for _, holds in clauses)}
        path = f"/v1/experiments/{experiment}/runs"
        found = site.ok(site.as_owner("GET", path, params={"filter": text, "limit": 200}))["items"]
        assert {run["id"] for run in found} == wanted, text
        seen.add(len(wanted))
    assert len(seen) > 10  # neither nothing nor all is found every time


def test_runs_stand_in_the_order_of_a_metric_and_those_without_it_last(
    site: World, known: tuple[str, list[Json]]
) -> None:
    experiment, runs = known
    for key in KEYS:
        for direction in ("ASC", "DESC"):
            found: list[str] = []
            cursor: str | None = None
            while True:  # in pages that end between equal values
                query = {
                    "order_by": f"metrics.`{key}` {direction}",
                    "limit": 7,
                    **({"cursor": cursor} if cursor else {}),
                }
                page = site.ok(site.as_owner("GET", f"/v1/experiments/{experiment}/runs", params=query))
                found += [run["id"] for run in page["items"]]
                cursor = page["next_cursor"]
                if cursor is None:
                    break
            assert len(found) == len(set(found)) == len(runs)
            values = [next(run["metrics"].get(key) for run in runs if run["id"] == id_) for id_ in found]
            there = [value for value in values if value is not None]
            assert values[: len(there)] == there or any(map(math.isnan, there))
            finite = [value for value in there if not math.isnan(value)]
            assert finite == sorted(finite, reverse=direction == "DESC")


@pytest.mark.parametrize("wrong", [
    "metrics.acc", "metrics.acc >", "metrics.acc LIKE 'a'", "params.a > 'x'", "bogus",
    "metrics.acc = 1 OR metrics.b = 2",
    "params.a = unquoted", "attributes.nothing = 'x'", "run_name IN ()", "params.`a = 'x'", "metrics.acc = 'one'",
])  # fmt: skip
def test_what_is_no_search_is_refused(site: World, known: tuple[str, list[Json]], wrong: str) -> None:
    reply = site.as_owner("GET", f"/v1/experiments/{known[0]}/runs", params={"filter": wrong})
    site.problem(reply, "validation_failed")
