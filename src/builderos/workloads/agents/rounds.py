"""The action `rounds`: one agent works, another one or the tests judge, until it is good enough or rounds are over."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.steps import Done, Work
from builderos.engine.durable import Durable
from builderos.execution.runs import service as runs

from .series import Series, known_of, waits
from .steps import logged

ACTION: Final = "rounds"
TESTS: Final = "tests"
_MOST: Final = 10
_OWN: Final = frozenset({"executor", "evaluator", "max", "until"})
_SAID: Final = 2_000


@dataclass(frozen=True, slots=True)
class Plan:
    """Who works, who judges (an agent, or the tests), how many rounds there are, and which score is enough."""

    executor: str
    evaluator: str
    most: int
    until: float | None


@dataclass(frozen=True, slots=True)
class _Judgement:
    """What came of judging a round. `over`: the step ends, or waits, with this."""

    passed: bool = False
    score: float | None = None
    said: str = ""
    over: Done | None = None


def plan_of(inputs: Mapping[str, Any]) -> Plan:
    """What the inputs of the step say. Raises `validation_failed`."""
    most, until = inputs.get("max", 3), inputs.get("until")
    if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= _MOST:
        raise _unfit(f"max is {most!r}; it has to be a number from 1 to {_MOST}")
    if until is not None and (not isinstance(until, int | float) or isinstance(until, bool)):
        raise _unfit(f"until is {until!r}; it has to be a number")
    evaluator = str(inputs.get("evaluator", TESTS))
    if until is not None and evaluator == TESTS:
        raise _unfit("tests have no score")
    return Plan(str(inputs.get("executor", "builder")), evaluator, most, until)


def _unfit(why: str) -> Problem:
    hint = "Write for example inputs: {executor: builder, evaluator: tests, max: 3}."
    return Problem("validation_failed", f"the rounds cannot begin: {why}", hint=hint)


async def run_rounds(context: Context, work: Work) -> Done:
    """Go through the rounds; what the last one leaves is the step's output. Raises `validation_failed`."""
    plan = plan_of(work.node.inputs)
    known = await context.get(Durable).unit(functools.partial(known_of, context, work))
    async with logged(context, work) as say:
        series = Series(context, work, known, say)
        while True:
            done = await _gone_through(series, work, plan)
            if waits(done) or done.status == "succeeded" or not series.is_stale:
                return series.whole(done)


async def _gone_through(series: Series, work: Work, plan: Plan) -> Done:
    tree, found, told = work.input_tree, "", list[dict[str, Any]]()
    number = 0
    while True:
        number += 1
        done = await series.next(_for_executor(work, plan, number, tree, found))
        if waits(done) or done.status != "succeeded":
            return _with(done, told)
        tree = done.output_tree or tree
        judged = await _judged(series, work, plan, number, done)
        if judged.over is not None:
            return _with(judged.over, told)
        found = judged.said
        told.append({"round": number, "passed": judged.passed, "score": judged.score, "said": found[:_SAID]})
        if judged.passed:
            return _with(done, told)
        if number == plan.most:
            error = f"not good enough after {number} rounds: {found}"[:_SAID]
            return _with(replace(done, status="failed", reason="gate", error=error), told)


def _with(done: Done, told: list[dict[str, Any]]) -> Done:
    return replace(done, result={**done.result, "rounds": told})


def _inputs(work: Work) -> dict[str, Any]:
    return {name: value for name, value in work.node.inputs.items() if name not in _OWN}


def _for_executor(work: Work, plan: Plan, number: int, tree: str, found: str) -> Work:
    """The work of a round: on what the round before left, knowing what was found in it."""
    gates = (runs.Gate("tests_pass"),) if plan.evaluator == TESTS else ()
    node = replace(work.node, agent=plan.executor, inputs=_inputs(work), gates=gates)
    needs = dict(work.needs)
    if found:
        needs[f"evaluation of round {number - 1}"] = {"text": found}
    return replace(work, node=node, input_tree=tree, needs=needs)


async def _judged(series: Series, work: Work, plan: Plan, number: int, done: Done) -> _Judgement:
    if plan.evaluator == TESTS:
        return _Judgement(done.exit_code == 0, said=str(done.result.get("tests", "")))
    node = replace(work.node, agent=plan.evaluator, inputs=_inputs(work), gates=())
    needs = {**work.needs, f"work of round {number}": {"text": str(done.result.get("text", ""))}}
    verdict = await series.next(replace(work, node=node, input_tree=done.output_tree or "", needs=needs))
    if waits(verdict) or (verdict.status != "succeeded" and verdict.reason != "gate"):
        return _Judgement(over=verdict)
    score = verdict.result.get("score")
    number_ = float(score) if isinstance(score, int | float) and not isinstance(score, bool) else None
    passed = verdict.status == "succeeded"
    if plan.until is not None:
        passed = passed and number_ is not None and number_ >= plan.until
    said = verdict.error or str(verdict.result.get("text", ""))
    return _Judgement(passed, number_, said)
