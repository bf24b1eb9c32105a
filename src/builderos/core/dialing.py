"""Addresses that may be dialled on somebody else's word: public ones only, and exactly the one that was checked.

Whoever names an address must not reach the server's own network with it: not by a name that resolves to it, not by a
spelling of it, not by IPv4 wrapped into IPv6, not by a second look-up (DNS rebinding), not by a redirect.
"""

import contextlib
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeAlias
from urllib.parse import urlsplit

from . import tracing
from .problems import Problem

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL: Final = 2000
MAX_ANSWER: Final = 4096
PORTS: Final = frozenset({443, 8443})
_URL: Final = re.compile(
    r"[!-\[\]-~]+"
)  # printable ASCII without space and backslash: nothing ends a header line
_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?\Z"
)
_UNICAST: Final = ipaddress.ip_network("2000::/3")  # all of IPv6 that is given out for the Internet
_NAT64: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_COMPATIBLE: Final = ipaddress.ip_network("::/96")
# Kept by IANA for protocols; which of it counts as global differs between versions of Python.
_SPECIAL: Final = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23")))


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads: checked as far as it can be without looking anything up."""

    tls: bool
    host: str
    port: int
    path: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `body` is its beginning, as many bytes as were asked for."""

    status: int
    body: bytes
    latency_ms: int


class Unreachable(Exception):
    """No answer; the text says why and holds nothing of the server's own network. `unsent`: there was no connection."""

    def __init__(self, why: str, *, unsent: bool = False) -> None:
        super().__init__(why)
        self.unsent = unsent


def networks_of(text: str) -> tuple[IpNetwork, ...]:
    """Networks of a comma-separated list, e.g. `10.1.0.0/16, fd00::/8`. Raises `ValueError`."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def target_of(url: str, networks: Sequence[IpNetwork] = ()) -> Target:
    """The parts of a URL that may be dialled, public or within `networks`; nothing is looked up.

    Raises `validation_failed`: HTTPS (plain HTTP only where there are `networks`), the ports 443 and 8443 (any, where
    there are `networks`), no user, no fragment, a host name or a public address in its usual spelling.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise _unfit("the address cannot be read") from None
    if len(url) > MAX_URL or not _URL.fullmatch(url):
        raise _unfit(f"the address has odd characters, or more than {MAX_URL}")
    if parts.scheme not in ("https", "http") or (parts.scheme == "http" and not networks):
        raise _unfit("the address must begin with https://")
    if "@" in parts.netloc or parts.fragment or "#" in url:
        raise _unfit("the address must have no user, password or fragment")
    address = _literal(host)
    if address is None and not _NAME.match(host):
        raise _unfit("the address has no proper host name")
    if address is not None and not _allowed(address, networks):
        raise _not_public(host)
    port = port if port is not None else 443 if parts.scheme == "https" else 80
    if port not in PORTS and not networks:
        raise _unfit(f"the port must be one of {sorted(PORTS)}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme == "https", host, port, path)


def is_plain_host(host: str) -> bool:
    """Whether every program reads this host alike: an ASCII name in lower case without a dot at its end, or an address.

    Others are spelled differently by different rules (IDNA 2003 and 2008, percent signs), and so lead elsewhere.
    """
    return "%" not in host and (_literal(host) is not None or _NAME.match(host) is not None)


def public_address(host: str, port: int) -> str:
    """An address of `host` to dial instead of its name, so that a second look-up cannot lead elsewhere.

    Raises `validation_failed` where the name is unknown or any of its addresses is not public (loopback, private,
    link-local, metadata services, IPv4 wrapped into IPv6).
    """
    return public_addresses(host, port)[0]


def public_addresses(host: str, port: int, networks: Sequence[IpNetwork] = ()) -> list[str]:
    """Every address of `host`, in the order in which the system would try them. Raises like `public_address`.

    Addresses within `networks` count as public.
    """
    try:
        found = [str(row[4][0]) for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        found = list[str]()
    if not found:
        raise Problem("validation_failed", f"the host {host[:200]} is not known", hint="Check the address.")
    if not all(_allowed(ipaddress.ip_address(text.partition("%")[0]), networks) for text in found):
        raise _not_public(host)
    return list(dict.fromkeys(found))


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, networks: Sequence[IpNetwork] = (), timeout_s: float = 10,
    trust: ssl.SSLContext | None = None,
) -> Answer:  # fmt: skip
    """One POST to exactly the address that was checked. Raises like `ask`."""
    return ask("POST", url, body, headers, networks=networks, timeout_s=timeout_s, trust=trust)


def ask(
    method: str, url: str, body: bytes | None, headers: Mapping[str, str], *, networks: Sequence[IpNetwork] = (),
    timeout_s: float = 10, trust: ssl.SSLContext | None = None, limit: int = MAX_ANSWER,
) -> Answer:  # fmt: skip
    """One request to exactly the address that was checked; redirects are answers, not followed.

    `timeout_s` bounds all of it, however slowly the other side dribbles; `limit` is how many bytes of the answer are
    read. Raises `Unreachable`.
    """
    try:
        target = target_of(url, networks)
        addresses = public_addresses(target.host, target.port, networks)
        if not target.tls:
            check_plain(addresses, networks)
    except Problem as problem:
        raise Unreachable(problem.detail) from problem
    began = time.monotonic()
    with tracing.span(f"outgoing {method}"), _Line(target, addresses, timeout_s, trust) as line:
        status, start = line.ask(method, body, {**headers, **tracing.headers()}, limit)
    return Answer(status, start, round((time.monotonic() - began) * 1000))


class _Line:
    """A connection that somebody cuts when its time is over."""

    def __init__(
        self, target: Target, addresses: list[str], timeout_s: float, trust: ssl.SSLContext | None
    ) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._cut_off = False
        self._sock = self._dial(addresses)
        self._watch = threading.Timer(timeout_s, self._cut)
        self._watch.daemon = True
        self._trust = trust

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.cancel()
        self._sock.close()

    def ask(
        self, method: str, body: bytes | None, headers: Mapping[str, str], limit: int
    ) -> tuple[int, bytes]:
        """Send, and read the beginning of the answer."""
        try:
            if self._target.tls:
                trust = self._trust or ssl.create_default_context()
                self._sock = trust.wrap_socket(self._sock, server_hostname=self._target.host)
            connection = http.client.HTTPConnection(self._target.host, self._target.port)
            connection.auto_open = 0
            connection.sock = self._sock
            connection.request(method, self._target.path, body, dict(headers))
            response = connection.getresponse()
            start = response.read(limit)
            if self._cut_off:  # an answer that was cut looks like one that ended
                raise TimeoutError
            return response.status, start
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreachable(_plainly(TimeoutError() if self._cut_off else error)) from error

    def _dial(self, addresses: list[str]) -> socket.socket:
        for number, address in enumerate(addresses):
            try:
                return socket.create_connection((address, self._target.port), self._timeout_s)
            except OSError as error:
                if number == len(addresses) - 1:
                    raise Unreachable(_plainly(error)) from error
        raise Unreachable("it has no address")

    def _cut(self) -> None:
        self._cut_off = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)


def _plainly(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "no encrypted connection could be made"
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ConnectionRefusedError):
        return "it refused the connection"
    return "the connection broke" if isinstance(error, OSError) else "its answer was not HTTP"


def _literal(host: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def check_plain(addresses: Sequence[str], networks: Sequence[IpNetwork]) -> None:
    """Plain HTTP is for the owner's own networks alone. Raises `validation_failed` for addresses elsewhere."""
    if not all(_within(_carried(ipaddress.ip_address(a.partition("%")[0])), networks) for a in addresses):
        raise _unfit("the address must begin with https://")


def _allowed(address: IpAddress, networks: Sequence[IpNetwork]) -> bool:
    return _within(_carried(address), networks) or _is_public(address)


def _within(address: IpAddress, networks: Sequence[IpNetwork]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _carried(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 one only carries: what is dialled in the end."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if any(address in network for network in (*_NAT64, _COMPATIBLE)) and int(address) > 1:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)


def _is_public(address: IpAddress) -> bool:
    ip = _carried(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip not in _UNICAST:
        return False
    local_nat = isinstance(address, ipaddress.IPv6Address) and address in _NAT64[1]
    special = local_nat or _within(ip, _SPECIAL)
    return ip.is_global and not ip.is_multicast and not special


def _unfit(detail: str) -> Problem:
    return Problem(
        "validation_failed", detail, hint="Give an address like https://hooks.example.com/builderos."
    )


def _not_public(host: str) -> Problem:
    return Problem(
        "validation_failed", f"the host {host[:200]} is not a public address",
        hint="Only the server's owner may use addresses of its own network.",
    )  # fmt: skip
