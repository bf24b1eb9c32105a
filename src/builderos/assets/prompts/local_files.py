"""Published prompts as files, `.builderos/prompts/<name>@<version>.yaml` in the organisation's state folder.

Written when the publication is durable. `builderos doctor --rebuild` puts rows back from these files that the database
has lost, as far as the ledger knows them.
"""

import logging
from datetime import datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.files import replace_text
from builderos.core.home import project_state
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.core.versions import is_stable, rank_of
from builderos.trust.ledger import service as ledger

from . import registry
from .model import prompts
from .reading import parse

log = logging.getLogger("builderos.prompts")
FOLDER: Final = "prompts"


def folder_of(home: Path, org_id: str) -> Path:
    """Where the files of an organisation lie: prompts belong to no single project."""
    return project_state(home, org_id, None) / FOLDER


def note(unit: Unit, name: str, version: str, content: str) -> None:
    """Write the file of a version once the unit is durable."""
    path = folder_of(unit.settings.home_dir, unit.org_id) / f"{name}@{version}.yaml"
    unit.after_commit(lambda: _write(path, content))


def _write(path: Path, content: str) -> None:
    try:
        replace_text(path, content)
    except OSError as error:  # the version is published; the schedule writes its file
        log.warning("%s is written later: %s", path.name, error)


def catch_up(context: Context, org_id: str) -> int:
    """Write the files that are missing; returns how many."""

    def rows(unit: Unit) -> list[tuple[str, str]]:
        c = prompts.c
        folder = folder_of(unit.settings.home_dir, org_id)
        there = {path.name for path in folder.glob("*.yaml")}
        known = unit.execute(sa.select(c.name, c.version))
        missing = [(row.name, row.version) for row in known if f"{row.name}@{row.version}.yaml" not in there]
        for name, version in missing:
            found = registry.row_of(unit, name, version)
            if found is not None:
                note(unit, name, version, found.content)
        return missing

    return len(as_system(context, org_id, rows))


# ---------------------------------------------------------------- putting rows back


def lost(unit: Unit) -> list[Path]:
    """Files of this organisation's prompts that have no row."""
    files = sorted(folder_of(unit.settings.home_dir, unit.org_id).glob("*@*.yaml"))
    c = prompts.c
    there = {f"{row.name}@{row.version}" for row in unit.execute(sa.select(c.name, c.version))}
    return [path for path in files if path.name.removesuffix(".yaml") not in there]


def missing(unit: Unit) -> list[str]:
    """Prompts of all organisations that have a file and no row."""
    found: list[str] = []
    for org_id in unit.get(Database).organisations("settle"):
        found += as_system(unit.context, org_id, lambda own: [p.stem for p in lost(own)], read_only=True)
    return found


def rebuild(context: Context) -> list[str]:
    """Put back the rows of prompts that have a file alone; returns those that could not be, with the reason."""
    failed: list[str] = []
    for org_id in context.get(Database).organisations("settle"):
        waiting = as_system(context, org_id, lost, read_only=True)
        for path in _partials_first(waiting):
            try:
                as_system(context, org_id, lambda unit, at=path: _put_back(unit, at))
            except (Problem, OSError, ValueError, KeyError, IntegrityError) as error:
                log.warning("%s could not be put back: %s", path.stem, type(error).__name__)
                why = error.detail if isinstance(error, Problem) else type(error).__name__
                failed.append(f"{path.stem} ({why})")
    return failed


def _partials_first(paths: list[Path]) -> list[Path]:
    """A prompt behind those that stand in it: its hash is made of theirs."""
    order: list[Path] = []
    left = {path.name.removesuffix(".yaml"): path for path in paths}
    needs = {ref: _refs(path) & left.keys() for ref, path in left.items()}
    while left:
        ready = [ref for ref in sorted(left) if not needs[ref] & left.keys()] or sorted(left)
        order += [left.pop(ref) for ref in ready]
    return order


def _refs(path: Path) -> set[str]:
    try:
        return set(parse(path.read_text("utf-8")).partials.values())
    except (Problem, OSError, ValueError):  # what is wrong with it is said when it is put back
        return set()


def _put_back(unit: Unit, path: Path) -> None:
    content = path.read_text("utf-8")
    name, _, version = path.name.removesuffix(".yaml").partition("@")
    spec = parse(content, name=name, version=version)
    pins = {word: part.sha256 for word, part in registry.parts(unit, spec).items()}
    sha256 = spec.sha256(pins)
    said = {"prompt": spec.ref, "sha256": sha256}
    lines = ledger.lines_typed(unit, "prompt.published")
    line = next((line for line in lines if said.items() <= line["payload"].items()), None)
    if line is None:
        raise Problem(
            "conflict",
            "the file says something else than the ledger",
            hint="Restore it from a backup instead.",
        )
    unit.execute(
        sa.insert(prompts).values(
            id=line["object"], org_id=unit.org_id, name=name, version=version, rank=rank_of(version),
            stable=is_stable(version), sha256=sha256, content=content, partials=pins, tags=sorted(spec.tags),
            changelog=spec.changelog, source={"type": line["payload"]["source"]}, owner=line["actor"],
            created_at=datetime.fromisoformat(line["at"]),
        )
    )  # fmt: skip
