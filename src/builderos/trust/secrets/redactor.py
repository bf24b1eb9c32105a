"""Takes known secrets out of texts and streams, in every form in which programs are likely to print them.

One pass of an automaton over all forms of all secrets: the time depends on the text alone, not on how many there are.
"""

import base64
import html
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol, cast
from urllib.parse import quote, quote_plus

import ahocorasick  # pyright: ignore[reportMissingTypeStubs]

REMOVED: Final = "[secret removed]"
SHORTEST: Final = 6  # bytes; anything shorter would be found in half of all texts
_LINE: Final = 16  # a line of a value of many lines is taken out alone, too, from this length on


class _Search(Protocol):
    def __iter__(self) -> Iterator[tuple[int, int]]: ...
    def set(self, text: str, /) -> None: ...


def forms(value: bytes) -> set[bytes]:
    """How a value may be printed: as it is, in base64 at any place of a longer text, in hex, in URLs, JSON and HTML."""
    parts = {
        value,
        value.strip(),
        *(line.strip() for line in value.splitlines() if len(line.strip()) >= _LINE),
    }
    found: set[bytes] = set()
    for part in parts:
        if len(part) >= SHORTEST:
            found |= {part, part.hex().encode(), part.hex().upper().encode()} | _base64(part) | _escaped(part)
    return {form for form in found if len(form) >= SHORTEST}


def _base64(value: bytes) -> set[bytes]:
    """The characters that stand for the value alone, for each of the three places at which it may begin."""
    found: set[bytes] = set()
    for before in range(3):
        bits = 8 * (before + len(value))
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(b"\0" * before + value)[-(-8 * before // 6) : bits // 6])
    return found


def _escaped(value: bytes) -> set[bytes]:
    every = "".join(f"%{byte:02X}" for byte in value)
    url = {quote(value, safe=""), quote(value), quote_plus(value), every}
    found = url | {_lower_escapes(text) for text in url}
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return {form.encode() for form in found}
    for ascii_only in (True, False):
        once = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        found |= {once, once.replace("/", "\\/"), json.dumps(once, ensure_ascii=ascii_only)[1:-1]}
    found |= {html.escape(text), html.escape(text, quote=False), repr(text)[1:-1]}
    return {form.encode("utf-8", "surrogatepass") for form in found}


def _lower_escapes(text: str) -> str:
    """`%2F` as some libraries write it: `%2f`."""
    first, *rest = text.split("%")
    return first + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


class Redactor:
    """Takes a set of values out. Safe to share between threads."""

    def __init__(self, values: Iterable[bytes]) -> None:
        words = cast("Any", ahocorasick).Automaton()
        self.longest = 0
        self._firsts: set[str] = set()
        for value in values:
            for form in forms(value):
                words.add_word(form.decode("latin-1"), len(form))
                self._firsts.add(chr(form[0]))
                self.longest = max(self.longest, len(form))
        if self.longest:
            words.make_automaton()
        self._words = words

    def __bool__(self) -> bool:
        """Whether there is anything to take out."""
        return self.longest > 0

    def search(self, text: str) -> _Search:
        """(last index, length) of every form; more text can be `set` and goes on where the last one ended."""
        return cast("_Search", self._words.iter(text))

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """Where secrets stand, as (start, end) that do not touch."""
        if not self.longest:
            return []
        found: list[tuple[int, int]] = []
        for last, size in self.search(data.decode("latin-1")):
            _join(found, last + 1 - size, last + 1)
        return found

    def clean(self, data: bytes) -> bytes:
        """The bytes without any secret."""
        if not self.longest:
            return data
        stream = self.stream()
        return stream.feed(data) + stream.end()

    def text(self, text: str) -> str:
        """The text without any secret."""
        if not self.longest:
            return text
        data = text.encode("utf-8", "surrogatepass")
        if not self.spans(data):
            return text
        return self.clean(data).decode("utf-8", "surrogatepass")

    def json(self, value: Any) -> Any:
        """A JSON value without any secret in its texts, names included."""
        if not self.longest:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.json(item) for item in cast("list[Any]", value)]
        if isinstance(value, dict):
            return {self.text(str(k)): self.json(item) for k, item in cast("dict[Any, Any]", value).items()}
        return value

    def begun(self, data: bytes) -> int:
        """Where the earliest form may have begun of which `data` holds the first part alone; its length if nowhere."""
        text = data.decode("latin-1")
        for at in range(max(0, len(text) - self.longest + 1), len(text)):
            if text[at] in self._firsts and self._words.longest_prefix(text[at:]) == len(text) - at:
                return at
        return len(text)

    def stream(self) -> "Stream":
        """For what comes in pieces."""
        return Stream(self)


def _join(spans: list[tuple[int, int]], start: int, end: int) -> None:
    while spans and spans[-1][1] >= start:
        before, until = spans.pop()
        start, end = min(start, before), max(end, until)
    spans.append((start, end))


class Stream:
    """Takes secrets out of pieces, however they are cut: the output is that of all of it at once.

    Holds back as many bytes as the longest form has, because a secret may have begun in them.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._longest = redactor.longest
        self._search = redactor.search("") if redactor else None
        self._held = bytearray()
        self._at = 0  # where the held bytes begin in the whole
        self._seen = 0
        self._spans: list[tuple[int, int]] = []
        self._marked = False  # whether the last thing that went out was the mark

    def feed(self, piece: bytes) -> bytes:
        """The next bytes that are certain."""
        if self._search is None:
            return piece
        self._held += piece
        self._seen += len(piece)
        self._search.set(piece.decode("latin-1"))
        for last, size in self._search:
            _join(self._spans, last + 1 - size, last + 1)
        return self._out(self._seen - self._longest + 1)

    def settle(self) -> bytes:
        """What else is certain where nothing may follow for long: only what looks like a beginning is still held."""
        if self._search is None or not self._held:
            return b""
        return self._out(self._at + self._redactor.begun(bytes(self._held)))

    def end(self) -> bytes:
        """What was held back."""
        return self._out(self._seen)

    def _out(self, upto: int) -> bytes:
        parts: list[bytes] = []
        at = self._at
        while at < upto:
            start, end = self._spans[0] if self._spans else (upto, upto)
            if start > at:
                parts.append(bytes(self._held[at - self._at : min(start, upto) - self._at]))
                at, self._marked = min(start, upto), False
                continue
            if not self._marked:
                parts.append(REMOVED.encode())
                self._marked = True
            at = min(end, upto)
            if end <= upto:
                self._spans.pop(0)
        del self._held[: at - self._at]
        self._at = at
        return b"".join(parts)
