"""`.logs/reverted_commits.yaml`: one entry per revert, append-only, itself never reverted (SPEC §3.4, §4)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from builderos.assets.workspaces.delivery.flow import Item
from builderos.assets.workspaces.delivery.formats import RevertedCommit, checked
from builderos.assets.workspaces.delivery.layout import Edits, Files, Layout
from builderos.assets.workspaces.delivery.logs import Log, shortened
from builderos.assets.workspaces.delivery.parse import Issue
from builderos.assets.workspaces.delivery.shapes import REVERTS


def log(layout: Layout) -> Log:
    """The log of reverts of a tree."""
    return Log(REVERTS, layout.reverted, layout.reverted_folder)


def append(files: Files, layout: Layout, entries: Iterable[Mapping[str, Any]]) -> Edits:
    """Edits that add entries; rotation and broken heads as in the changelog. Raises Problem(validation_failed)."""
    return log(layout).append(
        files, [checked(RevertedCommit, shortened(entry, "reason"), "reverted commit") for entry in entries]
    )


def entries(files: Files, layout: Layout) -> Iterator[Item]:
    """All entries of a tree, newest last."""
    return log(layout).entries(files)


def issues(files: Files, layout: Layout) -> list[Issue]:
    """Parts of the log that cannot be read."""
    return log(layout).issues(files)
