"""The runs of a project as files, `.builderos/runs/<run>.json` in its state folder: whole, portable, read without us.

A file is written shortly after its run has ended, behind the calls, so that no run waits for it. What a killed process
did not write is written by the schedule. `builderos doctor --rebuild` puts rows back from these files that the
database has lost; only runs that the ledger knows, and as the ledger knows them.
"""

import json
import logging
import queue
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from builderos.assets.artifacts import service as artifacts
from builderos.assets.artifacts.schema import ListIn
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
from .logs_find import Attempt, left_behind, put_away, shares
from .model import runs, steps
from .reading import as_step, provenance_of, summary

log = logging.getLogger("builderos.runs")
FORMAT: Final = 1
_WAITING: Final = 10_000
_PATIENCE_S: Final = 10.0
_RECENT: Final = timedelta(days=3)
_INSERTED: Final = 500


class LocalFiles:
    """Writes the files of runs that have ended and puts their logs away, in a thread that nobody waits for."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: queue.Queue[tuple[str, str | Attempt] | None] = queue.Queue(_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def note(self, unit: Unit, run_id: str) -> None:
        """This run is over once the unit is durable."""
        org_id = unit.org_id
        unit.after_commit(lambda: self.put(org_id, run_id))

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

    def put(self, org_id: str, what: str | Attempt) -> None:
        """A run or a log to be written. What cannot be taken is found by the schedule."""
        with self._lock:
            if self._closed:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._main, name="run-files", daemon=True)
                self._thread.start()
        try:
            self._waiting.put_nowait((org_id, what))
        except queue.Full:
            log.warning("files of runs are written later: too many end at once")

    def _wind_up(self, org_id: str, run_id: str) -> None:
        try:
            write(self._context, org_id, [run_id])
        finally:
            leftovers.clear(self._context, org_id, run_id)

    def _main(self) -> None:
        while (item := self._waiting.get()) is not None:
            org_id, what = item
            try:
                if isinstance(what, str):
                    self._wind_up(org_id, what)
                else:
                    put_away(self._context, org_id, what)
            except (Problem, OSError) as error:
                log.warning("files of runs are written later: %s", error)
            except Exception:  # the next one may well go
                log.exception("the file of a run could not be written")


def write(context: Context, org_id: str, run_ids: Iterable[str]) -> None:
    """Write the files of these runs, whatever lies there. Raises `OSError`, `unavailable`."""
    home = context.get(Settings).home_dir
    for run_id in run_ids:
        receipts.write(context, org_id, run_id)
        document = as_system(context, org_id, lambda unit, id_=run_id: document_of(unit, id_), read_only=True)
        if document is not None:
            local_artifacts.write(context, org_id, document["project_id"], run_id, document["artifacts"])
            _replace(path_of(home, org_id, document["project_id"], run_id), document)


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
    write(context, org_id, missing)
    leftovers.sweep(context, org_id)
    if shares(context):
        for found in left_behind(context, org_id, (utcnow() - _RECENT).timestamp()):
            put_away(context, org_id, found)
    return len(missing)


def document_of(unit: Unit, run_id: str) -> dict[str, Any] | None:
    """A run as its file holds it: the words of the contract, what it kept, its events, every column to put it back."""
    run = unit.execute(sa.select(runs).where(runs.c.id == run_id)).one_or_none()
    if run is None:
        return None
    rows = unit.execute(sa.select(steps).where(steps.c.run_id == run_id).order_by(steps.c.position)).all()
    e = run_events.c
    told = unit.execute(sa.select(e.seq, e.at, e.type, e.payload).where(e.run_id == run_id).order_by(e.seq))
    shown = summary(run).model_dump(mode="json")
    return {
        **shown, "format": FORMAT, "params": run.params, "input_fingerprint": run.input_fingerprint,
        "steps": [as_step(row).model_dump(mode="json") for row in rows], "provenance": provenance_of(run),
        "artifacts": _artifacts(unit, run_id),
        "events": [{"seq": r.seq, "at": rfc3339(r.at), "type": r.type, "payload": r.payload} for r in told],
        "rows": {"run": _plain(as_dict(run)), "steps": [_plain(as_dict(row)) for row in rows]},
    }  # fmt: skip


def _artifacts(unit: Unit, run_id: str) -> list[dict[str, Any]]:
    """What the run kept, by name and hash; the content lies in the artifact store."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = artifacts.reading.listed(unit, ListIn(run_id=run_id, limit=200, cursor=cursor))
        found += [item.model_dump(mode="json") for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: v.isoformat() if isinstance(v, datetime) else v for name, v in values.items()}


def _replace(path: Path, document: dict[str, Any]) -> None:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    replace_text(path, text + "\n")


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
