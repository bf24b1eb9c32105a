"""A container as far as tests of remote providers need one: a real process over folders of its own, in namespaces.

The doubles of Docker and Kubernetes run commands in it, so that a test sees real exit codes, signals and files.
"""

import os
import shutil
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import pytest

from builderos.integrations.bwrap import tree

SYSTEM = (
    "--ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/sbin "
    "/sbin --ro-bind /etc /etc --proc /proc --dev /dev --tmpfs /tmp --tmpfs /home/builder"
).split()
_PATH = "/usr/local/bin:/usr/bin:/bin"
_PAGE = os.sysconf("SC_PAGE_SIZE")
_HZ = os.sysconf("SC_CLK_TCK")


def needed() -> None:
    """Skips where the machine cannot play containers."""
    if shutil.which("bwrap") is None:
        pytest.skip("the doubles of container engines run commands with bubblewrap")


class Box:
    """One container: folders are filled before `start`, a log grows, an exit code comes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("workspace", "secrets"):
            (root / name).mkdir(parents=True)
        self.log = root / "log"
        self.log.touch()
        self.process: subprocess.Popen[bytes] | None = None
        self.exit_code: int | None = None
        self.began = self.ended = 0.0
        self.peak = 0
        self.cpu_s = 0.0

    def folder(self, path: str) -> Path | None:
        """Where a path of the container lies here."""
        for name, place in (("/workspace", "workspace"), ("/run/secrets", "secrets")):
            if path == name or path.startswith(f"{name}/"):
                return self.root / place / path[len(name) :].lstrip("/")
        return None

    def put(self, path: str, stream: IO[bytes]) -> bool:
        """Unpack a tar at a path; whether all of it had a place in a volume."""
        with tarfile.open(fileobj=stream, mode="r|*") as tar:
            for member in tar:
                target = self.folder(os.path.normpath(f"{path}/{member.name}"))
                if target is None:
                    return False
                _lay(tar, member, target)
        return True

    def get(self, path: str) -> Iterator[bytes]:
        """A tar of a folder, under its own name."""
        place = self.folder(path)
        assert place is not None
        done = subprocess.run(
            ["tar", "-C", str(place.parent), "-cf", "-", place.name], capture_output=True, check=True
        )
        yield done.stdout

    def start(self, argv: Sequence[str], env: Mapping[str, str], cwd: str, *, writable: bool = True) -> None:
        """Run it as account 1000 where we are root."""
        words = ["bwrap", "--die-with-parent", "--unshare-pid", "--unshare-net", "--unshare-ipc", *SYSTEM]
        words += ["--bind" if writable else "--ro-bind", str(self.root / "workspace"), "/workspace"]
        words += ["--ro-bind", str(self.root / "secrets"), "/run/secrets", "--chdir", cwd, "--clearenv"]
        for name, value in {"PATH": _PATH, **env}.items():
            words += ["--setenv", name, value]
        self.began = time.time()
        begun = threading.Event()
        threading.Thread(target=self._run, args=([*words, "--", *argv], begun), daemon=True).start()
        begun.wait()

    def _run(self, words: list[str], begun: threading.Event) -> None:
        """In a thread that lives as long as the command: it dies with the thread that started it."""
        account = 1000 if os.geteuid() == 0 else None
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env={"PATH": _PATH},
                user=account, group=account, extra_groups=None if account is None else [],
            )  # fmt: skip
        begun.set()
        while self.process.poll() is None:
            self.measure()
            time.sleep(0.02)
        self.ended = time.time()
        code = self.process.returncode
        self.exit_code = code if code >= 0 else 128 - code

    def measure(self) -> None:
        """Look at what it uses now."""
        assert self.process is not None
        pids = tree.descendants(self.process.pid)
        self.peak = max(self.peak, tree.resident(pids))
        ticks = 0
        for pid in pids:
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += int(fields[11]) + int(fields[12])
        self.cpu_s = max(self.cpu_s, ticks / _HZ)

    def signal(self, number: signal.Signals) -> None:
        """As an init process passes it on; the kill ends everything."""
        if self.process is None or self.exit_code is not None:
            return
        if number == signal.SIGKILL:
            below = tree.descendants(self.process.pid)  # the first process of the namespace takes all others
            tree.tell(below[:1] or [self.process.pid], signal.SIGKILL)
        else:
            tree.tell(tree.descendants(self.process.pid)[1:], number)

    def follow(self, gone: threading.Event) -> Iterator[bytes]:
        """The log until the end."""
        with self.log.open("rb") as file:
            while not gone.is_set():
                ended = self.exit_code is not None or self.process is None
                if data := file.read(1 << 16):
                    yield data
                elif ended:
                    return
                else:
                    time.sleep(0.01)

    def close(self) -> None:
        """End it, and take its folders away."""
        self.signal(signal.SIGKILL)
        shutil.rmtree(self.root, ignore_errors=True)


def _lay(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.isdir():
        target.mkdir(exist_ok=True)
        target.chmod(member.mode)
    elif member.issym():
        target.symlink_to(member.linkname)
    else:
        source = tar.extractfile(member)
        assert source is not None
        target.write_bytes(source.read())
        target.chmod(member.mode)
    if os.geteuid() == 0:
        os.chown(target, member.uid, member.gid, follow_symlinks=False)
