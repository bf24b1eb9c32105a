import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pygit2
import pytest

from builderos.assets.repositories import objects
from builderos.assets.repositories.objects import Batch, ObjectCache, write_loose
from builderos.assets.repositories.trees import Edit, edit_tree, lookup
from builderos.core.problems import Problem

from .oracle import flush, fsck, git, new_repo

SAMPLES = [b"", b"hello\n", b"\0" * 70_000, os.urandom(70_000), b"line\n" * 20_000]


@pytest.fixture
def repo(tmp_path: Path) -> pygit2.Repository:
    return new_repo(tmp_path / "r.git")


@pytest.mark.parametrize("data", SAMPLES, ids=["empty", "short", "zeros", "noise", "text"])
def test_an_object_gets_the_id_that_git_gives_it_and_git_reads_it_back(
    repo: pygit2.Repository, data: bytes
) -> None:
    batch = Batch(repo)
    oid = batch.put("blob", data)
    assert oid.hex() == git(repo, "hash-object", "--stdin", stdin=data).decode().strip()
    flush(repo, batch)
    assert git(repo, "cat-file", "blob", oid.hex()) == data
    assert pygit2.Repository(repo.path)[oid.hex()].data == data
    fsck(repo)


def test_a_batch_reads_new_objects_first_then_the_store_and_says_keyerror_otherwise(
    repo: pygit2.Repository,
) -> None:
    stored = repo.create_blob(b"stored")
    batch = Batch(repo)
    new = batch.put("blob", b"new")
    assert batch.read(new) == ("blob", b"new")
    assert batch.read(stored.raw) == ("blob", b"stored")
    assert (new in batch, stored.raw in batch, list(batch), len(batch)) == (True, False, [new], 1)
    with pytest.raises(KeyError):
        batch.read(b"\x01" * 20)


def test_the_journal_form_comes_apart_into_the_same_objects(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    oids = [batch.put("blob", data) for data in SAMPLES]
    batch.put("blob", SAMPLES[1])
    pieces = list(Batch.unpack(batch.pack()))
    assert [oid for oid, _ in pieces] == oids
    for cut in (1, 23, 24, 30):
        with pytest.raises(ValueError, match="cut short"):
            list(Batch.unpack(batch.pack()[:-cut]))
        with pytest.raises(ValueError, match="cut short"):
            list(Batch.unpack(batch.pack()[:cut]))


def test_chosen_objects_are_packed_once_each_even_if_only_the_store_has_them(repo: pygit2.Repository) -> None:
    stored = repo.create_blob(b"stored").raw
    batch = Batch(repo)
    new = batch.put("blob", b"new")
    batch.put("blob", b"not chosen")
    other = new_repo(Path(repo.path).parent / "other.git")
    for oid, stream in Batch.unpack(batch.pack([stored, new, stored])):
        write_loose(f"{other.path}objects", oid, stream)
    assert {str(oid) for oid in other} == {stored.hex(), new.hex()}


def test_a_loose_file_is_read_only_and_no_draft_stays_behind(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    oid = batch.put("blob", b"x")
    flush(repo, batch)
    path = Path(repo.path, "objects", oid.hex()[:2], oid.hex()[2:])
    assert path.stat().st_mode & 0o777 & ~0o444 == 0
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_object_that_is_there_is_left_alone_an_empty_one_is_written_again(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    oid = batch.put("blob", b"content")
    ((_, stream),) = Batch.unpack(batch.pack())
    path = Path(repo.path, "objects", oid.hex()[:2], oid.hex()[2:])
    path.parent.mkdir()
    path.write_bytes(b"")
    write_loose(f"{repo.path}objects", oid, stream)
    assert path.read_bytes() == stream
    before = path.stat().st_ino
    write_loose(f"{repo.path}objects", oid, stream)
    assert path.stat().st_ino == before


def test_a_torn_object_is_repaired_only_when_asked(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    oid = batch.put("blob", b"content" * 1000)
    ((_, stream),) = Batch.unpack(batch.pack())
    path = Path(repo.path, "objects", oid.hex()[:2], oid.hex()[2:])
    path.parent.mkdir()
    path.write_bytes(stream[:10] + b"\0" * 10)
    write_loose(f"{repo.path}objects", oid, stream)
    assert path.read_bytes() != stream
    write_loose(f"{repo.path}objects", oid, stream, overwrite=True)
    assert git(repo, "cat-file", "blob", oid.hex()) == b"content" * 1000


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_clearly_and_leaves_no_file(
    repo: pygit2.Repository, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    batch = Batch(repo)
    oid = batch.put("blob", os.urandom(5000))
    real, calls = os.write, []

    def full(fd: int, data: memoryview) -> int:
        calls.append(fd)
        if len(calls) == 1:
            return real(fd, data[:100])
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(objects.os, "write", full)
    ((_, stream),) = Batch.unpack(batch.pack())
    with pytest.raises(Problem) as caught:
        write_loose(f"{repo.path}objects", oid, stream)
    monkeypatch.undo()
    assert caught.value.code == "storage_full"
    assert list(Path(repo.path, "objects", oid.hex()[:2]).iterdir()) == []
    flush(repo, batch)
    fsck(repo)


def test_a_really_full_file_system_is_said_clearly(tmp_path: Path) -> None:
    script = f"""
set -e
mount -t tmpfs -o size=64k none {tmp_path}
mkdir {tmp_path}/objects
exec {sys.executable} -c '
import os, pathlib
from builderos.assets.repositories.objects import Batch, write_loose
from builderos.assets.repositories.trees import Edit, edit_tree, lookup
from builderos.core.problems import Problem
batch = Batch(None)
oid = batch.put("blob", os.urandom(300_000))
((_, stream),) = Batch.unpack(batch.pack())
try:
    write_loose("{tmp_path}/objects", oid, stream)
except Problem as problem:
    left = [p for p in pathlib.Path("{tmp_path}/objects").rglob("*") if p.is_file()]
    print(problem.code, left)
'
"""
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("this machine allows no private file systems")
    assert done.stdout.strip() == "storage_full []", done.stderr


def test_other_errors_of_the_disk_are_not_dressed_up(tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("a file where the folder should be")
    with pytest.raises(NotADirectoryError):
        write_loose(tmp_path / "objects", b"\x01" * 20, b"x")


def test_many_threads_may_write_the_same_objects(repo: pygit2.Repository) -> None:
    batch = Batch(repo)
    for number in range(40):
        batch.put("blob", b"%d" % number * 500)
    packed = batch.pack()

    def write(_number: int) -> None:
        for oid, stream in Batch.unpack(packed):
            write_loose(f"{repo.path}objects", oid, stream, overwrite=True)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert len(list(repo)) == 40
    fsck(repo)


def test_a_fan_out_folder_that_prune_removed_in_between_is_made_again(
    repo: pygit2.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Batch(repo)
    oid = batch.put("blob", b"x")
    real, removed = os.makedirs, []

    def racing(path: str, **kwargs: bool) -> None:
        real(path, **kwargs)
        if not removed:
            removed.append(path)
            os.rmdir(path)

    monkeypatch.setattr(objects.os, "makedirs", racing)
    flush(repo, batch)
    assert removed
    assert git(repo, "cat-file", "blob", oid.hex()) == b"x"


class TestCache:
    def test_what_one_store_holds_is_not_readable_through_another(self, tmp_path: Path) -> None:
        mine, theirs = new_repo(tmp_path / "mine.git"), new_repo(tmp_path / "theirs.git")
        oid = mine.create_blob(b"secret").raw
        cache = ObjectCache()
        assert Batch(mine, cache=cache, store="mine").read(oid) == ("blob", b"secret")
        with pytest.raises(KeyError):
            Batch(theirs, cache=cache, store="theirs").read(oid)

    def test_new_objects_are_served_to_the_next_batch_only_once_published(
        self, repo: pygit2.Repository
    ) -> None:
        cache = ObjectCache()
        batch = Batch(repo, cache=cache, store="s")
        oid = batch.put("blob", b"new")
        with pytest.raises(KeyError):
            Batch(repo, cache=cache, store="s").read(oid)
        batch.publish()
        assert Batch(repo, cache=cache, store="s").read(oid) == ("blob", b"new")
        cache.forget("s")
        with pytest.raises(KeyError):
            Batch(repo, cache=cache, store="s").read(oid)

    def test_it_stays_within_its_bytes_and_drops_what_was_used_longest_ago(self) -> None:
        cache = ObjectCache(max_bytes=16_000)
        keys = [bytes([number]) * 20 for number in range(12)]
        for key in keys[:10]:
            cache.put("s", key, "blob", b"x" * 1000)
        assert cache.get("s", keys[0]) is not None
        cache.put("s", keys[10], "blob", b"x" * 1000)
        assert cache.get("s", keys[1]) is None
        assert cache.get("s", keys[0]) is not None
        cache.put("s", keys[11], "blob", b"x" * 300_000)
        assert cache.get("s", keys[11]) is None

    def test_its_count_of_bytes_returns_to_zero(self) -> None:
        cache = ObjectCache(max_bytes=1)
        for _ in range(3):
            cache.put("s", b"a" * 20, "tree", b"data", [b"da", b"ta"])
            assert cache.get("s", b"a" * 20) is None
        cache.max_bytes = 10_000
        for rows in (None, [b"da", b"ta"], None):
            cache.put("s", b"a" * 20, "tree", b"data", rows)
        cache.forget("s")
        assert cache._held == 0

    def test_a_tree_stays_cut_for_the_next_commit_but_only_once_published(
        self, repo: pygit2.Repository
    ) -> None:
        cache = ObjectCache()
        batch = Batch(repo, cache=cache, store="s")
        tree = edit_tree(batch, None, {"a": Edit(batch.put("blob", b"x"))})
        assert cache.cut("s", tree) is None
        batch.publish()
        after = Batch(repo, cache=cache, store="s")
        assert cache.cut("s", tree) == batch.cut(tree) == after.cut(tree)
        assert cache.cut("other", tree) is None
        assert lookup(after, tree, "a") is not None

    def test_ten_commits_through_the_cache_equal_ten_without_it(self, repo: pygit2.Repository) -> None:
        cache, tips = ObjectCache(), {}
        for with_cache in (True, False):
            tree = None
            for number in range(10):
                batch = Batch(repo, cache=cache if with_cache else None, store="s")
                blob = Edit(batch.put("blob", b"%d" % number))
                tree = edit_tree(
                    batch, tree, {f"d/{number % 4}": blob, f"e{number}/f": blob, f"e{number - 2}/f": None}
                )
                flush(repo, batch)
                batch.publish()
            tips[with_cache] = tree
        assert tips[True] == tips[False]
