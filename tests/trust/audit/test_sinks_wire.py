"""What leaves over the wire: syslog in all its transports, and objects of a bucket."""

import datetime as dt
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from builderos.core.clock import utcnow
from builderos.integrations.s3.carrier import _signed
from builderos.trust.audit import service as audit
from tests.support.buckets import KEY_ID, SECRET, Service
from tests.support.lab import Lab
from tests.support.servers import until
from tests.support.sinks import due_now, lines_of, signature_holds, sink, state_of, work
from tests.support.world import Json

pytestmark = pytest.mark.usefixtures("alone")


# ---------------------------------------------------------------- syslog


@contextmanager
def collector(kind: str, context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """A syslog server: its port, and the messages that it understood."""
    got: list[bytes] = []
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    if kind != "udp":
        sock.listen()

    def stream() -> None:
        while True:
            try:
                plain, _ = sock.accept()
            except OSError:
                return
            try:
                peer = context.wrap_socket(plain, server_side=True) if context else plain
                with peer, peer.makefile("rb") as data:
                    while length := b"".join(iter(lambda: data.read(1).replace(b" ", b""), b"")):
                        got.append(data.read(int(length)))
            except OSError:
                continue

    def datagrams() -> None:
        while True:
            try:
                message = sock.recv(65_536)
            except OSError:
                return
            if not message:
                return
            got.append(message)

    thread = threading.Thread(target=datagrams if kind == "udp" else stream, daemon=True)
    thread.start()
    try:
        yield sock.getsockname()[1], got
    finally:
        sock.shutdown(socket.SHUT_RDWR) if kind != "udp" else None
        sock.close()


def wait_for(got: list[bytes], count: int) -> None:
    until(lambda: len(got) >= count)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_syslog_gets_a_message_for_each_line_and_one_with_the_signature(site: Lab, transport: str) -> None:
    site.ok(
        site.as_owner("POST", "/v1/api-keys", json={"label": ']"\\ <13>1 - evil', "scopes": ["read"]}), 201
    )
    with collector(transport) as (port, got):
        made = sink(site, "sys", syslog={"host": "127.0.0.1", "port": port, "transport": transport})
        work(site)
        count = state_of(site, made)["cursor"]
        wait_for(got, count + 1)
    rows = lines_of(site)[:count]
    for message, row in zip(got, rows, strict=False):
        head, text = message.split(b"] \xef\xbb\xbf", 1)
        fields = head.decode().split(" ", 7)
        assert (fields[0], fields[2], fields[3], fields[5]) == ("<109>1", "builderos", "builderos", "ledger")
        assert dt.datetime.fromisoformat(fields[1]).tzinfo is not None
        assert text.decode() == row
        assert b"\n" not in message
    last = got[count].decode()
    told = dict(part.split("=", 1) for part in last[last.index("[") + 1 : -1].split(" ")[1:])
    envelope: Json = {name: json.loads(value) for name, value in told.items()}
    assert last.split(" ")[5] == "signature"
    assert signature_holds(
        envelope, "".join(f"{row}\n" for row in rows[int(envelope["first"]) - 1 :]).encode()
    )


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost and its key."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
    )
    now = utcnow()
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ))  # fmt: skip
    return cert, private


def test_syslog_over_tls_trusts_only_who_is_vouched_for(
    site: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, private = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, private)
    with collector("tls", context) as (port, got):
        made = sink(site, "tls", syslog={"host": "localhost", "port": port})
        work(site)
        assert "SSLCertVerificationError" in state_of(site, made)["last_error"]
        assert got == []
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        due_now(site)
        work(site)
        wait_for(got, state_of(site, made)["cursor"] + 1)


# ---------------------------------------------------------------- S3


@pytest.fixture
def stranger() -> Iterator[str]:
    """The address of a service that knows nobody's key."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(403)
            self.end_headers()
            self.wfile.write(b"<Error><Code>SignatureDoesNotMatch</Code></Error>")

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody wants to read it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def where(endpoint: str) -> Json:
    return {
        "bucket": "audit-log", "endpoint": endpoint, "access_key_id": KEY_ID, "secret_access_key": SECRET,
    }  # fmt: skip


def test_a_bucket_gets_an_object_for_each_batch_with_its_signature(site: Lab, buckets: Service) -> None:
    buckets.make("audit-log")
    made = sink(site, "s3", s3=where(buckets.url))
    with mock.patch.object(audit.shipping, "PER_BATCH", 9):
        work(site)
    assert state_of(site, made)["last_error"] is None
    rows: list[str] = []
    for key in sorted(buckets.keys("audit-log")):
        assert key.startswith(f"builderos/{site.world.org_id}/ledger/{made['id']}/")
        *data, last, _ = buckets.ask("GET", f"/audit-log/{key}").decode().split("\n")
        assert signature_holds(json.loads(last)["batch"], "".join(f"{row}\n" for row in data).encode())
        rows += data
    assert rows == lines_of(site)[: len(rows)]
    assert len(rows) == state_of(site, made)["cursor"]


def test_a_bucket_that_is_not_there_takes_nothing(site: Lab, buckets: Service) -> None:
    made = sink(site, "s3gone", s3=where(buckets.url) | {"bucket": "no-such-bucket"})
    work(site)
    assert state_of(site, made)["last_error"] == "it answered 404 NoSuchBucket"


def test_a_bucket_that_does_not_know_the_key_takes_nothing(site: Lab, stranger: str) -> None:
    made = sink(site, "s3wrong", s3=where(stranger))
    work(site)
    assert state_of(site, made)["last_error"] == "it answered 403 SignatureDoesNotMatch"


def test_the_secret_is_in_no_address_that_is_asked_for() -> None:
    config = where("https://s3.example.com") | {"region": "eu-west-1"}
    url = _signed(config, SECRET, "builderos/org_1/ledger/snk_1/a~b.jsonl")
    assert url.startswith("https://s3.example.com/audit-log/builderos/org_1/ledger/snk_1/a")
    assert SECRET not in url
    assert "X-Amz-Expires=300" in url
