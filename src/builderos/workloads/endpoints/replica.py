"""One process of a deployment: its files are laid out, it answers in the sandbox, until it ends or is not needed."""

import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import Any, Final

from builderos.assets.artifacts import service as artifacts
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Call, Unit, as_system
from builderos.execution.compute import service as compute
from builderos.execution.runs import service as runs
from builderos.trust.identity import service as identity
from builderos.trust.vault import service as vault
from builderos.workloads.models import service as registry

from . import rows, scoring

PORT: Final = 8080
READY_S: Final = 120.0
FAILED: Final = "model: "  # begins the line that says why a model could not be loaded
_DRAIN_S: Final = 60.0
_DRAINING_S: Final = 0.05


def _why(log: runs.Sink) -> str:
    """What a process said of a model that could not be loaded; else its last line."""
    lines = log.last_lines()
    told = [line.removeprefix(FAILED) for line in lines if line.startswith(FAILED)]
    return (told or lines or [""])[-1][:1000]


class Replica:
    """Lives on the loop of its keeper. `inside`: calls that it has been given, counted on the loop of the door."""

    def __init__(self, context: Context, org_id: str, deployment_id: str, *, first: bool) -> None:
        """`first`: nothing else answers for its deployment; its row says then that it starts."""
        self.door: Path | None = None
        self.inside = 0
        self.leaving = False
        self.answers = asyncio.Event()
        self._context = context
        self._org_id = org_id
        self._id = deployment_id
        self._first = first
        self._stop = asyncio.Event()
        self._number = 0

    def stop(self) -> None:
        """End it."""
        self.door = None
        self.leaving = True
        self._stop.set()

    async def drain(self) -> None:
        """End it once what it was given is answered, or a minute later."""
        self.door = None
        self.leaving = True
        for _ in range(int(_DRAIN_S / _DRAINING_S)):
            await asyncio.sleep(_DRAINING_S)  # first: somebody may be about to enter
            if self.inside <= 0 or self._stop.is_set():
                break
        self.stop()

    async def live(self) -> str | None:
        """From its start to its end. None: it was to end; else why it did. Raises what keeps it from starting."""
        order = await asyncio.to_thread(as_system, self._context, self._org_id, self._order)
        if order is None:
            return None
        try:
            return await self._run(order)
        finally:
            self.door = None
            await asyncio.to_thread(shutil.rmtree, order.workspace, ignore_errors=True)

    async def _run(self, order: compute.Order) -> str | None:
        sink = await asyncio.to_thread(self._laid_out, Path(order.workspace))
        work = asyncio.create_task(compute.execute(self._context, order, sink))
        watch = asyncio.create_task(self._watch(order.name))
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({work, watch, stop}, return_when=asyncio.FIRST_COMPLETED)
            if watch.done() and not work.done() and self.answers.is_set():
                await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            ended, self.door = work.done(), None
            if not ended:
                while not work.done() and not await asyncio.to_thread(compute.end, self._context, order.name):
                    await asyncio.wait({work}, timeout=0.1)
            outcome = await work
            await asyncio.to_thread(sink.close)
            if stop.done():
                return None
            if not ended:
                return f"it did not answer within {READY_S:g} s: {_why(sink)}"
            return _why(sink) or outcome.detail or f"its process ended with exit code {outcome.exit_code}"
        finally:
            for task in (work, watch, stop):
                task.cancel()
            await asyncio.gather(work, watch, stop, return_exceptions=True)
            await asyncio.to_thread(sink.close)

    def _order(self, unit: Unit) -> compute.Order | None:
        one = rows.deployment(unit, self._id, lock=True)
        row = rows.find(unit, one.endpoint_id)
        if one.status not in rows.LIVE or row.state != "active":
            return None
        self._number = one.starts + 1
        status = {"status": "starting"} if self._first else {}
        rows.change_deployment(unit, self._id, starts=self._number, **status)
        model, version = registry.by_id(unit, one.version_id)
        actor = runs.actor_of(one.actor)
        if actor.credential_id is not None and identity.still(unit, actor) is None:
            raise Problem(
                "token_invalid", "whoever made this deployment may act no more", hint="Deploy it again."
            )
        call = Call(actor=actor, presented="valid", request_id=self._id, tool="endpoint", door="endpoint")
        folder = unit.get(Settings).home_dir / "executions" / "endpoints" / self._id / str(self._number)
        place = compute.WORKSPACE
        return compute.Order(
            call=call, run_id=self._id, step_id="score", attempt=self._number, workspace=str(folder),
            argv=("python3", "-m", "scoring", f"{place}/model", str(PORT), model.name, str(version.number)),
            runtime=row.runtime, profile=row.profile, serves=PORT,
            budget_repo_id=registry.project_of(unit, version),
        )  # fmt: skip

    def _laid_out(self, folder: Path) -> runs.Sink:
        """The files of the model, verified, and the program beside them; the log that this start has."""
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "model").mkdir(parents=True)
        for path, handle in as_system(self._context, self._org_id, self._files, read_only=True):
            target = folder / "model" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                for chunk in handle.read(0, handle.what.size):
                    file.write(chunk)
        program = Path(scoring.__file__).parent
        shutil.copytree(program, folder / "scoring", ignore=shutil.ignore_patterns("__pycache__"))
        return as_system(self._context, self._org_id, self._sink, read_only=True)

    def _sink(self, unit: Unit) -> runs.Sink:
        rows.forget_logs(unit, self._id, self._number)
        return runs.Sink(rows.log_of(unit, self._id, self._number), unit.get(vault.Known).of(unit))

    def _files(self, unit: Unit) -> list[tuple[str, Any]]:
        _, version = registry.by_id(unit, rows.deployment(unit, self._id).version_id)
        return [
            (file["path"], artifacts.reading.handle_of(unit, file["artifact_id"])) for file in version.files
        ]

    async def _watch(self, name: str) -> None:
        """Until its process answers; returns then, or where it does not in time."""
        from builderos.execution.serving.service import SILENT, Inside

        door = await asyncio.to_thread(compute.door_of, self._context, name)
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + READY_S, 0.05
        while loop.time() < until:
            with contextlib.suppress(*SILENT):
                inside = Inside.at(door)
                try:
                    status = await inside.look("/ping", 5.0)
                finally:
                    await inside.close()
                if status == 200:
                    self.door = None if self.leaving else door
                    self.answers.set()
                    return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)
