"""The record leaves: to real receivers, signed, in order, at least once, and never into the server's own network."""

import base64
import datetime as dt
import hashlib
import hmac
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from builderos.core.unit import Unit, as_system
from builderos.integrations.sinks.file import FileCarrier
from builderos.interfaces.cli import verify_audit as script
from builderos.trust.audit import service as audit
from builderos.trust.audit.ports import Batch
from tests.support.lab import Lab
from tests.support.receivers import Receiver, receiver
from tests.support.sinks import due_now, lines_of, signature_holds, sink, state_of, work
from tests.support.world import Json

pytestmark = pytest.mark.usefixtures("alone")
KEY_ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


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


def test_the_secrets_of_a_sink_go_with_the_key_of_its_organisation(site: Lab) -> None:
    made, org = sink(site, "sealed", webhook={"url": "https://hooks.example.com/"}), site.world.org_id

    def opened(unit: Unit) -> dict[str, str]:
        return audit.sinks.secrets_of(unit, audit.sinks.find(unit, made["id"]))

    assert as_system(site.world.context, org, opened, read_only=True)["secret"] == made["secret"]
    columns = "org_id, wrapped, wrapped_by, created_at"
    (key,) = site.sql(f"select {columns} from ops.org_keys where org_id = %s", org)
    site.sql("delete from ops.org_keys where org_id = %s", org)
    try:
        with pytest.raises(LookupError):
            as_system(site.world.context, org, opened, read_only=True)
    finally:
        site.sql(f"insert into ops.org_keys ({columns}) values (%s, %s, %s, %s)", *key)


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
