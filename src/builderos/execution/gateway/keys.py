"""Credentials of providers: named in the server's file, read from the environment or from the vault, taken in turn."""

import os
import threading
import time
from collections.abc import Mapping
from typing import Final

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.trust.vault import service as vault

from .files import ENV, SECRET, Provider

FRESH_S: Final = 60.0
"""A secret that was disabled is used no longer than this."""
REST_S: Final = 60.0
_KNOWN: Final = 2000


class Keys:
    """The credentials of this process. One that was refused or is used up rests, and others are taken meanwhile."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._lock = threading.Lock()
        self._values: dict[tuple[str, str], tuple[float, str]] = {}
        self._resting: dict[tuple[str, str], float] = {}

    def of(self, context: Context, org_id: str, name: str, provider: Provider) -> list[str | None]:
        """Those of a provider, the rested ones first; one None where it needs none. Blocks.

        Raises `unavailable` where it needs one and none can be had.
        """
        if not provider.keys:
            return [None]
        found: list[str] = []
        problem: Problem | None = None
        for reference in provider.keys:
            try:
                value = self._value(context, org_id, reference, name)
            except Problem as refused:  # another one may do
                problem = refused
                continue
            if value:
                found.append(value)
        if not found:
            why = f": {problem.detail}" if problem is not None else ""
            raise Problem(
                "unavailable", f"there is no credential for the provider {name}{why}",
                hint=f"Set {' or '.join(provider.keys)}, and let the policy file allow a secret to builderos.",
            )  # fmt: skip
        return self._rested(name, found)

    def at_hand(self, org_id: str, name: str, provider: Provider) -> list[str | None] | None:
        """Likewise where nobody has to be asked for it; else None. Does not block."""
        if not provider.keys:
            return [None]
        found: list[str] = []
        for reference in provider.keys:
            known = self._values.get((ENV if reference.startswith(ENV) else org_id, reference))
            if known is None or (not reference.startswith(ENV) and time.monotonic() - known[0] > FRESH_S):
                return None
            found.append(known[1])
        return self._rested(name, found)

    def rest(self, name: str, value: str | None, seconds: float | None) -> None:
        """This one was refused, or has to wait."""
        if value is None:
            return
        with self._lock:
            if len(self._resting) >= _KNOWN:
                self._resting.clear()
            self._resting[name, value] = time.monotonic() + (REST_S if seconds is None else seconds)

    def _rested(self, name: str, found: list[str]) -> list[str | None]:
        now = time.monotonic()

        def tired(value: str) -> bool:
            return self._resting.get((name, value), 0.0) > now

        return [*sorted(dict.fromkeys(found), key=tired)]

    def _value(self, context: Context, org_id: str, reference: str, name: str) -> str:
        if reference.startswith(ENV):
            value = self._environ.get(reference.removeprefix(ENV), "")
            if value and (ENV, reference) not in self._values:
                self._values[ENV, reference] = (0.0, value)
                context.get(vault.Known).saw(value.encode())  # no log and no problem shows it
            return value
        known = self._values.get((org_id, reference))
        if known is not None and time.monotonic() - known[0] < FRESH_S:
            return known[1]
        value = vault.resolve(
            context, org_id, f"{SECRET}{reference.removeprefix(SECRET)}", f"model provider {name}"
        )
        with self._lock:
            if len(self._values) >= _KNOWN:
                self._values.clear()
            self._values[org_id, reference] = (time.monotonic(), value)
        return value
