"""What happened on a branch: its commits, and how two points differ."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Final

import pygit2
from pydantic import Field

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import MAIN, Branch
from builderos.assets.repositories.service import Batch, Commit, Oid, decode_commit, diff_trees, lookup
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import Out, ToolOut
from builderos.core.unit import Unit
from builderos.trust.audit.service import access

from . import delivery
from .content import TreeFiles, batch_of, repository_of, tree_of
from .layout import layout_of
from .places import BranchIn, Place, locate
from .writing import DiffStat

MAX_DIFF_CHARS: Final = 60_000
MAX_WALK: Final = 20_000
MESSAGE_CHARS: Final = 2_000
MAX_LOG_CHARS: Final = 80_000
MAX_LISTED_CHARS: Final = 12_000


class LogIn(BranchIn):
    """Which part of the history."""

    path: Annotated[
        str | None, Field(description="Only commits that changed this file or folder.", max_length=4096)
    ] = None
    limit: Annotated[int, Field(description="Commits per page.", ge=1, le=200)] = 50
    cursor: Annotated[str | None, Field(description="next_cursor of the page before.", max_length=1000)] = (
        None
    )


class CommitLine(Out):
    """One commit. `tool`, `task_id`, `agent_version` come from its trailers; null for commits made elsewhere, whose
    `committed_by` is what their author called himself, marked with `git:`.
    """

    sha: str
    parents: list[str]
    message: str
    committed_by: str
    at: datetime
    tool: str | None
    task_id: str | None
    agent_version: str | None


class LogOut(ToolOut):
    """One page of commits, newest first."""

    items: list[CommitLine]
    next_cursor: str | None


class DiffIn(BranchIn):
    """Two points to compare. Without `from` and `to`: the branch against the commit it started from."""

    from_: Annotated[
        str | None, Field(alias="from", description="Commit or branch: the old side.", max_length=200)
    ] = None
    to: Annotated[
        str | None,
        Field(description="Commit or branch: the new side; your branch by default.", max_length=200),
    ] = None
    against: Annotated[
        str | None,
        Field(description="Compare your branch against this commit or branch, e.g. main.", max_length=200),
    ] = None
    path: Annotated[str | None, Field(description="Only this file or folder.", max_length=4096)] = None


class DiffFile(Out):
    """One changed file."""

    path: str
    status: str
    added: int
    deleted: int


class DiffOut(ToolOut):
    """A unified diff with its size, and the changelog entries that came with it."""

    from_sha: str
    to_sha: str
    diff: str
    truncated: bool
    files: list[DiffFile]
    diff_stat: DiffStat
    changelog_delta: list[dict[str, Any]]


def log(unit: Unit, body: LogIn) -> LogOut:
    """Commits of a branch, newest first; with `path` only those that changed it."""
    place = locate(unit, body, "git.log")
    key = list_key("log", branch=place.branch.id, path=body.path)
    last = decode_cursor(key, body.cursor, width=2)
    batch = batch_of(unit, place.branch)
    start, after = (
        (commit_on(unit, place.branch, str(sha)) for sha in last) if last else (place.branch.tip, None)
    )
    found = [_line(*c) for c in _walk(unit, batch, place.branch, start, after, body.path, body.limit + 1)]
    items = _fitting(found[: body.limit])
    more = len(found) > len(items)
    return LogOut(
        items=items, next_cursor=encode_cursor(key, [start, items[-1].sha]) if more else None,
        repo_name=place.repo_name,
        branch=place.branch.name, message=f"{len(items)} commits of branch {place.branch.name} of {place.repo_name}.",
    )  # fmt: skip


def _walk(
    unit: Unit, batch: Batch, branch: Branch, start: str, after: str | None, path: str | None, limit: int
) -> Iterator[tuple[str, Commit]]:
    """Commits from `start` in topological order, those up to `after` left out.

    Every page walks from where the first one began: from a commit in the middle the other side of a merge above it
    cannot be reached.
    """
    given = 0
    for seen, found in enumerate(repository_of(unit, branch).walk(start, pygit2.enums.SortMode.TOPOLOGICAL)):
        if given >= limit or seen > MAX_WALK:
            return
        sha = str(found.id)
        if after is not None:
            after = None if sha == after else after
            continue
        commit = decode_commit(batch.read(found.id.raw)[1])
        if path is None or _changed(batch, commit, path.strip("/")):
            given += 1
            yield sha, commit


def _fitting(items: list[CommitLine]) -> list[CommitLine]:
    """As many as a reply holds, at least one: the next page begins behind them."""
    room = MAX_LOG_CHARS
    for number, item in enumerate(items):
        room -= len(item.model_dump_json())
        if room < 0 and number:
            return items[:number]
    return items


def _changed(batch: Batch, commit: Commit, path: str) -> bool:
    """Whether the commit changed `path` against its first parent."""
    old = tree_of(batch, commit.parents[0].hex()) if commit.parents else None
    before = lookup(batch, old, path) if old is not None else None
    return lookup(batch, commit.tree, path) != before


def _line(sha: str, commit: Commit) -> CommitLine:
    trailers = dict(commit.trailers)
    message = commit.message.strip()
    return CommitLine(
        sha=sha, parents=[p.hex() for p in commit.parents], message=message[:MESSAGE_CHARS],
        committed_by=trailers.get("BuilderOS-Actor") or f"git:{commit.author.name}", at=commit.committed_at,
        tool=trailers.get("BuilderOS-Tool"), task_id=trailers.get("BuilderOS-Task"),
        agent_version=trailers.get("BuilderOS-Agent-Version"),
    )  # fmt: skip


def commit_on(unit: Unit, branch: Branch, sha: str) -> str:
    """`sha` if it is a commit of this branch's history; raises `not_found`."""
    repo = repository_of(unit, branch)
    if sha == branch.tip:
        return sha
    try:
        if repo[sha].type_str == "commit" and repo.descendant_of(branch.tip, sha):
            return sha
    except (KeyError, ValueError, pygit2.GitError):
        pass
    raise Problem(
        "not_found", f"branch {branch.name} has no commit {sha[:12]}", hint="gitLog lists its commits."
    )


def diff(unit: Unit, body: DiffIn) -> DiffOut:
    """Compare two points that the caller may read; by default the branch with the commit it started from."""
    place = locate(unit, body, "git.diff")
    start = body.against or body.from_
    old = resolve(unit, place, start) if start else place.branch.base_sha
    new = resolve(unit, place, body.to) if body.to else place.branch.tip
    batch = batch_of(unit, place.branch)
    left, right = tree_of(batch, old), tree_of(batch, new)
    text, files, stat = unified_diff(batch, left, right, body.path)
    before, after = TreeFiles(batch, left), TreeFiles(batch, right)
    delta = delivery.changelog.since(before, after, layout_of(after))
    if new == place.branch.tip:
        delta += repositories.pending_of(unit, place.branch)[0]
    shown, cut = _listed(files[:200]), as_json_fits(text, MAX_DIFF_CHARS)
    if files:
        read = [file.path for file in files]
        access.note(
            unit, "git.diff", place.branch.id, repo=place.repo_name, branch=place.branch.name, paths=read
        )
    return DiffOut(
        from_sha=old, to_sha=new, diff=cut, truncated=len(cut) < len(text) or len(shown) < len(files), files=shown,
        diff_stat=stat, changelog_delta=_newest(delta[-50:]), repo_name=place.repo_name, branch=place.branch.name,
        message=f"{stat.files} files differ (+{stat.added} −{stat.deleted} lines) on branch {place.branch.name} of "
        f"{place.repo_name}.",
    )  # fmt: skip


def as_json_fits(text: str, room: int) -> str:
    """The beginning of a text that takes at most `room` characters in a JSON document, escapes counted."""
    cut = text[: max(room, 0)]
    while (size := len(json.dumps(cut, ensure_ascii=False)) - 2) > room:
        cut = cut[: len(cut) * room // size] if room > 0 else ""
    return cut


def _listed(files: list[DiffFile]) -> list[DiffFile]:
    room = MAX_LISTED_CHARS
    for number, file in enumerate(files):
        room -= len(file.model_dump_json())
        if room < 0:
            return files[:number]
    return files


def _newest(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest entries that a reply holds, oldest first."""
    room = MAX_LISTED_CHARS
    for number, entry in enumerate(reversed(entries)):
        room -= len(json.dumps(entry, ensure_ascii=False, default=str))
        if room < 0:
            return entries[len(entries) - number :]
    return entries


def resolve(unit: Unit, place: Place, point: str) -> str:
    """A commit of this branch, or `main`'s tip, or the own branch's, by name. Raises `not_found`,
    `validation_failed`.
    """
    name = point.removeprefix("refs/heads/")
    if name == place.branch.name:
        return place.branch.tip
    if name == MAIN:
        return repositories.main_branch(unit, place.branch.repo_id).tip
    if len(point) == 40 and all(c in "0123456789abcdef" for c in point):
        return _visible(unit, place, point)
    raise Problem(
        "validation_failed", f"{point[:60]!r} is neither a commit sha, nor main, nor your branch",
        hint="Use 40 hexadecimal digits, main, or your branch name.",
    )  # fmt: skip


def _visible(unit: Unit, place: Place, sha: str) -> str:
    """A commit of the branch or of main; others are as if they did not exist."""
    try:
        return commit_on(unit, place.branch, sha)
    except Problem:
        main = repositories.main_branch(unit, place.branch.repo_id)
        if sha == main.tip:
            return sha
        repo = repository_of(unit, place.branch)
        try:
            if repo.descendant_of(main.tip, sha):
                return sha
        except (KeyError, ValueError, pygit2.GitError):
            pass
        raise


def unified_diff(
    batch: Batch, old: Oid, new: Oid, path: str | None = None
) -> tuple[str, list[DiffFile], DiffStat]:
    """Text, files and size of the difference of two trees, delivery files last-named as they come."""
    parts: list[str] = []
    files: list[DiffFile] = []
    for name, before, after in diff_trees(batch, old, new):
        if path is not None and name != path and not name.startswith(path.rstrip("/") + "/"):
            continue
        was = (
            batch.read(before.oid)[1]
            if before is not None and not before.is_tree and before.mode != 0o160000
            else b""
        )
        now = (
            batch.read(after.oid)[1]
            if after is not None and not after.is_tree and after.mode != 0o160000
            else b""
        )
        patch, added, deleted = repositories.patch_of(name, was, now)
        status = "added" if before is None else "deleted" if after is None else "modified"
        files.append(DiffFile(path=name, status=status, added=added, deleted=deleted))
        parts.append(_headed(patch, name, status))
    stat = DiffStat(
        files=len(files), added=sum(f.added for f in files), deleted=sum(f.deleted for f in files)
    )
    return "".join(parts), files, stat


def _headed(patch: bytes, name: str, status: str) -> str:
    """The patch as git prints it; libgit2 leaves out what is special about added, deleted and mode-only changes."""
    text = patch.decode("utf-8", "replace")
    if not text.startswith("diff --git"):
        return f"diff --git a/{name} b/{name}\n({status}, content unchanged)\n"
    if status == "added":
        return text.replace("\nindex ", "\nnew file mode 100644\nindex ", 1).replace(
            f"\n--- a/{name}\n", "\n--- /dev/null\n", 1
        )
    if status == "deleted":
        text = text.replace("\nindex ", "\ndeleted file mode 100644\nindex ", 1)
        return text.replace(f"\n+++ b/{name}\n", "\n+++ /dev/null\n", 1)
    return text
