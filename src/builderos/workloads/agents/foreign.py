"""A coding agent that is not ours in place of a model loop: a command in the jail, over the step's workspace.

Its session is not taken up again after an interruption: it begins anew, on the files that the step was given. Nothing
outside of its workspace has happened by then, and what it left in there was not taken yet.
"""

import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from builderos.assets.repositories import service as repositories
from builderos.core.problems import Problem
from builderos.core.steps import Work
from builderos.core.unit import Unit, perform
from builderos.engine.durable import Durable
from builderos.execution.compute import service as compute
from builderos.execution.runs import service as runs
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource
from builderos.trust.secrets.service import Redactor
from builderos.trust.vault import service as vault

from . import foreign_tools, journal, program
from .calls import Calls, Parked
from .conversation import Conversation
from .gate import call_of
from .journal import Entry, Status
from .limits import Meter, Reached
from .line import Line
from .shell import Output, forbidden, reach
from .tools import At

_SHOWN: Final = 20_000
_MANY: Final = 1 << 30


class ForeignCalls(Calls):
    """The calls of a session whose agent is a stranger. Numbers go on behind those of before it was cut off."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        before = list(self._known.values())
        self._n = max((entry.n for entry in before), default=0)
        # It may well run the same tests ten times: what is the same to us is not to its files.
        self.meter = Meter(replace(self.agent.limits, repeats=_MANY))
        self.meter.model_calls = self.turns = sum(entry.kind == "model" for entry in before)
        self.meter.tool_calls = len(before) - self.turns
        self.model = f"acp:{self.agent.harness[0]}"

    @property
    def cut_off(self) -> list[int]:
        """Numbers of the prompts that nobody saw the end of."""
        return [entry.n for entry in self._known.values() if entry.kind == "model" and not entry.is_over]

    async def use(self, name: str, args: Mapping[str, Any]) -> tuple[bool, str]:
        """Whether it was allowed and done, and what it says. Raises `Parked`, `Reached`."""
        text = await self.use_tool(name, args)
        return "code" not in self.facts, text

    def place(self, n: int) -> At:
        """Where the agent works that call `n` prompts."""
        return self._place(n)

    async def begin(self, text: str) -> Entry:
        """Write down that the agent is prompted, with what people have said meanwhile."""
        self._n += 1
        self.turns += 1
        return await self._unit(functools.partial(self._begin, self._n, text), self.model)

    def _begin(self, n: int, text: str, unit: Unit) -> Entry:
        for entry in self._known.values():
            if not entry.is_over:
                cut = {"text": "It was cut off, and begun anew.", "code": "cut_off"}
                journal.change(unit, self.session, replace(entry, status="failed", response=cut))
        found = journal.standing(unit, self.session)
        if found.interrupted_by is not None:
            self._look_up(unit, n)
        self.meter.check((found.tokens, found.cost))
        heard = [said for entry in self._known.values() for said in entry.request.get("heard", ())]
        heard += journal.hear(unit, self.session, n)
        request = {"prompt": vault.clean_text(unit, text)[:_SHOWN], "heard": heard}
        entry = Entry(n, "model", self.model, journal.digest_of(self.model, request), request, "begun")
        journal.note(unit, self.session, entry)
        return entry

    async def finish(self, entry: Entry, talk: Conversation | None, error: str, tree: str | None) -> None:
        """Write down what came of a prompt. Tokens are the agent's own word."""
        said = {"text": ""} if talk is None else talk.record()
        used = {"input_tokens": 0, "output_tokens": 0, "cost": 0.0}
        for name, key in (("input_tokens", "inputTokens"), ("output_tokens", "outputTokens")):
            told = talk.usage.get(key) if talk is not None else None
            used[name] = told if isinstance(told, int) and 0 <= told < _MANY else 0
        self.meter.model_calls += 1
        self.meter.input_tokens += int(used["input_tokens"])
        self.meter.output_tokens += int(used["output_tokens"])
        status: Status = "failed" if error else "done"
        response = journal.storable(said | ({"error": error} if error else {}))

        def write(unit: Unit) -> None:
            clean = cast("Mapping[str, Any]", vault.clean(unit, response))
            journal.change(
                unit, self.session, replace(entry, status=status, response=clean, tree=tree, usage=used)
            )

        await self._unit(write, self.model)


async def work(calls: ForeignCalls, text: str) -> str:
    """The agent's answer; what it left is `calls.tree`. Raises `Reached`, `Parked`, `Problem`."""
    first = runs.workspace.folder_of(calls.context, calls.work)
    calls.tools = {**calls.tools, **foreign_tools.tools_in(first)}
    agent = calls.agent
    asked = {"command": list(agent.harness), "network": list(calls.work.node.network)}
    if agent.harness_secrets or agent.harness_env:
        asked |= {"secrets": list(agent.harness_secrets), "env": dict(agent.harness_env)}
    allowed, said = await calls.use(foreign_tools.START, asked)
    if not allowed:
        raise Problem("policy_denied", f"{agent.harness[0]} may not be started: {said}", hint="Ask an admin.")
    entry = await calls.begin(text)
    heard = "".join(f"\n\nSaid meanwhile: {message}" for message in entry.request["heard"])
    at = calls.place(entry.n)
    job = _job(calls, entry.n)
    folder = runs.workspace.folder_of(calls.context, job)
    calls.tools = {**calls.tools, **foreign_tools.tools_in(folder)}
    durable, talks = calls.context.get(Durable), list[Conversation]()
    await durable.unit(functools.partial(_lay_out, calls, at, folder))
    try:
        answer = await _talked(calls, at, job, folder, text + heard, talks)
        calls.tree = await durable.unit(functools.partial(_taken, at, folder))
    except (Reached, Parked, Problem) as error:
        await calls.finish(entry, talks[0] if talks else None, str(error) or type(error).__name__, None)
        raise
    finally:
        await durable.unit(functools.partial(runs.workspace.remove, folder))
    await calls.finish(entry, talks[0], "", calls.tree)
    return answer


def _job(calls: ForeignCalls, n: int) -> Work:
    """What prompt `n` goes by in the jail, and its folder."""
    return replace(calls.work, name=f"{calls.work.name}-{calls.place(n).number}")


def _lay_out(calls: ForeignCalls, at: At, folder: Path) -> None:
    """A fresh folder; those of before went with the server that had them."""
    for n in calls.cut_off:
        runs.workspace.remove(runs.workspace.folder_of(calls.context, _job(calls, n)))
    runs.workspace.lay_out(at.files.scratch, at.files.tree, folder)


async def _talked(
    calls: ForeignCalls, at: At, job: Work, folder: Path, text: str, talks: list[Conversation]
) -> str:
    """Start the command, prompt it, end it: behind this nothing of it runs any more."""
    hosts, redactor = await calls.context.get(Durable).unit(functools.partial(_reach, at))
    order, output = _order(calls, job, folder, hosts), Output(redactor)
    try:
        async with program.spoken_with(calls.context, order, output) as streams:
            agent = calls.agent
            line = Line(*streams, agent.limits.mistakes)
            talks.append(Conversation(line, calls.use, calls.refuse, agent.harness_login))
            return await talks[0].prompt(text)
    finally:
        calls.say(output.text())


def _reach(at: At) -> tuple[tuple[str, ...], Redactor]:
    """Hosts that it may reach; before that whether the agent may have its secrets. Whoever started the run is asked by
    the jail itself, which alone is given the values. Raises `policy_denied`. Blocks."""
    call = call_of(at.context, at.work, at.agent, foreign_tools.START)

    def ask(unit: Unit) -> None:
        where = policy.org_resource(unit)
        if at.work.repo_id is not None:
            where = Resource(
                kind="repo", id=at.work.repo_id, org_id=unit.org_id, repo_id=at.work.repo_id,
                project=at.work.repo_name or None, branch=at.work.branch or None,
            )  # fmt: skip
        for name in at.agent.harness_secrets:
            decision = policy.may_use_secret(unit, name, where)
            if decision.verdict != "allow":
                raise policy.Refused(decision, "secret.use", where)

    if at.agent.harness_secrets:
        perform(at.context, call, ask, read_only=True)
    return reach(at)


def _order(calls: ForeignCalls, job: Work, folder: Path, hosts: tuple[str, ...]) -> compute.Order:
    work, node = calls.work, calls.work.node
    return compute.Order(
        call=work.call, run_id=work.run_id, step_id=job.name, attempt=work.attempt, workspace=str(folder),
        argv=program.started(calls.agent.harness), runtime=node.runtime or "",
        profile=node.profile or "", network=hosts,
        env=dict(runs.FIXED) | dict(calls.agent.harness_env),
        secrets=tuple(compute.SecretAsked(name) for name in calls.agent.harness_secrets),
        timeout_s=max(1.0, min(calls.agent.limits.seconds, work.timeout_s)), repo_id=work.repo_id,
        branch=work.branch or None, logs_ref=f"logs/{work.run_id}/{work.name}.{work.attempt}.log", serves=program.PORT,
    )  # fmt: skip


def _taken(at: At, folder: Path) -> str:
    """What the agent left, as a tree. Raises `policy_denied` where it changed what it may not change."""
    scratch, before = at.files.scratch, at.files.tree
    tree = runs.workspace.written_back(scratch, before, folder)
    if bad := sorted(forbidden(at, before, tree)):
        raise Problem(
            "policy_denied", f"{at.agent.name} changed what it may not change: {', '.join(bad[:20])}"[:1_000],
            hint="Nothing of its work was taken.", policy_rule=f"agent:{at.agent.name}",
        )  # fmt: skip
    scratch.give(tree, at.work.base_tree or repositories.EMPTY_TREE.hex())
    return tree
