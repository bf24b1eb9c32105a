"""What other rooms use of compute: running a step's command, and what may run at all."""

from .approved import Approved, Listed
from .away import (
    ACCOUNT,
    HOME,
    SECRETS,
    WORKSPACE,
    command_of,
    environment_of,
    packed_workspace,
    short_name,
)
from .beneath import Beneath
from .carrying import packed_files, unpacked
from .costs import credits_of
from .dialing import GREETING, dial, door_of, end, meter_of
from .execution import execute, outcome_of, usage_of
from .opening import require_budget, runtime_of
from .orders import ATTEMPT, CALLS_AT, Order, Outcome, SecretAsked
from .providers import SandboxProviders
from .remote import RemoteSandboxes, Seen
from .runtimes import ProviderFile, RuntimeFile, parse_provider, parse_runtimes
from .tidying import forget_ended
from .tiers import WEAK as RUN_WEAK
from .tiers import require_tier
from .views import soundness
from .waiting import finished, run

__all__ = [
    "ACCOUNT",
    "ATTEMPT",
    "CALLS_AT",
    "GREETING",
    "HOME",
    "RUN_WEAK",
    "SECRETS",
    "WORKSPACE",
    "Approved",
    "Beneath",
    "Listed",
    "Order",
    "Outcome",
    "ProviderFile",
    "RemoteSandboxes",
    "RuntimeFile",
    "SandboxProviders",
    "SecretAsked",
    "Seen",
    "command_of",
    "credits_of",
    "dial",
    "door_of",
    "end",
    "environment_of",
    "execute",
    "finished",
    "forget_ended",
    "meter_of",
    "outcome_of",
    "packed_files",
    "packed_workspace",
    "parse_provider",
    "parse_runtimes",
    "require_budget",
    "require_tier",
    "run",
    "runtime_of",
    "short_name",
    "soundness",
    "unpacked",
    "usage_of",
]  # fmt: skip
