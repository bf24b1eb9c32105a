"""Patterns of a policy file: names (`*` is any text) and paths (`*` within a part, `**` any folders, `?` one sign).

Both take time that grows with pattern times text, never with its power: whatever stands between two stars is searched
for once, at its first place, and that place is never reconsidered (atomic groups). Where the first place fits, no later
one would fit better, because everything before it was a star.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

MAX_PATTERN: Final = 256
_NAME: Final = re.compile(r"[A-Za-z0-9._/@:*+-]{1,128}\Z")
_HOST: Final = re.compile(
    r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]\Z", re.ASCII
)
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff\\\\]")
_UNKNOWN: Final = frozenset("[]{}")


def name_fault(pattern: str) -> str:
    """Why a pattern for names (tools, branches, agents, hosts) is not usable; empty where it is."""
    if _NAME.match(pattern):
        return ""
    return "use 1 to 128 letters, digits and . _ / @ : + -; * stands for any text"


def path_fault(pattern: str) -> str:
    """Why a pattern for paths is not usable; empty where it is.

    What is unknown here but known elsewhere (`[a-z]`, `{a,b}`, `!`) is refused: read as plain text, a deny would
    silently match nothing.
    """
    segments = pattern.split("/")
    if not pattern or len(pattern) > MAX_PATTERN:
        return f"use 1 to {MAX_PATTERN} characters"
    if _UNSAFE.search(pattern):
        return "use forward slashes and no control characters"
    if pattern.startswith(("/", "!")):
        return "paths are relative to the repository, and there is no negation: use a deny"
    if pattern.endswith("/"):
        return f"write {pattern}** for everything below that folder"
    if any(segment in ("", ".", "..") for segment in segments):
        return "leave out empty parts, . and .."
    if any("**" in segment and segment != "**" for segment in segments):
        return "** stands alone between slashes, for example src/**/test.py"
    if _UNKNOWN & set(pattern):
        return "there are no character sets and no braces: write one pattern each, or ? for one character"
    return ""


def host_fault(host: str) -> str:
    """Why a name is no host that a rule could be asked about; empty where it is one.

    The strictest reading: what a resolver, a proxy or a URL parser may take for something else is no host here.
    """
    return (
        ""
        if _HOST.match(host.lower())
        else "Name the host as in api.example.com: no address, no port, no dot at the end."
    )


def matches_name(pattern: str, name: str) -> bool:
    """Whether `pattern`, in which `*` is any text, is the whole of `name`. As Cedar's `like`."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == name
    *middle, last = rest
    end = len(name) - len(last)
    at = len(first)
    if at > end or not name.startswith(first) or not name.endswith(last):
        return False
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


class NamePatterns:
    """Some name patterns as one question: which of them fit?"""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(patterns)
        texts = [_name_regex(pattern) for pattern in patterns]
        self._any = re.compile("|".join(texts), re.DOTALL) if texts else None

    def which(self, name: str) -> tuple[int, ...]:
        """Places of the patterns that are the whole of `name`; most names fit none, which one look tells."""
        if self._any is None or self._any.match(name) is None:
            return ()
        return tuple(n for n, pattern in enumerate(self._patterns) if matches_name(pattern, name))


def _name_regex(pattern: str) -> str:
    first, *rest = map(re.escape, pattern.split("*"))
    if not rest:
        return first + r"\Z"
    *middle, last = rest
    return first + "".join(f"(?>.*?{part})" for part in middle) + f".*{last}" + r"\Z"


class PathPatterns:
    """Some path patterns as one question. `folded`: case and Unicode forms are ignored, as some file systems do."""

    def __init__(self, patterns: Sequence[str], *, folded: bool) -> None:
        self._folded = folded
        texts = [as_regex(fold(pattern) if folded else pattern) for pattern in patterns]
        self._any = re.compile("|".join(texts), re.DOTALL) if texts else None
        self._match = lru_cache(maxsize=4096)(self._match_uncached)

    def match(self, path: str) -> bool:
        """Whether any pattern is the whole of this canonical path."""
        return self._match(path)

    def _match_uncached(self, path: str) -> bool:
        if self._any is None:
            return False
        return self._any.match(fold(path) if self._folded else path) is not None


def as_regex(pattern: str) -> str:
    """A valid path pattern as a regular expression for the whole of a canonical path."""
    groups: list[list[str]] = [[]]
    for segment in pattern.split("/"):
        if segment == "**":
            groups.append([])
        else:
            groups[-1].append(_segment(segment))
    first, *rest = groups
    if not rest:
        return "/".join(first) + r"\Z"
    *middle, last = rest
    text = "".join(f"{segment}/" for segment in first)
    text += "".join(f"(?>(?:[^/]+/)*?{''.join(f'{s}/' for s in group)})" for group in middle if group)
    return text + (f"(?:[^/]+/)*{'/'.join(last)}" if last else ".+") + r"\Z"


def _segment(text: str) -> str:
    """One part between slashes. The stars in it take no slash; only the last one may give back what it took."""
    first, *rest = [re.escape(part).replace(r"\?", "[^/]") for part in text.split("*")]
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>[^/]*?{part})" for part in middle) + f"[^/]*{last}"


def fold(text: str) -> str:
    """Texts with equal folds are one name on some computers (Unicode D146)."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFD", text).casefold()
    folded = unicodedata.normalize("NFKD", folded).casefold()
    return unicodedata.normalize("NFKC", folded)
