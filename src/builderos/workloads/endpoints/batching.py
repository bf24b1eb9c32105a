"""What goes on beside the command of a scoring job: model and table are laid into its folder, each chunk that it has
scored is kept, the whole becomes an artifact.

Chunks that are kept outlive the command, its machine's restart and a cancelled run: the next attempt goes on behind
them. Whatever lies in the command's folder was written by a stranger.
"""

import asyncio
import contextlib
import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

import sqlalchemy as sa

from builderos.assets.artifacts import service as artifacts
from builderos.core import folders
from builderos.core.clock import utcnow
from builderos.core.context import Context
from builderos.core.home import project_state
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.steps import Companion, Companions, Company, Work
from builderos.core.unit import Unit, perform
from builderos.engine.durable import Durable
from builderos.execution.compute import service as compute
from builderos.execution.runs import service as runs
from builderos.trust.audit import service as audit
from builderos.workloads.datasets import service as datasets
from builderos.workloads.datasets.schema import RegisterIn
from builderos.workloads.lineage import service as lineage
from builderos.workloads.models import service as registry

from . import scoring
from .batch import ACTION, ROOM
from .model import scoring_jobs

LOOK_S: Final = 0.25
MAX_CHUNK: Final = 256 * 1024 * 1024
KEPT_S: Final = 7 * 86400.0
_MAX_NOTE: Final = 64 * 1024
_PIECE: Final = 1 << 20
_FOLDER: Final = "scoring"
_PASSING: Final = frozenset({"unavailable", "busy"})
_ENDS: Final = {
    "succeeded": "finished",
    "cached": "finished",
    "cancelled": "cancelled",
    "skipped": "cancelled",
}


def builtin(companions: Companions) -> None:
    """Enrol it."""
    companions.enrol(ACTION, Companion(attend, ended))


def attend(context: Context, work: Work, folder: Path) -> Company:
    """See `Companion`."""
    return _Scoring(context, work, folder)


def ended(unit: Unit, step: Any, status: str) -> list[tuple[str, str, dict[str, Any]]]:
    """A step is over, so is its job."""
    c = scoring_jobs.c
    mine = sa.select(scoring_jobs).where(c.run_id == step.run_id, c.status.in_(("scheduled", "running")))
    row = unit.execute(mine.with_for_update()).one_or_none()
    if row is None:
        return []
    said = _ENDS.get(status, "failed")
    if said == "finished" and row.artifact_id is None:
        said = "failed"
    error = row.error
    if said == "failed" and error is None:
        error = {
            "message": (step.error or "its command came to no good end")[:2000],
            "row": None,
            "column": None,
        }
    values = {"status": said, "ended_at": unit.now, "error": error}
    unit.execute(sa.update(scoring_jobs).where(c.id == row.id).values(**values))
    told = {"status": said, "model": row.model, "dataset": row.dataset, "rows": row.rows_done}
    return [("scoring.ended", str(row.id), told)]


class _Scoring:
    """See `Company`: one attempt."""

    def __init__(self, context: Context, work: Work, folder: Path) -> None:
        self._context = context
        self._work = work
        self._folder = folder
        self._id = str(work.node.inputs["job"])
        state = project_state(context.get(Settings).home_dir, work.call.actor.org_id, work.project_id)
        self._kept = state / _FOLDER / self._id
        self._chunks = 0
        self._size = 0
        self._begun = False
        self._over = False

    @property
    def prefix(self) -> str:
        """See `Company`."""
        return ""

    # ---------------------------------------------------------------- before

    def begin(self) -> None:
        """See `Company`."""
        row, model, (path, size, table) = self._perform(self._started)
        self._kept.mkdir(parents=True, exist_ok=True)
        _forget_old(self._kept.parent)
        while (self._kept / f"{self._chunks + 1:06d}").exists():
            self._chunks += 1
        self._size = int(row.spec["chunk_rows"])
        room = self._folder / ROOM
        folders.remove(room)
        (room / "data").mkdir(parents=True)
        for name, length, handle in model:
            _write(room / "model" / name, handle.read(0, length))
        file = f"table{Path(path).suffix.lower()}"
        _write(room / "data" / file, table.read(0, size))
        program = Path(scoring.__file__).parent
        shutil.copytree(program, room / "scoring", ignore=shutil.ignore_patterns("__pycache__"))
        name, _, version = row.model.rpartition("@")
        spec = {**row.spec, "name": name, "version": version, "file": file, "skip": self._chunks}
        (room / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        self._begun = True

    def _started(self, unit: Unit) -> tuple[Any, list[tuple[str, int, Any]], tuple[str, int, Any]]:
        c = scoring_jobs.c
        row = unit.execute(sa.select(scoring_jobs).where(c.id == self._id).with_for_update()).one_or_none()
        if row is None:
            raise Problem("not_found", "there is no such scoring job", hint="Have the dataset scored anew.")
        if row.status == "finished":
            raise Problem("illegal_transition", "this job is finished", hint="Have the dataset scored anew.")
        values: dict[str, Any] = {
            "status": "running", "run_id": self._work.run_id, "error": None, "ended_at": None,
            "started_at": row.started_at or unit.now,
        }  # fmt: skip
        unit.execute(sa.update(scoring_jobs).where(c.id == row.id).values(**values))
        node = self._node(row)
        data = datasets.use(unit, row.dataset_id, node)
        model, version = registry.by_id(unit, row.version_id)
        lineage.record(unit, registry.node_of(model, version), node, "input_of")
        audit.access.note(unit, "model.score", version.id)
        files = [
            (str(file["path"]), int(file["size"]), artifacts.reading.handle_of(unit, file["artifact_id"]))
            for file in version.files
        ]
        table = next(file for file in data.files if file.path == row.file)
        return row, files, (table.path, table.size, artifacts.reading.handle_of(unit, table.artifact_id))

    def _node(self, row: Any) -> lineage.Node:
        return lineage.Node("run", self._work.run_id, f"{row.model} scores {row.dataset}")

    # ---------------------------------------------------------------- meanwhile

    async def beside(self) -> Mapping[str, Any]:
        """See `Company`: it never has seen enough, the command ends by itself once all of it was taken."""
        durable = self._context.get(Durable)
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                if not self._over and await durable.unit(self._take):
                    await durable.unit(self._finish)
                    self._over = True
            except Problem as problem:
                if problem.code not in _PASSING:
                    raise
                await durable.assured()

    def _take(self) -> bool:
        """Keep the chunks that are new; whether that was the last."""
        before, done = self._chunks, self._note("done.json")  # first: what it counts is there
        with compute.Beneath(self._folder) as beneath:
            while self._copied(beneath, self._chunks + 1):
                self._chunks += 1
        counted = done.get("chunks") if done is not None else None
        over = counted == self._chunks
        if self._chunks != before or over:
            rows = done.get("rows") if over and done is not None else None
            whole = rows if isinstance(rows, int) and 0 <= rows <= self._chunks * self._size else None
            self._perform(lambda unit: self._change(
                unit, chunks_done=self._chunks, rows_done=self._chunks * self._size if whole is None else whole
            ))  # fmt: skip
        return over

    def _copied(self, beneath: compute.Beneath, number: int) -> bool:
        """Copy a chunk to where it outlives the command; whether it was there."""
        part = self._kept / f".{number:06d}"
        try:
            source = beneath.open(f"{ROOM}/out/{number:06d}")
        except OSError:
            return False
        with source, part.open("wb") as target:
            size = 0
            while piece := source.read(_PIECE):
                size += len(piece)
                if size > MAX_CHUNK:
                    raise Problem(
                        "payload_too_large", f"the answers of chunk {number} have more than {MAX_CHUNK} bytes",
                        hint="Take fewer rows at a time.", limit=MAX_CHUNK, used=size,
                    )  # fmt: skip
                target.write(piece)
            target.flush()
            os.fsync(target.fileno())
        part.rename(self._kept / f"{number:06d}")
        return True

    def _finish(self) -> None:
        """All chunks become one artifact; then the command may end."""
        row = self._perform(
            lambda unit: unit.execute(sa.select(scoring_jobs).where(scoring_jobs.c.id == self._id)).one()
        )
        if row.artifact_id is None:
            path = f"scores/{self._id}.{row.spec['format']}"
            content = artifacts.prepare(self._context, self._work.call.actor.org_id, self._all(), path=path)
            self._perform(functools.partial(self._keep, row, path, content))
        room = os.open(self._folder / ROOM, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with contextlib.suppress(FileExistsError):
                os.close(os.open("taken", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, dir_fd=room))
        finally:
            os.close(room)

    def _all(self) -> Iterator[bytes]:
        for number in range(1, self._chunks + 1):
            with (self._kept / f"{number:06d}").open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece

    def _keep(self, row: Any, path: str, content: artifacts.Prepared, unit: Unit) -> None:
        facts = runs.facts_of(unit, self._work.run_id)
        known: dict[str, Any] = {"facts": facts} if facts is not None else {}
        made = artifacts.keep(unit, content, path=path, run_id=self._work.run_id, type_="scores", **known)
        lineage.record(unit, self._node(row), lineage.Node("artifact", made.id, path), "made")
        result = None
        if row.spec["register_as"]:
            said = f"{row.model} on {row.dataset}"
            body = RegisterIn(name=row.spec["register_as"], artifacts=[made.id], description=said)
            result = datasets.register(unit, body).body.ref
        self._change(unit, artifact_id=made.id, result=result)

    def _change(self, unit: Unit, **values: Any) -> None:
        unit.execute(sa.update(scoring_jobs).where(scoring_jobs.c.id == self._id).values(**values))

    # ---------------------------------------------------------------- after

    async def after(self) -> None:
        """See `Company`."""
        durable = self._context.get(Durable)
        if not self._begun:
            return
        with contextlib.suppress(Problem):  # what was not taken is scored again
            if not self._over:
                await durable.unit(self._take)
            fault = await durable.unit(functools.partial(self._note, "fault.json"))
            if fault is not None:
                said = _error(fault)
                await durable.unit(
                    functools.partial(self._perform, lambda unit: self._change(unit, error=said))
                )
        if self._over:
            await durable.unit(functools.partial(folders.remove, self._kept))
        await durable.unit(functools.partial(folders.remove, self._folder / ROOM))

    def _note(self, name: str) -> dict[str, Any] | None:
        """What the program says in a file; None where it says nothing that can be read."""
        try:
            with compute.Beneath(self._folder) as beneath:
                found: Any = json.loads(beneath.read(f"{ROOM}/{name}", _MAX_NOTE))
        except (OSError, ValueError, RecursionError):
            return None
        return cast("dict[str, Any]", found) if isinstance(found, dict) else None

    def _perform(self, verb: Callable[[Unit], Any]) -> Any:
        return perform(self._context, self._work.call, verb)


def _forget_old(folder: Path) -> None:
    """Forget chunks of jobs that nobody went on with."""
    before = utcnow().timestamp() - KEPT_S
    for job in folder.iterdir():
        if job.stat().st_mtime < before:
            folders.remove(job)


def _write(path: Path, chunks: Iterator[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)


def _error(fault: Mapping[str, Any]) -> dict[str, Any]:
    """What a stranger's program says went wrong, as far as it has the form."""
    row, column = fault.get("row"), fault.get("column")
    whole = isinstance(row, int) and not isinstance(row, bool) and 0 < row < 2**53
    return {
        "message": str(fault.get("message"))[:2000].encode("utf-8", "replace").decode(),
        "row": row if whole else None,
        "column": str(column)[:500].encode("utf-8", "replace").decode() if column is not None else None,
    }
