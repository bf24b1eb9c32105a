"""Messages between the server and its keeper: a length, then JSON, over a pair of sockets."""

import json
import socket
import struct
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

Message: TypeAlias = dict[str, Any]

_HEAD: Final = struct.Struct(">I")
_CHUNK: Final = 65536


def packed(message: Message) -> bytes:
    """One message as bytes."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return _HEAD.pack(len(body)) + body


class Inbox:
    """Bytes in, whole messages out."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are complete with `data`."""
        self._bytes += data
        while len(self._bytes) >= _HEAD.size:
            end = _HEAD.size + _HEAD.unpack_from(self._bytes)[0]
            if len(self._bytes) < end:
                return
            message = json.loads(self._bytes[_HEAD.size : end])
            del self._bytes[:end]
            yield message


def messages(sock: socket.socket) -> Iterator[Message]:
    """Messages until the other side is gone."""
    inbox = Inbox()
    while True:
        try:
            data = sock.recv(_CHUNK)
        except OSError:
            return
        if not data:
            return
        yield from inbox.feed(data)
