"""Which addresses may be dialled on somebody else's word."""

import socket
from typing import Any

import pytest

from builderos.core.dialing import public_address
from builderos.core.problems import Problem

INSIDE = [
    "127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "::1", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::",
]  # fmt: skip


def answer(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these addresses."""

    def look_up(_host: str, port: int, **_options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    answer(monkeypatch, address)
    with pytest.raises(Problem) as refused:
        public_address("git.example.com", 443)
    assert refused.value.code == "validation_failed"


def test_one_inside_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "93.184.216.34", "10.0.0.1")
    with pytest.raises(Problem):
        public_address("git.example.com", 443)


def test_a_public_name_gives_the_address_to_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "93.184.216.34")
    assert public_address("git.example.com", 443) == "93.184.216.34"


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "localhost"])
def test_other_spellings_of_loopback_are_refused(host: str) -> None:
    with pytest.raises(Problem):
        public_address(host, 80)
