"""What runs have kept, by its names: `.builderos/artifacts/<run>/<path>` in the state folder of a project.

Each is one more name (hard link) of the file in the artifact store, so it takes no room, and whoever copies the folder
copies the content. Where the content lies elsewhere (S3, another disk), there is nothing to name: the run's file says
its hash, and `builderos artifacts fetch` brings it.
"""

import contextlib
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from builderos.assets.artifacts import service as artifacts
from builderos.core.context import Context
from builderos.core.home import ARTIFACTS, PROJECTS, project_state
from builderos.core.settings import Settings

_DRAFT: Final = ".draft-"


def write(
    context: Context, org_id: str, project_id: str | None, run_id: str, kept: Sequence[Mapping[str, Any]]
) -> None:
    """Name what a run has kept, newest first as its file tells of it. Of two under one path the later one stays."""
    folder = project_state(context.get(Settings).home_dir, org_id, project_id) / ARTIFACTS / run_id
    store = context.get(artifacts.Stores).at(artifacts.FOLDER)
    assert isinstance(store, artifacts.FolderStore)
    for item in reversed(kept):
        at = PurePosixPath(item["path"])
        if at.is_absolute() or not at.parts or ".." in at.parts or at.name.startswith(_DRAFT):
            continue
        found = store.file_of(org_id, bytes.fromhex(str(item["hash"]).rpartition(":")[2]))
        # Content that is gone, or on another disk; a path that is a folder here, and a file of another step there.
        with contextlib.suppress(FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError):
            _link(found, folder / at)


def _link(file: Path, target: Path) -> None:
    if not file.exists():
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = target.with_name(f"{_DRAFT}{os.getpid()}-{threading.get_ident()}")
    try:
        os.link(file, draft)
    except OSError:  # another disk, or one without further names
        return
    try:
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)  # where both were the same file already, the system leaves it


def sweep(context: Context, org_id: str) -> int:
    """Take names away whose content the store has let go of; returns how many."""
    gone = 0
    for folder in (context.get(Settings).home_dir / PROJECTS / org_id).glob(f"*/{ARTIFACTS}/run_*"):
        for where, _, names in os.walk(folder, topdown=False):
            gone += sum(_let_go(Path(where, name)) for name in names)
            with contextlib.suppress(OSError):  # not empty
                Path(where).rmdir()
    return gone


def _let_go(path: Path) -> bool:
    """Whether this was the last name of its content, and is gone now, too."""
    with contextlib.suppress(FileNotFoundError):
        if path.lstat().st_nlink == 1:
            path.unlink()
            return True
    return False
