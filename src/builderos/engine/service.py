"""The one DBOS adapter: schedules, the outbox and durable tasks, on the server's own PostgreSQL (schema `dbos`).

The library keeps one engine per process. It is imported when the engine starts, because that costs half a second
that the first answer of the server must not wait for. What runs here may run again after a crash: every function
that is enrolled must be safe to repeat.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa

from builderos.core.clock import utcnow
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.problems import Problem

from . import outbox
from .durable import Durable
from .forgotten import Forgotten
from .lease import Lease
from .library import attempts, log_like_us, look_often, lost_of, take_over
from .loop import Loop
from .signals import Listener

log = logging.getLogger("builderos.engine")

APPLICATION_VERSION: Final = "engine-1"
"""Unset it would be a hash of our source: after an update, unfinished work of the older version would wait for ever."""

State = Literal["off", "starting", "running", "failed", "stopping", "stopped"]
ForOrg: TypeAlias = Callable[[Context, str], object]
ForServer: TypeAlias = Callable[[Context], object]

_POLL_S: Final = 5.0
_TAKEN_S: Final = 0.5
_THREADS: Final = 32
_SESSIONS: Final = 10
_KEPT: Final = timedelta(days=30)
_PURGED_AT_ONCE: Final = 500
_GRACE_S: Final = 0.1
_UNFINISHED: Final = frozenset({"PENDING", "ENQUEUED", "DELAYED"})


class Stopping(BaseException):
    """The engine is being stopped: leaves the work unrecorded, so that the next process does it.

    Not an `Exception`: those the library would record as the result of the work.
    """


class StepFailed(Exception):
    """What a step was to do failed in all its attempts; the text is the last reason."""


@dataclass(frozen=True)
class _Cron:
    """A scheduled function: `fn(context, org_id)` for every organisation, or `fn(context)` once."""

    name: str
    schedule: str
    fn: Callable[..., object]
    each_org: bool
    catch_up: bool


class Engine:
    """Runs scheduled functions exactly once per tick over all processes, delivers the outbox, carries out tasks."""

    def __init__(self, url: str, context: Context, *, handlers: outbox.Handlers) -> None:
        self._url = sa.make_url(url).set(drivername="postgresql")
        self._context = context
        self._durable = context.get(Durable)
        self._words: dict[str, Callable[[str], None]] = {}
        self._loop: Loop | None = None
        self._listener: Listener | None = None
        self._handlers = handlers
        self._crons: dict[str, _Cron] = {}
        self._feeds: list[ForServer] = []
        self._executor_id = f"boot-{os.urandom(8).hex()}"
        self._state: State = "off"
        self._running = threading.Event()
        self._deliver: Callable[..., None] = self._run_delivery
        self._stopping = threading.Event()
        self._drained = threading.Event()
        self._idle = threading.Condition()
        self._active = 0
        self._lease: Lease | None = None
        self._forgotten = Forgotten(self._executor_id)
        self._thread = threading.Thread(target=self._main, name="engine", daemon=True)
        self.cron("engine-purge", "17 4 * * *", lambda _context: self._purge(), each_org=False)

    @property
    def state(self) -> State:
        """For `/readyz` and the doctor."""
        return self._state

    def cron(
        self, name: str, schedule: str, fn: ForOrg | ForServer, *, each_org: bool = True, catch_up: bool = False
    ) -> None:  # fmt: skip
        """Enrol a function for a cron expression in UTC (six fields: seconds first).

        Each organisation is a durable step of its own: after a crash those that are done are not done again.
        `each_org=False`: `fn(context)`, once for the whole server. `catch_up`: run also at the first start of a day,
        for machines that sleep at night. Raises `ValueError` when the name is taken.
        """
        if name in self._crons:
            raise ValueError(f"the schedule {name!r} is enrolled twice")
        self._crons[name] = _Cron(name, schedule, fn, each_org, catch_up)

    def feed(self, fn: ForServer) -> None:
        """Enrol a function that puts into the outbox what others have left to be passed on.

        Every process calls it when the bell rings and every few seconds: it has to lock what it takes.
        """
        self._feeds.append(fn)

    def word(self, word: str, fn: Callable[[str], None]) -> None:
        """Enrol what happens when any process tells this word (`signals.tell`); `fn(about)` must not block."""
        self._words[word] = fn

    def start(self) -> None:
        """Launch in the background and return at once; a database that does not answer is tried again."""
        self._state = "starting"
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Whether the engine runs within this time."""
        return self._running.wait(timeout_s)

    def stop(self, drain_s: float = 20) -> bool:
        """Let running work end, at most `drain_s`; whether it did. The rest is done by the next process."""
        if self._state == "off":
            return True
        self._state = "stopping"
        self._stopping.set()
        self._context.get(outbox.Bell).ring()
        ended = self._loop is None or self._loop.run(self._durable.close(drain_s))
        with self._idle:
            was_active = self._active
            drained = self._idle.wait_for(lambda: self._active == 0, drain_s)
        if was_active and drained:
            time.sleep(_GRACE_S)  # the library writes down results after our functions have returned
        self._drained.set()
        self._thread.join()
        self._state = "stopped"
        return drained and ended

    @staticmethod
    def trigger(name: str) -> str:
        """Run a scheduled function now; returns the id of its run."""
        from dbos import DBOS

        return DBOS.trigger_schedule(name).get_workflow_id()

    # ---------------------------------------------------------------- the engine's own thread

    def _main(self) -> None:
        pause_s = 0.5
        while not self._stopping.is_set():
            try:
                self._launch()
                break
            except Exception:
                log.exception("the engine could not start; it is tried again")
                self._state = "failed"
                self._destroy()
                self._stopping.wait(pause_s)
                pause_s = min(30.0, pause_s * 2)
        else:
            return
        if not self._stopping.is_set():
            self._state = "running"
            self._running.set()
            self._dispatch()
        self._drained.wait()
        self._destroy()

    def _launch(self) -> None:
        from dbos import DBOS, DBOSPortableJSONSerializer

        # A power loss may forget the engine's last steps, which are then repeated; the outbox is never forgotten.
        options = "-c synchronous_commit=off"
        DBOS(
            config={
                "name": "builderos", "system_database_url": self._rendered(options=options),
                "sys_db_pool_size": _SESSIONS, "application_version": APPLICATION_VERSION,
                "executor_id": self._executor_id, "log_level": "ERROR",
                "serializer": DBOSPortableJSONSerializer(), "max_executor_threads": _THREADS,
                # By default it wakes a hundred times a second for streams and events: 1 % of a core, for nothing.
                "notification_coalesce_sec": 0.1,
            }
        )  # fmt: skip
        log_like_us()
        cron, self._deliver = self._workflows()
        self._durable.declare()
        DBOS.listen_queues(self._durable.served)
        look_often(_TAKEN_S)
        self._lease = Lease(self._rendered(), self._executor_id, None, take_over, regained=self._regained)
        self._durable.assure(lambda: self._lease is not None and self._lease.sure)
        self._loop = Loop()
        self._durable.open(self._loop.loop)  # before the launch, which may bring the first ones along
        self._loop.call(DBOS.launch)  # the library runs what waits on the loop that it is launched from
        self._lease.start()
        self._durable.register_queues()
        self._listener = Listener(self._rendered(), self._hear, self._context.get(outbox.Bell).ring)
        self._listener.start()
        DBOS.apply_schedules(
            [
                {
                    "schedule_name": c.name,
                    "workflow_fn": cron,
                    "schedule": c.schedule,
                    "context": {"name": c.name},
                }
                for c in self._crons.values()
            ]
        )
        for missed in (c for c in self._crons.values() if c.catch_up):
            self._start_once(f"first-{missed.name}-{utcnow().date()}", cron, "", {"name": missed.name})

    def _workflows(self) -> tuple[Callable[[object, dict[str, str]], None], Callable[..., None]]:
        """The two durable functions. Another behaviour gets another version beside this one: runs outlive updates."""
        from dbos import DBOS

        @DBOS.workflow(name="cron@1")
        def cron(_at: object, what: dict[str, str]) -> None:
            self._run_cron(what["name"])

        @DBOS.workflow(name="outbox@1")
        def deliver(org_id: str, message_id: int) -> None:
            self._run_delivery(org_id, message_id)

        return cron, deliver

    def _rendered(self, **query: str) -> str:
        return self._url.update_query_dict(query).render_as_string(hide_password=False)

    def _destroy(self) -> None:
        from dbos import DBOS

        if self._listener is not None:
            self._listener.stop()
        DBOS.destroy(destroy_registry=True)
        if self._loop is not None:
            self._loop.stop()
            self._loop = None
        if self._lease is not None:
            self._lease.stop()

    def _regained(self) -> None:
        """The lease was lost for a while: let go of what others have taken."""
        lost = lost_of(self._durable.running, self._executor_id)
        if lost:
            log.warning("%d tasks were taken over by others", len(lost))
            self._durable.let_go(lost)
        self._forgotten.doubt()
        self._context.get(outbox.Bell).ring()

    def _hear(self, word: str, about: str) -> None:
        if word in self._words:
            self._words[word](about)

    @staticmethod
    def _start_once(workflow_id: str, workflow: Callable[..., None], *args: Any) -> None:
        """Start a run under an id of its own: where any process has started it before, nothing happens."""
        from dbos import DBOS, SetWorkflowID

        with SetWorkflowID(workflow_id):
            DBOS.start_workflow(workflow, *args)

    def _dispatch(self) -> None:
        bell = self._context.get(outbox.Bell)
        while not self._stopping.is_set():
            for feed in self._feeds:
                self._take_from(feed)
            try:
                for item in outbox.due(self._context):
                    self._start_round(item)
                self._forgotten.resume()
            except Exception as error:  # noqa: BLE001  # the database is away: the messages wait in it
                log.warning("the outbox cannot be read: %s", type(error).__name__)
            bell.wait(self._forgotten.pause_s or _POLL_S)

    def _take_from(self, feed: ForServer) -> None:
        """What fails is left where it lies, and keeps nobody else waiting."""
        try:
            feed(self._context)
        except Problem as problem:  # the database is away
            log.warning("nothing could be passed on: %s", problem.code)
        except Exception:
            log.exception("something could not be passed on; it is tried again")

    def _start_round(self, item: outbox.Due) -> None:
        """Start a round unless some process is at it. One that ended and left its message waiting is forgotten."""
        from dbos import DBOS

        run_id = f"outbox-{item.id}-{item.round}"
        known = DBOS.get_workflow_status(run_id)
        if known is not None and known.status not in _UNFINISHED:
            DBOS.delete_workflow(run_id)  # e.g. the database went away before the failure could be noted
        if known is None or known.status not in _UNFINISHED:
            self._start_once(run_id, self._deliver, item.org_id, item.id)

    # ---------------------------------------------------------------- durable runs

    def _run_cron(self, name: str) -> None:
        """One tick. A failing organisation does not keep the others from their turn."""
        from dbos import DBOS

        cron = self._crons.get(name)
        if cron is None:  # enrolled by another version of the server
            return
        if not cron.each_org:
            self._step(name, lambda: cron.fn(self._context))
            return
        failed: list[str] = []
        for org_id in DBOS.run_step({"name": "organisations"}, self._organisations):
            try:
                self._step(org_id, lambda org=org_id: cron.fn(self._context, org))
            except StepFailed as error:
                log.warning("the schedule %s failed for %s: %s", name, org_id, error)
                failed.append(org_id)
        if failed:
            raise RuntimeError(f"{name} failed for {', '.join(failed)}")

    def _run_delivery(self, org_id: str, message_id: int) -> None:
        """One round of one message: a few quick attempts, then a pause that is kept in its row."""
        try:
            self._step("deliver", lambda: outbox.deliver(self._context, self._handlers, org_id, message_id))
        except StepFailed as error:
            reason = str(error)
            self._step("postpone", lambda: outbox.postpone(self._context, org_id, message_id, reason))

    def _organisations(self) -> list[str]:
        with self._busy():
            return self._context.get(Database).organisations("schedule")

    def _step(self, name: str, fn: Callable[[], object]) -> None:
        """A durable step of a few quick attempts. Raises `StepFailed` with the reason of the last one."""
        from dbos import DBOS

        reasons: list[str] = []

        def attempt() -> None:
            with self._busy():
                try:
                    fn()
                except Exception as error:
                    reasons.append(f"{type(error).__name__}: {error}")
                    raise

        try:
            DBOS.run_step(attempts(name), attempt)
        except Exception as error:
            # No reason where the attempts were another process's and only their failure was recorded.
            raise StepFailed(reasons[-1] if reasons else str(error)) from error

    @contextmanager
    def _busy(self) -> Generator[None]:
        """Counts running steps for `stop`; refuses new ones once it was asked for."""
        with self._idle:
            if self._stopping.is_set():
                raise Stopping
            self._active += 1
        try:
            yield
        finally:
            with self._idle:
                self._active -= 1
                self._idle.notify_all()

    def _purge(self) -> None:
        """Forget runs that ended a month ago; what they did is in our own tables."""
        from dbos import DBOS

        before = (utcnow() - _KEPT).isoformat()
        while True:
            old = DBOS.list_workflows(
                status=["SUCCESS", "ERROR", "CANCELLED"], completed_before=before, limit=_PURGED_AT_ONCE,
                load_input=False, load_output=False,
            )  # fmt: skip
            if not old:
                return
            DBOS.delete_workflows([w.workflow_id for w in old])
