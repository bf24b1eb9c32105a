"""One deployment while it runs: its files are laid out, its process answers in the sandbox, until somebody ends it."""

import asyncio
import contextlib
import functools
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from builderos.assets.artifacts import service as artifacts
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Call, Unit, as_system
from builderos.execution.compute import service as compute
from builderos.execution.runs import service as runs
from builderos.trust.identity import service as identity
from builderos.workloads.models import service as registry

from . import rows, scoring
from .schema import moved

T = TypeVar("T")
log = logging.getLogger("builderos.endpoints")
PORT: Final = 8080
READY_S: Final = 120.0
DRIFT_S: Final = 30.0
FAILED: Final = "model: "  # begins the line that says why a model could not be loaded
_TAIL: Final = 8192
_AGAIN: Final = 3


class Tail:
    """The end of what a process prints."""

    def __init__(self) -> None:
        self._held = b""

    def write(self, data: bytes) -> None:
        """See `LogSink`."""
        self._held = (self._held + data)[-_TAIL:]

    def why(self) -> str:
        """What it said of a model that could not be loaded; else its last line."""
        lines = [line for line in self._held.decode("utf-8", "replace").splitlines() if line.strip()]
        told = [line.removeprefix(FAILED) for line in lines if line.startswith(FAILED)]
        return (told or lines or [""])[-1][:1000]


class Life:
    """A deployment from its start to its end, on the loop of its keeper."""

    def __init__(self, context: Context, org_id: str, id_: str, share: int) -> None:
        self.org_id = org_id
        self.id = id_
        self.door: Path | None = None
        self._context = context
        self._share = share
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """End it."""
        self._stop.set()

    async def live(self) -> None:
        """Start its process, again where it crashed; never raises."""
        try:
            why = None
            for _ in range(_AGAIN):
                why = await self._once()
                if why is None:
                    return
                ready = await self._unit(lambda unit: rows.deployment(unit, self.id).ready_at is not None)
                if not ready:
                    break
            await self._unit(lambda unit: rows.failed(unit, self.id, why or "it ended"))
        except Problem as problem:
            told = problem.told
            with contextlib.suppress(Problem):
                await self._unit(lambda unit: rows.failed(unit, self.id, told))
        except Exception as error:
            log.exception("the deployment %s failed", self.id)
            told = f"{type(error).__name__}: {error}"[:500]
            await self._unit(lambda unit: rows.failed(unit, self.id, told))
        finally:
            self.door = None
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _once(self) -> str | None:
        """One start of its process. None: somebody ended it; else why it ended."""
        order = await self._unit(self._order)
        if order is None:
            return None
        await asyncio.to_thread(self._lay_out)
        tail = Tail()
        work = asyncio.create_task(compute.execute(self._context, order, tail))
        watch = asyncio.create_task(self._watch(order.name))
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({work, watch, stop}, return_when=asyncio.FIRST_COMPLETED)
            ended = work.done()
            self.door = None
            if not ended:
                while not work.done() and not await asyncio.to_thread(compute.end, self._context, order.name):
                    await asyncio.wait({work}, timeout=0.1)
            outcome = await work
            if stop.done():
                return None
            if not ended:
                return f"it did not answer within {READY_S:g} s: {tail.why()}"
            return tail.why() or outcome.detail or f"its process ended with exit code {outcome.exit_code}"
        finally:
            for task in (work, watch, stop):
                task.cancel()
            await asyncio.gather(work, watch, stop, return_exceptions=True)

    @property
    def _folder(self) -> Path:
        return self._context.get(Settings).home_dir / "executions" / "endpoints" / self.id

    def _order(self, unit: Unit) -> compute.Order | None:
        one = rows.deployment(unit, self.id, lock=True)
        row = rows.find(unit, one.endpoint_id)
        if one.status not in rows.LIVE or row.state != "active":
            return None
        rows.change_deployment(unit, self.id, status="starting", starts=one.starts + 1)
        model, version = registry.by_id(unit, one.version_id)
        actor = runs.actor_of(one.actor)
        if actor.credential_id is not None and identity.still(unit, actor) is None:
            raise Problem(
                "token_invalid", "whoever made this deployment may act no more", hint="Deploy it again."
            )
        call = Call(actor=actor, presented="valid", request_id=self.id, tool="endpoint", door="endpoint")
        place = compute.WORKSPACE
        return compute.Order(
            call=call, run_id=self.id, step_id="score", attempt=one.starts + 1, workspace=str(self._folder),
            argv=("python3", "-m", "scoring", f"{place}/model", str(PORT), model.name, str(version.number)),
            runtime=row.runtime, profile=row.profile, serves=PORT,
        )  # fmt: skip

    def _lay_out(self) -> None:
        """The files of the model, verified, and the program beside them."""
        folder = self._folder
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "model").mkdir(parents=True)
        for path, handle in as_system(self._context, self.org_id, self._files, read_only=True):
            target = folder / "model" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                for chunk in handle.read(0, handle.what.size):
                    file.write(chunk)
        program = Path(scoring.__file__).parent
        shutil.copytree(program, folder / "scoring", ignore=shutil.ignore_patterns("__pycache__"))

    def _files(self, unit: Unit) -> list[tuple[str, Any]]:
        _, version = registry.by_id(unit, rows.deployment(unit, self.id).version_id)
        return [
            (file["path"], artifacts.reading.handle_of(unit, file["artifact_id"])) for file in version.files
        ]

    async def _watch(self, name: str) -> None:
        """Until its process answers; then it does so for as long as it likes. Returns where it does not in time."""
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
                    self.door = door
                    await self._unit(functools.partial(rows.ready, id_=self.id, share=self._share))
                    await self._look_after(door)
                    return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    async def _look_after(self, door: Path) -> None:
        """Until somebody ends it: keep what its process tells of the rows that come."""
        from builderos.execution.serving.service import SILENT, Inside

        before: list[dict[str, Any]] | None = None
        inside = Inside.at(door)
        try:
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), DRIFT_S)
                    return
                try:
                    status, told = await inside.ask("/drift", 5.0, {})
                except SILENT:
                    continue
                found = moved(told) if status == 200 else None
                if found and found != before:
                    before = found
                    await self._unit(functools.partial(rows.drifted, id_=self.id, drift=found))
        finally:
            await inside.close()

    async def _unit(self, verb: Callable[[Unit], T]) -> T:
        return await asyncio.to_thread(as_system, self._context, self.org_id, verb)
