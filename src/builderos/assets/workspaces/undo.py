"""Undo is always a new commit: roll one commit back, or bring a whole branch to an earlier state."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from builderos.assets.repositories.schema import Branch
from builderos.assets.repositories.service import (
    EMPTY_TREE,
    Batch,
    Conflict,
    Edit,
    Oid,
    check_path,
    decode_commit,
    diff_trees,
    three_way,
)
from builderos.core.clock import rfc3339
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.schema import Sha, Text, ToolOut
from builderos.core.unit import Unit

from . import delivery
from .content import Content, TreeFiles, batch_of, repository_of, tip_of, tree_of
from .history import commit_on
from .layout import layout_of
from .places import BranchWriteIn, Place, locate
from .writing import Change, DiffStat, Written, write

MAX_CONFLICT_CHARS = 20_000


class RollbackIn(BranchWriteIn):
    """Which commit to undo."""

    commit_sha: Annotated[Sha, Field(description="The commit to undo; gitLog lists them.")]
    paths: Annotated[
        list[Annotated[str, Field(max_length=8192)]],
        Field(description="Undo only these files of it.", max_length=100),
    ] = []
    reason: Annotated[Text, Field(description="Why it is undone.", min_length=1, max_length=5000)]


class RollbackOut(ToolOut):
    """The commit that undoes another one."""

    new_sha: str
    reverted_sha: str
    reverted_files: list[str]
    skipped: list[str]
    diff_stat: DiffStat


def rollback(unit: Unit, body: RollbackIn) -> RollbackOut:
    """Undo one commit of the caller's branch by its inverse; logs and delivery files are never reverted.

    Raises `not_found` (not a commit of this branch), `conflict` with `conflicts[]` where later changes are in the way,
    or where nothing is left to undo.
    """
    place = locate(unit, body, "git.rollback", lock=True, paths=tuple(body.paths))
    sha = commit_on(unit, place.branch, body.commit_sha)
    found = inverse_of(unit, place, sha, body.reason, {check_path(path) for path in body.paths})
    written = _undone(unit, place, sha, body.reason, found)
    return _rollback_reply(place, sha, sorted(found.edits), found.skipped, written)


def undo_commit(unit: Unit, place: Place, sha: str, reason: str) -> Written:
    """The same for a commit of a place that the actor may undo in. Raises what `rollback` raises."""
    sha = commit_on(unit, place.branch, sha)
    return _undone(unit, place, sha, reason, inverse_of(unit, place, sha, reason))


def _undone(unit: Unit, place: Place, sha: str, reason: str, found: "Inverse") -> Written:
    change = Change(
        edits=found.edits, message=f"Undo: {found.subject[:200]}\n\nReverts {sha}.\nReason: {reason}",
        tool=unit.call.tool, reverts=sha, delivery=found.record, entry_id=found.entry_id, event="rollback",
        details={"reason": reason},
    )  # fmt: skip
    return write(unit, place, change, found.tip)


@dataclass(frozen=True)
class Inverse:
    """What undoes one commit: edits of the files at `tip`, in whose batch merged texts lie; the line for the log of
    reverts; the entry id that line names.
    """

    tip: TreeFiles
    edits: dict[str, Content]
    record: delivery.Edits
    entry_id: str
    skipped: list[str]
    subject: str


def inverse_of(unit: Unit, place: Place, sha: str, reason: str, wanted: Iterable[str] = ()) -> Inverse:
    """The inverse of a commit of this branch, of all its files or of `wanted`. Raises `conflict` as `rollback` does."""
    tip = tip_of(unit, place.branch)
    batch, layout = tip.batch, layout_of(tip)
    bad, parent = _sides(batch, sha)
    edits = _inverse(unit, place, batch, (bad, tip.tree, parent), _exempt(layout, wanted))
    if not edits:
        raise Problem(
            "conflict", f"nothing of {sha[:12]} is left to undo", hint="It was undone before, or changed only logs.",
            conflicts=[],
        )  # fmt: skip
    entry_id = new_id("chg")
    record = {
        "reverted_sha": sha, "new_sha_of": entry_id, "paths": sorted(edits), "reason": reason, "by": unit.actor.name,
        "at": rfc3339(unit.now),
    }  # fmt: skip
    skipped = [p for p, *_ in diff_trees(batch, parent, bad) if p not in edits]
    subject = decode_commit(batch.read(bytes.fromhex(sha))[1]).subject
    return Inverse(tip, edits, delivery.reverts.append(tip, layout, [record]), entry_id, skipped, subject)


def _rollback_reply(
    place: Place, sha: str, files: list[str], skipped: list[str], written: Written
) -> RollbackOut:
    return RollbackOut(
        new_sha=written.sha, reverted_sha=sha, reverted_files=files, skipped=skipped, diff_stat=written.stat,
        repo_name=place.repo_name, branch=place.branch.name,
        message=f"Undid {sha[:10]} on branch {place.branch.name} of {place.repo_name}: {len(files)} files are as "
        f"before it. To take this back, roll back {written.sha[:10]}.",
    )  # fmt: skip


def _sides(batch: Batch, sha: str) -> tuple[Oid, Oid]:
    """The tree of a commit and of its first parent (empty for a first commit)."""
    commit = decode_commit(batch.read(bytes.fromhex(sha))[1])
    if not commit.parents:
        batch.put("tree", b"")
        return commit.tree, EMPTY_TREE
    return commit.tree, tree_of(batch, commit.parents[0].hex())


def _exempt(layout: delivery.Layout, wanted: Iterable[str]) -> Callable[[str], bool]:
    chosen = frozenset(wanted)
    return lambda path: delivery.is_exempt(path, layout) or bool(chosen and path not in chosen)


def _inverse(
    unit: Unit, place: Place, batch: Batch, trees: tuple[Oid, Oid, Oid], skip: Callable[[str], bool]
) -> dict[str, Content]:
    """The edits that take base → theirs away from ours; raises `conflict`."""
    repo = repository_of(unit, place.branch)
    merged = three_way(batch, repo, *trees, skip, labels=("now", "before"))
    if not merged.clean:
        raise conflict_problem(merged.conflicts, "later changes touch the same lines")
    return dict(merged.edits)


def conflict_problem(
    conflicts: list[Conflict],
    why: str,
    hint: str = "Change these files by hand with commit_and_log, then try again.",
) -> Problem:
    """Conflicts as data: path, kind, and the text with markers where there is one."""
    items = [
        {"path": c.path, "kind": c.kind, "text": (c.text or "")[:MAX_CONFLICT_CHARS]} for c in conflicts[:50]
    ]
    names = ", ".join(c.path for c in conflicts[:5])
    return Problem(
        "conflict", f"{why}: {names}", hint=hint, conflicts=items,
    )  # fmt: skip


def bring_to(
    unit: Unit, place: Place, batch: Batch, target: Oid, *, message: str, event: str, details: dict[str, Any]
) -> Written | None:
    """One commit after which the branch has the files of `target`; logs stay and gain what target's changelog knew.

    `batch` reads `target`, whose trees need not be stored. None when the branch has these files already.
    """
    tip, goal = TreeFiles(batch, tree_of(batch, place.branch.tip)), TreeFiles(batch, target)
    layout = layout_of(tip)
    edits: dict[str, Content] = {}
    kept: dict[str, bytes | None] = {}
    for path, _, now in diff_trees(batch, tip.tree, target):
        if path.startswith(delivery.LOGS) or delivery.is_log(path, layout):
            continue
        if delivery.is_delivery(path, layout):
            kept[path] = goal.read(path)
        else:
            edits[path] = Edit(now.oid, now.mode) if now is not None else None
    missing = delivery.changelog.since(tip, goal, layout)
    if not edits and not kept and not missing:
        return None
    change = Change(
        edits=edits, message=message, tool=unit.call.tool, delivery=kept, entries=tuple(missing), event=event,
        details=details, indexed=False,
    )  # fmt: skip
    return write(unit, place, change)


def point_of(unit: Unit, branch: Branch, sha: str) -> Oid:
    """The tree of a commit that the branch's store holds; raises `not_found`."""
    try:
        return tree_of(batch_of(unit, branch), sha)
    except (KeyError, ValueError):
        raise Problem(
            "not_found", f"there is no commit {sha[:12]}", hint="gitLog lists the commits."
        ) from None
