"""Which addresses may be dialled on somebody else's word."""

import contextlib
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from builderos.core.clock import utcnow
from builderos.core.dialing import (
    MAX_ANSWER,
    Unreachable,
    networks_of,
    post,
    public_address,
    target_of,
)
from builderos.core.problems import Problem

INSIDE = [
    "127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "::1", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::",
]  # fmt: skip


def answer(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these addresses."""

    def look_up(_host: str, port: int, *_kind: Any, **_options: Any) -> list[Any]:
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


WRAPPED = ["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "2002:7f00:1::1", "::7f00:1", "fec0::1",
           "2001:0:1:2:3:4:f5ff:fffe",
           "ff02::1", "2001:db8::1", "192.0.0.8", "198.18.0.1", "255.255.255.255"]  # fmt: skip


@pytest.mark.parametrize("address", WRAPPED)
def test_an_inside_address_wrapped_into_another_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    answer(monkeypatch, address)
    with pytest.raises(Problem):
        public_address("hooks.example.com", 443)


@pytest.mark.parametrize("address", ["2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_public_addresses_in_either_form_are_dialled(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    answer(monkeypatch, address)
    assert public_address("hooks.example.com", 443) == address


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/", "ftp://hooks.example.com/", "file:///etc/passwd", "https:hooks.example.com",
        "https://user@hooks.example.com/", "https://user:pw@hooks.example.com/", "https://hooks.example.com/#x",
        "https://hooks.example.com#", "https://hooks.example.com:22/", "https://hooks.example.com:99999/",
        "https://127.1/", "https://0x7f000001/", "https://017700000001/", "https://2130706433/", "https://1.2.3.4.5/",
        "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::7f00:1]/",
        "https://[fe80::1%25eth0]/", "https://[::1/", "https://", "https://a..example/", "https://%6c.example/",
        "https://hooks.example.com/\r\nX-Evil: 1", "https://hooks.example.com/a b", "https://hooks.example.com\\@x/",
        "https://h\u00f6oks.example/", "https://hooks.example.com/\x00", "https://" + "a" * 2000 + ".example/",
    ],
)  # fmt: skip
def test_an_address_that_nobody_needs_is_refused_before_any_look_up(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: pytest.fail("looked up"))
    with pytest.raises(Problem) as refused:
        target_of(url)
    assert refused.value.code == "validation_failed"


@pytest.mark.parametrize("url", ["https://hooks.example.com", "https://HOOKS.example.com.:8443/a?b=c"])
def test_an_ordinary_address_is_taken(url: str) -> None:
    target = target_of(url)
    assert (target.tls, target.host) == (True, "hooks.example.com")


class Site:
    """A server on loopback that answers every request with the same bytes, and keeps what it was sent."""

    def __init__(self, reply: bytes, *, pause_s: float = 0) -> None:
        self.got: list[bytes] = []
        self._reply, self._pause_s = reply, pause_s
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                with peer, contextlib.suppress(OSError):
                    self.got.append(peer.recv(65536))
                    for byte in self._reply if self._pause_s else ():
                        peer.send(bytes([byte]))
                        time.sleep(self._pause_s)
                    peer.sendall(b"" if self._pause_s else self._reply)

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def site(reply: bytes, **how: float) -> Iterator[Site]:
    made = Site(reply, **how)
    yield made
    made.close()


HOME = networks_of("127.0.0.0/8")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_networks_that_the_servers_owner_named_may_be_dialled_and_no_others() -> None:
    with site(OK) as there:
        url = f"http://127.0.0.1:{there.port}/in?a=1"
        got = post(url, b"{}", {"x-a": "b"}, networks=HOME)
        assert (got.status, got.body) == (200, b"ok")
        assert there.got[0].startswith(b"POST /in?a=1 HTTP/1.1\r\n")
        for networks in ((), networks_of("10.0.0.0/8")):
            with pytest.raises(Unreachable):
                post(url, b"{}", {}, networks=networks)
        assert len(there.got) == 1


def test_a_name_that_moves_inside_after_it_was_checked_is_not_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every call looks the name up once, and dials what it found there: no second look-up can lead elsewhere."""
    asked: list[str] = []
    dialled: list[str] = []

    def look_up(host: str, port: int, **_options: Any) -> list[Any]:
        asked.append(host)
        address = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def dial(address: tuple[str, int], _timeout: float) -> socket.socket:
        dialled.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", dial)
    for _ in range(2):
        with pytest.raises(Unreachable):
            post("https://rebind.example.com/", b"", {})
    assert (asked, dialled) == (["rebind.example.com"] * 2, ["93.184.216.34"])


def test_a_redirect_is_an_answer_and_nobody_goes_there() -> None:
    with site(OK) as inside:
        moved = (
            f"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:{inside.port}/\r\nContent-Length: 0\r\n\r\n"
        )
        with site(moved.encode()) as there:
            assert post(f"http://127.0.0.1:{there.port}/", b"", {}, networks=HOME).status == 307
        assert inside.got == []


def test_plain_http_goes_to_the_owners_networks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "93.184.216.34")
    with pytest.raises(Unreachable, match="https"):
        post("http://hooks.example.com/", b"", {}, networks=HOME)


@pytest.mark.parametrize("headers", [{"x": "a\r\nX-Evil: 1"}, {"x\r\nX-Evil": "1"}, {"x": "a\nb"}])
def test_a_header_cannot_begin_another_line(headers: dict[str, str]) -> None:
    with site(OK) as there:
        with pytest.raises(Unreachable):
            post(f"http://127.0.0.1:{there.port}/", b"", headers, networks=HOME)
        assert all(b"Evil" not in got for got in there.got)


def test_an_answer_that_dribbles_is_cut_off() -> None:
    slow = site(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200, pause_s=0.02)
    with slow as there, pytest.raises(Unreachable, match="too long"):
        post(f"http://127.0.0.1:{there.port}/", b"", {}, networks=HOME, timeout_s=0.3)


@pytest.mark.parametrize(
    "reply", [b"", b"no http at all\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500]
)
def test_an_answer_that_is_none_is_a_failure(reply: bytes) -> None:
    with site(reply) as there, pytest.raises(Unreachable):
        post(f"http://127.0.0.1:{there.port}/", b"", {}, networks=HOME)


def test_only_the_beginning_of_a_long_answer_is_read() -> None:
    with site(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"z" * 60_000) as there:
        got = post(f"http://127.0.0.1:{there.port}/", b"", {}, networks=HOME)
        assert len(got.body) == MAX_ANSWER


def test_the_certificate_has_to_be_that_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address is dialled, but the name is what has to be proved."""
    cert, key = make_certificate("other.example.com")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("wb", suffix=".pem") as pem:
        pem.write(key + cert)
        pem.flush()
        server.load_cert_chain(pem.name)
    trust = ssl.create_default_context(cadata=cert.decode())
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listening.accept()
                with contextlib.suppress(OSError), server.wrap_socket(peer, server_side=True) as tls:
                    tls.recv(65536)
                    tls.sendall(OK)

    threading.Thread(target=serve, daemon=True).start()
    answer(monkeypatch, "127.0.0.1")
    try:
        for name, fits in (("other.example.com", True), ("hooks.example.com", False)):
            with contextlib.nullcontext() if fits else pytest.raises(Unreachable, match="certificate"):
                assert post(f"https://{name}:{port}/", b"", {}, networks=HOME, trust=trust).status == 200
    finally:
        listening.close()


def make_certificate(name: str) -> tuple[bytes, bytes]:
    """A certificate that signs itself, and its key, both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = utcnow()
    cert = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return cert.public_bytes(serialization.Encoding.PEM), pem
