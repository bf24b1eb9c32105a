"""What other rooms use of compute: running a step's command, and what may run at all."""

from .approved import Approved, Listed
from .beneath import Beneath
from .execution import execute, outcome_of, usage_of
from .opening import runtime_of
from .orders import Order, Outcome, SecretAsked
from .providers import SandboxProviders
from .runtimes import ProviderFile, RuntimeFile, parse_provider, parse_runtimes
from .tiers import require_tier
from .views import soundness
from .waiting import finished, run

__all__ = [
    "Approved", "Beneath", "Listed", "Order", "Outcome", "ProviderFile", "RuntimeFile", "SandboxProviders",
    "SecretAsked", "execute", "finished", "outcome_of", "parse_provider", "parse_runtimes", "require_tier", "run",
    "runtime_of", "soundness", "usage_of",
]  # fmt: skip
