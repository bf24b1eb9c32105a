"""Reading: any part, by whoever may, and never a byte that was not kept."""

import hashlib
import http.client
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from builderos.assets.artifacts import service as artifacts
from builderos.assets.artifacts.hashing import BLOCK
from builderos.core.problems import Problem
from builderos.core.unit import as_system
from tests.support.lab import Lab
from tests.support.ports import live
from tests.support.uploads import content, file_of, upload
from tests.support.world import Json

DATA = os.urandom(3 * BLOCK + 12345)
SIZE = len(DATA)


@pytest.fixture(scope="module")
def artifact(lab: Lab) -> Json:
    return upload(lab, DATA, "models/net.bin")


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0), ("bytes=5-104", 5, 104), (f"bytes={BLOCK - 1}-{BLOCK}", BLOCK - 1, BLOCK),
        (f"bytes={BLOCK}-{2 * BLOCK - 1}", BLOCK, 2 * BLOCK - 1), ("bytes=100-", 100, SIZE - 1),
        ("bytes=-7", SIZE - 7, SIZE - 1), (f"bytes=-{SIZE + 5}", 0, SIZE - 1), ("bytes=0-99999999999", 0, SIZE - 1),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
    ],
)  # fmt: skip
def test_a_range_is_given_as_asked(lab: Lab, artifact: Json, asked: str, first: int, last: int) -> None:
    reply = content(lab, artifact["id"], range=asked)
    assert reply.status_code == 206
    assert reply.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert reply.headers["content-length"] == str(last - first + 1)
    assert reply.content == DATA[first : last + 1]


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=-0"])
def test_a_range_without_a_byte_cannot_be_satisfied(lab: Lab, artifact: Json, asked: str) -> None:
    assert lab.problem(content(lab, artifact["id"], range=asked), "range_not_satisfiable")["size"] == SIZE


@pytest.mark.parametrize(
    "asked", ["bytes=5-1", "bytes=-", "bytes=1-2,5-6", "lines=1-2", "bytes=a-b", "bytes 1-2"]
)
def test_what_is_no_single_range_is_answered_by_all(lab: Lab, artifact: Json, asked: str) -> None:
    reply = content(lab, artifact["id"], range=asked)
    assert (reply.status_code, reply.content) == (200, DATA)


def test_conditions_hold_by_the_hash(lab: Lab, artifact: Json) -> None:
    tag = content(lab, artifact["id"], range="bytes=0-0").headers["etag"]
    assert tag == f'"{artifact["hash"].replace(":", "-")}"'
    same = content(lab, artifact["id"], **{"range": "bytes=1-2", "if-range": tag})
    assert (same.status_code, same.content) == (206, DATA[1:3])
    other = content(lab, artifact["id"], **{"range": "bytes=1-2", "if-range": '"other"'})
    assert (other.status_code, len(other.content)) == (200, SIZE)
    for known in (tag, f'"x", W/{tag}', "*"):
        reply = content(lab, artifact["id"], **{"if-none-match": known})
        assert (reply.status_code, reply.content) == (304, b"")
    assert content(lab, artifact["id"], **{"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    ("path", "data", "kept", "told"),
    [
        ("a.html", b"<script>alert(1)</script>", "text/html", "application/octet-stream"),
        ("a.svg", b"<svg onload='x()'/>", "image/svg+xml", "application/octet-stream"),
        ("a.js", b"alert(1)", "text/javascript", "text/plain; charset=utf-8"),
        ("a.png", b"\x89PNG\r\n\x1a\n\0\0", "image/png", "image/png"),
        ("lies.png", b"%PDF-1.7 \0", "application/pdf", "application/octet-stream"),
        ("lies.txt", b"\0\x01\x02", "application/octet-stream", "application/octet-stream"),
        ("notes", "ä text\n".encode(), "text/plain", "text/plain; charset=utf-8"),
        ("table.csv", b"a,b\n1,2\n", "text/csv", "text/csv; charset=utf-8"),
    ],
)  # fmt: skip
def test_no_browser_is_told_to_run_anything(lab: Lab, path: str, data: bytes, kept: str, told: str) -> None:
    made = upload(lab, data, path)
    assert made["media_type"] == kept
    reply = content(lab, made["id"])
    assert reply.headers["content-type"] == told
    assert reply.headers["content-disposition"] == f'attachment; filename="{path}"'
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_name_cannot_end_its_header(lab: Lab) -> None:
    made = upload(lab, b"x", "dir/ä;%41 '.txt")
    assert content(lab, made["id"]).headers["content-disposition"] == 'attachment; filename="___41 \'.txt"'


def corrupt(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(bytes(data))


def test_altered_content_is_a_problem_and_an_alert_before_a_byte_is_given_out(lab: Lab) -> None:
    data = os.urandom(2000)
    made = upload(lab, data)
    corrupt(file_of(lab, data), 1999)
    for asked in ({}, {"range": "bytes=0-9"}):
        reply = content(lab, made["id"], **asked)
        assert lab.problem(reply, "hash_mismatch")["retryable"] is False
    alert = next(a for a in lab.alerts("artifact_altered") if a["object"] == made["id"])
    assert (alert["severity"], alert["count"]) == ("critical", 2)
    upload(lab, data)
    assert content(lab, made["id"]).content == data, "whoever brings the same content again heals it"


@pytest.mark.parametrize("harm", ["truncated", "gone"])
def test_content_that_is_short_or_lost_is_a_problem(lab: Lab, harm: str) -> None:
    data = os.urandom(BLOCK + 500)
    made, file = upload(lab, data), file_of(lab, data)
    file.write_bytes(data[:BLOCK]) if harm == "truncated" else file.unlink()
    reply = content(lab, made["id"], range=f"bytes={BLOCK + 1}-")
    lab.problem(reply, "hash_mismatch")


def test_a_reader_of_a_stream_never_gets_altered_bytes_and_notices_the_end(lab: Lab) -> None:
    made = upload(lab, DATA[::-1])
    corrupt(file_of(lab, DATA[::-1]), 2 * BLOCK + 5)
    path, owner = f"/v1/artifacts/{made['id']}/content", lab.world.owner
    with live(lab.world.asgi) as url:
        line = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
        line.request("GET", path, headers=owner)
        reply = line.getresponse()
        assert (reply.status, reply.headers["content-length"]) == (200, str(SIZE))
        with pytest.raises(http.client.IncompleteRead) as cut:
            reply.read()
        assert cut.value.partial == DATA[::-1][: 2 * BLOCK]
        line.close()
        line.request("GET", path, headers=owner | {"range": f"bytes=0-{BLOCK - 1}"})
        assert line.getresponse().read() == DATA[::-1][:BLOCK], "what is beside it can still be read"
        line.close()


def test_a_sandbox_sees_its_own_artifacts_alone(lab: Lab) -> None:
    mine, other = lab.open_sandbox(), lab.open_sandbox()
    made = upload(lab, b"of my sandbox", "a.txt", mine.headers)
    owners = upload(lab, b"of the owner")
    for who, seen in ((mine, [made["id"]]), (other, [])):
        page = lab.ok(lab.world.http.get("/v1/artifacts", headers=who.headers))
        assert [item["id"] for item in page["items"]] == seen
    for strange in (made["id"], owners["id"]):
        lab.problem(content(lab, strange, other.headers), "not_found")
        lab.problem(lab.world.http.get(f"/v1/artifacts/{strange}", headers=other.headers), "not_found")
    assert content(lab, made["id"], mine.headers).content == b"of my sandbox"
    assert content(lab, made["id"]).content == b"of my sandbox", "the owner of the organisation sees all"
    lab.problem(lab.world.http.get("/v1/artifacts"), "unauthenticated")


def test_another_organisation_cannot_tell_what_there_is(lab: Lab, artifact: Json) -> None:
    other = lab.second_org("stranger")
    for id_ in (artifact["id"], "art_01JD3W6Q8Z5V2N7X4K9T0M1R3B"):
        told = [
            lab.world.http.get(f"/v1/artifacts/{id_}{end}", headers=other.owner) for end in ("", "/content")
        ]
        problems = [lab.problem(reply, "not_found") for reply in told]
        assert {p["detail"] for p in problems} == {"there is no such artifact"}
    assert lab.ok(lab.world.http.get("/v1/artifacts", headers=other.owner))["items"] == []
    assert lab.ok(lab.world.http.get("/v1/artifacts/rules", headers=other.owner))["used_bytes"] == 0


def test_lists_are_read_page_by_page_and_filtered(lab: Lab) -> None:
    box = lab.open_sandbox()
    made = [upload(lab, f"{n}".encode(), f"n/{n}.txt", box.headers)["id"] for n in range(5)]
    got, cursor = list[str](), None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = lab.ok(lab.world.http.get("/v1/artifacts", params=query, headers=box.headers))
        got += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert got == made[::-1]
    page = lab.ok(lab.world.http.get("/v1/artifacts", params={"path": "n/3.txt"}, headers=box.headers))
    assert [item["id"] for item in page["items"]] == [made[3]]
    lab.problem(
        lab.world.http.get("/v1/artifacts", params={"path": "x", "cursor": "abc"}, headers=box.headers),
        "validation_failed",
    )


def test_another_room_reads_verified_bytes_too(lab: Lab, artifact: Json) -> None:
    world = lab.world
    got = as_system(world.context, world.org_id, lambda u: artifacts.open_(u, artifact["id"], 5, 25))
    assert b"".join(got) == DATA[5:25]
    corrupted = upload(lab, b"soon altered" * 10)
    corrupt(file_of(lab, b"soon altered" * 10), 3)
    with pytest.raises(Problem) as told:
        list(as_system(world.context, world.org_id, lambda u: artifacts.open_(u, corrupted["id"])))
    assert told.value.code == "hash_mismatch"


def test_the_blocks_of_what_was_kept_have_the_hashes_that_are_remembered(lab: Lab, artifact: Json) -> None:
    rows = lab.sql(
        "select size, blocks from ops.artifact_contents where hash = %s", bytes.fromhex(artifact["hash"][7:])
    )
    wanted = b"".join(hashlib.sha256(DATA[n : n + BLOCK]).digest() for n in range(0, SIZE, BLOCK))
    assert rows == [(SIZE, wanted)]
