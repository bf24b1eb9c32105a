"""What sessions need of others: the address of the door that people reach them at."""

from dataclasses import dataclass
from pathlib import Path


class Address:
    """Where this process's door to sessions is; unknown until it is open."""

    def __init__(self) -> None:
        self._pattern = ""

    def open(self, pattern: str) -> None:
        """From now on it is there. A `*` in the host stands for a label of each session's own."""
        self._pattern = pattern.rstrip("/")

    def close(self) -> None:
        """It is there no more."""
        self._pattern = ""

    def origin_of(self, id_: str) -> str:
        """Scheme, host and port of a session's pages; empty where there is no door."""
        return self._pattern.replace("*", label_of(id_))

    def url_of(self, id_: str) -> str | None:
        """Where a session is."""
        return f"{self.origin_of(id_)}{base_of(id_)}" if self._pattern else None


@dataclass(frozen=True, slots=True)
class Way:
    """How the server of a session is reached while it runs: the socket file of its jail, and what that server asks of
    whoever calls. Neither leaves this process.
    """

    door: Path
    secret: str


def base_of(id_: str) -> str:
    """The path that all of a session lies below."""
    return f"/s/{id_}/"


def label_of(id_: str) -> str:
    """A session's id as a label of a host name."""
    return id_.lower().replace("_", "-")
