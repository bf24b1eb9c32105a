"""What a push means for the delivery files. The server adds no commit to it: this waits for its next own commit."""

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from builderos.assets.repositories.schema import Branch
from builderos.assets.repositories.service import Commit
from builderos.core.clock import rfc3339

from . import delivery
from .content import TreeFiles

TOOL: Final = "git push"
_SUBJECT_CHARS: Final = 500
_NAMED: Final = 20


@dataclass(frozen=True)
class Pusher:
    """Who pushed, and when."""

    name: str
    at: datetime


def changelog_entry(
    by: Pusher, id_: str, branch: Branch, commits: Mapping[str, Commit], paths: Iterable[str]
) -> dict[str, Any]:
    """One entry for all commits of a push (oldest first). Of their authors it tells nothing: who pushed is known."""
    listed = list(commits)
    return {
        "id": id_, "timestamp": rfc3339(by.at), "paths": list(paths), "message": _message(commits),
        "task_id": None, "committed_by": by.name, "branch": branch.name, "tool": TOOL, "agent_version": None,
        "run_id": None, "reverts": None, "source": "human", "commits": listed[:_NAMED], "commit_count": len(listed),
    }  # fmt: skip


def _message(commits: Mapping[str, Commit]) -> str:
    subjects = [commit.subject[:_SUBJECT_CHARS] for commit in commits.values()]
    if len(subjects) == 1:
        return subjects[0]
    more = f"; and {len(subjects) - _NAMED} more" if len(subjects) > _NAMED else ""
    return f"{len(subjects)} commits: {'; '.join(subjects[:_NAMED])}{more}"


def memory_items(
    by: Pusher, after: TreeFiles, paths: Iterable[str], layout: delivery.Layout
) -> list[dict[str, Any]]:
    """What the memory index learns of the files that a push changed. One without sha is no file any more."""
    items: list[dict[str, Any]] = []
    for path in paths:
        if delivery.is_delivery(path, layout):
            continue
        entry = after.entry(path)
        is_file = entry is not None and entry.is_file
        items.append({
            "path": path, "owner": by.name, "file_type": file_type(path),
            "sha": entry.oid.hex() if entry is not None and is_file else None, "last_updated": rfc3339(by.at),
            "source": "human",
        })  # fmt: skip
    return items


def file_type(path: str) -> str | None:
    """What stands behind the last dot of a file's name; None where nothing does."""
    return posixpath.splitext(path)[1][1:] or None


def still_there(
    files: delivery.Files, items: Iterable[Mapping[str, Any]]
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Of what pushes left for the memory index: the items whose files are there now, and the paths that are gone."""
    here: list[Mapping[str, Any]] = []
    gone: list[str] = []
    for item in items:
        if files.read(item["path"]) is None:
            gone.append(item["path"])
        else:
            here.append(item)
    return here, gone
