"""The words of running one command: what is asked, within which limits, what came of it."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

from builderos.core.problems import Problem

# How firmly a command is held. `remote`: by another machine, whose word it is.
Tier: TypeAlias = Literal["strong", "weak", "remote"]
State: TypeAlias = Literal["queued", "running", "success", "failed", "timeout"]
# `exit`: it ended by itself. `killed`: somebody asked for its end. `lost`: whoever watched it is gone, and so is it.
Reason: TypeAlias = Literal["exit", "timeout", "oom", "disk", "killed", "lost", "budget"]

MIB: Final = 1024 * 1024
CALLS_PORT: Final = 3129  # of a command's own loopback
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*\Z")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_HOST: Final = re.compile(
    r"(?:\*\.)?(?=.{1,253}(?::|\Z))(?!\d+(?:\.\d+)*(?::|\Z))"
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?(?::[0-9]{1,5})?\Z"
)
_MAX_ARGV: Final = 1 * MIB
_MAX_SECRET: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a command may use. Sizes in bytes.

    `cpu` cores; `memory` of all its processes together; `pids` processes and threads; `disk` what the workspace may
    hold; `scratch` each of /tmp, /home and /dev/shm; `output` what is kept of what it prints; `network` bytes through
    the proxy, both ways; `files` open at once per process; `grace_s` between being asked to end and being killed.
    """

    cpu: float = 1.0
    memory: int = 1024 * MIB
    pids: int = 256
    disk: int = 2048 * MIB
    scratch: int = 256 * MIB
    output: int = 64 * MIB
    network: int = 1024 * MIB
    files: int = 4096
    wall_s: float = 600.0
    grace_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of this machine (`source`) that the command finds at `target`, read-only."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that never appears in a command line, a log of ours or a result.

    As environment variable `name`, or with `as_file` as /run/secrets/`name`, whose path is then in that variable.
    """

    name: str
    value: str = field(repr=False)
    as_file: bool = False


@dataclass(frozen=True, slots=True)
class Spec:
    """One command. `id` is its idempotent name: run.node.attempt.

    `workspace` is a folder of this machine, the command's working folder (`cwd` names one below it). `hosts` are those
    the command may reach by HTTPS: `example.com`, `*.example.com`, `example.com:8443`; none by default. Nothing of the
    server's environment is inherited. `tier`: the weakest that will do. `image`, pinned by its digest, is what a remote
    provider starts. `serves`: the port of the command's own loopback at which the server that started it may call;
    nobody else can. `calls`: a socket file of that server, which the command reaches at `CALLS_PORT` of its loopback.
    The strong tier of `local` alone knows these two.
    """

    id: str
    argv: tuple[str, ...]
    workspace: str
    runtime: str = ""
    writable: bool = True
    cwd: str = ""
    mounts: tuple[Mount, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[Secret, ...] = ()
    hosts: tuple[str, ...] = ()
    limits: Limits = Limits()
    tier: Tier = "strong"
    image: str = ""
    gpu: int = 0
    serves: int = 0
    calls: str = ""

    def check(self) -> None:
        """Raise `validation_failed` for what no provider could run, before anything is made."""
        for rule, detail in _broken_rules(self):
            if rule:
                raise Problem("validation_failed", detail, hint="Mend the step and start it again.")

    def as_json(self) -> dict[str, Any]:
        """All of it, secrets too: for the pipe to whoever runs it, never for a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Spec":
        """What `as_json` gave."""
        given = dict(data)
        given["argv"], given["hosts"] = tuple(data["argv"]), tuple(data["hosts"])
        given["mounts"] = tuple(Mount(**mount) for mount in data["mounts"])
        given["env"] = tuple((name, value) for name, value in data["env"])
        given["secrets"] = tuple(Secret(**secret) for secret in data["secrets"])
        given["limits"] = Limits(**data["limits"])
        return cls(**given)

    def fingerprint(self) -> str:
        """Two specs of one name and one fingerprint are one execution. Values of secrets are left out."""
        known = self.as_json() | {"secrets": [(s.name, s.as_file) for s in self.secrets]}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Use:
    """What a command used. `max_rss` bytes: the most that all its processes held at once, where the system counts it;
    else the largest single process. `io_read` and `io_written` bytes of block devices; `output` bytes it printed."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    max_rss: int = 0
    io_read: int = 0
    io_written: int = 0
    output: int = 0
    network_sent: int = 0
    network_received: int = 0


@dataclass(frozen=True, slots=True)
class Egress:
    """Connections that the proxy let through or refused, alike ones counted together."""

    host: str
    port: int
    allowed: bool
    why: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Result:
    """How it ended. `exit_code` as a shell has it (128 + signal); None where it never came to an end of its own."""

    reason: Reason
    exit_code: int | None
    use: Use = Use()
    detail: str = ""
    truncated: bool = False
    egress: tuple[Egress, ...] = ()

    @property
    def state(self) -> State:
        """As a row of `ops.sandbox_runs` has it."""
        if self.reason == "timeout":
            return "timeout"
        return "success" if self.reason == "exit" and self.exit_code == 0 else "failed"

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Result":
        """What `dataclasses.asdict` gave, after a file or a pipe."""
        given = dict(data)
        given["use"] = Use(**data["use"])
        given["egress"] = tuple(Egress(**line) for line in data["egress"])
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Where one execution stands; `result` once it ended."""

    id: str
    provider: str
    tier: Tier
    state: State
    result: Result | None = None


@dataclass(frozen=True, slots=True)
class Meter:
    """What a command uses while it runs, and may use: seconds of processor and of time, bytes, processes.

    `working`: at one of its terminals something else than the shell itself runs.
    """

    cpu_s: float
    wall_s: float
    memory: int
    disk: int
    processes: int
    working: bool
    cpu_limit: float
    memory_limit: int
    disk_limit: int
    processes_limit: int


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Raw bytes of the log; `next_offset` is where the following call begins; `ended`: there will be no more."""

    data: bytes
    next_offset: int
    ended: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """What a tier is known not to hold back: to be shown to whoever decides, and asserted by tests."""

    id: str
    what: str


@dataclass(frozen=True, slots=True)
class Probe:
    """What a provider can do on this machine.

    `tier` None: nothing. `missing` says what the strong tier lacks and how to get it. `limits` names what the kernel
    itself enforces (cgroup), the rest is watched. `digest` changes when the system that commands see changes: a part
    of a step's cache key.
    """

    provider: str
    tier: Tier | None
    missing: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = ()
    limits: tuple[str, ...] = ()
    digest: str = ""


def host_rule(text: str) -> tuple[str, int]:
    """`*.example.com:8443` → (`*.example.com`, 8443); the port is 443 where none is named. Raises `ValueError`."""
    if not _HOST.match(text):
        raise ValueError(text)
    name, _, port = text.partition(":")
    number = int(port or 443)
    if not 0 < number < 65536:
        raise ValueError(text)
    return name, number


def _broken_rules(spec: Spec) -> list[tuple[bool, str]]:
    numbers = asdict(spec.limits)
    names = [name for name, _ in spec.env] + [secret.name for secret in spec.secrets]
    texts = [*spec.argv, spec.workspace, spec.cwd, *(value for _, value in spec.env)]
    paths = [mount.target for mount in spec.mounts] + [mount.source for mount in spec.mounts]
    return [
        (not _ID.match(spec.id) or len(spec.id) > 200, f"{spec.id[:60]!r} is no name for an execution"),
        (not spec.argv or not spec.argv[0], "there is no command"),
        (sum(len(part.encode("utf-8", "replace")) + 1 for part in spec.argv) > _MAX_ARGV, "the command is too long"),
        (any("\0" in text or not _encodable(text) for text in texts), "the command or its environment is no text"),
        (not all(_NAME.match(name) for name in names), "a variable's name has odd characters"),
        (len(set(names)) != len(names), "a variable is named twice"),
        (any("\0" in s.value or len(s.value) > _MAX_SECRET for s in spec.secrets), "a secret is too long"),
        (not spec.workspace.startswith("/"), "the workspace is no absolute path"),
        (_climbs(spec.cwd) or spec.cwd.startswith("/"), "the working folder leaves the workspace"),
        (any(not p.startswith("/") or _climbs(p) or "\0" in p for p in paths), "a mount's path is not absolute"),
        (not all(_is_host(host) for host in spec.hosts), "a host is no name like api.example.com or *.example.com"),
        (any(value <= 0 for name, value in numbers.items() if name != "network"), "a limit is not positive"),
        (spec.tier not in get_args(Tier), "the tier is strong, weak or remote"),
    ]  # fmt: skip


def _climbs(path: str) -> bool:
    return ".." in path.split("/")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_host(text: str) -> bool:
    try:
        host_rule(text)
    except ValueError:
        return False
    return True
