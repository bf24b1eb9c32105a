"""What the audit needs of others: who forgets a person's words beside the ledger, and who carries batches away."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from builderos.core.registry import Registry
from builderos.core.unit import Unit


class Witnesses(Registry[Callable[[Unit], list[str]]]):
    """Checks of other rooms against the ledger (e.g. commits without a line): name → findings."""

    def __init__(self) -> None:
        super().__init__("audit witness")


class Erasers(Registry[Callable[[Unit, str], int]]):
    """Rooms that keep what a person wrote: name → erases it for an id (member or actor), returns how many texts."""

    def __init__(self) -> None:
        super().__init__("eraser")


@dataclass(frozen=True)
class Batch:
    """Rows in a row of numbers, as JSON lines. `signature` (base64, Ed25519) covers `text_of`."""

    org_id: str
    sink_id: str
    stream: str
    first: int
    last: int
    rows: tuple[str, ...]
    sha256: str
    signed_at: str
    signature: str
    public_key: str

    @property
    def data(self) -> bytes:
        """The rows, each with its line break."""
        return "".join(f"{row}\n" for row in self.rows).encode()

    @property
    def envelope(self) -> dict[str, Any]:
        """Everything but the rows."""
        names = (
            "org_id",
            "sink_id",
            "stream",
            "first",
            "last",
            "sha256",
            "signed_at",
            "signature",
            "public_key",
        )
        return {name: getattr(self, name) for name in names} | {"count": len(self.rows)}


class NotTaken(Exception):
    """The other side did not take a batch; the text says why and holds no secret."""


class Carrier(Protocol):
    """Carries batches to one kind of place. `fit` says what of a configuration is secret."""

    def fit(self, config: dict[str, Any], /) -> dict[str, str]:
        """Check a configuration, take its secrets out of it and return them. Raises `validation_failed`."""
        ...

    def carry(self, config: dict[str, Any], secrets: dict[str, str], batch: Batch, /) -> None:
        """Return when the other side has the batch for good. Raises `NotTaken`."""
        ...


class Carriers(Registry[Carrier]):
    """Carriers by kind of sink."""

    def __init__(self) -> None:
        super().__init__("sink")


@dataclass(frozen=True)
class Alarms:
    """Tells people: rule, object, detail; repetitions count up."""

    ring: Callable[[Unit, Literal["sink_failing", "ledger_altered"], str, dict[str, Any]], object]
