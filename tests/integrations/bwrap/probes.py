"""Ways out of a sandbox, each tried by a program inside. A program that got what it wanted leaves with 42.

`PRELUDE` stands before each: `got(what)` says that it worked, `call(name, ...)` is a system call and returns -errno.
Of the outside it knows: CANARY (a file), SECRET (its content), FOLDER (a folder with it), PID (a process of the
same account), PARENT (whoever started the command), TCP, TCP6, UDP
(ports of the loopback), ABSTRACT and SOCKET (Unix sockets), SHM (a System V segment), HOSTNAME. All are real, or the
probe proves nothing: tests check that they can be reached from outside.
"""

from typing import Final

PRELUDE: Final = r"""
import ctypes, errno, glob, os, signal, socket, stat, struct, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
NR = dict(
    ptrace=101, process_vm_readv=310, kcmp=312, pidfd_getfd=438, mount=165, umount2=166, pivot_root=155, chroot=161,
    move_mount=429, open_tree=428, fsopen=430, fspick=433, mount_setattr=442, setns=308, unshare=272,
    name_to_handle_at=303, open_by_handle_at=304, keyctl=250, add_key=248, request_key=249, bpf=321,
    perf_event_open=298, userfaultfd=323, io_uring_setup=425, kexec_load=246, kexec_file_load=320, init_module=175,
    finit_module=313, delete_module=176, acct=163, swapon=167, reboot=169, sethostname=170, setdomainname=171,
    quotactl=179, syslog=103, settimeofday=164, clock_settime=227, adjtimex=159, ioperm=173, iopl=172, modify_ldt=154,
    personality=135, fanotify_init=300, clone=56, clone3=435, mknod=133, memfd_create=319, statmount=457, listmount=458,
    shmget=29, shmat=30, move_pages=279, pidfd_open=434, pidfd_send_signal=424, vhangup=153, ustat=136,
)
def call(name, *arguments):
    done = libc.syscall(NR[name], *arguments)
    return -ctypes.get_errno() if done == -1 else done
def got(what="it worked"):
    print("ESCAPED:", what, flush=True)
    os._exit(42)
def read(path, size=4096):
    with open(path, "rb") as file:
        return file.read(size)
def has(data):
    if SECRET.encode() in data: got(data)
def attempt(function, *arguments):
    try: return function(*arguments)
    except OSError: return None
def worked(done):
    if done >= 0: got(done)
"""

# Runs each probe in a process of its own and prints what became of it.
DRIVER: Final = r"""
import json, os, signal, sys, traceback
order = json.load(open("order.json"))
order["words"]["PARENT"] = os.getppid()
found = {}
for name, body in order["probes"].items():
    sys.stdout.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writer, 1); os.dup2(writer, 2)
        os.close(reader); os.close(writer)
        signal.alarm(10)
        place = os.path.join(os.environ["TMPDIR"], name)
        os.mkdir(place); os.chdir(place)
        open("mine", "w").close()
        try:
            exec(order["prelude"] + "\n" + body, dict(order["words"]))
            print("HELD", flush=True)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush(); sys.stderr.flush()
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe: text = pipe.read().decode("utf-8", "replace")
    found[name] = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text[-2000:]]
print(json.dumps(found))
"""

FILES: Final = {
    "read-canary": "has(read(CANARY))",
    "read-canary-through-root": "has(read('/proc/self/root' + CANARY))",
    "read-canary-through-init-root": "has(read('/proc/1/root' + CANARY))",
    "read-canary-through-init-cwd": "has(read('/proc/1/cwd/../../../../../../..' + CANARY))",
    "read-canary-through-host-process": "has(read(f'/proc/{PID}/root' + CANARY))",
    "read-canary-by-climbing": "has(read('../' * 40 + CANARY.lstrip('/')))",
    "read-canary-by-symlink": "os.symlink(CANARY, 'l'); has(read('l'))",
    "read-canary-by-hardlink": "os.link(CANARY, 'h'); has(read('h'))",
    "read-canary-by-old-root": r"""
for p in ('/oldroot', '/newroot', '/.oldroot', '/mnt', '/host'):
    has(attempt(read, p + CANARY) or b'')
""",
    "read-canary-by-open-descriptors": """
for fd in os.listdir('/proc/self/fd'):
    if int(fd) > 2: has(attempt(read, f'/proc/self/fd/{fd}/..' + CANARY) or b'')
""",
    "hold-a-descriptor-of-a-folder": """
for fd in os.listdir('/proc/self/fd'):
    path = attempt(os.readlink, f'/proc/self/fd/{fd}') or ''
    if path.startswith('/') and not path.startswith(('/dev/null', '/proc/')) and os.path.isdir(path): got(path)
""",
    "read-shadow": "got(read('/etc/shadow')) if read('/etc/shadow') else None",
    "list-root-home": "got(os.listdir('/root'))",
    "list-folder": "got(os.listdir(FOLDER))",
    "stat-canary": "got(os.stat(CANARY).st_size)",
    "list-sys": "got(os.listdir('/sys/kernel'))",
    "list-run": "[got(p) for p in os.listdir('/run') if p not in ('secrets',)]",
    "list-var": "got(os.listdir('/var/lib'))",
    "list-boot": "got(os.listdir('/boot'))",
    "docker-socket": "socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock'); got()",
    "read-host-passwd": r"""
for l in read('/etc/passwd').splitlines():
    if l.split(b':')[0] not in (b'root', b'builder'): got(l)
""",
    "read-machine-id": "got(read('/etc/machine-id'))",
    "read-host-name-file": "got() if HOSTNAME in read('/etc/hostname').decode() else None",
    "read-resolver": "got(read('/etc/resolv.conf'))",
    "read-block-device": "[got(p) for p in glob.glob('/dev/[svn][dvm]*') if attempt(read, p)]",
    "read-memory-device": "got(read('/dev/mem', 1))",
    "read-kernel-log-device": "os.close(os.open('/dev/kmsg', os.O_RDONLY)); got()",
    "read-kcore": "got() if read('/proc/kcore', 64) else None",
    "read-kernel-addresses": "[got(l) for l in read('/proc/kallsyms').splitlines() if int(l.split()[0], 16)]",
    "read-keys": "got() if read('/proc/keys') else None",
    "make-block-device": "worked(call('mknod', b'd', stat.S_IFBLK | 0o600, os.makedev(254, 0)))",
    "make-char-device": "worked(call('mknod', b'd', stat.S_IFCHR | 0o600, os.makedev(1, 1)))",
    "handle-of-root": """
handle = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128)); m = ctypes.c_int()
worked(call('name_to_handle_at', -100, b'/', handle, ctypes.byref(m), 0))
""",
    "open-root-by-handle": """
handle = ctypes.create_string_buffer(struct.pack('IiI', 8, 1, 2) + bytes(8))
fd = call('open_by_handle_at', os.open('.', os.O_RDONLY), handle, os.O_RDONLY)
worked(fd)
""",
    "write-canary": "open(CANARY, 'w').write('x'); got()",
    "append-canary-by-symlink": "os.symlink(CANARY, 'l'); open('l', 'a').write('x'); got()",
    "chmod-canary": "os.chmod(CANARY, 0o777); got()",
    "touch-canary": "os.utime(CANARY); got()",
    "remove-canary": "os.unlink(CANARY); got()",
    "write-beside-canary": "open(FOLDER + '/new', 'w'); got()",
    "write-usr": "open('/usr/x', 'w'); got()",
    "write-usr-local-bin": "open('/usr/local/bin/x', 'w'); got()",
    "write-etc": "open('/etc/x', 'w'); got()",
    "write-root": "open('/x', 'w'); got()",
    "write-dev": "open('/dev/x', 'w'); got()",
    "write-core-pattern": "open('/proc/sys/kernel/core_pattern', 'w').write('|/x'); got()",
    "write-modprobe-path": "open('/proc/sys/kernel/modprobe', 'w').write('/x'); got()",
    "write-sysrq": "open('/proc/sysrq-trigger', 'w').write('h'); got()",
    "write-uevent-helper": "open('/sys/kernel/uevent_helper', 'w').write('/x'); got()",
    "write-ip-forward": "open('/proc/sys/net/ipv4/ip_forward', 'w').write('1'); got()",
    "write-binfmt": "open('/proc/sys/fs/binfmt_misc/register', 'w').write(':x:M::x::/x:'); got()",
    "write-cgroup": r"""
for p in glob.glob('/sys/fs/cgroup/**/cgroup.procs', recursive=True)[:9]:
    if attempt(os.open, p, os.O_WRONLY) is not None: got(p)
""",
    "link-new-file-into-usr": """
fd = os.open('.', os.O_TMPFILE | os.O_RDWR); os.link(f'/proc/self/fd/{fd}', '/usr/x'); got()
""",
    "remap-own-root-writable": "worked(call('mount', b'none', b'/usr', None, 0x1000 | 0x20, None))",
}  # fmt: skip

GIT: Final = {
    "git-write-config": "open('.git/config', 'a').write('[core]'); got()",
    "git-write-hook": "open('.git/hooks/post-checkout', 'w').write('x'); got()",
    "git-move-away": "os.rename('.git', 'moved'); got()",
    "git-remove": "os.unlink('.git/config'); got()",
    "git-chmod": "os.chmod('.git/config', 0o777); got()",
    "git-link-into": "os.link('mine', '.git/mine'); got()",
    "git-swap": """
try: libc.renameat2(-100, b'mine', -100, b'.git', 2) == 0 and got()
except AttributeError: pass
""",
    "git-by-descriptor": """
fd = os.open('.git', os.O_RDONLY); os.close(os.open('new', os.O_CREAT | os.O_WRONLY, dir_fd=fd)); got()
""",
    "git-unmount": "worked(call('umount2', b'.git', 2))",
    "git-truncate": "os.truncate('.git/config', 0); got()",
}

POWER: Final = {
    "become-root": "os.setuid(0); got()",
    "become-root-group": "os.setgid(0); got()",
    "take-groups": "os.setgroups([0]); got()",
    "run-su": r"""
subprocess.run(['su', '-c', 'true'], stdin=subprocess.DEVNULL, check=True, capture_output=True)
got()
""",
    "take-capabilities": """
head = struct.pack('Ii', 0x20080522, 0); data = struct.pack('6I', *[0xffffffff] * 6)
libc.capset(head, data) == 0 and got()
""",
    "hold-capabilities": """
for line in read('/proc/self/status').splitlines():
    if line.startswith((b'CapEff', b'CapPrm')) and int(line.split()[1], 16): got(line)
""",
    "gain-by-exec": "[got(l) for l in read('/proc/self/status').splitlines() if l == b'NoNewPrivs:\\t0']",
    "no-filter": "[got(l) for l in read('/proc/self/status').splitlines() if l == b'Seccomp:\\t0']",
    "new-user-namespace": "worked(call('unshare', 0x10000000))",
    "new-mount-namespace": "worked(call('unshare', 0x00020000))",
    "new-process-namespace": "worked(call('unshare', 0x20000000))",
    "new-network-namespace": "worked(call('unshare', 0x40000000))",
    "new-ipc-namespace": "worked(call('unshare', 0x08000000))",
    "new-uts-namespace": "worked(call('unshare', 0x04000000))",
    "new-cgroup-namespace": "worked(call('unshare', 0x02000000))",
    "new-user-namespace-by-clone": """
pid = call('clone', 0x10000000 | 17, 0, 0, 0, 0)
if pid == 0: os._exit(0)
worked(pid)
""",
    "new-user-namespace-by-clone3": """
data = ctypes.create_string_buffer(struct.pack('11Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0))
pid = call('clone3', data, 88)
if pid == 0: os._exit(0)
worked(pid)
""",
    "new-user-namespace-by-program": r"""
subprocess.run(['unshare', '-Ur', 'true'], check=True, capture_output=True)
got()
""",
    "nested-bubblewrap": r"""
subprocess.run(['bwrap', '--ro-bind', '/', '/', 'true'], check=True, capture_output=True)
got()
""",
    "enter-init-mounts": "worked(call('setns', os.open('/proc/1/ns/mnt', os.O_RDONLY), 0))",
    "enter-host-mounts": "worked(call('setns', os.open(f'/proc/{PID}/ns/mnt', os.O_RDONLY), 0))",
    "enter-init-user": "worked(call('setns', os.open('/proc/1/ns/user', os.O_RDONLY), 0))",
    "chroot": "worked(call('chroot', b'.'))",
    "mount-tmpfs": "worked(call('mount', b'none', b'.', b'tmpfs', 0, None))",
    "mount-proc": "worked(call('mount', b'none', b'.', b'proc', 0, None))",
    "mount-cgroup": "worked(call('mount', b'none', b'.', b'cgroup', 0, b'memory'))",
    "mount-bind": "worked(call('mount', b'/', b'.', None, 0x1000, None))",
    "unmount-proc": "worked(call('umount2', b'/proc', 2))",
    "pivot": "worked(call('pivot_root', b'.', b'.'))",
    "new-mount-api": "worked(call('fsopen', b'tmpfs', 0))",
    "pick-mount": "worked(call('fspick', -100, b'/', 0))",
    "clone-mount": "worked(call('open_tree', -100, b'/', 1))",
    "move-mount": "worked(call('move_mount', -100, b'/usr', -100, b'.', 0))",
    "change-mount": r"""
worked(call('mount_setattr', -100, b'/usr', 0, ctypes.create_string_buffer(struct.pack('4Q', 0, 1, 0, 0)), 32))
""",
    "list-mounts": r"""
ask = ctypes.create_string_buffer(struct.pack('IIQQQ', 32, 0, 0xffffffffffffffff, 0, 0))
worked(call('listmount', ask, ctypes.create_string_buffer(800), 100, 0))
""",
    "raise-open-files": r"""
import resource
h = resource.getrlimit(7)[1]
resource.setrlimit(7, (h + 1, h + 1))
got()
""",
    "raise-file-size": "import resource; resource.setrlimit(1, (-1, -1)); got()",
    "real-time-priority": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)); got()",
    "raise-priority": "os.setpriority(os.PRIO_PROCESS, 0, -10); got()",
}  # fmt: skip

KERNEL: Final = {
    "bpf": r"""
worked(call('bpf', 0, ctypes.create_string_buffer(struct.pack('IIII', 2, 4, 4, 1) + bytes(112)), 128))
""",
    "perf": r"""
worked(call('perf_event_open', ctypes.create_string_buffer(struct.pack('II', 1, 112) + bytes(104)), 0, -1, -1, 0))
""",
    "userfaultfd": "worked(call('userfaultfd', 0))",
    "io-uring": "worked(call('io_uring_setup', 1, ctypes.create_string_buffer(120)))",
    "keyring-read": "worked(call('keyctl', 0, -4, 0))",
    "keyring-add": "worked(call('add_key', b'user', b'x', b'y', 1, -3))",
    "keyring-ask": "worked(call('request_key', b'user', b'x', None, -3))",
    "kexec": "worked(call('kexec_load', 0, 0, None, 0))",
    "load-module": "worked(call('init_module', b'', 0, b''))",
    "load-module-by-descriptor": "worked(call('finit_module', os.open('mine', os.O_RDONLY), b'', 0))",
    "remove-module": "worked(call('delete_module', b'dummy', 0o4000))",
    "accounting": "worked(call('acct', None))",
    "swap": "worked(call('swapon', b'mine', 0))",
    "reboot": "worked(call('reboot', 0xfee1dead, 0x28121969, 0, None))",
    "rename-host": "worked(call('sethostname', b'x', 1))",
    "rename-domain": "worked(call('setdomainname', b'x', 1))",
    "quota": "worked(call('quotactl', 0x80000100, b'/dev/vda', 0, None))",
    "kernel-log": "worked(call('syslog', 3, ctypes.create_string_buffer(100), 100))",
    "set-clock": "worked(call('clock_settime', 0, ctypes.create_string_buffer(struct.pack('qq', 1, 1))))",
    "set-time-of-day": r"""
worked(call('settimeofday', ctypes.create_string_buffer(struct.pack('qq', 1, 1)), None))
""",
    "steer-clock": "worked(call('adjtimex', ctypes.create_string_buffer(struct.pack('I', 2) + bytes(204))))",
    "io-ports": "worked(call('ioperm', 0x70, 1, 1))",
    "io-level": "worked(call('iopl', 3))",
    "segments": "worked(call('modify_ldt', 0, ctypes.create_string_buffer(16), 16))",
    "watch-all-files": "worked(call('fanotify_init', 0, 0))",
    "compare-processes": "worked(call('kcmp', os.getpid(), 1, 0, 0, 0))",
    "hang-up-terminal": "worked(call('vhangup'))",
    "other-abi-x32": "worked(libc.syscall(0x40000000 | 39) - 1)",
    "other-abi-i386": """
import mmap
page = mmap.mmap(-1, 4096, prot=7); page.write(bytes.fromhex('b814000000cd80c3'))
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
worked(ctypes.CFUNCTYPE(ctypes.c_int)(address)() - 1)
""",
    "type-into-terminal": "import fcntl; fcntl.ioctl(0, 0x5412, b'x'); got()",
    "take-terminal": "os.open('/dev/tty', os.O_RDWR); got()",
}  # fmt: skip

PROCESSES: Final = {
    "see-host-process": "got(os.readlink(f'/proc/{PID}/exe'))",
    "see-host-environment": "has(read(f'/proc/{PID}/environ'))",
    "see-host-command-line": "has(read(f'/proc/{PID}/cmdline'))",
    "see-init-environment": "has(read('/proc/1/environ'))",
    "see-parent-environment": "has(read(f'/proc/{PARENT}/environ'))",
    "see-many-processes": r"""
for p in os.listdir('/proc'):
    if p.isdigit() and int(p) > 1000 and SECRET.encode() in (attempt(read, f'/proc/{p}/cmdline') or b''): got(p)
""",
    "signal-host-process": "os.kill(PID, signal.SIGCONT); got()",
    "kill-everything": "os.kill(-1, signal.SIGCONT) or None",
    "signal-by-descriptor": r"""
worked(call('pidfd_send_signal', call('pidfd_open', PID, 0), signal.SIGCONT, None, 0))
""",
    "trace-host-process": "worked(call('ptrace', 16, PID, 0, 0))",
    "trace-init": "worked(call('ptrace', 16, 1, 0, 0))",
    "trace-parent": "worked(call('ptrace', 16, PARENT, 0, 0))",
    "read-memory-of-init": "got(read('/proc/1/mem', 1))",
    "read-memory-by-call": """
local = ctypes.create_string_buffer(16); v = struct.pack('QQ', ctypes.addressof(local), 8)
worked(call('process_vm_readv', PID, v, 1, v, 1, 0))
""",
    "steal-descriptor": "worked(call('pidfd_getfd', call('pidfd_open', PARENT, 0), 0, 0))",
    "limit-host-process": "import resource; resource.prlimit(PID, resource.RLIMIT_NOFILE, (64, 64)); got()",
    "slow-host-process": "os.setpriority(os.PRIO_PROCESS, PID, 19); got()",
    "pin-host-process": "os.sched_setaffinity(PID, {0}); got()",
    "see-host-name": "got() if socket.gethostname() == HOSTNAME else None",
    "attach-host-memory": r"""
libc.shmat.restype = ctypes.c_void_p
a = libc.shmat(libc.shmget(SHM, 0, 0), None, 0)
got() if a not in (None, ctypes.c_void_p(-1).value) else None
""",
    "move-host-memory": "worked(call('move_pages', PID, 0, None, None, None, 0))",
    "stop-the-keeper": "os.kill(PARENT, signal.SIGSTOP); got() if PARENT > 1 else None",
}  # fmt: skip

NETWORK: Final = {
    "loopback-tcp": "socket.create_connection(('127.0.0.1', TCP), 2); got()",
    "loopback-tcp6": "socket.create_connection(('::1', TCP6), 2); got()",
    "loopback-udp": r"""
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.sendto(b'ping', ('127.0.0.1', UDP))
got(s.recv(9))
""",
    "abstract-socket": "socket.socket(socket.AF_UNIX).connect('\\0' + ABSTRACT); got()",
    "path-socket": "socket.socket(socket.AF_UNIX).connect(SOCKET); got()",
    "path-socket-datagram": "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).connect(SOCKET); got()",
    "metadata-service": "socket.create_connection(('169.254.169.254', 80), 2); got()",
    "public-address": "socket.create_connection(('1.1.1.1', 443), 2); got()",
    "own-address": "a = socket.gethostbyname(HOSTNAME); socket.create_connection((a, TCP), 2); got(a)",
    "wildcard-address": "socket.create_connection(('0.0.0.0', TCP), 2); got()",
    "mapped-address": "socket.create_connection(('::ffff:127.0.0.1', TCP), 2); got()",
    "dns": "got(socket.getaddrinfo('example.com', 443))",
    "dns-by-hand": r"""
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.sendto(bytes.fromhex('123401000001000000000000076578616d706c6503636f6d0000010001'), ('8.8.8.8', 53))
got(s.recv(512))
""",
    "send-any-udp": r"""
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b'x', ('192.0.2.1', 9))
got()
""",
    "connect-by-message": "s = socket.socket(); s.sendto(b'x', 0x20000000, ('127.0.0.1', TCP)); got()",
    "raw-socket": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); got()",
    "packet-socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); got()",
    "netlink-socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); got()",
    "crypto-socket": "socket.socket(38, socket.SOCK_SEQPACKET); got()",
    "vsock": "socket.socket(40, socket.SOCK_STREAM); got()",
    "vsock-to-host": "s = socket.socket(40, socket.SOCK_STREAM); s.settimeout(1); s.connect((2, 22)); got()",
    "bluetooth-socket": "socket.socket(31, socket.SOCK_RAW, 1); got()",
    "ping": r"""
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1)
s.sendto(bytes.fromhex('0800f7ff00000000'), ('127.0.0.1', 0))
s.settimeout(1)
got(s.recv(64))
""",
    "sctp": r"""
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)
s.connect(('127.0.0.1', TCP))
got()
""",
    "low-port": "socket.socket().bind(('0.0.0.0', 80)); got()",
    "foreign-listeners": r"""
for l in read('/proc/net/tcp', 1 << 20).splitlines()[1:]:
    if int(l.split()[1].split(b':')[1], 16) == TCP: got(l)
""",
    "interfaces": "[got(n) for _, n in socket.if_nameindex() if n != 'lo']",
}  # fmt: skip

TOGETHER: Final = FILES | POWER | KERNEL | PROCESSES | NETWORK  # one room is enough for all of these
PROBES: Final = TOGETHER | GIT
