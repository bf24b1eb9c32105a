"""Verbs around agents: look at them, give one a task, look at what it does, steer it."""

import json
from dataclasses import asdict
from typing import Any, Final

import sqlalchemy as sa
import yaml

from builderos.assets.repositories.schema import Branch
from builderos.assets.workspaces import service as workspaces
from builderos.core.operations import Reply
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.steps import Actions
from builderos.core.unit import Unit
from builderos.engine import signals
from builderos.execution.runs import service as runs
from builderos.execution.runs.schema import RunStarted
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.vault import service as vault

from . import journal, packs
from .definition import Agent
from .model import calls
from .schema import (
    AgentFile,
    AgentIn,
    AgentList,
    AgentListIn,
    AgentOut,
    AgentRunIn,
    CallList,
    CallListIn,
    CallOut,
    InterruptIn,
    TellIn,
    Told,
)
from .telling import model_of

MAX_TEXT: Final = 20_000
_END: Final = ".yaml"
_EXPRESSION: Final = "${{"


def listed(unit: Unit, body: AgentListIn) -> AgentList:
    """Agents by name: those that ship, and those of a branch, which win."""
    branch = _branch(unit, body)
    names = set(packs.shipped_names())
    if branch is not None:
        files = workspaces.tip_of(unit, branch).list(packs.FOLDER)
        names |= {name.removesuffix(_END) for name in files if name.endswith(_END)}
    items: list[AgentOut] = []
    for name in sorted(names):
        try:
            agent, source, _ = packs.find(unit, name, branch)
        except Problem as problem:  # one broken file does not hide the others
            items.append(_broken(name, str(problem.detail)))
            continue
        items.append(AgentOut.model_validate(_shown(agent, source)))
    return AgentList(items=items)


def show(unit: Unit, body: AgentIn) -> AgentFile:
    """One agent with its file. Raises `not_found`, `validation_failed`."""
    branch = _branch(unit, body)
    agent, source, content = packs.find(unit, body.name, branch)
    return AgentFile.model_validate(_shown(agent, source) | {"content": content})


def _branch(unit: Unit, body: AgentListIn | AgentIn) -> Branch | None:
    """The branch that is asked about, after asking the policy; None where none is."""
    if body.branch is None and body.repo_name is None and unit.actor.branch is None:
        policy.require(unit, "tools.list", policy.org_resource(unit))
        return None
    return workspaces.locate(unit, body, "files.read").branch


def _shown(agent: Agent, source: str) -> dict[str, Any]:
    return {
        "id": f"agt_{agent.name}", "name": agent.name, "version": agent.version, "role": agent.role,
        "description": agent.description, "prompt_ref": agent.prompt_ref, "model": agent.model,
        "toolset": list(agent.toolset), "memory_profile": asdict(agent.memory_profile),
        "policy": asdict(agent.policy), "limits": asdict(agent.limits),
        "output": dict(agent.output) if agent.output is not None else None, "source": source,
    }  # fmt: skip


def _broken(name: str, why: str) -> AgentOut:
    return AgentOut(
        id=f"agt_{name}", name=name, version="", role="", description=why, prompt_ref="", model="", toolset=[],
        memory_profile={}, policy={}, limits={}, output=None, source=packs.file_of(name),
    )  # fmt: skip


def run(unit: Unit, body: AgentRunIn) -> Reply[RunStarted]:
    """Give an agent a task on a branch: a run of one agent, and a commit. Raises what starting a run raises."""
    place = workspaces.locate(unit, body, "run.start")
    agent, _, _ = packs.find(unit, body.name, place.branch)
    definition = runs.parse(_pipeline(unit, body), name="agent", actions=sorted(unit.get(Actions)))
    trigger = {"type": "manual", "by": unit.actor.id}
    run_id = runs.begin(unit, definition, {"goal": vault.clean_text(unit, body.goal)}, place.branch, trigger)
    said = f"{agent.role} works as {run_id} on branch {place.branch.name} of {place.branch.repo_name}."
    return Reply(202, RunStarted(run_id=run_id, status="queued", message=said))


def _pipeline(unit: Unit, body: AgentRunIn) -> str:
    """One step of one agent, and a commit."""
    inputs: dict[str, Any] = vault.clean(unit, dict(body.inputs))
    if body.tests is not None:
        inputs["tests"] = body.tests
    if _EXPRESSION in json.dumps(inputs, ensure_ascii=False):
        raise Problem("validation_failed", "inputs cannot hold expressions", hint=f"Leave out {_EXPRESSION}.")
    work: dict[str, Any] = {"id": "work", "agent": body.name, "action": "work", "inputs": inputs}
    if body.tests is not None:
        work["gates"] = ["tests_pass"]
    save = {
        "id": "save",
        "needs": ["work"],
        "action": "git.commit",
        "inputs": {"message": "${{ params.goal }}"},
    }
    goal = {"type": "string", "required": True, "max": 20_000}
    made = {
        "name": "agent", "description": f"One task of {body.name}.", "params": {"goal": goal},
        "steps": [work, save] if body.commit else [work],
    }  # fmt: skip
    return yaml.safe_dump(made, sort_keys=False, allow_unicode=True)


# -------------------------------------------------------------------- what an agent does


def calls_of(unit: Unit, body: CallListIn) -> CallList:
    """What models and tools did in a step, oldest first. Raises `not_found`."""
    _, step = runs.seen_step(unit, body.id)
    key = list_key("agent_calls", step=step.id)
    last = decode_cursor(key, body.cursor, 2)
    c = calls.c
    wanted = sa.select(calls).where(c.org_id == unit.org_id, c.step_id == step.id)
    if last is not None:
        wanted = wanted.where(sa.tuple_(c.session, c.n) > sa.tuple_(int(str(last[0])), int(str(last[1]))))
    rows = unit.execute(wanted.order_by(c.session, c.n).limit(body.limit + 1)).all()
    items = [_call(row) for row in rows[: body.limit]]
    more = len(rows) > body.limit
    cursor = encode_cursor(key, [items[-1].session, items[-1].n]) if more else None
    return CallList(items=items, next_cursor=cursor)


def _call(row: Any) -> CallOut:
    reply: dict[str, Any] = row.response or {}
    text, asked = str(reply.get("text") or ""), list[str]()
    if row.kind == "model" and reply.get("choices"):
        message: dict[str, Any] = reply["choices"][0].get("message") or {}
        text = str(message.get("content") or "")
        functions: list[dict[str, Any]] = [
            one.get("function") or {} for one in message.get("tool_calls") or ()
        ]
        asked = [str(function.get("name")) for function in functions]
    return CallOut(
        session=row.session, n=row.n, kind=row.kind, name=model_of(reply) or row.name, status=row.status,
        request=row.request, text=text[:MAX_TEXT], asked=asked, label=str(reply.get("label") or ""), usage=row.usage,
        decision=row.decision, begun_at=row.begun_at, ended_at=row.ended_at,
    )  # fmt: skip


# -------------------------------------------------------------------- steering


def tell(unit: Unit, body: TellIn) -> Told:
    """Say something to a working agent. Raises `not_found`, `illegal_transition`."""
    run_, step, rules = _working(unit, body.id)
    journal.say(unit, step.id, run_.id, body.text)
    _record(unit, "agent.told", run_, step, rules)
    return Told(step_id=step.id, run_id=run_.id, message="The agent hears it before its next turn.")


def interrupt(unit: Unit, body: InterruptIn) -> Told:
    """Have a working agent stop and ask. Raises `not_found`, `illegal_transition`."""
    run_, step, rules = _working(unit, body.id)
    if not journal.interrupt(unit, step.id):
        raise _not_working(step)
    signals.tell(unit, runs.INTERRUPT, f"{run_.id}.{step.name}.")
    _record(unit, "agent.interrupted", run_, step, rules)
    return Told(
        step_id=step.id, run_id=run_.id, message="The agent stops, and asks what it is to do: answer the run."
    )


def _working(unit: Unit, step_id: str) -> tuple[Any, Any, tuple[str, ...]]:
    run_, step = runs.seen_step(unit, step_id)
    decision = runs.require(unit, "run.answer", run_)
    has_agents = step.agent_id is not None or journal.newest(unit, step.id) is not None
    if not has_agents or step.ended_at is not None:
        raise _not_working(step)
    return run_, step, decision.rules


def _not_working(step: Any) -> Problem:
    return Problem(
        "illegal_transition", f"no agent works in {step.name} now", hint="Look at the run.", allowed=[]
    )


def _record(unit: Unit, type_: str, run_: Any, step: Any, rules: tuple[str, ...]) -> None:
    payload = {"run_id": run_.id, "step": step.name, "agent": step.agent_id}
    if run_.repo_name:
        payload |= {"repo": run_.repo_name, "branch": run_.branch}
    ledger.record(unit, type_, step.id, payload, rules=rules)
