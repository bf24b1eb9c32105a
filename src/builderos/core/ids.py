"""Prefixed, time-sortable ids (ULID, Crockford base32): one registry, so that two kinds cannot be mixed up."""

import os
import re
import time
from typing import Final, Literal, get_args

Kind = Literal[
    "org", "repo", "sbx", "br", "crd", "act", "chg", "apr", "pul", "bak", "shr", "alt", "tok", "req", "evt", "rel",
    "key", "nte", "pol", "usr", "sva", "inv", "ses", "oac", "idp",
    "whk", "dlv", "wks", "prj", "grt", "sec", "snk", "hld", "run", "pip", "trg", "stp", "sbr", "art", "upl",
    "dst", "mdl", "mdv", "enp", "mdp", "epl", "scj", "pmt", "prm", "cmt", "evl", "aiu", "mem", "dep", "plc", "qst",
    "nbs", "app", "apv", "exp", "xrn",
]  # fmt: skip

KINDS: Final[tuple[str, ...]] = get_args(Kind)
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_ID: Final = re.compile(r"(?:" + "|".join(KINDS) + r")_[0-9A-HJKMNP-TV-Z]{26}\Z")


def new_id(kind: Kind) -> str:
    """Return `<kind>_<26 characters>`: 48 bits of milliseconds, then 80 random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return f"{kind}_" + "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def is_id(text: str, kind: Kind) -> bool:
    """Whether `text` has the exact form of an id of this kind."""
    return text.startswith(f"{kind}_") and _ID.match(text) is not None
