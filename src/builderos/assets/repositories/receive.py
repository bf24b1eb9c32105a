"""What a git client sends, before anybody may see it: a pack in quarantine, proved complete, then published.

`git receive-pack` and its hooks take no part. The pack goes through `git index-pack` into an object folder of its own
over the branch's store. Its deltas may not borrow: a thin pack could be used to read an object whose id one knows. And
what it refers to must be in it or be visible to the sender: a graft could adopt a commit whose id one knows. Only then
`publish` moves its files into the store, durable before any ref names them.
"""

import contextlib
import errno
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pygit2

from builderos.core.problems import Problem

from .gitcli import GitCommand, git_command, run_git
from .objects import Batch, Oid
from .store import RepositoryStore

MAX_OBJECTS: Final = 100_000
_MAX_ALLOCATION: Final = 128 << 20  # of the indexer at once: bounds what a small delta may unfold to
_STREAMED_FROM: Final = 1 << 20  # larger blobs are hashed in pieces and never held whole
_SEARCH_S: Final = 30.0
_CHECK_S: Final = 120.0
PREFIX: Final = "tmp_objdir-push-"  # git's own prefix: `git prune` knows it as temporary, too
_IDX_HEADER: Final = b"\xfftOc\0\0\0\x02"
_BAD_NAMES: Final = frozenset({b"emptyName", b"fullPathname", b"hasDot", b"hasDotdot", b"hasDotgit"})
_FSCK: Final = re.compile(rb"(?:error|fatal)[^\n]*?object [0-9a-f]{40}: ([A-Za-z]+): ")


@dataclass(frozen=True)
class Quarantine:
    """One push's objects, apart from the store (`store`, a bare repository below `root`) over which they lie."""

    store: Path
    folder: Path
    root: Path

    @property
    def above(self) -> list[Path]:
        """The folders that lead from the root to the store's objects: a young store may not be on disk yet."""
        objects = self.store / "objects"
        return [objects, *(folder for folder in objects.parents if folder.is_relative_to(self.root))]

    @property
    def environment(self) -> dict[str, str]:
        """Makes git write here, and read here first and then in the store and its base."""
        return {
            "GIT_DIR": str(self.store),
            "GIT_OBJECT_DIRECTORY": str(self.folder),
            "GIT_NO_REPLACE_OBJECTS": "1",
        }

    def index_pack(self, max_bytes: int) -> GitCommand:
        """Reads a pack from stdin: every object checked in form and content, deltas against this pack alone."""
        config = [
            ("core.bigFileThreshold", str(_STREAMED_FROM)),
            ("core.fsync", "none"),
            ("pack.threads", "1"),
        ]
        args = ["index-pack", "--stdin", "--strict", f"--max-input-size={max_bytes}", "--threads=1"]
        env = self.environment | {"GIT_ALLOC_LIMIT": str(_MAX_ALLOCATION)}
        return git_command(args, config=config, env=env)

    def open(self) -> "Sight":
        """The store as it would be with these objects. For one thread, and never kept: it sees what may be refused."""
        repo = pygit2.Repository(str(self.store), pygit2.enums.RepositoryOpenFlag.BARE)
        repo.odb.add_disk_alternate(str(self.folder))
        return Sight(repo)

    def git(self, *args: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run git over these objects and the store; the caller looks at the return code."""
        return run_git(args, env=self.environment, stdin=stdin, timeout_s=_CHECK_S)


@dataclass(frozen=True)
class Sight:
    """What is in a quarantine and in the store below it."""

    repo: pygit2.Repository

    def batch(self) -> Batch:
        """Reads objects; shares no cache with the store's readers."""
        return Batch(self.repo)

    def header(self, oid: Oid) -> tuple[pygit2.enums.ObjectType, int]:
        """Type and size in bytes of an object, which is not read for it. Raises KeyError."""
        return self.repo.odb.read_header(pygit2.Oid(raw=oid))

    def size(self, oid: Oid) -> int:
        """Bytes of an object. Raises KeyError."""
        return self.header(oid)[1]

    def merge_base(self, one: str, other: str) -> str | None:
        """The best common ancestor of two commits; None where their histories have nothing in common."""
        found = self.repo.merge_base(one, other)
        return str(found) if found else None


@dataclass(frozen=True)
class Arrival:
    """What a push would add: `commits` oldest first, and every new object's id with a path under which it occurs."""

    old: str
    new: str
    commits: tuple[str, ...]
    objects: Mapping[Oid, str]


@contextlib.contextmanager
def quarantine(store: RepositoryStore, folder: str) -> Generator[Quarantine]:
    """An empty quarantine over the store at `folder`; gone afterwards, with whatever was not published."""
    objects = store.path(folder) / "objects"
    with room_on_disk():
        room = Path(tempfile.mkdtemp(prefix=PREFIX, dir=objects))
    try:
        with room_on_disk():
            (room / "pack").mkdir()
            (room / "info").mkdir()
            (room / "info" / "alternates").write_text(f"{objects}\n")
        yield Quarantine(store.path(folder), room, store.root)
    finally:
        shutil.rmtree(room, ignore_errors=True)


class PackGauge:
    """Watches a pack while it streams by: its header first, its size throughout."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._head = b""
        self._seen = 0

    def feed(self, data: bytes) -> None:
        """Raises `payload_too_large` for too many bytes or objects, `validation_failed` for what is no pack."""
        self._seen += len(data)
        if self._seen > self._max_bytes:
            raise Problem(
                "payload_too_large", f"the push is larger than {self._max_bytes} bytes",
                hint="Push fewer commits at a time, and keep large data outside of git.", limit=self._max_bytes,
            )  # fmt: skip
        if len(self._head) < 12:
            self._head += data[: 12 - len(self._head)]
            if len(self._head) == 12:
                self._check_head()

    def _check_head(self) -> None:
        if self._head[:8] not in (b"PACK\0\0\0\x02", b"PACK\0\0\0\x03"):
            raise Problem(
                "validation_failed", "what was sent is not a git pack", hint="Push with a current git."
            )
        count = int.from_bytes(self._head[8:], "big")
        if count > MAX_OBJECTS:
            raise Problem(
                "payload_too_large", f"the push has {count} objects; the limit is {MAX_OBJECTS}",
                hint="Push fewer commits at a time.", limit=MAX_OBJECTS, used=count,
            )  # fmt: skip


def index_fault(stderr: bytes) -> Problem:
    """What the indexer's complaint means to the person who pushed; its own words may hold more than they should."""
    if b"No space left" in stderr or b"quota exceeded" in stderr:
        return Problem(
            "storage_full", "the disk took no more", hint="Tell an administrator; then push again."
        )
    if b"maximum allowed size" in stderr or b"attempting to allocate" in stderr:
        return Problem(
            "payload_too_large",
            "the push holds objects that are too large",
            hint="Keep large data outside of git.",
        )
    if b"unresolved delta" in stderr:
        return Problem(
            "validation_failed", "the pack has deltas against objects it does not contain",
            hint="Push with a git that knows the capability no-thin, or with --no-thin.",
        )  # fmt: skip
    if b"did not receive expected object" in stderr:
        return missing_objects()
    if found := _FSCK.search(stderr):
        return Problem(
            "invalid_path" if found[1] in _BAD_NAMES else "validation_failed",
            f"git refuses an object of the push: {found[1].decode()}",
            hint="See `git help fsck` for this message; rewrite the commit that holds it.",
        )  # fmt: skip
    return Problem(
        "validation_failed", "the pack is damaged", hint="Push again; then run `git fsck` in your clone."
    )


def missing_objects() -> Problem:
    """A push refers to something that it neither contains nor may know."""
    return Problem(
        "validation_failed", "the push refers to objects that it does not contain and that you cannot see",
        hint="Fetch first; in a shallow clone run `git fetch --unshallow`.",
    )  # fmt: skip


def examine(room: Quarantine, old: str, new: str, visible: Sequence[str], max_commits: int) -> Arrival:
    """Prove that `new` continues `old` and that everything behind it is in the pack or reachable from `visible`.

    Raises `conflict` (not a fast-forward), `quota_exceeded` (more than `max_commits` new ones), `validation_failed` (no
    commit, missing or hidden objects).
    """
    sent = packed_ids(room)
    _require_commit(room, new)
    commits = _new_commits(room, new, visible, max_commits)
    if not all(bytes.fromhex(sha) in sent for sha in commits):
        raise missing_objects()
    if room.git("merge-base", "--is-ancestor", old, new).returncode != 0:
        raise Problem(
            "conflict", "the branch's history may not be replaced: this push is not a fast-forward",
            hint="Pull, put your commits on top, and push without force.", reason="non-fast-forward",
        )  # fmt: skip
    listed = _new_objects(room, new, visible)
    _require_seen(room, {oid for oid in listed if oid not in sent}, visible)
    return Arrival(old, new, commits, {oid: path for oid, path in listed.items() if oid in sent})


def _require_commit(room: Quarantine, sha: str) -> None:
    try:
        kind, _ = room.open().header(bytes.fromhex(sha))
    except KeyError:
        raise missing_objects() from None
    if kind != pygit2.enums.ObjectType.COMMIT:
        raise Problem(
            "validation_failed", "a branch points at commits only", hint="Push a commit, not a tag or file."
        )


def _new_commits(room: Quarantine, new: str, visible: Sequence[str], most: int) -> tuple[str, ...]:
    done = room.git(
        "rev-list", "--topo-order", "--reverse", f"--max-count={most + 1}", new, "--not", *visible
    )
    if done.returncode != 0:
        raise missing_objects()
    commits = tuple(done.stdout.decode().split())
    if len(commits) > most:
        raise Problem(
            "quota_exceeded", f"the push has more than {most} new commits",
            hint="Squash your commits, or promote this workspace and start a new one.", limit=most, used=None,
            resets_at=None, name="commits per push",
        )  # fmt: skip
    return commits


def _new_objects(room: Quarantine, new: str, visible: Sequence[str]) -> dict[Oid, str]:
    """Everything behind `new` that git does not see at once behind `visible`; git fails where any of it is missing."""
    done = room.git("rev-list", "--objects", new, "--not", *visible)
    if done.returncode != 0:
        raise missing_objects()
    found: dict[Oid, str] = {}
    for line in done.stdout.splitlines():
        sha, _, path = line.partition(b" ")
        found[bytes.fromhex(sha.decode())] = path.decode("utf-8", "surrogateescape")
    return found


def _require_seen(room: Quarantine, lacking: set[Oid], visible: Sequence[str]) -> None:
    """What is not in the pack must be in the visible history. `git push` sends a file again that an old commit had.

    Other clients rightly do not, so the history is searched, newest first, for as long as something is lacking.
    """
    if not lacking:
        return
    rest = set(lacking)
    with _history(room.store, visible) as objects:
        for oid in objects:
            rest.discard(oid)
            if not rest:
                return
    raise missing_objects()


@contextlib.contextmanager
def _history(store: Path, visible: Sequence[str]) -> Generator[Iterator[Oid]]:
    command = git_command(
        ["rev-list", "--objects", "--no-object-names", "--in-commit-order", *visible],
        env={"GIT_DIR": str(store)},
    )
    process = subprocess.Popen(
        command.argv,
        env=command.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    timer = threading.Timer(_SEARCH_S, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        yield (bytes.fromhex(line.decode().strip()) for line in process.stdout)
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


def blob_sizes(room: Quarantine, oids: Iterable[Oid]) -> Iterator[tuple[Oid, int]]:
    """Id and size in bytes of those objects that are files."""
    asked = "".join(f"{oid.hex()}\n" for oid in oids).encode()
    done = room.git("cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)", stdin=asked)
    for line in done.stdout.decode().splitlines():
        sha, kind, size = line.split()[:3]
        if kind == "blob":
            yield bytes.fromhex(sha), int(size)


def packed_ids(room: Quarantine) -> frozenset[Oid]:
    """The ids of all objects that were sent, from the index that git wrote (version 2: fan-out, then sorted ids)."""
    found: set[Oid] = set()
    for idx in (room.folder / "pack").glob("pack-*.idx"):
        data = idx.read_bytes()
        if not data.startswith(_IDX_HEADER):
            raise ValueError("the pack index has an unknown version")
        count = int.from_bytes(data[1028:1032], "big")
        found.update(data[at : at + 20] for at in range(1032, 1032 + 20 * count, 20))
    return frozenset(found)


@contextlib.contextmanager
def room_on_disk() -> Generator[None]:
    """A full disk as a problem instead of an error of the operating system."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Problem(
            "storage_full", "the disk took no more", hint="Free disk space; then push again."
        ) from error
