"""What every store of artifacts keeps, whatever it is built on: a folder, and a bucket of somebody else's S3."""

import hashlib
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from builderos.assets.artifacts.folder import FolderStore
from builderos.assets.artifacts.ports import Altered, ArtifactStore, Missing, Sum, Summing
from builderos.core.clock import utcnow
from builderos.core.problems import Problem
from builderos.integrations.s3.service import open_store
from tests.support.buckets import Service

A, B = "org_a", "org_b"
SMALL = b"small content"
LARGE = os.urandom(1024) * 20_000  # of several parts of a multipart upload


@pytest.fixture(scope="module", params=["folder", "s3"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ArtifactStore]:
    folder = tmp_path_factory.mktemp("store")
    if request.param == "folder":
        yield FolderStore(folder / "artifacts")
        return
    service: Service = request.getfixturevalue("buckets")
    yield open_store(service.make("conformance"), folder)


def put(store: ArtifactStore, org: str, data: bytes) -> Sum:
    what = Summing.over([data]).done()
    draft = store.draft(org)
    for start in range(0, len(data), 3_000_000):
        draft.write(data[start : start + 3_000_000])
    draft.keep(what)
    draft.drop()
    return what


def whole(store: ArtifactStore, org: str, what: Sum) -> bytes:
    return b"".join(store.read(org, what.hash, 0, what.size))


def upload(store: ArtifactStore, name: str, *parts: bytes) -> None:
    offset = 0
    for data in parts:
        part = store.part(A, name, offset)
        part.write(data)
        part.close()
        offset += len(data)


@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_what_was_kept_is_read_back(store: ArtifactStore, data: bytes) -> None:
    what = put(store, A, data)
    assert what.hash == hashlib.sha256(data).digest()
    assert store.size_of(A, what.hash) == len(data)
    assert whole(store, A, what) == data


def test_any_part_is_read_by_itself(store: ArtifactStore) -> None:
    what = put(store, A, LARGE)
    for start, stop in ((0, 1), (5, 105), (1_000_000, 3_000_001), (len(LARGE) - 1, len(LARGE))):
        assert b"".join(store.read(A, what.hash, start, stop)) == LARGE[start:stop]


def test_the_same_content_may_be_put_by_many_at_once(store: ArtifactStore) -> None:
    data, faults = os.urandom(200_000), list[BaseException]()

    def one() -> None:
        try:
            put(store, A, data)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert whole(store, A, Summing.over([data]).done()) == data


def test_organisations_share_nothing(store: ArtifactStore) -> None:
    what = put(store, A, b"of a alone")
    assert store.size_of(B, what.hash) is None
    with pytest.raises(Missing):
        store.read(B, what.hash, 0, what.size)
    put(store, B, b"of a alone")
    store.delete(A, what.hash)
    assert whole(store, B, what) == b"of a alone"


def test_what_is_not_there_is_missing_before_anything_is_given_out(store: ArtifactStore) -> None:
    nothing = hashlib.sha256(b"never kept").digest()
    assert store.size_of(A, nothing) is None
    for stop in (0, 10):
        with pytest.raises(Missing):
            store.read(A, nothing, 0, stop)
    store.delete(A, nothing)


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_bytes_that_are_others_than_announced_become_visible_under_no_name(
    store: ArtifactStore, data: bytes
) -> None:
    said = Summing.over([b"?" + data]).done()
    draft = store.draft(A)
    draft.write(data)
    with pytest.raises(Altered):
        draft.keep(said)
    draft.drop()
    assert store.size_of(A, said.hash) is None


def test_a_draft_that_is_dropped_leaves_nothing(store: ArtifactStore) -> None:
    before = sorted(found.hash for found in store.listed(A))
    draft = store.draft(A)
    draft.write(b"never mind")
    draft.drop()
    draft.drop()
    assert sorted(found.hash for found in store.listed(A)) == before


def test_all_there_is_is_listed_with_size_and_time(store: ArtifactStore) -> None:
    org = "org_listed"
    sums = [put(store, org, bytes([n]) * n) for n in range(1, 6)]
    upload(store, "upl_beside", b"no content")
    found = {item.hash: item for item in store.listed(org)}
    assert {item.hash: item.size for item in found.values()} == {what.hash: what.size for what in sums}
    assert all(abs(item.modified - utcnow()) < timedelta(minutes=5) for item in found.values())


def test_an_upload_becomes_content(store: ArtifactStore) -> None:
    parts = (LARGE[:7_000_000], LARGE[7_000_000:7_000_001], LARGE[7_000_001:])
    upload(store, "upl_1", *parts)
    assert b"".join(store.parts(A, "upl_1", len(LARGE))) == LARGE
    assert b"".join(store.parts(A, "upl_1", 10)) == LARGE[:10]
    what = Summing.over([LARGE]).done()
    store.delete(A, what.hash)
    store.seal(A, "upl_1", what)
    store.seal(A, "upl_1", what)
    store.drop_upload(A, "upl_1")
    assert whole(store, A, what) == LARGE


def test_a_part_that_is_sent_again_takes_the_place_of_what_came_behind_its_offset(
    store: ArtifactStore,
) -> None:
    upload(store, "upl_2", b"abc", b"WRONG", b"ALSO")
    part = store.part(A, "upl_2", 3)
    part.write(b"de")
    part.close()
    assert b"".join(store.parts(A, "upl_2", 5)) == b"abcde"
    what = Summing.over([b"abcde"]).done()
    store.seal(A, "upl_2", what)
    assert whole(store, A, what) == b"abcde"


def test_an_upload_does_not_go_on_behind_what_is_lost(store: ArtifactStore) -> None:
    upload(store, "upl_6", b"abc")
    for name in ("upl_6", "upl_never"):
        with pytest.raises(Missing):
            store.part(A, name, 4)


def test_a_part_that_is_dropped_is_forgotten(store: ArtifactStore) -> None:
    upload(store, "upl_3", b"abc")
    part = store.part(A, "upl_3", 3)
    part.write(b"dropped")
    part.drop()
    upload_again = store.part(A, "upl_3", 3)
    upload_again.write(b"x")
    upload_again.close()
    assert b"".join(store.parts(A, "upl_3", 4)) == b"abcx"


def test_an_upload_that_is_dropped_is_missing(store: ArtifactStore) -> None:
    upload(store, "upl_4", b"abc")
    for _ in range(2):
        store.drop_upload(A, "upl_4")
    with pytest.raises(Missing):
        store.parts(A, "upl_4", 3)


def test_everything_of_an_organisation_goes_and_nothing_of_another(store: ArtifactStore) -> None:
    mine, theirs = put(store, "org_gone", b"mine"), put(store, "org_gone_2", b"theirs")
    part = store.part("org_gone", "upl_5", 0)
    part.write(b"begun")
    part.close()
    for _ in range(2):
        store.erase("org_gone")
    assert list(store.listed("org_gone")) == []
    assert store.size_of("org_gone", mine.hash) is None
    assert whole(store, "org_gone_2", theirs) == b"theirs"


def test_a_store_that_works_says_so_and_leaves_no_trace(store: ArtifactStore) -> None:
    store.probe()
    store.sweep(A, utcnow())
    assert isinstance(store.url, str)


def test_a_bucket_that_is_not_there_is_told_of(buckets: Service, tmp_path: Path) -> None:
    gone = open_store(f"s3://nobodys-bucket?endpoint={buckets.url}", tmp_path)
    with pytest.raises(Problem, match="there is no such bucket"):
        gone.probe()


def test_a_service_that_is_away_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builderos.integrations.s3.store._RETRIES", {"max_retries": 0})
    away = open_store("s3://bucket?endpoint=http://127.0.0.1:9", tmp_path)
    with pytest.raises(Problem, match="cannot be used") as told:
        away.size_of(A, bytes(32))
    assert told.value.code == "unavailable"


@pytest.mark.parametrize(
    "url",
    [
        "s3://", "s3://key:secret@bucket", "s3://bucket?secret=x", "s3://bucket#x", "http://bucket/x",
        "s3://bucket?endpoint=ftp://x", "s3://bucket?endpoint=http://u:p@host",
    ],
)  # fmt: skip
def test_an_address_that_says_anything_else_is_refused(url: str) -> None:
    with pytest.raises(Problem) as told:
        open_store(url)
    assert told.value.code == "validation_failed"
