"""The action of a step with a command: lay out its tree, run the command where that is declared, read it back."""

import asyncio
import functools
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, Literal

from builderos.assets.repositories import service as repositories
from builderos.core.context import Context
from builderos.core.home import project_state
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.steps import Companions, Company, Done, Work
from builderos.core.unit import perform
from builderos.engine.durable import Durable
from builderos.execution.compute import service as compute
from builderos.trust.vault import service as vault

from . import outputs, saying, spans, workspace
from .definition import Node
from .local_files import LocalFiles
from .logs import Sink
from .logs_find import Attempt, ref_of
from .records import environment_of

_ATTEMPTS: Final = 10
_PAUSE_S: Final = 0.2
_STATUS: Final[dict[str, Literal["succeeded", "failed", "timed_out"]]] = {
    "success": "succeeded", "failed": "failed", "timeout": "timed_out",
}  # fmt: skip


async def run_command(context: Context, work: Work) -> Done:
    """Run `run` of the step over its tree. What it leaves in its folder is the step's output, whatever it printed."""
    durable = context.get(Durable)
    folder = workspace.folder_of(context, work)
    below = await durable.unit(functools.partial(workspace.below, context, work))
    tree = work.input_tree or work.base_tree or ""

    def lay() -> bool:
        there = workspace.marker_of(folder).exists()
        workspace.lay_out(workspace.scratch_of(context, work, below), tree, folder)
        return there

    was_there = await durable.unit(lay)
    company = _company(context, work, folder)
    if company is not None:
        seen = await _accompanied(context, work, folder, company)
        if isinstance(seen, Done):
            await durable.unit(functools.partial(workspace.remove, folder))
            return seen
        outcome, sink = seen
    else:
        outcome, sink = await _executed(context, work, folder)
    context.get(LocalFiles).note_log(work.call.actor.org_id, _log_of(work, sink))
    if outcome.recorded and outcome.status == "success" and not was_there:
        await durable.unit(functools.partial(workspace.remove, folder))
        return Done("failed", "lost", "what it made went with the process that ran it", tier=outcome.tier)
    output: str | None = None
    kept: tuple[outputs.Output, ...] = ()
    said: dict[str, Any] = {}
    if outcome.status == "success":
        said = await durable.unit(functools.partial(saying.taken, context, work, folder))
        kept = await durable.unit(functools.partial(outputs.gather, context, work, folder))
        apart = frozenset(found.path for found in kept)

        def read_back() -> str:
            scratch = workspace.scratch_of(context, work, below)
            made = workspace.written_back(scratch, tree, folder, apart=apart)
            scratch.give(made, work.base_tree or repositories.EMPTY_TREE.hex())
            return made

        output = await durable.unit(read_back)
    await durable.unit(functools.partial(workspace.remove, folder))
    return _done(outcome, output, kept, said)


def _company(context: Context, work: Work, folder: Path) -> Company | None:
    """The room that has a part in this command; none in that of a replay."""
    known, name = context.get(Companions), work.node.action
    return known.get(name).attend(context, work, folder) if name in known and not work.node.replay else None


async def _accompanied(
    context: Context, work: Work, folder: Path, company: Company
) -> tuple[compute.Outcome, Sink] | Done:
    """The command and what goes on beside it: how it ended, or what was said by whoever had seen enough of it."""
    durable = context.get(Durable)
    await durable.unit(company.begin)
    prefixed = replace(work, node=replace(work.node, run=f"{company.prefix}{work.node.run}"))
    executing = asyncio.ensure_future(_executed(context, prefixed, folder))
    beside = asyncio.ensure_future(company.beside())
    try:
        await asyncio.wait([executing, beside], return_when=asyncio.FIRST_COMPLETED)
        if executing.done():
            return executing.result()
        said: Mapping[str, Any] = beside.result()
        return Done(result=said)
    finally:
        for task in (executing, beside):
            task.cancel()
        # Whatever cuts this off, all of the command's processes have ended before its folder is looked at.
        await asyncio.shield(asyncio.ensure_future(_parted(company, executing, beside)))


async def _parted(company: Company, *tasks: "asyncio.Future[Any]") -> None:
    await asyncio.wait(tasks)
    await company.after()


async def _executed(context: Context, work: Work, folder: Path) -> tuple[compute.Outcome, Sink]:
    """How the command ended. Where the database goes away meanwhile, the command goes on and is found again."""
    durable, tried = context.get(Durable), 0
    while True:
        with await durable.unit(functools.partial(_sink, context, work)) as sink:
            try:
                outcome = await _traced(context, work, folder, sink)
                sink.missed(outcome.dropped)
                return outcome, sink
            except Problem as problem:
                _check_passing(problem, tried)
        tried += 1
        await asyncio.sleep(_PAUSE_S)
        await durable.assured()


async def _traced(context: Context, work: Work, folder: Path, sink: Sink) -> compute.Outcome:
    with spans.doing("command", work) as span:
        try:
            outcome = await compute.execute(context, _order(work, str(folder)), sink)
        except Problem as problem:
            spans.refused(span, problem)
            raise
        span.set("builderos.command.status", outcome.status)
        if outcome.reason is not None:
            span.fail(outcome.reason)
        return outcome


def _check_passing(problem: Problem, tried: int) -> None:
    """Raise what does not pass by itself."""
    if problem.code not in ("unavailable", "busy") or tried == _ATTEMPTS:
        raise problem


def _log_of(work: Work, sink: Sink) -> Attempt:
    ref = ref_of(work.run_id, work.name, work.attempt)
    return Attempt(work.run_id, work.step_id, work.name, work.attempt, ref, sink.path, ended=True)


def _order(work: Work, folder: str) -> compute.Order:
    node: Node = work.node
    return compute.Order(
        call=work.call, run_id=work.run_id, step_id=work.name, attempt=work.attempt, workspace=folder,
        script=saying.script_of(node.run or ""), runtime=node.runtime or "", profile=node.profile or "",
        network=node.network, secrets=tuple(compute.SecretAsked(name) for name in node.secrets),
        env=environment_of(work), timeout_s=work.timeout_s, credits=work.credits, repo_id=work.repo_id,
        branch=work.branch or None, logs_ref=f"logs/{work.run_id}/{work.name}.{work.attempt}.log",
    )  # fmt: skip


def _done(
    outcome: compute.Outcome, output: str | None, kept: tuple[outputs.Output, ...], said: dict[str, Any]
) -> Done:
    error = outcome.detail
    if outcome.reason == "exit":
        error = f"exit {outcome.exit_code}" + (f": {error}" if error else "")
    result = {"exit_code": outcome.exit_code} | ({saying.KEY: said} if said else {})
    return Done(
        _STATUS[outcome.status], outcome.reason, error, output_tree=output, exit_code=outcome.exit_code,
        usage=asdict(outcome.usage), tier=outcome.tier, sandbox_run_id=outcome.sandbox_run_id,
        policy_events=outcome.policy_events, result=result,
        artifacts=kept, retry=outcome.reason != "budget",
    )  # fmt: skip


def _sink(context: Context, work: Work) -> Sink:
    home = context.get(Settings).home_dir
    state = project_state(home, work.call.actor.org_id, work.project_id)
    path = state / "logs" / work.run_id / f"{work.name}.{work.attempt}.log"
    path.parent.mkdir(parents=True, exist_ok=True)

    redactor = perform(context, work.call, lambda unit: context.get(vault.Known).of(unit), durable=False)
    return Sink(path, redactor, again=path.exists())
