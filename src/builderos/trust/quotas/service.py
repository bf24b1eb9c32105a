"""Limits (SPEC §3.7). Rates are counted in memory under keyed hashes; counts of a sandbox stand in its branch row."""

import hmac
import os
import time
from collections.abc import Callable
from typing import Final

from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from builderos.core.problems import Problem
from builderos.core.settings import Settings

_PROBE: Final = "probe"


class Rates:
    """Moving windows per token, organisation and caller.

    A caller is known only by a keyed hash of the address whose key is made at start and never leaves memory: nothing of
    an anonymous person is stored.
    """

    def __init__(self, settings: Settings) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._key = os.urandom(32)
        self._items: dict[str, tuple[RateLimitItem, int]] = {
            "per_token": (RateLimitItemPerMinute(settings.rate_per_token), settings.rate_per_token),
            "per_org": (RateLimitItemPerMinute(settings.rate_per_org), settings.rate_per_org),
            "invalid_tokens": (
                RateLimitItemPerMinute(settings.rate_invalid_tokens),
                settings.rate_invalid_tokens,
            ),
            "anonymous_inits": (
                RateLimitItemPerHour(settings.rate_anonymous_inits),
                settings.rate_anonymous_inits,
            ),
        }

    def caller(self, address: str) -> str:
        """The pseudonym of a caller's address, valid until the server restarts."""
        return hmac.digest(self._key, address.encode(), "sha256").hex()[:24]

    def hit(self, limit: str, who: str) -> None:
        """Count one event; raises `rate_limited` with `limit`, `used`, `resets_at` when the window is full."""
        item, size = self._items[limit]
        if not self._limiter.hit(item, limit, who):
            raise self._refusal(limit, item, size, who)

    def check(self, limit: str, who: str) -> None:
        """Raise like `hit` when the window is full, without counting."""
        item, size = self._items[limit]
        if not self._limiter.test(item, limit, who):
            raise self._refusal(limit, item, size, who)

    def _refusal(self, limit: str, item: RateLimitItem, size: int, who: str) -> Problem:
        stats = self._limiter.get_window_stats(item, limit, who)
        wait = max(0.0, stats.reset_time - time.time())
        return Problem(
            "rate_limited",
            f"the limit {limit} of {size} per {item.GRANULARITY.name} is used up",
            hint=f"Wait {wait:.0f} s and repeat the call.",
            retry_after_s=round(wait, 1),
            limit=size,
            used=size - stats.remaining,
            resets_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(stats.reset_time)),
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
