"""One item as one line of text that JSON, YAML 1.1 and YAML 1.2 read alike."""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from builderos.assets.workspaces.delivery.parse import DEPTH, INT_DIGITS, KEY_CHARS
from builderos.core.problems import Problem

Item = dict[str, Any]

# What JSON writes raw and YAML refuses or folds: DEL, C1, line separators, the BOM and non-characters.
_ODD: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_LONE: Final = re.compile("[\ud800-\udfff]")
_BARE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\Z")
# With one of these letters in it, no reader takes a word for a number, whatever its base.
_WORDLIKE: Final = re.compile(r"[g-mp-wyzG-MP-WYZ]")
_RESERVED: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
_quote: Final[Callable[[str], str]] = json.JSONEncoder(ensure_ascii=False).encode


def text(value: str) -> str:
    """`value` as a double-quoted scalar, the same in JSON, YAML 1.1 and YAML 1.2.

    Lone surrogates have no form in YAML and become U+FFFD.
    """
    out = _quote(value)
    if out.isascii() and "\x7f" not in out:
        return out
    return _ODD.sub(lambda m: f"\\u{ord(m[0]):04x}", _LONE.sub("\ufffd", out))


def key_token(key: str) -> str:
    """`key` as a YAML mapping key: plain where every reader takes it for text, else quoted."""
    if _BARE.match(key) and _WORDLIKE.search(key) and key.lower() not in _RESERVED:
        return key
    return text(key)


def flow(item: Mapping[str, Any]) -> str:
    """One item on one line of JSON that is YAML too. Raises Problem(validation_failed) for what has no such form."""
    return encode(item)


def encode(value: Any, depth: int = 0) -> str:
    """Any JSON value as one line. Raises Problem(validation_failed)."""
    if isinstance(value, str):
        return text(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) < 10**INT_DIGITS:
        return int.__repr__(value)
    if isinstance(value, float) and math.isfinite(value):
        number = float.__repr__(value)
        return number if "." in number else number.replace("e", ".0e")  # `1e+16` is text in YAML 1.1
    if depth < DEPTH and isinstance(value, Mapping):
        members = cast("Mapping[Any, Any]", value)
        return "{" + ", ".join([f"{_key(k)}: {encode(v, depth + 1)}" for k, v in members.items()]) + "}"
    if depth < DEPTH and isinstance(value, (list, tuple)):
        parts = cast("list[Any]", value)
        return "[" + ", ".join([encode(part, depth + 1) for part in parts]) + "]"
    raise Problem(
        "validation_failed",
        f"A delivery file cannot hold this value: {type(value).__name__} at depth {depth}.",
        hint=f"Use text, finite numbers, booleans, null, lists and objects, at most {DEPTH} deep.",
    )


def _key(key: Any) -> str:
    if isinstance(key, str) and len(key) <= KEY_CHARS:
        return text(key)
    raise Problem(
        "validation_failed",
        f"A key in a delivery file must be text of at most {KEY_CHARS} characters.",
        hint="Shorten the key.",
    )
