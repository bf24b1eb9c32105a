"""The only way out of a jail: CONNECT to a listed host, with TLS to exactly that host.

A name is parsed by one strict grammar, looked up once, and the address that was checked is the one that is dialled.
What is not TLS does not pass, nor TLS that asks for another name than the one that was allowed: neither a tunnel nor
domain fronting.
"""

import asyncio
import base64
import hmac
import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from builderos.core.dialing import IpNetwork, public_addresses
from builderos.core.problems import Problem
from builderos.execution.compute.schema import Egress, host_rule

from .hello import NotTls, server_name

_HEAD_MAX: Final = 8192
_HELLO_MAX: Final = 18_432
_CHUNK: Final = 65536
_PATIENCE_S: Final = 10.0
_IDLE_S: Final = 300.0
_KINDS_MAX: Final = 1000
_LINES_MAX: Final = 128  # at once for one command: files and threads of the keeper are everybody's
_LOOKUPS_MAX: Final = 2
_TARGET: Final = re.compile(
    r"(?=.{1,253}:)(?!\d+(?:\.\d+)*:)((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?)"
    r":([1-9][0-9]{0,4})\Z"
)
Resolve = Callable[[str, int, Sequence[IpNetwork]], list[str]]


class Refused(Exception):
    """Why a connection is not made, in a word."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may be reached: `hosts` as in `Spec.hosts`; `networks` of the owner's own, where TLS is not demanded;
    `budget` bytes both ways; `password` where others could find the door, too."""

    hosts: tuple[str, ...]
    networks: tuple[IpNetwork, ...] = ()
    budget: int = 0
    password: str | None = None

    def allows(self, host: str, port: int) -> bool:
        """Whether a rule names this host and port; `*.example.com` is any name below example.com, not itself."""
        for rule in self.hosts:
            name, its_port = host_rule(rule)
            fits = host.endswith(name[1:]) if name.startswith("*.") else host == name
            if fits and port == its_port:
                return True
        return False


class Proxy:
    """The relay of one jail: counts bytes, and keeps every decision."""

    def __init__(self, rules: Rules, resolve: Resolve = public_addresses) -> None:
        self._rules = rules
        self._resolve = resolve
        self._server: asyncio.Server | None = None
        self._kept: dict[tuple[str, int, bool, str], Egress] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking = asyncio.Semaphore(_LOOKUPS_MAX)
        self.sent = 0
        self.received = 0

    async def serve(self, sock: socket.socket) -> None:
        """Take connections on a listening socket."""
        self._server = await asyncio.start_server(self._one, sock=sock, limit=_HEAD_MAX)

    def close(self) -> None:
        """Cut all lines."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()

    @property
    def decisions(self) -> tuple[Egress, ...]:
        """What was asked for and what became of it, alike ones counted."""
        return tuple(self._kept.values())

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # a callback of a server runs as a task
        if len(self._tasks) >= _LINES_MAX:
            self._note("*", 0, allowed=False, why="too many connections at once")
            writer.transport.abort()
            return
        self._tasks.add(task)
        try:
            await self._connect(reader, writer)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, asyncio.CancelledError):
            return  # one side went away, or the command ended: nothing is owed to the other
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = "?", 0
        try:
            async with asyncio.timeout(_PATIENCE_S):
                head = await reader.readuntil(b"\r\n\r\n")
            host, port = self._target(head)
            if not self._rules.allows(host, port):
                raise Refused("not listed")
            up_reader, up_writer, own = await self._dial(host, port)
        except Refused as refusal:
            self._note(host, port, allowed=False, why=str(refusal))
            writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
            return
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            hello = await self._hello(reader, host, demanded=not own)
        except Refused as refusal:
            self._note(host, port, allowed=False, why=str(refusal))
            up_writer.close()
            return
        self._note(host, port, allowed=True, why="listed")
        await self._relay((reader, writer), (up_reader, up_writer), hello)

    def _target(self, head: bytes) -> tuple[str, int]:
        lines = head.split(b"\r\n")
        words = lines[0].split(b" ")
        if len(words) != 3 or words[0] != b"CONNECT" or words[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise Refused("not CONNECT")
        if self._rules.password is not None and not _knows(lines[1:], self._rules.password):
            raise Refused("no password")
        match = _TARGET.match(words[1].decode("latin-1").lower())
        if match is None:
            raise Refused("not a host name")
        return match[1], int(match[2])

    async def _dial(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bool]:
        """A connection to an address that was checked, and whether it lies in the owner's own networks."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                found = await self._looked_up(host, port)
        except (Problem, TimeoutError):
            raise Refused("not a public address") from None
        for address in found:
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    reader, writer = await asyncio.open_connection(address, port, limit=_CHUNK)
                return reader, writer, self._is_own(address)
            except (OSError, TimeoutError):
                continue
        raise Refused("unreachable")

    async def _looked_up(self, host: str, port: int) -> list[str]:
        """A lookup that nobody waits for any more still holds a thread: its turn ends when it does."""
        await self._looking.acquire()
        loop = asyncio.get_running_loop()
        found = loop.run_in_executor(None, self._resolve, host, port, self._rules.networks)
        found.add_done_callback(self._looked)
        return await asyncio.shield(found)

    def _looked(self, found: asyncio.Future[list[str]]) -> None:
        self._looking.release()
        if not found.cancelled():
            found.exception()  # whoever waited for it may have gone

    def _is_own(self, address: str) -> bool:
        ip = ipaddress.ip_address(address.partition("%")[0])
        return any(ip.version == net.version and ip in net for net in self._rules.networks)

    async def _hello(self, reader: asyncio.StreamReader, host: str, *, demanded: bool) -> bytes:
        """The beginning of what the command says; TLS must name the host that was allowed."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE_S
        data = b""
        try:
            while (name := server_name(data)) is None:
                async with asyncio.timeout_at(deadline):
                    more = await reader.read(_HELLO_MAX)
                data += more
                self._enough(data, more)
        except NotTls:
            if demanded:
                raise Refused("not TLS") from None
            return data
        if name != host:
            raise Refused(f"TLS for another name: {name[:200] or 'none'}")
        return data

    def _enough(self, data: bytes, more: bytes) -> None:
        if not more or len(data) > _HELLO_MAX:
            raise NotTls

    async def _relay(
        self,
        inside: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        outside: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        first: bytes,
    ) -> None:
        self.sent += len(first)
        outside[1].write(first)
        lanes = [
            asyncio.create_task(self._pass_on(inside[0], outside[1], sending=True)),
            asyncio.create_task(self._pass_on(outside[0], inside[1], sending=False)),
        ]
        try:
            await asyncio.gather(*lanes)
        finally:
            for lane in lanes:
                lane.cancel()
            outside[1].close()

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, sending: bool
    ) -> None:
        while True:
            async with asyncio.timeout(_IDLE_S):
                data = await source.read(_CHUNK)
            if not data:
                if sink.can_write_eof():
                    sink.write_eof()
                return
            self.sent += len(data) * sending
            self.received += len(data) * (not sending)
            if self.sent + self.received > self._rules.budget:
                self._note("*", 0, allowed=False, why="byte budget spent")
                raise OSError("budget")
            sink.write(data)
            await sink.drain()

    def _note(self, host: str, port: int, *, allowed: bool, why: str) -> None:
        key = (host, port, allowed, why)
        if len(self._kept) >= _KINDS_MAX and key not in self._kept:
            key = ("*", 0, allowed, "more than can be listed")
        known = self._kept.get(key, Egress(*key, count=0))
        self._kept[key] = replace(known, count=known.count + 1)


def _knows(headers: list[bytes], password: str) -> bool:
    expected = b"Basic " + base64.b64encode(b"builder:" + password.encode())
    for line in headers:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"proxy-authorization":
            return hmac.compare_digest(value.strip(), expected)
    return False
