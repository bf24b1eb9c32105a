"""What is being served at this moment, and whether more is taken in: how a server ends without cutting anybody off."""

from typing import Final

from builderos.core.problems import Problem

STAY_OPEN: Final = frozenset({"/healthz", "/metrics"})  # a server that drains is alive, and is watched


class Traffic:
    """Counts requests. Belongs to the event loop: nothing in it waits, nothing needs a lock."""

    def __init__(self) -> None:
        self.active = 0
        self.draining = False

    def refusal(self, path: str) -> Problem | None:
        """Why a new request is not taken; None while it is."""
        if not self.draining or path in STAY_OPEN:
            return None
        return Problem(
            "unavailable", "this server is stopping", hint="Nothing was changed; repeat the call shortly.",
            retry_after_s=2,
        )  # fmt: skip
