"""`commit_and_log`: check what was sent, then write it."""

import base64
import binascii
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from builderos.assets.repositories.service import check_path, colliding, first_collision, fold
from builderos.core.problems import Problem
from builderos.core.schema import In, Json, Line, Sha, Text, ToolOut
from builderos.core.unit import Unit
from builderos.trust.vault.service import clean

from . import delivery
from .content import TreeFiles, tip_of
from .layout import layout_of
from .places import BranchWriteIn, Place, locate
from .submodules import check_submodules
from .writing import Change, DiffStat, Written, reminder, write


class FileIn(In):
    """One file of a commit."""

    path: Annotated[str, Field(description="Path in the repository, e.g. src/a.py.", max_length=8192)]
    content: Annotated[str | None, Field(description="The whole new content.")] = None
    encoding: Annotated[Literal["utf-8", "base64"], Field(description="How content is encoded.")] = "utf-8"
    expected_sha: Annotated[
        Sha | None, Field(description="Blob sha you have read; refused with 409 when the file changed since.")
    ] = None
    delete: Annotated[bool, Field(description="Remove the file.")] = False


class CommitIn(BranchWriteIn):
    """Files to write. `file_path` with `content` is the short form for one file."""

    files: Annotated[
        list[FileIn], Field(description="Files to write or delete, all in one commit.", max_length=1000)
    ] = []
    file_path: Annotated[str | None, Field(description="Short form: path of one file.", max_length=8192)] = (
        None
    )
    content: Annotated[str | None, Field(description="Short form: its content.")] = None
    message: Annotated[Text, Field(description="What this change does.", min_length=1)]
    task_id: Annotated[Line | None, Field(description="Task this belongs to, e.g. 2.1_parser.")] = None
    agent_version: Annotated[Line | None, Field(description="Model or agent that made the change.")] = None
    committed_by: Annotated[
        Line | None, Field(description="Kept as a claim; the server knows who you are.")
    ] = None
    metadata: Annotated[dict[Text, Json], Field(description="Anything else to keep in the record.")] = {}

    @model_validator(mode="after")
    def _one_form(self) -> "CommitIn":
        if (self.file_path is None) != (self.content is None):
            raise ValueError("file_path and content belong together")
        if not self.files and self.file_path is None:
            raise ValueError("an empty commit: send files, or file_path with content")
        return self


class CommitOut(ToolOut):
    """The commit that was made and read back."""

    commit_sha: str
    committed_by: str
    task_id: str | None
    changelog_entry: dict[str, Any]
    diff_stat: DiffStat
    warnings: list[str]


def commit_and_log(unit: Unit, body: CommitIn) -> CommitOut:
    """Write files to the caller's branch in one commit, with its changelog entry and memory index.

    Raises `invalid_path`, `payload_too_large`, `conflict` (stale `expected_sha`), `quota_exceeded`,
    `validation_failed`,
    and what `locate` raises.
    """
    files = _files(unit, body)
    place = locate(unit, body, "files.write", lock=True, paths=tuple(f.path for f in files))
    _check_size(unit, body, files)
    edits = {f.path: _content(f) for f in files}
    tip = tip_of(unit, place.branch)
    _check_against(tip, files)
    change = Change(
        edits=edits, message=body.message, tool=unit.call.tool, task_id=clean(unit, body.task_id),
        agent_version=clean(unit, body.agent_version), claimed_by=clean(unit, body.committed_by),
        details={"metadata": clean(unit, body.metadata)} if body.metadata else {},
    )  # fmt: skip
    return reply(place, unit, write(unit, place, change, tip))


def reply(place: Place, unit: Unit, written: Written) -> CommitOut:
    """The reply of a commit; the first one reminds of the token without showing it."""
    count = written.stat.files
    message = (
        f"Saved {count} file{'s' if count != 1 else ''} to branch {place.branch.name} of {place.repo_name} "
        f"as commit {written.sha[:10]}."
    )
    message += reminder(unit, written)
    return CommitOut(
        commit_sha=written.sha, repo_name=place.repo_name, branch=place.branch.name, committed_by=unit.actor.name,
        task_id=written.entry["task_id"], changelog_entry=written.entry, diff_stat=written.stat,
        warnings=written.warnings, message=message,
    )  # fmt: skip


def _files(unit: Unit, body: CommitIn) -> list[FileIn]:
    files = list(body.files)
    if body.file_path is not None:
        files.append(FileIn(path=body.file_path, content=body.content))
    limit = unit.settings.max_files_per_commit
    if len(files) > limit:
        raise Problem(
            "payload_too_large", f"{len(files)} files in one commit; the limit is {limit}",
            hint="Split the change into several commits.", limit=limit, used=len(files),
        )  # fmt: skip
    seen: set[str] = set()
    for file in files:
        check_path(file.path)
        if file.path in seen:
            raise Problem("validation_failed", f"{file.path} is listed twice", hint="List each file once.")
        seen.add(file.path)
    twins = first_collision([f.path for f in files if not f.delete])
    if twins is not None:
        raise Problem(
            "invalid_path", f"{twins[0]} and {twins[1]} are the same file on some computers",
            hint="Use names that differ in more than case or accents.",
        )  # fmt: skip
    return files


def _check_size(unit: Unit, body: CommitIn, files: list[FileIn]) -> None:
    if len(body.message) > unit.settings.max_message:
        raise Problem(
            "payload_too_large",
            f"the message has {len(body.message)} characters; the limit is {unit.settings.max_message}",
            hint="Shorten the message; put long text into a file.", limit=unit.settings.max_message,
        )  # fmt: skip
    limit = unit.settings.max_text_file
    for file in files:
        content = _content(file) or b""
        size = len(content)
        check_submodules(file.path, content)
        if size > limit:
            raise Problem(
                "payload_too_large", f"{file.path} has {size} bytes; the limit is {limit}",
                hint="Split the file, or keep large data outside of git.", limit=limit, used=size,
            )  # fmt: skip


def _content(file: FileIn) -> bytes | None:
    """The bytes of a file, or None to delete it."""
    if file.delete:
        if file.content is not None:
            raise Problem("validation_failed", f"{file.path}: delete and content exclude each other")
        return None
    if file.content is None:
        raise Problem(
            "validation_failed", f"{file.path} has no content", hint="Send content, or delete: true."
        )
    if file.encoding == "base64":
        try:
            return base64.b64decode(file.content, validate=True)
        except (binascii.Error, ValueError):
            raise Problem("validation_failed", f"{file.path}: the content is not valid base64") from None
    if "\x00" in file.content:
        raise Problem(
            "validation_failed",
            f"{file.path} contains a NUL character",
            hint="Send binary content as base64.",
        )
    return file.content.encode()


def _check_against(tip: TreeFiles, files: list[FileIn]) -> None:
    """Stale reads, missing files, names that collide, delivery files that only the server writes."""
    layout = layout_of(tip)
    for file in files:
        entry = tip.entry(file.path)
        found = entry.oid.hex() if entry is not None else None
        if file.expected_sha is not None and found != file.expected_sha:
            raise Problem(
                "conflict", f"{file.path} has changed since you read it",
                hint="Fetch it again, redo your change on top, and send the new sha.",
                conflicts=[{"path": file.path, "expected_sha": file.expected_sha, "found_sha": found}],
            )  # fmt: skip
        if file.delete and entry is None:
            raise Problem(
                "not_found", f"there is no file {file.path} to delete", hint="Fetch the files first."
            )
        twin = colliding(tip.batch, tip.tree, file.path) if entry is None else None
        if twin is not None and twin not in {f.path for f in files if f.delete}:
            raise Problem(
                "invalid_path", f"{file.path} and the existing {twin} are the same file on some computers",
                hint=f"Use the existing spelling {twin}, or another name.",
            )  # fmt: skip
        _refuse_twin_of_delivery(tip, layout, file.path)
        if server_alone(file.path, layout):
            raise Problem(
                "invalid_path", f"{file.path} is written by the server alone",
                hint="Your commit message enters the changelog by itself.",
            )  # fmt: skip


def server_alone(path: str, layout: delivery.Layout) -> bool:
    """Whether a path is, or would stand beside or below, a file that only the server writes."""
    key = fold(path)
    usual = delivery.Layout()  # a project may move its logs, but nothing else may take their usual place
    kept = {fold(p) for p in (layout.changelog, layout.reverted, usual.changelog, usual.reverted)}
    if key in kept or any(key.startswith(f"{name}/") for name in kept) or f"{key}/".startswith(delivery.LOGS):
        return True
    return delivery.is_log(path, layout) or delivery.is_log(path, usual)


def _refuse_twin_of_delivery(tip: TreeFiles, layout: delivery.Layout, path: str) -> None:
    """The server writes its files in the same commit: nothing may stand beside them that some computers cannot tell
    apart.
    """
    for own in (layout.task, layout.memory, layout.changelog, layout.goals, layout.reverted):
        twins = first_collision((own, path))
        if twins is not None and tip.entry(twins[1]) is None:
            raise Problem(
                "invalid_path", f"{twins[1]} and the project's {twins[0]} are the same file on some computers",
                hint=f"Use the spelling {twins[0]}, or another name.",
            )  # fmt: skip
