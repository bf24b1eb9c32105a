"""Limits (SPEC §3.7), usage and budgets.

Rates are counted in memory under keyed hashes; counts of a sandbox stand in its branch row.
"""

import hmac
import os
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from builderos.core.problems import Problem
from builderos.core.settings import Settings

from . import budgets, metering, overview, projects, suspending, usage
from .crowds import Crowds
from .windows import Windows

__all__ = [
    "Crowds", "Rates", "Standing", "budgets", "metering", "overview", "projects", "spend", "suspending", "usage",
]  # fmt: skip

_UNITS: Final = {60: "minute", 3600: "hour"}


class Standing(NamedTuple):
    """Where one caller stands with one rate: `left` of `size` events in `seconds`, more of them in `reset_s`."""

    name: str
    size: int
    seconds: int
    left: int
    reset_s: float


class Rates:
    """Moving windows per token, organisation and caller.

    A caller is known only by a keyed hash of the address whose key is made at start and never leaves memory: nothing of
    an anonymous person is stored.
    """

    def __init__(self, settings: Settings) -> None:
        self._key = os.urandom(32)
        self._windows = {
            "per_token": Windows(settings.rate_per_token, 60),
            "per_org": Windows(settings.rate_per_org, 60),
            "per_workload": Windows(settings.rate_per_workload, 60),
            "logged": Windows(settings.rate_logged, 60),
            "invalid_tokens": Windows(settings.rate_invalid_tokens, 60),
            "anonymous_inits": Windows(settings.rate_anonymous_inits, 3600),
        }

    def caller(self, address: str) -> str:
        """The pseudonym of a caller's address, valid until the server restarts."""
        return hmac.digest(self._key, address.encode(), "sha256").hex()[:24]

    def hit(
        self, limit: str, who: str, most: int | None = None, standings: list[Standing] | None = None
    ) -> None:
        """Count one event; raises `rate_limited` with `limit`, `used`, `resets_at` when the window is full.

        `most` lowers the size for this event: what an organisation allows its own. `standings` gets where it stands.
        """
        windows = self._windows[limit]
        fits, left, reset_s = windows.take(who, most)
        if standings is not None:
            size = windows.size if most is None else min(most, windows.size)
            standings.append(Standing(limit, size, windows.seconds, left, reset_s))
        if not fits:
            raise self._refusal(limit, who, most)

    def check(self, limit: str, who: str) -> None:
        """Raise like `hit` when the window is full, without counting."""
        if self._windows[limit].used(who) >= self._windows[limit].size:
            raise self._refusal(limit, who)

    def _refusal(self, limit: str, who: str, most: int | None = None) -> Problem:
        windows = self._windows[limit]
        wait = windows.wait(who, most)
        size = windows.size if most is None else min(most, windows.size)
        return Problem(
            "rate_limited",
            f"the limit {limit} of {size} per {_UNITS[windows.seconds]} is used up",
            hint=f"Wait {wait:.0f} s and repeat the call.",
            retry_after_s=round(wait, 1),
            limit=size,
            used=windows.used(who),
            resets_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + wait)),
            name=limit,
        )


def spend(name: str, *, used: int, cost: int, limit: int, near: Callable[[], None] | None = None) -> int:
    """Take `cost` from a counted quota; returns the new count.

    Raises `quota_exceeded` with `limit`, `used`, `resets_at` (null: a count does not reset) when it does not fit; calls
    `near` once when the count passes 80 %.
    """
    after = used + cost
    if after > limit:
        raise Problem(
            "quota_exceeded",
            f"{name}: {after} would exceed the limit of {limit}",
            hint="Promote or archive this workspace and start a new one, or ask an administrator for a higher limit.",
            limit=limit,
            used=used,
            resets_at=None,
            name=name,
        )
    if near is not None and used * 10 < limit * 8 <= after * 10:
        near()
    return after
