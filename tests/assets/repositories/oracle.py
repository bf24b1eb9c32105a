"""What the tests of the engine hold it against: the git program, libgit2's index and its merge."""

import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import pygit2

from builderos.assets.repositories.objects import Batch, Oid, write_loose
from builderos.assets.repositories.trees import BLOB, Edit, edit_tree

Files = Mapping[str, tuple[int, bytes]]


def new_repo(folder: Path) -> pygit2.Repository:
    return pygit2.init_repository(str(folder), bare=True)


def git(repo: pygit2.Repository, *args: str, stdin: bytes = b"", **env: str) -> bytes:
    done = subprocess.run(
        ["git", "-C", repo.path, *args],
        input=stdin,
        capture_output=True,
        check=False,
        env={"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", **env},
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def fsck(repo: pygit2.Repository, *oids: Oid) -> None:
    """Fails on the slightest complaint."""
    out = subprocess.run(
        ["git", "-C", repo.path, "fsck", "--strict", "--full", "--no-dangling", *(oid.hex() for oid in oids)],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in out.stderr.splitlines() if not line.startswith("notice:")]
    assert (out.returncode, out.stdout, complaints) == (0, "", [])


def flush(repo: pygit2.Repository, batch: Batch) -> None:
    """Write everything new to the store, as the journal does after the commit point."""
    for oid, stream in Batch.unpack(batch.pack()):
        write_loose(f"{repo.path}objects", oid, stream)


def tree_of(batch: Batch, files: Files) -> Oid:
    """Build a tree with the engine."""
    edits = {path: Edit(batch.put("blob", data), mode) for path, (mode, data) in files.items()}
    return edit_tree(batch, None, edits)


def libgit2_tree(repo: pygit2.Repository, files: Files) -> Oid:
    """Build the same tree with libgit2's index."""
    index = pygit2.Index()
    for path, (mode, data) in files.items():
        entry = pygit2.IndexEntry(path, repo.create_blob(data), pygit2.enums.FileMode(mode))
        index.add(entry)
    return index.write_tree(repo).raw


def git_tree(repo: pygit2.Repository, files: Files, index: Path) -> Oid:
    """Build the same tree with the git program and an index file."""
    index.unlink(missing_ok=True)
    lines = b"".join(
        b"%o %s 0\t%s\0" % (mode, str(repo.create_blob(data)).encode(), path.encode())
        for path, (mode, data) in files.items()
    )
    git(repo, "update-index", "-z", "--index-info", stdin=lines, GIT_INDEX_FILE=str(index))
    return bytes.fromhex(git(repo, "write-tree", GIT_INDEX_FILE=str(index)).decode().strip())


def plain(files: Mapping[str, bytes | tuple[int, bytes]]) -> dict[str, tuple[int, bytes]]:
    """Contents alone stand for ordinary files."""
    return {path: it if isinstance(it, tuple) else (BLOB, it) for path, it in files.items()}


def folders(paths: Iterable[str]) -> set[str]:
    """Every folder that these paths lie in."""
    return {path[:at] for path in paths for at, char in enumerate(path) if char == "/"}
