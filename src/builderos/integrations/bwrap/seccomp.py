"""System calls that no command needs and that have opened kernels before: refused inside the jail.

The jail holds without it; this takes away what an unknown fault of the kernel would be reached by.
"""

import os
from typing import Any, Final

# Other processes, mounts and namespaces, the kernel's keys, code and clock, and doors with a long list of faults.
REFUSED: Final = tuple(
    """ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd mount umount umount2
    pivot_root chroot move_mount open_tree open_tree_attr fsopen fsmount fsconfig fspick mount_setattr
    statmount listmount setns unshare name_to_handle_at open_by_handle_at keyctl add_key request_key bpf
    perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register kexec_load kexec_file_load
    init_module finit_module delete_module create_module query_module get_kernel_syms acct swapon swapoff
    reboot sethostname setdomainname quotactl quotactl_fd syslog nfsservctl lookup_dcookie settimeofday
    clock_settime clock_adjtime adjtimex stime ioperm iopl modify_ldt vm86 vm86old uselib ustat sysfs _sysctl
    personality vhangup fanotify_init fanotify_mark move_pages migrate_pages mbind set_mempolicy
    set_mempolicy_home_node""".split()
)
_NEWUSER: Final = 0x10000000
_NAMESPACES: Final = (0x00020000, 0x02000000, 0x04000000, 0x08000000, _NEWUSER, 0x20000000, 0x40000000)
# Younger than many a libseccomp; since 2019 a call has one number on all architectures.
_NUMBERS: Final = {
    "mount_setattr": 442, "quotactl_fd": 443, "set_mempolicy_home_node": 450, "statmount": 457, "listmount": 458,
    "open_tree_attr": 467,
}  # fmt: skip
# Kernel sockets, raw packets, crypto, other machines' guests, and families that nobody uses but attackers.
_FAMILIES: Final = (
    3,
    4,
    5,
    6,
    9,
    11,
    12,
    15,
    16,
    17,
    18,
    19,
    20,
    21,
    26,
    29,
    30,
    31,
    32,
    37,
    38,
    39,
    40,
    41,
    42,
    43,
    44,
    45,
)
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_EPERM, _ENOSYS, _EAFNOSUPPORT, _EOPNOTSUPP = 1, 38, 97, 95
_NETLINK: Final = 16


def compiled() -> bytes:
    """The filter as the kernel reads it, for this machine's architecture; any other ABI is killed.

    Raises `RuntimeError` where libseccomp is missing or takes no such rule.
    """
    import pyseccomp  # pyright: ignore[reportMissingTypeStubs]  loads libseccomp

    lib: Any = pyseccomp  # it has no types
    rules = lib.SyscallFilter(lib.ALLOW)
    for name in REFUSED:
        number = lib.resolve_syscall(lib.Arch.NATIVE, name)
        number = _NUMBERS.get(name, -1) if number < 0 else number
        if number >= 0:  # else this architecture never had it
            rules.add_rule(lib.ERRNO(_EPERM), number)
    rules.add_rule(
        lib.ERRNO(_ENOSYS), "clone3"
    )  # its flags lie in memory, unseen; the C library then takes clone
    for flag in _NAMESPACES:
        rules.add_rule(lib.ERRNO(_EPERM), "clone", lib.Arg(0, lib.MASKED_EQ, flag, flag))
    for family in _FAMILIES:
        # Whoever asks for the network's devices (ZeroMQ, and with it every notebook) goes on without them after this
        # answer alone, and gives up after the other.
        error = _EOPNOTSUPP if family == _NETLINK else _EAFNOSUPPORT
        rules.add_rule(lib.ERRNO(error), "socket", lib.Arg(0, lib.MASKED_EQ, 0xFFFFFFFF, family))
    for request in (_TIOCSTI, _TIOCLINUX):
        rules.add_rule(lib.ERRNO(_EPERM), "ioctl", lib.Arg(1, lib.MASKED_EQ, 0xFFFFFFFF, request))
    return _exported(rules)


def names_here() -> list[str]:
    """Those of `REFUSED` that this architecture has. Raises `RuntimeError` where libseccomp is missing."""
    import pyseccomp  # pyright: ignore[reportMissingTypeStubs]

    lib: Any = pyseccomp
    return [n for n in REFUSED if n in _NUMBERS or lib.resolve_syscall(lib.Arch.NATIVE, n) >= 0]


def in_memory(data: bytes, name: str) -> int:
    """A descriptor from which `data` can be read once."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _exported(rules: Any) -> bytes:
    fd = os.memfd_create("filter", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            rules.export_bpf(file)
        os.lseek(fd, 0, os.SEEK_SET)
        return os.read(fd, 1 << 20)
    finally:
        os.close(fd)
