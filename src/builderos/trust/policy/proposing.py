"""A policy file comes into force by a yes to exactly that change, and by nothing else."""

import difflib
import hashlib
import json
from datetime import datetime
from typing import Annotated, Any, Final

import sqlalchemy as sa
from pydantic import Field

from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out, Text, WriteIn
from builderos.core.unit import Unit
from builderos.core.yamlnodes import MAX_BYTES
from builderos.trust.ledger import service as ledger

from . import approvals
from .decision import org_resource, require
from .document import FILE_NAME, Document, read_document
from .file_policy import FilePolicy
from .force import InForce, Version, digest_of
from .model import policies, policy_versions
from .quorum import require_reachable
from .rules import Policy

ACTIVATE: Final = "policy.activate"
OBJECT: Final = "policy"
Content = Annotated[
    Text, Field(description="The whole policy file, builderos.policy.yaml.", max_length=MAX_BYTES)
]


class PolicyShowIn(In):
    """Nothing to say: the policy of your organisation."""


class PolicyNote(Out):
    """Something in a file that has no effect on this server."""

    line: int
    path: str
    note: str


class PolicyOut(Out):
    """The policy file in force; version 0 and no content where there is none."""

    version: int
    digest: str
    content: str
    notes: list[PolicyNote]
    author: str | None = None
    approval_id: str | None = None
    activated_by: str | None = None
    activated_at: datetime | None = None


class PolicyIn(WriteIn):
    """A new policy file for the whole organisation."""

    content: Content
    reason: Annotated[Line, Field(description="Why it changes; the approver reads it.", min_length=1)]
    dry_run: Annotated[bool, Field(description="Only check the file and show the change.")] = False


class PolicyProposal(Out):
    """What was proposed. Nothing has changed until the approval is given."""

    approval_id: str | None
    digest: str
    diff: str
    notes: list[PolicyNote]
    message: str


def show(unit: Unit, _body: PolicyShowIn) -> PolicyOut:
    """The file in force, with who wrote and who activated it."""
    require(unit, "policy.explain", org_resource(unit))
    version = _current(unit)
    if version is None:
        return PolicyOut(version=0, digest="", content="", notes=[])
    return PolicyOut(
        version=version.version, digest=version.digest, content=version.content,
        notes=notes_of(document_in_force(unit)), author=version.author, approval_id=version.approval_id,
        activated_by=version.activated_by, activated_at=version.activated_at,
    )  # fmt: skip


def checked(unit: Unit, content: str) -> Document:
    """A policy file that could come into force. Raises `validation_failed` with the line of every mistake.

    An id of the shipped rules is refused: a refusal must name one rule.
    """
    document = read_document(content)
    shipped = {rule.id for rule in unit.get(Policy).rules}
    for rule in document.rules:
        if rule.id in shipped:
            raise Problem(
                "validation_failed", f"{FILE_NAME}:{rule.line}: a shipped rule is called {rule.id} already",
                hint="Give your rule another id.",
                issues=[{"line": rule.line, "path": "rules.id", "problem": "taken", "hint": "Use another id."}],
            )  # fmt: skip
    FilePolicy(document).compile_all()
    return document


def notes_of(document: Document) -> list[PolicyNote]:
    """What in a file has no effect."""
    return [PolicyNote(line=n.line, path=n.path, note=n.message) for n in document.notes]


def propose(unit: Unit, body: PolicyIn) -> Reply[PolicyProposal]:
    """Check a file and ask for the approval that puts it into force: 202 with `approval_id`.

    Raises `validation_failed`, `conflict` when exactly this file is in force.
    """
    decision = require(unit, "policy.write", org_resource(unit))
    document = checked(unit, body.content)
    current = _current(unit)
    old, base = (current.content, current.digest) if current is not None else ("", "")
    digest = digest_of(body.content)
    if digest == base:
        raise Problem("conflict", "exactly this policy is in force", hint="Change the file first.")
    diff, stat = _diff(old, body.content)
    if body.dry_run:
        message = "The file is sound. Nothing was proposed."
        return Reply(200, PolicyProposal(
            approval_id=None, digest=digest, diff=diff, notes=notes_of(document), message=message,
        ))  # fmt: skip
    require_reachable(unit, ACTIVATE, document_in_force(unit), document)
    approval_id = approvals.request(
        unit, action=ACTIVATE, object_=OBJECT, diff=diff, diff_stat=stat, diff_hash=_bound(base, digest),
        reason=body.reason, risk="high", risk_reasons=["changes what everybody may do"], approvers=("Owner", "Admin"),
    )  # fmt: skip
    known = unit.execute(sa.select(policies.c.id).where(policies.c.approval_id == approval_id)).first()
    if known is None:
        id_ = new_id("pol")
        unit.execute(sa.insert(policies).values(
            id=id_, org_id=unit.org_id, digest=digest, base_digest=base, content=body.content, author=unit.actor.id,
            approval_id=approval_id, created_at=unit.now,
        ))  # fmt: skip
        payload = {"digest": digest, "base_digest": base, "approval_id": approval_id}
        ledger.record(unit, "policy.proposed", id_, payload, rules=decision.rules)
    message = f"The policy waits for an approval ({approval_id}); the one in force stays until then."
    return Reply(202, PolicyProposal(
        approval_id=approval_id, digest=digest, diff=diff, notes=notes_of(document), message=message,
    ))  # fmt: skip


def on_verdict(unit: Unit, approval: approvals.Approval) -> None:
    """An approval of a policy file was decided: on a yes, exactly that text comes into force.

    Raises `conflict` when another file has come into force since.
    """
    if approval.state != "approved":
        return
    row = unit.execute(sa.select(policies).where(policies.c.approval_id == approval.id)).one()
    current = _current(unit)
    base = current.digest if current is not None else ""
    sound = digest_of(row.content) == row.digest and _bound(base, row.digest) == approval.diff_hash
    if not sound:
        raise Problem(
            "conflict", "another policy has come into force since this one was proposed, so its approval is void",
            hint="Propose it again: the change against the new policy gets an approval of its own.",
        )  # fmt: skip
    checked(unit, row.content)
    number = current.version + 1 if current is not None else 1
    unit.add(
        policy_versions,
        org_id=unit.org_id, version=number, policy_id=row.id, activated_by=unit.actor.id, activated_at=unit.now,
    )  # fmt: skip
    in_force, org_id = unit.get(InForce), unit.org_id
    unit.after_commit(lambda: in_force.changed(org_id, number))
    payload = {"version": number, "digest": row.digest, "approval_id": approval.id}
    ledger.record(unit, "policy.activated", row.id, payload)


def in_force(unit: Unit) -> Version:
    """What acts are decided by now; the version 0 where there is no file."""
    return unit.get(InForce).of(unit)


def document_in_force(unit: Unit) -> Document:
    """The file in force, or an empty one."""
    file = in_force(unit).file
    return file.document if file is not None else Document()


def _current(unit: Unit) -> sa.Row[Any] | None:
    """The newest version with its text, as the database has it in this transaction."""
    p, v = policies.c, policy_versions.c
    columns = (v.version, v.activated_by, v.activated_at, p.digest, p.content, p.author, p.approval_id)
    joined = policy_versions.join(policies, v.policy_id == p.id)
    wanted = sa.select(*columns).select_from(joined).order_by(v.version.desc()).limit(1)
    return unit.execute(wanted).first()


def _bound(base: str, digest: str) -> str:
    """What an approval is bound to: the text in force that was compared, and the new one."""
    return "sha256:" + hashlib.sha256(json.dumps([base, digest]).encode()).hexdigest()


def _diff(old: str, new: str) -> tuple[str, dict[str, Any]]:
    lines = list(
        difflib.unified_diff(old.splitlines(), new.splitlines(), "in force", "proposed", lineterm="", n=5)
    )
    added = sum(line.startswith("+") for line in lines[2:])
    deleted = sum(line.startswith("-") for line in lines[2:])
    return "\n".join(lines), {"files": 1, "added": added, "deleted": deleted}
