"""Addresses that may be dialled on somebody else's word: public ones only, and exactly the one that was checked."""

import ipaddress
import socket

from .problems import Problem


def public_address(host: str, port: int) -> str:
    """An address of `host` to dial instead of its name, so that a second look-up cannot lead elsewhere.

    Raises `validation_failed` where the name is unknown or any of its addresses is not public (loopback, private,
    link-local, metadata services, IPv4 mapped into IPv6).
    """
    try:
        found = {str(row[4][0]) for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        found = set[str]()
    if not found:
        raise Problem("validation_failed", f"the host {host[:200]} is not known", hint="Check the address.")
    if not all(_is_public(address) for address in found):
        raise Problem(
            "validation_failed", f"the host {host[:200]} is not a public address",
            hint="Only the server's owner may use addresses of its own network.",
        )  # fmt: skip
    return min(found)


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_global and not (mapped or ip).is_multicast
