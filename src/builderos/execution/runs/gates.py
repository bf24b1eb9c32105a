"""What must hold before a step counts as succeeded, and people who are asked.

A step that waits is a row: `waiting` says for whom. An approval's own row decides; what is approved is bound to the
digest of exactly what was shown.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from builderos.assets.workspaces import service as workspaces
from builderos.core.clock import rfc3339
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.steps import Done, GateResult, Gates, Work
from builderos.core.steps import Question as Ask
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy
from builderos.trust.policy.service import Approval, approvals

from . import outputs
from .course import Course
from .definition import Approval as Asked
from .definition import Gate, Node, Question, node_of
from .model import runs, steps
from .rows import Row, find_run, find_step
from .trees import base_of, scratch_of
from .wanting import filled

ACTION: Final = "run.approve"
HUMAN: Final = ("approval", "question")
_REPORT: Final = re.compile(rb"<testsuite\b((?:[^>\"']|\"[^\"]*\"|'[^']*')*)>")
_NUMBER: Final = re.compile(rb"\b(tests|failures|errors)=[\"'](\d{1,9})[\"']")
_MAX_REPORT: Final = 32 * 1024 * 1024


def builtin(gates: Gates) -> None:
    """Enrol the gates that this room can check itself."""
    gates.enrol("tests_pass", tests_pass)


# ---------------------------------------------------------------- automatic


def passed(unit: Unit, work: Work, done: Done) -> Done:
    """The outcome of a step that succeeded, as its automatic gates see it."""
    known = unit.get(Gates)
    for gate in work.node.gates:
        if gate.kind in HUMAN:
            continue
        if gate.kind not in known:
            return Done("failed", "gate", f"nobody here can check the gate {gate.kind}", retry=False)
        verdict = known.get(gate.kind)(unit, work, done, gate)
        if verdict.verdict != "pass":
            why = verdict.why or f"the gate {gate.kind} did not pass"
            return Done("failed", "gate", why, result=done.result, exit_code=done.exit_code, usage=done.usage)
    return done


def tests_pass(unit: Unit, work: Work, done: Done, _gate: Any) -> GateResult:
    """The command ended with 0, and the JUnit reports that this step left among its outputs count tests and no failure.

    A step whose `outputs` name XML files must leave one. What lay there before the step, and what is no output, is
    no report of it.
    """
    if done.exit_code not in (0, None):
        return GateResult("fail", f"the tests ended with exit code {done.exit_code}")
    counts = {"tests": 0, "failures": 0, "errors": 0}
    reports = _reports(unit, work, done)
    for path, content in reports:
        if len(content) > _MAX_REPORT:
            return GateResult("fail", f"{path} is too large for a test report ({len(content)} bytes)")
        for attributes in _REPORT.findall(content):
            for name, number in _NUMBER.findall(attributes):
                counts[name.decode()] += int(number)
    bad = counts["failures"] + counts["errors"]
    if bad:
        return GateResult("fail", f"{bad} of {counts['tests']} tests failed")
    if not counts["tests"] and any(pattern.endswith(".xml") for pattern in work.node.outputs):
        return GateResult("fail", "no test report was left")
    return GateResult("pass")


def _reports(unit: Unit, work: Work, done: Done) -> list[tuple[str, bytes]]:
    """The XML files among the outputs that the step made or changed."""
    patterns = tuple(work.node.outputs)
    before = work.input_tree or work.base_tree
    if done.output_tree is None or not patterns or done.output_tree == before:
        return []
    scratch = scratch_of(unit, find_run(unit, work.run_id))
    found: list[tuple[str, bytes]] = []
    for file in scratch.files(done.output_tree):
        if not file.path.lower().endswith(".xml") or not outputs.named(file.path, patterns):
            continue
        was = scratch.entry(before, file.path) if before else None
        if was is None or was.oid != file.oid:
            found.append((file.path, scratch.read(file.oid)))
    return found


# ---------------------------------------------------------------- people


def ask(unit: Unit, course: Course, step: Row, node: Node, tree: str) -> None:
    """A step that is nothing but a question or an approval: ask, and park it."""
    course.begin(step, input_tree=tree, output_tree=tree)
    step = find_step(unit, step.id)
    _ask(unit, course, step, node.approval or node.question, -1)


def ask_next(unit: Unit, course: Course, step: Row, node: Node, after: int) -> bool:
    """Ask the next person of a step whose work is done; False where nobody is left to ask."""
    for at, gate in enumerate(node.gates):
        if at > after and gate.kind in HUMAN:
            _ask(unit, course, step, _of(gate), at)
            return True
    return False


def _of(gate: Gate) -> Asked | Question | None:
    return gate.approval or gate.question


def _ask(unit: Unit, course: Course, step: Row, asked: Asked | Question | None, gate: int) -> None:
    if isinstance(asked, Question):
        expires_at = unit.now + timedelta(seconds=asked.expires_s)
        waiting = {
            "kind": "question", "id": new_id("qst"), "gate": gate, "message": asked.message,
            "choices": list(asked.choices), "asked_at": rfc3339(unit.now), "expires_at": rfc3339(expires_at),
        }  # fmt: skip
        course.park(step, "waiting_input", waiting=waiting, next_at=expires_at)
        return
    asked = asked or Asked(f"Shall {step.name} go on?")
    approval_id = request(unit, course, step, asked)
    waiting = {"kind": "approval", "gate": gate, "message": asked.message, "approval_id": approval_id}
    park_on(unit, course, step, approval_id, waiting)


def ask_in_work(unit: Unit, course: Course, step: Row, asked: Ask) -> None:
    """Let a step wait for an answer in the middle of its work."""
    expires_at = unit.now + timedelta(seconds=asked.expires_s)
    waiting = {
        "kind": "question", "id": new_id("qst"), "message": asked.message, "choices": list(asked.choices),
        "asked_at": rfc3339(unit.now), "expires_at": rfc3339(expires_at),
    }  # fmt: skip
    course.park(step, "waiting_input", waiting=waiting, next_at=expires_at)


def park_on(unit: Unit, course: Course, step: Row, approval_id: str, waiting: Mapping[str, Any]) -> None:
    """Let a step wait for an approval that has been asked for."""
    approval = approvals.find(unit, approval_id)
    values = {"waiting": dict(waiting), "approval_id": approval_id, "next_at": approval.expires_at}
    course.park(step, "waiting_approval", **values)
    known = course.values.get("approvals", course.run.approvals)
    if approval_id not in known:
        course.values["approvals"] = [*known, approval_id]
    if approval.state in ("approved", "denied"):  # decided before this step came to wait for it
        on_verdict(unit, course, find_step(unit, step.id), approval)


def request(unit: Unit, course: Course, step: Row, asked: Asked) -> str:
    """Ask for a yes to exactly what the run has made so far."""
    run = course.run
    base, tree = base_of(unit, run), step.output_tree or step.input_tree or ""
    text, stat = _difference(unit, run, base, tree or base)
    bound = {
        "run": run.id, "step": step.name, "attempt": step.attempt, "definition": run.definition_digest,
        "params": run.params, "base": base, "tree": tree or base, "message": asked.message,
    }  # fmt: skip
    digest = "sha256:" + hashlib.sha256(json.dumps(bound, sort_keys=True).encode()).hexdigest()
    where = {"repo": run.repo_name, "branch": run.branch} if run.repo_name else None
    lines = int(stat.get("added", 0)) + int(stat.get("deleted", 0))
    risk, reasons = policy.assess(target=run.branch, main=False, paths=[], deleted=[], lines=lines)
    return approvals.request(
        unit, action=ACTION, object_=step.id, diff=text, diff_stat=stat, diff_hash=digest,
        reason=f"{asked.message} ({step.name} of {run.pipeline}@{run.version})"[:2000], risk=risk, risk_reasons=reasons,
        approvers=tuple(asked.approvers), count=asked.count, expires_s=asked.expires_s, where=where, run_id=run.id,
        step_id=step.id, requested_by=unit.actor.id,
    )  # fmt: skip


def _difference(unit: Unit, run: Row, base: str, tree: str) -> tuple[str, dict[str, Any]]:
    if base == tree:
        return "", {"files": 0, "added": 0, "deleted": 0}
    scratch = scratch_of(unit, run)
    text, _, stat = workspaces.unified_diff(scratch.batch, bytes.fromhex(base), bytes.fromhex(tree))
    return text, stat.model_dump()


# ---------------------------------------------------------------- answers


def waiting_on(unit: Unit, approval_id: str) -> Sequence[Row]:
    """Steps that wait for this approval, each with its run locked."""
    c = steps.c
    found = unit.execute(sa.select(c.id, c.run_id).where(c.approval_id == approval_id, c.ended_at.is_(None)))
    rows: list[Row] = []
    for row in found.all():
        unit.execute(sa.select(runs.c.id).where(runs.c.id == row.run_id).with_for_update())
        step = find_step(unit, row.id)
        if step.status == "waiting_approval" and step.approval_id == approval_id:
            rows.append(step)
    return rows


def on_verdict(unit: Unit, course: Course, step: Row, approval: Approval) -> None:
    """What a verdict means for a step that waits for it."""
    waiting: Mapping[str, Any] = step.waiting or {}
    if approval.state == "denied":
        course.end(step, "denied", reason="policy", error=f"{approval.id} was denied")
    elif approval.state == "approved":
        go_on(unit, course, step, waiting, {"approval_id": approval.id, "approved": True})


def go_on(unit: Unit, course: Course, step: Row, waiting: Mapping[str, Any], said: Mapping[str, Any]) -> None:
    """Somebody said yes, or answered: the step asks the next one, does its work, or is done."""
    gate = waiting.get("gate")
    if gate is None:  # the work itself waits: it is tried again, and finds what was approved or said
        course.wake(step, waiting=None, next_at=None, result={**step.result, **said})
        return
    node = filled(unit, course.run, node_of(step.spec), step.spec)
    if gate < 0 or not ask_next(unit, course, step, node, int(gate)):
        course.end(step, "succeeded", result={**step.result, **said}, waiting=None)


def is_overdue(step: Row, now: datetime) -> bool:
    """Whether the time in which somebody was to answer is over."""
    return (
        step.status in ("waiting_approval", "waiting_input")
        and step.next_at is not None
        and step.next_at <= now
    )


def ask_again(unit: Unit, course: Course, step: Row) -> None:
    """Ask once more where nobody answered in time: the run waited, and goes on waiting."""
    waiting: Mapping[str, Any] = step.waiting or {}
    if waiting.get("gate") is None:
        course.wake(step, waiting=None)
        return
    node = filled(unit, course.run, node_of(step.spec), step.spec)
    gate = int(waiting["gate"])
    asked = (node.approval or node.question) if gate < 0 else _of(node.gates[gate])
    _ask(unit, course, step, asked, gate)


def answer(unit: Unit, course: Course, step: Row, text: str) -> None:
    """An answer to a step's question. Raises `validation_failed`, `illegal_transition`."""
    waiting: Mapping[str, Any] = step.waiting or {}
    if step.status != "waiting_input" or waiting.get("kind") != "question":
        raise Problem("illegal_transition", f"{step.name} asks nothing", hint="Look at the run.", allowed=[])
    choices = waiting["choices"]
    if choices and text not in choices:
        raise Problem(
            "validation_failed", "this is none of the choices", hint=f"Answer with one of: {', '.join(choices)}.",
            choices=choices,
        )  # fmt: skip
    if is_overdue(step, unit.now):
        raise Problem(
            "illegal_transition",
            "the time to answer is over",
            hint="Resume the run: it asks again.",
            allowed=["resume"],
        )
    who = unit.actor.member_id or unit.actor.id
    go_on(unit, course, step, waiting, {"answer": text, "answered_by": who})
