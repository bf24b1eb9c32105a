"""Commit what a run made: the same rules as for everybody's commit, from bytes instead of a request."""

from collections.abc import Mapping
from dataclasses import dataclass

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.service import (
    BLOB,
    EXECUTABLE,
    Edit,
    check_path,
    colliding,
    first_collision,
)
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import RequestContext

from .commit import server_alone
from .content import Content, TreeFiles, tip_of
from .layout import layout_of
from .places import Place, branch_resource
from .submodules import check_submodules
from .undo import inverse_of
from .writing import Change, Written, write


@dataclass(frozen=True, slots=True)
class Made:
    """A file that a run made or changed; `content` None: it removed it. `before`: the blob that it started from."""

    content: bytes | None
    mode: int
    before: bytes | None


def commit_result(
    unit: Unit, branch_id: str, files: Mapping[str, Made], *, message: str, run_id: str, step_id: str,
    task_id: str | None = None, agent_version: str | None = None, prompt_version: str | None = None,
) -> Written | None:  # fmt: skip
    """Write what a run made to its branch in one commit; None where the branch has all of it already.

    `agent_version` and `prompt_version` (`name@version#sha256:…`): of the agents that made it, with their models.

    A file that somebody else changed meanwhile is a `conflict`. Raises what `commit_and_log` raises.
    """
    branch = repositories.branch_by_id(unit, branch_id, lock=True)
    context = RequestContext(paths=tuple(files))
    decision = policy.require(unit, "files.write", branch_resource(unit, branch), context)
    place = Place(branch, decision.rules, "files.write", frozenset(files))
    tip = tip_of(unit, branch)
    edits = {
        path: edit for path, made in files.items() if (edit := _edit(unit, tip, path, made)) is not _SAME
    }
    if not edits:
        return None
    _refuse_twins(tip, files)
    change = Change(
        edits={path: edit for path, edit in edits.items() if edit is not _SAME}, message=message, tool=unit.call.tool,
        task_id=task_id, run_id=run_id, agent_version=agent_version,
        details={"step_id": step_id} | ({"metadata": {"prompt_version": prompt_version}} if prompt_version else {}),
    )  # fmt: skip
    return write(unit, place, change, tip)


def revert_result(unit: Unit, branch_id: str, sha: str, *, reason: str, run_id: str, step_id: str) -> Written:
    """Undo a commit of a run by its inverse, as `rollback` does. Raises what that raises."""
    branch = repositories.branch_by_id(unit, branch_id, lock=True)
    decision = policy.require(unit, "git.rollback", branch_resource(unit, branch))
    place = Place(branch, decision.rules, "git.rollback")
    found = inverse_of(unit, place, sha, reason)
    change = Change(
        edits=found.edits, message=f"Undo: {found.subject[:200]}\n\nReverts {sha}.\nReason: {reason}",
        tool=unit.call.tool, reverts=sha, delivery=found.record, entry_id=found.entry_id, event="rollback",
        run_id=run_id, details={"reason": reason, "step_id": step_id},
    )  # fmt: skip
    return write(unit, place, change, found.tip)


_SAME: Content = Edit(b"")  # the branch has it already


def _edit(unit: Unit, tip: TreeFiles, path: str, made: Made) -> Content:
    check_path(path)
    if server_alone(path, layout_of(tip)):
        raise Problem("invalid_path", f"{path} is written by the server alone", hint="Leave it as it is.")
    there = tip.entry(path)
    found = there.oid if there is not None else None
    if made.content is None:
        if found is None:
            return _SAME
    else:
        if made.mode not in (BLOB, EXECUTABLE):
            raise Problem("invalid_path", f"{path} is a link", hint="Commit plain files.")
        _check_size(unit, path, made.content)
        oid = tip.batch.put("blob", made.content)
        if there is not None and (there.oid, there.mode) == (oid, made.mode):
            return _SAME
    if found != made.before:
        raise Problem(
            "conflict", f"{path} has changed on the branch since the run started",
            hint="Start the run again.", conflicts=[{"path": path, "found_sha": found.hex() if found else None}],
        )  # fmt: skip
    return None if made.content is None else Edit(tip.batch.put("blob", made.content), made.mode)


def _check_size(unit: Unit, path: str, content: bytes) -> None:
    check_submodules(path, content)
    limit = unit.settings.max_text_file
    if len(content) > limit:
        raise Problem(
            "payload_too_large", f"{path} has {len(content)} bytes; the limit is {limit}",
            hint="Keep large data as artifacts.", limit=limit, used=len(content),
        )  # fmt: skip


def _refuse_twins(tip: TreeFiles, files: Mapping[str, Made]) -> None:
    kept = [path for path, made in files.items() if made.content is not None]
    twins = first_collision(kept)
    for path in kept if twins is None else ():
        other = colliding(tip.batch, tip.tree, path) if tip.entry(path) is None else None
        if other is not None and other not in files:
            twins = (path, other)
    if twins is not None:
        raise Problem(
            "invalid_path", f"{twins[0]} and {twins[1]} are the same file on some computers",
            hint="Use names that differ in more than case or accents.",
        )  # fmt: skip
