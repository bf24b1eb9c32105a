"""Raise, list and acknowledge alerts. One open alert per rule and object; repetitions count up."""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.cleaning import cleaned
from builderos.core.ids import new_id
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.tables import as_dict
from builderos.core.unit import Unit
from builderos.engine import outbox
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from .model import alerts
from .schema import Alert, AlertAckIn, AlertList, AlertListIn, Rule, Severity

# Written out, not bound: PostgreSQL matches a partial index only by a predicate whose values it sees when it
# plans, and a
# prepared statement is soon planned without them.
OPEN: Final = alerts.c.state != sa.bindparam(None, "resolved", literal_execute=True)
SEVERITY: Final[dict[Rule, Severity]] = {
    "tool_failed": "warning",
    "write_not_verified": "critical",
    "memory_invalid": "warning",
    "large_diff": "info",
    "token_abuse": "critical",
    "quota_near": "info",
    "quota_exceeded": "warning",
    "rate_limited": "warning",
    "backup_failed": "critical",
    "ledger_altered": "critical",
    "budget_exceeded": "warning",
    "webhook_failing": "warning",
    "webhook_disabled": "critical",
    "sink_failing": "critical",
    "artifact_altered": "critical",
    "record_altered": "critical",
    "task_check_failed": "warning",
    "deploy_unhealthy": "critical",
}


def raise_alert(unit: Unit, rule: Rule, object_: str, detail: dict[str, Any]) -> None:
    """Open an alert, or count one more event of the open one."""
    detail = cleaned(detail)
    statement = insert(alerts).values(
        id=new_id("alt"), org_id=unit.org_id, rule=rule, severity=SEVERITY[rule], object=object_, state="open", count=1,
        detail=detail, first_at=unit.now, last_at=unit.now,
    )  # fmt: skip
    unit.execute(
        statement.on_conflict_do_update(
            index_elements=["org_id", "rule", "object"],
            index_where=OPEN,
            set_={"count": alerts.c.count + 1, "last_at": unit.now, "detail": detail},
        )
    )
    outbox.ring(unit)  # a new one is announced behind the call: see feed.py


def announce(unit: Unit) -> None:
    """Give every new alert its line in the ledger: from there it goes to webhooks and mailboxes."""
    new = sa.update(alerts).where(alerts.c.announced.is_(False)).values(announced=True)
    for row in unit.execute(new.returning(alerts)).all():
        payload = {"rule": row.rule, "severity": row.severity, "object": row.object, "detail": row.detail}
        ledger.record(unit, "alert.opened", row.id, payload)


def list_alerts(unit: Unit, body: AlertListIn) -> AlertList:
    """Newest first."""
    policy.require(unit, "alert.read", policy.org_resource(unit))
    key = list_key("alerts", state=body.state, rule=body.rule)
    wanted = sa.select(alerts).order_by(alerts.c.id.desc()).limit(body.limit + 1)
    if body.state is not None:
        wanted = wanted.where(alerts.c.state == body.state)
    if body.rule is not None:
        wanted = wanted.where(alerts.c.rule == body.rule)
    last = decode_cursor(key, body.cursor)
    if last is not None:
        wanted = wanted.where(alerts.c.id < str(last[0]))
    rows = unit.execute(wanted).all()
    items = [_alert(r) for r in rows[: body.limit]]
    more = len(rows) > body.limit
    return AlertList(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def acknowledge(unit: Unit, body: AlertAckIn) -> Alert:
    """Mark an alert as seen, or as over."""
    policy.require(unit, "alert.ack", policy.org_resource(unit))
    state = "resolved" if body.resolve else "acked"
    row = unit.execute(
        sa.update(alerts)
        .where(alerts.c.id == body.id, alerts.c.state != "resolved")
        .values(state=state, acked_by=unit.actor.id)
        .returning(alerts)
    ).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no open alert with this id", hint="List the alerts first.")
    ledger.record(unit, f"alert.{state}", row.id, {"rule": row.rule, "object": row.object})
    return _alert(row)


def _alert(row: sa.Row[Any]) -> Alert:
    values = as_dict(row)
    del values["org_id"], values["announced"]
    return Alert(**values)
