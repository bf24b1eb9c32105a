"""On whose behalf runs act: whoever started them, with the rights of today."""

import time
from collections import OrderedDict
from dataclasses import replace
from typing import Final

from builderos.core.actor import Actor
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, as_system
from builderos.trust.identity import service as identity

from .rows import call_of, find_run

_FRESH_S: Final = 2.0
_KNOWN: Final = 5000


class Callers:
    """The callers of recent runs, so that a unit can be opened without asking first.

    Every two seconds it is asked anew whether they may still act: a revoked credential stops a run at its next step.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, Call]] = OrderedDict()

    def remember(self, run_id: str, call: Call) -> None:
        """Of a run whose caller was looked at just now; the last few thousand are kept."""
        self._known[run_id] = (time.monotonic(), call)
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    def of(self, context: Context, org_id: str, run_id: str) -> Call:
        """Of this run. Raises `not_found`, `token_invalid` where who started it may act no more."""
        at, call = self._known.get(run_id, (0.0, None))
        if call is None or time.monotonic() - at > _FRESH_S:

            def look(unit: Unit) -> Call:
                recorded = call_of(find_run(unit, run_id))
                actor = _still(unit, recorded.actor)
                return replace(recorded, actor=actor)

            call = as_system(context, org_id, look, read_only=True)
            self.remember(run_id, call)
        return call

    @staticmethod
    def recorded(context: Context, org_id: str, run_id: str) -> Call:
        """Who started it, whatever became of them: for writing down that they may act no more."""
        return as_system(context, org_id, lambda unit: call_of(find_run(unit, run_id)), read_only=True)


def _still(unit: Unit, actor: Actor) -> Actor:
    if actor.credential_id is None:  # the server itself
        return actor
    found = identity.still(unit, actor)
    if found is None:
        raise Problem(
            "token_invalid", "who started this run may act no more: the credential was revoked, or the member has left",
            hint="Run it again with a credential that is valid.",
        )  # fmt: skip
    return found
