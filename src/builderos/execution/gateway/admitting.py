"""Letting requests through: the model, the policy, secrets taken out, the most that they can cost held."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast

import orjson

from builderos.core.actor import is_anonymous, is_named
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit
from builderos.trust.vault import service as vault

from . import counting, reserving, routing
from .files import AiFile
from .relaying import Job
from .routing import Candidate
from .schema import DEFAULT, About, Json, Kind

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,190}")
LONGEST_WAIT_S: Final = 20.0
"""A provider that wants to be left alone for longer is not waited for."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A request that may be let through, once what it can cost is held."""

    wanted: reserving.Wanted
    job: Callable[[reserving.Reservation], Job]


def admit(unit: Unit, file: AiFile, kind: Kind, body: Json, about: About) -> Job:
    """With the unit's commit the request is let through.

    Raises `not_found`, `validation_failed`, `policy_denied`, `budget_exceeded`.
    """
    (found,) = _reserved(unit, [_considered(unit, _Allowed(unit, file), unit.call, kind, body, about)])
    if isinstance(found, Problem):
        raise found
    return found


def admit_all(
    unit: Unit, file: AiFile, calls: Sequence[Call], kind: Kind, bodies: Sequence[Json]
) -> list[Job | Problem]:
    """Many requests of the unit's actor, of which each is refused for itself."""
    found: list[_Draft | Problem] = []
    models = _Allowed(unit, file)
    for call, body in zip(calls, bodies, strict=True):
        try:
            found.append(_considered(unit, models, call, kind, body, About()))
        except Problem as problem:
            found.append(problem)
    made = iter(_reserved(unit, [draft for draft in found if not isinstance(draft, Problem)]))
    return [draft if isinstance(draft, Problem) else next(made) for draft in found]


class _Allowed:
    """Who may answer the unit's actor, asked once for each name."""

    def __init__(self, unit: Unit, file: AiFile) -> None:
        self._unit, self._file = unit, file
        self._known: dict[str, list[Candidate]] = {}

    def of(self, asked: str) -> list[Candidate]:
        """Raises `not_found`, `policy_denied`."""
        found = self._known.get(asked)
        if found is None:
            if is_anonymous(self._unit.actor) and not self._unit.settings.ai_anonymous:
                raise _stranger()
            if not is_named(self._unit.actor, f"model:{asked}"):
                raise _unnamed(asked)
            found = routing.allowed(self._unit, routing.candidates(self._file, asked))
            self._known[asked] = found
        return found


def _considered(unit: Unit, models: _Allowed, call: Call, kind: Kind, body: Json, about: About) -> _Draft:
    """What would be sent to whom, and the most that it can cost."""
    began = time.monotonic()
    asked = body.get("model", DEFAULT)
    if not isinstance(asked, str) or not _NAME.fullmatch(asked):
        raise Problem(
            "validation_failed", "model must be a name", hint="See GET /openai/v1/models.", param="model"
        )
    stream = body.get("stream") or False
    if stream is not True and stream is not False:
        raise Problem(
            "validation_failed", "stream must be true or false", hint="Leave it out.", param="stream"
        )
    found = models.of(asked)
    hide = _ask_for_usage(body) if stream and kind == "chat" else False
    try:
        body = unit.get(vault.Known).of(unit).json(body)
        sent = counting.input_bound(body, len(orjson.dumps(body)))
    except (RecursionError, orjson.JSONEncodeError) as error:
        raise _unfit(error) from None
    made = 0
    if kind != "embeddings":
        made = max(counting.output_bound(body, one.facts.max_output) for one in found)
    cost = max(one.facts.cost(sent, made) for one in found)
    seconds = sum((one.entry.total_s + LONGEST_WAIT_S) * (1 + one.entry.retries) for one in found)
    wanted = reserving.Wanted(
        kind, asked, found[0].provider, found[0].model, about, sent, made, cost, timedelta(seconds=seconds), call,
        found[0].entry.label,
    )  # fmt: skip
    return _Draft(
        wanted,
        lambda held: Job(kind, body, stream, about, found, held, began, hide, request_id=call.request_id),
    )


def _reserved(unit: Unit, drafts: Sequence[_Draft]) -> list[Job | Problem]:
    if not drafts:
        return []
    held = reserving.reserve(unit, [draft.wanted for draft in drafts])
    pairs = zip(drafts, held, strict=True)
    return [one if isinstance(one, Problem) else draft.job(one) for draft, one in pairs]


def _unfit(error: Exception) -> Problem:
    if "UTF-8" in str(error):
        return Problem(
            "validation_failed",
            "a text holds half of a sign (a lone surrogate)",
            hint="Send whole Unicode text.",
        )
    return Problem("validation_failed", "the JSON is nested too deeply", hint="Send a flatter document.")


def _stranger() -> Problem:
    return Problem(
        "policy_denied", "models are for people who signed in",
        hint="Sign in, use an API key, or ask the server's owner for BUILDEROS_AI_ANONYMOUS.",
        policy_rule="known-people-use-models",
    )  # fmt: skip


def _unnamed(asked: str) -> Problem:
    return Problem(
        "policy_denied", f"the manifest of this app or session does not name the model {asked[:200]}",
        hint="Name it in models of the app or session, as it is asked for.", policy_rule="manifest",
    )  # fmt: skip


def _ask_for_usage(body: Json) -> bool:
    """Have a stream tell its usage at the end; whether that has to be hidden from who did not ask for it."""
    options: Any = body.get("stream_options")
    given = cast(Json, options) if isinstance(options, dict) else {}
    body["stream_options"] = {**given, "include_usage": True}
    return given.get("include_usage") is not True
