"""`project/changelog.yaml`: one entry per commit, append-only (SPEC §4)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from builderos.assets.workspaces.delivery.flow import Item
from builderos.assets.workspaces.delivery.formats import ChangelogEntry, checked
from builderos.assets.workspaces.delivery.layout import Edits, Files, Layout
from builderos.assets.workspaces.delivery.lines import Block
from builderos.assets.workspaces.delivery.logs import Log, shortened
from builderos.assets.workspaces.delivery.parse import Issue, Unreadable
from builderos.assets.workspaces.delivery.shapes import CHANGELOG


def log(layout: Layout) -> Log:
    """The changelog of a tree."""
    return Log(CHANGELOG, layout.changelog, layout.changelog_folder)


def append(files: Files, layout: Layout, entries: Iterable[Mapping[str, Any]]) -> Edits:
    """Edits that add entries, oldest first; a full head rotates, a broken one is set aside (see `logs`).

    Adding an entry whose id the head already holds changes nothing. A long message is cut (git has it whole), paths
    that do not fit are left out and counted in `paths_omitted`. Raises Problem(validation_failed) for an entry that
    breaks its schema.
    """
    return log(layout).append(
        files, [checked(ChangelogEntry, shortened(entry, "message"), "changelog entry") for entry in entries]
    )


def entries(files: Files, layout: Layout) -> Iterator[Item]:
    """All entries of a tree, newest last."""
    return log(layout).entries(files)


def issues(files: Files, layout: Layout) -> list[Issue]:
    """Parts of the changelog that cannot be read."""
    return log(layout).issues(files)


def since(old: Files, new: Files, layout: Layout) -> list[Item]:
    """The entries of `new` that `old` has not, newest last. What is equal in both is not parsed."""
    mine = log(layout)
    texts = {data for path in mine.blocks(old) if (data := old.read(path)) is not None}
    had = [block for data in texts if (block := _readable(mine, data)) is not None]
    fresh: list[Item] = []
    for path in mine.blocks(new):
        data = new.read(path)
        block = None if data is None or data in texts else _readable(mine, data)
        if block is not None:
            fresh += [item for key, item in block.unlike(had) if not any(key in known for known in had)]
    return fresh


def _readable(mine: Log, data: bytes) -> Block | None:
    try:
        return Block(mine.shape, data)
    except Unreadable:
        return None  # reported by issues()
