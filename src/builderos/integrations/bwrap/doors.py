"""The lines between one command and the world: out to listed hosts, to the server that started it, and in to what it
serves. None is there before the command begins.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from builderos.execution.compute.schema import CALLS_PORT, Egress, Spec

from .doorman import Doorman
from .egress import Proxy, Rules
from .walls import Built
from .way_in import WayIn
from .way_out import WayOut


class Doors:
    """Those of one room."""

    def __init__(self, spec: Spec, folder: str, rules: Rules) -> None:
        self._spec = spec
        self._folder = folder
        self._rules = rules
        self._proxy: Proxy | None = None
        self._lines: list[Proxy | WayIn | WayOut] = []
        self._openers: list[Callable[[], Awaitable[None]]] = []

    def make(self, pid: int, built: Built, doorman: Doorman) -> None:
        """Put listeners into the network of process `pid`. Raises `OSError`."""
        spec = self._spec
        if spec.hosts:
            proxy = self._proxy = Proxy(replace(self._rules, password=built.password))
            self._add(proxy, partial(proxy.serve, built.door or doorman.open(pid, built.port)))
        if spec.calls:
            out = WayOut(spec.calls)
            self._add(out, partial(out.serve, doorman.open(pid, CALLS_PORT)))
        if spec.serves:
            way = WayIn(doorman, pid, spec.serves)
            self._add(way, partial(way.open, self._folder))

    def _add(self, line: Proxy | WayIn | WayOut, opener: Callable[[], Awaitable[None]]) -> None:
        self._lines.append(line)
        self._openers.append(opener)

    @property
    def wanted(self) -> bool:
        """Whether there is one to be opened."""
        return bool(self._openers)

    async def open(self) -> None:
        """Take connections. Raises `OSError`."""
        for opener in self._openers:
            await opener()

    def close(self) -> None:
        """Cut all lines."""
        for line in self._lines:
            line.close()

    @property
    def passed(self) -> tuple[int, int]:
        """Bytes sent to listed hosts, and received from there."""
        return (self._proxy.sent, self._proxy.received) if self._proxy is not None else (0, 0)

    @property
    def decisions(self) -> tuple[Egress, ...]:
        """What was asked of the proxy, and what became of it."""
        return self._proxy.decisions if self._proxy is not None else ()
