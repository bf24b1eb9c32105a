"""The key of a step: everything that can matter changes it, nothing else does."""

import dataclasses
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builderos.execution.runs.definition import expand, parse
from builderos.execution.runs.keys import (
    Ingredients,
    canonical,
    changed,
    definition_of,
    digest,
    ingredients_of,
)

_TEXT = st.text(max_size=8)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
_TEXTS = st.dictionaries(_TEXT, _TEXT, max_size=3)
_MAKING = st.builds(
    Ingredients, definition=st.dictionaries(_TEXT, _JSON, max_size=4), tree=_TEXT,
    inputs=st.dictionaries(_TEXT, _JSON, max_size=3), params=st.dictionaries(_TEXT, _JSON, max_size=3), env=_TEXTS,
    prompt=st.none() | _TEXT, model=st.none() | st.dictionaries(_TEXT, _JSON, max_size=3), tools=_TEXTS, runtime=_TEXT,
    reach=st.dictionaries(_TEXT, _JSON, max_size=2),
)  # fmt: skip
ALL = tuple(f.name for f in dataclasses.fields(Ingredients))


def shuffled(value: Any, by: random.Random) -> Any:
    """The same JSON with the members of every object in another order."""
    if isinstance(value, dict):
        items = [(key, shuffled(item, by)) for key, item in value.items()]
        by.shuffle(items)
        return dict(items)
    return [shuffled(item, by) for item in value] if isinstance(value, list) else value


@given(_MAKING, st.randoms(use_true_random=False))
def test_the_order_of_members_does_not_change_the_key(made: Ingredients, by: random.Random) -> None:
    other = ingredients_of(shuffled(made.as_json(), by))
    assert other.key == made.key
    assert changed(made, other) == []


@given(_MAKING, _MAKING, st.sampled_from(ALL))
def test_every_single_ingredient_changes_the_key(a: Ingredients, b: Ingredients, name: str) -> None:
    mixed = dataclasses.replace(a, **{name: getattr(b, name)})
    same = canonical(getattr(a, name)) == canonical(getattr(b, name))
    assert (mixed.key == a.key) is same


@given(_MAKING)
def test_what_was_written_as_json_has_the_same_key(made: Ingredients) -> None:
    assert ingredients_of(json.loads(json.dumps(made.as_json()))).key == made.key


@given(_MAKING, _TEXT)
def test_what_stands_in_one_ingredient_does_not_pass_for_another(made: Ingredients, word: str) -> None:
    one = dataclasses.replace(made, runtime=word + "x", tree="")
    other = dataclasses.replace(made, runtime="", tree=word + "x")
    assert one.key != other.key


def test_an_ingredient_that_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        _ = Ingredients({"run": "x"}, "", params={"rate": float("nan")}).key


def test_the_names_of_what_differs_are_told() -> None:
    a = Ingredients({"run": "make"}, "t1", env={"MODE": "a", "X": "1"}, runtime="r")
    b = Ingredients({"run": "make all"}, "t1", env={"MODE": "b", "Y": "1"}, runtime="s")
    assert changed(a, b) == ["definition.run", "env.MODE", "env.X", "env.Y", "runtime"]


def test_of_a_node_only_what_is_done_counts() -> None:
    text = (
        "name: p\nsteps:\n  - {id: one, run: make, lane: a, title: First, cache: true, retries: {max: 2}}\n"
    )
    other = "name: p\nsteps:\n  - {id: two, run: make, lane: b, timeout: 3m, on_fail: continue}\n"
    nodes = [expand(parse(file), {})[0].as_json() for file in (text, other)]
    assert definition_of(nodes[0]) == definition_of(nodes[1])
    more = expand(parse(text.replace("cache: true", "network: [example.com]")), {})[0].as_json()
    assert definition_of(more) != definition_of(nodes[0])


def test_the_form_of_keys_stays() -> None:
    """Keys are kept for long: whoever changes their form names it anew."""
    made = Ingredients(
        {"action": "run", "run": "echo hi"}, "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        inputs={"n": 1}, env={"A": "b"}, prompt="sha256:p", model={"name": "m", "temperature": 0},
        tools={"write_file": "1"}, runtime="sha256:r",
    )  # fmt: skip
    assert made.key == digest({"form": "builderos-step@1", **made.as_json()})
    assert made.key == KNOWN


KNOWN = "sha256:33c208aed4dd99abf7693f6f9ea3a410d67e8a3b38dd35a447ff5adbd4faf9d9"
