"""What is being served at this moment, and whether more is taken in: how a server ends without cutting anybody off."""

from collections.abc import Callable
from typing import Final

from builderos.core.problems import Problem

STAY_OPEN: Final = frozenset({"/healthz", "/metrics"})  # a server that drains is alive, and is watched


class Traffic:
    """Counts requests. Belongs to the event loop: nothing in it waits, nothing needs a lock."""

    def __init__(self) -> None:
        self.active = 0
        self.draining = False
        self.lasting: set[Callable[[], object]] = set()

    def let_go(self) -> None:
        """End the replies that would go on for as long as something happens: their clients come back elsewhere."""
        for end in tuple(self.lasting):
            end()

    def refusal(self, path: str) -> Problem | None:
        """Why a new request is not taken; None while it is."""
        if not self.draining or path in STAY_OPEN:
            return None
        return Problem(
            "unavailable", "this server is stopping", hint="Nothing was changed; repeat the call shortly.",
            retry_after_s=2,
        )  # fmt: skip
