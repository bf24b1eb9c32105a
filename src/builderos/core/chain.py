"""The rule of the ledger's chain, in one place: the server follows it, anybody with an export can check it.

A line's hash is `sha256(previous hash + seq as 8 big-endian bytes + body)`; the first previous hash is
`sha256(organisation id)`. The body is hashed exactly as it is stored.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One line of the chain; both hashes have 32 bytes."""

    seq: int
    body: str
    prev_hash: bytes
    hash: bytes


@dataclass(frozen=True)
class Verdict:
    """Result of a verification: `first_bad` is the first line that does not fit, `reason` says how."""

    ok: bool
    lines: int
    head: str
    first_bad: int | None = None
    reason: str = ""


def seed(org_id: str) -> bytes:
    """What the first line of an organisation continues: 32 bytes."""
    return hashlib.sha256(org_id.encode()).digest()


def link(prev_hash: bytes, seq: int, body: str) -> bytes:
    """The hash that a line must have: 32 bytes."""
    return hashlib.sha256(prev_hash + seq.to_bytes(8, "big") + body.encode()).digest()


def run(previous: bytes, first: int, bodies: Iterable[bytes]) -> list[bytes]:
    """The hashes (32 bytes each) of lines in a row, numbered from `first`, of which the first continues `previous`."""
    hashes: list[bytes] = []
    sha256 = hashlib.sha256
    for seq, body in enumerate(bodies, first):
        previous = sha256(previous + seq.to_bytes(8, "big") + body).digest()
        hashes.append(previous)
    return hashes


def verify(
    org_id: str,
    lines: Iterable[Line],
    head: tuple[int, bytes] | None = None,
    *,
    after: tuple[int, bytes] | None = None,
) -> Verdict:
    """Check every line against its predecessor, and the last one against the stored head when given.

    `after`: number and hash of a line known to be good, where `lines` go on behind it.
    """
    seq, previous = after or (0, seed(org_id))
    for line in lines:
        seq += 1
        if line.seq != seq:
            return Verdict(False, seq - 1, previous.hex(), seq, f"line {seq} is missing; found {line.seq}")
        if line.prev_hash != previous:
            return Verdict(
                False, seq - 1, previous.hex(), seq, f"line {seq} does not continue line {seq - 1}"
            )
        if line.hash != link(previous, seq, line.body):
            return Verdict(False, seq - 1, previous.hex(), seq, f"the content of line {seq} was changed")
        previous = line.hash
    if head is not None and head != (seq, previous):
        return Verdict(
            False, seq, previous.hex(), seq + 1, f"the chain ends at {seq}, its head says {head[0]}"
        )
    return Verdict(True, seq, previous.hex())
