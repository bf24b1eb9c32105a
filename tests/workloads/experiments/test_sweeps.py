"""What a search draws, and when a trial is given up: functions of numbers."""

from typing import Any

import pytest

from builderos.core.problems import Problem
from builderos.workloads.experiments.early import below_median, halved
from builderos.workloads.experiments.submit_schema import Stop, SweepIn
from builderos.workloads.experiments.sweeps import trials_of

PLACE = {"id": "exp_x", "dataset_ref": "d@1", "code_sha": "main", "runtime": "py", "command": "true"}


def drawn(**more: Any) -> list[dict[str, Any]]:
    body = {**PLACE, "goal": {"metric": "acc"}, **more}
    return trials_of(SweepIn(**body))


def test_a_grid_has_each_combination_once_in_a_fixed_order() -> None:
    space = {"a": [1, "x"], "b": {"min": 0, "max": 1, "step": 0.25}, "c": {"min": 2, "max": 3, "whole": True}}
    found = drawn(space=space)
    assert len(found) == 2 * 5 * 2
    assert found[0] == {"a": 1, "b": 0.0, "c": 2}
    assert found[-1] == {"a": "x", "b": 1.0, "c": 3}
    assert len({tuple(one.values()) for one in found}) == len(found)


def test_the_same_seed_draws_the_same_and_another_one_something_else() -> None:
    space = {
        "rate": {"min": 1e-4, "max": 0.1, "log": True},
        "depth": {"min": 1, "max": 9, "whole": True},
        "k": ["a", "b"],
    }
    asked = {"space": space, "method": "random", "trials": 50}
    first = drawn(**asked, seed=3)
    assert first == drawn(**asked, seed=3) != drawn(**asked, seed=4)
    assert len(first) == 50
    assert all(1e-4 <= one["rate"] <= 0.1 and one["depth"] in range(1, 10) for one in first)
    assert sum(one["rate"] < 10**-2.5 for one in first) in range(10, 41)  # by orders of magnitude


def test_of_a_small_space_no_trial_is_drawn_twice() -> None:
    assert sorted(one["a"] for one in drawn(space={"a": [1, 2, 3]}, method="random", trials=20)) == [1, 2, 3]


@pytest.mark.parametrize("more", [
    {"space": {"a": []}}, {"space": {"a": {"min": 0, "max": 1}}}, {"space": {"a": [1]}, "params": {"a": 2}},
    {"space": {"a": list(range(300))}}, {"space": {"a": {"min": 0, "max": 1e9, "whole": True}}},
    {"space": {"a": [1]}, "method": "random"},
], ids=["no values", "no step", "twice", "too many", "far too many", "how many"])  # fmt: skip
def test_a_search_that_cannot_be_made_says_why(more: dict[str, Any]) -> None:
    with pytest.raises(Problem) as caught:
        drawn(**more)
    assert caught.value.code == "validation_failed"


@pytest.mark.parametrize(
    "span", [{"min": 2, "max": 1}, {"min": 0, "max": 1, "log": True}, {"min": 0, "max": 1, "step": 0}]
)
def test_a_span_that_is_none_is_refused(span: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Span"):
        SweepIn(**PLACE, goal={"metric": "acc"}, space={"a": span})


OTHERS = [[(1, 0.5), (2, 0.7)], [(1, 0.4), (2, 0.6)], [(1, 0.1), (2, 0.2)]]


def test_the_median_of_those_that_came_as_far_decides() -> None:
    rule = Stop(rule="median", least=3)
    assert below_median([(1, 0.3)], OTHERS, rule, 1.0)
    assert not below_median([(1, 0.45)], OTHERS, rule, 1.0)
    assert not below_median([(1, 0.9), (2, 0.1)], OTHERS, rule, 1.0)  # its best counts
    assert not below_median([(1, 0.3)], OTHERS[:2], rule, 1.0)  # too few
    assert not below_median([(3, 0.0)], OTHERS, rule, 1.0)  # nobody came as far
    assert not below_median([(1, 0.3)], OTHERS, Stop(rule="median", after=2), 1.0)
    assert below_median([(1, 0.45)], OTHERS, rule, -1.0)  # where less is better


def test_of_those_that_came_to_a_rung_only_the_best_go_on() -> None:
    rule = Stop(rule="halving", after=1, factor=3, least=3)
    assert not halved([(1, 0.6)], OTHERS, rule, 1.0)
    assert halved([(1, 0.3)], OTHERS, rule, 1.0)
    assert not halved([(1, 0.3)], OTHERS[:1], rule, 1.0)  # nobody to be compared with
    assert not halved([(1, 0.05)], OTHERS, rule, -1.0)
    assert halved([(1, 0.9), (2, 0.9), (3, 0.1)], [[(1, 0.0), (3, 1.0)]] * 5, rule, 1.0)
