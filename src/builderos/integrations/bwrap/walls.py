"""What a tier makes of a spec: a program to become, descriptors for it, and a way to end it."""

import contextlib
import json
import os
import secrets
import signal
import socket
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from builderos.core.problems import Problem
from builderos.execution.compute.schema import Spec

from . import jail, tree
from .seccomp import in_memory
from .stage import Stage

_ARGS, _FILTER, _STATUS, _BLOCK, _LIFE, _FIRST_SECRET = 10, 11, 12, 13, 14, 20
_MAX_SECRETS: Final = 32
_LOOPBACK: Final = "127.0.0.1"


@dataclass(slots=True)
class Built:
    """A room's walls before anything runs.

    `status`: what the walls say of themselves; `fds`: number there → descriptor here; `door`: where the proxy listens,
    if not inside at `port`; `password` of that door; `account` that it becomes at once, None where it does so itself.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    fds: Mapping[int, int]
    stdin: int
    status: int
    block: int | None = None
    life: int | None = None
    port: int = jail.PROXY_PORT
    door: socket.socket | None = None
    password: str | None = None
    scratch: Path | None = None
    account: int | None = None
    _handed: bool = field(default=False)

    def started(self) -> None:
        """The command holds its descriptors; we no longer do."""
        if not self._handed:
            self._handed = True
            for fd in {self.stdin, *self.fds.values()}:
                os.close(fd)

    def release(self) -> None:
        """Everything is ready: let the command begin."""
        if self.block is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self.block, b"x")
            os.close(self.block)
            self.block = None

    def close(self) -> None:
        """Give back what is left."""
        self.started()
        for fd in (self.status, self.block, self.life):
            if fd is not None:
                os.close(fd)
        self.block = self.life = None


class Walls(Protocol):
    """One tier."""

    def build(self, spec: Spec, workspace: int, account: int | None, *, watched: bool, apart: bool) -> Built:
        """Prepare. `watched`: limits are not the kernel's, so the command must wait until they are set.
        `apart`: as its seat is. Raises `Problem` or `OSError`."""
        ...

    def kill(self, seat: int, init: int, root: int) -> None:
        """End everything: `seat` and `init` are process descriptors (`init` -1 where unknown), `root` a number."""
        ...


class Strong:
    """Bubblewrap."""

    def __init__(self, stage: Stage, program: str, seccomp: bytes) -> None:
        self._stage = stage
        self._program = program
        self._seccomp = seccomp

    def build(self, spec: Spec, workspace: int, account: int | None, *, watched: bool, apart: bool) -> Built:
        """See `Walls`."""
        if len(spec.secrets) > _MAX_SECRETS:
            raise Problem("validation_failed", "there are too many secrets", hint=f"At most {_MAX_SECRETS}.")
        proxy = f"http://{_LOOPBACK}:{jail.PROXY_PORT}" if spec.hosts else None
        env = jail.environment(spec, proxy, jail.WORKSPACE, jail.HOME, jail.SECRETS)
        view_fds, paths = self._shown(spec, workspace)
        heard, status = os.pipe2(os.O_CLOEXEC)
        held, block = os.pipe2(os.O_CLOEXEC)
        files = [secret for secret in spec.secrets if secret.as_file]
        secret_fds = {
            _FIRST_SECRET + at: in_memory(secret.value.encode(), "secret") for at, secret in enumerate(files)
        }
        waits = watched or bool(spec.hosts or spec.calls)
        view = jail.View(
            workspace=paths["workspace"], git=paths.get("git"),
            mounts=[(paths[f"m{at}"], mount.target) for at, mount in enumerate(spec.mounts)],
            secret_fds=[(secret.name, _FIRST_SECRET + at) for at, secret in enumerate(files)],
            etc=self._stage.etc, seccomp_fd=_FILTER, status_fd=_STATUS,
            block_fd=_BLOCK if waits else None, apart=apart,
        )  # fmt: skip
        words = "\0".join(jail.arguments(spec, view, env)).encode() + b"\0"
        for fd in view_fds:
            os.close(fd)
        fds = {
            _ARGS: in_memory(words, "arguments"),
            _FILTER: in_memory(self._seccomp, "filter"),
            _STATUS: status,
        }
        argv = [self._program, "--args", str(_ARGS), "--", *spec.argv]
        return Built(
            argv, {}, fds | {_BLOCK: held} | secret_fds, os.open(os.devnull, os.O_RDONLY), heard, block,
            account=account,
        )  # fmt: skip

    def kill(self, seat: int, init: int, root: int) -> None:
        """The first process of a process namespace takes all others with it."""
        del root
        _kill(init if init >= 0 else seat)

    def _shown(self, spec: Spec, workspace: int) -> tuple[list[int], dict[str, str]]:
        """Paths that bubblewrap can reach, and descriptors to be closed once it was told."""
        opened: list[int] = []
        paths = {"workspace": self._stage.show(spec.id, "workspace", workspace)}
        for at, mount in enumerate(spec.mounts):
            opened.append(os.open(mount.source, os.O_PATH | os.O_CLOEXEC))
            paths[f"m{at}"] = self._stage.show(spec.id, f"m{at}", opened[-1])
        with contextlib.suppress(FileNotFoundError):
            git = os.open(".git", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=workspace)
            opened.append(git)
            if stat.S_ISLNK(os.fstat(git).st_mode):
                raise Problem(
                    "validation_failed", "the workspace's .git is a link", hint="Use a folder, or none."
                )
            paths["git"] = self._stage.show(spec.id, "git", git)
        return opened, paths


class Weak:
    """Landlock, by way of sandlock, in a process of its own that outlives none of the command's."""

    def __init__(self, stage: Stage, refused: Sequence[str]) -> None:
        self._stage = stage
        self._refused = list(refused)

    def build(self, spec: Spec, workspace: int, account: int | None, *, watched: bool, apart: bool) -> Built:
        """See `Walls`."""
        del watched, apart  # its process waits in any case, on the machine itself
        if any(mount.source != mount.target for mount in spec.mounts):
            raise Problem(
                "validation_failed", "the weak sandbox shows folders only where they are",
                hint="Mount it at its own path, or use a machine with the strong sandbox.",
            )  # fmt: skip
        scratch = self._stage.scratch(spec.id, account)
        place = self._stage.show(spec.id, "workspace", workspace)
        door, proxy, password = self._door() if spec.hosts else (None, None, None)
        for secret in spec.secrets:
            if secret.as_file:
                self._stage.write(scratch / "secrets" / secret.name, secret.value, account)
        env = jail.environment(spec, proxy, place, str(scratch), str(scratch / "secrets"))
        order = {
            "argv": list(spec.argv), "env": env, "cwd": os.path.normpath(f"{place}/{spec.cwd}"),
            "readable": [mount.source for mount in spec.mounts] + ([] if spec.writable else [place]),
            "writable": [str(scratch)] + ([place] if spec.writable else []),
            "port": door.getsockname()[1] if door else None, "pids": spec.limits.pids, "account": account,
            "refused": self._refused,
        }  # fmt: skip
        heard, status = os.pipe2(os.O_CLOEXEC)
        ends, life = os.pipe2(os.O_CLOEXEC)
        held, block = os.pipe2(os.O_CLOEXEC)
        fds = {
            _ARGS: in_memory(json.dumps(order).encode(), "order"),
            _STATUS: status,
            _LIFE: ends,
            _BLOCK: held,
        }
        argv = [sys.executable, "-I", "-m", f"{__package__}.weak", str(_ARGS), str(_BLOCK), str(_LIFE)]
        return Built(
            argv, {"HOME": str(scratch)}, fds, os.open(os.devnull, os.O_RDONLY), heard, block, life,
            door=door, password=password, scratch=scratch,
        )  # fmt: skip

    def kill(self, seat: int, init: int, root: int) -> None:
        """Orphans are its children, too: everything below it is the command's."""
        del init
        tree.end_all_below(root)
        _kill(seat)

    def _door(self) -> tuple[socket.socket, str, str]:
        """A listener on this machine's own loopback, which other programs could find: hence the password."""
        door = socket.create_server((_LOOPBACK, 0))
        password = secrets.token_urlsafe(24)
        return door, f"http://builder:{password}@{_LOOPBACK}:{door.getsockname()[1]}", password


def _kill(pidfd: int) -> None:
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
