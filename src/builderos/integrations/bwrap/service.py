"""The provider `local`: commands on this machine, each in a room of its own."""

import contextlib
import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from builderos.core.dialing import networks_of
from builderos.core.problems import Problem
from builderos.execution.compute.schema import LogChunk, Meter, Probe, Result, Sandbox, Spec, Tier
from builderos.execution.compute.service import require_tier

from . import tree
from .gaps import WEAK_GAPS
from .system import digest
from .way_in import NAME
from .wire import Message, messages, packed

_AHEAD: Final = 4
_START_S: Final = 30.0
_CLOSE_S: Final = 15.0
_POLL_S: Final = 0.05
_METER_S: Final = 5.0
_CLAIM, _RESULT, _LOG, _KILL = "claim.json", "result.json", "log", "kill"

_Answer: TypeAlias = queue.SimpleQueue[Meter | None]


@dataclass(slots=True)
class _Live:
    """One that this process started."""

    tier: Tier
    begun: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    refusal: Problem | None = None
    result: Result | None = None
    meters: list[_Answer] = field(default_factory=list[_Answer])
    tell: list[Callable[[Sandbox], None]] = field(default_factory=list[Callable[[Sandbox], None]])


class _Keeper:
    """The keeper's side of the pair of sockets, and what it said of itself."""

    def __init__(self, state: Path, heard: Callable[[Message | None], None]) -> None:
        here, there = socket.socketpair()
        argv = [
            sys.executable,
            "-I",
            "-m",
            f"{__package__}.keeper",
            str(there.fileno()),
            str(state),
            str(_AHEAD),
        ]
        with there:
            environment = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
            self.process = subprocess.Popen(
                argv, env=environment | {"HOME": str(state)}, pass_fds=[there.fileno()], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self.sock = here
        self.hello: Message = {}
        self.ready = threading.Event()
        self.gone = False
        self._sending = threading.Lock()
        self._heard = heard
        threading.Thread(target=self._listen, name="sandboxes", daemon=True).start()

    def say(self, message: Message) -> None:
        """Raises `OSError` where it is gone."""
        with self._sending:
            self.sock.sendall(packed(message))

    def close(self) -> None:
        """Have it end everything and leave."""
        self.sock.shutdown(socket.SHUT_WR)
        try:
            self.process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:  # its commands die with it
            self.process.kill()
            self.process.wait()

    def _listen(self) -> None:
        for message in messages(self.sock):
            if message["op"] == "ready":
                self.hello = message
                self.ready.set()
            else:
                self._heard(message)
        self.gone = True
        self.process.wait()
        self.ready.set()
        self._heard(None)
        self.sock.close()


class LocalSandboxes:
    """See `SandboxProvider`. `state`: a folder of this server's own, one sub-folder per execution.

    `networks` of the owner's own that commands may reach as if public, where a host is listed that leads there.
    `tier` "weak" leaves the strong tier unused.
    """

    name: str = "local"
    remote: bool = False

    def __init__(self, state: Path, *, networks: str = "", tier: Tier = "strong") -> None:
        self._state = state
        networks_of(networks)  # raises ValueError now, not with the first command
        self._networks = networks
        self._wanted: Tier = tier
        self._lock = threading.Lock()
        self._keeper: _Keeper | None = None
        self._live: dict[str, _Live] = {}
        self._closed = False

    @property
    def folder(self) -> Path:
        """Where each execution has a folder of its name until it is forgotten."""
        return self._state

    # ------------------------------------------------------------ what can be had

    def probe(self) -> Probe:
        """See `SandboxProvider`. The first call starts the keeper, which tries the walls."""
        try:
            hello = self._running().hello
        except Problem as problem:
            return Probe(self.name, None, (problem.detail,))
        tiers, missing = hello["tiers"], list(hello["missing"])
        if self._wanted == "weak" and "strong" in tiers:
            tiers, missing = ["weak"] if "weak" in tiers else [], ["The strong sandbox is switched off here."]
        tier: Tier | None = "strong" if "strong" in tiers else "weak" if "weak" in tiers else None
        gaps = WEAK_GAPS if tier == "weak" else ()
        return Probe(self.name, tier, tuple(missing), gaps, tuple(hello["limits"]), digest())

    # ------------------------------------------------------------ one execution

    def start(self, spec: Spec) -> Sandbox:
        """See `SandboxProvider`."""
        spec.check()
        tier = require_tier(self.probe(), spec.tier)
        folder = self._state / spec.id
        claim = {"fingerprint": spec.fingerprint(), "tier": tier, "pid": 0, "since": ""}
        with self._lock:
            if (known := self._claim(spec.id)) is not None:
                return self._same(spec, known)
            keeper = self._running_locked()
            claim |= {"pid": keeper.process.pid, "since": tree.started_at(keeper.process.pid)}
            folder.mkdir(mode=0o700)
            (folder / _CLAIM).write_text(json.dumps(claim))
            live = self._live[spec.id] = _Live(tier)
        order = {
            "op": "start",
            "spec": spec.as_json(),
            "folder": str(folder),
            "tier": tier,
            "networks": self._networks,
        }
        try:
            keeper.say(order)
        except OSError:
            self._settle(spec.id, Result("lost", None, detail="the keeper of sandboxes is gone"))
        if not live.begun.wait(_START_S):
            self.kill(spec.id, 0)
        if live.refusal is not None:
            shutil.rmtree(folder, ignore_errors=True)
            raise live.refusal
        return self.poll(spec.id)

    def attach(self, sandbox_id: str) -> Sandbox:
        """See `SandboxProvider`."""
        return self.poll(sandbox_id)

    def poll(self, sandbox_id: str) -> Sandbox:
        """See `SandboxProvider`."""
        live = self._live.get(sandbox_id)
        if live is not None and not live.ended.is_set():
            return Sandbox(sandbox_id, self.name, live.tier, "running")
        if live is not None and live.result is not None:
            return Sandbox(sandbox_id, self.name, live.tier, live.result.state, live.result)
        claim = self._claim(sandbox_id)
        if claim is None:
            raise Problem("not_found", f"no execution {sandbox_id[:200]} is known here", hint="Start it.")
        result = self._result(sandbox_id, claim)
        return Sandbox(sandbox_id, self.name, claim["tier"], result.state if result else "running", result)

    def wait(self, sandbox_id: str, timeout_s: float | None = None) -> Sandbox:
        """See `SandboxProvider`."""
        live = self._live.get(sandbox_id)
        if live is not None:
            live.ended.wait(timeout_s)
            return self.poll(sandbox_id)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (found := self.poll(sandbox_id)).result is None:  # another process of ours runs it
            if deadline is not None and time.monotonic() >= deadline:
                break
            time.sleep(_POLL_S)
        return found

    def when_ended(self, sandbox_id: str, tell: Callable[[Sandbox], None]) -> None:
        """See `SandboxProvider`."""
        with self._lock:
            live = self._live.get(sandbox_id)
            if live is not None and not live.ended.is_set():
                live.tell.append(tell)
                return
        if (found := self.poll(sandbox_id)).result is not None:
            tell(found)
            return
        watch = threading.Thread(
            target=lambda: tell(self.wait(sandbox_id)), name="sandbox-watch", daemon=True
        )
        watch.start()

    def kill(self, sandbox_id: str, grace_s: float | None = None) -> None:
        """See `SandboxProvider`."""
        if self.poll(sandbox_id).result is not None:
            return
        if sandbox_id not in self._live:
            (self._state / sandbox_id / _KILL).touch()  # its keeper looks for this
            return
        if self._keeper is not None:
            try:
                self._keeper.say({"op": "kill", "id": sandbox_id, "grace_s": grace_s})
            except OSError:  # then everything it kept is gone as well
                return

    def logs(self, sandbox_id: str, offset: int = 0, limit: int = 65536) -> LogChunk:
        """See `SandboxProvider`."""
        ended = self.poll(sandbox_id).result is not None  # asked first: what is read afterwards is whole
        try:
            with (self._state / sandbox_id / _LOG).open("rb") as file:
                file.seek(offset)
                data = file.read(limit)
        except FileNotFoundError:
            data = b""
        return LogChunk(data, offset + len(data), ended and len(data) < limit)

    def door(self, sandbox_id: str) -> Path:
        """The socket at which what `Spec.serves` names is reached while it runs; it is there soon after the start."""
        return self._state / sandbox_id / NAME

    def meter(self, sandbox_id: str) -> Meter | None:
        """What it uses now; None where this process does not run it. Blocks."""
        live, keeper = self._live.get(sandbox_id), self._keeper
        if live is None or live.ended.is_set() or keeper is None:
            return None
        answer = _Answer()
        with self._lock:
            live.meters.append(answer)
        try:
            keeper.say({"op": "meter", "id": sandbox_id})
            return answer.get(timeout=_METER_S)
        except (OSError, queue.Empty):
            return None

    def remove(self, sandbox_id: str) -> None:
        """See `SandboxProvider`."""
        if self.poll(sandbox_id).result is None:
            raise Problem("busy", f"{sandbox_id} is still running", hint="Kill it first, or wait.")
        with self._lock:
            self._live.pop(sandbox_id, None)
            with contextlib.suppress(FileNotFoundError):  # somebody else removes it just now
                shutil.rmtree(self._state / sandbox_id)

    def close(self) -> None:
        """See `SandboxProvider`."""
        with self._lock:
            self._closed = True
            keeper, self._keeper = self._keeper, None
        if keeper is not None and not keeper.gone:
            keeper.close()

    # ------------------------------------------------------------ inside

    def _same(self, spec: Spec, claim: dict[str, Any]) -> Sandbox:
        if claim["fingerprint"] != spec.fingerprint():
            raise Problem(
                "conflict",
                f"{spec.id} was started with another command",
                hint="Count the attempt up.",
                conflicts=[],
            )
        return self.poll(spec.id)

    def _claim(self, sandbox_id: str) -> dict[str, Any] | None:
        try:
            return json.loads((self._state / sandbox_id / _CLAIM).read_text())
        except (OSError, ValueError):
            return None

    def _result(self, sandbox_id: str, claim: dict[str, Any]) -> Result | None:
        """What its keeper wrote down; `lost` where that keeper is gone and wrote nothing."""
        alive = tree.started_at(claim["pid"]) == claim["since"] != ""
        try:
            return Result.from_json(json.loads((self._state / sandbox_id / _RESULT).read_text()))
        except FileNotFoundError:
            if alive:
                return None
        from .keeper import write_result

        lost = Result("lost", None, detail="the server or its keeper of sandboxes was killed")
        write_result(self._state / sandbox_id, lost)
        return lost

    def _running(self) -> _Keeper:
        with self._lock:
            return self._running_locked()

    def _running_locked(self) -> _Keeper:
        if self._closed:
            raise Problem("unavailable", "the server is stopping", hint="Try again.")
        if self._keeper is None or self._keeper.gone:
            if not sys.platform.startswith("linux"):
                raise Problem(
                    "unavailable", "commands run in sandboxes on Linux alone", hint="Use a remote provider."
                )
            self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._keeper = _Keeper(self._state, self._heard)
        if not self._keeper.ready.wait(_START_S) or self._keeper.gone:
            raise Problem(
                "unavailable", "the keeper of sandboxes does not start", hint="See the server's log."
            )
        return self._keeper

    def _heard(self, message: Message | None) -> None:
        if message is None:
            for name in [name for name, live in self._live.items() if not live.ended.is_set()]:
                self._settle(name, Result("lost", None, detail="the keeper of sandboxes is gone"))
            return
        name = message["id"]
        live = self._live.get(name)
        if live is None:
            return
        if message["op"] == "measured":
            self._measured(live, message["meter"])
            return
        if message["op"] == "refused":
            live.refusal = Problem(message["code"], message["detail"], hint=message["hint"])
            self._live.pop(name, None)
            live.ended.set()
        elif message["op"] == "ended":
            self._settle(name, Result.from_json(message["result"]))
        live.begun.set()

    def _measured(self, live: _Live, said: dict[str, Any] | None) -> None:
        """One answer serves all who wait for one."""
        with self._lock:
            waiting, live.meters = live.meters, []
        for answer in waiting:
            answer.put(Meter(**said) if said else None)

    def _settle(self, name: str, result: Result) -> None:
        with self._lock:
            live = self._live[name]
            live.result = result
            live.ended.set()
            tell, live.tell = live.tell, []
        live.begun.set()
        for call in tell:
            call(Sandbox(name, self.name, live.tier, result.state, result))
