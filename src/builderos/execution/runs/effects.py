"""Effects on the outside world, each done once whatever crashes: written down before, and again after.

An effect goes by its idempotency key `run.node` (a retried attempt has the same). Whoever comes to it finds in its row
how it stands:

    no row, refused    nothing has happened: claim it, do it
    done               it has happened: here is its result
    claimed, unsure    somebody began and did not say how it ended: the outside world is asked by the key, and unless
                       it says that nothing has happened, nothing is done
"""

import functools
import logging
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.cleaning import cleaned_texts
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.registry import Registry
from builderos.core.steps import Action, Done, Work
from builderos.core.unit import Call, Unit, perform
from builderos.engine.durable import Durable
from builderos.trust.ledger import service as ledger

from .effects_model import run_effects
from .keys import digest

T = TypeVar("T")
log = logging.getLogger("builderos.runs")
State = Literal["claimed", "done", "refused", "unsure"]
_OPEN: Final = frozenset({"claimed", "unsure"})
# After these nobody knows: the request may have got through. After all others the outside world has said no.
_UNSURE: Final = frozenset({"upstream_failed", "unavailable", "busy", "internal"})


@dataclass(frozen=True, slots=True)
class Effect:
    """One effect. `key` is what the outside world is to know it by; `request` is JSON and holds no secret."""

    kind: str
    key: str
    run_id: str
    step_id: str
    request: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """What the outside world says of a key. `happened` None: it cannot tell."""

    happened: bool | None
    result: Mapping[str, Any] | None = None


Do: TypeAlias = Callable[[Context, Call, Effect], Mapping[str, Any]]
"""Do it, handing `effect.key` on as the idempotency key where there is a place for one; returns what is to be
remembered. Raising a `Problem` that is not `upstream_failed`, `unavailable`, `busy` says: it did not happen; so does
one of these with `happened=False`."""

Ask: TypeAlias = Callable[[Context, Call, Effect], Found]
"""Ask the outside world whether something with this key has happened. Raising means that nobody knows."""


@dataclass(frozen=True, slots=True)
class Handler:
    """How effects of one kind are done, and how the outside world is asked about them."""

    do: Do
    ask: Ask


class Handlers(Registry[Handler]):
    """Handlers by kind of effect: `git.push`, `deploy`, `mail`."""

    def __init__(self) -> None:
        super().__init__("kind of effect")
        self._guard = threading.Lock()
        self._doing: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def alone(self, key: str) -> Generator[None]:
        """Be the only one of this process at a key: an attempt whose time was over may still be at it."""
        with self._guard:
            lock, users = self._doing.get(key, (threading.Lock(), 0))
            self._doing[key] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                users = self._doing[key][1] - 1
                if users:
                    self._doing[key] = (lock, users)
                else:
                    del self._doing[key]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a unit found: `done` with the result, `yours` to do now, or `open`, to be asked about."""

    standing: Literal["done", "yours", "open"]
    result: Mapping[str, Any] | None = None


# -------------------------------------------------------------------- units


def claim(unit: Unit, effect: Effect) -> Claim:
    """Write down that the effect is about to be done. Raises `idempotency_conflict` for another request of this key."""
    asked = dict(cleaned_texts(dict(effect.request)))
    values: dict[str, Any] = {
        "org_id": unit.org_id, "key": effect.key, "kind": effect.kind, "run_id": effect.run_id,
        "step_id": effect.step_id, "request": asked, "request_digest": digest(dict(effect.request)),
        "state": "claimed", "tries": 1, "error": "", "claimed_at": unit.now,
    }  # fmt: skip
    made = insert(run_effects).values(values).on_conflict_do_nothing().returning(run_effects.c.key)
    if unit.execute(made).one_or_none() is not None:
        return Claim("yours")
    row = unit.execute(sa.select(run_effects).where(*_is(effect)).with_for_update()).one()
    if row.request_digest != values["request_digest"]:
        raise Problem(
            "idempotency_conflict", f"{effect.kind} of {effect.key} was begun with another request",
            hint="Start another run.",
        )  # fmt: skip
    if row.state == "done":
        return Claim("done", row.result)
    if row.state in _OPEN:
        return Claim("open")
    return _again(unit, effect)


def claim_again(unit: Unit, effect: Effect) -> Claim:
    """Take over an effect of which the outside world said that it did not happen; of two who ask, one gets it."""
    row = unit.execute(sa.select(run_effects).where(*_is(effect)).with_for_update()).one()
    return Claim("done", row.result) if row.state == "done" else _again(unit, effect)


def _again(unit: Unit, effect: Effect) -> Claim:
    again = {
        "state": "claimed",
        "tries": run_effects.c.tries + 1,
        "error": "",
        "claimed_at": unit.now,
        "ended_at": None,
    }
    unit.execute(sa.update(run_effects).where(*_is(effect)).values(**again))
    return Claim("yours")


def ended(
    unit: Unit, effect: Effect, state: State, result: Mapping[str, Any] | None = None, error: str = ""
) -> None:
    """Write down how it ended. What is done stays done."""
    values: dict[str, Any] = {"state": state, "error": error[:500], "ended_at": unit.now}
    if result is not None:
        values["result"] = dict(cleaned_texts(dict(result)))
    changed = sa.update(run_effects).where(*_is(effect), run_effects.c.state != "done").values(**values)
    if unit.execute(changed).rowcount and state == "done":
        payload = {"kind": effect.kind, "key": effect.key, "step_id": effect.step_id}
        ledger.record(unit, "effect.done", effect.run_id, payload)


def effects_of(unit: Unit, run_id: str) -> list[sa.Row[Any]]:
    """Effects of a run, in the order in which they were begun."""
    c = run_effects.c
    wanted = sa.select(run_effects).where(c.org_id == unit.org_id, c.run_id == run_id)
    return list(unit.execute(wanted.order_by(c.claimed_at, c.key)))


def _is(effect: Effect) -> tuple[sa.ColumnElement[bool], ...]:
    return run_effects.c.key == effect.key, run_effects.c.kind == effect.kind


# -------------------------------------------------------------------- doing


def once(context: Context, call: Call, effect: Effect) -> Mapping[str, Any]:
    """Do an effect that has not happened, and return its result either way. Blocks; for threads.

    Raises what the handler raises, `not_found` without one, and `upstream_failed` where nobody can say whether it has
    happened.
    """
    handlers = context.get(Handlers)
    if effect.kind not in handlers:
        raise Problem("not_found", f"nobody here does {effect.kind}", hint="Configure its provider.")
    with handlers.alone(f"{call.actor.org_id} {effect.kind} {effect.key}"):
        return _once(context, call, effect, handlers.get(effect.kind))


def _once(context: Context, call: Call, effect: Effect, handler: Handler) -> Mapping[str, Any]:
    found = _unit(context, call, lambda unit: claim(unit, effect))
    if found.standing == "open":
        found = _asked(context, call, effect, handler)
    if found.standing == "done":
        return found.result or {}
    if not context.get(
        Durable
    ).sure:  # this process was frozen behind its claim: whoever took over asks outside first
        raise Problem("unavailable", "others may have taken this step over", hint="It is looked at again.")
    try:
        result = handler.do(context, call, effect)
    except Problem as problem:
        nobody_knows = problem.code in _UNSURE and problem.extra.get("happened") is not False
        state: State = "unsure" if nobody_knows else "refused"
        said = str(problem)
        _unit(context, call, lambda unit: ended(unit, effect, state, error=said))
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        _unit(context, call, lambda unit: ended(unit, effect, "unsure", error=said))
        raise
    _unit(context, call, lambda unit: ended(unit, effect, "done", result))
    return result


def _asked(context: Context, call: Call, effect: Effect, handler: Handler) -> Claim:
    """Somebody began it, and nobody wrote down how it ended: ask outside."""
    try:
        said = handler.ask(context, call, effect)
    except Exception as error:
        log.exception("the outside world does not answer about %s of %s", effect.kind, effect.key)
        raise _unknown(effect) from error
    if said.happened is None:
        _unit(context, call, lambda unit: ended(unit, effect, "unsure", error="nobody can tell"))
        raise _unknown(effect)
    if said.happened:
        result = said.result or {}
        _unit(context, call, lambda unit: ended(unit, effect, "done", result))
        return Claim("done", result)
    return _unit(context, call, lambda unit: claim_again(unit, effect))


def _unknown(effect: Effect) -> Problem:
    return Problem(
        "upstream_failed", f"nobody can say whether {effect.kind} of {effect.key} has happened",
        hint="Look there. It is not done again by itself; start another run if it has to be.",
    )  # fmt: skip


def _unit(context: Context, call: Call, verb: Callable[[Unit], T]) -> T:
    return perform(context, call, verb)  # durable: what is outside survives a power loss, too


def action(kind: str) -> Action:
    """The action of a step that does one effect of a kind: its inputs are the request."""

    async def outside(context: Context, work: Work) -> Done:
        effect = Effect(kind, f"{work.run_id}.{work.name}", work.run_id, work.step_id, dict(work.node.inputs))
        doing = functools.partial(once, context, work.call, effect)
        return Done(result=dict(await context.get(Durable).unit(doing)))

    return Action(outside=outside)
