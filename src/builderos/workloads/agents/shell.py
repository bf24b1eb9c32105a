"""Commands of an agent, in the jail, over its workspace: laid out from its tree, and read back as the next one."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Final

from builderos.assets.repositories import service as repositories
from builderos.core.problems import Problem
from builderos.core.steps import Work
from builderos.core.unit import Unit, perform
from builderos.engine.durable import Durable
from builderos.execution.compute import service as compute
from builderos.execution.runs import service as runs
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource
from builderos.trust.secrets.service import Cleaner, Redactor
from builderos.trust.vault import service as vault

from .gate import call_of, may_change, resource_of
from .tools import At, Result, Tool, form, number, text

HEAD: Final = 8_000
TAIL: Final = 16_000
TIMEOUT_S: Final = 300
_LOST_AT_MOST: Final = 5
_TESTS: Final = """
if [ -f ship/test.sh ]; then exec sh ship/test.sh; fi
if [ -f Makefile ] && grep -q '^test:' Makefile; then exec make test; fi
exec python3 -m unittest discover -v
"""


class Output:
    """The beginning and the end of what a command prints, without secrets. Each execution tells it from its start."""

    def __init__(self, redactor: Redactor) -> None:
        self._cleaner = Cleaner(redactor)
        self._head = b""
        self._tail = b""
        self._dropped = 0

    def write(self, data: bytes) -> None:
        """More of it."""
        self._take(self._cleaner.feed(data))

    def text(self) -> str:
        """What is kept of it. Call it once."""
        self._take(self._cleaner.end())
        between = f"\n[{self._dropped} bytes are left out]\n".encode() if self._dropped else b""
        return (self._head + between + self._tail).decode("utf-8", "replace")

    def _take(self, clean: bytes) -> None:
        room = HEAD - len(self._head)
        self._head += clean[:room]
        self._tail += clean[room:] if room < len(clean) else b""
        over = len(self._tail) - TAIL
        if over > 0:
            self._dropped += over
            self._tail = self._tail[over:]


async def run_shell(at: At, args: Mapping[str, Any]) -> Result:
    """Run a command of the model. Its exit code is data; the workspace is what it leaves."""
    timeout_s = float(args.get("timeout_s") or TIMEOUT_S)
    return await _run(at, str(args["command"]), timeout_s)


async def run_tests(at: At, args: Mapping[str, Any]) -> Result:
    """Run the tests of the workspace: the step's own command, or what the workspace says."""
    own = at.work.node.inputs.get("tests")
    script = str(own) if isinstance(own, str) and own.strip() else _TESTS
    result = await _run(at, script, float(args.get("timeout_s") or 2 * TIMEOUT_S))
    verdict = "The tests pass." if result.facts["exit_code"] == 0 else "The tests fail."
    facts = {**result.facts, "tests": result.facts["exit_code"]}
    return Result(f"{verdict}\n{result.text}", result.tree, facts)


async def _run(at: At, script: str, timeout_s: float) -> Result:
    durable = at.context.get(Durable)
    for attempt in range(1, _LOST_AT_MOST + 1):
        work = dataclasses.replace(at.work, name=f"{at.work.name}-{at.number}", attempt=attempt)
        folder = runs.workspace.folder_of(at.context, work)
        was_there = await durable.unit(functools.partial(_lay_out, at, work))
        hosts, redactor = await durable.unit(functools.partial(reach, at))
        output = Output(redactor)
        outcome = await compute.execute(
            at.context, _order(at, work, str(folder), script, timeout_s, hosts), output
        )
        if outcome.reason == "lost" or (outcome.recorded and not was_there):
            await durable.unit(functools.partial(runs.workspace.remove, folder))
            continue  # what it made went with the process that ran it: the same once more
        return await durable.unit(functools.partial(_told, at, work, outcome, output))
    raise Problem("internal", "the command was lost again and again", hint="Look at the server's log.")


def _lay_out(at: At, work: Work) -> bool:
    """Whether the folder was there: then a command of before may have worked in it."""
    folder = runs.workspace.folder_of(at.context, work)
    there = runs.workspace.marker_of(folder).exists()
    runs.workspace.lay_out(at.files.scratch, at.files.tree, folder)
    return there


def reach(at: At) -> tuple[tuple[str, ...], Redactor]:
    """The hosts that the step names and that the agent may reach; who started the run is asked by the jail itself."""
    call = call_of(at.context, at.work, at.agent, "run_shell")
    where = Resource(
        kind="repo", id=at.work.repo_id or "", org_id=call.actor.org_id, repo_id=at.work.repo_id,
        project=at.work.repo_name or None, branch=at.work.branch or None,
    )  # fmt: skip
    return perform(
        at.context, call,
        lambda unit: (
            tuple(
                host for host in at.work.node.network
                if at.work.repo_id is not None and policy.may_reach(unit, host, where).verdict == "allow"
            ),
            at.context.get(vault.Known).of(unit),
        ),
        durable=False,
    )  # fmt: skip


def _order(
    at: At, work: Work, folder: str, script: str, timeout_s: float, hosts: tuple[str, ...]
) -> compute.Order:
    node = at.work.node
    return compute.Order(
        call=at.work.call, run_id=work.run_id, step_id=work.name, attempt=work.attempt, workspace=folder, script=script,
        runtime=node.runtime or "", profile=node.profile or "", network=hosts, env=dict(runs.FIXED),
        timeout_s=max(1.0, min(timeout_s, at.work.timeout_s)), repo_id=work.repo_id, branch=work.branch or None,
        logs_ref=f"logs/{at.work.run_id}/{at.work.name}.{at.work.attempt}.log",
    )  # fmt: skip


def _told(at: At, work: Work, outcome: compute.Outcome, output: Output) -> Result:
    folder = runs.workspace.folder_of(at.context, work)
    scratch, before = at.files.scratch, at.files.tree
    tree = runs.workspace.written_back(scratch, before, folder)
    tree, kept = _without_rules(at, before, tree)
    scratch.give(tree, at.work.base_tree or repositories.EMPTY_TREE.hex())
    runs.workspace.remove(folder)
    code = outcome.exit_code if outcome.reason in (None, "exit") else None
    ending = f"exit code {code}" if code is not None else f"ended by {outcome.reason}: {outcome.detail}"
    note = (
        f"\n[left as they were, because they may not be changed here: {', '.join(kept[:20])}]" if kept else ""
    )
    facts = {
        "exit_code": code, "reason": outcome.reason, "sandbox_run_id": outcome.sandbox_run_id, "tier": outcome.tier,
        "changed": len(scratch.changes(before, tree)) if tree != before else 0,
    }  # fmt: skip
    return Result(f"[{ending}]\n{output.text()}{note}", tree if tree != before else None, facts)


def _without_rules(at: At, before: str, tree: str) -> tuple[str, list[str]]:
    """What a command may not change is as it was: what it changes is known only behind it."""
    back = forbidden(at, before, tree)
    return (at.files.scratch.edit(tree, back) if back else tree), sorted(back)


def forbidden(at: At, before: str, tree: str) -> dict[str, repositories.Edit | None]:
    """Changes that the agent may not make, by path: with what was there before."""
    changes = at.files.scratch.changes(before, tree) if tree != before else {}
    denied = _denied(at, sorted(changes))
    back: dict[str, repositories.Edit | None] = {}
    for path, (was, now) in changes.items():
        link = now is not None and now.mode == repositories.LINK  # branches take plain files alone
        asks = runs.any_fits(
            at.agent.policy.ask_paths, [path]
        )  # nobody can say yes to a change that is made already
        if link or asks or path in denied or not may_change(at.agent, path):
            back[path] = repositories.Edit(was.oid, was.mode) if was is not None else None
    return back


def _denied(at: At, paths: list[str]) -> set[str]:
    """Paths that the organisation's policy does not let the agent change."""
    call = call_of(at.context, at.work, at.agent, "run_shell")

    def ask(unit: Unit) -> set[str]:
        resource, found = resource_of(unit, at.work), set[str]()
        try:
            policy.require_paths(unit, "tool.use", resource, paths)
        except policy.Refused:
            for path in paths:
                try:
                    policy.require_paths(unit, "tool.use", resource, [path])
                except policy.Refused:
                    found.add(path)
        return found

    return perform(at.context, call, ask, read_only=True)


_SECONDS: Final = number("Seconds after which it is ended.", 1, 3_600)
SHELL: Final = (
    Tool(
        "run_shell",
        "Run a command with sh at the top of the workspace, without network unless the step has some.",
        form("command", command=text("The command.", 65_536), timeout_s=_SECONDS),
        "outside", outside=run_shell,
    ),
    Tool("run_tests", "Run the tests of the workspace.", form(timeout_s=_SECONDS), "outside", outside=run_tests),
)  # fmt: skip
