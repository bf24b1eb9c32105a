"""What can be checked of an answer without asking anybody: each check is a pure function of the text."""

import csv
import functools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

import re2  # pyright: ignore[reportMissingTypeStubs]

from builderos.core.holes import as_text
from builderos.core.jsonschemas import first_fault

from .suite import Expect, is_list, is_mapping

_re2: Final = cast("Any", re2)
_MAX_LEVENSHTEIN: Final = 10_000


@dataclass(frozen=True, slots=True)
class Grade:
    """Whether something holds, how well, and why not."""

    passed: bool
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `files`: paths of the tree that is judged, and how to read one."""

    text: str
    latency_ms: float = 0.0
    cost: float = 0.0
    finish_reason: str = ""
    files: Callable[[str], bytes | None] | None = field(default=None, compare=False)


Check: TypeAlias = Callable[[Expect, Answer], Grade]
ASKING: Final = ("llm-rubric", "similar")
"""Types that ask a model."""
JAILED: Final = ("command",)
"""Types that run something."""
DEFAULT_SIMILAR: Final = 0.75


def check(expect: Expect, answer: Answer) -> Grade:
    """One deterministic check, turned round where it is negated."""
    return turned(expect, CHECKS[expect.type](expect, answer))


def turned(expect: Expect, grade: Grade) -> Grade:
    """A grade as the expectation means it."""
    if not expect.negate:
        return grade
    reason = "" if not grade.passed else f"{expect.type} holds and must not"
    return Grade(not grade.passed, 1.0 - grade.score, reason)


def _yes(passed: bool, reason: str) -> Grade:
    return Grade(passed, float(passed), "" if passed else reason)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return repr(text if len(text) <= 120 else text[:119] + "…")


def _equals(expect: Expect, answer: Answer) -> Grade:
    if is_list(expect.value) or is_mapping(expect.value):
        return _yes(_parsed(answer.text) == expect.value, f"is not {_shown(expect.value)}")
    return _yes(answer.text == as_text(expect.value), f"is not {_shown(expect.value)}")


def _golden(expect: Expect, answer: Answer) -> Grade:
    same = answer.text.split() == as_text(expect.value).split()
    return _yes(same, f"is not the golden output {_shown(expect.value)}")


def _contains(expect: Expect, answer: Answer, *, fold: bool) -> Grade:
    text, word = answer.text, as_text(expect.value)
    found = word.lower() in text.lower() if fold else word in text
    return _yes(found, f"does not contain {_shown(word)}")


def words_of(value: Any) -> list[str]:
    """A list, or words with commas between, as a line of CSV has them."""
    if is_list(value):
        return [as_text(item) for item in value]
    return [word.strip() for word in next(csv.reader([as_text(value)], skipinitialspace=True), list[str]())]


def _contains_some(expect: Expect, answer: Answer, *, fold: bool, every: bool) -> Grade:
    text = answer.text.lower() if fold else answer.text
    words = words_of(expect.value)
    missing = [word for word in words if (word.lower() if fold else word) not in text]
    passed = not missing if every else len(missing) < len(words)
    return _yes(passed, f"does not contain {'' if every else 'any of '}{', '.join(map(_shown, missing))}")


def _starts_with(expect: Expect, answer: Answer) -> Grade:
    return _yes(answer.text.startswith(as_text(expect.value)), f"does not begin with {_shown(expect.value)}")


@functools.cache
def pattern(text: str) -> Any:
    """A compiled pattern whose time grows with the text alone. Raises `ValueError`."""
    options = _re2.Options()
    options.log_errors = False
    try:
        return _re2.compile(text, options)
    except _re2.error as error:
        raise ValueError(f"look-around and back references do not exist here: {error}") from None


def _regex(expect: Expect, answer: Answer) -> Grade:
    return _yes(
        pattern(as_text(expect.value)).search(answer.text) is not None, f"does not fit {_shown(expect.value)}"
    )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NONE


_NONE: Final = object()


def _is_json(expect: Expect, answer: Answer) -> Grade:
    found = _parsed(answer.text)
    if found is _NONE:
        return _yes(False, "is no JSON")
    return _fits(expect.value, found)


def _contains_json(expect: Expect, answer: Answer) -> Grade:
    why = "contains no JSON"
    for found in _documents(answer.text):
        grade = _fits(expect.value, found)
        if grade.passed:
            return grade
        why = grade.reason
    return _yes(False, why)


def _documents(text: str) -> Iterator[Any]:
    """JSON objects and lists in a text, at most a hundred."""
    decoder, at, tries = json.JSONDecoder(), 0, 0
    while (begin := _next_bracket(text, at)) >= 0 and tries < 100:
        tries += 1
        try:
            found, at = decoder.raw_decode(text, begin)
            yield found
        except (ValueError, RecursionError):
            at = begin + 1


def _next_bracket(text: str, at: int) -> int:
    found = [place for place in (text.find("{", at), text.find("[", at)) if place >= 0]
    return min(found, default=-1)


def _fits(schema: Any, found: Any) -> Grade:
    if schema is None:
        return _yes(True, "")
    fault = first_fault(schema, found)
    if fault is None:
        return _yes(True, "")
    where, why = fault
    return _yes(False, f"{where or 'the answer'}: {why}")


def _levenshtein(expect: Expect, answer: Answer) -> Grade:
    most = 5.0 if expect.threshold is None else expect.threshold
    a, b = answer.text[:_MAX_LEVENSHTEIN], as_text(expect.value)[:_MAX_LEVENSHTEIN]
    distance = levenshtein(a, b)
    score = 1.0 - distance / max(len(a), len(b), 1)
    passed = distance <= most
    return Grade(passed, score, "" if passed else f"differs by {distance} edits, more than {most:g}")


def levenshtein(a: str, b: str) -> int:
    """The least number of characters to insert, delete or replace."""
    if len(a) < len(b):
        a, b = b, a
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            cost = before if left == right else 1 + min(before, row[j], row[j - 1])
            before, row[j] = row[j], cost
    return row[-1]


def _rouge_n(expect: Expect, answer: Answer) -> Grade:
    least = 0.75 if expect.threshold is None else expect.threshold
    score = _overlap(_words(as_text(expect.value)), _words(answer.text))
    return Grade(
        score >= least,
        score,
        "" if score >= least else f"shares {score:.2f} of the words, less than {least:g}",
    )


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _overlap(wanted: Sequence[str], found: Sequence[str]) -> float:
    """The harmonic mean of recall and precision over single words."""
    left: dict[str, int] = {}
    for word in found:
        left[word] = left.get(word, 0) + 1
    both = 0
    for word in wanted:
        if left.get(word, 0) > 0:
            left[word] -= 1
            both += 1
    return 2 * both / (len(wanted) + len(found)) if wanted or found else 1.0


def _word_count(expect: Expect, answer: Answer) -> Grade:
    count = len(answer.text.split())
    if is_mapping(expect.value):
        bounds = expect.value
        passed = bounds.get("min", 0) <= count <= bounds.get("max", math.inf)
        return _yes(passed, f"has {count} words, not {as_text(expect.value)}")
    return _yes(count == int(expect.value), f"has {count} words, not {expect.value}")


def _at_most(of: Callable[[Answer], float], what: str, expect: Expect, answer: Answer) -> Grade:
    value, most = of(answer), expect.threshold or 0.0
    return _yes(value <= most, f"{what} {value:g}, more than {most:g}")


def _finish_reason(expect: Expect, answer: Answer) -> Grade:
    return _yes(answer.finish_reason == as_text(expect.value), f"ended with {answer.finish_reason!r}")


def _file_exists(expect: Expect, answer: Answer) -> Grade:
    path = as_text(expect.value)
    there = answer.files is not None and answer.files(path) is not None
    return _yes(there, f"there is no file {path}")


def _file_contains(expect: Expect, answer: Answer) -> Grade:
    said = cast("Mapping[str, Any]", expect.value)
    data = answer.files(str(said["path"])) if answer.files is not None else None
    if data is None:
        return _yes(False, f"there is no file {said['path']}")
    word = as_text(said["text"])
    return _yes(word in data.decode("utf-8", "replace"), f"{said['path']} does not contain {_shown(word)}")


CHECKS: Final[Mapping[str, Check]] = {
    "equals": _equals,
    "golden": _golden,
    "contains": functools.partial(_contains, fold=False),
    "icontains": functools.partial(_contains, fold=True),
    "contains-any": functools.partial(_contains_some, fold=False, every=False),
    "contains-all": functools.partial(_contains_some, fold=False, every=True),
    "icontains-any": functools.partial(_contains_some, fold=True, every=False),
    "icontains-all": functools.partial(_contains_some, fold=True, every=True),
    "starts-with": _starts_with,
    "regex": _regex,
    "is-json": _is_json,
    "contains-json": _contains_json,
    "levenshtein": _levenshtein,
    "rouge-n": _rouge_n,
    "word-count": _word_count,
    "latency": functools.partial(_at_most, lambda answer: answer.latency_ms, "took (ms)"),
    "cost": functools.partial(_at_most, lambda answer: answer.cost, "cost"),
    "finish-reason": _finish_reason,
    "file_exists": _file_exists,
    "file_contains": _file_contains,
}
TYPES: Final = (*CHECKS, *ASKING, *JAILED)
VALUELESS: Final = ("is-json", "contains-json", "latency", "cost")
THRESHOLDED: Final = ("latency", "cost")
