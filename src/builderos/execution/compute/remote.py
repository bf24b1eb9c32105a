"""What all providers on other machines have in common: names, waiting, time limits, logs by offset, what comes back.

An adapter says how one execution is made, looked at, followed, ended and removed. The other machine is the record: a
second server, or the same one after a crash, finds an execution there by its name.
"""

import contextlib
import dataclasses
import logging
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from builderos.core.problems import Problem

from .away import fingerprint, refuse_what_cannot_be
from .schema import LogChunk, Probe, Reason, Result, Sandbox, Spec, Use

log = logging.getLogger("builderos.compute")
_TICK_S: Final = 0.25
_AGAIN_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Seen:
    """What the other machine says. `exit_code` None: it has not ended. `cause`: why, where that machine knows."""

    fingerprint: str
    exit_code: int | None = None
    cause: Reason | None = None
    detail: str = ""
    seconds: float = 0.0
    half_made: bool = False
    use: Use = field(default_factory=Use)


class Machine(Protocol):
    """The other side. All raise `not_found` for a name that is not there, `unavailable` where it does not answer."""

    name: str
    holds_hosts: bool  # whether it can let a command reach listed hosts and no others

    def probe(self) -> Probe:
        """Whether it answers."""
        ...

    def make(self, spec: Spec, fingerprint: str) -> None:
        """Create and start, with the workspace's content. Raises `conflict` where the name is taken."""
        ...

    def look(self, name: str) -> Seen:
        """How it stands."""
        ...

    def follow(self, name: str) -> Iterator[bytes]:
        """What it prints, from the beginning until its end."""
        ...

    def use(self, name: str) -> Use:
        """What it used so far, as far as the machine counts it."""
        ...

    def end(self, name: str, grace_s: float) -> None:
        """Ask it to end, kill it after `grace_s`. Does not wait."""
        ...

    def fetch(self, name: str, spec: Spec) -> None:
        """Bring an ended one's workspace back."""
        ...

    def remove(self, name: str) -> None:
        """Take away everything that was made for it."""
        ...

    def close(self) -> None:
        """Give connections back; executions go on."""
        ...


@dataclass(slots=True)
class _Live:
    """One that this process knows."""

    spec: Spec | None
    began: float
    ended: threading.Event = field(default_factory=threading.Event)
    cause: Reason | None = None
    result: Result | None = None
    printed: int = 0
    use: Use = field(default_factory=Use)
    tell: list[Callable[[Sandbox], None]] = field(default_factory=list[Callable[[Sandbox], None]])


class RemoteSandboxes:
    """See `SandboxProvider`. `state`: a folder of this server for logs that were read so far."""

    remote: bool = True

    def __init__(self, machine: Machine, state: Path) -> None:
        self.name = machine.name
        self._machine = machine
        self._state = state
        self._lock = threading.Lock()
        self._live: dict[str, _Live] = {}
        self._gates: dict[str, threading.Lock] = {}
        self._stopping = threading.Event()
        self._care: threading.Thread | None = None

    def probe(self) -> Probe:
        """See `SandboxProvider`."""
        try:
            return self._machine.probe()
        except Problem as problem:
            return Probe(self.name, None, (f"{problem.detail}. {problem.hint}".strip(),))

    # ------------------------------------------------------------ one execution

    def start(self, spec: Spec) -> Sandbox:
        """See `SandboxProvider`."""
        spec.check()
        refuse_what_cannot_be(spec, self.name, holds_hosts=self._machine.holds_hosts)
        mark = fingerprint(spec)
        with self._alone(spec.id):
            known = self._live.get(spec.id)
            seen = self._begun(spec, mark) if known is None else self._mark_of(spec.id, known)
            if seen.fingerprint != mark:
                raise Problem(
                    "conflict", f"{spec.id} was started with another command", hint="Count the attempt up.",
                    conflicts=[],
                )  # fmt: skip
            if known is None:
                self._begin_watch(spec.id, spec, seen)
        return self.poll(spec.id)

    def _begun(self, spec: Spec, mark: str) -> Seen:
        """Found there, or made. What somebody made and did not come to start is made anew."""
        try:
            seen = self._machine.look(spec.id)
        except Problem as problem:
            if problem.code != "not_found":
                raise
        else:
            if not seen.half_made or seen.fingerprint != mark:
                return seen
            self._machine.remove(spec.id)
        self._machine.make(spec, mark)
        return Seen(mark)

    def _mark_of(self, name: str, known: _Live) -> Seen:
        return Seen(fingerprint(known.spec)) if known.spec is not None else self._machine.look(name)

    def attach(self, sandbox_id: str) -> Sandbox:
        """See `SandboxProvider`."""
        return self.poll(sandbox_id)

    def poll(self, sandbox_id: str) -> Sandbox:
        """See `SandboxProvider`."""
        live = self._known(sandbox_id)
        result = live.result
        return Sandbox(sandbox_id, self.name, "remote", result.state if result else "running", result)

    def wait(self, sandbox_id: str, timeout_s: float | None = None) -> Sandbox:
        """See `SandboxProvider`."""
        self._known(sandbox_id).ended.wait(timeout_s)
        return self.poll(sandbox_id)

    def when_ended(self, sandbox_id: str, tell: Callable[[Sandbox], None]) -> None:
        """See `SandboxProvider`."""
        live = self._known(sandbox_id)
        with self._lock:
            if not live.ended.is_set():
                live.tell.append(tell)
                return
        tell(self.poll(sandbox_id))

    def kill(self, sandbox_id: str, grace_s: float | None = None) -> None:
        """See `SandboxProvider`."""
        live = self._known(sandbox_id)
        if live.ended.is_set():
            return
        self._end(sandbox_id, live, "killed", grace_s)

    def logs(self, sandbox_id: str, offset: int = 0, limit: int = 65536) -> LogChunk:
        """See `SandboxProvider`."""
        ended = self._known(sandbox_id).ended.is_set()  # asked first: what is read afterwards is whole
        try:
            with self._log(sandbox_id).open("rb") as file:
                file.seek(offset)
                data = file.read(limit)
        except FileNotFoundError:
            data = b""
        return LogChunk(data, offset + len(data), ended and len(data) < limit)

    def remove(self, sandbox_id: str) -> None:
        """See `SandboxProvider`."""
        if not self._known(sandbox_id).ended.is_set():
            raise Problem("busy", f"{sandbox_id} is still running", hint="Kill it first, or wait.")
        with contextlib.suppress(
            Problem
        ):  # it is gone there already, or does not answer: its own sweep takes it
            self._machine.remove(sandbox_id)
        with self._lock:
            self._live.pop(sandbox_id, None)
            self._gates.pop(sandbox_id, None)
        shutil.rmtree(self._log(sandbox_id).parent, ignore_errors=True)

    def close(self) -> None:
        """Stop watching. What runs there goes on, and is found again by its name."""
        self._stopping.set()
        if self._care is not None:
            self._care.join()
        self._machine.close()

    # ------------------------------------------------------------ watching

    def _known(self, name: str) -> _Live:
        if (live := self._live.get(name)) is not None:
            return live
        with self._alone(name):
            if name not in self._live:
                self._begin_watch(name, None, self._machine.look(name))
            return self._live[name]

    @contextlib.contextmanager
    def _alone(self, name: str) -> Generator[None]:
        """One at a time per name: a start may take as long as a cluster takes to fetch an image."""
        with self._lock:
            gate = self._gates.setdefault(name, threading.Lock())
        with gate:
            yield

    def _begin_watch(self, name: str, spec: Spec | None, seen: Seen) -> None:
        live = _Live(spec, time.monotonic() - seen.seconds)
        self._log(name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log(name).unlink(missing_ok=True)
        with self._lock:
            self._live[name] = live
            if self._care is None:
                self._care = threading.Thread(
                    target=self._keep_limits, name=f"{self.name}-limits", daemon=True
                )
                self._care.start()
        threading.Thread(
            target=self._watch, args=(name, live), name=f"{self.name}-watch", daemon=True
        ).start()

    def _watch(self, name: str, live: _Live) -> None:
        try:
            self._follow(name, live)
        except Exception:  # whoever waits must hear of an end, whatever is wrong with us
            log.exception("watching %s failed", name)
            self._settle(name, live, Result("lost", None, detail="watching it failed; see the server's log"))

    def _follow(self, name: str, live: _Live) -> None:
        """Follow its log to the end, then see how it ended. A connection that breaks is made anew."""
        while not self._stopping.is_set():
            try:
                self._read_on(name, live)
            except Problem as problem:  # what became of it is seen next
                log.info("%s: its log broke off: %s", name, problem.detail)
            try:
                seen = self._machine.look(name)
            except Problem as problem:
                if problem.code == "not_found":
                    self._settle(
                        name, live, Result("lost", None, detail="it vanished from the other machine")
                    )
                    return
                log.warning("%s: %s", name, problem.detail)
            else:
                if seen.exit_code is not None:
                    self._settle(name, live, self._ended(name, live, seen))
                    return
            self._stopping.wait(_AGAIN_S)

    def _read_on(self, name: str, live: _Live) -> None:
        """Append what is new; a fresh connection begins with what is known already."""
        most, skip = (live.spec.limits.output if live.spec else 1 << 26), live.printed
        with self._log(name).open("ab") as file:
            for data in self._machine.follow(name):
                known = min(skip, len(data))
                skip -= known
                fresh = data[known:]
                if fresh:
                    file.write(fresh[: max(0, most - live.printed)])
                    file.flush()
                    live.printed += len(fresh)
                if self._stopping.is_set():
                    return

    def _ended(self, name: str, live: _Live, seen: Seen) -> Result:
        spec, reason, detail = live.spec, live.cause or seen.cause or "exit", seen.detail
        if spec is not None:
            try:
                self._machine.fetch(name, spec)
            except Problem as problem:
                reason, detail = ("disk" if reason == "exit" else reason), problem.detail
        truncated = spec is not None and live.printed > spec.limits.output
        if truncated and spec is not None:
            with self._log(name).open("ab") as file:
                file.write(f"\n[truncated: {spec.limits.output} of {live.printed} bytes are kept]\n".encode())
        use = dataclasses.replace(
            live.use,
            cpu_s=max(live.use.cpu_s, seen.use.cpu_s),
            wall_s=round(seen.seconds, 4),
            output=live.printed,
        )
        code = seen.exit_code if reason in ("exit", "oom", "killed", "timeout", "disk") else None
        return Result(reason, code, use, detail, truncated)

    def _settle(self, name: str, live: _Live, result: Result) -> None:
        with self._lock:
            live.result = result
            live.ended.set()
            tell, live.tell = live.tell, []
        for call in tell:
            call(Sandbox(name, self.name, "remote", result.state, result))

    def _keep_limits(self) -> None:
        while not self._stopping.wait(_TICK_S):
            with self._lock:
                running = [(name, live) for name, live in self._live.items() if not live.ended.is_set()]
            for name, live in running:
                try:
                    self._look_after(name, live)
                except Problem as problem:
                    log.debug("%s: %s", name, problem.detail)

    def _look_after(self, name: str, live: _Live) -> None:
        use = self._machine.use(name)
        live.use = dataclasses.replace(
            use, cpu_s=max(use.cpu_s, live.use.cpu_s), max_rss=max(use.max_rss, live.use.max_rss),
            network_sent=max(use.network_sent, live.use.network_sent),
            network_received=max(use.network_received, live.use.network_received),
        )  # fmt: skip
        if (
            live.spec is not None
            and live.cause is None
            and time.monotonic() - live.began > live.spec.limits.wall_s
        ):
            self._end(name, live, "timeout", None)

    def _end(self, name: str, live: _Live, cause: Reason, grace_s: float | None) -> None:
        live.cause = live.cause or cause
        grace = grace_s if grace_s is not None else live.spec.limits.grace_s if live.spec else 5.0
        with contextlib.suppress(Problem):  # it ended by itself meanwhile, or the watch finds that it is lost
            self._machine.end(name, grace)

    def _log(self, name: str) -> Path:
        return self._state / name / "log"
