"""Checks an export of the ledger without a server: anybody who has the file can.

One JSON object per line: `{"seq", "org_id", "body", "prev_hash", "hash"}`, hashes in hexadecimal; the last line is
`{"head": {"seq", "hash", …}}`. The rule of the chain is `core.chain`.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

from builderos.core.chain import Line, link, seed

Json = dict[str, Any]
_HASH: Final = 32


class _Bad(Exception):
    """A row that does not fit: its number in the chain (in the file, when it has none) and why."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row = row
        self.reason = reason


def verify_file(path: str) -> Json:
    """`{ok, lines, head, first_bad, reason}` of an export; raises `OSError` or `UnicodeDecodeError`."""
    with open(path, encoding="utf-8", newline="\n") as rows:
        return verify_rows(rows)


def verify_rows(rows: Iterable[str]) -> Json:
    """The same for the rows of a file."""
    chain = _Chain()
    try:
        for number, text in enumerate(rows, 1):
            chain.take(_parsed(number, text), number)
        chain.close()
    except _Bad as bad:
        return _verdict(chain, bad.row, bad.reason)
    return _verdict(chain, None, "")


def _verdict(chain: "_Chain", first_bad: int | None, reason: str) -> Json:
    return {
        "ok": first_bad is None, "lines": chain.count, "first_bad": first_bad, "reason": reason, "head": chain.head,
    }  # fmt: skip


class _Chain:
    """The rows read so far. An export is whole: it begins with line 1, which continues the organisation's seed."""

    def __init__(self) -> None:
        self.count = 0
        self.seq: int = 0
        self.previous: bytes = b""
        self._org = ""
        self._closed = False
        self.head: Json = {}

    def take(self, row: Json, number: int) -> None:
        """Check one row against those before it."""
        if self._closed:
            raise _Bad(self.seq + 1, f"row {number} stands behind the head")
        if "head" in row:
            self._closed = True
            self.head = row["head"] if isinstance(row["head"], dict) else {}
            return
        line = _line(row, number)
        if self.count == 0:
            self._begin(row, line)
        if row.get("org_id") != self._org:
            raise _Bad(line.seq, f"line {line.seq} belongs to another organisation")
        if line.seq != self.seq + 1:
            raise _Bad(self.seq + 1, f"line {self.seq + 1} is missing; found {line.seq}")
        if line.prev_hash != self.previous:
            raise _Bad(line.seq, f"line {line.seq} does not continue line {self.seq}")
        if line.hash != link(self.previous, line.seq, line.body):
            raise _Bad(line.seq, f"the content of line {line.seq} was changed")
        self.seq, self.previous, self.count = line.seq, line.hash, self.count + 1

    def _begin(self, row: Json, line: Line) -> None:
        self._org = str(row.get("org_id", ""))
        self.seq = 0
        self.previous = seed(self._org)
        if line.seq != 1:
            raise _Bad(1, f"line 1 is missing; found {line.seq}")

    def close(self) -> None:
        """Check the head against the last row."""
        if not self._closed:
            raise _Bad(self.seq + 1, "the head is missing: rows may have been cut off at the end")
        if self.head.get("seq") != self.seq or (self.count and self.head.get("hash") != self.previous.hex()):
            raise _Bad(self.seq + 1, f"the chain ends at {self.seq}, its head says {self.head.get('seq')}")


class _Twice(Exception):
    """A JSON object says two things under one name: readers would disagree about which one counts."""


def _once_each(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice
    return found


def _parsed(number: int, text: str) -> Json:
    try:
        row = json.loads(text, object_pairs_hook=_once_each)
    except _Twice:
        raise _Bad(number, f"row {number} names a member twice") from None
    except ValueError:
        raise _Bad(number, f"row {number} is not JSON") from None
    if not isinstance(row, dict):
        raise _Bad(number, f"row {number} is not a JSON object")
    return row  # pyright: ignore[reportUnknownVariableType]


def _line(row: Json, number: int) -> Line:
    seq, body = row.get("seq"), row.get("body")
    if not isinstance(seq, int) or isinstance(seq, bool) or not 0 < seq < 2**63 or not isinstance(body, str):
        raise _Bad(number, f"row {number} has no number and body")
    try:
        hashes = [bytes.fromhex(row["prev_hash"]), bytes.fromhex(row["hash"])]
        body.encode()
    except (KeyError, TypeError, ValueError):
        raise _Bad(seq, f"the hashes of line {seq} cannot be read") from None
    if [len(value) for value in hashes] != [_HASH, _HASH]:
        raise _Bad(seq, f"the hashes of line {seq} have another length")
    return Line(seq, body, *hashes)
