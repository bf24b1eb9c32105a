"""The action of a step that deploys: lay its tree out, build it, bring it up, switch to it.

The row of the deployment is its journal. Whoever takes the step over after a crash finds there how far it came, asks
the provider by the deployment's id, and goes on: nothing is served twice, and nothing is lost.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Final, Self, TypeVar

from builderos.assets.repositories.service import Scratch
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.steps import Done, Work
from builderos.core.unit import Unit, perform
from builderos.engine.durable import Durable
from builderos.execution.compute import service as compute
from builderos.execution.runs import service as runs
from builderos.trust.policy.service import approvals
from builderos.trust.vault import service as vault

from . import releasing, rows
from .care import Care
from .manifest import Manifest
from .opening import ACTIONS, Opened, open_row
from .ports import Deployer, LogSink, Standing
from .schema import Environment

T = TypeVar("T")
_FIRST_LOOK_S: Final = 0.05
_LOOK_S: Final = 0.5


async def deploy(env: Environment, context: Context, work: Work) -> Done:
    """Deploy the tree of a step into an environment. Raises `approval_required`, which parks the step."""
    carrying = _Carrying(env, context, work)
    try:
        return await carrying.carry()
    except asyncio.CancelledError:
        if context.get(Durable).here:  # else whoever takes over goes on
            await asyncio.shield(
                asyncio.ensure_future(carrying.call_off("stopped", "it was stopped on the way"))
            )
        raise
    except Problem as problem:
        if problem.code not in ("unavailable", "busy"):
            await carrying.call_off("problem", problem.detail)
        raise


class _Carrying:
    """One attempt."""

    def __init__(self, env: Environment, context: Context, work: Work) -> None:
        self._env: Environment = env
        self._context = context
        self._work = work
        self._care = context.get(Care)
        self._row: rows.Row | None = None

    async def carry(self) -> Done:
        """From the row to the switch."""
        opened: Opened = await self._unit(lambda unit: open_row(unit, self._work, self._env))
        row = self._row = opened.row
        if row is None:
            raise self._waits(opened.approval)
        if row.status not in rows.UNDER_WAY:
            return _done(row)
        provider = self._care.provider(row.provider)
        if row.built_tree is None:
            await self._unit(lambda unit: rows.change(unit, row.id, status="building"))
            failed = await self._build(row)
            if failed is not None:
                await self._unit(lambda unit: rows.fail(unit, row.id, "build", failed.error))
                return failed
        release = await self._in_thread(
            functools.partial(releasing.release_of, self._context, self._work.call, row.id)
        )
        await self._in_thread(functools.partial(provider.deploy, release))
        standing = await self._came_up(provider, row.id)
        if standing.stage == "failed":
            await self._in_thread(functools.partial(provider.stop, row.id))
            await self._unit(lambda unit: rows.fail(unit, row.id, "unhealthy", standing.detail))
            return Done("failed", "problem", standing.detail, result={"deployment_id": row.id})
        live = await self._in_thread(functools.partial(self._care.switch_to, self._work.call, row))
        return _done(live)

    async def call_off(self, reason: str, detail: str) -> None:
        """Leave nothing of what was begun; what is live stays."""
        row = self._row
        if row is None:
            return
        provider = self._care.provider(row.provider)

        def called_off(unit: Unit) -> bool:
            rows.fail(unit, row.id, reason, detail)
            return rows.find(unit, row.id).status == "failed"

        if await self._unit(called_off):
            await self._in_thread(functools.partial(provider.stop, row.id))

    async def _came_up(self, provider: Deployer, ref: str) -> Standing:
        pause = _FIRST_LOOK_S
        while True:
            standing = await self._in_thread(functools.partial(provider.status, ref))
            if standing.stage != "building":
                return standing
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LOOK_S)

    # ---------------------------------------------------------------- the build

    async def _build(self, row: rows.Row) -> Done | None:
        """Work out the tree that is served; how it failed, where it did."""
        manifest = Manifest.from_json(row.manifest)
        if not manifest.build:
            await self._built(row, row.tree)
            return None
        work, context = self._work, self._context
        folder = runs.workspace.folder_of(context, work)
        below = await self._in_thread(functools.partial(runs.workspace.below, context, work))

        def scratch() -> Scratch:
            return runs.workspace.scratch_of(context, work, below)

        await self._in_thread(lambda: runs.workspace.lay_out(scratch(), row.tree, folder))
        with await self._in_thread(lambda: _Both(context, work, row)) as sink:
            outcome = await compute.execute(context, self._order(manifest, str(folder)), sink)
        if outcome.status != "success" or outcome.recorded:
            await self._in_thread(functools.partial(runs.workspace.remove, folder))
            lost = outcome.status == "success"
            error = outcome.detail or f"the build ended with exit code {outcome.exit_code}"
            return Done("failed", "lost" if lost else outcome.reason or "exit", error, exit_code=outcome.exit_code,
                        result={"deployment_id": row.id})  # fmt: skip

        def read_back() -> str:
            trees = scratch()
            made = runs.workspace.written_back(trees, row.tree, folder)
            trees.give(made, row.tree)
            return made

        await self._built(row, await self._in_thread(read_back))
        await self._in_thread(functools.partial(runs.workspace.remove, folder))
        return None

    async def _built(self, row: rows.Row, tree: str) -> None:
        await self._unit(lambda unit: rows.change(unit, row.id, built_tree=tree))

    def _order(self, manifest: Manifest, folder: str) -> compute.Order:
        work = self._work
        return compute.Order(
            call=work.call, run_id=work.run_id, step_id=work.name, attempt=work.attempt, workspace=folder,
            script=manifest.build, network=manifest.network, env=dict(manifest.env), timeout_s=work.timeout_s,
            repo_id=work.repo_id, branch=work.branch or None, environment=self._env,
            logs_ref=f"logs/{work.run_id}/{work.name}.{work.attempt}.log",
        )  # fmt: skip

    # ---------------------------------------------------------------- inside

    def _waits(self, approval: str) -> Problem:
        return Problem(
            "approval_required", f"{ACTIONS[self._env]} waits for an approval of exactly this tree",
            hint="An owner, an admin or a reviewer approves it; then it is deployed.", approval_id=approval,
            policy_rule="prod-needs-approval", link=approvals.link_to(self._context.get(Settings), approval),
        )  # fmt: skip

    async def _unit(self, verb: Callable[[Unit], T]) -> T:
        return await self._in_thread(lambda: perform(self._context, self._work.call, verb))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await self._context.get(Durable).unit(work)


class _Both:
    """What a build prints goes to the log of its step and to that of its deployment."""

    def __init__(self, context: Context, work: Work, row: rows.Row) -> None:
        def open_(unit: Unit) -> tuple[Any, Any]:
            redactor, state = unit.get(vault.Known).of(unit), rows.state_of(unit, row)
            step = state / "logs" / work.run_id / f"{work.name}.{work.attempt}.log"
            step.parent.mkdir(parents=True, exist_ok=True)
            again = step.exists()
            return runs.Sink(step, redactor, again=again), runs.Sink(
                state / row.logs_ref, redactor, again=again
            )

        self._sinks: tuple[LogSink, LogSink] = perform(context, work.call, open_, durable=False)

    def write(self, data: bytes) -> None:
        """See `LogSink`."""
        for sink in self._sinks:
            sink.write(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sink in self._sinks:
            sink.close()


def _done(row: rows.Row) -> Done:
    """What a step is told of its deployment."""
    result: dict[str, Any] = {
        "deployment_id": row.id, "env": row.env, "url": row.url, "status": row.status,
        "tree": row.built_tree or row.tree,
    }  # fmt: skip
    if row.env == "preview" and row.url:
        result["preview_url"] = row.url
    if row.live_at is None:
        return Done("failed", "problem", f"it is {row.status}: {row.detail}"[:500], result=result)
    return Done(result=result, policy_events=tuple(row.policy_events))
