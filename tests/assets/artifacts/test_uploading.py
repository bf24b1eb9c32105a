"""Uploads in parts: what was acknowledged stays, what was announced has to come, and nobody else's is touched."""

import hashlib
import os
import socket
from urllib.parse import urlsplit

import pytest

from builderos.assets.artifacts import service as artifacts
from builderos.core.clock import utcnow
from tests.support.lab import Lab
from tests.support.ports import live
from tests.support.sandboxes import until
from tests.support.uploads import begin, content, file_of, send, upload
from tests.support.world import Json

DATA = os.urandom(2_500_000)


def begun(lab: Lab, data: bytes = DATA, path: str = "out/data.bin", **more: object) -> Json:
    return lab.ok(begin(lab, data, path, **more), 201)


def test_what_is_sent_in_parts_is_one_artifact(lab: Lab) -> None:
    made = begun(lab)
    for start in range(0, len(DATA), 1_000_000):
        shown = lab.ok(lab.as_owner("GET", f"/v1/artifacts/uploads/{made['id']}"))
        assert (shown["offset"], shown["artifact"]) == (start, None)
        reply = lab.ok(send(lab, made["id"], start, DATA[start : start + 1_000_000]))
    artifact = reply["artifact"]
    assert artifact["hash"] == f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    assert (artifact["path"], artifact["size"], artifact["type"]) == ("out/data.bin", len(DATA), "file")
    assert content(lab, artifact["id"]).content == DATA
    lab.problem(lab.as_owner("GET", f"/v1/artifacts/uploads/{made['id']}"), "not_found")


def test_another_process_that_did_not_see_the_beginning_hashes_it_all(lab: Lab) -> None:
    made = begun(lab)
    lab.ok(send(lab, made["id"], 0, DATA[:1_000_000]))
    lab.world.context.put(artifacts.Progress, artifacts.Progress())
    artifact = lab.ok(send(lab, made["id"], 1_000_000, DATA[1_000_000:]))["artifact"]
    assert content(lab, artifact["id"]).content == DATA


def test_a_part_at_the_wrong_place_changes_nothing_and_hears_the_right_one(lab: Lab) -> None:
    made = begun(lab)
    lab.ok(send(lab, made["id"], 0, DATA[:1000]))
    for wrong in (0, 999, 1001):
        assert lab.problem(send(lab, made["id"], wrong, b"x"), "conflict")["offset"] == 1000
    assert lab.ok(send(lab, made["id"], 1000, DATA[1000:]))["artifact"]["size"] == len(DATA)


def test_bytes_that_are_others_than_announced_become_no_artifact(lab: Lab) -> None:
    made = begun(lab)
    told = lab.problem(send(lab, made["id"], 0, DATA[:-1] + b"?"), "validation_failed")
    assert told["expected"] == hashlib.sha256(DATA).hexdigest()
    lab.problem(lab.as_owner("GET", f"/v1/artifacts/uploads/{made['id']}"), "not_found")
    assert not (lab.world.home / "artifacts" / lab.world.org_id / ".uploads" / made["id"]).exists()


def test_more_than_was_announced_is_refused_and_the_rest_may_still_come(lab: Lab) -> None:
    made = begun(lab, b"abc")
    lab.problem(send(lab, made["id"], 0, b"abcd"), "payload_too_large")
    assert lab.ok(send(lab, made["id"], 0, b"abc"))["artifact"]["size"] == 3


def test_nothing_is_an_artifact_too(lab: Lab) -> None:
    made = begun(lab, b"")
    artifact = lab.ok(send(lab, made["id"], 0, b""))["artifact"]
    reply = content(lab, artifact["id"])
    assert (reply.status_code, reply.content) == (200, b"")


def test_whoever_died_before_the_artifact_was_made_sends_nothing_more_and_gets_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for after_seal in (False, True):
        data = os.urandom(1000)
        made = begun(lab, data)
        with monkeypatch.context() as patch:
            name = "keep" if after_seal else "_settled"
            patch.setattr(artifacts.uploading, name, lambda *a, **k: (_ for _ in ()).throw(KeyError("died")))
            assert send(lab, made["id"], 0, data).status_code == 500
        lab.world.context.put(artifacts.Progress, artifacts.Progress())
        assert lab.ok(lab.as_owner("GET", f"/v1/artifacts/uploads/{made['id']}"))["offset"] == 1000
        artifact = lab.ok(send(lab, made["id"], 1000, b""))["artifact"]
        assert content(lab, artifact["id"]).content == data


def test_an_upload_whose_bytes_were_lost_begins_anew(lab: Lab) -> None:
    made = begun(lab)
    lab.ok(send(lab, made["id"], 0, DATA[:1000]))
    (lab.world.home / "artifacts" / lab.world.org_id / ".uploads" / made["id"]).unlink()
    assert lab.problem(send(lab, made["id"], 1000, DATA[1000:]), "conflict")["offset"] == 0
    assert lab.ok(send(lab, made["id"], 0, DATA))["artifact"]["size"] == len(DATA)


def test_a_connection_that_breaks_loses_nothing_that_had_arrived(lab: Lab) -> None:
    made = begun(lab)
    with live(lab.world.asgi) as url:
        where = urlsplit(url)
        line = socket.create_connection((where.hostname, where.port))
        head = (
            f"PUT /v1/artifacts/uploads/{made['id']}?offset=0 HTTP/1.1\r\nhost: {where.netloc}\r\n"
            f"authorization: Bearer {lab.world.owner_token}\r\ncontent-type: application/octet-stream\r\n"
            f"content-length: {len(DATA)}\r\n\r\n"
        )
        line.sendall(head.encode() + DATA[:1_200_000])
        line.close()
        shown = f"/v1/artifacts/uploads/{made['id']}"
        until(lambda: lab.ok(lab.as_owner("GET", shown))["offset"] > 0)
    offset = lab.ok(lab.as_owner("GET", shown))["offset"]
    assert 0 < offset <= 1_200_000
    artifact = lab.ok(send(lab, made["id"], offset, DATA[offset:]))["artifact"]
    assert content(lab, artifact["id"]).content == DATA


def test_only_one_sends_at_a_time_and_one_that_vanished_does_not_block_for_ever(lab: Lab) -> None:
    made = begun(lab)
    lab.sql("update ops.artifact_uploads set lease = 'x', leased_at = now() where id = %s", made["id"])
    lab.problem(send(lab, made["id"], 0, DATA), "busy")
    lab.sql(
        "update ops.artifact_uploads set leased_at = now() - interval '3 minutes' where id = %s", made["id"]
    )
    assert lab.ok(send(lab, made["id"], 0, DATA))["artifact"]


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x", "a/../../x", "a//b", "~/x", ".git/config", "a\\b", "a\x07b", "con", "x" * 300,
     "a/b\u202egpj"],
)  # fmt: skip
def test_a_hostile_path_is_refused(lab: Lab, path: str) -> None:
    lab.problem(begin(lab, b"x", path), "invalid_path")


@pytest.mark.parametrize(
    "wrong",
    [{"sha256": "00"}, {"sha256": "g" * 64}, {"size": -1}, {"type": "../x"}, {"path": ""}, {"media_type": "text"},
     {"media_type": "text/html\r\nx: y"}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(lab: Lab, wrong: Json) -> None:
    body = {"path": "a", "size": 1, "sha256": "0" * 64} | wrong
    lab.problem(lab.as_owner("POST", "/v1/artifacts", json=body), "validation_failed")


@pytest.mark.parametrize("offset", ["", "-1", "1.5", "x", "9" * 40])
def test_an_offset_is_a_number(lab: Lab, offset: str) -> None:
    made = begun(lab)
    lab.problem(send(lab, made["id"], offset, b"x"), "validation_failed")  # type: ignore[arg-type]


def test_parts_are_bytes_and_other_calls_are_not(lab: Lab) -> None:
    made = begun(lab)
    address = f"/v1/artifacts/uploads/{made['id']}?offset=0"
    lab.problem(lab.as_owner("PUT", address, json={}), "unsupported_media_type")
    whole = {**lab.world.owner, "content-type": "application/octet-stream"}
    reply = lab.world.http.post("/v1/artifacts", content=b"x" * 9_000_000, headers=whole)
    lab.problem(reply, "payload_too_large")


def test_limits_are_told_before_anything_is_sent(lab: Lab) -> None:
    big = {"path": "a", "size": lab.world.settings.max_artifact + 1, "sha256": "0" * 64}
    lab.problem(lab.as_owner("POST", "/v1/artifacts", json=big), "payload_too_large")
    used = lab.ok(lab.as_owner("GET", "/v1/artifacts/rules"))["used_bytes"]
    waiting = lab.sql("select coalesce(sum(size), 0)::bigint from ops.artifact_uploads")[0][0]
    lab.ok(lab.as_owner("POST", "/v1/artifacts/rules", json={"max_bytes": used + waiting + 999}))
    try:
        told = lab.problem(begin(lab, b"x" * 1000), "quota_exceeded")
        assert (told["used"], told["limit"]) == (used + waiting, used + waiting + 999)
        assert begin(lab, b"x" * 10).status_code == 201
    finally:
        lab.ok(lab.as_owner("POST", "/v1/artifacts/rules", json={"max_bytes": None}))


def test_an_upload_is_its_makers_alone(lab: Lab) -> None:
    mine, other = lab.open_sandbox(), lab.open_sandbox()
    made = lab.ok(begin(lab, b"abc", headers=mine.headers), 201)
    for stranger in (other.headers, lab.world.owner):
        lab.problem(send(lab, made["id"], 0, b"abc", stranger), "not_found")
        lab.problem(lab.world.http.get(f"/v1/artifacts/uploads/{made['id']}", headers=stranger), "not_found")
    reply = lab.world.http.put(
        f"/v1/artifacts/uploads/{made['id']}?offset=0", content=b"abc",
        headers={"content-type": "application/octet-stream"},
    )  # fmt: skip
    lab.problem(reply, "unauthenticated")
    assert lab.ok(send(lab, made["id"], 0, b"abc", mine.headers))["artifact"]["size"] == 3


def test_a_run_that_nobody_knows_is_not_found(lab: Lab) -> None:
    lab.problem(begin(lab, b"x", run_id="run_01JD3W6Q8Z5V2N7X4K9T0M1R3B"), "not_found")


def test_an_upload_that_is_not_completed_in_time_is_forgotten(lab: Lab) -> None:
    made = begun(lab)
    lab.ok(send(lab, made["id"], 0, DATA[:1000]))
    file = lab.world.home / "artifacts" / lab.world.org_id / ".uploads" / made["id"]
    assert file.exists()
    with lab.later(hours=25):
        artifacts.tidy(lab.world.context, lab.world.org_id)
        lab.problem(send(lab, made["id"], 1000, DATA[1000:]), "not_found")
    assert not file.exists()


def test_an_upload_can_be_given_up(lab: Lab) -> None:
    made = begun(lab)
    lab.ok(lab.as_owner("DELETE", f"/v1/artifacts/uploads/{made['id']}"))
    lab.problem(send(lab, made["id"], 0, DATA), "not_found")


def test_the_hash_alone_gets_nobody_the_content(lab: Lab) -> None:
    secret = os.urandom(500)
    upload(lab, secret)
    box = lab.open_sandbox()
    made = lab.ok(begin(lab, secret, headers=box.headers), 201)
    assert (made["offset"], made["artifact"]) == (0, None), "all bytes have to come"


def test_the_same_content_is_stored_once_in_an_organisation_and_apart_from_others(lab: Lab) -> None:
    data = os.urandom(5000)
    before = lab.ok(lab.as_owner("GET", "/v1/artifacts/rules"))["used_bytes"]
    first, second = upload(lab, data), upload(lab, data, "another/name.bin")
    assert first["id"] != second["id"]
    assert lab.ok(lab.as_owner("GET", "/v1/artifacts/rules"))["used_bytes"] == before + 5000
    other = lab.second_org()
    third = upload(lab, data, headers=other.owner)
    assert third["hash"] == first["hash"]
    assert file_of(lab, data).stat().st_ino != file_of(lab, data, other.id).stat().st_ino
    file_of(lab, data).write_bytes(b"altered")
    assert content(lab, third["id"], headers=other.owner).content == data


def test_acts_and_reads_are_recorded(lab: Lab) -> None:
    artifact = upload(lab, os.urandom(100), "reports/a.bin")
    line = lab.ok(lab.as_owner("GET", "/v1/audit", params={"object": artifact["id"]}))["items"][0]
    assert line["type"] == "artifact.created"
    assert line["payload"]["hash"] == artifact["hash"]
    since = utcnow()
    content(lab, artifact["id"])
    seen = lab.ok(lab.as_owner("GET", "/v1/audit/access", params={"object": artifact["id"]}))["items"]
    assert [(item["action"], item["path"]) for item in seen] == [("artifact.read", "reports/a.bin")]
    assert seen[0]["at"] >= since.isoformat()[:19]
