"""Durable calls: a task that was started is carried out, by this process or by whoever takes over its work.

A task runs at least once. What it did is for the function itself to know (its rows), so it begins by looking; nothing
it does in between is recorded here. That keeps a task at two writes: one when it starts, one when it has ended.

Light tasks (no `queue`) start at once on the process that asked. The others take one of this process's slots when one
is free; else they wait in the database, where every process of that queue takes its share: organisation by
organisation, so that the thousand tasks of one do not keep another's first one waiting.
"""

import asyncio
import contextlib
import contextvars
import functools
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar

from builderos.core import tracing
from builderos.core.context import Context

T = TypeVar("T")
log = logging.getLogger("builderos.engine")

Function: TypeAlias = Callable[..., Awaitable[None]]
"""`await fn(context, *args)`; the arguments are JSON. Raising ends the task as failed: nobody repeats it."""

Standing = Literal["unknown", "waiting", "running", "ended"]

_LIGHT: Final = 16
_UNITS: Final = 8
_AHEAD: Final = 2
_POLL_S: Final = 0.1
_START_PAUSES_S: Final = (0.05, 0.2, 1.0)
_UNSURE_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Task:
    """One durable call. `id` is its idempotent name: started twice, it runs once.

    `queue`: which slots it needs, none for light work. `partition` is whose turn it is; the lower `priority`, the
    earlier among those of one partition (1 to 1,000,000).
    """

    id: str
    name: str
    args: tuple[Any, ...] = ()
    queue: str = ""
    partition: str = ""
    priority: int = 1000


class Slots:
    """A number of places, given to the partitions in turn, and within one by priority, then first come."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._free = size
        self._reserved: set[str] = set()
        self._waiting: OrderedDict[str, deque[tuple[int, asyncio.Future[None]]]] = OrderedDict()

    def reserve(self, key: str) -> bool:
        """Take a place for `key` now; False where none is free or somebody waits for one."""
        if self._free <= 0 or self._waiting:
            return False
        self._free -= 1
        self._reserved.add(key)
        return True

    @asynccontextmanager
    async def place(self, key: str, partition: str, priority: int) -> AsyncGenerator[None]:
        """Hold a place, the reserved one where there is one."""
        if key in self._reserved:
            self._reserved.discard(key)
        else:
            await self._take(partition, priority)
        try:
            yield
        finally:
            self.release()

    def release(self, key: str | None = None) -> None:
        """Give a place to whose turn it is; of a reservation that came to nothing, name its `key`."""
        if key is not None:
            if key not in self._reserved:
                return
            self._reserved.discard(key)
        while self._waiting:
            partition, line = next(iter(self._waiting.items()))
            _, waiter = line.popleft()
            self._waiting.move_to_end(partition)
            if not line:
                del self._waiting[partition]
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1

    async def _take(self, partition: str, priority: int) -> None:
        if self._free > 0 and not self._waiting:
            self._free -= 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line = self._waiting.setdefault(partition, deque())
        at = next((i for i, (other, _) in enumerate(line) if other > priority), len(line))
        line.insert(at, (priority, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()  # the place was given in the moment of the cancellation
            raise


class Durable:
    """The durable functions of one process, and starting them. `queues`: names to numbers of slots; 0 for a queue
    that other processes serve.
    """

    def __init__(self, context: Context, queues: Mapping[str, int]) -> None:
        self._context = context
        self._functions: dict[str, Function] = {}
        self._elsewhere: dict[str, Function] = {}
        self._known = tuple(queues)
        self._sure: Callable[[], bool] = lambda: True
        self._workflows: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {}
        self._slots = {name: Slots(size) for name, size in queues.items() if size}
        self._light = Slots(_LIGHT)
        self._units = ThreadPoolExecutor(_UNITS, thread_name_prefix="run")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        self._starting: set[asyncio.Task[None]] = set()
        self._open = threading.Event()

    # ---------------------------------------------------------------- for the rooms

    def enrol(self, name: str, function: Function, elsewhere: Function | None = None) -> None:
        """Enrol a function before the engine starts. Another meaning gets another name (`node@2`) beside this one,
        because tasks outlive updates. Raises `ValueError` when the name is taken.

        `elsewhere` is called in its place where a process that does not serve the queue of a task took it over from a
        dead one: it has to see to it that another task is started.
        """
        if name in self._functions:
            raise ValueError(f"the durable function {name!r} is enrolled twice")
        self._functions[name] = function
        self._elsewhere[name] = elsewhere or function

    def start_soon(self, tasks: Iterable[Task]) -> bool:
        """Start tasks from any thread without waiting for it; False where this process runs no engine (now).

        Nothing tells whether it worked: whoever owns the tasks looks after those that were never started.
        """
        loop, wanted = self._loop, list(tasks)
        if not self._open.is_set() or loop is None or not wanted:
            return False
        with contextlib.suppress(RuntimeError):  # the loop was closed in this moment
            loop.call_soon_threadsafe(self._spawn, wanted)
            return True
        return False

    def start_at(self, task: Task, in_s: float) -> None:
        """Start a task after a while, from any thread. It is forgotten with this process, like `start_soon`."""
        loop = self._loop
        if self._open.is_set() and loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(loop.call_later, max(0.0, in_s), self._spawn, [task])

    async def start(self, tasks: Sequence[Task]) -> None:
        """Start tasks from within one; returns when each is durable."""
        for task in tasks:
            # A context of its own: the library would take the task for a part of the one that starts it.
            await asyncio.create_task(self._start(task), context=contextvars.Context())

    async def unit(self, work: Callable[[], T]) -> T:
        """Do blocking work (a unit, files) on a thread meant for it."""
        if tracing.on():  # what is done there stands below what is done here
            work = functools.partial(contextvars.copy_context().run, work)
        return await asyncio.get_running_loop().run_in_executor(self._units, work)

    def interrupt(self, prefix: str, *, whole: bool = False) -> None:
        """Cancel the tasks of this process whose id begins so (`whole`: is so), from any thread; they end their own
        work first.
        """
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._interrupt, prefix, whole)

    def standings(self, ids: Sequence[str]) -> dict[str, Standing]:
        """How tasks stand, whoever carries them out. Blocks; for threads."""
        from dbos import DBOS

        found: dict[str, Standing] = dict.fromkeys(ids, "unknown")
        for at in range(0, len(ids), 500):
            some = list(ids[at : at + 500])
            for w in DBOS.list_workflows(workflow_ids=some, load_input=False, load_output=False):
                found[w.workflow_id] = _STANDING.get(str(w.status), "ended")
        return found

    async def assured(self) -> None:
        """Return once it is sure that nobody has taken over the work of this process; who lost his task is cancelled
        meanwhile. To be awaited before anything is begun or written that others see.
        """
        while not self._sure():
            await asyncio.sleep(_UNSURE_S)
            if not self.here:
                raise asyncio.CancelledError

    @property
    def sure(self) -> bool:
        """The same as a question, for threads: right before what cannot be taken back."""
        return self._sure()

    @property
    def here(self) -> bool:
        """Whether this process carries out tasks now."""
        return self._open.is_set()

    @property
    def load(self) -> dict[str, int]:
        """Tasks that run in this process, and its slots by queue."""
        return {"running": len(self._running), **{name: slots.size for name, slots in self._slots.items()}}

    # ---------------------------------------------------------------- for the engine

    @property
    def served(self) -> list[str]:
        """The queues that this process takes tasks from."""
        return list(self._slots)

    @property
    def running(self) -> list[str]:
        """Ids of the tasks that run in this process."""
        return list(self._running)

    def assure(self, sure: Callable[[], bool]) -> None:
        """Ask this whether the work of this process is still its own."""
        self._sure = sure

    def let_go(self, ids: Iterable[str]) -> None:
        """Cancel tasks that are not this process's any more, from any thread."""
        for id_ in ids:
            self.interrupt(id_, whole=True)

    def declare(self) -> None:
        """Make the library know the functions; before it is launched."""
        from dbos import DBOS

        for name, function in self._functions.items():
            workflow = self._workflow(function, self._elsewhere[name])
            self._workflows[name] = DBOS.workflow(name=name)(workflow)

    def register_queues(self) -> None:
        """Tell the database of the queues; after the launch."""
        from dbos import DBOS

        for name, slots in self._slots.items():
            # A few more are taken than can run, so that a free slot need not wait for the next look; one place of
            # them is always left to other partitions.
            taken = max(2, slots.size * _AHEAD)
            DBOS.register_queue(
                name, worker_concurrency=taken, partition_worker_concurrency=max(1, taken - 1),
                polling_interval_sec=_POLL_S,
            )  # fmt: skip

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take tasks from now on; `loop` is the one the library runs on."""
        self._loop = loop
        self._open.set()

    async def close(self, drain_s: float) -> bool:
        """Start nothing new, let light tasks end, cut the others off; whether all ended by themselves.

        What is cut off stays unfinished in the database: the next process does it.
        """
        self._open.clear()
        running = list(self._running.values())
        pending: set[asyncio.Task[None]] = set()
        if running:
            _, pending = await asyncio.wait(running, timeout=drain_s)
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending, timeout=5)
        return not pending

    # ---------------------------------------------------------------- inside

    def _workflow(self, function: Function, elsewhere: Function) -> Callable[..., Coroutine[Any, Any, None]]:
        async def run(id_: str, args: list[Any], queue: str, partition: str, priority: int) -> None:
            here = not queue or queue in self._slots
            task = Task(id_, "", tuple(args), queue, partition, priority)
            await self._carry_out(function if here else elsewhere, task)

        return run

    async def _carry_out(self, function: Function, task: Task) -> None:
        slots = self._slots.get(task.queue, self._light)
        async with slots.place(task.id, task.partition, task.priority):
            if not self._open.is_set():
                raise asyncio.CancelledError  # leaves it unrecorded: the next process does it
            inner = asyncio.ensure_future(function(self._context, *task.args))
            self._running[task.id] = inner  # type: ignore[assignment]
            try:
                await inner
            except asyncio.CancelledError:
                if not self._open.is_set():
                    raise
                log.info("the task %s was interrupted", task.id)
            except Exception:
                log.exception("the task %s failed", task.id)
                raise
            finally:
                self._running.pop(task.id, None)

    def _spawn(self, tasks: list[Task]) -> None:
        if not self._open.is_set():
            return
        for task in tasks:
            starting = asyncio.get_running_loop().create_task(
                self._start_patiently(task), context=contextvars.Context()
            )
            self._starting.add(starting)
            starting.add_done_callback(self._starting.discard)

    async def _start_patiently(self, task: Task) -> None:
        for pause_s in _START_PAUSES_S:
            try:
                return await self._start(task)
            except Exception as error:  # noqa: BLE001  # the database is away; its owner looks after it later
                log.warning("the task %s could not be started: %s", task.id, type(error).__name__)
                await asyncio.sleep(pause_s)
        return None

    async def _start(self, task: Task) -> None:
        from dbos import DBOS, SetEnqueueOptions, SetWorkflowID

        slots = self._slots.get(task.queue)
        waits = task.queue in self._known and slots is None
        call = (task.id, list(task.args), task.queue, task.partition, task.priority)
        workflow = self._workflows[task.name]
        if not waits and (slots is None or slots.reserve(task.id)):
            try:
                with SetWorkflowID(task.id):
                    await DBOS.start_workflow_async(workflow, *call)
            except BaseException:
                if slots is not None:
                    slots.release(task.id)
                raise
            if slots is not None and task.id not in self._running:
                # Where it was started before, nobody comes for the place. One that begins takes it in the next turn.
                asyncio.get_running_loop().call_later(1.0, slots.release, task.id)
            return
        with (
            SetWorkflowID(task.id),
            SetEnqueueOptions(queue_partition_key=task.partition, priority=task.priority),
        ):
            await DBOS.enqueue_workflow_async(task.queue, workflow, *call)

    def _interrupt(self, prefix: str, whole: bool) -> None:
        for id_, task in list(self._running.items()):
            if id_ == prefix if whole else id_.startswith(prefix):
                task.cancel()


_STANDING: Final[dict[str, Standing]] = {
    "PENDING": "running",
    "ENQUEUED": "waiting",
    "DELAYED": "waiting",
}
