"""Commit objects: written so that nobody can smuggle a header or a trailer into them, read as leniently as
history demands.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from builderos.core.problems import Problem

from .objects import Oid

_TRAILER_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*\Z")
_TRAILER: Final = re.compile(r"([A-Za-z0-9-]+)[ \t]*:[ \t]*(.*)\Z", re.DOTALL)
# Terminals obey these when somebody reads `git log`.
_CONTROL: Final = re.compile("[\x01-\x08\x0b-\x1f\x7f-\x9f]")
# Where git stops reading a message: it would look for trailers above such a line, among the user's words, not
# ours.
_CUTS: Final = re.compile(r"^(?=---(?:\s|\Z)|# -{24} >8 -{24})", re.MULTILINE)
_PERSON: Final = re.compile(rb"(.*?) ?<([^>]*)>(?: (-?\d+)(?: ([+-]\d{4}))?)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Person:
    """Who wrote or committed, as git spells it: a pseudonym and an address, never a real person's data."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit object taken apart. Both times are UTC; `message` includes its trailers."""

    tree: Oid
    parents: tuple[Oid, ...]
    author: Person
    authored_at: datetime
    committer: Person
    committed_at: datetime
    message: str
    trailers: tuple[tuple[str, str], ...]
    gpgsig: str | None

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.lstrip("\n").partition("\n")[0]


def encode_commit(
    tree: Oid, parents: Sequence[Oid], author: Person, committer: Person, when: datetime, message: str,
    trailers: Iterable[tuple[str, str]] = (), *, gpgsig: str | None = None,
) -> bytes:  # fmt: skip
    """The bytes of a commit object.

    `when` is aware, from 1970 on, and kept to the second. The trailers become a last paragraph of their own
    that `git interpret-trailers --parse` reads; values are folded to one line, and lines of the message at
    which git would stop reading are indented by one space. `gpgsig` is an armoured signature of the bytes
    that this returns without it. Raises `Problem("validation_failed")` for a message that is empty, holds NUL
    or is no Unicode text; ValueError for arguments that only a program gets wrong.
    """
    body = _clean_message(message)
    block = [f"{_key(key)}: {line}" for key, value in trailers if (line := _one_line(value))]
    if block:
        body += "\n" + "\n".join(block) + "\n"
    stamp = _stamp(when)
    lines = [f"tree {_hex(tree)}", *(f"parent {_hex(parent)}" for parent in parents)]
    lines += (f"author {_person(author)} {stamp}", f"committer {_person(committer)} {stamp}")
    if gpgsig is not None:
        lines.append("gpgsig " + gpgsig.strip("\n").replace("\n", "\n "))
    return ("\n".join(lines) + "\n\n" + body).encode()


def parents_of(data: bytes) -> list[Oid]:
    """The parents of a commit object, read without the rest. Raises ValueError where an id is malformed."""
    head = data.partition(b"\nauthor ")[0]
    return [_oid(line[7:]) for line in head.split(b"\n") if line.startswith(b"parent ")]


def decode_commit(data: bytes) -> Commit:
    """Take a commit object apart; text that is not UTF-8 is read with its declared encoding or with
    replacement characters.

    Raises ValueError where the object is no commit.
    """
    head, _, body = data.partition(b"\n\n")
    single: dict[bytes, bytes] = {}
    parents: list[Oid] = []
    for line in head.replace(b"\n ", b"\0").split(b"\n"):  # \0: continuation lines of a signature
        key, _, value = line.partition(b" ")
        if key == b"parent":
            parents.append(_oid(value))
        else:
            single.setdefault(key, value)
    if b"tree" not in single or b"author" not in single or b"committer" not in single:
        raise ValueError("not a commit object")
    charset = single.get(b"encoding", b"utf-8").decode("ascii", "replace")
    author, authored_at = _read_person(single[b"author"], charset)
    committer, committed_at = _read_person(single[b"committer"], charset)
    message = _text(body, charset)
    signature = single.get(b"gpgsig")
    return Commit(
        tree=_oid(single[b"tree"]),
        parents=tuple(parents),
        author=author,
        authored_at=authored_at,
        committer=committer,
        committed_at=committed_at,
        message=message,
        trailers=parse_trailers(message),
        gpgsig=None if signature is None else signature.replace(b"\0", b"\n").decode("ascii", "replace"),
    )


def parse_trailers(message: str) -> tuple[tuple[str, str], ...]:
    """The trailers of a message: its last paragraph, if it is not the first and consists of `Key: value`
    lines alone.

    Stricter than git, which tolerates other lines among them; the same for every message that `encode_commit`
    wrote.
    """
    _, found, last = message.rstrip().rpartition("\n\n")
    if not found:
        return ()
    trailers: list[tuple[str, str]] = []
    for line in last.strip("\n").split("\n"):
        if line[:1] in (" ", "\t") and trailers:
            key, value = trailers.pop()
            trailers.append((key, f"{value} {line.strip()}"))
        elif match := _TRAILER.match(line):
            trailers.append((match[1], match[2].strip()))
        else:
            return ()
    return tuple(trailers)


def _clean_message(message: str) -> str:
    text = message.replace("\r\n", "\n").replace("\r", "\n").strip("\n").rstrip()
    hint = "Say in a sentence what changes."
    if not text.strip():
        raise Problem("validation_failed", "the commit message is empty", hint=hint)
    if "\0" in text:
        raise Problem("validation_failed", "the commit message holds a NUL character", hint=hint)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Problem(
            "validation_failed", "the commit message holds half a character (a lone surrogate)", hint=hint
        ) from error
    return _CUTS.sub(" ", _CONTROL.sub("�", text)) + "\n"


def _one_line(value: str) -> str:
    text = _CONTROL.sub(" ", value.replace("\0", " "))
    return " ".join(text.split()).encode("utf-8", "replace").decode()


def _key(key: str) -> str:
    if not _TRAILER_KEY.match(key):
        raise ValueError(f"not a trailer key: {key!r}")
    return key


def _hex(oid: Oid) -> str:
    if len(oid) != 20:
        raise ValueError("an object id has 20 bytes")
    return oid.hex()


def _stamp(when: datetime) -> str:
    if when.tzinfo is None or when.timestamp() < 0:
        raise ValueError("a commit's time is aware and not before 1970")
    return f"{int(when.timestamp())} +0000"


def _person(person: Person) -> str:
    name, email = (
        _one_line(part.replace("<", " ").replace(">", " ")) for part in (person.name, person.email)
    )
    if not name or not email:
        raise ValueError("a commit's author has a name and an address")
    return f"{name} <{email.replace(' ', '')}>"


def _oid(text: bytes) -> Oid:
    oid = bytes.fromhex(text.decode("ascii"))
    if len(oid) != 20:
        raise ValueError("an object id has 20 bytes")
    return oid


def _read_person(value: bytes, charset: str) -> tuple[Person, datetime]:
    match = _PERSON.match(value)
    if match is None:
        return Person(_text(value, charset), ""), datetime.fromtimestamp(0, UTC)
    seconds = int(match[3] or 0)
    try:
        at = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # histories exist that were made in the year 292,277,026,596
        at = datetime.fromtimestamp(0, UTC)
    return Person(_text(match[1], charset), _text(match[2], charset)), at


def _text(data: bytes, charset: str) -> str:
    try:
        return data.decode(charset)
    except (UnicodeDecodeError, LookupError):
        return data.decode("utf-8", "replace")
