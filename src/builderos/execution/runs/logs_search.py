"""Where a text stands in a log: line by line as it is shown, a bounded stretch of it at a time."""

from dataclasses import dataclass
from typing import Final

from .logs_read import Log, Piece, shown

STRETCH: Final = 8 << 20
MOST: Final = 1000
_PIECE: Final = 1 << 20


@dataclass(frozen=True)
class Found:
    """Numbers of lines, ascending, and the byte at which the search goes on."""

    lines: list[int]
    next_offset: int


def search(log: Log, needle: str, offset: int, *, ended: bool) -> Found:
    """Lines with `needle` in what is shown of them, whatever the case, from a byte on: at most 8 MiB and 1,000 lines.

    A last line that may still grow is looked at, and is where the search goes on; so is a line that is cut in two. Its
    number may then come once more.
    """
    wanted = needle.casefold()
    overlap = 4 * len(needle)  # a character has at most four bytes
    found: list[int] = []
    at, until = offset, offset + STRETCH
    while at < until:
        piece = log.piece(at, _PIECE)
        data = piece.data
        if not data:
            break
        last = piece.next_offset >= piece.size
        end = data.rfind(b"\n") + 1
        whole = data if (last or end == 0) else data[:end]
        room = MOST - len(found)
        lines = _lines(shown(whole).casefold(), wanted, piece.line, room)
        found += [line for line in lines if line not in found[-1:]]
        if len(lines) >= room:
            return Found(found, at + _behind(whole, lines[-1] - piece.line))
        if last:
            return Found(found, piece.next_offset if ended else _start_of_last(piece))
        at += len(whole) if end else max(1, len(whole) - overlap)
    return Found(found, at)


def _lines(text: str, wanted: str, first: int, most: int) -> list[int]:
    """Numbers of the lines of `text` that contain `wanted`; its first line has the number `first`."""
    found: list[int] = []
    number, counted = first, 0
    at = text.find(wanted)
    while at >= 0 and len(found) < most:
        number += text.count("\n", counted, at)
        found.append(number)
        end = text.find("\n", at)
        if end < 0:
            break
        counted, at = end, text.find(wanted, end)
    return found


def _behind(data: bytes, breaks: int) -> int:
    """The byte behind the line that so many line breaks stand before."""
    at = -1
    for _ in range(breaks + 1):
        at = data.find(b"\n", at + 1)
        if at < 0:
            return len(data)
    return at + 1


def _start_of_last(piece: Piece) -> int:
    return piece.offset + piece.data.rfind(b"\n") + 1
