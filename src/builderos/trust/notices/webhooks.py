"""Outbound webhooks: who wants to hear of which events, and the secrets that prove that we speak."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import AfterValidator, Field

from builderos.core.dialing import networks_of, target_of
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out, WriteIn
from builderos.core.tables import as_dict
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.secrets.service import Keyring

from .model import webhooks
from .signatures import new_secret

MAX_WEBHOOKS: Final = 20
PING: Final = "webhook.ping"
_PATTERN: Final = re.compile(r"\*|[a-z_]+(\.[a-z_]+)*(\.\*)?")

State = Literal["active", "paused", "disabled"]


def _pattern(text: str) -> str:
    if not _PATTERN.fullmatch(text):
        raise ValueError("must be a type like approval.decided, all of a kind like approval.*, or *")
    return text


EventType = Annotated[Line, AfterValidator(_pattern)]
Events = Annotated[
    list[EventType],
    Field(
        description="Types of events, e.g. approval.requested, alert.*, or *.", min_length=1, max_length=50
    ),
]
Address = Annotated[Line, Field(description="HTTPS address that gets the events.", min_length=1)]
Repo = Annotated[Line | None, Field(description="Only events of this repository, by name.")]
Branch = Annotated[Line | None, Field(description="Only events of branches like this; * is any text.")]


class WebhookIn(WriteIn):
    """Where events go, and which."""

    url: Address
    events: Events = ["*"]
    repo: Repo = None
    branch: Branch = None
    description: Annotated[Line, Field(description="What it is for.")] = ""


class WebhookChangeIn(WriteIn):
    """What is to be different; what is left out stays. `repo` and `branch` are taken away by an empty text."""

    id: Line
    url: Address | None = None
    events: Events | None = None
    repo: Repo = None
    branch: Branch = None
    description: Line | None = None
    state: Annotated[
        Literal["active", "paused"] | None, Field(description="paused: events are not kept for it meanwhile.")
    ] = None


class WebhookIdIn(In):
    """Which webhook."""

    id: Line


class WebhookListIn(In):
    """Nothing to filter: an organisation has a few."""


class WebhookSecretIn(WriteIn):
    """How long the secret so far still signs, too."""

    id: Line
    overlap_hours: Annotated[
        int, Field(description="Hours in which both secrets sign; 0 ends the old one now.", ge=0, le=168)
    ] = 24


class Webhook(Out):
    """A webhook without its secret."""

    id: str
    url: str
    description: str
    events: list[str]
    repo: str | None
    branch: str | None
    state: State
    old_secret_until: datetime | None
    failing_since: datetime | None
    created_by: str
    created_at: datetime


class NewWebhook(Webhook):
    """A fresh webhook, or one with a fresh secret; `secret` is shown only here."""

    secret: str
    message: str


class WebhookList(Out):
    """All webhooks of the organisation."""

    items: list[Webhook]
    next_cursor: str | None = None


class WebhookGone(Out):
    """A webhook that has ended."""

    id: str
    message: str


def create(unit: Unit, body: WebhookIn) -> NewWebhook:
    """Add a webhook. Raises `validation_failed` for an address nobody may dial, `quota_exceeded`."""
    decision = policy.require(unit, "webhook.manage", policy.org_resource(unit))
    _fit(unit, body.url)
    used = unit.execute(sa.select(sa.func.count()).where(webhooks.c.state != "deleted")).scalar_one()
    if used >= MAX_WEBHOOKS:
        raise Problem(
            "quota_exceeded", f"an organisation has at most {MAX_WEBHOOKS} webhooks",
            hint="Delete one that nobody needs.", limit=MAX_WEBHOOKS, used=used, resets_at=None,
        )  # fmt: skip
    id_, secret = new_id("whk"), new_secret()
    values: dict[str, Any] = {
        "id": id_, "url": body.url, "description": body.description, "events": sorted(set(body.events)),
        "repo": body.repo or None, "branch": body.branch or None, "state": "active", "created_by": unit.actor.id,
        "created_at": unit.now,
    }  # fmt: skip
    unit.execute(sa.insert(webhooks).values(org_id=unit.org_id, secret=sealed(unit, id_, secret), **values))
    told = {"url": origin_of(body.url), "events": values["events"]}
    ledger.record(unit, "webhook.created", id_, told, rules=decision.rules)
    return _with_secret(unit, id_, secret)


def listed(unit: Unit, _body: WebhookListIn) -> WebhookList:
    """All that were not deleted, oldest first."""
    policy.require(unit, "webhook.read", policy.org_resource(unit))
    wanted = sa.select(webhooks).where(webhooks.c.state != "deleted").order_by(webhooks.c.id)
    return WebhookList(items=[_out(row, unit.now) for row in unit.execute(wanted)])


def show(unit: Unit, body: WebhookIdIn) -> Webhook:
    """One webhook. Raises `not_found`."""
    policy.require(unit, "webhook.read", policy.org_resource(unit))
    return _out(find(unit, body.id), unit.now)


def change(unit: Unit, body: WebhookChangeIn) -> Webhook:
    """Change a webhook; `state: active` also wakes one that was disabled after long failure."""
    decision = policy.require(unit, "webhook.manage", policy.org_resource(unit))
    find(unit, body.id, lock=True)
    if body.url is not None:
        _fit(unit, body.url)
    named = body.model_dump(exclude_unset=True, include={"url", "events", "description", "state"})
    values = {name: value for name, value in named.items() if value is not None}
    values |= {
        name: getattr(body, name) or None for name in ("repo", "branch") if name in body.model_fields_set
    }
    if "events" in values:
        values["events"] = sorted(set(values["events"]))
    if not values:
        raise Problem("validation_failed", "nothing is to be changed", hint="Send url, events or state.")
    if body.state == "active":
        values["failing_since"] = None
    unit.execute(sa.update(webhooks).where(webhooks.c.id == body.id).values(**values))
    told = {"changed": sorted(values)} | ({"url": origin_of(body.url)} if body.url else {})
    ledger.record(unit, "webhook.changed", body.id, told, rules=decision.rules)
    return _out(find(unit, body.id), unit.now)


def rotate(unit: Unit, body: WebhookSecretIn) -> NewWebhook:
    """Give a webhook a new secret; the one so far signs, too, for as long as the receiver needs."""
    decision = policy.require(unit, "webhook.manage", policy.org_resource(unit))
    row = find(unit, body.id, lock=True)
    secret, until = new_secret(), unit.now + timedelta(hours=body.overlap_hours)
    kept = (
        {"old_secret": row.secret, "old_until": until}
        if body.overlap_hours
        else {"old_secret": None, "old_until": None}
    )
    unit.execute(
        sa.update(webhooks).where(webhooks.c.id == row.id).values(secret=sealed(unit, row.id, secret), **kept)
    )
    told = {"overlap_hours": body.overlap_hours}
    ledger.record(unit, "webhook.rotated", row.id, told, rules=decision.rules)
    return _with_secret(unit, row.id, secret)


def delete(unit: Unit, body: WebhookIdIn) -> WebhookGone:
    """End a webhook; what waits for it is not sent any more."""
    decision = policy.require(unit, "webhook.manage", policy.org_resource(unit))
    find(unit, body.id, lock=True)
    gone = {"state": "deleted", "secret": b"", "old_secret": None, "old_until": None}
    unit.execute(sa.update(webhooks).where(webhooks.c.id == body.id).values(**gone))
    ledger.record(unit, "webhook.deleted", body.id, {}, rules=decision.rules)
    return WebhookGone(id=body.id, message="The webhook is gone.")


def find(unit: Unit, id_: str, *, lock: bool = False) -> sa.Row[Any]:
    """A webhook that was not deleted. Raises `not_found`."""
    wanted = sa.select(webhooks).where(webhooks.c.id == id_, webhooks.c.state != "deleted")
    row = unit.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no such webhook", hint="List the webhooks first.")
    return row


def secrets_of(unit: Unit, row: sa.Row[Any]) -> list[str]:
    """The secrets that sign now, newest first."""
    held = [row.secret]
    if row.old_secret is not None and row.old_until > unit.now:
        held.append(row.old_secret)
    box = unit.get(Keyring).box(unit)
    return [box.open(bytes(value), _purpose(unit, row.id)).decode() for value in held]


def sealed(unit: Unit, id_: str, secret: str) -> bytes:
    """A secret as it is stored: under the organisation's own key, and gone with it."""
    return unit.get(Keyring).box(unit).seal(secret.encode(), _purpose(unit, id_))


def origin_of(url: str) -> str:
    """Scheme, host and port: paths of such addresses often are secrets."""
    return "/".join(url.split("/", 3)[:3]).partition("?")[0]


def _purpose(unit: Unit, id_: str) -> str:
    return f"webhook|{unit.org_id}|{id_}"


def _fit(unit: Unit, url: str) -> None:
    target_of(url, networks_of(unit.settings.webhook_networks))


def _with_secret(unit: Unit, id_: str, secret: str) -> NewWebhook:
    shown = _out(find(unit, id_), unit.now)
    message = "Save the secret now: it is not shown again. Every event is signed with it."
    return NewWebhook(**shown.model_dump(), secret=secret, message=message)


def _out(row: sa.Row[Any], now: datetime) -> Webhook:
    values = as_dict(row)
    until = values.pop("old_until")
    for name in ("org_id", "secret", "old_secret"):
        del values[name]
    return Webhook(**values, old_secret_until=until if until is not None and until > now else None)
