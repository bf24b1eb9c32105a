"""Streams cut into whole events: what is broken, and what a provider must not tell, reaches nobody."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from builderos.execution.gateway.framing import parted, sound, whole_events

EVENTS = 'data: {"a":1}\n\nevent: x\ndata: {"b":"é\\ud83d"}\n\ndata: {"c":3}\r\n\r\ndata: [DONE]\n\n'.encode()


async def _pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def _cut(data: bytes, size: int) -> list[bytes]:
    return [part async for part in whole_events(_pieces(data, size))]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 17, 1000])
def test_events_stay_whole_wherever_their_bytes_are_cut(size: int) -> None:
    parts = asyncio.run(_cut(EVENTS + b"data: {rest", size))
    assert b"".join(parts) == EVENTS + b"data: {rest"
    assert all(part.endswith((b"\n\n", b"\r\n\r\n")) for part in parts[:-1])


def test_sound_events_pass_and_the_first_broken_one_stops_them() -> None:
    assert sound(EVENTS) == (EVENTS, "")
    good, fault = sound(b'data: {"a":1}\n\nevent: x\ndata: {no\n\ndata: {"b":2}\n\n')
    assert (good, fault) == (b'data: {"a":1}\n\n', "sent what is no JSON object in the middle of its answer")
    assert sound(b'data: {"error":{"message":"busy"}}\n\n')[1].endswith("answer: busy")
    assert sound(b'data: {"type":"response.completed","response":{"error":null},"error":null}\n\n')[1] == ""


def test_the_end_is_an_event_of_its_own_and_no_word_in_a_text() -> None:
    assert parted(b'data: {"a":1}\n\ndata: [DONE]\n\n') == (b'data: {"a":1}\n\n', b"data: [DONE]\n\n")
    assert parted(b"data: [DONE]") == (b"", b"data: [DONE]")
    text = b'data: {"content":"data: [DONE]"}\n\n'
    assert parted(text) == (text, b"")


def test_a_response_ends_with_the_event_that_brings_it_whole() -> None:
    quoted = b'event: x\ndata: {"type":"response.created","response":{"tools":[{"type":"response.completed"}]}}\n\n'
    last = b'event: response.completed\ndata: {"type": "response.completed", "response": {}}\n\n'
    assert parted(quoted + last + b"data: more\n\n", "responses") == (quoted, last + b"data: more\n\n")
    assert parted(quoted, "responses") == (quoted, b"")
