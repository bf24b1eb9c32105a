"""One call of one operation: credential → actor, rates, idempotency, the unit of work, the reply."""

import hashlib
import json
import logging
import re
import time
from dataclasses import dataclass, field
from typing import Any, Final, cast

from pydantic import BaseModel, ValidationError

from builderos.core import tracing
from builderos.core.actor import Actor
from builderos.core.application import Application
from builderos.core.database import Database
from builderos.core.metrics import Metrics
from builderos.core.operations import Download, Live, Operation, Reply
from builderos.core.problems import Problem
from builderos.core.schema import In
from builderos.core.settings import Settings
from builderos.core.unit import Call, Presented, Unit, perform
from builderos.interfaces.http import challenge, failures, idempotency, limits, records
from builderos.trust.identity import service as identity
from builderos.trust.policy import service as policy
from builderos.trust.quotas import service as quotas

log = logging.getLogger("builderos.http")
MIN_ANONYMOUS_KEY: Final = 20
IN_BODY: Final = ("reuse_token", "share_token", "invite_token")  # members of a body that are credentials


@dataclass
class Seen:
    """What turned out about a request while it was served: the role of its actor, and what it asked for where that
    is not the name of an operation.
    """

    actor: str | None = None
    operation: str | None = None
    who: tuple[str, str] | None = None  # organisation and actor, for the usage
    standings: limits.Standings = field(default_factory=list[quotas.Standing])


@dataclass(frozen=True)
class Incoming:
    """What the wire said beside the body. `caller` is an in-memory pseudonym of the peer's address."""

    request_id: str
    bearer: str | None
    caller: str
    door: str = "http"
    seen: Seen = field(default_factory=Seen, compare=False)
    audience: str = ""  # the part of the server that is called, as tokens are made for it, e.g. /mcp
    org_slug: str | None = None  # the organisation that the address names


@dataclass(frozen=True)
class Outgoing:
    """A reply ready for the wire."""

    status: int
    body: bytes | Download | Live


@dataclass(frozen=True)
class Caller:
    """Who calls, and how far the credential carried."""

    actor: Actor
    presented: Presented
    secret: str | None
    idle: bool = False  # the sandbox was last active so long ago that its expiry must slide


def serve(app: Application, operation: Operation, body: In, incoming: Incoming) -> Outgoing:
    """Do one call; raises `Problem`. Runs in a worker thread."""
    metrics, outcome, began = app.context.get(Metrics), "internal", time.perf_counter()
    with tracing.span(f"call {operation.name}") as span:
        try:
            outgoing = _served(app, operation, body, incoming)
            outcome = "ok"
            return outgoing
        except Problem as problem:
            outcome = problem.code
            metrics.refused(problem)
            span.fail(problem.code)
            raise
        finally:
            metrics.call(operation.name, incoming.door, outcome)
            if incoming.seen.who is not None:
                app.context.get(quotas.metering.Meter).count(
                    *incoming.seen.who, operation.name, write=operation.effect == "write", outcome=outcome,
                    ms=(time.perf_counter() - began) * 1000,
                )  # fmt: skip


def _served(app: Application, operation: Operation, body: In, incoming: Incoming) -> Outgoing:
    caller = identify(app, operation, body, incoming)
    incoming.seen.actor, incoming.seen.who = caller.actor.role, (caller.actor.org_id, caller.actor.id)
    call = Call(
        actor=caller.actor, presented=caller.presented, request_id=incoming.request_id,
        tool=f"{operation.name}@{operation.version}", secret=caller.secret, door=incoming.door,
    )  # fmt: skip
    if caller.actor.role == "sandbox" and getattr(body, "force_new", False):
        _hit_inits(
            app, caller.actor.org_id, incoming
        )  # a token of one sandbox opens no more than no token does
    logs = operation.name in limits.LOGGING
    limits.spend_rates(app.context, call, incoming.caller, incoming.seen.standings, logs=logs)
    _check_version(operation, body)
    if caller.idle:
        records.keep_awake(app.context, call)
    try:
        limits.spend_budgets(app.context, call.actor, operation)
        return _do(app, call, operation, body)
    except policy.Refused as refused:
        records.note_refusal(app.context, call, refused)
        missing = challenge.missing_scope(app.context, call, refused)
        if missing is not None:
            refused.extra["scope"] = missing
        raise
    except Problem as problem:
        failures.note(app.context, call, operation, body, problem)
        raise
    except Exception:
        failures.note_crash(app.context, call, operation, body)
        raise


def _do(app: Application, call: Call, operation: Operation, body: In) -> Outgoing:
    key: str | None = getattr(body, "idempotency_key", None)
    if key is None:
        return perform(
            app.context, call, lambda unit: _run(operation, unit, body), read_only=operation.effect == "read",
            settled=True,
        )  # fmt: skip
    return _once(app, call, operation, body, key)


def _run(operation: Operation, unit: Unit, body: In) -> Outgoing:
    result: Any = operation.handler(unit, body)
    status = operation.status
    if isinstance(result, Reply):
        waiting = cast("Reply[Any]", result)
        status, result = waiting.status, waiting.body
    if isinstance(result, Download | Live):
        return Outgoing(status, result)
    return Outgoing(status, _encode(result))


def _encode(result: Any) -> bytes:
    if isinstance(result, BaseModel):
        return result.model_dump_json(by_alias=True).encode()  # as the contract spells it
    return json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode()


def _once(app: Application, call: Call, operation: Operation, body: In, key: str) -> Outgoing:
    """Same credential, key and body: the stored reply. Same credential and key, another body: a conflict."""
    if call.actor.role == "anonymous" and len(key) < MIN_ANONYMOUS_KEY:
        raise Problem(
            "validation_failed",
            f"without a credential an idempotency_key needs at least {MIN_ANONYMOUS_KEY} characters",
            hint="Use a random UUID: whoever repeats the key gets the same reply.",
        )
    fingerprint = hashlib.sha256(body.model_dump_json(exclude={"reuse_token"}).encode()).digest()
    scope = idempotency.scope_of(call.actor, operation.name)
    slot = idempotency.Slot(scope, key, fingerprint, operation.secret_reply)

    def verb(unit: Unit) -> Outgoing:
        stored = idempotency.recall(unit, slot)
        if stored is not None:
            return Outgoing(*stored)
        outgoing = _run(operation, unit, body)
        if isinstance(outgoing.body, bytes):
            idempotency.remember(unit, slot, outgoing.status, outgoing.body)
        return outgoing

    def told(unit: Unit) -> tuple[int, bytes] | None:
        return idempotency.recall(unit, slot)

    try:
        return perform(app.context, call, verb)
    except Problem as problem:
        if problem.code == "write_not_verified":  # the caller must hear of it: the stored reply would hide it
            raise
        # A twin that was faster may be what stands in the way: then its reply is the reply of both.
        stored = perform(app.context, call, told, read_only=True, settled=True)
        if stored is None:
            raise
        return Outgoing(*stored)


def identify(app: Application, operation: Operation, body: In, incoming: Incoming) -> Caller:
    """The actor of a call.

    A Bearer credential and a `reuse_token` in the body may both be sent (a chat action holds an API key, its user a
    workspace token): both must be valid and of one organisation, and the workspace token acts.
    """
    in_body: str | None = next(
        (found for name in IN_BODY if (found := getattr(body, name, None)) is not None), None
    )
    slug: str | None = getattr(body, "org_slug", None)
    first = _look_up(app, incoming, incoming.bearer, slug) if incoming.bearer is not None else None
    second = _look_up(app, incoming, in_body, slug) if in_body is not None else None
    if first is not None and first.presented != "valid":
        if in_body is None and operation.credential == "optional":
            return _without(app, body, first, incoming)
        raise _refused(first.presented)
    if second is not None:
        foreign = first is not None and second.org_id is not None and first.org_id != second.org_id
        if second.presented == "valid" and second.actor is not None and not foreign:
            return Caller(second.actor, "valid", in_body, second.idle)
        if operation.credential != "optional":
            raise _refused("invalid" if foreign else second.presented)
        if first is not None and first.actor is not None:
            return Caller(first.actor, "invalid" if foreign else second.presented, None, first.idle)
        return _without(app, body, second, incoming)
    if first is not None and first.actor is not None:
        return Caller(first.actor, "valid", incoming.bearer, first.idle)
    if operation.credential != "optional":
        raise Problem(
            "unauthenticated", "this needs a credential",
            hint="Send your token as Authorization: Bearer …, or as reuse_token in the body; initSandbox gives one.",
        )  # fmt: skip
    return _without(app, body, identity.Found("none"), incoming)


def known(app: Application, incoming: Incoming) -> Actor | None:
    """The actor of the Bearer credential, or None where there is no valid one. Raises `rate_limited`."""
    return None if incoming.bearer is None else _look_up(app, incoming, incoming.bearer).actor


def admit(
    app: Application, incoming: Incoming, tool: str, known: dict[str, identity.Found] | None = None, *,
    logs: bool = False,
) -> Call:  # fmt: skip
    """The call of a door whose requests carry one credential in a header and nothing of the like in a body.

    `known` holds credentials that were found valid at this very moment, for requests that arrived together. `logs`:
    the door of programs that log many times a second; it counts its calls itself, and they spend no budget of requests.
    Raises `unauthenticated`, `token_invalid`, `token_expired`, `rate_limited`.
    """
    if incoming.bearer is None:
        raise Problem(
            "unauthenticated",
            "this needs a credential",
            hint="Send your token as the password, with any user name.",
        )
    found = known.get(incoming.bearer) if known is not None else None
    if found is None:
        found = _look_up(app, incoming, incoming.bearer)
    if found.actor is None:
        raise _refused(found.presented)
    if known is not None:
        known[incoming.bearer] = found
    caller = Caller(found.actor, found.presented, incoming.bearer)
    incoming.seen.actor = caller.actor.role
    call = Call(
        actor=caller.actor,
        presented=caller.presented,
        request_id=incoming.request_id,
        tool=tool,
        door=incoming.door,
    )
    limits.spend_rates(app.context, call, incoming.caller, incoming.seen.standings, logs=logs)
    if not logs:
        limits.count_git(app.context, call)
    if found.idle:
        records.keep_awake(app.context, call)
    return call


def _look_up(app: Application, incoming: Incoming, secret: str, slug: str | None = None) -> identity.Found:
    """What a secret is, in the organisation `slug` where the call names one: elsewhere it is as good as invented."""
    rates = app.context.get(quotas.Rates)
    try:
        found = identity.authenticate(app.context.get(Database), app.context.get(identity.Hasher), secret)
        for named in filter(None, {slug, incoming.org_slug}):
            org = identity.find_org(app.context.get(Database), named)
            if found.org_id is not None and (org is None or org[0] != found.org_id):
                found = identity.Found("invalid")
        if not challenge.is_for(found.audience, incoming.audience):
            found = identity.Found("invalid")
        if found.presented != "valid":
            rates.hit("invalid_tokens", incoming.caller)
    except Problem as problem:
        if problem.code == "rate_limited":
            limits.tell_abuse(app.context, incoming.request_id, incoming.door)
        raise
    return found


def _without(app: Application, body: In, found: identity.Found, incoming: Incoming) -> Caller:
    """Somebody whose credential did not carry: anonymous in the organisation that the body names, by its slug or by the
    repository's name, else in the server's own.
    """
    slug, owner, name = (getattr(body, field, None) for field in ("org_slug", "repo_owner", "repo_name"))
    org = identity.visitors.organisation_for(app.context.get(Database), slug, owner, name)
    settings = app.context.get(Settings)
    if org is None or not org.open or not settings.anonymous:
        if found.presented in ("invalid", "expired", "revoked"):
            raise _refused(found.presented)
        raise Problem(
            "unauthenticated", "this server wants a credential for that",
            hint="Ask the owner of this server for an API key, or sign in.",
        )  # fmt: skip
    _hit_inits(app, org.id, incoming)
    if org.rival is not None:
        raise Problem(
            "conflict", f"org_slug says {slug}, but repositories of this name belong to {org.rival}",
            hint=f"Leave org_slug out, or say {org.rival}.",
        )  # fmt: skip
    return Caller(identity.anonymous_actor(org.id), found.presented, None)


def _hit_inits(app: Application, org_id: str, incoming: Incoming) -> None:
    limits.hit_inits(app.context, org_id, incoming.request_id, incoming.caller, incoming.seen.standings)


def _refused(presented: Presented) -> Problem:
    if presented == "expired":
        return Problem(
            "token_expired", "this token has expired; the workspace is kept for a while",
            hint="An owner can renew it, or call initSandbox for a new workspace.",
        )  # fmt: skip
    return Problem(
        "token_invalid", "this token is not valid here",
        hint="Check that the whole token was copied, or call initSandbox for a new workspace.",
    )  # fmt: skip


def check_credential(app: Application, incoming: Incoming) -> None:
    """Raise `token_invalid` or `token_expired` where the Bearer credential carries nothing here."""
    if incoming.bearer is not None:
        found = _look_up(app, incoming, incoming.bearer)
        if found.actor is None:
            raise _refused(found.presented)


def _check_version(operation: Operation, body: In) -> None:
    wanted: str | None = getattr(body, "tool_version", None)
    if wanted is None or wanted.removeprefix("v") == operation.version:
        return
    raise Problem(
        "tool_version_removed", f"{operation.name} has no version {wanted}",
        hint=f"Use version {operation.version}.", upgrade=f"{operation.name}@{operation.version}",
    )  # fmt: skip


def as_fields(error: ValidationError) -> list[dict[str, str]]:
    """Validation errors as `{field, problem}` without the values that were sent."""
    return [
        {"field": ".".join(map(str, e["loc"])), "problem": plainly(e["msg"])}
        for e in error.errors(include_input=False)
    ]


def plainly(problem: str) -> str:
    """What pydantic says, in words of the caller: of texts that have a rule of ours, too, it counts "items"."""
    if not problem.startswith("Value should have at "):
        return problem
    return re.sub(r"item(s?) after validation", r"character\1", problem).replace("Value", "Text", 1)
