"""Before a request leaves: the most that it can cost is held in every budget that is about it, in a row that stands."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal

import orjson
import sqlalchemy as sa

from builderos.core.clock import rfc3339
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit
from builderos.trust.notices import service as notices
from builderos.trust.quotas import service as quotas

from .model import ai_usage
from .schema import About, Kind, Label

MARGIN: Final = timedelta(minutes=2)
SWEEP: Final = 500
_ORG: Final = "org"


@dataclass(frozen=True, slots=True)
class Reservation:
    """The row that a request has, with the most that it can come to."""

    id: str
    org_id: str
    input: int
    output: int
    cost: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be held, and for whom."""

    kind: Kind
    asked: str
    provider: str
    model: str
    about: About
    input: int
    output: int
    cost: int
    within: timedelta
    call: Call
    label: Label = "live"


def subjects(unit: Unit, about: About) -> list[str]:
    """Pairs: the name of a budget that is about this request, the name of the counter that it is held against."""
    key = f"key:{unit.actor.credential_id or unit.actor.id}"
    pairs = [_ORG, _ORG, "each-key", key, key, key]
    if about.agent:
        agent = f"agent:{about.agent}"
        pairs += [agent, agent]
    if about.run_id:
        run = f"run:{about.run_id}"
        pairs += ["each-run", run, run, run]
    return pairs


def reserve(unit: Unit, wanted: Sequence[Wanted]) -> list[Reservation | Problem]:
    """Write a row for each, all of them about the same thing. The problem is `budget_exceeded` where a budget that is
    about it has nothing left.
    """
    held = [Reservation(new_id("aiu"), unit.org_id, one.input, one.output, one.cost) for one in wanted]
    rows = [_row(unit, one, reservation) for one, reservation in zip(wanted, held, strict=True)]
    refusals = unit.ask("ops.ai_reserve", orjson.dumps(rows).decode(), subjects(unit, wanted[0].about))
    refused = {str(id_): _exceeded(unit, *rest) for id_, *rest in refusals}
    for subject in {str(one.extra["name"]) for one in refused.values() if "repo_id" not in one.extra}:
        unit.keep(functools.partial(_tell, subject))  # of a project's budget whoever watches them tells
    return [refused.get(reservation.id, reservation) for reservation in held]


def _tell(subject: str, unit: Unit) -> None:
    notices.raise_alert(unit, "budget_exceeded", subject, {"budget": subject})


def _row(unit: Unit, wanted: Wanted, held: Reservation) -> dict[str, Any]:
    about = wanted.about
    return {
        "id": held.id, "org_id": unit.org_id, "kind": wanted.kind, "door": wanted.call.door,
        "request_id": wanted.call.request_id, "actor": unit.actor.id, "credential_id": unit.actor.credential_id,
        "opened_by": unit.actor.opened_by, "repo_id": unit.actor.repo_id,
        "run_id": about.run_id, "step_id": about.step_id, "agent": about.agent, "prompt": about.prompt,
        "asked": wanted.asked, "provider": wanted.provider, "model": wanted.model, "label": wanted.label,
        "held_tokens": wanted.input + wanted.output, "held_cost": wanted.cost, "reserved_at": unit.now,
        "expires_at": unit.now + wanted.within + MARGIN,
    }  # fmt: skip


def _exceeded(
    unit: Unit,
    subject: str,
    period: Literal["day", "month", "total"],
    meter: str,
    amount: int,
    used: int,
    since: date,
) -> Problem:
    kind, _, repo_id = subject.partition(":")
    if kind == "project" and period != "total":
        project = unit.get(quotas.budgets.Budgets).project(unit.org_id, repo_id)
        spent = quotas.budgets.Standing(unit.org_id, "tokens", period, amount, used, since, repo_id, project)
        return quotas.budgets.exceeded(spent)
    name = f"{meter} of {subject} per {period}"
    resets = None if period == "total" else quotas.budgets.end_of(period, since)
    unit_of = 10**9 if meter == "cost" else 1
    return Problem(
        "budget_exceeded", f"the budget for {name} is used up",
        hint="Wait until it begins anew, or ask an owner or admin for a larger one.", name=name,
        limit=amount / unit_of if meter == "cost" else amount, used=used / unit_of if meter == "cost" else used,
        resets_at=rfc3339(resets) if resets is not None else None,
    )  # fmt: skip


def settle(unit: Unit, rows: list[dict[str, Any]]) -> int:
    """Put what requests did cost in the place of what was held; returns how many had not been settled before."""
    return int(unit.ask("ops.ai_settle", orjson.dumps(rows).decode(), unit.now)[0][0])


def sweep(unit: Unit) -> int:
    """Settle what nobody will settle any more at the most that it can have cost; returns how many.

    Their process ended, or their client was gone before the answer began.
    """
    c = ai_usage.c
    overdue = sa.select(c.id, c.provider, c.model, c.label, c.held_tokens, c.held_cost)
    overdue = (
        overdue.where(c.state == "reserved", c.expires_at < unit.now).order_by(c.expires_at).limit(SWEEP)
    )
    rows = [
        {
            "id": row.id, "provider": row.provider, "model": row.model, "label": row.label, "state": "expired",
            "code": "unavailable", "estimated": True, "input_tokens": 0, "cached_tokens": 0,
            "output_tokens": row.held_tokens, "cost": row.held_cost, "attempts": 0,
        }
        for row in unit.execute(overdue)
    ]  # fmt: skip
    return settle(unit, rows) if rows else 0


def forget(unit: Unit) -> int:
    """Forget rows that are older than the usage is kept; returns how many."""
    before: datetime = unit.now - quotas.metering.KEPT
    gone = sa.delete(ai_usage).where(ai_usage.c.reserved_at < before, ai_usage.c.state != "reserved")
    return unit.execute(gone).rowcount
