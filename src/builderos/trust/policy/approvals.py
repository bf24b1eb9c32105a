"""Approval requests: one row, bound to the hash of exactly what was shown, is the only truth about who said yes.

Whoever waits (a promotion, later a run) enrols a handler for its action in `Verdicts`; it runs in the unit of the
decision.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.dialects.postgresql import JSONB

from builderos.core.actor import Actor
from builderos.core.clock import rfc3339
from builderos.core.ids import new_id
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.registry import Registry
from builderos.core.schema import In, Line, Out, Text, WriteIn
from builderos.core.settings import Settings
from builderos.core.tables import as_dict
from builderos.core.unit import Unit
from builderos.engine import outbox
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger

from .decision import acting, require
from .document import APPROVERS
from .force import InForce
from .model import approvals
from .risk import Risk
from .schema import Resource
from .standing import ROLE_NAMES, standing
from .terms import lifetime, missing, required_by, rules_for

State = Literal["pending", "approved", "denied", "expired", "cancelled"]
MAX_DIFF_CHARS = 1_000_000
_SCOPE_NAMES: Final = {"admin": "Admin", "approve": "Reviewer"}


class Verdicts(Registry[Callable[[Unit, "Approval"], None]]):
    """What happens when an approval of an action is decided: action → handler."""

    def __init__(self) -> None:
        super().__init__("verdict handler")


class Approval(Out):
    """What somebody is asked to approve, and what has been said so far."""

    id: str
    run_id: str | None
    step_id: str | None
    action: str
    object: str
    diff: str
    diff_stat: dict[str, Any]
    diff_hash: str
    reason: str
    risk: Risk
    risk_reasons: list[str] = []
    requested_by: str
    prompt_version: str | None
    required: dict[str, Any]
    decisions: list[dict[str, Any]]
    state: State
    self_approved: bool
    created_at: datetime
    expires_at: datetime


class ApprovalSummary(Out):
    """An approval in a list: everything but the diff."""

    id: str
    action: str
    object: str
    reason: str
    risk: Risk
    requested_by: str
    state: State
    diff_stat: dict[str, Any]
    created_at: datetime
    expires_at: datetime


class ApprovalIn(In):
    """Which approval."""

    id: Line


class ApprovalListIn(In):
    """Filters of the inbox."""

    state: State | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class ApprovalList(Out):
    """One page, newest first."""

    items: list[ApprovalSummary]
    next_cursor: str | None


class DecideIn(WriteIn):
    """A verdict. `diff_hash` may be sent to make sure that what you saw is what you decide about."""

    id: Line
    decision: Annotated[Literal["approve", "deny"], Field(description="Your verdict.")]
    comment: Annotated[Text, Field(description="Why.", max_length=5000)] = ""
    diff_hash: Annotated[
        Line | None, Field(description="diff_hash of what you saw; refused when it changed since.")
    ] = None


def request(
    unit: Unit, *, action: str, object_: str, diff: str, diff_stat: dict[str, Any], diff_hash: str, reason: str,
    risk: Risk, risk_reasons: Sequence[str] = (),
    requested_by: str | None = None, prompt_version: str | None = None, approvers: tuple[str, ...] = APPROVERS,
    first: bool = False, where: Mapping[str, str] | None = None,
    run_id: str | None = None, step_id: str | None = None, count: int = 1, expires_s: float | None = None,
) -> str:  # fmt: skip
    """Ask for an approval of exactly this diff; an open request for another diff of the same object is cancelled, one
    whose time is over has expired.

    Of `approvers` may say yes whom the organisation's policy file names for the action; it also says how many have to,
    and how long the request stays open. `first`: the object is new, so nobody has asked about it before.
    `where`: `repo` and `branch` that it is about, by name, for whoever listens to these alone. At least `count` people
    have to say yes, within `expires_s`, where the policy file does not ask for more.
    """
    c = approvals.c
    pending = sa.select(c.id, c.action, c.diff_hash, c.expires_at).where(
        c.object == object_, c.state == "pending"
    )
    for row in () if first else unit.execute(pending).all():
        overdue = row.expires_at <= unit.now
        if (row.action, row.diff_hash) == (action, diff_hash) and not overdue:
            return row.id
        set_state(unit, row.id, "expired" if overdue else "cancelled")
    id_ = new_id("apr")
    required, expires_at = _terms(unit, action, approvers)
    required |= {"count": max(count, int(required["count"]))}
    if expires_s is not None:
        expires_at = min(expires_at, unit.now + timedelta(seconds=expires_s))
    unit.add(
        approvals, id=id_, run_id=run_id, step_id=step_id, org_id=unit.org_id, action=action, object=object_,
        diff=diff[:MAX_DIFF_CHARS],
        diff_stat=diff_stat, diff_hash=diff_hash, reason=reason, risk=risk, risk_reasons=list(risk_reasons),
        requested_by=requested_by or unit.actor.id,
        requested_member=unit.actor.member_id, prompt_version=prompt_version, required=required, decisions=[],
        state="pending", self_approved=False, created_at=unit.now, expires_at=expires_at,
    )  # fmt: skip
    payload = {"action": action, "object": object_, "diff_hash": diff_hash, "risk": risk, **(where or {})}
    ledger.record(unit, "approval.requested", id_, payload)
    outbox.ring(unit)
    return id_


def _terms(unit: Unit, action: str, approvers: tuple[str, ...]) -> tuple[dict[str, Any], datetime]:
    """Who has to approve and until when: the rules of the policy file for the action say, else the settings."""
    file = unit.get(InForce).of(unit).file
    rules = rules_for(file.document if file is not None else None, action)
    return required_by(rules, approvers), unit.now + lifetime(rules, unit.settings.approval_hours)


def _refuse_others(unit: Unit, approval: Approval) -> None:
    """Whoever decides has to have one of the roles that the request names."""
    if roles_of(acting(unit, resource_of(unit, approval.id))).isdisjoint(approval.required["from"]):
        raise Problem(
            "policy_denied", f"{' or '.join(approval.required['from'])} has to decide about this",
            hint="Ask one of them to look at it.", policy_rule=approval.required.get("rule", "approvers"),
        )  # fmt: skip


def roles_of(actor: Actor) -> set[str]:
    """The roles, as approvals name them, that an actor decides with."""
    roles = {ROLE_NAMES[actor.role]} if actor.role in ROLE_NAMES else set[str]()
    return roles | {
        _SCOPE_NAMES[scope] for scope in actor.scopes & _SCOPE_NAMES.keys() if actor.role == "api_key"
    }


def roles_named(role: str) -> str | None:
    """The role of a member as approvals name it; None where it decides about nothing."""
    return ROLE_NAMES.get(role)


def find(unit: Unit, id_: str, *, lock: bool = False) -> Approval:
    """The approval as it stands now: an overdue one reads as expired. Raises `not_found`."""
    wanted = sa.select(approvals).where(approvals.c.id == id_)
    row = unit.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no such approval", hint="List the approvals first.")
    return approval_of(row, unit.now)


def approval_of(row: sa.Row[Any], now: datetime) -> Approval:
    """A row as it stands at this instant."""
    values = as_dict(row)
    del values["org_id"], values["requested_member"]
    if values["state"] == "pending" and values["expires_at"] <= now:
        values["state"] = "expired"
    return Approval(**values)


def granted(unit: Unit, *, action: str, object_: str, diff_hash: str) -> str | None:
    """The approval of exactly this diff of this object whose yes still holds; None where there is none."""
    c = approvals.c
    asked = (c.action == action, c.object == object_, c.diff_hash == diff_hash)
    wanted = sa.select(c.id).where(*asked, c.state == "approved", c.expires_at > unit.now)
    return unit.execute(wanted).scalars().first()


def is_approved(unit: Unit, *, action: str, object_: str, diff_hash: str) -> bool:
    """Whether exactly this diff of this object has a yes that still holds."""
    return granted(unit, action=action, object_=object_, diff_hash=diff_hash) is not None


def listed(unit: Unit, body: ApprovalListIn) -> ApprovalList:
    """The inbox, newest first."""
    require(unit, "approval.read", resource_of(unit, "list"))
    key = list_key("approvals", state=body.state)
    last = decode_cursor(key, body.cursor)
    c = approvals.c
    wanted = sa.select(approvals).order_by(c.id.desc()).limit(body.limit + 1)
    if body.state == "pending":
        wanted = wanted.where(c.state == "pending", c.expires_at > unit.now)
    elif body.state == "expired":
        wanted = wanted.where(
            sa.or_(c.state == "expired", sa.and_(c.state == "pending", c.expires_at <= unit.now))
        )
    elif body.state is not None:
        wanted = wanted.where(c.state == body.state)
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    rows = unit.execute(wanted).all()
    items = [_summary(r, unit.now) for r in rows[: body.limit]]
    more = len(rows) > body.limit
    return ApprovalList(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def _summary(row: sa.Row[Any], now: datetime) -> ApprovalSummary:
    overdue = row.state == "pending" and row.expires_at <= now
    return ApprovalSummary(
        id=row.id, action=row.action, object=row.object, reason=row.reason, risk=row.risk,
        requested_by=row.requested_by,
        state="expired" if overdue else row.state, diff_stat=row.diff_stat, created_at=row.created_at,
        expires_at=row.expires_at,
    )  # fmt: skip


def decide_on(unit: Unit, body: DecideIn) -> Approval:
    """Say yes or no. Raises `illegal_transition` when it is decided or over, `conflict` when the diff has changed.

    In solo mode the requester may approve; the row is then marked `self_approved`.
    """
    decision = require(unit, "approval.decide", resource_of(unit, body.id))
    approval = find(unit, body.id, lock=True)
    _refuse_others(unit, approval)
    _not_ones_own(unit, approval.id)
    if approval.state != "pending":
        raise Problem(
            "illegal_transition", f"this approval is {approval.state}",
            hint="Ask for a new one by repeating the request.",
            allowed=[],
        )  # fmt: skip
    if body.diff_hash is not None and body.diff_hash != approval.diff_hash:
        raise Problem("conflict", "the change is not the one you saw", hint="Read the approval again.")
    verdict: dict[str, Any] = {
        "who": unit.actor.member_id or unit.actor.id,  # a quorum counts people, not their credentials
        "when": rfc3339(unit.now),
        "verdict": body.decision,
        "comment": body.comment,
    }
    if "demands" in approval.required:  # each demand counts those who have its roles
        verdict["roles"] = sorted(roles_of(acting(unit, resource_of(unit, approval.id))))
    decisions = [*standing(unit, approval.id, approval.required, approval.decisions), verdict]
    state: State = (
        "denied"
        if body.decision == "deny"
        else "approved"
        if not missing(approval.required, decisions)
        else "pending"
    )
    self_approved = approval.self_approved or (
        body.decision == "approve" and unit.actor.id == approval.requested_by
    )
    unit.execute(
        sa.update(approvals)
        .where(approvals.c.id == approval.id)
        .values(decisions=decisions, state=state, self_approved=self_approved)
    )
    decided = approval.model_copy(
        update={"decisions": decisions, "state": state, "self_approved": self_approved}
    )
    payload = {
        **verdict,
        "action": approval.action,
        "object": approval.object,
        "diff_hash": approval.diff_hash,
        "state": state,
    }
    handlers = unit.get(Verdicts)
    if state != "pending" and approval.action in handlers:
        _carry_out(unit, handlers.get(approval.action), decided)
    ledger.record(unit, "approval.decided", approval.id, payload, rules=decision.rules)
    outbox.ring(unit)
    return decided


def _carry_out(unit: Unit, handler: Callable[[Unit, Approval], None], decided: Approval) -> None:
    """Do what was decided. Where what was shown is not what there is, the request waits for nobody any more."""
    try:
        handler(unit, decided)
    except Problem as problem:
        if problem.code == "conflict":
            unit.keep(lambda later: set_state(later, decided.id, "cancelled"))
        raise


def _not_ones_own(unit: Unit, id_: str) -> None:
    """In team mode nobody decides on the own request, by whatever credential or program: four eyes are two members."""
    if member_behind(unit, id_) in own_voices(unit):
        raise Problem(
            "policy_denied", "this is your own request", hint="Another member with the right to approve decides.",
            policy_rule="no-self-approval",
        )  # fmt: skip


def set_state(unit: Unit, id_: str, state: State) -> None:
    """Cancel or expire a pending request; one that somebody else has decided meanwhile stays as it is."""
    changed = unit.execute(
        sa.update(approvals).where(approvals.c.id == id_, approvals.c.state == "pending").values(state=state)
    )
    if changed.rowcount:
        ledger.record(unit, f"approval.{state}", id_, {})


def member_behind(unit: Unit, id_: str) -> str | None:
    """The member on whose behalf an approval was asked for."""
    asked_by = sa.select(approvals.c.requested_member).where(approvals.c.id == id_)
    return unit.execute(asked_by).scalar_one_or_none()


def own_voices(unit: Unit) -> frozenset[str]:
    """The members whose requests are the unit's actor's own: that member, and the programs it made or gave a token."""
    member = unit.actor.member_id
    return frozenset() if member is None else identity.members.programs_of(unit, member) | {member}


def over() -> sa.Select[Any]:
    """Ids of requests that wait for nobody any more."""
    return sa.select(approvals.c.id).where(approvals.c.state != "pending")


def link_to(settings: Settings, id_: str) -> str:
    """Where one approval is shown."""
    return f"{settings.address}/v1/approvals/{id_}"


def expire_overdue(unit: Unit) -> int:
    """Mark pending requests whose time is over; returns how many."""
    c = approvals.c
    overdue = (
        unit.execute(sa.select(c.id).where(c.state == "pending", c.expires_at <= unit.now)).scalars().all()
    )
    for id_ in overdue:
        set_state(unit, id_, "expired")
    return len(overdue)


def resource_of(unit: Unit, id_: str) -> Resource:
    """An approval as the policy sees it; for whoever has roles in single places with the repository it is about."""
    rows = unit.ask("ops.repository_of_approval", id_) if unit.actor.grants else []
    lies_in = (str(rows[0][0]),) if rows and rows[0][0] is not None else ()
    return Resource(kind="approval", id=id_, org_id=unit.org_id, lies_in=lies_in)


def forget_words(unit: Unit, who: str) -> int:
    """Take away the reasons that somebody gave with requests and the comments with verdicts; returns how many.

    The verdicts stay. So does the reason of a request that waits: it says what others are to decide about.
    """
    mine = approvals.c.decisions.op("@>", is_comparison=True)(sa.cast([{"who": who}], JSONB))
    count = 0
    for row in unit.execute(
        sa.select(approvals.c.id, approvals.c.decisions).where(mine).with_for_update()
    ).all():
        said = [d | {"comment": None} if d["who"] == who else d for d in row.decisions]
        count += sum(d["who"] == who and d.get("comment") is not None for d in row.decisions)
        unit.execute(sa.update(approvals).where(approvals.c.id == row.id).values(decisions=said))
    asked = sa.or_(approvals.c.requested_by == who, approvals.c.requested_member == who)
    over = sa.update(approvals).where(asked, approvals.c.state != "pending", approvals.c.reason != "")
    return count + unit.execute(over.values(reason="")).rowcount
