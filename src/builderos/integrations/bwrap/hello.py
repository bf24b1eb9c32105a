"""The name that a TLS client asks for, read from its first message (RFC 8446 §4.1.2, RFC 6066 §3)."""

from typing import Final

_CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 1, 0, 0
_FIXED: Final = 34  # version and random


class NotTls(Exception):
    """What came is no beginning of TLS."""


def server_name(data: bytes) -> str | None:
    """The name in lower case, empty where the client names none; None while more bytes are needed. Raises `NotTls`."""
    message = _handshake(data)
    if message is None:
        return None
    try:
        return _name_in(message)
    except (IndexError, UnicodeDecodeError):
        raise NotTls from None


def _handshake(data: bytes) -> bytes | None:
    """The client's whole first handshake message, put together from its records; None while it is not complete."""
    body = b""
    while True:
        if data[:1] not in (b"", b"\x16") or data[1:2] not in (b"", b"\x03"):
            raise NotTls
        if len(data) < 5:
            return None
        size = int.from_bytes(data[3:5])
        if len(data) < 5 + size:
            return None
        body, data = body + data[5 : 5 + size], data[5 + size :]
        if body[:1] != bytes([_CLIENT_HELLO]):
            raise NotTls
        if len(body) >= 4 and len(body) >= 4 + int.from_bytes(body[1:4]):
            return body[4 : 4 + int.from_bytes(body[1:4])]


def _name_in(message: bytes) -> str:
    at = _FIXED
    at += 1 + message[at]  # session id
    at += 2 + int.from_bytes(message[at : at + 2])  # cipher suites
    at += 1 + message[at]  # compression
    end = min(len(message), at + 2 + int.from_bytes(message[at : at + 2]))
    at += 2
    while at + 4 <= end:
        kind, size = int.from_bytes(message[at : at + 2]), int.from_bytes(message[at + 2 : at + 4])
        if kind == _SERVER_NAME:
            return _host_name(message[at + 4 : at + 4 + size])
        at += 4 + size
    return ""


def _host_name(extension: bytes) -> str:
    if len(extension) < 5 or extension[2] != _HOST_NAME:
        raise NotTls
    size = int.from_bytes(extension[3:5])
    return extension[5 : 5 + size].decode("ascii").lower().rstrip(".")
