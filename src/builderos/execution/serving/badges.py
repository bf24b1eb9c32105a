"""What an app or a session may call of this server, as its manifest names it, and what it shows for that.

Each start gets a credential of its own, never anybody's: it lasts a quarter of an hour, is made longer while that start
runs, and ends with it. It is good at the door of jails alone (`Order.calls`).
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from builderos.core.actor import Actor, is_anonymous
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.execution.compute import service as compute
from builderos.execution.gateway import service as gateway
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger

LIFE: Final = timedelta(minutes=15)
EVERY_S: Final = 300.0
URL: Final = "BUILDEROS_CALL_URL"
TOKEN: Final = "BUILDEROS_CALL_TOKEN"
OPENAI_URL: Final = "OPENAI_BASE_URL"
OPENAI_KEY: Final = "OPENAI_API_KEY"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Who knows endpoints. `find`: id of the one with this id or name; raises what keeps the unit's actor from calling
    it.
    """

    find: Callable[[Unit, str], str]


@dataclass(frozen=True, slots=True)
class Calls:
    """Endpoints and models, as a manifest names them."""

    endpoints: tuple[str, ...] = ()
    models: tuple[str, ...] = ()

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "Calls":
        """As a row keeps them."""
        return cls(tuple(kept.get("endpoints", ())), tuple(kept.get("models", ())))

    def __bool__(self) -> bool:
        return bool(self.endpoints or self.models)

    def as_json(self) -> dict[str, list[str]]:
        """For a row."""
        return {"endpoints": list(self.endpoints), "models": list(self.models)}

    def within(self, scopes: Collection[str]) -> "Calls":
        """Those of them that a credential with these scopes carries."""
        endpoints = tuple(one for one in self.endpoints if f"endpoint:{one}" in scopes)
        return Calls(endpoints, tuple(one for one in self.models if f"model:{one}" in scopes))

    @property
    def scopes(self) -> tuple[str, ...]:
        """What the credential carries of them."""
        return (*(f"endpoint:{one}" for one in self.endpoints), *(f"model:{one}" for one in self.models))


def checked(unit: Unit, calls: Calls) -> dict[str, str]:
    """Have the unit's actor hand on no endpoint or model that it may not call itself; names of endpoints → their ids.

    Raises `not_found`, `policy_denied`.
    """
    find = unit.get(Endpoints).find
    ids = {name: find(unit, name) for name in calls.endpoints}
    if calls.models:
        if is_anonymous(unit.actor) and not unit.settings.ai_anonymous:
            raise Problem(
                "policy_denied", "models are for people who signed in",
                hint="Sign in, or leave models out.", policy_rule="known-people-use-models",
            )  # fmt: skip
        file = unit.get(gateway.Gateway).files.current()
        for name in calls.models:
            gateway.allowed(unit, gateway.candidates(file, name))
    return ids


@dataclass(frozen=True, slots=True)
class Holder:
    """Who gets a badge. `id`: of the app or session; `actor`: on whose behalf, where it is a person's."""

    id: str
    name: str
    repo_id: str
    actor: Actor | None = None


class Badge:
    """The credential of one start. Lives on the loop of its keeper."""

    def __init__(self, context: Context, org_id: str, made: identity.NewCredential, calls: Calls) -> None:
        self._context = context
        self._org_id = org_id
        self._made = made
        self._calls = calls
        self._renewing: asyncio.Task[None] | None = None

    @classmethod
    async def issued(cls, context: Context, org_id: str, holder: Holder, calls: Calls) -> "Badge | None":
        """One that is made longer from now on; None where there is nothing to be called."""
        if not calls:
            return None
        make = functools.partial(_issue, holder=holder, scopes=calls.scopes)
        badge = cls(context, org_id, await asyncio.to_thread(as_system, context, org_id, make), calls)
        badge._renewing = asyncio.get_running_loop().create_task(badge._renew())
        return badge

    def environment(self, taken: Collection[str] = ()) -> dict[str, str]:
        """The variables that it is told in; OpenAI's own where a model may be called, but those that are `taken`."""
        found = {URL: compute.CALLS_AT, TOKEN: self._made.secret}
        if self._calls.models and not {OPENAI_URL, OPENAI_KEY}.intersection(taken):
            found |= {OPENAI_URL: f"{compute.CALLS_AT}/openai/v1", OPENAI_KEY: self._made.secret}
        return found

    async def _renew(self) -> None:
        """Until it is revoked. Where the database is away, the next time has to do."""
        until = functools.partial(_prolong, credential_id=self._made.id)
        going_on = True
        while going_on:
            await asyncio.sleep(EVERY_S)
            with contextlib.suppress(Problem):
                going_on = await asyncio.to_thread(as_system, self._context, self._org_id, until)

    async def end(self) -> None:
        """It is good for nothing any more; where the database is away it ends by itself."""
        if self._renewing is not None:
            self._renewing.cancel()
        gone = functools.partial(_end, credential_id=self._made.id)
        with contextlib.suppress(Problem):
            await asyncio.to_thread(as_system, self._context, self._org_id, gone)


def revoke(unit: Unit, holder_id: str) -> None:
    """End all badges of an app or session, with the unit."""
    identity.narrow(unit, holder_id, ())


def narrow(unit: Unit, holder_id: str, calls: Calls) -> None:
    """Take from all badges of an app what its manifest no longer names, with the unit."""
    identity.narrow(unit, holder_id, calls.scopes)


def _issue(unit: Unit, holder: Holder, scopes: tuple[str, ...]) -> identity.NewCredential:
    actor = holder.actor
    made = identity.issue(
        unit, "workload", actor_id=holder.id, actor_name=holder.name, scopes=scopes, repo_id=holder.repo_id,
        label=holder.id, expires_at=unit.now + LIFE, member_id=actor.member_id if actor is not None else None,
        made_by=(actor.member_id or actor.opened_by) if actor is not None else None,
    )  # fmt: skip
    ledger.record(
        unit, "credential.created", made.id, {"kind": "workload", "for": holder.id, "scopes": list(scopes)}
    )
    return made


def _prolong(unit: Unit, credential_id: str) -> bool:
    return identity.prolong(unit, credential_id, unit.now + LIFE)


def _end(unit: Unit, credential_id: str) -> None:
    if identity.revoke(unit, credential_id=credential_id):
        ledger.record(unit, "credential.revoked", credential_id, {"kind": "workload"})
