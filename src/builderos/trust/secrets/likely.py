"""Credentials without a published form: a value that looks random behind a name that says secret, a password in an
address, an Authorization header. What is refused for these must be right nearly always, so each has to pass
many doubts.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

_NAMES: Final = (
    "passw(?:or)?d|passwd|pwd|passphrase|secret|token|credential|"
    "(?:api|access|auth|account|signing|encryption|private|service|shared|master)[_.-]?key"
)
ASSIGNMENT: Final = (
    rf"(?i)(?:{_NAMES})[0-9a-z_.-]{{0,40}}\\?[\"'`]?\]?[ \t]{{0,4}}"
    r"(?::[ \t]?[a-z_][0-9a-z_.\[\]|]{0,30}[ \t]{0,3})?"
    r"(?:=>|:=|={1,3}|:|>)[ \t]{0,8}"
    r"(?:[a-z@]{0,2}\\?[\"'`]([^\s\"'`\\]{12,})\\?[\"'`]|([^\s\"'`,;<>(){}\[\]\\]{16,}))"
)
ADDRESS: Final = (
    r"\b[a-zA-Z][0-9a-zA-Z+.-]{1,20}://([^\s:/@?#\"'`<>$%{}\\]{0,64}):"
    r"([^\s:@/\"'`<>${}\\]{3,200})@([0-9A-Za-z._-]{1,200})"
)
HEADER: Final = (
    r"(?i)\bauthorization[\"'`]?\]?[ \t]{0,3}[:=,][ \t]{0,3}[\"'`]?"
    r"(?:bearer|basic|token)[ \t]([0-9a-z._~+/=-]{16,})"
)
_LONGEST: Final = 400
_HARD: Final = 12
_NAME_BEFORE: Final = re.compile(rb"[0-9A-Za-z_.-]{0,40}\Z")
_NO_SECRET_NAME: Final = re.compile(
    r"hash|digest|checksum|sha_?\d|md5|fingerprint|public|_?ids?\Z|keyid|name|path|file|_?dir\Z|ur[li]|endpoint|type|length|"
    r"_?len\Z|size|count|limit|ttl|expir|format|pattern|regex|prefix|suffix|header|field|label|title|hint|param|column|"
    r"placeholder|example|message|error|version|provider|policy|scope|issuer|tokeni[sz]|arn\Z|_?ref\Z|refs?\Z|selector|class"
)
_PLACEHOLDER: Final = re.compile(
    r"example|placeholder|changeme|change[_-]?(?:me|it|this)|dummy|fake|sample|redact|removed|masked|hidden|insert|replace|"
    r"your|\bmy[_-]|to[_-]?do\b|fixme|foobar|foo[_-]?bar|lorem|xxxx|\*{3}|\.{3}|-{4}|_{4}|#{3}|123456789|abcdefgh|qwerty|"
    r"0000000|1111111|aaaaaaa|deadbeef|test|mock|stub|secret[_-]?here|not[_-]?a|p[a@]ssw[o0]rd|hunter2|letmein|"
    r"(?:secret|token|key|passw(?:or)?d)[_-]?\d{0,4}\Z|(?:Private|Public)Key",
    re.IGNORECASE,
)
_TEMPLATE: Final = re.compile(
    r"\$[({A-Z_a-z]|\{\{|\{[a-z_]*(?::[0-9.a-z]*)?\}|%[({]|%s|%[A-Z_]{2,}%|\A<|>\Z|\A@|\Aenv[.:]|\Asecret:|\Avault:|\Aref\+|\Aop://|\A!|\Aenc[\[(]",
    re.IGNORECASE,
)
_ELSEWHERE: Final = re.compile(
    r"\A(?:sha(?:1|256|384|512)[-:]|\$2[abxy]?\$|\$argon2|\$[0-9]\$|\{[A-Z0-9]{3,8}\}|pbkdf2|scrypt|arn:|urn:|data:|https?:|"
    r"[a-z][a-z0-9+.-]*://|\.{0,2}/|~/|[A-Za-z]:\\|ssh-|-----|v?\d+\.\d+\.\d)",
    re.IGNORECASE,
)
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\Z", re.IGNORECASE)
_HEX: Final = re.compile(r"(?:0x)?[0-9a-fA-F]+\Z")
_WORD: Final = re.compile(r"[A-Z]?[a-z]{3,}|[A-Z]{3,}")
_VOWELS: Final = frozenset("aeiouyAEIOUY")
_HERE: Final = re.compile(
    r"(?:localhost|127\.[0-9.]+|0\.0\.0\.0|host|hostname|server|domain|.*\.(?:example|test|invalid|localhost|local)|"
    r"(?:.*\.)?example\.(?:com|org|net)|(?:.*\.)?domain\.(?:com|tld))\Z",
    re.IGNORECASE,
)
_NO_PASSWORD: Final = frozenset(
    "admin guest host mysql pass passwd postgres postgresql pw pwd rabbitmq redis root secret tiger token "
    "user username".split()
)
# What specifications print as their examples.
PRINTED: Final = frozenset(
    "tGzv3JOkF0XG5Qx2TlKWIA czZCaGRSa3F0MzpnWDFmQmF0M2JW mF_9.B5f-4.1JqM kkk9d7dh3k39sjv7 "
    "QWxhZGRpbjpvcGVuIHNlc2FtZQ== whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".split()
)
LOCKS: Final = re.compile(
    r"(?:\.lock|\.lockb|-lock\.(?:json|ya?ml)|\.sum|\.min\.(?:js|css)|\.map|\.svg|\.ipynb_checkpoints)\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Likely:
    """A place in a text: `label` says what stands before it, and nothing of the value."""

    start: int
    end: int
    label: str


def is_placeholder(value: str) -> bool:
    """Whether a value is only meant to show where one would stand."""
    return _PLACEHOLDER.search(value) is not None or len(set(value)) < 5


def assigned(data: bytes, start: int, value: tuple[int, int], *, quoted: bool) -> Likely | None:
    """A value behind a name: the match began at `start` (inside of the name), the value is `data[slice(*value)]`."""
    if value[1] - value[0] > _LONGEST:
        return None
    text = data[slice(*value)].decode("latin-1")
    if not quoted:
        text = text.rstrip(".:&|*_")
    before = _NAME_BEFORE.search(data, max(0, start - 40), start)
    first = before.start() if before is not None else start
    name = re.match(rb"[0-9A-Za-z_.-]*", data[first : value[0]])
    label = name.group().decode("latin-1") if name is not None else ""
    if _NO_SECRET_NAME.search(label.lower()) or not _looks_random(text):
        return None
    return Likely(value[0], value[0] + len(text), label[-60:])


def in_address(
    data: bytes, user: tuple[int, int], password: tuple[int, int], host: tuple[int, int]
) -> Likely | None:
    """A password in `scheme://user:password@host`, unless it obviously opens nothing elsewhere."""
    name, text, where = (data[slice(*span)].decode("latin-1") for span in (user, password, host))
    if (
        is_placeholder(text)
        or _TEMPLATE.search(text)
        or text.lower() in _NO_PASSWORD
        or text.lower() == name.lower()
    ):
        return None
    if _HERE.match(where) or ("." not in where and not _looks_random(text)):
        return None
    return Likely(password[0], password[1], f"password for {name or 'nobody'}"[:60])


def in_header(data: bytes, value: tuple[int, int]) -> Likely | None:
    """The value of an Authorization header."""
    text = data[slice(*value)].decode("latin-1").rstrip(".")
    return Likely(value[0], value[0] + len(text), "Authorization") if _looks_random(text) else None


def _looks_random(text: str) -> bool:
    """Letters and digits without much that one could read aloud, and nothing that says it stands for something else."""
    if len(text) > _LONGEST or not text.isascii() or not text.isprintable():
        return False
    if is_placeholder(text) or _TEMPLATE.search(text) or _ELSEWHERE.match(text) or _UUID.match(text):
        return False
    if text in PRINTED:
        return False
    if _HEX.match(text):
        return len(text) in (32, 40, 48, 56, 64, 80, 96, 128) and len(set(text.lower())) >= 9
    digits = sum(c.isdigit() for c in text)
    letters = sum(c.isalpha() for c in text)
    if not digits or letters < 4 or digits > 0.8 * len(text):
        return False
    if entropy(text) < (3.0 if len(text) < 20 else 3.5):
        return False
    return _read_aloud(text) < 0.5 * len(text)


def is_hard_to_guess(text: str) -> bool:
    """Whether nobody finds a value by trying: long, mixed, and hardly anything in it that could be a word."""
    mixed = any(c.isdigit() for c in text) and any(c.isalpha() for c in text)
    if len(text) < _HARD or not mixed or is_placeholder(text):
        return False
    return entropy(text) >= 3.0 and _read_aloud(text) < 0.5 * len(text)


def _read_aloud(text: str) -> int:
    """How many of the characters are in what could be words."""
    count = 0
    for word in _WORD.findall(text):
        vowels = sum(c in _VOWELS for c in word)
        if 0.2 <= vowels / len(word) <= 0.67 and (len(word) > 3 or vowels == 1):
            count += len(word)
    return count


def entropy(text: str) -> float:
    """Shannon's entropy of its characters, in bits per character."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values())
