"""Passes on what the ledger says, behind the calls that wrote it: to webhooks, by mail, into the usage.

Every process may do it: whoever holds the organisation's cursor does, the others go on. The cursor and what was put
into the outbox are one transaction, so that nothing is left out and nothing is put there twice.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.clock import rfc3339
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.unit import Unit, as_system
from builderos.trust.ledger import service as ledger
from builderos.trust.policy.service import approvals
from builderos.trust.quotas import service as quotas
from builderos.trust.secrets.service import redacted

from . import deliveries, mail
from .alerts import announce
from .model import news_cursors, webhooks
from .ports import Questions
from .sending import matches

AT_ONCE: Final = 100  # lines of one transaction
QUESTION: Final = "run.asked"
_ASKED: Final = ("approval.requested", "approval.decided", "approval.expired", "approval.cancelled")


def pass_on(context: Context) -> None:
    """Everything that is new, of all organisations."""
    with context.get(Database).as_server() as connection:
        waiting = [str(row[0]) for row in connection.execute("select ops.news_orgs()")]
    for org_id in waiting:
        as_system(context, org_id, _announce)
        while as_system(context, org_id, _pass_on):
            pass


def _announce(unit: Unit) -> None:
    """Give its line to what has none yet: new alerts, and requests whose time is over."""
    if _cursor(unit) is not None:
        approvals.expire_overdue(unit)
        announce(unit)


def _pass_on(unit: Unit) -> bool:
    """The next lines; whether there may be more."""
    after = _cursor(unit)
    if after is None:
        return False
    head, _ = ledger.stored_head(unit)
    hooks = unit.execute(
        sa.select(webhooks).where(webhooks.c.state == "active").order_by(webhooks.c.id)
    ).all()
    mails = unit.settings.smtp_url is not None
    upto = min(head, after + AT_ONCE) if hooks or mails else head
    for line in ledger.scan(unit, after=after, upto=upto, batch=AT_ONCE) if hooks or mails else ():
        body = json.loads(line.body)
        _to_webhooks(unit, hooks, line.seq, body)
        if mails:
            _to_mailboxes(unit, body)
    quotas.metering.count_acts(unit, after=after, upto=upto)
    unit.execute(sa.update(news_cursors).values(seq=upto))
    return upto < head


def _cursor(unit: Unit) -> int | None:
    """The last line that was passed on, held until the transaction ends; None where another process holds it."""
    new = insert(news_cursors).values(org_id=unit.org_id, seq=0).on_conflict_do_nothing()
    unit.execute(new)
    return unit.execute(sa.select(news_cursors.c.seq).with_for_update(skip_locked=True)).scalar_one_or_none()


def _to_webhooks(unit: Unit, hooks: Sequence[sa.Row[Any]], seq: int, body: dict[str, Any]) -> None:
    about = body["payload"] | _place_of(unit, body)
    wanting = [hook for hook in hooks if matches(hook, body["type"], about) and _is_news(hook, body)]
    event = event_of(unit, seq, body) if wanting else {}
    for hook in wanting:
        deliveries.queue(unit, hook.id, event)


def _to_mailboxes(unit: Unit, body: dict[str, Any]) -> None:
    if body["type"] == "approval.requested":
        mail.to_deciders(unit, body["object"])
    elif body["type"] == QUESTION:
        mail.to_answerers(unit, body["payload"]["question"])
    elif body["type"] == "alert.opened":
        mail.to_managers(unit, body["object"], body["payload"]["severity"])


def _place_of(unit: Unit, body: dict[str, Any]) -> dict[str, Any]:
    """Repository and branch that an approval is about: only the line of its request names them."""
    if body["type"] not in _ASKED[1:]:
        return {}
    asked = ledger.lines_about(unit, body["object"], type_=_ASKED[0], limit=1)
    return {
        name: asked[0]["payload"][name]
        for name in ("repo", "branch")
        if asked and name in asked[0]["payload"]
    }


def event_of(unit: Unit, seq: int, body: dict[str, Any]) -> dict[str, Any]:
    """A line of the ledger as receivers see it; of an approval with what is to be decided, of a question
    with what is asked, while it is open. Credentials are masked."""
    event: dict[str, Any] = {
        "id": f"evt_{unit.org_id.partition('_')[2]}_{seq}", "type": body["type"], "at": body["at"],
        "org_id": unit.org_id, "seq": seq, "object": body["object"], "actor": body["actor"],
        "actor_name": body["actor_name"], "data": redacted(body["payload"]),
    }  # fmt: skip
    if body["type"] in _ASKED:
        event["approval"] = redacted(_asked(unit, body["object"]))
    if body["type"] == QUESTION:
        asked = unit.get(Questions).find(unit, body["payload"]["question"])
        open_ = asked and {"message": asked.message, "expires_at": rfc3339(asked.expires_at)}
        event["question"] = redacted(open_)
    return event


def _asked(unit: Unit, id_: str) -> dict[str, Any]:
    approval = approvals.find(unit, id_)
    shown = approval.model_dump(mode="json", exclude={"diff"})
    return {**shown, "link": approvals.link_to(unit.settings, id_)}


def _is_news(hook: sa.Row[Any], body: dict[str, Any]) -> bool:
    """Not what happened before the webhook was there, nor that it was made."""
    made = body["type"] == "webhook.created" and body["object"] == hook.id
    return not made and hook.created_at <= datetime.fromisoformat(body["at"])
