"""What a run or one of its steps changed, file by file and page by page, however much it is."""

from typing import Annotated, Final

import sqlalchemy as sa
from pydantic import Field

from builderos.assets.repositories import service as repositories
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Name, Out
from builderos.core.unit import Unit
from builderos.trust.audit import service as audit

from .model import steps
from .rows import Row, unknown_step
from .seen import seen_run
from .trees import EMPTY, scratch_of
from .view_diff import ChangedFile, change_of, ends_of

_CHARS: Final = 1_000_000
_FILE_CHARS: Final = 200_000


class RunDiffIn(In):
    """Of which run or step, and which page."""

    id: Line
    step: Annotated[Name | None, Field(description="Only what this step changed, by its name or id.")] = None
    limit: Annotated[int, Field(ge=1, le=200, description="Files of one page.")] = 50
    cursor: Annotated[str | None, Field(description="Continue where the page before ended.")] = None


class FileChange(ChangedFile):
    """One path that differs, with its lines."""

    text: Annotated[
        str, Field(description="Unified diff; empty where it is no text, or too large to be shown.")
    ]
    truncated: Annotated[bool, Field(description="It has more lines than are shown.")]


class RunChanges(Out):
    """A page of what differs between two trees, by path."""

    base_tree: str | None
    result_tree: str | None
    files: list[FileChange]
    files_total: int
    next_cursor: str | None


def changes(unit: Unit, body: RunDiffIn) -> RunChanges:
    """What a run changed, or one step of it. Raises `not_found`."""
    run = seen_run(unit, body.id)
    key = list_key("run diff", run=run.id, step=body.step)
    after = decode_cursor(key, body.cursor)
    try:
        found = _ends(unit, run, body.step)
        if found is None:
            return RunChanges(base_tree=None, result_tree=None, files=[], files_total=0, next_cursor=None)
        page = _page(*found, int(after[0]) if after else 0, body.limit, key)
    except KeyError:
        raise Problem(
            "not_found", "the files of this run are not kept any more", hint="Its branch was removed."
        ) from None  # fmt: skip
    audit.access.note(
        unit, "run.diff", run.id, repo=run.repo_name or None, branch=run.branch or None,
        paths=[file.path for file in page.files],
    )  # fmt: skip
    return page


def _ends(unit: Unit, run: Row, step: str | None) -> tuple[repositories.Scratch, str, str] | None:
    if step is None:
        return ends_of(unit, run)
    c = steps.c
    wanted = sa.select(steps).where(c.run_id == run.id, sa.or_(c.name == step, c.id == step))
    row = unit.execute(wanted.limit(1)).one_or_none()
    if row is None:
        raise unknown_step()
    if row.output_tree is None:
        return None
    scratch = scratch_of(unit, run)
    start = run.base_tree or (EMPTY if run.base_sha is None else scratch.tree_of(run.base_sha))
    return scratch, row.input_tree or start, row.output_tree or start


def _page(scratch: repositories.Scratch, base: str, tree: str, skip: int, limit: int, key: str) -> RunChanges:
    found = scratch.changes(base, tree)
    paths = sorted(found)[skip:]
    files: list[FileChange] = []
    room = _CHARS
    for path in paths[:limit]:
        file, text = change_of(scratch, path, *found[path])
        shown = text if len(text) <= _FILE_CHARS else text[: text.rfind("\n", 0, _FILE_CHARS) + 1]
        files.append(FileChange(**file.model_dump(), text=shown, truncated=len(shown) < len(text)))
        room -= len(shown)
        if room <= 0:
            break
    more = len(files) < len(paths)
    return RunChanges(
        base_tree=base, result_tree=tree, files=files, files_total=len(found),
        next_cursor=encode_cursor(key, [skip + len(files)]) if more else None,
    )  # fmt: skip
