"""`listFiles`: what lies in one folder of a branch."""

from typing import Annotated, Final, Literal

from pydantic import Field

from builderos.assets.repositories.service import EMPTY_TREE, Entry, check_path, parse_tree
from builderos.core import paging
from builderos.core.problems import Problem
from builderos.core.schema import In, Out, Sha, ToolOut
from builderos.core.unit import Unit

from .content import TreeFiles, batch_of, tree_of
from .history import commit_on
from .places import BranchIn, BranchName, RepoName, locate

Kind = Literal["folder", "file", "link", "submodule"]
_KINDS: Final[dict[int, Kind]] = {0o040000: "folder", 0o120000: "link", 0o160000: "submodule"}


class ListFilesIn(In):
    """Which folder."""

    repo_name: RepoName = None
    branch: BranchName = None
    folder: Annotated[
        str, Field(description="Folder, e.g. src; all of the branch when empty.", max_length=4096)
    ] = ""
    at: Annotated[
        Sha | None, Field(description="A commit of this branch to read from instead of its tip.")
    ] = None
    limit: Annotated[int, Field(description="Entries per page.", ge=1, le=1000)] = 500
    cursor: Annotated[str | None, Field(description="next_cursor of the page before.", max_length=1000)] = (
        None
    )


class FileEntry(Out):
    """A name in a folder. `path` is the whole one; a name that is no UTF-8 is shown with replacement characters."""

    name: str
    path: str
    kind: Kind
    executable: bool
    sha: Annotated[str, Field(description="Git's id of the content.")]


class ListFilesOut(ToolOut):
    """Folders and files by name, as git orders them."""

    folder: str
    commit_sha: str
    items: list[FileEntry]
    next_cursor: str | None
    total: int


def list_files(unit: Unit, body: ListFilesIn) -> ListFilesOut:
    """The entries of one folder; nothing below them is opened.

    Raises `invalid_path`, `not_found` (no such folder or commit), and what `locate` raises.
    """
    if body.folder:
        check_path(body.folder)
    asked = (body.folder,) if body.folder else ()
    place = locate(unit, BranchIn(repo_name=body.repo_name, branch=body.branch), "files.read", paths=asked)
    batch = batch_of(unit, place.branch)
    sha = commit_on(unit, place.branch, body.at) if body.at else place.branch.tip
    names = _names(TreeFiles(batch, tree_of(batch, sha)), body.folder, place.branch.name)
    key = paging.list_key("listFiles", branch=place.branch.id, sha=sha, folder=body.folder)
    start = (paging.decode_cursor(key, body.cursor) or [0])[0]
    if not isinstance(start, int):
        raise Problem("validation_failed", "the cursor does not belong to this list")
    page = list(names.items())[start : start + body.limit]
    end = start + len(page)
    where = f"folder {body.folder}" if body.folder else "the top folder"
    return ListFilesOut(
        folder=body.folder, commit_sha=sha, items=[_shown(body.folder, name, entry) for name, entry in page],
        next_cursor=paging.encode_cursor(key, [end]) if end < len(names) else None, total=len(names),
        repo_name=place.repo_name, branch=place.branch.name,
        message=f"{len(page)} of {len(names)} entries of {where} on branch {place.branch.name} of {place.repo_name}.",
    )  # fmt: skip


def _names(tree: TreeFiles, folder: str, branch: str) -> dict[bytes, Entry]:
    if not folder and tree.tree == EMPTY_TREE:
        return {}
    entry = tree.entry(folder)
    if entry is None or not entry.is_tree:
        raise Problem(
            "not_found",
            f"branch {branch} has no folder {folder}",
            hint="Leave folder out to begin at the top.",
        )
    found = parse_tree(tree.batch.read(entry.oid)[1])
    return {name: Entry(mode, oid) for name, (mode, oid) in found.items()}


def _shown(folder: str, name: bytes, entry: Entry) -> FileEntry:
    text = name.decode("utf-8", "replace")
    return FileEntry(
        name=text, path=f"{folder}/{text}" if folder else text, kind=_KINDS.get(entry.mode, "file"),
        executable=entry.is_file and bool(entry.mode & 0o100), sha=entry.oid.hex(),
    )  # fmt: skip
