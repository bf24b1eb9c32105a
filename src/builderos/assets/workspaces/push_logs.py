"""The logs of a project stay what the server wrote, however a change of them arrives.

A push may bring the logs of main along (a merge), and that is all: no entry may change or vanish, none may be new.
"""

import json
from typing import Any, Final

from builderos.core.problems import Problem

from . import delivery
from .content import TreeFiles
from .layout import layout_of

_LOGS: Final = (delivery.changelog, delivery.reverts)


def check_logs(before: TreeFiles, after: TreeFiles, main: TreeFiles) -> None:
    """Hold a pushed tree against the branch as it was and against main.

    Raises `invalid_path` naming the log where an entry was changed, removed or invented, or the log was broken.
    """
    for layout in {layout_of(before), delivery.Layout()}:
        for log, path in zip(_LOGS, (layout.changelog, layout.reverted), strict=True):
            if _blocks(before, log, layout) == _blocks(after, log, layout):
                continue
            _check(log, path, layout, before, after, main)


def _blocks(files: TreeFiles, log: Any, layout: delivery.Layout) -> Any:
    made = log.log(layout)
    return files.entry(made.head), files.entry(made.folder)


def _check(
    log: Any, path: str, layout: delivery.Layout, before: TreeFiles, after: TreeFiles, main: TreeFiles
) -> None:
    old, new, known = (_entries(files, log, layout) for files in (before, after, main))
    broken = {issue.path for issue in log.issues(after, layout)} - {
        issue.path for issue in log.issues(before, layout)
    }
    if broken or not old <= new or not new <= old | known:
        raise Problem(
            "invalid_path", f"{path} is written by the server alone: its entries stay as they are",
            hint=f"Bring the file back: git checkout origin/HEAD -- {path}. Your messages enter it by themselves.",
            path=path,
        )  # fmt: skip


def _entries(files: TreeFiles, log: Any, layout: delivery.Layout) -> set[str]:
    return {json.dumps(entry, sort_keys=True, default=str) for entry in log.entries(files, layout)}
