"""The system calls that Python 3.11 has no words for."""

import ctypes
import fcntl
import os
import socket
import struct
from typing import Final

NEWNS, NEWUSER, NEWNET = 0x00020000, 0x10000000, 0x40000000
NEWIPC, NEWUTS = 0x08000000, 0x04000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_MS_BIND, _MS_REC, _MS_SLAVE, _MS_NOSUID, _MS_NODEV = 0x1000, 0x4000, 0x80000, 0x2, 0x4
_MNT_DETACH: Final = 2
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 1, 4, 36
_NS_GET_USERNS: Final = 0xB701

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments):
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    """Leave namespaces for new ones. Raises `OSError`, as all functions here do."""
    _call("unshare", flags)


def setns(fd: int, kind: int) -> None:
    """Enter a namespace."""
    _call("setns", fd, kind)


def stand_apart(hostname: str) -> None:
    """Leave this machine's network, messages and name for new and empty ones, with nothing but a loopback."""
    unshare(NEWNET | NEWIPC | NEWUTS)
    socket.sethostname(hostname)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack_from("16sh", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, asked))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))


def owner_of(namespace: int) -> int:
    """A descriptor of the user namespace that owns this one."""
    return fcntl.ioctl(namespace, _NS_GET_USERNS)


def own_mounts() -> None:
    """A mount namespace of our own; the machine's later mounts and unmounts still arrive."""
    unshare(NEWNS)
    _call("mount", None, b"/", None, _MS_REC | _MS_SLAVE, None)


def mount_tmpfs(target: str, options: str) -> None:
    """A small file system in memory."""
    _call("mount", b"tmpfs", os.fsencode(target), b"tmpfs", _MS_NOSUID | _MS_NODEV, options.encode())


def bind(source: str, target: str) -> None:
    """Show `source` at `target`, too."""
    _call("mount", os.fsencode(source), os.fsencode(target), None, _MS_BIND | _MS_REC, None)


def unmount(target: str) -> None:
    """Take it away as soon as nobody uses it."""
    _call("umount2", os.fsencode(target), _MNT_DETACH)


def adopt_orphans() -> None:
    """Be the parent of all descendants whose own parent died."""
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """Be killed when the thread that forked this process ends, also after an exec."""
    _call("prctl", _PR_SET_PDEATHSIG, 9, 0, 0, 0)


def outlive_parent() -> None:
    """Take `die_with_parent` back."""
    _call("prctl", _PR_SET_PDEATHSIG, 0, 0, 0, 0)


def become(account: int) -> None:
    """Drop root for good, and be an ordinary process of that account, which may read its own /proc."""
    os.setgroups([])
    os.setgid(account)
    os.setuid(account)
    _call("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)
