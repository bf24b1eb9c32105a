"""The strong tier's walls: one command line of bubblewrap."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from builderos.execution.compute.schema import Spec

WORKSPACE: Final = "/workspace"
SECRETS: Final = "/run/secrets"
HOME: Final = "/home/builder"
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXY_PORT: Final = 3128
OWN: Final = "127.0.0.1,localhost"
_MERGED: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# What /proc tells of others and any account may read. Every mount makes a start slower: root's own files are not here.
_MASKED: Final = ("keys", "key-users", "interrupts", "timer_list", "sched_debug")
_DEV_SHM: Final = "/dev/shm"  # noqa: S108  inside the jail
_TMP: Final = "/tmp"  # noqa: S108  inside the jail


@dataclass(frozen=True, slots=True)
class View:
    """What the jail is made of: paths on this machine, descriptors that bubblewrap inherits."""

    workspace: str
    git: str | None
    mounts: Sequence[tuple[str, str]]
    secret_fds: Sequence[tuple[str, int]]
    etc: Path
    seccomp_fd: int
    status_fd: int
    block_fd: int | None
    apart: bool = False


def environment(spec: Spec, proxy: str | None, workspace: str, home: str, secrets: str) -> dict[str, str]:
    """All that the command's environment holds."""
    scratch = _TMP if home == HOME else os.path.join(home, "tmp")
    env = {
        "PATH": PATH, "HOME": home, "LANG": "C.UTF-8", "WORKSPACE": workspace,
        "TMPDIR": scratch,
    }  # fmt: skip
    if proxy is not None:
        names = ("http_proxy", "https_proxy", "all_proxy")
        env |= dict.fromkeys((*names, *(name.upper() for name in names)), proxy)
        env |= dict.fromkeys(
            ("no_proxy", "NO_PROXY"), OWN
        )  # what it serves itself, and the way to its server
    env |= dict(spec.env)
    for secret in spec.secrets:
        env[secret.name] = f"{secrets}/{secret.name}" if secret.as_file else secret.value
    return env


def arguments(spec: Spec, view: View, env: dict[str, str]) -> list[str]:
    """Options of bubblewrap, to be handed over by descriptor: other users of this machine can read command lines."""
    scratch = str(spec.limits.scratch)
    bind = "--bind" if spec.writable else "--ro-bind"
    words = [
        *_namespaces(apart=view.apart), *_system(view),
        "--proc", "/proc", *_masked_proc(),
        "--dev", "/dev", "--size", scratch, "--tmpfs", _DEV_SHM, "--remount-ro", "/dev",
        "--size", scratch, "--perms", "1777", "--tmpfs", _TMP, "--size", scratch, "--tmpfs", HOME,
    ]  # fmt: skip
    for source, target in view.mounts:
        words += ["--ro-bind", source, target]
    for name, fd in view.secret_fds:
        words += ["--perms", "0400", "--ro-bind-data", str(fd), f"{SECRETS}/{name}"]
    words += [bind, view.workspace, WORKSPACE]
    if view.git is not None:
        words += ["--ro-bind", view.git, f"{WORKSPACE}/.git"]  # a mount point cannot be moved away either
    words += ["--remount-ro", "/", "--chdir", os.path.normpath(f"{WORKSPACE}/{spec.cwd}"), "--clearenv"]
    for name, value in env.items():
        words += ["--setenv", name, value]
    words += ["--seccomp", str(view.seccomp_fd), "--json-status-fd", str(view.status_fd)]
    return words + (["--block-fd", str(view.block_fd)] if view.block_fd is not None else [])


def smallest() -> list[str]:
    """Arguments that show whether this machine lends what a jail needs."""
    links = [word for name in _MERGED for word in _link(name)]
    return [*_namespaces(), "--ro-bind", "/usr", "/usr", *links, "--proc", "/proc", "--dev", "/dev"]


def _namespaces(*, apart: bool = False) -> list[str]:
    """`apart`: network, messages and host name are new already, and nobody in the jail has a right over them."""
    new = ["--unshare-pid", "--unshare-cgroup-try"] if apart else ["--unshare-all", "--hostname", "sandbox"]
    return [
        *new, "--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--uid", "1000",
        "--gid", "1000",
    ]  # fmt: skip


def _system(view: View) -> list[str]:
    words = ["--ro-bind", "/usr", "/usr"]
    for name in _MERGED:
        words += _link(name)
    words += ["--ro-bind", str(view.etc), "/etc"]
    return words


def _link(name: str) -> list[str]:
    place = Path("/", name)
    if place.is_symlink():
        return ["--symlink", str(place.readlink()).lstrip("/"), f"/{name}"]
    return ["--ro-bind", f"/{name}", f"/{name}"] if place.is_dir() else []


def _masked_proc() -> list[str]:
    words: list[str] = []
    for name in _MASKED:
        if Path("/proc", name).exists():
            words += ["--ro-bind", "/dev/null", f"/proc/{name}"]
    return words
