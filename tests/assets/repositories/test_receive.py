"""Quarantine: what is proved of a pack before it may enter a store, and how it enters."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from builderos.assets.repositories import receive
from builderos.assets.repositories.publish import Publication, seal
from builderos.assets.repositories.receive import (
    PackGauge,
    Quarantine,
    blob_sizes,
    examine,
    index_fault,
    packed_ids,
    quarantine,
)
from builderos.assets.repositories.store import RepositoryStore
from builderos.core.problems import Problem
from tests.support.gitclients import Clone, run_bytes
from tests.support.world import git, make_repository

FOLDER = "org/repo/branches/xx/own.git"


@dataclass
class Desk:
    """A store with a branch `own`, a clone of it, and the pack between them."""

    store: RepositoryStore
    mine: Clone
    old: str

    @property
    def path(self) -> Path:
        return self.store.path(FOLDER)

    def send(self, room: Quarantine, pack: bytes, limit: int = 10**7) -> bytes:
        """Index a pack into the quarantine; what the indexer said."""
        command = room.index_pack(limit)
        return subprocess.run(
            command.argv, env=command.env, input=pack, capture_output=True, check=False
        ).stderr

    def pack(self) -> bytes:
        return self.mine.pack("HEAD", f"^{self.old}")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    mine = Clone(make_repository(tmp_path / "mine", branch="own"), "own")
    store = RepositoryStore(tmp_path / "repos")
    path = store.path(FOLDER)
    git("init", "-q", "--bare", str(path))
    git("push", "-q", str(path), "own", cwd=mine.folder)
    (path / "config").write_text(RepositoryStore.config_text())
    return Desk(store, mine, mine.head)


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_nothing_in_quarantine_is_in_the_store(desk: Desk) -> None:
    sha = desk.mine.commit({"a.txt": "a\n"})
    with quarantine(desk.store, FOLDER) as room:
        assert desk.send(room, desk.pack()) == b""
        assert bytes.fromhex(sha) in packed_ids(room)
        assert sha in room.open().repo
        assert sha not in desk.store.open(FOLDER)
    assert sha not in desk.store.open(FOLDER)
    assert not list((desk.path / "objects").glob("tmp_objdir*"))


def test_an_arrival_names_commits_oldest_first_and_every_new_object(desk: Desk) -> None:
    shas = [desk.mine.commit({"a.txt": "a\n"}), desk.mine.commit({"b/c.txt": "longer\n"})]
    with quarantine(desk.store, FOLDER) as room:
        desk.send(room, desk.pack())
        arrival = examine(room, desk.old, shas[-1], [desk.old], 10)
        assert arrival.commits == tuple(shas)
        assert set(arrival.objects) == packed_ids(room)
        sizes = {arrival.objects[oid]: size for oid, size in blob_sizes(room, arrival.objects)}
        assert sizes == {"a.txt": 2, "b/c.txt": 7}


def test_a_published_pack_is_read_by_handles_that_were_open_before(desk: Desk) -> None:
    handle = desk.store.open(FOLDER)
    sha = desk.mine.commit({"a.txt": "a\n"})
    assert sha not in handle
    with quarantine(desk.store, FOLDER) as room:
        desk.send(room, desk.pack())
        arrival = examine(room, desk.old, sha, [desk.old], 10)
        seal(room, arrival)
        publication = Publication(room, "refs/heads/own", sha)
        publication.publish()
        assert any(name.endswith(".keep") for name in files(desk.path / "objects/pack"))
        publication.release()
    assert sha in handle
    assert not any(name.endswith(".keep") for name in files(desk.path / "objects/pack"))
    assert git("fsck", "--strict", cwd=desk.path) is not None


def test_a_retracted_publication_leaves_the_store_as_it_was(desk: Desk) -> None:
    before = files(desk.path / "objects/pack")
    sha = desk.mine.commit({"a.txt": "a\n"})
    with quarantine(desk.store, FOLDER) as room:
        desk.send(room, desk.pack())
        seal(room, examine(room, desk.old, sha, [desk.old], 10))
        publication = Publication(room, "refs/heads/own", sha)
        for _ in range(2):
            publication.publish()
            publication.retract()
            assert files(desk.path / "objects/pack") == before
            assert sha not in desk.store.open(FOLDER)
        publication.publish()
    assert sha in desk.store.open(FOLDER)


def test_a_retracted_publication_never_takes_an_earlier_one_away(desk: Desk) -> None:
    """The same pack, pushed again after its branch had been made anew: a backup may still need the first one."""
    sha = desk.mine.commit({"a.txt": "a\n"})
    pack = desk.pack()
    for attempt in range(2):
        with quarantine(desk.store, FOLDER) as room:
            desk.send(room, pack)
            seal(room, examine(room, desk.old, sha, [desk.old], 10))
            publication = Publication(room, "refs/heads/own", sha)
            publication.publish()
            if attempt:
                publication.retract()
            else:
                publication.release()
    assert sha in desk.store.open(FOLDER)


def test_what_the_branch_does_not_need_is_left_out(desk: Desk) -> None:
    sha = desk.mine.commit({"a.txt": "a\n"})
    junk = desk.mine.blob("junk\n")
    listed = (
        desk.mine.must("rev-list", "--objects", "--no-object-names", "HEAD", f"^{desk.old}") + f"\n{junk}\n"
    )
    pack = run_bytes("pack-objects", "--stdout", "-q", cwd=desk.mine.folder, stdin=listed.encode()).stdout
    with quarantine(desk.store, FOLDER) as room:
        desk.send(room, pack)
        assert bytes.fromhex(junk) in packed_ids(room)
        seal(room, examine(room, desk.old, sha, [desk.old], 10))
        assert bytes.fromhex(junk) not in packed_ids(room)
        assert bytes.fromhex(sha) in packed_ids(room)


def test_a_search_of_the_history_that_takes_too_long_is_a_refusal(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.mine.commit({"a.txt": "first\n"})
    git("push", "-q", str(desk.path), "own", cwd=desk.mine.folder)
    tip = desk.mine.commit({"a.txt": "second\n"})
    git("push", "-q", str(desk.path), "own", cwd=desk.mine.folder)
    sha = desk.mine.commit({"a.txt": "first\n"})
    tree = desk.mine.must("rev-parse", "HEAD^{tree}")
    pack = run_bytes(
        "pack-objects", "--stdout", "-q", cwd=desk.mine.folder, stdin=f"{sha}\n{tree}\n".encode()
    ).stdout
    with quarantine(desk.store, FOLDER) as room:
        desk.send(room, pack)
        assert examine(room, tip, sha, [tip], 10).commits == (sha,)
        monkeypatch.setattr(receive, "_SEARCH_S", 0.0)
        monkeypatch.setattr(receive, "git_command", lambda *_a, **_k: receive.GitCommand(("sleep", "60"), {}))
        with pytest.raises(Problem, match="cannot see"):
            examine(room, tip, sha, [tip], 10)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"fatal: pack has 3 unresolved deltas", "validation_failed"),
        (b"fatal: pack exceeds maximum allowed size (10 bytes)", "payload_too_large"),
        (b"fatal: attempting to allocate 300000001 over limit 134217728", "payload_too_large"),
        (b"fatal: write error: No space left on device", "storage_full"),
        (b"fatal: did not receive expected object 1234", "validation_failed"),
        (b"error: object " + b"1" * 40 + b": hasDotgit: contains '.git'", "invalid_path"),
        (b"error: object " + b"1" * 40 + b": badTimezone: invalid", "validation_failed"),
        (b"fatal: cannot open /secret/place/objects", "validation_failed"),
        (b"", "validation_failed"),
    ],
)
def test_the_indexers_words_are_translated_and_never_passed_on(said: bytes, code: str) -> None:
    problem = index_fault(said)
    assert problem.code == code
    assert "secret" not in problem.detail + problem.hint
    assert problem.hint


def head(count: int, magic: bytes = b"PACK\0\0\0\x02") -> bytes:
    return magic + count.to_bytes(4, "big")


def test_a_gauge_lets_a_small_pack_through_in_any_pieces() -> None:
    gauge = PackGauge(100)
    for byte in head(5) + b"x" * 88:
        gauge.feed(bytes([byte]))
    with pytest.raises(Problem) as caught:
        gauge.feed(b"x")
    assert caught.value.code == "payload_too_large"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (head(receive.MAX_OBJECTS + 1), "payload_too_large"),
        (head(1, b"PACK\0\0\0\x04"), "validation_failed"),
        (head(1, b"pack\0\0\0\x02"), "validation_failed"),
        (b"GET / HTTP/1.1\r\n", "validation_failed"),
    ],
)
def test_a_gauge_reads_the_header_before_git_does(data: bytes, code: str) -> None:
    with pytest.raises(Problem) as caught:
        PackGauge(1000).feed(data)
    assert caught.value.code == code
