"""The process that keeps all rooms of a server: `keeper.py SOCKET STATE AHEAD`.

It is small and has no other work, so that a start costs little and a busy server starves no command. When the server
is gone, its socket ends, and every command with it.
"""

import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Final

from builderos.core.dialing import networks_of
from builderos.core.problems import Problem
from builderos.execution.compute.schema import Result, Spec, Tier

from . import jail, seccomp
from .cgroups import Cgroups, found
from .doorman import Doorman
from .egress import Rules
from .room import Place, Room
from .seats import Seat, Seats
from .stage import Stage
from .tree import end_all_below, own_name
from .walls import Strong, Walls, Weak
from .wire import Inbox, Message, packed

log = logging.getLogger("builderos.sandboxes")
_CHUNK: Final = 65536
_REFILL_S: Final = 0.04  # later than most starts take: making a seat must not slow down the one just taken
_REMOVE_S: Final = 0.05
_REMOVE_TRIES: Final = 100
_PROBE_S: Final = 10
_LEAVE_S: Final = 5.0  # longer than a command may take to go when it is killed
_LOOK_S: Final = 2.0
_LOOKS: Final = 4  # together longer than it takes to leave in good order


class Keeper:
    """Rooms by name."""

    def __init__(self, sock: socket.socket, place: Place, cgroups: Cgroups | None, ahead: int) -> None:
        self._sock = sock
        self._place = place
        self._seats = Seats(cgroups, ahead, apart="strong" in place.walls and os.geteuid() == 0)
        self._rooms: dict[str, Room] = {}
        self._inbox = Inbox()
        self._loop = asyncio.get_running_loop()
        self._gone = asyncio.Event()
        self._empty = asyncio.Event()
        self._refilling = False

    async def serve(self, hello: Message) -> None:
        """Until the server is gone."""
        self._sock.setblocking(False)
        self._loop.add_reader(self._sock, self._heard)
        self._refill()
        self._say(hello)
        await self._gone.wait()
        self._loop.remove_reader(self._sock)
        for room in list(self._rooms.values()):
            try:
                room.end("lost")
            except Exception:  # it goes with all others, below
                log.exception("%s cannot be ended", room.spec.id)
        if self._rooms:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), _LEAVE_S)
        if self._rooms:
            end_all_below(os.getpid())
        self._dismiss()

    def _heard(self) -> None:
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone.set()
            return
        for message in self._inbox.feed(data):
            if message["op"] == "start":
                self._start(message)
            elif message["op"] == "meter":
                self._measure(message["id"])
            elif room := self._rooms.get(message["id"]):
                room.end("killed", message["grace_s"])

    def _measure(self, name: str) -> None:
        """Every question gets one answer, in turn."""
        found = None
        with contextlib.suppress(OSError):  # it ends just now
            found = self._rooms[name].meter() if name in self._rooms else None
        self._say({"op": "measured", "id": name, "meter": dataclasses.asdict(found) if found else None})

    def _start(self, message: Message) -> None:
        spec = Spec.from_json(message["spec"])
        rules = Rules(spec.hosts, networks_of(message["networks"]), spec.limits.network)
        try:
            room = Room(spec, message["folder"], rules, self._place, self._ended)
            seat = self._seats.take(apart=message["tier"] == "strong")
        except Exception as error:  # noqa: BLE001  the server is told; other rooms go on
            self._refuse(spec.id, error)
            return
        self._rooms[spec.id] = room
        self._when_ready(seat, partial(self._begin, room, seat, message["tier"]))

    def _begin(self, room: Room, seat: Seat, tier: Tier) -> None:
        try:
            room.begin(seat, tier)
        except Exception as error:  # noqa: BLE001  the server is told; other rooms go on
            del self._rooms[room.spec.id]
            seat.dismiss()
            self._loop.call_later(_REMOVE_S, self._bury, seat, _REMOVE_TRIES)
            self._refuse(room.spec.id, error)
        else:
            self._say({"op": "started", "id": room.spec.id})
        if not self._refilling:
            self._refilling = True
            self._loop.call_later(_REFILL_S, self._refill)

    def _refuse(self, name: str, error: Exception) -> None:
        if not isinstance(error, Problem | OSError):
            log.error("%s cannot start", name, exc_info=error)
        if isinstance(error, Problem):
            words = {"code": error.code, "detail": error.detail, "hint": error.hint}
        else:
            hint = "See that the workspace is an existing folder and this machine has resources left."
            words = {"code": "unavailable", "detail": f"the sandbox could not start: {error}", "hint": hint}
        self._say({"op": "refused", "id": name, **words})

    def _ended(self, room: Room, result: Result, seat: Seat) -> None:
        self._rooms.pop(room.spec.id, None)
        try:
            write_result(Path(room.folder), result)
        except OSError:  # the disk is full: the server hears of it all the same
            log.exception("the result of %s cannot be written", room.spec.id)
        self._say({"op": "ended", "id": room.spec.id, "result": dataclasses.asdict(result)})
        if self._gone.is_set() and not self._rooms:
            self._empty.set()
        os.close(seat.pidfd)
        self._remove_group(seat, _REMOVE_TRIES)

    def _remove_group(self, seat: Seat, tries: int) -> None:
        """The kernel takes a moment to notice that a group is empty."""
        if seat.group is not None and not seat.group.remove() and tries:
            self._loop.call_later(_REMOVE_S, self._remove_group, seat, tries - 1)

    def _bury(self, seat: Seat, tries: int) -> None:
        with contextlib.suppress(ChildProcessError):
            if not os.waitpid(seat.pid, os.WNOHANG)[0] and tries:
                self._loop.call_later(_REMOVE_S, self._bury, seat, tries - 1)
                return
        self._remove_group(seat, tries)

    # ------------------------------------------------------------ seats

    def _dismiss(self) -> None:
        for seat in self._seats.close():
            os.waitpid(seat.pid, 0)
            if seat.group is not None:
                seat.group.remove()

    def _refill(self) -> None:
        self._refilling = False
        with contextlib.suppress(OSError):  # no processes or memory left: the next start makes its own
            for seat in self._seats.refill():
                self._loop.add_reader(seat.sock, self._announced, seat)

    def _announced(self, seat: Seat) -> None:
        self._loop.remove_reader(seat.sock)
        seat.hear()

    def _when_ready(self, seat: Seat, call: "partial[None]") -> None:
        if seat.ready:
            call()
            return
        seat.waiting.append(call)
        self._loop.add_reader(seat.sock, self._announced, seat)

    def _say(self, message: Message) -> None:
        if self._gone.is_set():
            return
        self._sock.setblocking(True)
        try:
            self._sock.sendall(packed(message))
        except OSError:
            self._gone.set()
        finally:
            self._sock.setblocking(False)


def leave_with(sock: socket.socket) -> None:
    """See that this process goes soon after the server, with all commands, even when its loop hangs.

    A signal reaches what a loop does not. A thread would, too, but who forks must have none.
    """
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    missed = 0

    def look(*_: object) -> None:
        nonlocal missed
        missed = missed + 1 if poll.poll(0) else 0
        if missed > _LOOKS:
            end_all_below(os.getpid())
            os._exit(1)

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, _LOOK_S, _LOOK_S)


def write_result(folder: Path, result: Result) -> None:
    """Whole or not at all: whoever attaches later reads it."""
    fresh = folder / "result.json.new"
    fresh.write_text(json.dumps(dataclasses.asdict(result)))
    fresh.replace(folder / "result.json")


def walls_here(stage: Stage) -> tuple[dict[Tier, Walls], list[str]]:
    """The tiers that this machine lends, found by trying, and what the strong one lacks."""
    walls: dict[Tier, Walls] = {}
    missing: list[str] = []
    program = shutil.which("bwrap")
    rules, names = b"", list[str]()
    try:
        rules, names = seccomp.compiled(), seccomp.names_here()
    except (ImportError, RuntimeError, OSError):
        missing.append("Install libseccomp: `sudo apt-get install libseccomp2`.")
    if program is None:
        missing.append("Install bubblewrap: `sudo apt-get install bubblewrap`.")
    elif os.geteuid() == 0 and not stage.private:
        missing.append(
            "Root may not mount here: run the server as another user, or lend the container CAP_SYS_ADMIN."
        )
    elif error := _tried(stage, program):
        missing.append(
            f"The kernel lends no user namespaces here ({error}): allow them, e.g. kernel.unprivileged_userns_clone=1."
        )
    if not missing and program is not None:
        walls["strong"] = Strong(stage, program, rules)
    with contextlib.suppress(ImportError, OSError, RuntimeError):
        import sandlock  # pyright: ignore[reportMissingTypeStubs]

        if sandlock.landlock_abi_version() >= sandlock.min_landlock_abi():
            walls["weak"] = Weak(stage, names)
    return walls, missing


def _tried(stage: Stage, program: str) -> str:
    """Empty where the smallest jail works, else what bubblewrap says."""
    account = stage.account()
    try:
        done = subprocess.run(
            [program, *jail.smallest(), "--", "/usr/bin/true"], env={}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=_PROBE_S, check=False, user=account, group=account,
            extra_groups=None if account is None else [],
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    finally:
        stage.give_back(account)
    return done.stderr.strip()[-200:] or f"exit {done.returncode}" if done.returncode else ""


def main(fd: int, state: Path, ahead: int) -> None:
    """Everything that must happen before there is a thread or a loop, then the loop."""
    os.umask(0o022)  # what commands see must be readable; what is secret says so itself
    sock = socket.socket(fileno=fd)
    stage = Stage(state)
    doorman = Doorman()
    cgroups = found(own_name())
    try:
        walls, missing = walls_here(stage)
        enforced = list(cgroups.enforced) if cgroups else []
        hello: Message = {"op": "ready", "tiers": list(walls), "missing": missing, "limits": enforced}
        leave_with(sock)
        asyncio.run(_serve(sock, Place(stage, doorman, walls), cgroups, ahead, hello))
    finally:
        doorman.close()
        stage.close()
        if cgroups is not None:
            cgroups.close()


async def _serve(
    sock: socket.socket, place: Place, cgroups: Cgroups | None, ahead: int, hello: Message
) -> None:
    await Keeper(sock, place, cgroups, ahead).serve(hello)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
