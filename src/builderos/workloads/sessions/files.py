"""A session's folder: laid out from its branch, kept over stops, and committed to the branch again."""

import contextlib
import errno
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from builderos.assets.artifacts import service as artifacts
from builderos.assets.artifacts.ports import RunFacts
from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.service import Edit, Scratch
from builderos.assets.workspaces import service as workspaces
from builderos.core.clock import rfc3339, utcnow
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Call, Unit, as_system, perform
from builderos.execution.compute import service as compute
from builderos.execution.runs import service as runs

from . import rows

_NEVER: Final = frozenset(
    {".ipynb_checkpoints", "__pycache__", "__marimo__", ".cache", ".local", ".jupyter", ".ipython"}
)
_MOST_OUTPUTS: Final = 100
_OUTPUT_BYTES: Final = 256 * 1024 * 1024
_NAMED: Final = 20


@dataclass(slots=True)
class Found:
    """What a folder holds against a tree: files to commit, files too large for that."""

    made: dict[str, workspaces.Made] = field(default_factory=dict[str, workspaces.Made])
    edits: dict[str, Edit | None] = field(default_factory=dict[str, Edit | None])
    large: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    links: list[str] = field(default_factory=list[str])


def lay_out(context: Context, org_id: str, id_: str) -> Path:
    """The folder with the branch's files in it. One that is there already is kept, and brought up to what others have
    changed on the branch since, where the session has left that as it was. Blocks.
    """
    row, scratch, folder, tip = as_system(context, org_id, lambda unit: _place(unit, id_))
    wanted = scratch.tree_of(tip)
    marker = runs.workspace.marker_of(folder)
    if marker.exists() and row.base_tree is not None:
        base = _freshened(scratch, row.base_tree, wanted, folder)
    else:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        runs.workspace.lay_out(scratch, wanted, folder)
        base = wanted
    as_system(context, org_id, lambda unit: rows.change(unit, id_, base_tree=base))
    return folder


def keep(context: Context, org_id: str, id_: str, *, last: bool = False) -> dict[str, Any]:
    """Commit what has changed in the folder to the branch, by the rules of every commit; with the `last` one, what is
    too large for git is kept as artifacts. Tells what was kept and what was not; never raises for a refusal. Blocks.
    """
    said: dict[str, Any] = {"at": rfc3339(utcnow())}
    try:
        row, scratch, folder, _ = as_system(context, org_id, lambda unit: _place(unit, id_))
        if row.base_tree is None or not folder.is_dir():
            return said | {"problem": "there is no folder"}
        found = _compared(scratch, row.base_tree, folder, context.get(Settings).max_text_file)
        call = as_system(context, org_id, lambda unit: _call(unit, id_), read_only=True)
        said |= _committed(context, call, row, scratch, found)
        if found.links:
            said["links"] = found.links[:_NAMED]
        if found.large:
            said["large"] = [path for path, _ in found.large[:_NAMED]]
        if last and found.large:
            said |= _outputs(context, call, row, folder, found)
    except Problem as problem:
        said |= {"problem": problem.told, "code": problem.code}
    except OSError as error:
        said |= {"problem": f"the folder cannot be read: {error.strerror}"}
    as_system(context, org_id, lambda unit: _told(unit, id_, said))
    return said


def _told(unit: Unit, id_: str, said: dict[str, Any]) -> None:
    rows.change(unit, id_, checkpoint=said)
    runs.events.add(unit, id_, "session.checkpoint", said)


def _place(unit: Unit, id_: str) -> tuple[rows.Row, Scratch, Path, str]:
    row = rows.find(unit, id_)
    branch = repositories.branch_by_id(unit, row.branch_id)
    repositories.ready(unit, branch)
    scratch = Scratch.of(unit.context, unit.org_id, row.repo_id, branch.store)
    return row, scratch, rows.files_of(unit, row), branch.tip


def _call(unit: Unit, id_: str) -> Call:
    row = rows.find(unit, id_)
    actor = rows.actor_of(unit, row)
    return Call(actor=actor, presented="valid", request_id=id_, tool="session", door="session")


def _compared(scratch: Scratch, base: str, folder: Path, largest: int) -> Found:
    known = {file.path: file for file in scratch.files(base)}
    found, there = Found(), set[str]()
    with compute.Beneath(folder) as beneath:
        for entry in beneath.walk():
            if _NEVER.isdisjoint(entry.path.split("/")):
                there.add(entry.path)
                _compare(scratch, beneath, entry, known.get(entry.path), found, largest)
    for path, file in known.items():
        if path not in there and _NEVER.isdisjoint(path.split("/")):
            found.made[path] = workspaces.Made(None, file.mode, file.oid)
            found.edits[path] = None
    return found


def _compare(
    scratch: Scratch, beneath: compute.Beneath, entry: Any, was: Any, found: Found, largest: int
) -> None:  # fmt: skip
    """Note what a file of the folder is against what stood there."""
    if entry.target is not None:
        if was is None or was.mode != repositories.LINK:
            found.links.append(entry.path)
        return
    if entry.size > largest:
        found.large.append((entry.path, entry.size))
        return
    data = beneath.read(entry.path, largest)
    mode = repositories.EXECUTABLE if entry.executable else repositories.BLOB
    oid = scratch.put(data, was.oid if was is not None else None)
    if was is None or (was.oid, was.mode) != (oid, mode):
        found.made[entry.path] = workspaces.Made(data, mode, was.oid if was is not None else None)
        found.edits[entry.path] = Edit(oid, mode)


def _committed(context: Context, call: Call, row: rows.Row, scratch: Scratch, found: Found) -> dict[str, Any]:
    """Commit all but what somebody else changed meanwhile."""
    left: list[str] = []
    while found.made:
        made = dict(found.made)

        def write(unit: Unit, made: dict[str, workspaces.Made] = made) -> str | None:
            written = workspaces.commit_result(
                unit, row.branch_id, made, message=f"Keep the files of session {row.id}", run_id=row.id,
                step_id="session",
            )  # fmt: skip
            rows.change(unit, row.id, base_tree=scratch.edit(str(row.base_tree), found.edits))
            return written.sha if written is not None else None

        try:
            sha = perform(context, call, write)
        except Problem as problem:
            paths = [str(item["path"]) for item in problem.extra.get("conflicts", [])]
            if problem.code != "conflict" or not paths or paths[0] not in found.made:
                raise
            left.append(paths[0])
            del found.made[paths[0]], found.edits[paths[0]]
            continue
        kept = {"commit": sha, "files": len(made)}
        return kept | ({"conflicts": left[:_NAMED]} if left else {})
    return {"files": 0} | ({"conflicts": left[:_NAMED]} if left else {})


def _outputs(context: Context, call: Call, row: rows.Row, folder: Path, found: Found) -> dict[str, Any]:
    """Keep what is too large for git as artifacts, up to a bound."""
    kept: list[str] = []
    refused: list[str] = []
    left = _OUTPUT_BYTES
    facts = RunFacts(row.repo_id, "sbx_" + row.branch_id.removeprefix("br_"), None)
    with compute.Beneath(folder) as beneath:
        for path, size in sorted(found.large, key=lambda item: (item[1], item[0])):
            if size > left or len(kept) >= _MOST_OUTPUTS:
                refused.append(path)
                continue
            left -= size
            with beneath.open(path) as source:
                content = artifacts.prepare(context, row.org_id, source, path=path)

            def note(unit: Unit, path: str = path, content: artifacts.Prepared = content) -> str:
                return artifacts.keep(
                    unit, content, path=path, run_id=row.id, step_id="session", type_="output", facts=facts
                ).id

            kept.append(perform(context, call, note))
    return {"artifacts": kept} | ({"not_kept": refused[:_NAMED]} if refused else {})


def _freshened(scratch: Scratch, base: str, tip: str, folder: Path) -> str:
    """Write into the folder what the branch has got since, where the session has not changed it; returns the tree that
    the folder now goes on from.
    """
    taken: dict[str, Edit | None] = {}
    with compute.Beneath(folder) as beneath:
        for path, (was, now) in scratch.changes(base, tip).items():
            plain = now is None or now.mode in (repositories.BLOB, repositories.EXECUTABLE)
            if not plain or not _is_still(scratch, beneath, path, was.oid if was is not None else None):
                continue
            with contextlib.suppress(OSError):  # something else stands in the way: the session's own stays
                _take(scratch, beneath, path, now)
                taken[path] = Edit(now.oid, now.mode) if now is not None else None
    return scratch.edit(base, taken) if taken else base


def _take(scratch: Scratch, beneath: compute.Beneath, path: str, now: repositories.Entry | None) -> None:
    if now is None:
        beneath.remove(path)
    else:
        beneath.write(path, scratch.read(now.oid), executable=now.mode == repositories.EXECUTABLE)


def _is_still(scratch: Scratch, beneath: compute.Beneath, path: str, oid: bytes | None) -> bool:
    try:
        data = beneath.read(path, runs.workspace.MAX_FILE)
    except OSError as error:
        return oid is None and error.errno == errno.ENOENT
    return oid is not None and scratch.put(data, oid) == oid
