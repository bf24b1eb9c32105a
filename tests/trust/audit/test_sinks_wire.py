"""What leaves over the wire: syslog in all its transports, and objects of a bucket."""

import datetime as dt
import hmac
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
import requests  # noqa: TID251 - what the other signer signs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from requests_aws4auth import AWS4Auth

from builderos.core.clock import utcnow
from builderos.integrations.s3.signing import signed_headers
from builderos.trust.audit import service as audit
from tests.support.lab import Lab
from tests.support.sinks import due_now, lines_of, signature_holds, sink, state_of, work
from tests.support.world import Json

pytestmark = pytest.mark.usefixtures("alone")
KEY_ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


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
    ready = threading.Event()
    for _ in range(200):
        if len(got) >= count:
            return
        ready.wait(0.02)
    raise AssertionError(f"{len(got)} messages of {count}")


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


class Bucket:
    """A service that speaks S3 as far as PUT, and checks signatures by somebody else's reading of the rules."""

    def __init__(self, secret: str) -> None:
        self.objects: dict[str, bytes] = {}
        bucket = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                good = hmac.compare_digest(self.headers["authorization"], bucket.wanted(self, body, secret))
                if good:
                    bucket.objects[self.path] = body
                self.send_response(200 if good else 403)
                self.end_headers()
                self.wfile.write(b"" if good else b"<Error><Code>SignatureDoesNotMatch</Code></Error>")

            def log_message(self, format: str, *args: Any) -> None:
                """Nobody wants to read it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def wanted(self, got: BaseHTTPRequestHandler, body: bytes, secret: str) -> str:
        """The authorization that the request should carry."""
        date = got.headers["x-amz-date"]
        return authorization(f"{self.url}{got.path}", body, date, secret)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def authorization(url: str, body: bytes, date: str, secret: str) -> str:
    host = url.split("/")[2]
    told = {"host": host, "content-type": "application/jsonl", "x-amz-date": date}
    request = requests.Request("PUT", url, data=body, headers=told).prepare()
    signer = AWS4Auth(KEY_ID, secret, "us-east-1", "s3", include_hdrs=("host", "content-type", "x-amz-*"))
    return str(signer(request).headers["authorization"])


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    made = Bucket(SECRET)
    yield made
    made.close()


def test_a_bucket_gets_an_object_for_each_batch_with_its_signature(site: Lab, bucket: Bucket) -> None:
    where = {
        "bucket": "audit-log",
        "endpoint": bucket.url,
        "access_key_id": KEY_ID,
        "secret_access_key": SECRET,
    }
    made = sink(site, "s3", s3=where)
    with mock.patch.object(audit.shipping, "PER_BATCH", 9):
        work(site)
    assert state_of(site, made)["last_error"] is None
    rows: list[str] = []
    for path in sorted(bucket.objects):
        assert path.startswith(f"/audit-log/builderos/{site.world.org_id}/ledger/{made['id']}/")
        *data, last, _ = bucket.objects[path].decode().split("\n")
        assert signature_holds(json.loads(last)["batch"], "".join(f"{row}\n" for row in data).encode())
        rows += data
    assert rows == lines_of(site)[: len(rows)]
    assert len(rows) == state_of(site, made)["cursor"]


def test_a_bucket_that_does_not_know_the_key_takes_nothing(site: Lab, bucket: Bucket) -> None:
    where = {
        "bucket": "audit-log",
        "endpoint": bucket.url,
        "access_key_id": KEY_ID,
        "secret_access_key": "another",
    }
    made = sink(site, "s3wrong", s3=where)
    work(site)
    assert state_of(site, made)["last_error"] == "it answered 403 SignatureDoesNotMatch"
    assert bucket.objects == {}


@pytest.mark.parametrize("path", ["/b/a.jsonl", "/b/builderos/org_1/a~b-c_d.jsonl", "/b/a b/é"])
@pytest.mark.parametrize("body", [b"", b"x" * 1000])
def test_requests_are_signed_as_others_sign_them(path: str, body: bytes) -> None:
    at = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    url = requests.Request("PUT", f"https://s3.us-east-1.amazonaws.com{path}").prepare().url
    assert url is not None
    ours = signed_headers("PUT", url, body, {"content-type": "application/jsonl"}, key_id=KEY_ID, secret=SECRET,
                          region="us-east-1", at=at)  # fmt: skip
    assert ours["authorization"] == authorization(url, body, "20260301T120000Z", SECRET)
