"""The record leaves: to real receivers, signed, in order, at least once, and never into the server's own network."""

import base64
import datetime as dt
import hashlib
import hmac
import json
import socket
import ssl
import subprocess
import sys
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
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID
from requests_aws4auth import AWS4Auth

from builderos import app as root
from builderos.core.clock import utcnow
from builderos.engine import outbox
from builderos.integrations.s3.signing import signed_headers
from builderos.integrations.sinks.file import FileCarrier
from builderos.interfaces.cli import verify_audit as script
from builderos.trust.audit import service as audit
from builderos.trust.audit.ports import Batch
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.receivers import NETWORKS, Receiver, receiver
from tests.support.world import Json

KEY_ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.fixture(scope="module")
def site(databases: Databases) -> Iterator[Lab]:
    """A server whose owner lets sinks reach loopback."""
    with lab_in_temp(databases, webhook_networks=NETWORKS) as made:
        yield made


@pytest.fixture(autouse=True)
def _alone(site: Lab) -> Iterator[None]:
    """Nothing of one test reaches the sinks of another."""
    yield
    site.sql("update ops.sinks set state = 'deleted'")
    site.sql("update ops.outbox set done_at = now() where done_at is null")


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def sink(site: Lab, name: str, **where: Any) -> Json:
    return site.ok(
        site.as_owner("POST", "/v1/audit/sinks", json={"name": name, "from_start": True, **where}), 201
    )


def state_of(site: Lab, made: Json) -> Json:
    items = site.ok(site.as_owner("GET", "/v1/audit/sinks"))["items"]
    return next(item for item in items if item["id"] == made["id"])


def work(site: Lab) -> None:
    """Wake sinks that are behind and carry what is due, as the engine does."""
    context = site.world.context
    audit.shipping.wake(context)
    handlers = root.outbox_handlers()
    while due := [d for d in outbox.due(context) if kind_of(site, d.id) == audit.sinks.MESSAGE]:
        for item in due:
            outbox.deliver(context, handlers, item.org_id, item.id)


def kind_of(site: Lab, message: int) -> str:
    return site.sql("select kind from ops.outbox where id = %s", message)[0][0]


def due_now(site: Lab) -> None:
    site.sql("update ops.outbox set next_at = now() where done_at is null")


def lines_of(site: Lab) -> list[str]:
    """The export's rows, without its head."""
    return site.as_owner("GET", "/v1/audit/export").text.split("\n")[:-2]


def signature_holds(envelope: Json, data: bytes) -> bool:
    """By the documented rule, written down a second time."""
    assert envelope["sha256"] == hashlib.sha256(data).hexdigest()
    said = "".join(f"{envelope[n]}\n" for n in ("org_id", "stream", "first", "last", "sha256", "signed_at"))
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(envelope["public_key"]))
    key.verify(base64.b64decode(envelope["signature"]), b"builderos/batch\n" + said.encode())
    return True


# ---------------------------------------------------------------- webhooks


def test_a_webhook_gets_every_line_in_order_with_two_signatures(site: Lab, there: Receiver) -> None:
    made = sink(site, "hook", webhook={"url": there.url})
    site.open_sandbox().commit({"a.txt": "1\n"}, message="Line \u2028 end")
    with mock.patch.object(audit.shipping, "PER_BATCH", 5):
        work(site)
    found: list[Json] = []
    for headers, body in there.got:
        said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        key = base64.b64decode(made["secret"].removeprefix("whsec_"))
        wanted = "v1," + base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == wanted
        batch = json.loads(body)
        start = body.index(b'"rows": [') + len(b'"rows": [')
        assert signature_holds(batch, body[start:-2].replace(b"},{", b"}\n{") + b"\n")
        found += batch["rows"]
    assert [row["seq"] for row in found] == list(range(1, len(found) + 1))
    assert len(found) == state_of(site, made)["cursor"] > 5
    assert [json.loads(line) for line in lines_of(site)][: len(found)] == found


def test_what_was_not_taken_is_sent_again_and_nothing_is_left_out(site: Lab, there: Receiver) -> None:
    made = sink(site, "later", webhook={"url": there.url})
    there.status = 503
    work(site)
    failed = state_of(site, made)
    assert (failed["cursor"], failed["last_error"]) == (0, "it answered 503")
    pause = site.sql("select next_at - now() from ops.outbox where done_at is null and kind = 'audit.sink'")
    assert dt.timedelta(seconds=1) < pause[0][0] < dt.timedelta(seconds=4)
    site.open_sandbox()
    work(site)
    assert len(there.got) == 1  # not before its time, and not twice at once
    there.status = 200
    due_now(site)
    work(site)
    rows = [row["seq"] for _, body in there.got[1:] for row in json.loads(body)["rows"]]
    assert rows == list(range(1, len(rows) + 1))
    healed = state_of(site, made)
    assert (healed["cursor"], healed["failing_since"], healed["last_error"]) == (len(rows), None, None)


def test_a_batch_whose_taking_was_not_noted_comes_again_under_the_same_id(site: Lab, there: Receiver) -> None:
    sink(site, "twice", webhook={"url": there.url})
    with (
        mock.patch.object(audit.shipping, "_move", side_effect=RuntimeError("killed")),
        pytest.raises(RuntimeError),
    ):
        work(site)
    due_now(site)
    work(site)
    ids = [headers["webhook-id"] for headers, _ in there.got]
    assert ids[0] == ids[1]


def test_whoever_takes_nothing_for_an_hour_raises_an_alert_and_holds_up_nobody(
    site: Lab, there: Receiver
) -> None:
    dead = sink(site, "dead", webhook={"url": "http://127.0.0.1:9/x"})
    alive = sink(site, "alive", webhook={"url": there.url})
    work(site)
    assert state_of(site, alive)["cursor"] > 0
    assert state_of(site, dead)["last_error"] == "it refused the connection"
    assert [a for a in site.alerts("sink_failing") if a["object"] == dead["id"]] == []
    site.sql("update ops.sinks set failing_since = failing_since - interval '61 minutes'")
    due_now(site)
    work(site)
    assert [a["object"] for a in site.alerts("sink_failing")] == [dead["id"]]


def test_a_new_sink_begins_where_the_record_ends_unless_it_is_told_otherwise(
    site: Lab, there: Receiver
) -> None:
    made = site.ok(
        site.as_owner("POST", "/v1/audit/sinks", json={"name": "new", "webhook": {"url": there.url}}), 201
    )
    end = made["cursor"]
    site.open_sandbox()
    work(site)
    assert json.loads(there.got[0][1])["first"] == end + 1


def test_the_accesses_have_a_stream_of_their_own(site: Lab, there: Receiver) -> None:
    made = sink(site, "reads", stream="access", webhook={"url": there.url})
    site.open_sandbox().post("/system/fetch_files", path="README.md")
    work(site)
    assert there.got == []  # a row with a lower number may still appear
    site.sql("update ops.accesses set noted_at = noted_at - interval '2 minutes'")
    work(site)
    rows = [row for _, body in there.got for row in json.loads(body)["rows"]]
    assert "README.md" in [row["path"] for row in rows]
    assert state_of(site, made)["cursor"] == rows[-1]["id"]


def test_a_trial_tells_what_becomes_of_it(site: Lab, there: Receiver) -> None:
    made = site.ok(
        site.as_owner("POST", "/v1/audit/sinks", json={"name": "t", "webhook": {"url": there.url}}), 201
    )
    for status, error in ((200, None), (403, "it answered 403")):
        there.status = status
        site.ok(site.as_owner("POST", f"/v1/audit/sinks/{made['id']}/test", json={}))
        site.sql("update ops.sinks set cursor = 1000000")  # the trial alone
        work(site)
        shown = state_of(site, made)
        assert (shown["test_error"], shown["tested_at"] is not None) == (error, True)
    assert json.loads(there.got[0][1])["rows"][0]["test"] is True


def test_a_deleted_sink_gets_nothing_more_and_its_secret_is_gone(site: Lab, there: Receiver) -> None:
    made = sink(site, "gone", webhook={"url": there.url})
    audit.shipping.wake(site.world.context)
    site.ok(site.as_owner("DELETE", f"/v1/audit/sinks/{made['id']}"))
    work(site)
    assert there.got == []
    assert site.sql("select secret from ops.sinks where id = %s", made["id"]) == [(None,)]
    site.problem(site.as_owner("DELETE", f"/v1/audit/sinks/{made['id']}"), "not_found")


def test_no_reply_but_the_first_and_no_line_holds_a_secret(site: Lab, there: Receiver) -> None:
    hook = sink(site, "s1", webhook={"url": there.url})
    sink(site, "s2", s3={"bucket": "bucket", "access_key_id": KEY_ID, "secret_access_key": SECRET})
    shown = site.as_owner("GET", "/v1/audit/sinks").text
    rows = str(site.sql("select config::text, encode(secret, 'escape') from ops.sinks"))
    for secret in (hook["secret"], SECRET):
        assert secret not in shown + rows + "".join(lines_of(site))
    assert hook["secret"].startswith("whsec_")


@pytest.mark.parametrize(
    "where",
    [
        {"webhook": {"url": "https://10.0.0.1/x"}}, {"webhook": {"url": "https://169.254.169.254/latest"}},
        {"webhook": {"url": "https://[::1]/x"}}, {"webhook": {"url": "file:///etc/passwd"}},
        {"webhook": {"url": "https://user:pw@example.com/"}}, {"webhook": {"url": "https://x.example/", "secret": "a"}},
        {"syslog": {"host": "10.0.0.1"}}, {"syslog": {"host": "localhost", "transport": "udp"}},
        {"s3": {"bucket": "b" * 5, "endpoint": "https://192.168.1.1", "access_key_id": "a", "secret_access_key": "b"}},
        {"s3": {"bucket": "../x", "access_key_id": "a", "secret_access_key": "b"}},
        {"s3": {"bucket": "bucket", "prefix": "a b", "access_key_id": "a", "secret_access_key": "b"}},
        {"webhook": {"url": "https://x.example/"}, "file": {}}, {}, {"file": {"path": "/etc/cron.d/x"}},
        {"name": "../x", "file": {}},
    ],
)  # fmt: skip
def test_no_sink_leads_into_the_servers_own_network_or_files(lab: Lab, where: Json) -> None:
    body = {"name": "evil", **where}
    lab.problem(lab.as_owner("POST", "/v1/audit/sinks", json=body), "validation_failed")
    assert lab.ok(lab.as_owner("GET", "/v1/audit/sinks"))["items"] == []


def test_names_are_taken_once(site: Lab) -> None:
    sink(site, "one", file={})
    site.problem(site.as_owner("POST", "/v1/audit/sinks", json={"name": "one", "file": {}}), "conflict")


# ---------------------------------------------------------------- files


def folder_of(site: Lab) -> Path:
    return site.world.home / "audit" / site.world.org_id


def test_a_file_holds_the_rows_of_an_export_and_verifies_with_a_head(site: Lab, tmp_path: Path) -> None:
    made = sink(site, "file", file={})
    site.open_sandbox().commit({"a.txt": "1\n"})
    with mock.patch.object(audit.shipping, "PER_BATCH", 7):
        work(site)
    file = folder_of(site) / f"{made['id']}.jsonl"
    export = site.as_owner("GET", "/v1/audit/export").text.split("\n")
    assert file.read_text().split("\n")[:-1] == export[:-2]
    assert (file.stat().st_mode & 0o777, folder_of(site).stat().st_mode & 0o777) == (0o600, 0o700)
    whole = tmp_path / "whole.jsonl"
    whole.write_text(file.read_text() + export[-2] + "\n")
    done = subprocess.run(
        [sys.executable, "-I", script.__file__, str(whole)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout
    data, at = file.read_bytes().split(b"\n"), 0
    for envelope in map(
        json.loads, (folder_of(site) / f"{made['id']}.signatures.jsonl").read_text().splitlines()
    ):
        assert signature_holds(envelope, b"".join(row + b"\n" for row in data[at : at + envelope["count"]]))
        at += envelope["count"]
    assert at == len(data) - 1


def test_half_a_row_that_a_crash_left_is_cut_off_and_full_files_are_set_aside(site: Lab) -> None:
    made = sink(site, "rotated", file={"max_mb": 1})
    work(site)
    file = folder_of(site) / f"{made['id']}.jsonl"
    with file.open("ab") as end:
        end.write(b'{"seq": 999, "half')
    site.open_sandbox()
    work(site)
    assert all(json.loads(row) for row in file.read_text().splitlines())
    for first in (499, 500):
        FileCarrier(site.world.settings).carry({"max_mb": 0}, {}, batch_of(made, first))
    aside = folder_of(site).parent / "another" / f"{made['id']}-{499:012}.jsonl"
    assert len(aside.read_text().splitlines()) == 1


def batch_of(made: Json, first: int) -> Batch:
    return Batch("another", made["id"], "ledger", first, first, ('{"seq": 1}',), "", "", "", "")


def test_a_file_that_cannot_be_written_is_a_failure_like_any_other(site: Lab) -> None:
    made = sink(site, "full", file={})
    folder_of(site).mkdir(parents=True, exist_ok=True)
    (folder_of(site) / f"{made['id']}.jsonl").mkdir()
    work(site)
    assert "cannot be written" in state_of(site, made)["last_error"]


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
