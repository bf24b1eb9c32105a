"""`fetchFiles`: read files of a branch as they are at its tip."""

import base64
import json
from typing import Annotated, Literal

from pydantic import Field, model_validator

from builderos.assets.repositories.service import Entry, check_path
from builderos.core.schema import Out, Sha, ToolOut
from builderos.core.unit import Unit
from builderos.trust.audit.service import access

from .content import TreeFiles, batch_of, tree_of
from .history import as_json_fits, commit_on
from .places import BranchIn, locate

MAX_PATH = 8192


class FetchIn(BranchIn):
    """Which files to read."""

    mode: Annotated[Literal["single", "batch"], Field(description="single: path. batch: paths.")] = "single"
    path: Annotated[str | None, Field(description="mode single: the file.", max_length=MAX_PATH)] = None
    paths: Annotated[list[str], Field(description="mode batch: at most 50 files.", max_length=50)] = []
    at: Annotated[
        Sha | None, Field(description="A commit of this branch to read from instead of its tip.")
    ] = None

    @model_validator(mode="after")
    def _mode_fits(self) -> "FetchIn":
        if self.mode == "single" and (self.path is None or self.paths):
            raise ValueError("mode single takes path")
        if self.mode == "batch" and (self.path is not None or not self.paths):
            raise ValueError("mode batch takes paths")
        return self


class FileOut(Out):
    """One file. `truncated` content ends early because the whole reply would be too long; `sha` is of the whole
    file.
    """

    path: str
    content: str
    encoding: Literal["utf-8", "base64"]
    sha: str
    size: int
    truncated: bool


class FetchOut(ToolOut):
    """The files that were found, and the paths that were not."""

    files: list[FileOut]
    missing: list[str]
    commit_sha: str


def fetch_files(unit: Unit, body: FetchIn) -> FetchOut:
    """Read up to 50 files and 90,000 characters. Symbolic links are never followed: they read as missing.

    Raises `invalid_path`, `not_found` (unknown commit), and what `locate` raises.
    """
    paths = [body.path] if body.path is not None else list(dict.fromkeys(body.paths))
    for path in paths:
        check_path(path)
    place = locate(unit, body, "files.read", paths=tuple(paths))
    batch = batch_of(unit, place.branch)
    sha = commit_on(unit, place.branch, body.at) if body.at else place.branch.tip
    tree = TreeFiles(batch, tree_of(batch, sha))
    left = unit.settings.max_batch_chars
    files: list[FileOut] = []
    missing: list[str] = []
    for path in paths:
        entry = tree.entry(path)
        if entry is None or not entry.is_file:
            missing.append(path)
            continue
        found = _file(tree, path, entry, left)
        left -= len(json.dumps(found.content, ensure_ascii=False)) - 2
        files.append(found)
    read = [file.path for file in files]
    if read:
        branch = place.branch
        access.note(unit, "files.read", branch.id, repo=place.repo_name, branch=branch.name, paths=read)
    return FetchOut(
        files=files, missing=missing, commit_sha=sha, repo_name=place.repo_name, branch=place.branch.name,
        message=_message(files, missing, place.branch.name, place.repo_name),
    )  # fmt: skip


def _file(tree: TreeFiles, path: str, entry: Entry, room: int) -> FileOut:
    data = tree.batch.read(entry.oid)[1]
    text = _as_text(data)
    if text is not None:
        content, whole, encoding = as_json_fits(text, room), len(text), "utf-8"
    else:
        encoded = base64.b64encode(data).decode()
        content, whole, encoding = encoded[: max(room, 0) // 4 * 4], len(encoded), "base64"
    return FileOut(
        path=path, content=content, encoding=encoding, sha=entry.oid.hex(), size=len(data),
        truncated=len(content) < whole,
    )  # fmt: skip


def _as_text(data: bytes) -> str | None:
    """The text of a file, or None where it is binary: not UTF-8, or with NUL."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if "\x00" in text else text


def _message(files: list[FileOut], missing: list[str], branch: str, repo: str) -> str:
    text = f"Read {len(files)} file{'s' if len(files) != 1 else ''} from branch {branch} of {repo}."
    if missing:
        text += f" Not there: {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}."
    if any(f.truncated for f in files):
        text += " Some content was cut; read fewer files at a time."
    return text
