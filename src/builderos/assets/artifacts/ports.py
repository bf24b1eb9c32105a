"""What artifacts need of others: a store for the bytes, and who knows runs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from builderos.core.unit import Unit

from .hashing import Altered, Missing, Sum, Summing

__all__ = [
    "Altered",
    "ArtifactStore",
    "Draft",
    "Found",
    "Missing",
    "Opener",
    "Part",
    "RunFacts",
    "Runs",
    "Sum",
    "Summing",
]


@dataclass(frozen=True)
class Found:
    """An object in a store."""

    hash: bytes
    size: int
    modified: datetime


class Draft(Protocol):
    """Bytes on their way into a store; nobody sees them before `keep`."""

    def write(self, data: bytes, /) -> None:
        """The next bytes."""
        ...

    def keep(self, what: Sum, /) -> None:
        """Return when the bytes are there for good under their hash. Raises `Altered` where they are others."""
        ...

    def drop(self) -> None:
        """Forget them; safe after `keep` and to repeat."""
        ...


class Part(Protocol):
    """A part of an upload on its way into a store."""

    def write(self, data: bytes, /) -> None:
        """The next bytes."""
        ...

    def close(self) -> None:
        """Return when all that was written is there for good."""
        ...

    def drop(self) -> None:
        """Forget what was written; instead of `close`."""
        ...


class ArtifactStore(Protocol):
    """Keeps bytes by their hash, each organisation's apart from all others'.

    Every method may raise `Problem("unavailable")` where the store cannot be reached and `storage_full`.
    """

    @property
    def url(self) -> str:
        """Which store this is, as rows remember it; no secret is in it."""
        ...

    def draft(self, org_id: str, /) -> Draft:
        """Begin to put something in."""
        ...

    def size_of(self, org_id: str, hash_: bytes, /) -> int | None:
        """How many bytes lie under a hash; None where none do."""
        ...

    def read(self, org_id: str, hash_: bytes, start: int, stop: int, /) -> Iterator[bytes]:
        """Bytes `start` to `stop` (exclusive), not verified. Raises `Missing` before anything is given out."""
        ...

    def delete(self, org_id: str, hash_: bytes, /) -> None:
        """Take away what lies under a hash, if anything does."""
        ...

    def listed(self, org_id: str, /) -> Iterator[Found]:
        """All there is of an organisation."""
        ...

    def part(self, org_id: str, upload_id: str, offset: int, /) -> Part:
        """Go on with an upload at `offset`; what had been written from there on is forgotten.

        Raises `Missing` where less than that had been written.
        """
        ...

    def parts(self, org_id: str, upload_id: str, size: int, /) -> Iterator[bytes]:
        """The first `size` bytes of an upload. Raises `Missing`."""
        ...

    def seal(self, org_id: str, upload_id: str, what: Sum, /) -> None:
        """Make an upload, whose bytes were found to be `what`, content for good. Safe to repeat after a crash."""
        ...

    def drop_upload(self, org_id: str, upload_id: str, /) -> None:
        """Forget an upload; safe to repeat."""
        ...

    def sweep(self, org_id: str, before: datetime, /) -> None:
        """Take away drafts that were begun before and never ended."""
        ...

    def erase(self, org_id: str, /) -> None:
        """Take away everything of an organisation."""
        ...

    def probe(self) -> None:
        """Write, read and remove something. Raises `Problem("unavailable")` with the reason."""
        ...


Opener = Callable[[str], ArtifactStore]
"""Makes a store of a URL; raises `validation_failed` for one that it cannot read."""


@dataclass(frozen=True)
class RunFacts:
    """What is to be known of a run for what it keeps."""

    repo_id: str | None
    sandbox_id: str | None
    pipeline: str | None


@dataclass(frozen=True)
class Runs:
    """Who knows runs: `find` gives the facts of one, or None."""

    find: Callable[[Unit, str], RunFacts | None]
