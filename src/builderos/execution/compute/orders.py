"""What a step asks for, and what it is told when its command ended."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Literal

from builderos.core.unit import Call

from .schema import CALLS_PORT, Limits, State, Use

CALLS_AT: Final = f"http://127.0.0.1:{CALLS_PORT}"
ATTEMPT: Final = "BUILDEROS_ATTEMPT"  # the variable in which a command finds the number of its attempt
OutcomeReason = Literal["exit", "timeout", "oom", "disk", "lost", "budget"]
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")
_SHELL: Final = ("/bin/sh", "-eu", "-c")


@dataclass(frozen=True, slots=True)
class SecretAsked:
    """A secret that a step names; as environment variable `variable` (its own name otherwise), or as a file whose
    path is then in that variable."""

    name: str
    variable: str = ""
    as_file: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """What a step asks for.

    `call`: on whose behalf, through which door. `argv`, or `script` for a shell. `workspace`: a folder of this machine
    that holds the step's input tree, changed in place. `repo_id`, `branch`, `environment`: where the run acts, for the
    policy. `network`: hosts; of these the command reaches what the policy grants. `timeout_s` can only shorten the
    profile's. `budget_repo_id`: the project whose budgets it counts against, where that is not where the run acts.
    `credits`: what all commands of the run may use together; once they have, this one is ended, too.
    `logs_ref` is kept with the execution. `serves`: the port of the command's own loopback at which `dial` reaches
    it; `calls`: it may ask this server what is open to commands, at `CALLS_AT`; the strong tier of `local` alone has
    these two. `writable`: whether it may change its workspace.
    """

    call: Call
    run_id: str
    step_id: str
    attempt: int
    workspace: str
    argv: tuple[str, ...] = ()
    script: str = ""
    runtime: str = ""
    profile: str = ""
    network: tuple[str, ...] = ()
    secrets: tuple[SecretAsked, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    timeout_s: float | None = None
    credits: float | None = None
    repo_id: str | None = None
    branch: str | None = None
    environment: str | None = None
    budget_repo_id: str | None = None
    logs_ref: str | None = None
    serves: int = 0
    calls: bool = False
    writable: bool = True

    @property
    def name(self) -> str:
        """The idempotent name: run.step.attempt; of parts with odd characters their hash."""
        return ".".join((_segment(self.run_id), _segment(self.step_id), str(self.attempt)))

    @property
    def command(self) -> tuple[str, ...]:
        """What is run."""
        return self.argv or (*_SHELL, self.script)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an execution ended. `reason` is None for a success; `lost`: nobody knows, or it was ended before its time.

    `tier` is `strong`, `weak`, or `remote`: what another machine holds back is that provider's word.
    """

    status: State
    reason: OutcomeReason | None
    exit_code: int | None
    usage: Use
    tier: str
    sandbox_run_id: str
    detail: str = ""
    truncated: bool = False
    policy_events: tuple[Mapping[str, Any], ...] = ()
    # It had ended before it was asked for: what it left is where it was asked for first.
    recorded: bool = field(default=False, compare=False)

    @property
    def dropped(self) -> int:
        """Bytes of output that the provider did not keep."""
        return max(0, self.usage.output - Limits().output) if self.truncated else 0


def _segment(text: str) -> str:
    """Itself where it can be a part of a name, else something that is as unique."""
    if _SEGMENT.match(text):
        return text
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:40].strip("-")
    return f"{readable}-{sha256(text.encode()).hexdigest()[:16]}".lstrip("-")
