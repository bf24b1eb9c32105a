"""One command from its seat to its result."""

import asyncio
import contextlib
import json
import logging
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from builderos.core import folders
from builderos.execution.compute.schema import Meter, Reason, Result, Spec, Tier, Use

from . import tree
from .disk import BLOCK, bytes_in
from .doorman import Doorman
from .doors import Doors
from .egress import Rules
from .metering import measured
from .output import Output
from .seats import Orders, Seat
from .stage import Stage, hand_over
from .walls import Built, Walls

log = logging.getLogger("builderos.sandboxes")
_TICK_S: Final = 0.1
_CLOSE_TICK_S: Final = 0.03  # where nobody but us holds memory back
_SCAN_SHARE: Final = 20  # looking at the disk takes at most a twentieth of the time
_SETTLE_S: Final = 5.0
_FILE_TOO_LARGE: Final = 128 + signal.SIGXFSZ  # as a shell tells of it: the kernel ended who wrote on


@dataclass(slots=True)
class Place:
    """What all rooms of a keeper share."""

    stage: Stage
    doorman: Doorman
    walls: dict[Tier, Walls]


class Room:
    """Made for one spec, used once. All of it runs on the keeper's loop."""

    def __init__(
        self,
        spec: Spec,
        folder: str,
        rules: Rules,
        place: Place,
        ended: Callable[["Room", Result, Seat], None],
    ) -> None:
        self.spec = spec
        self.folder = folder
        self._place = place
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._doors = Doors(spec, folder, rules)
        self._cause: Reason | None = None
        self._detail = ""
        self._timers: list[asyncio.TimerHandle] = []
        self._init = 0  # the process whose descendants are the command's
        self._pidfd = -1
        self._status = b""
        self._seen = (0, time.monotonic())
        self._next_look = 0.0
        self._look: asyncio.Task[None] | None = None
        self._wall_s = 0.0
        self._rss = 0
        self._done = False
        self._broken = False

    def begin(self, seat: Seat, tier: Tier) -> None:
        """Start in a seat that is ready. Raises `Problem` or `OSError`; then nothing runs and nothing is left."""
        self._seat = seat
        self._tier: Tier = tier
        self._workspace = os.open(
            self.spec.workspace, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        )
        self._account = self._place.stage.account()
        self._output = Output(f"{self.folder}/log", self.spec.limits.output)
        self._began = time.monotonic()
        try:
            hand_over(self._workspace, self._account if self.spec.writable else None)
            self._built = self._place.walls[tier].build(
                self.spec, self._workspace, self._account, watched=seat.group is None, apart=seat.apart
            )
            self._launch(self._built)
        except BaseException:
            self._loop.remove_reader(self._output.source)
            self._loop.remove_reader(seat.pidfd)
            self._forget()
            raise

    def _launch(self, built: Built) -> None:
        if self._seat.group is not None:
            self._seat.group.limit(self.spec.limits)
        fds = {0: built.stdin, 1: self._output.sink, 2: self._output.sink, **built.fds}
        self._seat.go(Orders(built.argv, built.env, fds, built.account, self._rlimits()))
        self._output.release()
        built.started()
        self._init = self._seat.pid
        self._loop.add_reader(self._output.source, self._safely, self._pump)
        self._loop.add_reader(self._seat.pidfd, self._exited)
        self._loop.add_reader(built.status, self._safely, self._heard)
        self._after(self.spec.limits.wall_s, lambda: self.end("timeout"))
        self._after(_TICK_S, self._tick)
        if self._tier == "weak":
            self._admit(self._seat.pid)

    def _rlimits(self) -> dict[int, int]:
        limits = {
            resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: self.spec.limits.disk,
            resource.RLIMIT_NOFILE: self.spec.limits.files,
        }  # fmt: skip
        if self._seat.group is None:  # a fast process may outrun whoever watches
            limits[resource.RLIMIT_DATA] = 2 * self.spec.limits.memory
        return limits

    # ------------------------------------------------------------ while it runs

    def meter(self) -> Meter | None:
        """What it uses now; None where it does not run. Raises `OSError`."""
        if self._done or not self._init:
            return None
        return measured(self._init, self._seat.group, self.spec.limits, self._began, self._seen[0])

    def end(self, cause: Reason, grace_s: float | None = None) -> None:
        """Ask all processes to end, then kill them. The first cause counts; a later call can only hurry."""
        if self._done:
            return
        self._cause = self._cause or cause
        if self._tier == "strong" and self._pidfd < 0:
            # `_admit` will see it: killed half-way, bubblewrap would leave a process of its own behind.
            self._after(_SETTLE_S, self._kill)
            return
        if cause in ("oom", "disk", "lost"):
            self._kill()
            return
        tree.tell(tree.descendants(self._init), signal.SIGTERM)
        self._after(self.spec.limits.grace_s if grace_s is None else grace_s, self._kill)

    def _kill(self) -> None:
        if self._done:
            return
        self._place.walls[self._tier].kill(self._seat.pidfd, self._pidfd, self._init)

    def _heard(self) -> None:
        """What the walls say of themselves: the process number inside, later the exit code."""
        data = os.read(self._built.status, 65536)
        self._status += data
        if not data:
            self._loop.remove_reader(self._built.status)
            return
        if self._init == self._seat.pid and (pid := self._words().get("child-pid")) is not None:
            self._admit(pid)

    def _words(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for line in self._status.splitlines():
            with contextlib.suppress(ValueError):  # half a line: the rest is on its way
                found |= json.loads(line)
        return found

    def _admit(self, pid: int) -> None:
        try:
            self._pidfd = os.pidfd_open(pid)
        except OSError:
            return  # it is over already
        self._init = pid
        if self._cause is not None:  # its end was asked for before it began
            self._kill()
            return
        try:
            if self._seat.group is None:
                count = self.spec.limits.pids
                resource.prlimit(pid, resource.RLIMIT_NPROC, (count, count))
            self._doors.make(pid, self._built, self._place.doorman)
        except OSError as error:
            self._fail(error)
            return
        if self._doors.wanted:
            self._loop.create_task(self._open())
        else:
            self._built.release()

    def _fail(self, error: OSError) -> None:
        self._detail = f"the sandbox could not be set up: {error}"
        self.end("lost")

    async def _open(self) -> None:
        try:
            await self._doors.open()
        except OSError as error:  # without them the command would wait for its beginning for ever
            self._fail(error)
            return
        self._built.release()

    def _pump(self) -> None:
        if not self._output.pump():
            self._loop.remove_reader(self._output.source)

    def _tick(self) -> None:
        if self._done:
            return
        self._loop.call_later(_TICK_S if self._seat.group else _CLOSE_TICK_S, self._tick)
        self._safely(self._kill if self._broken else self._watch)

    def _watch(self) -> None:
        if os.path.exists(f"{self.folder}/kill"):
            self.end("killed")
        if self._seat.group is not None:
            if self._seat.group.starved():
                self.end("oom")
        elif (held := tree.resident(tree.descendants(self._init))) > self.spec.limits.memory:
            self.end("oom")
        else:
            self._rss = max(self._rss, held)
        self._look_at_disk()

    async def _held(self) -> int:
        """Bytes of disk that the command holds; folders too deep to be looked through are more than it may hold."""
        enough = self.spec.limits.disk
        try:
            held = await bytes_in(self._workspace, enough) if self.spec.writable else 0
            if (scratch := self._built.scratch) is not None:
                fd = os.open(scratch, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    held += await bytes_in(fd, enough)
                finally:
                    os.close(fd)
        except folders.TooDeep as error:
            self._detail = str(error.strerror)
            return enough + 1
        return held

    def _look_at_disk(self) -> None:
        if self._look is None and time.monotonic() >= self._next_look:
            self._look = self._loop.create_task(self._looked())

    async def _looked(self) -> None:
        began = time.monotonic()
        try:
            held = await self._held()
        except Exception as error:  # noqa: BLE001  as in `_safely`
            self._break(error)
            self.end("lost")
            return
        enough = self.spec.limits.disk
        if held > enough:
            self.end("disk")
        took = time.monotonic() - began
        before, then = self._seen
        rate = max(0.0, held - before) / max(began - then, 1e-6)
        full_in = (enough - held) / rate if rate else took * _SCAN_SHARE
        self._seen = (held, began)
        self._next_look = began + took + max(took, min(took * _SCAN_SHARE, full_in / 2))
        self._look = None

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        self._timers.append(self._loop.call_later(seconds, self._safely, call))

    def _safely(self, call: Callable[[], None]) -> None:
        """A command that cannot be watched must not run: whatever goes wrong here, it ends, and with a result."""
        try:
            call()
        except Exception as error:  # noqa: BLE001  it is told in the log and in the result
            self._break(error)
            self.end("lost")

    def _break(self, error: Exception) -> None:
        if not self._broken:
            log.error("%s cannot be watched any more", self.spec.id, exc_info=error)
        self._broken = True
        self._detail = (
            self._detail or f"the sandbox could not be watched: {type(error).__name__}: {error}"[:500]
        )
        self._loop.remove_reader(self._output.source)  # it may be what goes wrong, and would again at once

    # ------------------------------------------------------------ afterwards

    def _exited(self) -> None:
        self._loop.remove_reader(self._seat.pidfd)
        _, status, used = os.wait4(self._seat.pid, 0)
        self._done = True
        self._wall_s = time.monotonic() - self._began
        if self._look is not None:
            self._look.cancel()
        self._look = self._loop.create_task(self._finish(status, used))

    async def _finish(self, status: int, used: resource.struct_rusage) -> None:
        try:
            await self._emptied()
            if self._cause is None and await self._held() > self.spec.limits.disk:
                self._cause = "disk"
            result = self._summed_up(status, used)
        except Exception as error:  # noqa: BLE001  whoever waits for it waits for an answer
            self._break(error)
            result = Result(self._cause or "lost", None, detail=self._detail)
        try:
            self._ended(self, result, self._seat)
        finally:
            self._forget()  # nobody waits for this any more

    async def _emptied(self) -> None:
        """Wait until whatever the command left behind is gone, too: it could still write.

        bubblewrap tells of the command's end before the processes beside it have ended. The first process inside is
        over only when the kernel has collected all others of its namespace.
        """
        if self._tier != "strong":
            return
        if self._pidfd < 0:  # its number has not been heard yet
            with contextlib.suppress(OSError):
                self._status += os.read(self._built.status, 65536)
            try:
                self._pidfd = os.pidfd_open(self._words().get("child-pid", 0))
            except OSError:
                return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        over = asyncio.Event()
        self._loop.add_reader(self._pidfd, over.set)
        try:
            await asyncio.wait_for(over.wait(), _SETTLE_S)
        except TimeoutError:  # it hangs in the kernel, with a signal that ends it
            log.warning("%s: a process inside takes long to end", self.spec.id)
        finally:
            self._loop.remove_reader(self._pidfd)

    def _summed_up(self, status: int, used: resource.struct_rusage) -> Result:
        with contextlib.suppress(OSError):
            self._status += os.read(self._built.status, 65536)
        group = self._seat.group
        if group is not None and self._cause in (None, "killed") and group.starved():
            self._cause = "oom"
        cpu_s = (group.cpu_s() if group else None) or used.ru_utime + used.ru_stime
        peak = (group.peak() if group else 0) or max(self._rss, used.ru_maxrss * 1024)
        code = self._code(os.waitstatus_to_exitcode(status))
        if self._cause is None and code == _FILE_TOO_LARGE:
            self._cause = "disk"
            self._detail = f"a file would have grown past {self.spec.limits.disk} bytes"
        self._loop.remove_reader(self._output.source)
        self._output.end()
        sent, received = self._doors.passed
        use = Use(
            cpu_s=round(cpu_s, 4), wall_s=round(self._wall_s, 4), max_rss=peak,
            io_read=used.ru_inblock * BLOCK, io_written=used.ru_oublock * BLOCK, output=self._output.total,
            network_sent=sent, network_received=received,
        )  # fmt: skip
        reason: Reason = self._cause or ("exit" if code is not None else "lost")
        detail = self._detail or (
            "" if code is not None or self._cause else "the sandbox could not be set up"
        )
        return Result(reason, code, use, detail, self._output.truncated, self._doors.decisions)

    def _code(self, code: int) -> int | None:
        """The command's own exit code; bubblewrap's where it failed before the command began is none."""
        if self._tier == "strong":
            return self._words().get("exit-code", 137 if self._init != self._seat.pid and code < 0 else None)
        return code if code >= 0 else 128 - code

    def _forget(self) -> None:
        """Close and give back everything; each, whatever becomes of the others."""
        self._done = True
        for timer in self._timers:
            timer.cancel()
        with contextlib.ExitStack() as last:
            last.callback(self._place.stage.give_back, self._account)
            last.callback(self._place.stage.clear, self.spec.id)
            if self._pidfd >= 0:
                last.callback(os.close, self._pidfd)
            last.callback(os.close, self._workspace)
            last.callback(self._doors.close)
            self._loop.remove_reader(self._output.source)
            last.callback(self._output.end)
            if hasattr(self, "_built"):
                self._loop.remove_reader(self._built.status)
                last.callback(self._built.close)
