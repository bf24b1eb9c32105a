"""A folder as store: `<root>/<organisation>/<xx>/<sha256>`. A file is flushed, then renamed, then its folder flushed.

Whoever replaces a file writes the same bytes: so that an altered one heals, and readers of it notice nothing.
"""

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from builderos.core.problems import Problem

from .hashing import BLOCK, Altered, Missing, Sum
from .ports import Found

FOLDER: Final = "folder"
_DRAFTS: Final = ".drafts"
_UPLOADS: Final = ".uploads"
_NAME: Final = re.compile(r"[0-9a-f]{64}\Z")
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_PROBE: Final = ".probe"


class FolderStore:
    """The store that every installation begins with; with a `url` of its own, a folder that machines share.

    `reserve`: bytes of the disk that stay free.
    """

    def __init__(self, root: Path, reserve: int = 0, url: str = FOLDER) -> None:
        self._root = root
        self._reserve = reserve
        self._url = url

    @property
    def url(self) -> str:
        """Without the path where it is the state folder's own: that may be moved."""
        return self._url

    def draft(self, org_id: str) -> "FolderDraft":
        """A file beside the others, so that renaming it is enough."""
        return FolderDraft(self, org_id)

    def new_file(self, org_id: str) -> tuple[FileIO, Path]:
        """An empty file of no name."""
        self._require_room()
        with _room():
            descriptor, name = tempfile.mkstemp(dir=self._folder(org_id, _DRAFTS))
        return FileIO(descriptor, "wb"), Path(name)

    def adopt(self, org_id: str, file: Path, what: Sum) -> None:
        """Make a flushed file content."""
        if file.stat().st_size != what.size:
            raise Altered("the size is another one")
        target = self._path(org_id, what.hash)
        folder = self._folder(org_id, target.parent.name)
        file.replace(target)
        flush_folder(folder)

    def size_of(self, org_id: str, hash_: bytes) -> int | None:
        """By the file system's word."""
        try:
            return self._path(org_id, hash_).stat().st_size
        except FileNotFoundError:
            return None

    def file_of(self, org_id: str, hash_: bytes) -> Path:
        """Where content lies, if it does. Nobody writes there: bytes that differ from their hash are refused."""
        return self._path(org_id, hash_)

    def read(self, org_id: str, hash_: bytes, start: int, stop: int) -> Iterator[bytes]:
        """The file is opened at once: from then on it may be removed."""
        return _read(self._path(org_id, hash_), start, stop)

    def delete(self, org_id: str, hash_: bytes) -> None:
        """Remove the file."""
        self._path(org_id, hash_).unlink(missing_ok=True)

    def listed(self, org_id: str) -> Iterator[Found]:
        """Folder by folder."""
        for folder in sorted((self._root / org_id).glob("[0-9a-f][0-9a-f]")):
            for entry in os.scandir(folder):
                if _NAME.match(entry.name):
                    stat = entry.stat(follow_symlinks=False)
                    at = datetime.fromtimestamp(stat.st_mtime, UTC)
                    yield Found(bytes.fromhex(entry.name), stat.st_size, at)

    def part(self, org_id: str, upload_id: str, offset: int) -> "FolderPart":
        """One file for the whole upload."""
        self._require_room()
        with _room():
            return FolderPart(self._folder(org_id, _UPLOADS), upload_id, offset)

    def parts(self, org_id: str, upload_id: str, size: int) -> Iterator[bytes]:
        """From the file of the upload."""
        return _read(self._root / org_id / _UPLOADS / upload_id, 0, size)

    def seal(self, org_id: str, upload_id: str, what: Sum) -> None:
        """Rename the upload; nothing is copied."""
        file = self._root / org_id / _UPLOADS / upload_id
        if not file.exists() and self.size_of(org_id, what.hash) == what.size:
            return  # by whoever died before saying so
        with file.open("rb+") as opened:
            opened.truncate(what.size)
            os.fsync(opened.fileno())
        self.adopt(org_id, file, what)

    def drop_upload(self, org_id: str, upload_id: str) -> None:
        """Remove its file."""
        (self._root / org_id / _UPLOADS / upload_id).unlink(missing_ok=True)

    def sweep(self, org_id: str, before: datetime) -> None:
        """Remove drafts of processes that died."""
        for file in (self._root / org_id / _DRAFTS).glob("*"):
            with contextlib.suppress(FileNotFoundError):  # its writer has ended it at this moment
                if file.stat().st_mtime < before.timestamp():
                    file.unlink()

    def erase(self, org_id: str) -> None:
        """Remove the organisation's folder."""
        folder = self._root / org_id
        if folder.exists():
            shutil.rmtree(folder)

    def probe(self) -> None:
        """Write, read and remove a file."""
        file = self._root / _PROBE
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"probe")
            file.unlink()
        except OSError as error:
            raise Problem(
                "unavailable", f"the folder of artifacts cannot be written: {error.strerror}",
                hint="Look at its rights and at the disk.",
            ) from error  # fmt: skip

    def _path(self, org_id: str, hash_: bytes) -> Path:
        name = hash_.hex()
        return self._root / org_id / name[:2] / name

    def _folder(self, org_id: str, name: str) -> Path:
        folder = self._root / org_id / name
        if not folder.is_dir():
            with _room():
                folder.mkdir(parents=True, exist_ok=True)
                for above in (folder.parent, self._root, self._root.parent):
                    flush_folder(above)
        return folder

    def _require_room(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # nothing was ever written there
            facts = os.statvfs(self._root)
            if facts.f_bavail * facts.f_frsize < self._reserve:
                raise _full()


def open_shared(url: str, reserve: int = 0) -> FolderStore:
    """The store of `file:///folder`, which every machine has mounted there. Raises `validation_failed`."""
    parts = urlsplit(url)
    if parts.netloc or not parts.path.startswith("/") or parts.query:
        raise Problem(
            "validation_failed", f"{url[:200]!r} names no folder", hint="Write file:// and an absolute path."
        )
    return FolderStore(Path(unquote(parts.path)), reserve, url)


class FolderDraft:
    """A file that becomes content when it is complete."""

    def __init__(self, store: FolderStore, org_id: str) -> None:
        self._store, self._org_id = store, org_id
        self._file, self._path = store.new_file(org_id)

    def write(self, data: bytes) -> None:
        """To the file, at once."""
        with _room():
            _write(self._file.fileno(), data)

    def keep(self, what: Sum) -> None:
        """Flush, rename, flush the folder."""
        with _room():
            os.fsync(self._file.fileno())
        self._file.close()
        self._store.adopt(self._org_id, self._path, what)

    def drop(self) -> None:
        """Remove the file."""
        self._file.close()
        self._path.unlink(missing_ok=True)


class FolderPart:
    """The next bytes of the file of an upload."""

    def __init__(self, folder: Path, upload_id: str, offset: int) -> None:
        self._folder = folder
        self._fd = os.open(folder / upload_id, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if os.fstat(self._fd).st_size < offset:
            os.close(self._fd)
            raise Missing(upload_id)
        os.ftruncate(self._fd, offset)
        os.lseek(self._fd, offset, os.SEEK_SET)

    def write(self, data: bytes) -> None:
        """To the file, at once."""
        with _room():
            _write(self._fd, data)

    def drop(self) -> None:
        """What was written stays until the next part begins where this one did."""
        os.close(self._fd)

    def close(self) -> None:
        """Flush the file and its folder."""
        try:
            with _room():
                os.fsync(self._fd)
        finally:
            os.close(self._fd)
        flush_folder(self._folder)


def flush_folder(folder: Path) -> None:
    """Return when the names in a folder are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path, start: int, stop: int) -> Iterator[bytes]:
    """Bytes of a file, from the beginning of its block. Raises `Missing` at once."""
    try:
        file = FileIO(path, "rb")
    except FileNotFoundError:
        raise Missing(path.name) from None
    return _chunks(file, start, stop)


def _chunks(file: FileIO, start: int, stop: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        at = start
        while at < stop and (data := file.read(min(BLOCK, stop - at))):
            at += len(data)
            yield data


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@contextlib.contextmanager
def _room() -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise _full() from error


def _full() -> Problem:
    return Problem(
        "storage_full", "the server's disk has no room left",
        hint="Tell an administrator, who frees disk space; then repeat the call.",
    )  # fmt: skip
