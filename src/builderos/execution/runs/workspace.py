"""The folder of a step: laid out from a git tree, and written back as one. Whoever wrote there is a stranger."""

import os
from collections.abc import Container
from pathlib import Path
from typing import Final

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.service import Edit, Scratch
from builderos.core import folders
from builderos.core.context import Context
from builderos.core.home import project_state
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.steps import Work
from builderos.core.unit import Unit, perform
from builderos.execution.compute import service as compute

from .keys import FIXED

WORK: Final = "work"  # of a project's state: <run>/<step>.<attempt>
MAX_FILE: Final = 128 * 1024 * 1024
MOMENT: Final = int(FIXED["SOURCE_DATE_EPOCH"])
_NEVER: Final = frozenset({"", ".", ".."})


def folder_of(context: Context, work: Work) -> Path:
    """Where one attempt works; the same after a crash."""
    home = context.get(Settings).home_dir
    state = project_state(home, work.call.actor.org_id, work.project_id)
    return state / WORK / work.run_id / f"{work.name}.{work.attempt}"


def scratch_of(context: Context, work: Work, below: str | None) -> Scratch:
    """The trees of the run's repository; `below`: the store of its branch."""
    return Scratch.of(context, work.call.actor.org_id, work.repo_id, below)


def below(context: Context, work: Work) -> str | None:
    """The store of the run's branch, made where it was not yet."""
    if work.branch_id is None:
        return None
    branch_id = work.branch_id

    def find(unit: Unit) -> str:
        branch = repositories.branch_by_id(unit, branch_id)
        repositories.ready(unit, branch)
        return branch.store

    return perform(context, work.call, find, durable=False)


def lay_out(scratch: Scratch, tree: str, folder: Path) -> None:
    """Write a tree into a fresh folder. One that was laid out whole before a crash is left as it is: a command that
    still runs there is found again.
    """
    done = marker_of(folder)
    if done.exists():
        return
    folders.remove(folder)
    folder.mkdir(parents=True)
    links: list[tuple[Path, bytes]] = []
    for file in scratch.files(tree):
        parts = file.path.split("/")
        if not _NEVER.isdisjoint(parts) or any(part.lower() == ".git" for part in parts):
            raise Problem("invalid_path", "the tree holds a path that cannot be laid out", hint="Remove it.")
        path = folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.mode == repositories.LINK:
            links.append((path, scratch.read(file.oid)))
            continue
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o755 if file.mode & 0o111 else 0o644), "wb") as out:
            out.write(scratch.read(file.oid))
        os.utime(path, (MOMENT, MOMENT))  # packers and compilers write it into what they make
    for path, target in links:  # last: nothing is ever written through one
        os.symlink(target, os.fsencode(path))
        os.utime(path, (MOMENT, MOMENT), follow_symlinks=False)
    for made, _, _ in os.walk(folder, topdown=False):
        os.utime(made, (MOMENT, MOMENT))
    done.touch()


def written_back(scratch: Scratch, before: str, folder: Path, *, apart: Container[str] = frozenset()) -> str:
    """The folder as a tree: links stay links, `.git` is left out. A file too large for it must be one of those that
    are kept `apart`. Raises `invalid_path`, `payload_too_large`.
    """
    files: dict[str, Edit] = {}
    with compute.Beneath(folder) as beneath:
        for found in beneath.walk():
            was = scratch.entry(before, found.path)
            known = was.oid if was is not None and not was.is_tree else None
            if found.target is not None:
                target = found.target.encode("utf-8", "surrogateescape")
                files[found.path] = Edit(scratch.put(target, known), repositories.LINK)
                continue
            if found.size > MAX_FILE and found.path in apart:
                continue
            if found.size > MAX_FILE:
                raise Problem(
                    "payload_too_large", f"{found.path[:200]} has {found.size} bytes; the limit is {MAX_FILE}",
                    hint="Keep large files as artifacts outside of the workspace.", limit=MAX_FILE, used=found.size,
                )  # fmt: skip
            mode = repositories.EXECUTABLE if found.executable else repositories.BLOB
            files[found.path] = Edit(scratch.put(beneath.read(found.path, MAX_FILE), known), mode)
    return scratch.tree(files, like=before)


def marker_of(folder: Path) -> Path:
    """The file that says that a folder was laid out whole."""
    return folder.with_name(folder.name + ".laid")


def remove(folder: Path) -> None:
    """Forget the folder of an attempt that is recorded."""
    marker_of(folder).unlink(missing_ok=True)  # first: half of a folder does not count as laid out
    folders.remove(folder)
