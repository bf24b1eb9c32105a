"""Where folders are shown to commands that may not walk the path to them.

A server that runs as root gives every command an account of its own, which cannot pass the server's closed folders.
The keeper then binds what is needed into a small file system that only it and its commands see.
"""

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

from builderos.core import folders

from . import kernel
from .tree import is_orphaned, own_name

# Between the accounts of people and those that systemd gives out: named unused by its table of numbers.
ACCOUNTS: Final = range(60706, 61184)
_ETC_FILES: Final = ("ld.so.cache", "localtime", "mime.types", "protocols", "services")
_ETC_FOLDERS: Final = (
    "alternatives",
    "ssl/certs",
    "ca-certificates",
    "pki/tls/certs",
    "pki/ca-trust/extracted",
    "fonts",
    "python3",
)
_PASSWD: Final = (
    "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\nbuilder:x:1000:1000::/home/builder:/bin/sh\n"
)
_GROUP: Final = "root:x:0:\nbuilder:x:1000:\n"
_HOSTS: Final = "127.0.0.1 localhost sandbox\n"
_SWITCH: Final = "passwd: files\ngroup: files\nhosts: files\n"


class Stage:
    """A folder for what commands see; with `private` mounts, accounts of their own are possible."""

    def __init__(self, state: Path) -> None:
        self.private = os.geteuid() == 0 and _own_mounts()
        self._folder = _fresh_folder() if self.private else state / "stage"
        if self.private:
            kernel.mount_tmpfs(str(self._folder), "mode=0755")
        else:
            self._folder.mkdir(mode=0o700, exist_ok=True)
        self.etc = self._folder / "etc"
        _write_etc(self.etc)
        self._free = list(ACCOUNTS)

    def account(self) -> int | None:
        """A number that no running command has; None where the server is no root. Raises `BlockingIOError`."""
        if os.geteuid() != 0:
            return None
        if not self._free:
            raise BlockingIOError
        return self._free.pop(0)

    def give_back(self, account: int | None) -> None:
        """The account's processes are gone."""
        if account is not None:
            self._free.append(account)

    def show(self, room: str, name: str, fd: int) -> str:
        """A path at which a command may find the folder or file that `fd` holds. Raises `OSError`."""
        if not self.private:
            return os.readlink(f"/proc/self/fd/{fd}")
        place = self._folder / "rooms" / room / name
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            place.mkdir(mode=0o755)
        else:
            place.touch(mode=0o644)
        kernel.bind(f"/proc/self/fd/{fd}", str(place))
        return str(place)

    def scratch(self, room: str, account: int | None) -> Path:
        """A folder of a command's own, for the tier that has no /tmp and /home of its own. Raises `OSError`."""
        folder = self._folder / "scratch" / room
        for place in (folder, folder / "tmp", folder / "secrets"):
            place.mkdir(mode=0o700, parents=True)
            if account is not None:
                os.chown(place, account, account)
        (self._folder / "scratch").chmod(0o755)
        return folder

    def write(self, place: Path, text: str, account: int | None) -> None:
        """A file that only the command reads. Raises `OSError`."""
        fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        with os.fdopen(fd, "w") as file:
            file.write(text)
            if account is not None:
                os.chown(fd, account, account)

    def clear(self, room: str) -> None:
        """Take away what was shown for a room."""
        folders.remove(self._folder / "scratch" / room)
        folder = self._folder / "rooms" / room
        if not self.private or not folder.exists():
            return
        for place in folder.iterdir():
            with contextlib.suppress(OSError):
                kernel.unmount(str(place))
            with contextlib.suppress(OSError):  # it stays behind, empty
                place.rmdir() if place.is_dir() else place.unlink()
        with contextlib.suppress(OSError):
            folder.rmdir()

    def close(self) -> None:
        """Leave nothing behind."""
        if self.private:
            with contextlib.suppress(OSError):
                kernel.unmount(str(self._folder))
        folders.remove(self._folder)


def hand_over(workspace: int, account: int | None) -> None:
    """Make an account the owner of everything in a folder; links are not followed. Raises `OSError`."""
    if account is None:
        return
    os.chown(".", account, account, dir_fd=workspace)
    for found in folders.entries(workspace):
        if found.info.st_uid != account:
            os.chown(found.name, account, account, dir_fd=found.parent, follow_symlinks=False)


def _fresh_folder() -> Path:
    """An empty folder for a mount of ours; those of keepers that were killed are empty, too, and taken away."""
    place = Path(tempfile.gettempdir())
    for name in os.listdir(place):
        if is_orphaned(name):
            with contextlib.suppress(OSError):
                (place / name).rmdir()
    folder = place / own_name()
    folder.mkdir(mode=0o755)
    return folder


def _own_mounts() -> bool:
    try:
        kernel.own_mounts()
    except OSError:  # root of a container that may not mount
        return False
    return True


def _write_etc(folder: Path) -> None:
    """An /etc with nothing of this machine's but what programs need. Copied: every mount makes a start slower."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    for name, text in {"passwd": _PASSWD, "group": _GROUP, "hosts": _HOSTS, "nsswitch.conf": _SWITCH}.items():
        (folder / name).write_text(text)
    for name in _ETC_FILES:
        with contextlib.suppress(OSError):
            shutil.copyfile(Path("/etc", name), folder / name)
    for name in _ETC_FOLDERS:
        with contextlib.suppress(OSError, shutil.Error):  # it is not there, or parts of it are for root alone
            shutil.copytree(Path("/etc", name), folder / name, symlinks=True, copy_function=shutil.copyfile)
