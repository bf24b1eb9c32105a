"""What pushed commits may contain: the rules of `commit_and_log`, for everything that main does not already hold.

A commit is compared with all its parents at once: what equals any of them was not added by it, so that merging main,
with whatever odd names or large files it has, is fine. What equals main at the same place is not looked at either. The
work is bounded: a few objects can spell out a tree of billions of paths.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from builderos.assets.repositories.service import (
    BLOB,
    EXECUTABLE,
    LINK,
    SUBMODULE,
    TREE,
    Batch,
    Commit,
    Oid,
    check_path,
    fold,
    parse_tree,
)
from builderos.core.problems import Problem
from builderos.core.settings import Settings

from .writing import EMAIL_DOMAIN

MAX_WORK: Final = 400_000  # units of about ten microseconds
_CACHED_AT_MOST: Final = 500_000
_LINK_BYTES: Final = 4096
_TREE_BYTES: Final = 16 << 20
_MODES: Final = frozenset({BLOB, EXECUTABLE, LINK, SUBMODULE, TREE})

Row = tuple[int, Oid]
Rows = Mapping[bytes, Row]
_NOTHING: Final[Rows] = {}


class Trees:
    """Trees of one push, each parsed once; the work is counted, so that a push cannot keep the server busy for ever."""

    def __init__(self, batch: Batch, size_of: Callable[[Oid], int], most: int = MAX_WORK) -> None:
        self.batch = batch
        self.size_of = size_of
        self._left = most
        self._parsed: dict[Oid, Rows] = {}
        self._held = 0

    def rows(self, tree: Oid | None) -> Rows:
        """Name → (mode, id); nothing for None. Raises `payload_too_large` when the push is too much work."""
        if tree is None:
            return _NOTHING
        rows = self._parsed.get(tree)
        if rows is None:
            rows = parse_tree(self._read(tree))
            self.spend(len(rows) // 16)
            self._keep(tree, rows)
        self.spend(1 + len(rows) // 32)
        return rows

    def _read(self, tree: Oid) -> bytes:
        if self.size_of(tree) > _TREE_BYTES:
            raise Problem(
                "payload_too_large", "a folder of the push is too large", hint="Use several folders."
            )
        return self.batch.read(tree)[1]

    def spend(self, work: int) -> None:
        """Count work: 1 for one entry that is handled by itself."""
        self._left -= work
        if self._left < 0:
            raise Problem(
                "payload_too_large",
                "the push changes too much to be checked",
                hint="Push fewer commits at a time.",
            )

    def _keep(self, tree: Oid, rows: Rows) -> None:
        self._held += len(rows)
        if self._held > _CACHED_AT_MOST:
            self._parsed.clear()
            self._held = len(rows)
        self._parsed[tree] = rows


@dataclass(frozen=True)
class Added:
    """An entry that a commit adds or changes. `is_new`: there was nothing of this name before."""

    path: str
    mode: int
    oid: Oid
    is_new: bool
    was_submodule: bool


def check_commit(
    trees: Trees, sha: str, commit: Commit, main: Oid, limits: Settings, actor: str
) -> list[str]:
    """Raise for the first thing in one commit that may not enter a branch of `actor`; returns what it adds or changes.

    `invalid_path` (the rules of `check_path`, twins that differ by case, links that leave the repository, submodules),
    `payload_too_large` (too many files, a long message), `validation_failed` (a trailer in somebody else's name).
    """
    _check_message(sha, commit, limits.max_message, actor)
    parents = [tree_of_commit(trees.batch, parent) for parent in commit.parents]
    most, paths = limits.max_files_per_commit, list[str]()
    for added in additions(trees, commit.tree, parents, main):
        _check_entry(trees, added)
        if not _is_tree(added.mode):
            paths.append(added.path)
        if len(paths) > most:
            raise Problem(
                "payload_too_large", f"commit {sha[:10]} changes more than {most} files",
                hint="Split it into several commits.", limit=most,
            )  # fmt: skip
    return paths


def _check_message(sha: str, commit: Commit, most: int, actor: str) -> None:
    if len(commit.message) > most:
        raise Problem(
            "payload_too_large", f"the message of commit {sha[:10]} is longer than {most} characters",
            hint="Shorten the message; put long text into a file.", limit=most,
        )  # fmt: skip
    if any(key == "BuilderOS-Actor" and value != actor for key, value in commit.trailers):
        raise Problem(
            "validation_failed", f"commit {sha[:10]} carries the trailer BuilderOS-Actor of somebody else",
            hint="Leave the BuilderOS trailers out of your commit messages; the server knows who pushed.",
        )  # fmt: skip


def check_person(sha: str, commit: Commit, branch: str) -> None:
    """Raise `policy_denied` where a commit says who a person is: a pseudonym's address is its name at our domain.

    An anonymous user's name and address must not enter a repository, where nothing can take them out again.
    """
    for person in (commit.author, commit.committer):
        if person.email != f"{person.name}@{EMAIL_DOMAIN}":
            raise Problem(
                "policy_denied", f"commit {sha[:10]} carries a name and address, and this workspace is anonymous",
                hint=f"Run: git config user.name {branch}; git config user.email {branch}@{EMAIL_DOMAIN}; "
                'git rebase -q @{upstream} --exec "git commit -q --amend --no-edit --reset-author"',
                policy_rule="anonymous-names",
            )  # fmt: skip


def tree_of_commit(batch: Batch, commit: Oid) -> Oid:
    """The tree of a commit."""
    return bytes.fromhex(batch.read(commit)[1][5:45].decode())


def additions(trees: Trees, tree: Oid, parents: Sequence[Oid], main: Oid | None) -> Iterator[Added]:
    """What `tree` has that none of `parents`, nor `main`, has at the same place; folders before what is in them.

    Raises `invalid_path` for a new name that some computers take for another one in its folder.
    """
    stack: list[tuple[str, Oid, list[Oid], Oid | None]] = [("", tree, list(parents), main)]
    while stack:
        folder, oid, olds, mains = stack.pop()
        rows, befores, held = trees.rows(oid), [trees.rows(old) for old in olds], trees.rows(mains)
        changed = _unlike(rows, [*befores, held])
        trees.spend(len(changed))
        fresh = [name for name in changed if name not in held and not any(name in b for b in befores)]
        _check_twins(trees, folder, rows, fresh)
        for name in changed:
            mode, entry = rows[name]
            path = folder + name.decode("utf-8", "surrogateescape")
            others = [b[name] for b in (*befores, held) if name in b]
            yield Added(path, mode, entry, not others, any(m == SUBMODULE for m, _ in others))
            if _is_tree(mode):
                below = [oid for b in befores if (oid := _below(b.get(name))) is not None]
                stack.append((f"{path}/", entry, below, _below(held.get(name))))


def _unlike(rows: Rows, others: Iterable[Rows]) -> list[bytes]:
    """Names whose entry differs from that of every other, in order."""
    left = rows.items()
    for other in others:
        left = left - other.items()
    return sorted(name for name, _ in left)


def _check_twins(trees: Trees, folder: str, rows: Rows, fresh: list[bytes]) -> None:
    """A new name must not be a twin of any name in its folder, old or new."""
    if not fresh:
        return
    trees.spend(len(rows) // 8)
    twins: dict[str, list[str]] = {}
    for name in rows:
        text = name.decode("utf-8", "surrogateescape")
        twins.setdefault(fold(text), []).append(text)
    for name in fresh:
        same = twins[fold(name.decode("utf-8", "surrogateescape"))]
        if len(same) > 1:
            one, other = (_shown(folder + text) for text in same[:2])
            raise Problem(
                "invalid_path", f"{one} and {other} are the same file on some computers",
                hint="Use names that differ in more than case or accents.",
            )  # fmt: skip


def _check_entry(trees: Trees, added: Added) -> None:
    if added.is_new:
        check_path(added.path)
    if added.mode not in _MODES:
        raise Problem(
            "invalid_path", f"{_shown(added.path)} has the unknown file mode {added.mode:o}",
            hint="Add it again with a current git.", path=_shown(added.path),
        )  # fmt: skip
    if added.mode == SUBMODULE and not added.was_submodule:
        raise Problem(
            "invalid_path", f"{_shown(added.path)} is a submodule; a workspace cannot add one",
            hint="Copy the files you need, or ask an owner to add the submodule to main.", path=_shown(added.path),
        )  # fmt: skip
    if added.mode == LINK:
        size = trees.size_of(added.oid)
        _check_link(added.path, trees.batch.read(added.oid)[1] if size <= _LINK_BYTES else b"")


def _check_link(path: str, target: bytes) -> None:
    """A link stays inside. `..` may only lead it upwards at its start: behind a name that is a link itself, `..` would
    leave from where that one points.
    """
    text = target.decode("utf-8", "surrogateescape")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    ups = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    rest = parts[ups:]
    inside = bool(text) and not text.startswith("/") and ups <= path.count("/")
    if inside and rest:
        try:
            check_path("/".join(rest))
        except Problem:
            inside = False
    if not inside:
        raise Problem(
            "invalid_path", f"{_shown(path)} is a symbolic link that leads out of the repository",
            hint="Link with a relative path to a file of the repository.", path=_shown(path),
        )  # fmt: skip


def check_sizes(
    sizes: Iterable[tuple[Oid, int]], paths: Mapping[Oid, str], limit: int, held: Callable[[Oid], bool]
) -> None:
    """Raise `payload_too_large` for a new file beyond `limit` bytes that main's store does not hold already."""
    for oid, size in sizes:
        if size > limit and not held(oid):
            raise Problem(
                "payload_too_large", f"{_shown(paths[oid])} has {size} bytes; the limit is {limit}",
                hint="Split the file, or keep large data outside of git. It must also leave the commits before.",
                limit=limit, used=size,
            )  # fmt: skip


def differing(trees: Trees, tree: Oid, others: Sequence[Oid]) -> Iterator[str]:
    """Paths of files, links and submodules where `tree` is unlike every one of `others`; also those it lacks."""
    stack: list[tuple[str, Oid | None, list[Oid | None]]] = [("", tree, list(others))]
    while stack:
        folder, oid, olds = stack.pop()
        if oid in olds:
            continue
        rows, befores = trees.rows(oid), [trees.rows(old) for old in olds]
        gone = set(befores[0]).intersection(*befores[1:]) - rows.keys()
        names = [*_unlike(rows, befores), *sorted(gone)]
        trees.spend(len(names))
        for name in names:
            path = folder + name.decode("utf-8", "surrogateescape")
            now, was = rows.get(name), [b.get(name) for b in befores]
            if _leaf(now) not in [_leaf(w) for w in was]:
                yield path
            stack.append((f"{path}/", _below(now), [_below(w) for w in was]))


def _leaf(row: Row | None) -> Row | None:
    return None if row is None or _is_tree(row[0]) else row


def _below(row: Row | None) -> Oid | None:
    return row[1] if row is not None and _is_tree(row[0]) else None


def _is_tree(mode: int) -> bool:
    """As git reads a mode: by its type bits alone."""
    return mode & 0o170000 == TREE


def _shown(path: str) -> str:
    """A path fit for a message and a terminal."""
    clean = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in path[:200]
    )
    return clean or "a file"
