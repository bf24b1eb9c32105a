"""`builderos` as a process that starts in no time: forked off one that has imported what every command imports.

It stands for `python scripts/builderos`: with folder, environment and standard streams of its own. What a single
command imports it imports itself, so that nothing is found which somebody else has loaded. What looks at how the
program starts runs the real one.
"""

import contextlib
import functools
import gc
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SCRIPT = str(ROOT / "scripts/builderos")


@dataclass(frozen=True)
class Done:
    """How a command ended; the code as `subprocess` has it."""

    code: int
    out: bytes
    err: bytes


@dataclass(frozen=True)
class Asked:
    """A command to run."""

    cwd: str
    words: list[str]
    env: dict[bytes, bytes]


class Nursery:
    """A process that forks commands. It ends with the one that made it, which holds the other end of its socket."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair()
        self._turn = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="bos-", dir="/tmp")  # a socket needs a short path
        self.address = f"{self._folder.name}/nursery"
        with theirs, socket.socket(socket.AF_UNIX) as door:
            door.bind(self.address)
            door.listen(64)
            ends = [theirs.fileno(), door.fileno()]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.commands", *map(str, ends)], cwd=ROOT, stdin=subprocess.DEVNULL,
                pass_fds=ends,
            )  # fmt: skip

    def run(
        self, words: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: bytes, timeout_s: float
    ) -> Done:
        """Run a command to its end. Raises `subprocess.TimeoutExpired`, and then ends it."""
        said = [str(cwd), str(len(words)), *words, *(f"{name}={value}" for name, value in env.items())]
        asked = os.fsencode("\0".join(said))
        pipes = [os.pipe() for _ in ("out", "err", "told")]
        with contextlib.ExitStack() as open_:
            found = [open_.enter_context(open(ours, "rb", buffering=0)) for ours, _ in pipes]
            given = open_.enter_context(tempfile.TemporaryFile(buffering=0))
            given.write(stdin)
            given.seek(0)
            try:
                with self._turn:
                    head = len(asked).to_bytes(4, "big")
                    socket.send_fds(self._line, [head], [given.fileno(), *(theirs for _, theirs in pipes)])
                    self._line.sendall(asked)
            finally:
                for _, theirs in pipes:
                    os.close(theirs)
            out, err, told = self._read(found, words, timeout_s)
        return Done(int(told.split()[1]), out, err)

    @staticmethod
    def _read(found: "Sequence[Any]", words: Sequence[str], timeout_s: float) -> list[bytes]:
        """All that the command writes, and what the nursery tells of it: its process id, then its exit code."""
        until, said = time.monotonic() + timeout_s, dict.fromkeys(found, b"")
        with selectors.DefaultSelector() as ready:
            for file in found:
                ready.register(file, selectors.EVENT_READ)
            while ready.get_map():
                events = ready.select(max(0, until - time.monotonic()))
                if not events:
                    os.kill(int(said[found[2]].split()[0]), signal.SIGKILL)
                    raise subprocess.TimeoutExpired([*words], timeout_s)
                for key, _ in events:
                    if data := os.read(key.fd, 1 << 16):
                        said[key.fileobj] += data
                    else:
                        ready.unregister(key.fileobj)
        return [said[file] for file in found]


@functools.cache
def nursery() -> Nursery:
    """The one of this process."""
    return Nursery()


def stand_in(folder: Path) -> Path:
    """Put a `builderos` for scripts there, which has its commands forked; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    program, source = folder / "builderos", Path(__file__).with_name("stand_in.py")
    program.write_text(f"#!{sys.executable} -IS\nNURSERY = {nursery().address!r}\n{source.read_text()}")
    program.chmod(0o755)
    return folder


def _serve(line: socket.socket, door: socket.socket) -> "tuple[Asked, list[int]]":
    """Fork a command for each request until nobody can ask any more; returns only in the commands."""
    waked, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}
    with selectors.DefaultSelector() as ready:
        ready.register(line, selectors.EVENT_READ)
        ready.register(door, selectors.EVENT_READ)
        ready.register(waked, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is waked:
                    waked.recv(4096)
                    _tell(running)
                    continue
                asking = door.accept()[0] if key.fileobj is door else line
                asked = _asked(asking)
                if asking is not line:
                    asking.close()
                elif asked is None:
                    os._exit(0)
                if asked and _forked(running, asked[1]):
                    return asked


def _asked(line: socket.socket) -> "tuple[Asked, list[int]] | None":
    head, streams, _, _ = socket.recv_fds(line, 4, 4)
    if not head:
        return None
    data, length = b"", int.from_bytes(head, "big")
    while len(data) < length:
        data += line.recv(length - len(data))
    cwd, count, *said = data.split(b"\0")
    words = [os.fsdecode(word) for word in said[: int(count)]]
    env = dict(one.split(b"=", 1) for one in said[int(count) :])
    return Asked(os.fsdecode(cwd), words, env), streams


def _forked(running: dict[int, int], streams: list[int]) -> bool:
    """Whether this is the new process."""
    pid = os.fork()
    if not pid:
        return True
    for stream in streams[:3]:
        os.close(stream)
    with contextlib.suppress(BrokenPipeError):  # who asked is gone
        os.write(streams[3], b"%d\n" % pid)
    running[pid] = streams[3]
    return False


def _tell(running: dict[int, int]) -> None:
    """Say how those ended that did."""
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            told = running.pop(pid)
            with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
                os.write(told, b"%d\n" % os.waitstatus_to_exitcode(status))
            os.close(told)


def _become(asked: "Asked", streams: list[int]) -> int:
    """Do in this process what the program does in one of its own; returns its exit code."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in enumerate(streams[:3]):
        os.dup2(stream, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir(asked.cwd)
    os.environ.clear()
    os.environb.update(asked.env)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    sys.argv, sys.path[0] = [SCRIPT, *asked.words], os.path.dirname(SCRIPT)
    try:
        runpy.run_path(SCRIPT, run_name="__main__")
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    except BaseException:  # as Python does with whatever nobody caught
        traceback.print_exc()
        return 1
    return 0


def _main() -> None:
    import builderos.client.contract
    import builderos.interfaces.cli.main  # noqa: F401

    gc.freeze()  # what is there stays as it is, in all of them
    code = _become(*_serve(*(socket.socket(fileno=int(end)) for end in sys.argv[1:])))
    threading._shutdown()  # type: ignore[attr-defined]  # threads of the command end before it does
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # nothing has to be taken apart


if __name__ == "__main__":
    _main()
