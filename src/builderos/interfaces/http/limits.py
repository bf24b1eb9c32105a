"""The edge's counting: rates and their headers, budgets, tokens in too many hands, and what a call adds to the usage.

Nothing here asks the database before a call, unless the call is refused.
"""

import math
from collections.abc import Iterable
from typing import Final

from builderos.core.actor import Actor
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.operations import Operation
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Call, Unit, perform
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.notices import service as notices
from builderos.trust.policy import service as policy
from builderos.trust.quotas import service as quotas

Standings = list[quotas.Standing]
OPENING: Final = frozenset({"initSandbox", "initBranch", "getStarted"})
LOGGING: Final = frozenset({"openExperimentRun", "logExperimentRun", "endExperimentRun"})
# Who locks everybody out when it is taken away: told of, never suspended.
KEPT: Final = frozenset({"owner"})


def spend_rates(
    context: Context, call: Call, caller: str, standings: Standings, *, logs: bool = False
) -> None:
    """Count a call of a known actor; `standings` gets where it stands. Raises `rate_limited`, `token_invalid`.

    `logs`: a program that logs as it goes, many times a second: it has a window of its own.
    """
    actor = call.actor
    if actor.role == "anonymous":
        return
    rates, who = context.get(quotas.Rates), actor.credential_id or actor.id
    per_token, per_org = context.get(policy.InForce).rates(actor)
    # A stranger does not learn how busy the others are.
    seen_of_org = standings if actor.role not in ("sandbox", "share") else None
    try:
        if logs:
            rates.hit("logged", who, standings=standings)
        elif actor.role == "workload":  # many people may stand behind it, and nobody else is to wait for them
            rates.hit("per_workload", actor.id, standings=standings)
        else:
            rates.hit("per_token", who, per_token, standings)
            rates.hit("per_org", actor.org_id, per_org, seen_of_org)
    except Problem as problem:
        object_, detail = actor.sandbox_id or actor.id, {"limit": problem.extra["name"]}
        perform(context, call, lambda unit: notices.raise_alert(unit, "rate_limited", object_, detail))
        raise
    if actor.credential_id is not None:
        _watch(context, call, actor.credential_id, caller)


def hit_inits(context: Context, org_id: str, request_id: str, caller: str, standings: Standings) -> None:
    """Count an opening by a stranger. Raises `rate_limited`, with an alert that tells nothing of the caller."""
    rates = context.get(quotas.Rates)
    try:
        rates.hit("anonymous_inits", caller, standings=standings)
    except Problem:
        call = Call(actor=identity.anonymous_actor(org_id), request_id=request_id)
        detail = {"limit": "anonymous_inits"}
        perform(
            context,
            call,
            lambda unit: notices.raise_alert(unit, "rate_limited", "anonymous openings", detail),
        )
        raise


def _watch(context: Context, call: Call, credential_id: str, caller: str) -> None:
    """Suspend a token that too many callers use at once. Raises `token_invalid`."""
    crowds = context.get(quotas.Crowds)
    callers = crowds.seen(credential_id, caller)
    if callers is None:
        return
    suspends = context.get(Settings).suspend_abused and call.actor.role not in KEPT

    def verb(unit: Unit) -> None:
        detail = {"credential": credential_id, "callers": callers, "suspended": suspends}
        notices.raise_alert(unit, "token_abuse", credential_id, detail)
        if suspends and identity.suspend(unit, credential_id) is not None:
            ledger.record(unit, "credential.suspended", credential_id, {"callers": callers})

    perform(context, call, verb)
    if suspends:
        raise Problem(
            "token_invalid", "this token was suspended: too many callers used it at once",
            hint="Ask an owner or admin to look at it, and use one token for each program.",
        )  # fmt: skip


def spend_budgets(context: Context, actor: Actor, operation: Operation) -> None:
    """Count a call of a tool against the budgets. Raises `budget_exceeded`.

    Platform routes stay open: with one of them a budget is raised.
    """
    if operation.profile != "platform":
        context.get(quotas.budgets.Budgets).spend(actor.org_id, _meters(operation))


def _meters(operation: Operation) -> Iterable[quotas.budgets.Meter]:
    yield "requests"
    if operation.name in OPENING:
        yield "sandboxes"
    if operation.effect == "write":
        yield "writes"
        yield "commits"


def count_git(context: Context, call: Call) -> None:
    """Count a request of a git client. Raises `budget_exceeded`."""
    actor, write = call.actor, call.tool == "git push"
    spends: tuple[quotas.budgets.Meter, ...] = ("requests", "writes", "commits") if write else ("requests",)
    outcome = "budget_exceeded"
    try:
        context.get(quotas.budgets.Budgets).spend(actor.org_id, spends)
        outcome = "ok"
    finally:
        meter = context.get(quotas.metering.Meter)
        meter.count(actor.org_id, actor.id, call.tool, write=write, outcome=outcome, ms=0)


def tell_abuse(context: Context, request_id: str, door: str) -> None:
    """Bursts of invalid tokens: one alert in the default organisation, without anything of the caller in it."""
    org = identity.find_org(context.get(Database), identity.DEFAULT_ORG_SLUG)
    if org is None:
        return
    call = Call(actor=identity.anonymous_actor(org[0]), request_id=request_id, door=door)
    perform(context, call, lambda unit: notices.raise_alert(unit, "token_abuse", "invalid tokens", {}))


def fields(standings: Standings) -> dict[str, str]:
    """The header fields of draft-ietf-httpapi-ratelimit-headers-10 (structured fields: lists of names)."""
    if not standings:
        return {}
    policies = ", ".join(f'"{s.name}";q={s.size};w={s.seconds}' for s in standings)
    left = ", ".join(f'"{s.name}";r={s.left};t={math.ceil(s.reset_s)}' for s in standings)
    return {"ratelimit-policy": policies, "ratelimit": left}
