"""Folders that strangers fill: counting and removing them whatever their shape.

The standard library's walks go one call and one open file deeper with every level. A command makes thousands of
levels in a moment, and none of them may cost this process its stack.
"""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

DEEPEST: Final = 256
_Level: TypeAlias = tuple[int, Iterator[str]]
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class TooDeep(OSError):
    """Folders are nested in folders more than `DEEPEST` levels."""

    def __init__(self) -> None:
        super().__init__(errno.ENAMETOOLONG, f"folders are nested more than {DEEPEST} deep")


@dataclass(frozen=True, slots=True)
class Found:
    """One entry: `name` in the open folder `parent`, which is closed later."""

    name: str
    parent: int
    info: os.stat_result


def entries(folder: int) -> Generator[Found]:
    """Everything below an open folder, links not followed; what vanishes meanwhile is left out.

    Raises `TooDeep`, and `OSError` where the folder itself cannot be read.
    """
    root = os.open(".", _FOLDER, dir_fd=folder)
    levels = [(root, _listed(root))]
    try:
        while levels:
            if (found := _next(levels)) is not None:
                yield found
                _go_down(found, levels)
    finally:
        for fd, _ in levels:
            os.close(fd)


def _next(levels: list[_Level]) -> Found | None:
    """The next entry of the deepest level; None where that has none, and is left, or where it is gone."""
    fd, names = levels[-1]
    name = next(names, None)
    if name is None:
        levels.pop()
        os.close(fd)
        return None
    info = _stat(name, fd)
    return None if info is None else Found(name, fd, info)


def _go_down(found: Found, levels: list[_Level]) -> None:
    if not stat.S_ISDIR(found.info.st_mode):
        return
    if (below := _opened(found.name, found.parent)) >= 0:
        levels.append((below, _listed(below)))
    if len(levels) > DEEPEST:
        raise TooDeep


def remove(folder: Path | str, *, dir_fd: int | None = None) -> None:
    """Remove a folder with all that it holds, or as much of it as can be. One that is not there is fine.

    `folder` is relative to the open folder `dir_fd`, where there is one.
    """
    try:
        shutil.rmtree(folder, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    except (OSError, RecursionError):
        _remove_flat(folder, dir_fd)


def _remove_flat(folder: Path | str, dir_fd: int | None) -> None:
    """Move folders up to the first level until none holds another: no path gets long, no call goes deep."""
    try:
        root = os.open(folder, _FOLDER, dir_fd=dir_fd)
    except OSError:
        return
    token, count = secrets.token_hex(8), 0
    try:
        waiting = list(_listed(root))
        while waiting:
            name = waiting.pop()
            if _gone(name, root) or (fd := _opened(name, root)) < 0:
                continue
            inner = [one for one in _listed(fd) if not _gone(one, fd)]
            for number, one in enumerate(inner, count):
                waiting += _moved(one, fd, root, f"{token}.{number}")
            count += len(inner)
            os.close(fd)
            _gone(name, root)
    finally:
        os.close(root)
    shutil.rmtree(folder, ignore_errors=True, dir_fd=dir_fd)


def _moved(name: str, parent: int, root: int, own: str) -> list[str]:
    """Move a folder up under a name of its own; nothing where it cannot be: it stays, and so does what it lies in."""
    try:
        os.rename(name, own, src_dir_fd=parent, dst_dir_fd=root)
    except OSError:
        return []
    return [own]


def _gone(name: str, parent: int) -> bool:
    """Remove a file or an empty folder; whether there is nothing of that name now."""
    info = _stat(name, parent)
    if info is None:
        return True
    try:
        (os.rmdir if stat.S_ISDIR(info.st_mode) else os.unlink)(name, dir_fd=parent)
    except OSError:
        return False
    return True


def _listed(fd: int) -> Iterator[str]:
    try:
        return iter(os.listdir(fd))
    except OSError:
        return iter(())


def _opened(name: str, parent: int) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except OSError:  # it was swapped for something else meanwhile
        return -1


def _stat(name: str, parent: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except OSError:
        return None
