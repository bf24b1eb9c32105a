"""Suites are read whole, in our words or promptfoo's, or refused with the line of what is wrong or not supported."""

import asyncio
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from builderos.core.clock import utcnow
from builderos.core.problems import Problem
from builderos.workloads.evals.checks import CHECKS, Answer, check, levenshtein
from builderos.workloads.evals.formats import SCHEMA
from builderos.workloads.evals.opening import reader_of
from builderos.workloads.evals.reading import parse, read
from builderos.workloads.evals.results import Tried, document, junit, markdown
from builderos.workloads.evals.running import Cell, Grade, Runner, Trial, cells_of, grade_of
from builderos.workloads.evals.statistics import interval, worse
from builderos.workloads.evals.suite import Expect, Suite

PROMPTFOO = """\
description: Greetings
prompts:
  - 'Hello {{name}}, you are {{ age }}.'
providers: [echo]
defaultTest:
  vars: {age: 7}
  assert:
    - {type: icontains, value: hello}
tests:
  - description: by name
    vars: {name: [Ada, Bob]}
    assert:
      - {type: contains, value: '{{name}}'}
      - {type: not-contains, value: Eve}
      - {type: regex, value: 'you are \\d+'}
  - vars: {name: Cy}
    threshold: 0.5
    assert:
      - {type: equals, value: nothing of it, weight: 1}
      - {type: starts-with, value: Hello, weight: 3}
"""
OWN = """\
suite: plans
prompt: planner@^1
repeats: 3
threshold: 0.5
replies: {small: '{"steps": [1]}', golden: "one  two"}
cases:
  - {id: small, expect: [{type: json_schema, schema: {required: [steps]}}, {type: not-regex, value: '^no'}]}
  - {id: golden, golden: one two}
"""


class Nobody:
    """Answers nothing unless a test says so."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[Any] = []

    async def ask(
        self, messages: list[dict[str, Any]], cell: Cell, repeat: int
    ) -> tuple[Answer, dict[str, Any]]:
        self.asked.append((cell.id, repeat, messages))
        found = self.answers["ask"](messages, cell, repeat)
        return (found if isinstance(found, Answer) else Answer(found)), {"label": "scripted", "cost": 1}

    async def judge(self, rubric: str, answer: str, model: str | None) -> Grade:
        return grade_of(self.answers["judge"](rubric, answer, model))

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[float("cat" in text), float("dog" in text)] for text in texts]

    async def command(self, script: str, answer: str, name: str) -> Grade:
        raise AssertionError(name)


def tried(suite: Suite, asker: Nobody | None = None, **more: Any) -> list[Trial]:
    return asyncio.run(Runner(suite, asker or Nobody(), **more).run())


def result(
    suite: Suite, trials: list[Trial], before: Any = None, version: str | None = None
) -> dict[str, Any]:
    at = Tried("run_x", "sha256:d", "planner" if version else None, version, None, utcnow(), utcnow())
    return document(suite, trials, at, before)


def faults(text: str) -> list[tuple[int, str]]:
    return [(issue.line, issue.code) for issue in read(text, name="plans")[1]]


def test_a_file_of_promptfoo_runs_as_it_is() -> None:
    suite = parse(PROMPTFOO, name="greetings")
    trials = tried(suite)

    assert [(t.cell, t.output, t.passed) for t in trials] == [
        ("by name", "Hello Ada, you are 7.", True),
        ("by name #2", "Hello Bob, you are 7.", True),
        ("test 2", "Hello Cy, you are 7.", True),
    ]
    assert trials[2].score == pytest.approx(4 / 5)
    assert result(suite, trials)["pass_rate"] == 1.0


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("type: icontains, value: hello", "type: javascript, value: output.length"), 8),
        (("type: icontains, value: hello", "type: contains, value: file://x.txt"), 8),
        (("type: icontains, value: hello", "type: contains, value: x, transform: y"), 8),
        (("providers: [echo]", "providers: [exec:./x.sh]"), 4),
        (("providers: [echo]", "providers: [{id: openai:gpt-x, config: {apiKey: x}}]"), 4),
        (("providers: [echo]", "providers: [echo]\nscenarios: []"), 5),
        (("providers: [echo]", "providers: [echo]\nredteam: {}"), 5),
        (("'Hello {{name}}", "'Hello {{name | upper}}"), 3),
        (("'Hello {{name}}", "'Hello {% if x %}"), 3),
        (("'Hello {{name}}, you are {{ age }}.'", "file://prompts.js"), 3),
        (("'Hello {{name}}, you are {{ age }}.'", "prompts/greet.txt"), 3),
        (("'Hello {{name}}, you are {{ age }}.'", "greet.py:make"), 3),
        (("providers: [echo]", "providers: ['openai:{{env.MODEL}}']"), 4),
        (("vars: {name: Cy}", "vars: {name: file://cy.txt}"), 16),
        (("    vars: {name: [Ada, Bob]}", "    vars: {name: [Ada, file://bob.txt]}"), 11),
        (("    vars: {name: [Ada, Bob]}", "    vars: {name: [Ada, Bob]}\n    options: {transform: x}"), 12),
        (("  - vars: {name: Cy}", "  - file://more.yaml\n  - vars: {name: Cy}"), 16),
        (("vars: {name: Cy}", "vars: {nome: Cy}"), 16),
    ],
)
def test_what_is_not_supported_is_named_with_its_line(change: tuple[str, str], line: int) -> None:
    assert change[0] in PROMPTFOO
    found = read(PROMPTFOO.replace(*change), name="greetings")[1]
    assert line in [issue.line for issue in found], found


@pytest.mark.parametrize(
    "name", ["../secret.txt", "../../x.txt", "/x.txt", "../.git/x.txt", "a/../../../x.txt"]
)
def test_a_suite_reads_no_file_out_of_its_repository(name: str) -> None:
    class Files:
        def read(self, path: str, /) -> bytes | None:
            assert not path.startswith(("/", "..")), path
            return b"secret" if path == "secret.txt" else None

        def list(self, folder: str, /) -> list[str]:
            return [folder]

    read_file = reader_of(Files())
    assert read_file(name) == (
        "secret" if name == "../secret.txt" else None
    )  # its own repository is the suite's


def test_a_prompt_in_a_file_beside_the_suite_is_read() -> None:
    text = PROMPTFOO.replace("'Hello {{name}}, you are {{ age }}.'", "file://greet.txt")
    files = {"greet.txt": "Hello {{name}}, you are {{age}}."}
    assert tried(parse(text, name="g", read_file=files.get))[0].passed
    with pytest.raises(Problem, match="there is no file"):
        parse(text, name="g", read_file={}.get)
    bare = text.replace("file://greet.txt", "greet.txt")
    assert tried(parse(bare, name="g", read_file=files.get))[0].output == "Hello Ada, you are 7."


def test_a_suite_of_ours_says_what_it_says() -> None:
    suite = parse(OWN, name="plans")
    assert (suite.prompt, suite.repeats, [p.kind for p in suite.providers]) == ("planner@^1", 3, ["canned"])
    trials = tried(suite)
    assert [(t.cell, t.repeat, t.passed) for t in trials] == [
        (cell, n, True) for cell in ("small", "golden") for n in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("golden: one two", "note: one"), (8, "unknown_key")),
        (("id: golden", "id: small"), (8, "duplicate")),
        (("{type: not-regex, value: '^no'}", "{type: not-regex, value: '(?=x)'}"), (7, "value")),
        (("{type: not-regex, value: '^no'}", "{type: latency}"), (7, "missing_key")),
        (("{type: not-regex, value: '^no'}", "{type: python, value: x}"), (7, "unsupported")),
        (("suite: plans", "suite: plan"), (1, "place")),
        (("repeats: 3", "repeats: 0"), (3, "invalid")),
        (("required: [steps]", "required: steps"), (7, "value")),
        (("small: ", "smal: "), (5, "invalid")),
    ],
)  # fmt: skip
def test_a_mistake_has_its_line(change: tuple[str, str], fault: tuple[int, str]) -> None:
    assert change[0] in OWN
    assert fault in faults(OWN.replace(*change)), faults(OWN.replace(*change))


# promptfoo 0.121.20 says the same of all of these that the provider `echo` can show.
VERDICTS: list[tuple[str, Any, float | None, str, bool]] = [
    ("equals", "a", None, "a", True),
    ("equals", "a", None, "a ", False),
    ("equals", {"b": 1, "a": [2]}, None, '{"a": [2], "b": 1}', True),
    ("contains", "el", None, "hello", True),
    ("contains", "EL", None, "hello", False),
    ("icontains", "EL", None, "hello", True),
    ("contains-any", ["x", "lo"], None, "hello", True),
    ("contains-any", "x, lo", None, "hello", True),
    ("contains-any", '"a,b", c', None, "a,b", True),
    ("contains-all", ["he", "x"], None, "hello", False),
    ("contains-all", "he, lo", None, "hello", True),
    ("icontains-any", ["X", "LO"], None, "hello", True),
    ("icontains-all", ["HE", "LO"], None, "hello", True),
    ("starts-with", "he", None, "hello", True),
    ("starts-with", "lo", None, "hello", False),
    ("regex", "^h.*o$", None, "hello", True),
    ("regex", "^x", None, "hello", False),
    ("is-json", None, None, '{"a": 1}', True),
    ("is-json", None, None, "a: 1", False),
    ("is-json", {"required": ["a"]}, None, '{"a": 1}', True),
    ("is-json", {"required": ["b"]}, None, '{"a": 1}', False),
    ("contains-json", None, None, 'so: {"a": 1}.', True),
    ("contains-json", {"required": ["b"]}, None, 'so: {"a": 1} and {"b": 2}', True),
    ("contains-json", None, None, "so {a}", False),
    ("levenshtein", "hello", 1, "hallo", True),
    ("levenshtein", "hello", 1, "hxllx", False),
    ("latency", None, 100, "x", True),
    ("latency", None, 1, "x", False),
    ("cost", None, 0.5, "x", True),
    ("finish-reason", "stop", None, "x", True),
    ("word-count", 2, None, "two words", True),
    ("word-count", {"min": 3}, None, "two words", False),
    ("golden", "two  words", None, "two\nwords", True),
    ("rouge-n", "the cat sat", 0.6, "the cat stood", True),
]


@pytest.mark.parametrize(("type_", "value", "threshold", "output", "passes"), VERDICTS)
def test_an_assertion_holds_where_it_says(
    type_: str, value: Any, threshold: float | None, output: str, passes: bool
) -> None:
    answer = Answer(output, latency_ms=50, cost=0.25, finish_reason="stop")
    grade = check(Expect(type_, value, threshold), answer)
    assert (grade.passed, bool(grade.reason)) == (passes, not passes)
    turned = check(Expect(type_, value, threshold, negate=True), answer)
    assert (turned.passed, bool(turned.reason)) == (not passes, passes)


def test_every_check_is_tried() -> None:
    assert {row[0] for row in VERDICTS} | {"file_exists", "file_contains"} == set(CHECKS)


def test_files_of_the_tree_are_judged() -> None:
    answer = Answer("", files={"a.txt": b"one two"}.get)
    assert check(Expect("file_exists", "a.txt"), answer).passed
    assert not check(Expect("file_exists", "b.txt"), answer).passed
    assert check(Expect("file_contains", {"path": "a.txt", "text": "two"}), answer).passed


def test_the_published_schema_agrees_with_the_reader() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    validator = Draft202012Validator(SCHEMA)
    assert list(validator.iter_errors(yaml.safe_load(OWN))) == []
    for change in (("repeats: 3", "repeats: 0"), ("golden: one two", "note: x"), ("not-regex", "python")):
        assert list(validator.iter_errors(yaml.safe_load(OWN.replace(*change)))), change
        assert read(OWN.replace(*change), name="plans")[1], change


def test_edits_are_counted() -> None:
    assert [levenshtein(a, b) for a, b in (("", ""), ("kitten", "sitting"), ("abc", ""), ("ab", "ba"))] == [
        0,
        3,
        3,
        2,
    ]


JUDGED = """\
prompts: ['{{q}}']
providers: [openai:gpt-x]
defaultTest: {options: {provider: openai:judge-x}}
tests:
  - description: rubric
    vars: {q: x}
    assert: [{type: llm-rubric, value: 'is kind to {{q}}', threshold: 0.8}]
  - description: alike
    vars: {q: x}
    assert: [{type: similar, value: [a cat, a fish], threshold: 0.9}]
"""


def test_models_answer_and_judge() -> None:
    asked: list[Any] = []

    def judge(*given: Any) -> str:
        asked.append(given)
        return 'Verdict: {"pass": true, "score": 0.9, "reason": "kind"}'

    suite = parse(JUDGED, name="j")
    trials = tried(suite, Nobody(ask=lambda *_: "my cat", judge=judge))
    assert [t.passed for t in trials] == [True, True]
    assert asked == [("is kind to x", "my cat", "openai/judge-x")]
    lower = tried(suite, Nobody(ask=lambda *_: "dog", judge=lambda *_: '{"pass": true, "score": 0.5}'))
    assert [t.passed for t in lower] == [False, False]
    assert "similar by 0.00" in lower[1].reason


@pytest.mark.parametrize(
    "said", ["", "yes", '{"pass": "true"}', '{"pass": true, "score": 7}', '{"score": 1}', "[1]"]
)
def test_a_judge_without_a_verdict_is_an_error_and_no_pass(said: str) -> None:
    suite = parse(JUDGED, name="j")
    first = tried(suite, Nobody(ask=lambda *_: "my cat", judge=lambda *_: said))[0]
    assert (first.passed, first.error) == (False, True)
    assert result(suite, [first, first])["cases"][0]["status"] == "error"


def flips(passing: int, of: int) -> tuple[Suite, list[Trial]]:
    text = f"prompts: [x]\nproviders: [openai:m]\nevaluateOptions: {{repeat: {of}}}\n"
    suite = parse(text + "tests: [{description: c, assert: [{type: equals, value: good}]}]\n", name="f")
    return suite, tried(suite, Nobody(ask=lambda _m, _c, n: "good" if n <= passing else "bad"))


def test_a_flaky_case_is_named_and_has_an_interval() -> None:
    suite, trials = flips(3, 5)
    said = result(suite, trials)
    case = said["cases"][0]
    assert (said["flaky"], case["status"], case["passed"], case["tried"]) == (["c"], "fail", 3, 5)
    assert case["interval"] == [0.2307, 0.8824]
    assert said["verdict"] == "fail"


def test_what_chance_explains_is_no_regression() -> None:
    suite, good = flips(5, 5)
    before = result(suite, good)
    unlucky, broken = (result(suite, flips(n, 5)[1], before) for n in (4, 0))
    assert unlucky["regressions"] == []
    assert [r["id"] for r in broken["regressions"]] == ["c"]
    assert broken["regressions"][0]["chance"] == 0.004
    once, now = flips(1, 1), flips(0, 1)
    assert [r["id"] for r in result(now[0], now[1], result(*once))["regressions"]] == ["c"]


def test_what_was_tried_before_a_crash_is_not_tried_again() -> None:
    suite = parse(JUDGED, name="j")
    asker = Nobody(ask=lambda *_: "my cat", judge=lambda *_: '{"pass": true}')
    kept: list[Trial] = []

    async def keep(trial: Trial) -> None:
        kept.append(trial)

    first = tried(suite, asker, keep=keep)
    again = tried(suite, Nobody(), known={(t.cell, t.repeat): t for t in kept})
    assert again == first
    assert len(asker.asked) == len(cells_of(suite)) == 2


def test_the_share_of_chance_is_that_of_the_books() -> None:
    # Newcombe 1998, table I: 81 of 263, and Fisher's tea: 4 of 4 against 0 of 4.
    assert [round(x, 4) for x in interval(81, 263)] == [0.2553, 0.3662]
    assert interval(0, 0) == (0.0, 1.0)
    assert worse((4, 4), (0, 4)) == pytest.approx(1 / 70)
    assert worse((1, 1), (1, 1)) == 1.0


def test_reports_hold_whatever_a_model_says() -> None:
    suite, trials = flips(0, 1)
    odd = Trial(trials[0].cell, 1, "\x00\x1b]]>", passed=False, score=0, reason='<a> | \x0b & "b"\n]]>')
    said = result(suite, [odd])
    root = ElementTree.fromstring(junit(said))
    assert (root.get("failures"), root.get("tests")) == ("1", "1")
    assert root.find(".//failure") is not None
    assert "\\|" in markdown(said)
    assert "0 of 1 cases pass" in markdown(said)
