"""Whether a shadow answered as what the caller got."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final, cast

_OF_ITS_OWN: Final = frozenset({"model_name", "model_version", "id"})
NEAR: Final = 1e-6


def same(given: bytes, unheard: bytes) -> bool:
    """Whether two answers say the same: numbers up to a relative difference of 1e-6, but for the version's name."""
    try:
        return _same(_said(given), _said(unheard))
    except (ValueError, RecursionError):
        return False


def _said(answer: bytes) -> Any:
    document: Any = json.loads(answer)
    if not isinstance(document, Mapping):
        return document
    members = cast("Mapping[str, Any]", document)
    return {name: value for name, value in members.items() if name not in _OF_ITS_OWN}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        mine, theirs = cast("Mapping[str, Any]", one), cast("Mapping[str, Any]", other)
        return mine.keys() == theirs.keys() and all(_same(mine[name], theirs[name]) for name in mine)
    if isinstance(one, list) and isinstance(other, list):
        ours, others = cast("list[Any]", one), cast("list[Any]", other)
        return len(ours) == len(others) and all(map(_same, ours, others))
    if isinstance(one, int | float) and isinstance(other, int | float):
        if isinstance(one, bool) or isinstance(other, bool):
            return one is other
        return math.isclose(one, other, rel_tol=NEAR, abs_tol=1e-9)
    return bool(one == other)
