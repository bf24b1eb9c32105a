"""The runs of a project as files, `.builderos/runs/<run>.json` in its state folder: whole, portable, read without us.

A file is written shortly after its run has ended, behind the calls, so that no run waits for it. What a killed process
did not write is written by the schedule. `builderos doctor --rebuild` puts rows back from these files that the
database has lost; only runs that the ledger knows, and as the ledger knows them.
"""

import contextlib
import json
import logging
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from builderos.core.clock import rfc3339, utcnow
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.files import replace_text
from builderos.core.home import PROJECTS, project_state
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.tables import as_dict
from builderos.core.unit import Unit, as_system
from builderos.trust.ledger import service as ledger

from . import leftovers, local_artifacts, receipts
from .events import run_events
from .gathering import Whole, whole
from .logs_find import Attempt, left_behind, put_away, shares
from .model import runs, steps
from .reading import as_step, provenance_of, summary

log = logging.getLogger("builderos.runs")
FORMAT: Final = 1
_WAITING: Final = 10_000
_PATIENCE_S: Final = 10.0
_GATHER_S: Final = 0.03
_TOGETHER: Final = 200  # runs and steps of one look
_RECENT: Final = timedelta(days=3)
_INSERTED: Final = 500


@dataclass(frozen=True, slots=True)
class _Item:
    org_id: str
    what: str | Attempt
    steps: int


class LocalFiles:
    """Writes the files of runs that have ended and puts their logs away, in a thread that nobody waits for.

    Runs that end within some milliseconds are written together, which costs a fraction of one after the other.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: queue.Queue[_Item | None] = queue.Queue(_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def note(self, unit: Unit, run_id: str, steps_: int) -> None:
        """This run is over once the unit is durable; it has so many steps, or more."""
        org_id = unit.org_id
        unit.after_commit(lambda: self.put(org_id, run_id, steps_))

    def note_log(self, org_id: str, found: Attempt) -> None:
        """This log is whole: where there are other machines, it is put where they find it."""
        if shares(self._context):
            self.put(org_id, found)

    def close(self) -> None:
        """Do what waits, then end the thread."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None and thread.is_alive():
            self._waiting.put(None)
            thread.join(_PATIENCE_S)

    def put(self, org_id: str, what: str | Attempt, steps_: int = _TOGETHER) -> None:
        """A run or a log to be written. What cannot be taken is found by the schedule."""
        with self._lock:
            if self._closed:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._main, name="run-files", daemon=True)
                self._thread.start()
        try:
            self._waiting.put_nowait(_Item(org_id, what, steps_))
        except queue.Full:
            log.warning("files of runs are written later: too many end at once")

    def _main(self) -> None:
        open_ = True
        while open_:
            items = [self._waiting.get()]
            if items[0] is not None:
                time.sleep(_GATHER_S)
            with contextlib.suppress(queue.Empty):
                while items[-1] is not None and len(items) < _WAITING:
                    items.append(self._waiting.get_nowait())
            open_ = items[-1] is not None
            for part in _parts_of([item for item in items if item is not None]):
                self._write(part)

    def _write(self, part: list[_Item]) -> None:
        try:
            self._wind_up(part)
        except (Problem, OSError) as error:
            log.warning("files of runs are written later: %s", error)
        except Exception:  # the next one may well go
            if len(part) == 1:
                log.exception("the file of a run could not be written")
                return
            for item in part:
                self._write([item])

    def _wind_up(self, part: list[_Item]) -> None:
        org_id = part[0].org_id
        what = part[0].what
        if isinstance(what, Attempt):
            put_away(self._context, org_id, what)
            return
        ids = [str(item.what) for item in part]
        try:
            write(self._context, org_id, ids)
        finally:
            leftovers.clear(self._context, org_id, ids)


def _parts_of(items: list[_Item]) -> list[list[_Item]]:
    """What is written together: runs of one organisation, small ones; logs each by itself."""
    parts: list[list[_Item]] = []
    room: dict[str, int] = {}
    last: dict[str, list[_Item]] = {}
    for item in items:
        part = last.get(item.org_id)
        if isinstance(item.what, Attempt):
            parts.append([item])
        elif part is not None and room[item.org_id] >= item.steps + 1:
            part.append(item)
            room[item.org_id] -= item.steps + 1
        else:
            parts.append([item])
            last[item.org_id], room[item.org_id] = parts[-1], _TOGETHER - item.steps - 1
    return parts


def write(context: Context, org_id: str, run_ids: Sequence[str]) -> None:
    """Write the files of these runs, whatever lies there, all of them read at once. Raises `OSError`, `unavailable`."""

    def look(unit: Unit) -> list[tuple[Whole, receipts.Receipt | None]]:
        return [(found, receipts.ensured(unit, found)) for found in whole(unit, run_ids)]

    home = context.get(Settings).home_dir
    for found, receipt in as_system(context, org_id, look):
        run = found.run
        if receipt is not None:
            receipts.put(context, found, receipt)
        document = document_of(found)
        if document["artifacts"]:
            local_artifacts.write(context, org_id, run.project_id, run.id, document["artifacts"])
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        replace_text(path_of(home, org_id, run.project_id, run.id), text + "\n")


def path_of(home: Path, org_id: str, project_id: str | None, run_id: str) -> Path:
    """Where the file of a run lies."""
    return project_state(home, org_id, project_id) / "runs" / f"{run_id}.json"


def catch_up(context: Context, org_id: str) -> int:
    """Write what is missing of the runs that ended in the last days, put their logs away, and take away what they left.

    Returns how many files of runs were written.
    """
    home = context.get(Settings).home_dir

    def ended(unit: Unit) -> list[tuple[str, str | None]]:
        c = runs.c
        wanted = sa.select(c.id, c.project_id).where(c.org_id == org_id, c.ended_at > unit.now - _RECENT)
        return [(row.id, row.project_id) for row in unit.execute(wanted)]

    rows = as_system(context, org_id, ended, read_only=True)
    missing = [id_ for id_, project_id in rows if not path_of(home, org_id, project_id, id_).exists()]
    for id_ in missing:
        write(context, org_id, [id_])
    leftovers.sweep(context, org_id)
    if shares(context):
        for found in left_behind(context, org_id, (utcnow() - _RECENT).timestamp()):
            put_away(context, org_id, found)
    return len(missing)


def document_of(found: Whole) -> dict[str, Any]:
    """A run as its file holds it: the words of the contract, what it kept, its events, every column to put it back."""
    run, rows = found.run, found.steps
    shown = summary(run).model_dump(mode="json")
    kept = [item.model_dump(mode="json") for item in reversed(found.artifacts) if item.gone_at is None]
    return {
        **shown, "format": FORMAT, "params": run.params, "input_fingerprint": run.input_fingerprint,
        "steps": [as_step(row).model_dump(mode="json") for row in rows], "provenance": provenance_of(run),
        "artifacts": kept,
        "events": [
            {"seq": r.seq, "at": rfc3339(r.at), "type": r.type, "payload": r.payload} for r in found.events
        ],
        "rows": {"run": _plain(as_dict(run)), "steps": [_plain(as_dict(row)) for row in rows]},
    }  # fmt: skip


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: v.isoformat() if isinstance(v, datetime) else v for name, v in values.items()}


# ---------------------------------------------------------------- putting rows back


def lost(unit: Unit) -> list[Path]:
    """Files of this organisation's runs that have no row."""
    folder = unit.settings.home_dir / PROJECTS / unit.org_id
    files = {path.stem: path for path in folder.glob("*/runs/run_*.json")}
    there: set[str] = set()
    ids = sorted(files)
    for at in range(0, len(ids), _INSERTED):
        wanted = sa.select(runs.c.id).where(runs.c.id.in_(ids[at : at + _INSERTED]))
        there.update(unit.execute(wanted).scalars())
    return [files[id_] for id_ in ids if id_ not in there]


def missing(unit: Unit) -> list[str]:
    """Ids of runs of all organisations that have a file and no row."""
    found: list[str] = []
    for org_id in unit.get(Database).organisations("settle"):
        found += as_system(unit.context, org_id, lambda own: [p.stem for p in lost(own)], read_only=True)
    return found


def rebuild(context: Context) -> list[str]:
    """Put back the rows of runs that have a file alone; returns the ids of those that could not be, with the reason."""
    failed: list[str] = []
    for org_id in context.get(Database).organisations("settle"):
        for path in as_system(context, org_id, lost, read_only=True):
            try:
                as_system(context, org_id, lambda unit, at=path: _put_back(unit, at))
            except (Problem, OSError, ValueError, KeyError, IntegrityError) as error:
                log.warning("%s could not be put back: %s", path.stem, type(error).__name__)
                failed.append(
                    f"{path.stem} ({error.detail if isinstance(error, Problem) else type(error).__name__})"
                )
    return failed


def _put_back(unit: Unit, path: Path) -> None:
    document = cast("dict[str, Any]", json.loads(path.read_bytes()))
    rows = document["rows"]
    run = _typed(runs, rows["run"])
    if document["format"] != FORMAT or run["id"] != path.stem or run["org_id"] != unit.org_id:
        raise ValueError("this is not the file of this run")
    _hold_against_the_ledger(unit, run)
    unit.execute(sa.insert(runs).values(**run))
    for part in _parts([_typed(steps, row) for row in rows["steps"]]):
        unit.execute(sa.insert(steps).values(part))
    own = {"org_id": unit.org_id, "run_id": run["id"]}
    known = set(unit.execute(sa.select(run_events.c.seq).where(run_events.c.run_id == run["id"])).scalars())
    told = [{**own, **event, "at": datetime.fromisoformat(event["at"])} for event in document["events"]]
    for part in _parts([event for event in told if event["seq"] not in known]):
        unit.execute(sa.insert(run_events).values(part))


def _hold_against_the_ledger(unit: Unit, run: dict[str, Any]) -> None:
    """Anybody may have written the file; nobody the ledger. Raises `conflict`."""
    begun = ledger.lines_about(unit, run["id"], type_="run.started", limit=1)
    over = ledger.lines_about(unit, run["id"], type_="run.ended", limit=1)
    said: dict[str, Any] = begun[0]["payload"] if begun else {}
    same = (
        said.get("definition") == run["definition_digest"]
        and said.get("fingerprint") == run["input_fingerprint"]
    )
    if not same or not over or over[0]["payload"].get("status") != run["status"]:
        raise Problem(
            "conflict",
            "the file says something else than the ledger",
            hint="Restore it from a backup instead.",
        )


def _typed(table: sa.Table, values: dict[str, Any]) -> dict[str, Any]:
    """Columns of today's table; one that a newer version has added gets its default."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        column = table.c.get(name)
        if column is None:
            continue
        is_time = isinstance(column.type, sa.DateTime) and isinstance(value, str)
        found[name] = sa.null() if value is None else datetime.fromisoformat(value) if is_time else value
    return found


def _parts(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for at in range(0, len(rows), _INSERTED):
        yield rows[at : at + _INSERTED]
