"""Semantic versions: their order, ranges, and what follows."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from builderos.core.versions import bounds_of, fits, is_version, level_between, raised, rank_of

# semver.org, §11: the order of its own example.
IN_ORDER = [
    "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
    "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0",
]  # fmt: skip


def test_the_order_is_that_of_the_standard() -> None:
    for older, newer in itertools.combinations(IN_ORDER, 2):
        assert rank_of(older) < rank_of(newer), (older, newer)


@pytest.mark.parametrize(
    "text", ["1.0", "1", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0+b", "v1.0.0", "1.0.0\n", "", "1.0.0.0"]
)
def test_what_is_no_version_is_not_read_as_one(text: str) -> None:
    assert not is_version(text)


@pytest.mark.parametrize(
    ("range_", "inside", "outside"),
    [
        ("^1.2", "1.2.0 1.99.9", "1.1.9 2.0.0 0.9.0 1.5.0-rc.1"),
        ("^0.2", "0.2.0 0.2.9", "0.3.0 0.1.9 1.0.0"),
        ("^0.0.3", "0.0.3", "0.0.4 0.0.2 0.1.0"),
        ("^0", "0.0.0 0.9.9", "1.0.0"),
        ("~1.2", "1.2.0 1.2.9", "1.3.0 1.1.0"),
        ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0"),
        ("1", "1.0.0 1.9.9", "2.0.0 0.9.9"),
        ("1.2.3", "1.2.3", "1.2.4"),
        (">=1.2", "1.2.0 9.0.0", "1.1.9"),
        (">1.2", "1.3.0", "1.2.9"),
        ("<2", "0.0.1 1.9.9", "2.0.0"),
        ("<=1", "1.9.9", "2.0.0"),
    ],
)
def test_a_range_holds_what_it_says(range_: str, inside: str, outside: str) -> None:
    assert [fits(version, range_) for version in inside.split()] == [True] * len(inside.split())
    assert [fits(version, range_) for version in outside.split()] == [False] * len(outside.split())


@pytest.mark.parametrize("text", ["", "^", "^x", "latest", "1.x", "^^1", "1.2.3.4", "^1 ", ">= 1"])
def test_what_is_no_range_has_no_bounds(text: str) -> None:
    assert bounds_of(text) is None


def test_the_next_version_has_the_level_that_was_asked_for() -> None:
    assert [raised("1.2.3", level) for level in ("major", "minor", "patch")] == ["2.0.0", "1.3.0", "1.2.4"]
    assert [raised("0.2.3", level) for level in ("major", "minor", "patch")] == ["0.3.0", "0.2.4", "0.2.4"]


@given(st.tuples(*[st.integers(0, 50)] * 6))
def test_levels_and_order_agree_with_another_implementation(numbers: tuple[int, ...]) -> None:
    a, b = (".".join(map(str, part)) for part in (numbers[:3], numbers[3:]))
    assert (rank_of(a) < rank_of(b)) == (Version(a) < Version(b))
    assert (level_between(a, b) is None) == (Version(b) <= Version(a))
