"""Webhooks that start runs: `POST /v1/hooks/{id}` of a system outside, signed with the secret of a trigger.

Nothing is told to whoever cannot sign: an address that there is not and a wrong signature are answered alike, by the
same work. A delivery starts one run, however often it comes. What it brings is data, a text in the param `payload`.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.actor import Actor
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, as_system, perform
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.notices.service import signatures
from builderos.trust.policy import service as policy
from builderos.trust.secrets.service import Keyring
from builderos.trust.vault import service as vault

from .definition import PAYLOAD
from .rows import actor_of
from .triggers_firing import DOOR, GONE, Occasion, note, start
from .triggers_model import firings, triggers
from .triggers_schema import TriggerSecret, TriggerSecretIn

MAX_PAYLOAD: Final = 64 * 1024
_DELIVERY: Final = re.compile(r"[A-Za-z0-9_:=+/-]{1,128}\Z")  # no dot: it parts what is signed
_STAMP: Final = re.compile(r"[0-9]{1,12}\Z")
_NOBODY: Final = signatures.new_secret()  # what an address without a trigger is held against
Parse = Callable[[bytes], Any]


@dataclass(frozen=True)
class Delivery:
    """What was sent, as it came: the headers `webhook-id`, `-timestamp` and `-signature`, and the body."""

    hook: str
    id: str
    stamp: str
    signature: str
    body: bytes
    request_id: str


@dataclass(frozen=True)
class Hook:
    """A trigger whose secret the sender holds."""

    org_id: str
    actor: Actor
    state: str
    event: str
    branch: str


@dataclass(frozen=True)
class Taken:
    """`started`: whether this delivery did it, or one before it under the same id."""

    run_id: str
    started: bool


def path_of(trigger_id: str) -> str:
    """Where a webhook is called."""
    return f"/v1/hooks/{trigger_id}"


def make_secret(unit: Unit, trigger_id: str) -> tuple[bytes, str]:
    """A new secret as it is stored, and as it is shown once."""
    secret = signatures.new_secret()
    return unit.get(Keyring).box(unit).seal(secret.encode(), _purpose(unit, trigger_id)), secret


def rotate(unit: Unit, body: TriggerSecretIn) -> TriggerSecret:
    """Give a webhook a new secret; the one so far counts, too, for as long as its sender needs. Raises `not_found`."""
    decision = policy.require(unit, "pipeline.trigger", policy.org_resource(unit))
    c = triggers.c
    wanted = sa.select(triggers).where(c.id == body.id, c.kind == "webhook").with_for_update()
    row = unit.execute(wanted).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no such trigger with a secret", hint="List the triggers first.")
    if row.actor_id != unit.actor.id:
        raise Problem(
            "policy_denied", "this webhook acts for somebody else: its secret is theirs to change",
            hint="Switch the triggers of the pipeline on yourself; then the webhook acts for you.",
        )  # fmt: skip
    stored, secret = make_secret(unit, row.id)
    until = unit.now + timedelta(hours=body.overlap_hours) if body.overlap_hours else None
    old = row.secret if until is not None else None
    unit.execute(
        sa.update(triggers).where(c.id == row.id).values(secret=stored, old_secret=old, old_until=until)
    )
    told = {"overlap_hours": body.overlap_hours}
    ledger.record(unit, "pipeline.trigger_rotated", row.id, told, rules=decision.rules)
    return TriggerSecret(
        id=row.id, hook=path_of(row.id), secret=secret, old_secret_until=until,
        message="Save the secret now: it is not shown again.",
    )  # fmt: skip


def admit(context: Context, delivery: Delivery) -> Hook:
    """The trigger that a delivery is for, once it is certain that who sent it holds the secret, within five minutes.

    Raises `validation_failed` for headers or times that cannot be, `not_found` for anything else.
    """
    if not _DELIVERY.match(delivery.id) or not _STAMP.match(delivery.stamp) or not delivery.signature:
        raise Problem(
            "validation_failed", "the headers webhook-id, webhook-timestamp and webhook-signature are missing or odd",
            hint="Sign each delivery as https://www.standardwebhooks.com has it.",
        )  # fmt: skip
    with context.get(Database).connection() as conn:
        row = conn.execute("select ops.org_of_hook(%s)", (delivery.hook,)).fetchone()
    org_id = str(row[0]) if row is not None and row[0] is not None else None
    own = _own_org(context)  # asked for in both cases, so that they take the same time
    hook = as_system(context, org_id or own, lambda unit: _signed(unit, delivery), read_only=True)
    if org_id is None or hook is None:
        raise Problem(
            "not_found", "there is no such webhook, or the signature is not of its secret",
            hint="Compare the address and the secret with what was shown when the trigger was switched on.",
        )  # fmt: skip
    return hook


def receive(context: Context, hook: Hook, delivery: Delivery, parse: Parse) -> Taken:
    """Start the run of a delivery that was admitted. `parse` reads a JSON text, or raises `validation_failed`.

    Raises `validation_failed` for a body that is no JSON object or params that do not fit, `conflict` for a delivery
    that came before, `policy_denied` where who switched the trigger on may not act any more.
    """
    if not isinstance(parse(delivery.body), dict):
        raise Problem("validation_failed", "the body is not a JSON object", hint="Send {…}.")
    if hook.state != "active":
        raise Problem(
            "policy_denied", "this webhook has stopped", hint="Its owner sees why, and can switch it on."
        )
    digest = "sha256:" + hashlib.sha256(delivery.body).hexdigest()
    about = {"type": "webhook", "event": hook.event, "delivery": delivery.id, "digest": digest,
             "bytes": len(delivery.body)}  # fmt: skip
    occasion = Occasion(
        delivery.hook, f"delivery {delivery.id}", hook.branch, about, params={PAYLOAD: delivery.body.decode()},
        stamp=int(delivery.stamp), digest=digest,
    )  # fmt: skip
    actor = as_system(context, hook.org_id, lambda unit: identity.still(unit, hook.actor), read_only=True)
    if actor is None:
        as_system(context, hook.org_id, lambda unit: note(unit, occasion, GONE, stop=True, settle=False))
        raise Problem("policy_denied", GONE, hint="Somebody who may has to switch the triggers on.")
    call = Call(actor, "valid", request_id=delivery.request_id, tool="trigger", door=DOOR)
    try:
        return perform(context, call, lambda unit: _take(unit, occasion))
    except Problem as problem:
        if problem.retryable or isinstance(problem, Again):
            raise
        said = problem.detail
        as_system(context, hook.org_id, lambda unit: note(unit, occasion, said, stop=False, settle=False))
        raise Problem(
            problem.code, "no run was started", hint="Whoever looks at the trigger sees why."
        ) from None


class Again(Problem):
    """A delivery that came before; `run_id` is what it has started."""

    def __init__(self, detail: str, hint: str, run_id: str) -> None:
        super().__init__("conflict", detail, hint=hint, run_id=run_id)


def _take(unit: Unit, occasion: Occasion) -> Taken:
    c = firings.c
    # The trigger's row is held first, as `start` does: of two at once the second finds what the first has left.
    unit.execute(sa.select(triggers.c.id).where(triggers.c.id == occasion.trigger_id).with_for_update())
    before = sa.and_(c.trigger_id == occasion.trigger_id, c.occasion == occasion.key)
    row = unit.execute(sa.select(firings).where(before)).one_or_none()
    if row is None:
        cleaned = {name: vault.clean_text(unit, value) for name, value in occasion.params.items()}
        run_id = start(unit, replace(occasion, params=cleaned))
        if run_id is None:
            raise Problem("policy_denied", "this webhook has stopped", hint="Its owner can switch it on.")
        return Taken(run_id, started=True)
    if row.digest != occasion.digest:
        raise Again("another delivery had this id", "Give each delivery an id of its own.", row.run_id)
    if occasion.stamp is None or occasion.stamp <= row.stamp:
        raise Again("this delivery was taken before", "To ask again, sign it anew.", row.run_id)
    # The same delivery, signed anew: a sender that did not get the answer. It gets it now, and nothing begins.
    unit.execute(sa.update(firings).where(before).values(stamp=occasion.stamp))
    return Taken(row.run_id, started=False)


def _signed(unit: Unit, delivery: Delivery) -> Hook | None:
    """The hook, where the signature is of its secret; the same work where there is none.

    Raises `validation_failed` where the signature is right and its time is not.
    """
    c = triggers.c
    wanted = sa.select(triggers).where(c.id == delivery.hook, c.kind == "webhook")
    row = unit.execute(wanted).one_or_none()
    stamp = int(delivery.stamp)
    right = signatures.fits(_secrets(unit, row), delivery.id, stamp, delivery.body, delivery.signature)
    if row is None or not right:
        return None
    if abs(unit.now.timestamp() - stamp) > signatures.WINDOW_S:
        raise Problem(
            "validation_failed", "this was signed more than five minutes away from now",
            hint="Sign it anew, and look at the clock of the sender.",
        )  # fmt: skip
    return Hook(unit.org_id, actor_of(row.actor), row.state, row.spec["event"], row.branch)


def _secrets(unit: Unit, row: sa.Row[Any] | None) -> list[str]:
    box = unit.get(Keyring).box(unit)
    if row is None:
        sealed = box.seal(_NOBODY.encode(), _purpose(unit, ""))
        return [box.open(sealed, _purpose(unit, "")).decode()]
    held = [row.secret]
    if row.old_secret is not None and row.old_until > unit.now:
        held.append(row.old_secret)
    return [box.open(bytes(value), _purpose(unit, row.id)).decode() for value in held]


def _own_org(context: Context) -> str:
    """The server's own organisation, in which a trigger that there is not is looked for."""
    found = identity.find_org(context.get(Database), identity.DEFAULT_ORG_SLUG)
    if found is None:
        raise LookupError("this server has no organisation of its own")
    return found[0]


def _purpose(unit: Unit, trigger_id: str) -> str:
    return f"hook|{unit.org_id}|{trigger_id}"
