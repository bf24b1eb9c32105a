"""The providers of one server: enrolled by name with a way to build them, built when they are first needed."""

import hashlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from builderos.core.problems import Problem
from builderos.core.registry import Registry

from .ports import SandboxProvider
from .schema import Probe

Builder = Callable[[], SandboxProvider]


class SandboxProviders(Registry[Builder]):
    """Name → provider. `place` names this server's machine and state folder, and neither of them readably."""

    def __init__(self, home: Path) -> None:
        super().__init__("sandbox provider")
        self.place = hashlib.sha256(f"{socket.gethostname()}\0{home}".encode()).hexdigest()[:16]
        self._built: dict[str, SandboxProvider] = {}
        self._lock = threading.Lock()
        self._closed = False

    def provider(self, name: str) -> SandboxProvider:
        """The provider of this name. Raises `not_found`, or `unavailable` while the server stops and where its
        builder says so."""
        if name not in self:
            raise Problem(
                "not_found", f"there is no provider of sandboxes called {name[:80]!r}",
                hint="Choose a listed one.", allowed=sorted(self),
            )  # fmt: skip
        with self._lock:
            if self._closed:
                raise Problem("unavailable", "the server is stopping", hint="Try again.")
            if name not in self._built:
                self._built[name] = self.get(name)()
            return self._built[name]

    def probe(self, name: str) -> Probe:
        """What can be had there. Of another machine nothing is asked: it is told by a command that cannot start."""
        provider = self.provider(name)
        return Probe(name, "remote") if provider.remote else provider.probe()

    def close(self) -> None:
        """Close those that were built: what they run here ends."""
        with self._lock:
            self._closed = True
            built, self._built = self._built, {}
        for provider in built.values():
            provider.close()
