"""The words of git's smart HTTP protocol: pkt-lines, the opening list of a push, its commands, its report.

Format: git's own `gitprotocol-common`, `gitprotocol-pack` and `gitprotocol-v2`. What is read here is also read by
git, so
nothing is taken in a looser sense than git takes it.
"""

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from builderos.core.problems import Problem

FLUSH: Final = b"0000"
CAPABILITIES: Final = (
    "report-status", "report-status-v2", "side-band-64k", "quiet", "ofs-delta", "no-thin", "atomic",
    "object-format=sha1",
    "agent=builderos",
)  # fmt: skip
MAX_COMMANDS: Final = 256
_MAX_LINE: Final = 65516
_LENGTH: Final = re.compile(rb"[0-9a-fA-F]{4}\Z")
_COMMAND: Final = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) (refs/[^\0\n ]{1,250})\Z")
_WANT: Final = re.compile(rb"want ([0-9a-f]{40})(?:[ \n\0]|\Z)")
_UNPRINTABLE: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Source(Protocol):
    """A request body that is read in pieces of chosen length."""

    async def exactly(self, size: int) -> bytes:
        """`size` bytes; fewer only where the body ends."""
        ...


@dataclass(frozen=True)
class Update:
    """One command of a push: move `ref` from `old` to `new`."""

    old: str
    new: str
    ref: str


@dataclass(frozen=True)
class Updates:
    """All commands of a push and what the client understands."""

    items: tuple[Update, ...] = ()
    capabilities: frozenset[str] = field(default_factory=frozenset[str])


def pkt(data: bytes | str) -> bytes:
    """One pkt-line."""
    data = data.encode() if isinstance(data, str) else data
    if len(data) > _MAX_LINE:
        raise ValueError("too long for one pkt-line")
    return b"%04x%s" % (len(data) + 4, data)


def version_of(header: str | None) -> int:
    """The protocol version that a `Git-Protocol` header asks for: the highest known one, 0 without any."""
    asked = {item.partition("=")[2] for item in (header or "").split(":") if item.startswith("version=")}
    return max((int(v) for v in asked if v in ("1", "2")), default=0)


def opening(service: str, version: int) -> bytes:
    """What stands before the list of refs; nothing in version 2."""
    return b"" if version == 2 else pkt(f"# service={service}\n") + FLUSH


def receive_advertisement(refs: Mapping[str, str], version: int) -> bytes:
    """The refs that a pusher may see, and what this server can do. Version 2 has no pushes; clients expect 0 then."""
    head = pkt("version 1\n") if version == 1 else b""
    capabilities = "\0" + " ".join(CAPABILITIES)
    lines = [f"{sha} {ref}" for ref, sha in refs.items()]
    return (
        head + b"".join(pkt(f"{line}{'' if at else capabilities}\n") for at, line in enumerate(lines)) + FLUSH
    )


def lines_of(body: bytes) -> Iterator[bytes]:
    """Every pkt-line of a complete body, special packets left out. Raises `validation_failed` where it is malformed."""
    at = 0
    while at < len(body):
        size = _size(body[at : at + 4])
        if size >= 4:
            if at + size > len(body):
                raise _malformed()
            yield body[at + 4 : at + size]
        at += max(size, 4)


def wants_of(body: bytes) -> list[str]:
    """The object ids a fetch asks for, in any protocol version. Raises `validation_failed`.

    Every line counts that could be read as a want, wherever it stands. Version 2 knows other commands than
    `ls-refs` and
    `fetch`; they are refused, because they would not be understood here.
    """
    wants: dict[str, None] = {}
    for line in lines_of(body):
        if line.startswith(b"want "):
            found = _WANT.match(line)
            if found is None:
                raise _malformed()
            wants[found[1].decode()] = None
        elif line.startswith(b"command=") and line.rstrip(b"\n") not in (
            b"command=fetch",
            b"command=ls-refs",
        ):
            raise _malformed()
        elif line.startswith(b"want-ref "):
            raise _malformed()
    return list(wants)


async def read_updates(source: Source) -> Updates:
    """The commands at the beginning of a push, up to and with their flush packet. Raises `validation_failed`."""
    items: list[Update] = []
    capabilities: frozenset[str] | None = None
    async for line in _until_flush(source):
        if line.startswith(b"shallow "):  # what a shallow clone lacks is searched for here anyway
            continue
        head, _, tail = line.rstrip(b"\n").partition(b"\0")
        if capabilities is None:
            capabilities = frozenset(tail.decode("utf-8", "replace").split())
        found = _COMMAND.match(head)
        if found is None or len(items) >= MAX_COMMANDS:
            raise _malformed()
        items.append(
            Update(found[1].decode(), found[2].decode(), found[3].decode("utf-8", "backslashreplace"))
        )
    if len({item.ref for item in items}) < len(items):
        raise _malformed()
    return Updates(tuple(items), capabilities or frozenset())


async def _until_flush(source: Source) -> AsyncIterator[bytes]:
    while True:
        head = await source.exactly(4)
        if not head:  # a probe: no command at all
            return
        size = _size(head)
        if size == 0:
            return
        line = await source.exactly(size - 4) if size >= 4 else b""
        if size < 4 or len(line) < size - 4:
            raise _malformed()
        yield line


def _size(head: bytes) -> int:
    if not _LENGTH.match(head):
        raise _malformed()
    size = int(head, 16)
    if size == 3 or size > _MAX_LINE + 4:
        raise _malformed()
    return size


def _malformed() -> Problem:
    return Problem("validation_failed", "this is not the git protocol", hint="Use a current git client.")


def error(text: str) -> bytes:
    """The one packet that makes a client stop with `fatal: remote error: …`."""
    return pkt(f"ERR {printable(text)}\n")


def report(updates: Updates, unpack: str, refused: Mapping[str, str], words: str) -> bytes:
    """The answer to a push. `refused` tells for each ref why not; `words` are for the person, line by line."""
    status = [f"unpack {unpack}\n"]
    status += [
        f"ng {item.ref} {refused[item.ref]}\n" if item.ref in refused else f"ok {item.ref}\n"
        for item in updates.items
    ]
    wanted = updates.capabilities & {"report-status", "report-status-v2"}
    body = b"".join(pkt(printable(line)) for line in status) + FLUSH if wanted else b""
    if "side-band-64k" not in updates.capabilities:
        return body
    text = printable(words).rstrip("\n").encode() + b"\n" if words else b""
    return b"".join([*_band(2, text), *_band(1, body)]) + FLUSH


def _band(number: int, data: bytes) -> Iterable[bytes]:
    step = _MAX_LINE - 1
    return [pkt(bytes([number]) + data[at : at + step]) for at in range(0, len(data), step)]


def printable(text: str) -> str:
    """Without anything that a terminal would obey; lines stay lines."""
    return _UNPRINTABLE.sub("�", text.encode("utf-8", "replace").decode())


def one_line(parts: Sequence[str]) -> str:
    """A reason fit for the report's line, at most 250 characters."""
    return " ".join(" ".join(parts).split())[:250]
