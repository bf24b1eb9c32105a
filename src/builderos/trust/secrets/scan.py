"""Find credentials in text, in time linear in its length, and take them out of it."""

import hashlib
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import accumulate
from typing import Any, Final, NamedTuple, cast

from .likely import (
    ADDRESS,
    ASSIGNMENT,
    HEADER,
    LOCKS,
    PRINTED,
    Likely,
    assigned,
    in_address,
    in_header,
    is_placeholder,
)
from .linear import Found, Pattern, linear
from .rules import RULES, Rule

MAX_FINDINGS: Final = 100  # different ones of one file; whoever mends these is told of more
_BEHIND: Final = 1024
_LOOKED_AT: Final = 400
_KEPT: Final = 64
_FORMS: Final[Pattern] = linear("|".join(f"({rule.form})" for rule in RULES))
_LIKELY: Final[Pattern] = linear(f"(?:{ASSIGNMENT}|{ADDRESS}|{HEADER})")
KEY_ENDS: Final = re.compile(rb"-----END [A-Z0-9 ]{0,30}PRIVATE KEY[A-Z ]{0,8}-----")
KEY_BYTES: Final = 16_384
_TITLES: Final = {
    "assigned-secret": "secret value", "address-password": "password in an address",
    "authorization-header": "credential",
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """A credential at a place: bytes `start` to `end`, on the 1-based `line`; its text is not kept.

    `preview` tells what kind it is and how long, by what is public in its form or stands before it.
    """

    rule: str
    kind: str
    line: int
    start: int
    end: int
    preview: str


class _Spot(NamedTuple):
    start: int
    end: int
    rule: str
    kind: str
    preview: str


def scan(
    data: bytes, path: str = "", known: Callable[[bytes], bool] | None = None, limit: int = MAX_FINDINGS
) -> list[Finding]:
    """Credentials in a file, in order, each where it stands first, at most `limit` that are not `known`.

    Copies and known ones do not count, so that nothing hides behind them. `path` tells files that no person wrote.
    """
    data = as_utf8(data)
    found: list[Finding] = []
    line, counted = 1, 0
    for spot, value in _distinct(data, path):
        if known is not None and known(value):
            continue
        line += data.count(b"\n", counted, spot.start)
        counted = spot.start
        found.append(Finding(spot.rule, spot.kind, line, spot.start, spot.end, spot.preview))
        if len(found) >= limit:
            break
    return found


def values_in(data: bytes) -> set[bytes]:
    """Every credential of a file, without their places."""
    return {value for _, value in _distinct(as_utf8(data), "")}


def text_at(data: bytes, found: Finding) -> bytes:
    """The credential itself; for what must never be shown to anybody."""
    return as_utf8(data)[found.start : found.end]


def as_utf8(data: bytes) -> bytes:
    """Text in UTF-16 as some editors save it would hide a credential between zero bytes."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace").encode()
    return data


def _distinct(data: bytes, path: str) -> Iterator[tuple[_Spot, bytes]]:
    """Each credential with its first place, in order."""
    seen: set[tuple[str, bytes]] = set()
    for spot in _spots(data, path):
        value = data[spot.start : spot.end]
        # One end of a key may serve thousands of beginnings: what was seen is not kept at its whole length.
        mark = (spot.rule, value if len(value) <= _KEPT else hashlib.sha256(value).digest())
        if mark not in seen:
            seen.add(mark)
            yield spot, value


def _spots(data: bytes, path: str) -> Iterator[_Spot]:
    """Places of published forms, and the doubtful ones between them, in order."""
    published = list(_published(data))
    if LOCKS.search(path):
        return iter(published)
    starts = [spot.start for spot in published]
    ends = list(accumulate((spot.end for spot in published), max))

    def apart(spot: _Spot) -> bool:
        before = bisect_left(starts, spot.end)
        return not before or ends[before - 1] <= spot.start

    return merge(published, filter(apart, _doubted(data)))


def _published(data: bytes) -> Iterator[_Spot]:
    for match in _FORMS.finditer(data):
        rule = RULES[cast("int", match.lastindex) - 1]
        start, end = match.start(), match.end()
        text = data[start:end]
        if rule.sure is not None and not rule.sure(text, data[end : end + _BEHIND]):
            continue
        if text[:_LOOKED_AT].decode("latin-1") in PRINTED:
            continue
        if rule.id != "private-key" and is_placeholder(text[rule.shown : _LOOKED_AT].decode("latin-1")):
            continue
        yield _Spot(start, _whole(data, rule, end), rule.id, rule.title, _shown(rule, text))


def _shown(rule: Rule, text: bytes) -> str:
    public = text[: rule.shown].decode("latin-1")
    return f"{public}… ({rule.title})" if rule.id == "private-key" else f"{public}… ({len(text)} characters)"


def _whole(data: bytes, rule: Rule, end: int) -> int:
    """Where the credential ends: a private key goes on behind the line that announces it."""
    if rule.id != "private-key":
        return end
    last = KEY_ENDS.search(data, end, end + KEY_BYTES)
    return last.end() if last is not None else end


def _doubted(data: bytes) -> Iterator[_Spot]:
    for match in _LIKELY.finditer(data):
        rule, likely = _judge(data, match)
        if likely is not None:
            preview = f"{likely.label} … ({likely.end - likely.start} characters)"
            yield _Spot(likely.start, likely.end, rule, _TITLES[rule], preview)


def _judge(data: bytes, match: Found) -> tuple[str, Likely | None]:
    spans = [(match.start(group), match.end(group)) for group in range(1, 7)]
    quoted, bare, user, password, host, header = spans
    if password[0] >= 0:
        return "address-password", in_address(data, user, password, host)
    if header[0] >= 0:
        return "authorization-header", in_header(data, header)
    value = quoted if quoted[0] >= 0 else bare
    return "assigned-secret", assigned(data, match.start(), value, quoted=quoted[0] >= 0)


def redact(text: str) -> str:
    """The text with everything in it that has the form of a credential replaced by its kind.

    Without the doubts of `scan`: here a word too many is better than a credential too many.
    """
    data = text.encode("utf-8", "surrogatepass")
    found = redact_bytes(data)
    return text if found is data else found.decode("utf-8", "surrogatepass")


def redact_bytes(data: bytes) -> bytes:
    """The same of bytes; the very object where nothing was found."""
    parts: list[bytes] = []
    last = 0
    for match in _FORMS.finditer(data):
        rule = RULES[cast("int", match.lastindex) - 1]
        if match.start() < last:
            continue
        parts += [data[last : match.start()], f"[{rule.title} removed]".encode()]
        last = _whole(data, rule, match.end())
    return b"".join([*parts, data[last:]]) if parts else data


def start_of(data: bytes, at: int) -> int:
    """Where the form of a credential begins that goes across byte `at`; `at` where none does."""
    for match in _FORMS.finditer(data):
        if match.start() >= at:
            break
        if match.end() > at:
            return match.start()
    return at


def redacted(value: Any) -> Any:
    """A JSON value with every credential in its texts replaced, names included."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [redacted(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {redact(str(name)): redacted(item) for name, item in cast("dict[Any, Any]", value).items()}
    return value
