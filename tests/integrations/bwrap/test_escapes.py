"""Every known way out is tried by a program inside.

None works in the strong tier, in the weak one only the listed gaps.
"""

import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from builderos.integrations.bwrap.gaps import WEAK_GAPS
from tests.integrations.bwrap.probes import DRIVER, GIT, PRELUDE, PROBES, TOGETHER
from tests.support.sandboxes import QUICK, Yard, yard_in_temp

SECRET = hex(0x9F2C77D1)
ESCAPED = 42
_SHM = 0x5EC2E7 + os.getpid()
_IPC_CREAT, _IPC_RMID = 0o1000, 0
_BROKEN = ("NameError", "SyntaxError", "AttributeError", "TypeError", "ImportError", "KeyError")
# Which probe shows which gap of the weak tier.
KNOWN: dict[str, str] = dict.fromkeys(set(GIT) - {"git-unmount"}, "git-writable") | {
    "stat-canary": "stat-outside",
    "chmod-canary": "metadata-outside",
    "touch-canary": "metadata-outside",
    "see-host-process": "neighbours",
    "slow-host-process": "neighbours",
    "pin-host-process": "neighbours",
    "limit-host-process": "neighbours",
    "netlink-socket": "netlink",
}


@dataclass
class Outside:
    """What a probe would like to reach; owned by the account that the command has, so that only walls hold it back."""

    folder: Path
    canary: Path
    words: dict[str, object]

    def untouched(self) -> bool:
        """Whether nothing of it was changed."""
        info = self.canary.stat()
        same = (info.st_mode & 0o777, info.st_mtime) == (0o644, 1_000_000_000)
        return same and self.unwritten()

    def unwritten(self) -> bool:
        """Whether it holds what it held."""
        return self.canary.read_text() == SECRET and sorted(os.listdir(self.folder)) == ["canary", "socket"]


@contextmanager
def outside_of(account: int) -> Iterator[Outside]:
    """Real targets: a file, a process, sockets of every kind, shared memory."""
    folder = Path(tempfile.mkdtemp(prefix="bos-outside-"))
    canary = folder / "canary"
    canary.write_text(SECRET)
    canary.chmod(0o644)
    folder.chmod(0o755)
    os.utime(canary, (1_000_000_000, 1_000_000_000))
    listeners = _listeners(str(folder / "socket"))
    for place in (folder, canary, folder / "socket"):
        os.chown(place, account, account)
    process = subprocess.Popen(["sleep", "1000"], env={"SECRET": SECRET}, user=account, group=account)
    segment = ctypes.CDLL(None).shmget(_SHM, 4096, _IPC_CREAT | 0o666)
    tcp, tcp6, udp = (listener.getsockname()[1] for listener in listeners[:3])
    words: dict[str, object] = {
        "SECRET": SECRET, "CANARY": str(canary), "FOLDER": str(folder), "PID": process.pid, "TCP": tcp, "TCP6": tcp6,
        "UDP": udp, "ABSTRACT": _abstract(), "SOCKET": str(folder / "socket"), "SHM": _SHM, "PARENT": os.getpid(),
        "HOSTNAME": socket.gethostname(),
    }  # fmt: skip
    try:
        yield Outside(folder, canary, words)
        assert process.poll() is None, "the process outside was ended"
    finally:
        process.kill()
        process.wait()
        for listener in listeners:
            listener.close()
        ctypes.CDLL(None).shmctl(segment, _IPC_RMID, None)
        shutil.rmtree(folder)


def _abstract() -> str:
    return f"bos-probe-{os.getpid()}"


def _listeners(path: str) -> list[socket.socket]:
    tcp, tcp6 = (
        socket.create_server(("127.0.0.1", 0)),
        socket.create_server(("::1", 0), family=socket.AF_INET6),
    )
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    threading.Thread(target=_echo, args=(udp,), daemon=True).start()
    unix = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    for listener, address in zip(unix, ("\0" + _abstract(), path), strict=True):
        listener.bind(address)
        listener.listen()
    os.chmod(path, 0o777)
    return [tcp, tcp6, udp, *unix]


def _echo(udp: socket.socket) -> None:
    while True:
        try:
            data, sender = udp.recvfrom(100)
            if not sender:  # it is being closed
                return
            udp.sendto(data, sender)
        except OSError:
            return


Found = dict[str, tuple[int, str]]


def _try_all(yard: Yard) -> tuple[Found, Outside, bool, bool]:
    """What became of every probe, and whether the outside is as it was, and holds what it held."""
    account = int(yard.text(yard.run("id", "-u")))
    own = yard.tier == "weak" and os.geteuid() == 0
    # Accounts are given out in turn: the next command has the next one. Inside the jail they all look alike.
    with outside_of(account + 1 if own else 60708 if os.geteuid() == 0 else os.geteuid()) as outside:
        workspace = yard.workspace()
        order = {"prelude": PRELUDE, "words": outside.words, "probes": TOGETHER}
        (workspace / "order.json").write_text(json.dumps(order))
        done = yard.run("python3", "-c", DRIVER, workspace=workspace, limits=replace(QUICK, wall_s=240))
        text = yard.text(done)
        assert done.state == "success", text[-2000:]
        found: Found = {name: (code, said) for name, (code, said) in json.loads(text).items()}
        state = (found, outside, outside.untouched(), outside.unwritten())
    for name, body in GIT.items():
        found[name] = _alone(yard, body)
    return state


def _alone(yard: Yard, body: str) -> tuple[int, str]:
    """Probes of a repository spoil it for one another."""
    workspace = yard.workspace()
    (workspace / ".git" / "hooks").mkdir(parents=True)
    (workspace / ".git" / "config").write_text("[core]\n")
    (workspace / "mine").write_text("mine")
    done = yard.run("python3", "-c", f"{PRELUDE}\n{body}\nprint('HELD')", workspace=workspace)
    config = workspace / ".git" / "config"
    whole = config.exists() and config.read_text() == "[core]\n"
    assert done.result is not None
    assert whole or yard.tier == "weak"
    return done.result.exit_code or 0, yard.text(done)


@pytest.fixture(scope="module")
def strong() -> Iterator[tuple[Found, Outside, bool, bool]]:
    with yard_in_temp("strong") as made:
        yield _try_all(made.needed())


@pytest.fixture(scope="module")
def weak() -> Iterator[tuple[Found, Outside, bool, bool]]:
    with yard_in_temp("weak") as made:
        yield _try_all(made.needed())


def test_there_are_enough_probes_and_what_they_seek_is_there() -> None:
    assert len(PROBES) >= 150
    reachable = """read-canary stat-canary list-folder loopback-tcp loopback-tcp6 loopback-udp abstract-socket
        path-socket see-host-environment attach-host-memory interfaces foreign-listeners signal-host-process
        slow-host-process""".split()
    with outside_of(os.geteuid()) as outside:
        words = "\n".join(f"{name} = {value!r}" for name, value in outside.words.items())
        for name in reachable:
            program = f"{words}\n{PRELUDE}\n{PROBES[name]}"
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
            assert done.returncode == ESCAPED, f"{name} reaches nothing from here: {done.stderr.decode()}"


@pytest.mark.parametrize("name", PROBES)
def test_no_probe_escapes_bubblewrap(name: str, strong: tuple[Found, Outside, bool, bool]) -> None:
    code, text = strong[0][name]
    assert code != ESCAPED, text
    assert "ESCAPED" not in text
    assert not any(word in text for word in _BROKEN), text
    assert SECRET not in text


def test_nothing_outside_was_changed_from_inside_bubblewrap(
    strong: tuple[Found, Outside, bool, bool],
) -> None:
    assert strong[2]


@pytest.mark.parametrize("name", PROBES)
def test_only_listed_gaps_are_open_under_landlock(name: str, weak: tuple[Found, Outside, bool, bool]) -> None:
    code, text = weak[0][name]
    assert not any(word in text for word in _BROKEN), text
    assert (code == ESCAPED) == (name in KNOWN), f"{KNOWN.get(name, 'no gap')} is listed for it: {text}"


def test_nothing_outside_was_written_under_landlock(weak: tuple[Found, Outside, bool, bool]) -> None:
    assert weak[3]


def test_every_listed_gap_is_shown_by_a_probe() -> None:
    watched = {"disk-watched", "real-paths"}  # shown in test_hostile.py and by the conformance suite
    assert {gap.id for gap in WEAK_GAPS} - watched == set(KNOWN.values())
