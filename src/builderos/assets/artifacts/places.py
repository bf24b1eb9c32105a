"""Which store is which: by the URL that every row of content remembers."""

import threading
from typing import Final

from builderos.core.problems import Problem
from builderos.core.unit import Unit

from .folder import FOLDER
from .ports import ArtifactStore, Opener


class Stores:
    """All stores of a server, opened when they are first needed. New content goes to `current`."""

    def __init__(self, folder: ArtifactStore, configured: str | None) -> None:
        self._configured: Final = configured or FOLDER
        self._openers: dict[str, Opener] = {}
        self._open: dict[str, ArtifactStore] = {FOLDER: folder}
        self._lock = threading.Lock()

    def enrol(self, scheme: str, opener: Opener) -> None:
        """Who opens URLs that begin like this."""
        self._openers[scheme] = opener

    def at(self, url: str) -> ArtifactStore:
        """The store of a URL. Raises `validation_failed` for one that nobody can read."""
        found = self._open.get(url)
        if found is not None:
            return found
        opener = self._openers.get(url.partition("://")[0])
        if opener is None:
            raise Problem(
                "validation_failed", f"there is no store of artifacts like {url[:200]!r}",
                hint=f"Say folder, or one of: {', '.join(f'{name}://…' for name in self._openers)}.",
            )  # fmt: skip
        with self._lock:
            return self._open.setdefault(url, opener(url))

    def current(self, unit: Unit) -> ArtifactStore:
        """Where new content goes: what the last move said, else the setting."""
        rows = unit.ask("ops.artifact_place")
        return self.at(str(rows[0][0]) if rows else self._configured)
