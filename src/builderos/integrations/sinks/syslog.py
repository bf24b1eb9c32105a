"""Syslog: RFC 5424 messages over TLS (RFC 5425), TCP (RFC 6587, counted) or UDP (RFC 5426)."""

import contextlib
import socket
import ssl
from typing import Any, Final

from builderos.core.dialing import networks_of, public_addresses
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.trust.audit.ports import Batch, NotTaken

TIMEOUT_S: Final = 20
SEVERITY: Final = 5  # notice
MAX_UDP: Final = 60_000
ENTERPRISE: Final = "builderos@32473"  # the number that RFC 5612 keeps for what is not registered
_BOM: Final = b"\xef\xbb\xbf"
_HOSTNAME: Final = "builderos"


class SyslogCarrier:
    """A message for each row, then one of the kind `signature`.

    TCP tells that the other machine has the bytes only when it has closed the connection after us: that is waited for.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def fit(self, config: dict[str, Any], /) -> dict[str, str]:
        """Look the host up: it must be public, or within the networks of the server's owner."""
        public_addresses(config["host"], config["port"], networks_of(self._settings.webhook_networks))
        if config["transport"] == "udp" and not networks_of(self._settings.webhook_networks):
            raise Problem(
                "validation_failed", "syslog over UDP is for networks of the server's own",
                hint="Use tls, or have the owner set BUILDEROS_WEBHOOK_NETWORKS.",
            )  # fmt: skip
        return {}

    def carry(self, config: dict[str, Any], _secrets: dict[str, str], batch: Batch, /) -> None:
        """Send all messages of a batch over one connection."""
        try:
            addresses = public_addresses(
                config["host"], config["port"], networks_of(self._settings.webhook_networks)
            )
        except Problem as problem:
            raise NotTaken(problem.detail) from problem
        try:
            if config["transport"] == "udp":
                _datagrams((addresses[0], config["port"]), messages(config, batch))
            else:
                _stream(config, addresses[0], messages(config, batch))
        except (OSError, ssl.SSLError) as error:
            raise NotTaken(f"the connection broke: {type(error).__name__}") from error


def messages(config: dict[str, Any], batch: Batch) -> list[bytes]:
    """The messages of a batch. The text is JSON: line breaks in what is told are escaped and end no message."""
    priority = config["facility"] * 8 + SEVERITY
    found = [
        _message(priority, batch, batch.stream, _data(batch, number=number), row)
        for number, row in enumerate(batch.rows, batch.first)
    ]
    told = {name: str(value) for name, value in batch.envelope.items()}
    return [*found, _message(priority, batch, "signature", _data(batch, **told), "")]


def _message(priority: int, batch: Batch, kind: str, data: str, text: str) -> bytes:
    head = f"<{priority}>1 {batch.signed_at} {_HOSTNAME} builderos {batch.org_id[:128]} {kind} {data}"
    return head.encode() + (b" " + _BOM + text.encode() if text else b"")


def _data(batch: Batch, **values: object) -> str:
    """One structured element; backslash, quote and bracket are escaped (RFC 5424, 6.3.3)."""
    told = {"sink": batch.sink_id, **values}
    quoted = (f'{name}="{_escaped(str(value))}"' for name, value in told.items())
    return f"[{ENTERPRISE} {' '.join(quoted)}]"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _datagrams(address: tuple[str, int], found: list[bytes]) -> None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        for message in found:
            sock.sendto(message[:MAX_UDP], address)


def _stream(config: dict[str, Any], address: str, found: list[bytes]) -> None:
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.create_connection((address, config["port"]), TIMEOUT_S))
        if config["transport"] == "tls":
            trust = ssl.create_default_context()
            sock = stack.enter_context(trust.wrap_socket(sock, server_hostname=config["host"]))
        sock.settimeout(TIMEOUT_S)
        sock.sendall(b"".join(b"%d %b" % (len(message), message) for message in found))
        if isinstance(sock, ssl.SSLSocket):
            with contextlib.suppress(
                ssl.SSLError, TimeoutError
            ):  # many never say goodbye; a reset is an error
                sock.unwrap()
        else:
            sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(TimeoutError):  # it may keep its side open; a reset is an error
                sock.settimeout(1)
                sock.recv(1)
