"""An installation on somebody else's S3, and the way there and back."""

import os
from collections.abc import Iterator
from unittest import mock

import pytest

from builderos.assets.artifacts import moving
from builderos.assets.artifacts import service as artifacts
from builderos.core.problems import Problem
from builderos.integrations.s3.store import BucketStore
from tests.support.buckets import Service
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.uploads import begin, content, file_of, send, upload
from tests.support.world import Json

DATA = os.urandom(9_000_000)


@pytest.fixture(scope="module")
def url(buckets: Service) -> str:
    return buckets.make("artifacts")


@pytest.fixture(scope="module")
def far(databases: Databases, url: str) -> Iterator[Lab]:
    """A server whose artifacts lie in a bucket from the beginning."""
    with lab_in_temp(databases, artifact_url=url) as made:
        yield made


def keys(buckets: Service, org_id: str, bucket: str = "artifacts") -> list[str]:
    return [key for key in buckets.keys(bucket) if key.startswith(f"kept/{org_id}/")]


def test_artifacts_go_to_the_bucket_and_come_back_in_any_part(far: Lab, buckets: Service) -> None:
    made = far.ok(begin(far, DATA), 201)
    for start in range(0, len(DATA), 4_000_000):
        reply = far.ok(send(far, made["id"], start, DATA[start : start + 4_000_000]))
    artifact = reply["artifact"]
    assert content(far, artifact["id"]).content == DATA
    part = content(far, artifact["id"], range="bytes=1048570-3145730")
    assert (part.status_code, part.content) == (206, DATA[1048570:3145731])
    name = artifact["hash"].removeprefix("sha256:")
    assert keys(buckets, far.world.org_id) == [f"kept/{far.world.org_id}/{name[:2]}/{name}"]
    assert not (far.world.home / "artifacts" / far.world.org_id).exists()


def test_altered_objects_are_noticed(far: Lab, buckets: Service) -> None:
    data = os.urandom(1000)
    made = upload(far, data)
    name = made["hash"].removeprefix("sha256:")
    buckets.ask("PUT", f"/artifacts/kept/{far.world.org_id}/{name[:2]}/{name}", b"x" * 1000)
    far.problem(content(far, made["id"]), "hash_mismatch")
    assert made["id"] in [alert["object"] for alert in far.alerts("artifact_altered")]


def test_a_bucket_that_is_away_is_unavailable_and_nothing_is_recorded(far: Lab) -> None:
    away = Problem("unavailable", "the bucket is away")
    made = far.ok(begin(far, b"abc"), 201)
    with mock.patch.object(BucketStore, "write", side_effect=away):
        far.problem(send(far, made["id"], 0, b"abc"), "unavailable")
    assert far.ok(far.as_owner("GET", f"/v1/artifacts/uploads/{made['id']}"))["offset"] == 0
    assert far.ok(send(far, made["id"], 0, b"abc"))["artifact"]["size"] == 3


def test_tidying_removes_objects_and_erasing_removes_all(far: Lab, buckets: Service) -> None:
    other = far.second_org("gone")
    kept, ended = upload(far, b"stays", headers=other.owner), upload(far, b"goes", headers=other.owner)
    far.ok(far.world.http.delete(f"/v1/artifacts/{ended['id']}", headers=other.owner))
    artifacts.tidy(far.world.context, other.id)
    with far.later(hours=25):
        artifacts.tidy(far.world.context, other.id)
    name = kept["hash"].removeprefix("sha256:")
    assert keys(buckets, other.id) == [f"kept/{other.id}/{name[:2]}/{name}"]
    artifacts.tidying.erase(far.world.context, other.id)
    assert keys(buckets, other.id) == []
    assert keys(buckets, far.world.org_id)


# ---------------------------------------------------------------- there and back


def move(site: Lab, to: str) -> Json:
    return site.ok(site.as_owner("POST", "/v1/artifacts/move", json={"to": to}))


@pytest.fixture
def site(databases: Databases) -> Iterator[Lab]:
    with lab_in_temp(databases) as made:
        yield made


def test_everything_is_moved_there_and_back(site: Lab, buckets: Service) -> None:
    to = buckets.make("there-and-back")
    other = site.second_org("second")
    data = [os.urandom(2000) for _ in range(5)]
    mine = [upload(site, one) for one in data]
    theirs = upload(site, data[0], headers=other.owner)
    half = site.ok(begin(site, b"\0half way"), 201)
    site.ok(send(site, half["id"], 0, b"\0half"))
    with mock.patch.object(moving, "PATIENCE_S", 0.0):
        assert move(site, to)["left"] == 6
    new = upload(site, b"after the switch")
    assert not file_of(site, b"after the switch").exists()
    done = move(site, to)
    assert (done["moved"], done["left"], done["faults"]) == (6, 0, [])
    for artifact, one in zip(mine, data, strict=True):
        assert content(site, artifact["id"]).content == one
        assert not file_of(site, one).exists()
    assert content(site, theirs["id"], other.owner).content == data[0]
    late = site.ok(send(site, half["id"], 5, b" way"))["artifact"]
    assert move(site, to)["moved"] == 1, "what was on its way arrives where it began"
    back = move(site, "folder")
    assert (back["moved"], back["left"]) == (8, 0)
    assert [key for key in buckets.keys("there-and-back") if key.startswith("kept/org_")] == []
    for artifact, one in zip(mine, data, strict=True):
        assert file_of(site, one).exists()
        assert content(site, artifact["id"]).content == one
    assert content(site, new["id"]).content == b"after the switch"
    assert content(site, late["id"]).content == b"\0half way"
    assert [e["payload"]["to"] for e in site.events(type="server.artifacts_moved")] == ["folder", to]


def test_what_is_altered_is_not_moved_and_told(site: Lab, buckets: Service) -> None:
    to = buckets.make("faults")
    good, bad = upload(site, b"good"), upload(site, b"bad as it will be")
    file_of(site, b"bad as it will be").write_bytes(b"altered, same size"[:17])
    told = move(site, to)
    assert (told["moved"], told["left"], len(told["faults"])) == (1, 1, 1)
    assert bad["hash"].removeprefix("sha256:") in told["faults"][0]
    assert file_of(site, b"bad as it will be").exists()
    assert content(site, good["id"]).content == b"good"


def test_whoever_reads_while_it_is_moved_gets_it_whole(site: Lab, buckets: Service) -> None:
    to = buckets.make("meanwhile")
    made = upload(site, DATA)
    real = artifacts.reading.opened

    def slow(unit, row):  # the store is looked up, then everything is moved, then it is read
        handle = real(unit, row)
        move(site, to)
        return handle

    with mock.patch.object(artifacts.reading, "opened", slow):
        assert content(site, made["id"]).content == DATA
    assert not file_of(site, DATA).exists()


def test_a_store_that_cannot_be_used_is_never_switched_to(site: Lab, buckets: Service) -> None:
    made = upload(site, b"stays here")
    for to, code in (
        (f"s3://no-such-bucket?endpoint={buckets.url}", "unavailable"),
        ("ftp://x", "validation_failed"),
    ):
        site.problem(site.as_owner("POST", "/v1/artifacts/move", json={"to": to}), code)
    upload(site, b"and so does this")
    assert file_of(site, b"and so does this").exists()
    assert content(site, made["id"]).content == b"stays here"


def test_only_the_owner_of_the_server_moves(site: Lab) -> None:
    for headers in (site.key("admin"), site.open_sandbox().headers):
        reply = site.world.http.post("/v1/artifacts/move", json={"to": "folder"}, headers=headers)
        assert site.problem(reply, "policy_denied")
