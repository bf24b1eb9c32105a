"""Folders that strangers fill: counting and removing them whatever their shape.

The standard library's walks go one call and one open file deeper with every level. A command makes thousands of
levels in a moment, and none of them may cost this process its stack.
"""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEEPEST: Final = 256
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


def entries(folder: int) -> Iterator[Found]:
    """Everything below an open folder, links not followed; what vanishes meanwhile is left out.

    Raises `TooDeep`, and `OSError` where the folder itself cannot be read.
    """
    root = os.open(".", _FOLDER, dir_fd=folder)
    levels = [(root, _listed(root))]
    try:
        while levels:
            fd, names = levels[-1]
            name = next(names, None)
            if name is None:
                os.close(levels.pop()[0])
                continue
            info = _stat(name, fd)
            if info is None:
                continue
            yield Found(name, fd, info)
            if stat.S_ISDIR(info.st_mode) and (below := _opened(name, fd)) >= 0:
                levels.append((below, _listed(below)))
                if len(levels) > DEEPEST:
                    raise TooDeep
    finally:
        for fd, _ in levels:
            os.close(fd)


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
            if _gone(name, root):
                continue
            fd = _opened(name, root)
            if fd < 0:
                continue
            for inner in list(_listed(fd)):
                if _gone(inner, fd):
                    continue
                count += 1
                own = f"{token}.{count}"
                try:
                    os.rename(inner, own, src_dir_fd=fd, dst_dir_fd=root)
                except OSError:  # it stays where it is, and so does what it lies in
                    continue
                waiting.append(own)
            os.close(fd)
            _gone(name, root)
    finally:
        os.close(root)
    shutil.rmtree(folder, ignore_errors=True, dir_fd=dir_fd)


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
