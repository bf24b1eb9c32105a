"""Conditions mean what they say, and can do nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builderos.execution.runs.definition.expressions import Result, Unreadable, about, evaluate, read

RESULTS = {
    "good": Result("succeeded", {"n": 3, "text": "abc", "list": ["a", 1]}),
    "bad": Result("failed", reason="oom"),
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("steps.good.status == 'succeeded'", True),
        ("steps['good'].status != 'succeeded'", False),
        ("steps.bad.reason in ['oom', 'disk']", True),
        ("steps.good.outputs.n >= 3 and not steps.good.outputs.n > 3", True),
        ("steps.good.outputs.n == '3'", False),
        ("steps.good.outputs.n == true", False),
        ("steps.good.outputs.text < 4", False),
        ("steps.good.outputs.none == null", True),
        ("contains(steps.good.outputs.list, 'a') and 1 in steps.good.outputs.list", True),
        ("true in steps.good.outputs.list", False),
        ("starts_with(steps.good.outputs.text, 'ab') or false", True),
        ("ends_with(steps.good.outputs.text, 'ab')", False),
        ("length(steps.good.outputs.list) == 2", True),
        ("-1 < 0", True),
        ("steps.later.status == 'pending'", True),
        ("null", None),
    ],
)
def test_an_expression_has_the_value_that_it_says(text: str, value: Any):
    kept = json.loads(json.dumps(read(text)))

    assert evaluate(kept, RESULTS) == value


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('id')",
        "().__class__.__mro__",
        "steps.good.__class__",
        "[x for x in params.a]",
        "lambda: 1",
        "f'{params.a}'",
        "params.a if params.b else 1",
        "params.a + 1",
        "'a' * 100",
        "2 ** 9999",
        "params[0]",
        "run.environment",
        "a := 1",
        "1 < 2 < 3",
        "success(1)",
        "contains(*[1, 2])",
        "'\\x41'",
        "b'a'",
        "...",
        "1e999",
        "9" * 400,
        "not " * 200 + "true",
        "(" * 300,
        "params.a == 1" + " " * 2000,
        "",
        "a\nb",
        "\ud800",
    ],
)
def test_what_is_not_of_the_language_is_refused(text: str):
    with pytest.raises(Unreadable) as caught:
        read(text)

    assert caught.value.hint


def test_a_status_of_many_nodes_is_the_worst_and_an_output_a_list():
    assert evaluate(["status", ["good", "bad"]], RESULTS) == "failed"
    assert evaluate(["status", ["good", "later"]], RESULTS) == "pending"
    assert evaluate(["output", ["good", "bad"], "n"], RESULTS) == [3, None]


WORDS = "( ) [ ] , . == < in not and or 'a' 1 params.a steps.good.status success() length true - x".split()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(
        st.sampled_from(WORDS),
        max_size=14,
    )
)  # fmt: skip
def test_any_words_are_read_or_refused(words: list[str]):
    try:
        found = read(" ".join(words))
    except Unreadable:
        return
    evaluate(json.loads(json.dumps(about(found, ["good"]))), RESULTS)
