"""Replies that go on: nobody holds one for ever, none is cut in the middle, and a slow client costs nothing."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from builderos.core.operations import Live
from builderos.core.problems import Problem
from builderos.interfaces.http import live
from builderos.interfaces.http.live import Streams, streamed
from builderos.interfaces.http.serve import Incoming, Seen
from builderos.interfaces.http.traffic import Traffic


@dataclass
class Peer:
    """A client at the other end: what it got; it may take its time, or leave."""

    got: list[dict[str, Any]] = field(default_factory=list)
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    stuck: bool = False

    async def send(self, message: Any) -> None:
        if self.stuck and message["type"] == "http.response.body":
            await asyncio.Event().wait()
        self.got.append(message)
        self.news.set()

    async def receive(self) -> dict[str, str]:
        await self.leave.wait()
        return {"type": "http.disconnect"}

    @property
    def body(self) -> bytes:
        return b"".join(m["body"] for m in self.got if m["type"] == "http.response.body")

    @property
    def whole(self) -> bool:
        return bool(self.got) and self.got[-1].get("more_body") is False


def _caller(who: str = "act_1") -> Incoming:
    return Incoming("req_1", None, "local", seen=Seen(who=("org_1", who)))


def _endless(closed: list[bool] | None = None) -> Live:
    async def frames() -> AsyncIterator[bytes]:
        try:
            yield b"id: 1\ndata: {}\n\n"
            await asyncio.Event().wait()
        finally:
            if closed is not None:
                closed.append(True)

    return Live(frames)


async def _until(peer: Peer, wanted: bytes) -> None:
    async with asyncio.timeout(120):
        while wanted not in peer.body:
            await peer.news.wait()
            peer.news.clear()


def test_frames_are_passed_on_and_the_reply_ends_with_them() -> None:
    async def frames() -> AsyncIterator[bytes]:
        for n in range(3):
            yield b"id: %d\ndata: {}\n\n" % n

    async def run() -> None:
        peer, streams = Peer(), Streams(Traffic())
        await streamed(streams, Live(frames), _caller())({}, peer.receive, peer.send)
        assert peer.body == b"retry: 1000\n\n" + b"".join(b"id: %d\ndata: {}\n\n" % n for n in range(3))
        assert peer.whole
        assert streams._held.total() == 0
        assert dict(peer.got[0]["headers"])[b"content-type"].startswith(b"text/event-stream")

    asyncio.run(run())


def test_a_server_that_stops_ends_them_whole() -> None:
    async def run() -> None:
        peer, traffic, closed = Peer(), Traffic(), list[bool]()
        reply = asyncio.ensure_future(
            streamed(Streams(traffic), _endless(closed), _caller())({}, peer.receive, peer.send)
        )
        await _until(peer, b"id: 1")
        traffic.let_go()
        await asyncio.wait_for(reply, 120)
        assert peer.whole
        assert closed == [True]
        assert not traffic.lasting

    asyncio.run(run())


def test_a_client_that_leaves_is_forgotten() -> None:
    async def run() -> None:
        peer, streams, closed = Peer(), Streams(Traffic()), list[bool]()
        reply = asyncio.ensure_future(
            streamed(streams, _endless(closed), _caller())({}, peer.receive, peer.send)
        )
        await _until(peer, b"id: 1")
        peer.leave.set()
        await asyncio.wait_for(reply, 120)
        assert not peer.whole
        assert closed == [True]
        assert streams._held.total() == 0

    asyncio.run(run())


def test_a_client_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SEND_S", 0.02)

    async def run() -> None:
        peer, streams = Peer(stuck=True), Streams(Traffic())
        await asyncio.wait_for(streamed(streams, _endless(), _caller())({}, peer.receive, peer.send), 120)
        assert not peer.whole
        assert streams._held.total() == 0

    asyncio.run(run())


def test_a_quiet_stream_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.01)

    async def run() -> None:
        peer, traffic = Peer(), Traffic()
        reply = asyncio.ensure_future(
            streamed(Streams(traffic), _endless(), _caller())({}, peer.receive, peer.send)
        )
        await _until(peer, b": still here\n\n: still here\n\n")
        traffic.let_go()
        await asyncio.wait_for(reply, 120)

    asyncio.run(run())


def test_a_quiet_stream_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LAST_S", 0.1)

    async def run() -> None:
        peer = Peer()
        await asyncio.wait_for(
            streamed(Streams(Traffic()), _endless(), _caller())({}, peer.receive, peer.send), 120
        )
        assert peer.whole

    asyncio.run(run())


def test_one_credential_cannot_take_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "EACH", 2)
    monkeypatch.setattr(live, "AT_ONCE", 3)
    streams = Streams(Traffic())
    held = [streamed(streams, _endless(), _caller("act_1")) for _ in range(2)]
    with pytest.raises(Problem, match="rate_limited"):
        streamed(streams, _endless(), _caller("act_1"))
    held.append(streamed(streams, _endless(), _caller("act_2")))
    with pytest.raises(Problem, match="rate_limited"):
        streamed(streams, _endless(), _caller("act_3"))
    assert len(held) == 3


def test_what_breaks_a_stream_ends_it_and_nothing_else() -> None:
    async def frames() -> AsyncIterator[bytes]:
        yield b"id: 1\ndata: {}\n\n"
        raise Problem("unavailable", "the database did not answer")

    async def run() -> None:
        peer, streams = Peer(), Streams(Traffic())
        await asyncio.wait_for(streamed(streams, Live(frames), _caller())({}, peer.receive, peer.send), 120)
        assert peer.whole
        assert streams._held.total() == 0

    asyncio.run(run())
