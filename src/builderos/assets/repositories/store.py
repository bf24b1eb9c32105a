"""Where the bytes of repositories lie: bare repositories on disk, one per sandbox, over one base per repository.

A sandbox's store borrows the base's objects through `objects/info/alternates` and shares nothing else: nobody can
read an object of another sandbox, because it is not in any store they can open. The base holds `main`, the base branch,
backups of main, and merged objects.
"""

import itertools
import os
import re
import shutil
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Final

import pygit2

from builderos.core.problems import Problem

from .disk import require_room, room_on_disk
from .exchange import replace, take

_CONFIG: Final = """[core]
\trepositoryformatversion = 0
\tbare = true
\tlogAllRefUpdates = false
\talternateRefsCommand = true
[gc]
\tauto = 0
[receive]
\tautogc = false
"""
_OPEN_PER_THREAD: Final = 64
STALE_LOCK_S: Final = 30.0
# One server holds a home at a time: a lock file from before this process was left by one that was killed.
_started = time.time()
_offset = _started - time.monotonic()
_JUMP_S: Final = 2.0
_MOST_WATCHED: Final = 1000
_watched: dict[str, tuple[tuple[int, int] | None, float]] = {}
_SHA: Final = re.compile(rb"[0-9a-f]{40}")


_FOLDERS: Final = ("objects", "objects/info", "objects/pack", "refs", "refs/heads")
_PACKED: Final = "# pack-refs with: peeled fully-peeled sorted \n"  # one file instead of one per ref
_serial = itertools.count()


class RepositoryStore:
    """Paths, creation and opening of bare repositories below one root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._local = threading.local()

    @staticmethod
    def base_folder(org_id: str, repo_id: str) -> str:
        """Folder of a repository's base, relative to the root."""
        return f"{org_id}/{repo_id}/base.git"

    @staticmethod
    def branch_folder(org_id: str, repo_id: str, branch_id: str) -> str:
        """Folder of a sandbox's or dev branch's own store; the id's last two letters spread the folders."""
        return f"{org_id}/{repo_id}/branches/{branch_id[-2:]}/{branch_id}.git"

    @staticmethod
    def config_text() -> str:
        """Content of a store's `config`: no hooks, no automatic maintenance, no refs of the base shown to clients."""
        return _CONFIG

    def path(self, folder: str) -> Path:
        """The absolute path of a store folder."""
        return self.root / folder

    def open(self, folder: str) -> pygit2.Repository:
        """The repository at `folder`, kept open per thread (libgit2 handles are not shared between threads)."""
        cache: OrderedDict[str, pygit2.Repository] | None = getattr(self._local, "cache", None)
        if cache is None:
            cache = self._local.cache = OrderedDict[str, pygit2.Repository]()
        repo = cache.get(folder)
        if repo is None:
            try:
                repo = pygit2.Repository(str(self.root / folder), pygit2.enums.RepositoryOpenFlag.BARE)
            except pygit2.GitError as error:
                raise Problem(
                    "unavailable",
                    "the repository's files cannot be opened",
                    hint="Ask an administrator to run `builderos doctor`.",
                ) from error
            cache[folder] = repo
            if len(cache) > _OPEN_PER_THREAD:
                cache.popitem(last=False)
        else:
            cache.move_to_end(folder)
        return repo

    def require_room(self, size: int) -> None:
        """Raise `storage_full` where less than `size` bytes are left for stores."""
        require_room(self.root, size)

    def forget(self, folder: str) -> None:
        """Close this thread's handle, e.g. after a pack was added behind libgit2's back."""
        cache: OrderedDict[str, pygit2.Repository] | None = getattr(self._local, "cache", None)
        if cache is not None:
            cache.pop(folder, None)

    def descends(self, folder: str, commit: str, ancestor: str) -> bool:
        """Whether `ancestor` is a commit of the history of `commit`; what is torn or no commit is none."""
        try:
            return self.holds(folder, ancestor) and self.open(folder).descendant_of(commit, ancestor)
        except (pygit2.GitError, KeyError, ValueError):
            return False

    def holds(self, folder: str, sha: str) -> bool:
        """Whether the store, or its base, has this object in readable form."""
        try:
            return sha in self.open(folder)
        except (pygit2.GitError, ValueError):  # torn
            return False

    def exists(self, folder: str) -> bool:
        """Whether the store has been created completely."""
        return os.path.exists(f"{self.root}/{folder}/HEAD")

    def create(self, folder: str, *, head: str, refs: dict[str, str], alternates: str | None) -> None:
        """Create a bare store with these refs (`refs/heads/x` → sha); safe to repeat. It appears whole or not at
        all.
        """
        if self.exists(folder):
            return
        files = {
            "config": _CONFIG, "HEAD": f"ref: {head}\n",
            "packed-refs": _PACKED + "".join(f"{sha} {ref}\n" for ref, sha in sorted(refs.items())),
        }  # fmt: skip
        if alternates is not None:
            files["objects/info/alternates"] = f"{self.root}/{alternates}/objects\n"
        with room_on_disk():
            self._create(f"{self.root}/{folder}", files)

    def _create(self, target: str, files: dict[str, str]) -> None:
        draft = f"{os.path.dirname(target)}/.new-{os.path.basename(target)}-{os.getpid()}-{next(_serial)}"
        try:
            os.makedirs(draft)
            for sub in _FOLDERS:
                os.mkdir(f"{draft}/{sub}")
            for name, text in files.items():
                _write_new(f"{draft}/{name}", text.encode())
            os.rename(draft, target)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            if not os.path.exists(f"{target}/HEAD"):  # another thread created it in the meantime
                raise

    def mend(self, folder: str, *, head: str, alternates: str | None) -> None:
        """Write what `create` writes beside refs, wherever it is missing or different, e.g. torn by a power loss."""
        root = self.root / folder
        for sub in _FOLDERS:
            (root / sub).mkdir(parents=True, exist_ok=True)
        wanted = {"config": _CONFIG}
        if alternates is not None:
            wanted["objects/info/alternates"] = f"{self.root / alternates / 'objects'}\n"
        wanted["HEAD"] = f"ref: {head}\n"  # last: with it a folder is a repository
        for name, text in wanted.items():
            path = root / name
            if not path.exists() or path.read_bytes() != text.encode():
                draft = path.with_name(
                    f".{path.name}.{os.getpid()}-{next(_serial)}"
                )  # two may mend it at once
                draft.write_text(text)
                draft.rename(path)

    def remove(self, folder: str) -> None:
        """Delete a store with everything in it."""
        self.forget(folder)
        shutil.rmtree(self.root / folder, ignore_errors=False)

    def read_ref(self, folder: str, ref: str) -> str | None:
        """The sha that a ref holds on disk, loose or packed."""
        try:
            with open(f"{self.root}/{folder}/{ref}", "rb") as file:
                text = file.read().strip()
            if _SHA.fullmatch(text):  # a power loss may leave anything else; then the packed value counts
                return text.decode()
        except (FileNotFoundError, NotADirectoryError):
            pass
        try:
            packed = (self.root / folder / "packed-refs").read_text()
        except FileNotFoundError:
            return None
        for line in packed.splitlines():
            if line.endswith(f" {ref}"):
                return line[:40]
        return None

    def write_ref(self, folder: str, ref: str, sha: str) -> None:
        """Set a ref with git's own lock protocol, so that pack-refs and other git commands may run beside us.

        A lock file that a killed process left is removed once it is older than `STALE_LOCK_S`. Raises
        `Problem("busy")`.
        """
        path = f"{self.root}/{folder}/{ref}"
        with room_on_disk():
            spare = self._spare(folder)
            _fill_lock(path, _lock(path, ref, spare), sha, spare)

    def swap_ref(self, folder: str, ref: str, old: str | None, new: str) -> bool:
        """Like `write_ref`, but only while the ref still holds `old`; returns whether it did."""
        path = f"{self.root}/{folder}/{ref}"
        with room_on_disk():
            spare = self._spare(folder)
            fd = _lock(path, ref, spare)
            if self.read_ref(folder, ref) != old:
                os.close(fd)
                os.unlink(f"{path}.lock")
                return False
            _fill_lock(path, fd, new, spare)
            return True

    def _spare(self, folder: str) -> str:
        """The file of a store that was a ref before and will be one again."""
        return f"{self.root}/{folder}/spare"

    def delete_ref(self, folder: str, ref: str) -> None:
        """Remove a ref, loose and packed."""
        reference = self.open(folder).references.get(ref)
        if reference is not None:
            reference.delete()


def _write_new(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def _lock(path: str, ref: str, spare: str) -> int:
    """The descriptor of the ref's lock file, which nobody else has then."""
    lock = f"{path}.lock"
    for attempt in range(200):
        try:
            fd = take(spare, lock)
            return os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644) if fd is None else fd
        except FileExistsError:
            _break_stale(lock)
            time.sleep(0.001 * min(attempt, 20))
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
    raise Problem("busy", f"{ref} is locked by another process", hint="Repeat the call.")


def _fill_lock(path: str, fd: int, sha: str, spare: str) -> None:
    line = sha.encode() + b"\n"
    try:
        try:
            os.write(fd, line)
            if os.fstat(fd).st_size > len(line):  # a spare file; truncating it each time would write it out
                os.ftruncate(fd, len(line))
        finally:
            os.close(fd)
        replace(f"{path}.lock", path, spare)
    except OSError:
        Path(f"{path}.lock").unlink(missing_ok=True)
        raise


def _break_stale(lock: str) -> None:
    try:
        if _is_stale(lock, os.stat(lock)):
            os.unlink(lock)
    except FileNotFoundError:
        pass


def _begin() -> None:
    """A process that was forked off begins now, whenever its parent did."""
    global _started, _offset  # noqa: PLW0603  # of this process
    _started = time.time()
    _offset = _started - time.monotonic()


os.register_at_fork(after_in_child=_begin)


def _is_stale(lock: str, found: os.stat_result) -> bool:
    """Whether a lock is nobody's any more. After a jump of the clock its own time tells nothing: then only a lock that
    was looked at for long enough, and stayed the same, is.
    """
    now, ticks = time.time(), time.monotonic()
    if abs(now - ticks - _offset) < _JUMP_S:
        return found.st_mtime < _started or now - found.st_mtime > STALE_LOCK_S
    mark = (found.st_ino, found.st_mtime_ns)
    seen, since = _watched.get(lock, (None, ticks))
    if seen != mark:
        if len(_watched) > _MOST_WATCHED:
            _watched.clear()
        _watched[lock] = (mark, ticks)
        return False
    return ticks - since > STALE_LOCK_S
