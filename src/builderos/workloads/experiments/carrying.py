"""What goes on beside the command of a run that was submitted: its parameters and data are laid into its folder, what
it writes down there is logged while it runs, and what it leaves is kept.

The command needs no network and no credential for it. Whatever lies in its folder was written by a stranger.
"""

import asyncio
import functools
import json
import logging
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from builderos.assets.artifacts import service as kept
from builderos.client import lines as sdk
from builderos.core import folders
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.steps import Companion, Companions, Company, Work
from builderos.core.unit import Unit, perform
from builderos.engine.durable import Durable
from builderos.execution.compute import service as compute
from builderos.execution.runs import service as execution
from builderos.workloads.datasets import service as datasets
from builderos.workloads.lineage import service as lineage

from . import files, runs
from .early import Judge
from .limits import MAX_TAG
from .logging import log as log_points
from .model import runs as rows
from .reach import milliseconds
from .submitting import ACTION, as_text, batches, of_step
from .tailing import Tail

log = logging.getLogger("builderos.experiments")
ROOM: Final = ".builderos-run"
LOOK_S: Final = 0.5
MOST_FILES: Final = 1000
TOLD: Final = 200
_TRIES: Final = 20
_PAUSE_S: Final = 0.25
_PASSING: Final = frozenset({"unavailable", "busy"})
_ENV: Final = {
    sdk.FILE: "log.jsonl", sdk.ARTIFACTS: "artifacts", sdk.PARAMS: "params.json", sdk.DATA: "data",
}  # fmt: skip
_STATUS: Final = {
    "succeeded": "finished", "cached": "finished", "cancelled": "killed", "skipped": "killed",
}  # fmt: skip


def builtin(companions: Companions) -> None:
    """Enrol it."""
    companions.enrol(ACTION, Companion(attend, ended))


def attend(context: Context, work: Work, folder: Path) -> Company:
    """See `Companion`."""
    return _Run(context, work, folder)


def ended(unit: Unit, step: Any, status: str) -> list[tuple[str, str, dict[str, Any]]]:
    """A step is over, so is its run; with the last one, the search that they are parts of."""
    c = rows.c
    mine = sa.and_(c.run_id == step.run_id, c.status.in_(("scheduled", "running")))
    said = _STATUS.get(status, "failed")
    now = milliseconds(unit)
    change = sa.update(rows).where(mine, c.step == step.name).values(status=said, ended_at=now)
    over = [(id_, said) for id_ in unit.execute(change.returning(c.id)).scalars()]
    parent = sa.select(c.id).where(mine, c.step.is_(None), c.sweep.is_not(None))
    found = unit.execute(parent.limit(1)).scalar_one_or_none()
    if found is None or unit.execute(sa.select(c.id).where(mine, c.step.is_not(None)).limit(1)).first():
        return [_line(unit, *one) for one in over]
    wanted = sa.select(c.status).where(c.run_id == step.run_id, c.step.is_not(None)).distinct()
    ends = set(unit.execute(wanted).scalars())
    whole = "finished" if "finished" in ends else "failed" if "failed" in ends else "killed"
    unit.execute(sa.update(rows).where(c.id == found).values(status=whole, ended_at=now))
    return [_line(unit, *one) for one in [*over, (str(found), whole)]]


def _line(unit: Unit, run_id: str, status: str) -> tuple[str, str, dict[str, Any]]:
    return "experiment_run.ended", run_id, {"status": status, **runs.counts_of(unit, run_id)}


class _Run:
    """See `Company`: one attempt."""

    def __init__(self, context: Context, work: Work, folder: Path) -> None:
        self._context = context
        self._work = work
        self._folder = folder
        self._id = ""
        self._judge: Judge | None = None
        self._tail: Tail | None = None

    @property
    def prefix(self) -> str:
        """See `Company`."""
        return f". ./{ROOM}/env; "

    # ---------------------------------------------------------------- before

    def begin(self) -> None:
        """See `Company`."""
        row, data, handles = self._perform(self._begun)
        self._id = row.id
        self._judge = Judge(row.id, row.run_id, data[1]) if data[1] else None
        self._tail = Tail(self._folder, f"{ROOM}/log.jsonl")
        room = self._folder / ROOM
        folders.remove(room)
        for name in ("data", "artifacts", "python/builderos"):
            (room / name).mkdir(parents=True)
        (room / "python/builderos/__init__.py").write_bytes(Path(sdk.__file__).read_bytes())
        (room / "params.json").write_text(json.dumps(row.params), encoding="utf-8")
        (room / "env").write_text(_environment(row.params), encoding="utf-8")
        for path, size, handle in handles:
            target = room / "data" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                for piece in handle.read(0, size):
                    out.write(piece)

    def _begun(
        self, unit: Unit
    ) -> tuple[runs.Row, tuple[Any, Mapping[str, Any] | None], list[tuple[str, int, Any]]]:
        row = of_step(unit, self._work.run_id, self._work.name)
        if row is None:
            row = again(unit, self._work)
        if row.status == "killed":
            raise Problem(
                "illegal_transition", "this run was cancelled before it began", hint="Submit it again."
            )
        c = rows.c
        values = {"status": "running", "ended_at": None}
        unit.execute(sa.update(rows).where(c.id == row.id).values(**values))
        parent = unit.execute(
            sa.select(c.id, c.sweep).where(c.run_id == row.run_id, c.step.is_(None), c.sweep.is_not(None))
        ).one_or_none()
        if parent is not None:
            unit.execute(
                sa.update(rows).where(c.id == parent.id, c.status == "scheduled").values(status="running")
            )
        data = datasets.use(
            unit, str(self._work.node.inputs["dataset"]), lineage.Node("experiment_run", row.id, row.name)
        )
        handles = [
            (file.path, file.size, kept.reading.handle_of(unit, file.artifact_id)) for file in data.files
        ]
        told = {"experiment_run": row.id, "step": self._work.name, "dataset": data.ref}
        execution.events.add(unit, self._work.run_id, "experiment.started", told)
        return row, (data, parent.sweep if parent is not None else None), handles

    # ---------------------------------------------------------------- meanwhile

    async def beside(self) -> Mapping[str, Any]:
        """See `Company`."""
        durable = self._context.get(Durable)
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                why = await durable.unit(self._look)
            except Problem as problem:
                if problem.code not in _PASSING:
                    raise
                await durable.assured()
                continue
            if why:
                return {"stopped": why}

    def _look(self) -> str:
        """Log what is new; why the command is to be ended, where it is."""
        news = self._follow()
        return self._perform(functools.partial(self._verdict, news))

    def _verdict(self, news: bool, unit: Unit) -> str:
        status = unit.execute(sa.select(rows.c.status).where(rows.c.id == self._id)).scalar_one()
        if status == "killed":
            return "cancelled"
        if self._judge is None or not news:
            return ""
        why = self._judge.verdict(unit)
        if why:
            run = runs.known(unit, self._id)
            tags = {"builderos.stopped_early": why}
            unit.send(
                "ops.log_tags", run.id, run.experiment_id, run.started_at, list(tags), list(tags.values())
            )
            told = {"experiment_run": self._id, "step": self._work.name, "rule": why}
            execution.events.add(unit, self._work.run_id, "experiment.stopped_early", told)
        return why

    def _follow(self) -> bool:
        """Log what the command has written since the last time; whether there was anything."""
        assert self._tail is not None
        found = False
        while (batch := self._tail.next()) is not None:
            self._perform(lambda unit, batch=batch: log_points(
                unit, self._id, metrics=batch.points(milliseconds(unit)), tags=batch.tags, most=False
            ))  # fmt: skip
            for some in batches(batch.params):
                self._params(some)
            self._tail.taken()
            found = True
        return found

    def _params(self, some: Mapping[str, str]) -> None:
        """Parameters, as far as they had no other value before."""
        assert self._tail is not None
        try:
            self._perform(lambda unit: log_points(unit, self._id, params=some))
        except Problem as problem:
            if problem.code != "conflict":
                raise
            if len(some) == 1:
                self._tail.unread += 1
            for key, value in some.items() if len(some) > 1 else ():
                self._params({key: value})

    # ---------------------------------------------------------------- after

    async def after(self) -> None:
        """See `Company`."""
        durable = self._context.get(Durable)
        if self._tail is None:
            return
        await self._patiently(durable, self._follow)
        found = await durable.unit(self._gathered)
        await self._patiently(durable, functools.partial(self._perform, functools.partial(self._keep, found)))
        for name in (ROOM, self._outputs):
            await durable.unit(functools.partial(folders.remove, self._folder / name))

    @property
    def _outputs(self) -> str:
        return str(self._work.node.inputs.get("outputs") or "outputs")

    async def _patiently(self, durable: Durable, work: Callable[[], Any]) -> None:
        for tried in range(_TRIES):
            try:
                await durable.unit(work)
                return
            except Problem as problem:
                if problem.code not in _PASSING or tried == _TRIES - 1:
                    log.warning("%s could not be told all of its run: %s", self._id, problem.detail)
                    return
            await asyncio.sleep(_PAUSE_S)
            await durable.assured()

    def _gathered(self) -> list[tuple[str, kept.Prepared]]:
        """What is to be kept, in the store; nothing refers to it yet."""
        assert self._tail is not None
        found: dict[str, kept.Prepared] = {}
        tops = (f"{ROOM}/artifacts/", f"{self._outputs}/")
        with compute.Beneath(self._folder) as beneath:
            for entry in beneath.walk():
                top = next((top for top in tops if entry.path.startswith(top)), None)
                if top is not None and entry.target is None:
                    self._take(found, beneath, entry.path, entry.path.removeprefix(top))
        return sorted(found.items())

    def _take(self, found: dict[str, kept.Prepared], beneath: compute.Beneath, path: str, name: str) -> None:
        """Put a file into the store, where it may be kept."""
        assert self._tail is not None
        if len(found) >= MOST_FILES:
            self._tail.unread += 1
            return
        try:
            files.check(name)
            with beneath.open(path) as source:
                found[name] = kept.prepare(self._context, self._work.call.actor.org_id, source, path=name)
        except (Problem, OSError) as error:
            log.info("%s of %s is not kept: %s", name, self._id, error)
            self._tail.unread += 1

    def _keep(self, found: list[tuple[str, kept.Prepared]], unit: Unit) -> None:
        assert self._tail is not None
        row = runs.known(unit, self._id)
        node = lineage.Node("experiment_run", row.id, row.name)
        for number, (path, content) in enumerate(found):
            made = files.put(unit, self._id, path, content)
            if number < TOLD and made.artifact_id is not None:
                artifact = lineage.Node("artifact", made.artifact_id, path)
                lineage.record(unit, node, artifact, "made")
        if self._tail.unread:
            count = [str(self._tail.unread)]
            unit.send("ops.log_tags", row.id, row.experiment_id, row.started_at, ["builderos.unread"], count)
        told = {
            "experiment_run": self._id,
            "step": self._work.name,
            "files": len(found),
            "unread": self._tail.unread,
        }
        execution.events.add(unit, self._work.run_id, "experiment.logged", told)

    def _perform(self, verb: Callable[[Unit], Any]) -> Any:
        return perform(self._context, self._work.call, verb)


def again(unit: Unit, work: Work) -> runs.Row:
    """The run of a step that is carried out again by another run: a new one, like the one before."""
    c = rows.c
    old = unit.execute(
        sa.select(rows).where(
            c.experiment_id == str(work.node.inputs["experiment"]), c.step == work.name,
            c.code_sha == work.base_sha,
        ).order_by(c.id.desc()).limit(1)
    ).one_or_none()  # fmt: skip
    if old is None:
        raise Problem("not_found", "no run was submitted for this step", hint="Submit it to its experiment.")
    submitted = runs.Submitted(old.params, old.dataset_ref, old.code_sha, old.runtime, work.run_id, work.name)
    tags = {"builderos.repeats": old.id[:MAX_TAG]}
    made = runs.start(unit, old.experiment_id, name=old.name, given=tags, submitted=submitted)
    texts = {key: as_text(value) for key, value in old.params.items()}
    for some in batches(texts):
        log_points(unit, made.row.id, params=some)
    return made.row


def _environment(params: Mapping[str, Any]) -> str:
    """What the shell is told before the command: its words stand for nothing but themselves."""
    said = [f'export {name}="$PWD/{ROOM}/{file}"' for name, file in _ENV.items()]
    said.append(f'export PYTHONPATH="$PWD/{ROOM}/python${{PYTHONPATH:+:$PYTHONPATH}}"')
    said += [f"export PARAM_{name}={shlex.quote(as_text(value))}" for name, value in params.items()]
    return "\n".join(said) + "\n"
