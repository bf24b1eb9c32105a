"""Takes credentials out of a stream however it is cut: values that are known, and whatever has the form of one."""

import re
from typing import Final

from .redactor import Redactor
from .scan import KEY_BYTES, KEY_ENDS, redact_bytes, start_of

_RUN: Final = 16 * 1024  # bytes; no form is longer, but for private keys, which are looked for apart
_WORD: Final = bytes(range(0x30, 0x3A)) + bytes(range(0x41, 0x5B)) + bytes(range(0x61, 0x7B)) + b"_.:/+=;~%@-"
"""What stands in forms of credentials; none but that of a private key crosses any other byte."""
_KEY_BEGINS: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_HEAD: Final = b"-----BEGIN "
_LONGEST_HEAD: Final = 80


class Forms:
    """What `redact_bytes` makes of the whole, piece by piece.

    Held back: an unfinished word, and a private key until it ends or has gone on for longer than any does.
    """

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, piece: bytes) -> bytes:
        """The next bytes that are certain."""
        self._held += piece
        cut = self._certain()
        out = redact_bytes(bytes(self._held[:cut])) if cut else b""
        del self._held[:cut]
        return out

    def end(self) -> bytes:
        """What was held back."""
        out = redact_bytes(bytes(self._held))
        self._held.clear()
        return out

    def _certain(self) -> int:
        held, at = self._held, 0
        for begin in _KEY_BEGINS.finditer(held):
            if begin.start() < at:
                continue
            ends = KEY_ENDS.search(held, begin.end(), begin.end() + KEY_BYTES)
            if ends is None and len(held) - begin.end() < KEY_BYTES:
                return begin.start()
            at = ends.end() if ends is not None else begin.end()
        return max(at, self._word(at))

    def _word(self, after: int) -> int:
        """Where the word begins that may go on with the next piece."""
        held = self._held
        head = held.rfind(_HEAD, max(after, len(held) - _LONGEST_HEAD))
        if head >= 0 and b"\n" not in held[head:] and _KEY_BEGINS.match(held, head) is None:
            return head
        word = max(after, len(bytes(held).rstrip(_WORD)))
        if len(held) - word <= 2 * _RUN:
            return word
        return max(word, start_of(bytes(held), len(held) - _RUN))


class Cleaner:
    """The one way of a stream to where people read it. Not to be shared between threads."""

    def __init__(self, redactor: Redactor) -> None:
        self._known = redactor.stream()
        self._forms = Forms()

    def feed(self, piece: bytes) -> bytes:
        """The next bytes that are certain; what cannot be the beginning of a secret does not wait for more."""
        return self._forms.feed(self._known.feed(piece) + self._known.settle())

    def end(self) -> bytes:
        """What was held back."""
        return self._forms.feed(self._known.end()) + self._forms.end()
