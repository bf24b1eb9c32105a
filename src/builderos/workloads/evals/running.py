"""Carrying a suite out: every case on every prompt and provider, so often as it says, and what came of it."""

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from builderos.core.problems import Problem

from .checks import DEFAULT_SIMILAR, Answer, Grade, as_text, check, turned
from .promptfoo import messages_of
from .suite import Case, Expect, Provider, Suite, is_list
from .words import filled

if TYPE_CHECKING:
    from builderos.assets.prompts.service import PromptVersion

CONCURRENCY: Final = 4
MAX_OUTPUT: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Cell:
    """One case on one prompt and one provider."""

    id: str
    case: Case
    provider: Provider
    template: int | None


@dataclass(frozen=True, slots=True)
class Trial:
    """One try of a cell. `error`: it could not be judged at all; then nothing is known of the case."""

    cell: str
    repeat: int
    output: str
    passed: bool
    score: float
    reason: str
    error: bool = False
    latency_ms: float = 0.0
    usage: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Asker(Protocol):
    """Who answers what a suite asks of others. Each raises `Problem` where there is no answer."""

    async def ask(
        self, messages: list[dict[str, Any]], cell: Cell, repeat: int
    ) -> tuple[Answer, Mapping[str, Any]]:
        """The answer of a model, and what it used."""
        ...

    async def judge(self, rubric: str, answer: str, model: str | None) -> Grade:
        """Whether an answer fits a rubric."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text."""
        ...

    async def command(self, script: str, answer: str, name: str) -> Grade:
        """Whether a command in the jail, over the tree that is judged, ends with 0."""
        ...


Known = Mapping[tuple[str, int], Trial]
Keep = Callable[[Trial], Awaitable[None]]


def cells_of(suite: Suite) -> list[Cell]:
    """Every cell, with an id that says no more than it has to."""
    templates: list[int | None] = list(range(len(suite.templates))) or [None]
    several = (len(templates) > 1, len(suite.providers) > 1)
    return [
        Cell(_id_of(suite, case, provider, template, several), case, provider, template)
        for case in suite.cases for template in templates for provider in suite.providers
    ]  # fmt: skip


def _id_of(
    suite: Suite, case: Case, provider: Provider, template: int | None, several: tuple[bool, bool]
) -> str:
    parts = [case.id]
    if several[0] and template is not None:
        parts.append(suite.templates[template].label)
    if several[1]:
        parts.append(provider.name)
    return " / ".join(parts)


class Runner:
    """One run of a suite. What is `known` from before is taken as it is; `keep` is told each new try."""

    def __init__(
        self, suite: Suite, asker: Asker, *, version: "PromptVersion | None" = None,
        files: Callable[[str], bytes | None] | None = None, known: Known | None = None, keep: Keep | None = None,
    ) -> None:  # fmt: skip
        self._suite = suite
        self._asker = asker
        self._version = version
        self._files = files
        self._known = known or {}
        self._keep = keep
        schema = version.output_schema if version is not None else None
        self._always = (Expect("is-json", dict(schema)),) if schema is not None else ()

    async def run(self) -> list[Trial]:
        """Every try, in the order of the suite."""
        wanted = [(cell, n) for cell in cells_of(self._suite) for n in range(1, self._suite.repeats + 1)]
        found: list[Trial | None] = [None] * len(wanted)
        waiting: Iterator[tuple[int, tuple[Cell, int]]] = iter(enumerate(wanted))

        async def work() -> None:
            for at, (cell, repeat) in waiting:
                found[at] = await self._once(cell, repeat)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(CONCURRENCY, len(wanted))):
                group.create_task(work())
        return [trial for trial in found if trial is not None]

    async def _once(self, cell: Cell, repeat: int) -> Trial:
        known = self._known.get((cell.id, repeat))
        if known is not None:
            return known
        begun = time.perf_counter()
        try:
            trial = await self._try(cell, repeat)
        except Problem as problem:
            if problem.code in ("unavailable", "busy"):
                raise
            took = (time.perf_counter() - begun) * 1000
            said = f"{problem.code}: {problem.detail}"
            trial = Trial(
                cell.id, repeat, "", passed=False, score=0.0, reason=said, error=True, latency_ms=took
            )
        if self._keep is not None:
            await self._keep(trial)
        return trial

    async def _try(self, cell: Cell, repeat: int) -> Trial:
        begun = time.perf_counter()
        answer, usage = await self._answer(cell, repeat)
        took = (time.perf_counter() - begun) * 1000
        answer = Answer(answer.text, took, answer.cost, answer.finish_reason, self._files)
        passed, score, reason = await self._grade(cell, answer, repeat)
        return Trial(
            cell.id, repeat, answer.text[:MAX_OUTPUT], passed=passed, score=score, reason=reason, latency_ms=took,
            usage=usage,
        )  # fmt: skip

    async def _answer(self, cell: Cell, repeat: int) -> tuple[Answer, Mapping[str, Any]]:
        if cell.provider.kind == "canned":
            return Answer(cell.provider.replies[cell.case.id]), {}
        text = self._text(cell)
        if cell.provider.kind == "echo":
            return Answer(text), {}
        return await self._asker.ask(messages_of(text), cell, repeat)

    def _text(self, cell: Cell) -> str:
        if self._version is not None:
            from builderos.assets.prompts.service import (
                render,  # a suite without a prompt starts without all that
            )

            return render(self._version, cell.case.input)
        if cell.template is None:
            return ""
        return filled(self._suite.templates[cell.template].text, dict(cell.case.input))

    async def _grade(self, cell: Cell, answer: Answer, repeat: int) -> tuple[bool, float, str]:
        expects = (*self._always, *cell.case.expect) if cell.provider.kind != "echo" else cell.case.expect
        weight = total = 0.0
        reasons: list[str] = []
        for one in expects:
            grade = await self._check(one, answer, f"{cell.id}.{repeat}")
            weight += one.weight
            total += one.weight * grade.score
            if not grade.passed:
                reasons.append(f"{one.name} (line {one.line}): {grade.reason}")
        score = total / weight if weight else 1.0
        if cell.case.threshold is not None:
            passed = score >= cell.case.threshold
            return (
                passed,
                score,
                "" if passed else f"scores {score:.2f} of {cell.case.threshold:g}; {'; '.join(reasons)}",
            )
        return not reasons, score, "; ".join(reasons)

    async def _check(self, one: Expect, answer: Answer, name: str) -> Grade:
        if one.type == "llm-rubric":
            grade = await self._asker.judge(as_text(one.value), answer.text, self._suite.judge)
            if one.threshold is not None:
                grade = Grade(grade.passed and grade.score >= one.threshold, grade.score, grade.reason)
            return turned(one, grade)
        if one.type == "similar":
            return turned(one, await self._similar(one, answer))
        if one.type == "command":
            return turned(one, await self._asker.command(as_text(one.value), answer.text, name))
        return check(one, answer)

    async def _similar(self, one: Expect, answer: Answer) -> Grade:
        least = DEFAULT_SIMILAR if one.threshold is None else one.threshold
        given = one.value if is_list(one.value) else [one.value]
        wanted = [as_text(value) for value in given]
        own, *others = await self._asker.embed([answer.text, *wanted])
        score = max(_cosine(own, other) for other in others)
        return Grade(
            score >= least, score, "" if score >= least else f"is similar by {score:.2f}, less than {least:g}"
        )


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    norm = math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / norm if norm else 0.0


def grade_of(text: str) -> Grade:
    """What a judge says. Raises `upstream_failed` for what is no verdict."""
    decoder, begin = json.JSONDecoder(), text.find("{")
    try:
        said: Any = decoder.raw_decode(text, begin)[0] if begin >= 0 else None
        passed, score = said["pass"], float(said.get("score", said["pass"]))
        if not isinstance(passed, bool) or not 0 <= score <= 1:
            raise ValueError
        return Grade(passed, score, str(said.get("reason", ""))[:1000])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Problem(
            "upstream_failed", "the judge gave no verdict", hint="Let another model judge.", said=text[:200]
        ) from None
