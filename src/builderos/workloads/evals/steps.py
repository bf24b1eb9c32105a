"""What steps of a run can do here: the action `eval`, and the gate `eval` behind any step."""

import asyncio
import functools
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.clock import utcnow
from builderos.core.context import Context
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.steps import Action, Actions, Done, GateResult, Gates, Work
from builderos.core.unit import Unit, perform
from builderos.core.versions import rank_of
from builderos.engine.durable import Durable
from builderos.execution.runs import service as runs
from builderos.trust.ledger import service as ledger
from builderos.trust.vault import service as vault

from .asking import Outside
from .local_files import note
from .model import eval_trials, evals
from .opening import Opened, TreeFiles, open_suite
from .results import Tried, document
from .running import Runner, Trial

EVAL: Final = "eval"


def builtin(actions: Actions) -> None:
    """Enrol the action."""
    actions.enrol(EVAL, Action(outside=evaluate, queue=runs.QUEUE))


def builtin_gates(gates: Gates) -> None:
    """Enrol the gate."""
    gates.enrol(EVAL, passes)


async def evaluate(context: Context, work: Work) -> Done:
    """Try a suite. The step fails where the suite does, unless `report` is among its inputs; see `open_suite`."""
    durable = context.get(Durable)
    opened = await durable.unit(
        lambda: perform(context, work.call, lambda unit: open_suite(unit, work), read_only=True)
    )

    async def keep(trial: Trial) -> None:
        await durable.unit(lambda: perform(context, work.call, lambda unit: _keep(unit, work, opened, trial)))

    files = TreeFiles(opened.scratch, opened.tree)
    runner = Runner(
        opened.suite, Outside(context, work, opened), version=opened.version, files=files.read, known=opened.known,
        keep=keep,
    )  # fmt: skip
    try:
        trials = await runner.run()
    except* Problem as group:
        raise _first(group) from None
    close = functools.partial(_close, work=work, opened=opened, trials=trials)
    found = await asyncio.shield(durable.unit(lambda: perform(context, work.call, close)))
    return _done(found, _made_of(work, opened), report=bool(work.node.inputs.get("report")))


def passes(unit: Unit, work: Work, done: Done, gate: Any) -> GateResult:
    """Whether the suite that a gate names was tried in this run, and passed the newest time."""
    del done
    c = evals.c
    wanted = sa.select(c.verdict, c.document).where(c.run_id == work.run_id, c.suite == gate.suite)
    row = unit.execute(wanted.order_by(c.id.desc()).limit(1)).one_or_none()
    if row is None:
        step = f"{{action: eval, inputs: {{suite: {gate.suite}}}}}"
        return GateResult("fail", f"the suite {gate.suite} was not tried in this run; add a step {step}")
    return GateResult(
        "pass" if row.verdict == "pass" else "fail", "" if row.verdict == "pass" else summary(row.document)
    )


def summary(said: Mapping[str, Any]) -> str:
    """Why a suite did not pass, in one line."""
    worse = [regression["id"] for regression in said["regressions"]]
    bad = [case["id"] for case in said["cases"] if case["status"] != "pass"]
    rate = f"{said['suite_id']}: {len(said['cases']) - len(bad)} of {len(said['cases'])} cases pass"
    named = f"; worse than {said['baseline']}: {', '.join(worse[:10])}" if worse else ""
    flaky = f"; flaky: {', '.join(said['flaky'][:10])}" if said["flaky"] else ""
    return f"{rate}, {said['threshold']:.0%} have to{named}{flaky}"


def _first(group: BaseExceptionGroup[Problem]) -> Problem:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, Problem)
    return found


def _keep(unit: Unit, work: Work, opened: Opened, trial: Trial) -> None:
    said = {
        **asdict(trial),
        "output": vault.clean(unit, trial.output),
        "reason": vault.clean(unit, trial.reason),
    }
    if trial.error:
        return  # another attempt tries it once more
    values = {
        "org_id": unit.org_id, "run_id": work.run_id, "step": work.name, "suite_digest": opened.digest,
        "cell": trial.cell, "repeat": trial.repeat, "document": said, "at": unit.now,
    }  # fmt: skip
    unit.execute(insert(eval_trials).values(values).on_conflict_do_nothing())


def _close(unit: Unit, work: Work, opened: Opened, trials: list[Trial]) -> dict[str, Any]:
    """The result, once for an attempt."""
    c = evals.c
    known = unit.execute(sa.select(c.document).where(c.name == work.name_of_attempt)).scalar_one_or_none()
    if known is not None:
        return known
    version = opened.version
    tried = Tried(
        run_id=work.run_id, suite_digest=opened.digest, prompt_ref=version.name if version else None,
        version=version.version if version else None, sha256=version.sha256 if version else None,
        started_at=opened.begun, ended_at=utcnow(),
    )  # fmt: skip
    said = _cleaned(unit, document(opened.suite, trials, tried, opened.baseline))
    id_ = new_id("evl")
    unit.add(
        evals, id=id_, org_id=unit.org_id, name=work.name_of_attempt, suite=opened.suite.id,
        suite_digest=opened.digest, prompt=tried.prompt_ref, version=tried.version,
        rank=rank_of(version.version) if version else None, sha256=tried.sha256, run_id=work.run_id,
        repo_id=work.repo_id, repo_name=work.repo_name, branch_id=work.branch_id, branch=work.branch,
        counts=opened.counts and _is_judged(said), verdict=said["verdict"], pass_rate=said["pass_rate"],
        cases=len(said["cases"]), document=said, created_by=unit.actor.id, created_at=unit.now,
    )  # fmt: skip
    note(unit, work.project_id, opened.suite.id, said)
    payload = {
        "suite": opened.suite.id, "suite_digest": opened.digest, "verdict": said["verdict"],
        "pass_rate": round(said["pass_rate"], 4), "prompt": version.ref if version else None, "run_id": work.run_id,
    }  # fmt: skip
    ledger.record(unit, "eval.tried", id_, payload)
    return said


def _is_judged(said: dict[str, Any]) -> bool:
    """Whether the verdict is about the prompt; where all that did not pass could not be tried, it is not."""
    bad = {case["status"] for case in said["cases"]} - {"pass"}
    return said["verdict"] == "pass" or bad != {"error"}


def _cleaned(unit: Unit, said: dict[str, Any]) -> dict[str, Any]:
    """No secret that a model said, or a check repeats, is kept."""
    for case in said["cases"]:
        case["output"], case["reason"] = vault.clean(unit, case["output"]), vault.clean(unit, case["reason"])
    for regression in said["regressions"]:
        regression["reason"] = vault.clean(unit, regression["reason"])
    return said


def _made_of(work: Work, opened: Opened) -> runs.Material:
    """What the result depends on: the receipt of the run names the prompt and its hash, the suite, the models."""
    version = opened.version
    named = {"prompt": version.spec.ref} if version is not None else {}
    ingredients = runs.Ingredients(
        definition=runs.definition_of(work.node.as_json()) | named, tree=opened.tree, inputs=dict(work.node.inputs),
        params=dict(work.params), prompt=version.sha256 if version is not None else None,
        model={"names": [provider.name for provider in opened.suite.providers], "suite": opened.digest},
    )  # fmt: skip
    return runs.Material(ingredients, "", {})


def _done(said: dict[str, Any], made: runs.Material, *, report: bool) -> Done:
    shown = {
        name: said[name]
        for name in ("suite_id", "prompt_ref", "version", "sha256", "verdict", "pass_rate", "flaky")
    }
    result = {**shown, "regressions": [regression["id"] for regression in said["regressions"]]}
    used = {name: value for name, value in said["usage"].items() if name != "labels"}
    if said["verdict"] == "pass" or report:
        return Done(result=result, usage=used, record=made)
    return Done("failed", "gate", summary(said), result=result, usage=used, record=made, retry=False)
