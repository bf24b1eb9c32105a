"""Patterns of branches and paths: `*` is any text without a slash, `**` any text, `?` one character."""

import functools
import re
from collections.abc import Iterable
from typing import Any, Final, cast

import re2  # pyright: ignore[reportMissingTypeStubs]

_re2: Final = cast("Any", re2)
_WILD: Final = re.compile(r"(\*\*/|\*\*|\*|\?)")
_MEANS: Final = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def fits(pattern: str, text: str) -> bool:
    """Whether the whole text fits; takes time in proportion to the text, whatever the pattern is."""
    return _compiled(pattern).fullmatch(text) is not None


def any_fits(patterns: Iterable[str], texts: Iterable[str]) -> bool:
    """Whether some text fits some pattern."""
    known = tuple(patterns)
    return any(fits(pattern, text) for text in texts for pattern in known)


@functools.lru_cache(maxsize=512)
def _compiled(pattern: str) -> Any:
    parts = (_MEANS.get(part) or re.escape(part) for part in _WILD.split(pattern))
    return _re2.compile("(?s)" + "".join(parts))
