"""Regular expressions that cannot be made slow: RE2 runs in time linear in the text, whatever the text is."""

from collections.abc import Iterator
from typing import Any, Final, Protocol, cast

import re2  # pyright: ignore[reportMissingTypeStubs]

_MAX_MEMORY: Final = (
    64 << 20
)  # bytes for the automaton of one expression; beyond it RE2 gets slower, never wrong


class Found(Protocol):
    """One match in bytes."""

    @property
    def lastindex(self) -> int | None:
        """Number of the group that matched last."""
        ...

    def start(self, group: int = 0, /) -> int:
        """Where a group begins; -1 where it took no part."""
        ...

    def end(self, group: int = 0, /) -> int:
        """Where it ends."""
        ...


class Pattern(Protocol):
    """A compiled expression over bytes."""

    def finditer(self, data: bytes, /) -> Iterator[Found]:
        """Matches from left to right that do not overlap."""
        ...


def linear(expression: str) -> Pattern:
    """Compile for bytes, one byte a character. Look-around and back references do not exist here."""
    library = cast("Any", re2)
    options = library.Options()
    options.encoding = library.Options.Encoding.LATIN1
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    return cast("Pattern", library.compile(expression.encode("latin-1"), options))
