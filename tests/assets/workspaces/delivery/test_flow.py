import json
import math
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from builderos.assets.workspaces.delivery.flow import flow, key_token, text
from builderos.assets.workspaces.delivery.parse import parse
from builderos.core.problems import Problem
from tests.assets.workspaces.delivery.trees import values

NASTY = "".join(
    map(
        chr,
        [*range(0x20), *range(0x7E, 0xA1), 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF, 0xFFFD, 0x1F600, 0x10FFFF],
    )
)


@given(st.text())
@example(NASTY)
@example('👩‍👩‍👧 \\ " / # : - {x: y} [z] *a &b !c %d @e `f` ~ | >')
def test_any_text_reads_alike_as_json_as_yaml_and_in_our_own_reader(value: str):
    line = flow({"k": value})
    document = parse(line)
    assert "\n" not in line
    assert json.loads(line) == {"k": value}
    assert yaml.safe_load(line) == {"k": value}
    assert yaml.CSafeLoader(line).get_single_data() == {"k": value}
    assert document is not None
    assert document.value == {"k": value}


def test_an_emoji_stays_itself_and_is_not_escaped():
    assert text("ship 🚀") == '"ship 🚀"'


@pytest.mark.parametrize("code", [0x7F, 0x85, 0x9F, 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF])
def test_characters_that_yaml_refuses_are_escaped(code: int):
    assert text(chr(code)) == f'"\\u{code:04x}"'


def test_a_lone_surrogate_has_no_form_in_yaml_and_becomes_the_replacement_character():
    assert yaml.safe_load(text("a\ud800b")) == "a\ufffdb"


@given(st.dictionaries(st.text(max_size=20), values, max_size=5))
@example({"big": 1e16, "small": 1e-7, "huge": 1.5e300, "minus": -0.0, "<<": {"a": 1}, "": None, "yes": True})
def test_any_item_reads_alike_in_both_yaml_readers(item: dict[str, Any]):
    line = flow(item)
    assert json.loads(line) == item
    assert yaml.safe_load(f"- {line}") == [item]
    assert yaml.CSafeLoader(f"- {line}").get_single_data() == [item]


@given(st.text(min_size=1, max_size=64))
@example("2.1")
@example("1e3")
@example("0x1f")
@example("1_000")
@example("no")
@example("2026-11-21")
@example("2.1_parser")
def test_a_key_is_the_same_text_for_every_reader(key: str):
    line = f"{key_token(key)}: {{}}"
    assert yaml.safe_load(line) == {key: {}}
    document = parse(line)
    assert document is not None
    assert document.value == {key: {}}


def test_an_ordinary_task_id_is_written_plainly():
    assert key_token("2.1_parser") == "2.1_parser"
    assert key_token("2.10") == '"2.10"'


@pytest.mark.parametrize("value", [math.nan, math.inf, object(), b"x", 10**40, {1: 2}, {"k" * 129: 1}])
def test_what_has_no_form_in_both_languages_is_refused(value: object):
    with pytest.raises(Problem) as refused:
        flow({"k": value})
    assert refused.value.code == "validation_failed"


def test_nesting_without_end_is_refused():
    value: list[Any] = []
    for _ in range(100):
        value = [value]
    with pytest.raises(Problem, match="depth"):
        flow({"k": value})
