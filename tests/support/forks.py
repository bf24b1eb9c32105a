"""Processes that start in no time: forked off one that has imported everything, which takes a second otherwise.

They stand for `python -m`: with folder, environment and standard streams of their own, and the exit codes of
`subprocess`. What looks at how a program starts, or how large it is, starts the real one.
"""

import ctypes
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing import reduction
from pathlib import Path
from typing import Any

_context = multiprocessing.get_context("forkserver")
# What an engine imports once it runs is imported beforehand, too.
_context.set_forkserver_preload(
    ["builderos.app", "dbos", "tests.support.crashes", "tests.support.engines", "tests.support.shipping"]
)
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET of unshare(2)


class _Stream:
    """A file descriptor on its way into the new process."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> Any:
        return _arrived, (reduction.DupFd(self.descriptor),)


def _arrived(sent: Any) -> _Stream:
    return _Stream(sent.detach())


class Forked:
    """A running `function(*args)`; the names are those of `subprocess.Popen`. `streams` are descriptors 0, 1 and 2."""

    def __init__(
        self, function: Callable[..., None], *args: Any, streams: tuple[int, int, int], cwd: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._process = _context.Process(
            target=_run,
            args=(function, args, [_Stream(one) for one in streams], str(cwd), {**(env or os.environ)}),
            daemon=True,
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Whether it ended, and how."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises `subprocess.TimeoutExpired`."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Tell it, while it is there to be told."""
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _run(
    function: Callable[..., None],
    args: tuple[Any, ...],
    streams: list[_Stream],
    cwd: str,
    env: dict[str, str],
) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for number, stream in enumerate(streams):
        os.dup2(stream.descriptor, number)
        os.close(stream.descriptor)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    function(*args)


def module(name: str, *words: str) -> None:
    """Run a module as `python -m` does."""
    sys.argv = [name, *words]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def standing_by(name: str) -> None:
    """Run a module that is a server for a whole test run, most of which it waits: it looks into its queues less often.

    Whatever can start at once does; only what waits for a place waits a little longer.
    """
    from builderos.engine import durable

    durable._POLL_S = 1.0  # type: ignore[misc]  # ten times as long
    module(name)


def apart(name: str, *words: str) -> None:
    """Run a module in a network of its own, which has nothing but a loopback."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    module(name, *words)
