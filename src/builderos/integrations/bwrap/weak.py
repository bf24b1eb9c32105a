"""The process that stands over a command of the weak tier: `weak.py ORDER BLOCK LIFE`, three descriptors.

It waits for a byte on BLOCK, runs the command under Landlock, ends whatever the command left behind, and leaves with
its exit code. When LIFE ends, whoever ordered this is gone, and everything is ended at once.
"""

import json
import os
import select
import signal
import sys
import threading
from typing import Any, Final

from . import kernel, tree

_READABLE: Final = tuple(
    """/usr /bin /sbin /lib /lib32 /lib64 /proc/self /proc/cpuinfo /proc/meminfo /etc/ld.so.cache /etc/alternatives
    /etc/ssl/certs /etc/ssl/openssl.cnf /etc/localtime /etc/mime.types /etc/nsswitch.conf /dev/urandom /dev/random
    /dev/zero /dev/full""".split()
)
_WRITABLE: Final = ("/dev/null",)
_NOT_STARTED: Final = 126


def main(order_fd: int, block: int, life: int) -> int:
    """Run it; returns the exit code."""
    kernel.outlive_parent()  # LIFE tells of its end, and then there is work to do
    kernel.adopt_orphans()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and the command would inherit that
        signal.signal(number, signal.SIG_DFL)
    with os.fdopen(order_fd) as file:
        order = json.load(file)
    if not os.read(block, 1):
        return _NOT_STARTED
    import sandlock  # pyright: ignore[reportMissingTypeStubs]  while the path to it can still be walked

    if order["account"] is not None:
        kernel.become(order["account"])
    codes: list[int] = []
    done, tell = os.pipe()
    threading.Thread(target=_run, args=(sandlock, order, codes, tell), daemon=True).start()
    ended, _, _ = select.select([life, done], [], [])
    _end_all()
    return codes[0] if done in ended and codes else _NOT_STARTED


def _run(sandlock: Any, order: dict[str, Any], codes: list[int], tell: int) -> None:
    sandbox = sandlock.Sandbox(
        fs_readable=[path for path in (*_READABLE, *order["readable"]) if os.path.exists(path)],
        fs_writable=[*_WRITABLE, *order["writable"]], cwd=order["cwd"], env=order["env"], clean_env=True,
        net_allow=[f"tcp://127.0.0.1:{order['port']}"] if order["port"] else [],
        extra_deny_syscalls=order["refused"], max_processes=order["pids"], no_coredump=True,
    )  # fmt: skip
    try:
        result = sandbox.popen(order["argv"], stdin=sandlock.StdioMode.NULL).wait()
        number = signal.SIGKILL if result.reason == sandlock.ExitReason.KILLED else result.signal
        codes.append(128 + number if number > 0 else result.exit_code)
    except RuntimeError as error:
        sys.stderr.write(f"sandlock: {error}\n")
        codes.append(_NOT_STARTED)
    finally:
        os.write(tell, b"x")


def _end_all() -> None:
    """Whatever is still below us, and what is born while we look."""
    own = os.getpid()
    while tree.descendants(own):
        tree.end_all_below(own)
        _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return


if __name__ == "__main__":
    code = main(*map(int, sys.argv[1:]))
    sys.stderr.flush()
    os._exit(code)  # the command's thread may hang in native code: nothing is waited for
