"""What people wrote stands in the ledger as a commitment: it can be erased, and the chain does not notice.

A line's payload holds `{"commitment": "<hex>"}` in the place of the text. The commitment is SHA-256 over 16 random
bytes of salt and the text in UTF-8; salt and text stand beside the ledger. Whoever is given both can check them against
the line; without the salt not even a guess of the text can be checked.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import sqlalchemy as sa

from builderos.core.unit import Unit

from .model import ledger_words

PERSONAL: Final = ("comment", "reason", "title")
"""Members of a payload in which people write what they like."""
_COMMITMENT: Final = "commitment"
_SALT: Final = 16


@dataclass(frozen=True)
class Words:
    """A text with what proves that it is the one that was committed to; both in hexadecimal."""

    commitment: str
    salt: str
    text: str


def committed(unit: Unit, payload: dict[str, Any]) -> dict[str, Any]:
    """The payload with commitments in the place of what a person wrote; the texts are kept in this transaction."""
    if unit.actor.role == "system":
        return payload
    found = {name: text for name in PERSONAL if isinstance(text := payload.get(name), str) and text}
    if not found:
        return payload
    subject = unit.actor.member_id or unit.actor.id
    return payload | {name: _commit(unit, text, subject) for name, text in found.items()}


def _commit(unit: Unit, text: str, subject: str) -> dict[str, str]:
    salt = os.urandom(_SALT)
    commitment = hashlib.sha256(salt + text.encode()).digest()
    unit.add(
        ledger_words,
        org_id=unit.org_id,
        commitment=commitment,
        subject=subject,
        salt=salt,
        words=text,
        at=unit.now,
    )
    return {_COMMITMENT: commitment.hex()}


def commitments_of(payload: Mapping[str, Any]) -> dict[str, str]:
    """Member → commitment (hexadecimal), of those that are commitments."""
    found: dict[str, str] = {}
    for name in PERSONAL:
        value: Any = payload.get(name)
        if isinstance(value, dict):
            commitment = cast("dict[str, Any]", value).get(_COMMITMENT)
            if isinstance(commitment, str) and len(commitment) == 64:
                found[name] = commitment
    return found


def kept(unit: Unit, payloads: Iterable[Mapping[str, Any]]) -> dict[str, Words]:
    """The texts behind the commitments of these payloads, as far as they were not erased, by commitment."""
    wanted = {bytes.fromhex(hex_) for payload in payloads for hex_ in commitments_of(payload).values()}
    if not wanted:
        return {}
    c = ledger_words.c
    rows = unit.execute(sa.select(c.commitment, c.salt, c.words).where(c.commitment.in_(wanted)))
    return {row.commitment.hex(): Words(row.commitment.hex(), row.salt.hex(), row.words) for row in rows}


def opened(payload: dict[str, Any], known: Mapping[str, Words]) -> dict[str, Any]:
    """The payload with its texts; null where one was erased."""
    found = commitments_of(payload)
    texts = {name: known[hex_].text if hex_ in known else None for name, hex_ in found.items()}
    return payload | texts


def forget(unit: Unit, *, subject: str | None = None, before: Any = None) -> int:
    """Erase what a subject wrote, or what was written before a time; nothing that is held. Returns how many texts."""
    return int(unit.ask("ops.forget_words", subject, before)[0][0])
