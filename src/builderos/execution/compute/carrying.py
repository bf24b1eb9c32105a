"""A workspace as a stream, to another machine and back. What comes back was written by a stranger.

Links are kept as links and never followed, anything that is no file, folder or link is left out, and nothing is written
outside of the folder: every name is opened beneath it, one part at a time.
"""

import io
import os
import shutil
import stat
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Final

from builderos.core import folders
from builderos.core.problems import Problem

from .beneath import Beneath

_MOST_ENTRIES: Final = 100_000
_DEEPEST: Final = 100
_CHUNK: Final = 1 << 20
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FRESH: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_GIT: Final = ".git"


def packed(folder: Path, into: IO[bytes], *, prefix: str, account: int, limit: int) -> None:
    """Write a folder as a tar whose names begin with `prefix` and belong to `account`. Raises `OSError` past `limit`
    bytes."""
    with tarfile.open(fileobj=into, mode="w|", format=tarfile.PAX_FORMAT) as tar, Beneath(folder) as beneath:
        tar.addfile(_head(prefix, account, tarfile.DIRTYPE, 0o755))
        made: set[str] = set()
        for entry in beneath.walk(_MOST_ENTRIES):
            for parent in _parents(entry.path, made):
                tar.addfile(_head(f"{prefix}/{parent}", account, tarfile.DIRTYPE, 0o755))
            if entry.target is not None:
                link = _head(f"{prefix}/{entry.path}", account, tarfile.SYMTYPE, 0o777)
                link.linkname = entry.target
                tar.addfile(link)
                continue
            data = beneath.read(entry.path, limit)
            limit -= len(data)
            head = _head(
                f"{prefix}/{entry.path}", account, tarfile.REGTYPE, 0o755 if entry.executable else 0o644
            )
            head.size = len(data)
            tar.addfile(head, io.BytesIO(data))


def packed_files(files: Iterable[tuple[str, bytes]], account: int) -> bytes:
    """Some files that only `account` may read, as a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files:
            head = _head(name, account, tarfile.REGTYPE, 0o400)
            head.size = len(data)
            tar.addfile(head, io.BytesIO(data))
    return out.getvalue()


def unpacked(stream: IO[bytes], folder: Path, *, limit: int) -> None:
    """Make a folder's content what the tar holds below its one top folder; a `.git` in it stays what it is here.

    Raises `unavailable` for what is no such tar or is larger than `limit` bytes; the folder then is half-way.
    """
    root = os.open(folder, _FOLDER)
    try:
        _clear(root)
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            _lay_all(root, tar, limit)
    except tarfile.TarError as error:
        raise _unfit(str(error)[:200]) from None
    finally:
        os.close(root)


def _lay_all(root: int, tar: tarfile.TarFile, limit: int) -> None:
    left = limit
    for count, member in enumerate(tar):
        left -= _laid(root, tar, member) if member.size <= left else member.size
        if count > _MOST_ENTRIES or left < 0:
            raise _unfit("it holds more than the workspace may")


def _head(name: str, account: int, kind: bytes, mode: int) -> tarfile.TarInfo:
    head = tarfile.TarInfo(name)
    head.type, head.mode, head.uid, head.gid = kind, mode, account, account
    return head


def _parents(path: str, made: set[str]) -> list[str]:
    parts = path.split("/")[:-1]
    fresh = ["/".join(parts[:at]) for at in range(1, len(parts) + 1)]
    fresh = [folder for folder in fresh if folder not in made]
    made.update(fresh)
    return fresh


def _laid(root: int, tar: tarfile.TarFile, member: tarfile.TarInfo) -> int:
    """Write one entry; returns its bytes. What cannot stand there is left out."""
    parts = [part for part in member.name.split("/") if part][1:]
    if not parts or len(parts) > _DEEPEST or {".", "..", _GIT}.intersection(parts):
        return 0
    if not (member.isreg() or member.isdir() or member.issym()):
        return 0
    parent = _opened(root, parts[:-1])
    if parent < 0:
        return 0
    try:
        return _written(parent, parts[-1], tar, member)
    except OSError:  # a name that this file system refuses, or one that is taken
        return 0
    finally:
        os.close(parent)


def _written(parent: int, name: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> int:
    if member.isdir():
        os.mkdir(name, 0o755, dir_fd=parent)
        return 0
    if member.issym():
        os.symlink(member.linkname, name, dir_fd=parent)
        return 0
    source = tar.extractfile(member)
    assert source is not None
    fd = os.open(name, _FRESH, 0o755 if member.mode & 0o100 else 0o644, dir_fd=parent)
    with os.fdopen(fd, "wb") as file:
        shutil.copyfileobj(source, file, _CHUNK)
    return member.size


def _opened(root: int, parts: list[str]) -> int:
    """A descriptor of a folder below, made where it is missing; -1 where something else stands in the way."""
    fd = os.dup(root)
    for part in parts:
        try:
            try:
                below = os.open(part, _FOLDER, dir_fd=fd)
            except FileNotFoundError:
                os.mkdir(part, 0o755, dir_fd=fd)
                below = os.open(part, _FOLDER, dir_fd=fd)
        except OSError:
            os.close(fd)
            return -1
        os.close(fd)
        fd = below
    return fd


def _clear(root: int) -> None:
    for name in os.listdir(root):
        if name == _GIT:
            continue
        if stat.S_ISDIR(os.stat(name, dir_fd=root, follow_symlinks=False).st_mode):
            folders.remove(name, dir_fd=root)
        else:
            os.unlink(name, dir_fd=root)


def _unfit(why: str) -> Problem:
    return Problem(
        "unavailable", f"the workspace that came back cannot be taken: {why}",
        hint="See what the command writes into its workspace.",
    )  # fmt: skip
