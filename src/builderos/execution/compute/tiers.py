"""How firmly a command is held, and whether that will do."""

import hashlib
import json
from typing import Final

from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy

from .orders import ATTEMPT, Order
from .schema import Probe, Tier

WEAK: Final = "command.run_weak"


def require_tier(probe: Probe, demanded: Tier) -> Tier:
    """The tier that will be used. Raises `policy_denied` where only a weaker one than demanded can be had."""
    if probe.tier is None:
        raise Problem(
            "unavailable", f"{probe.provider} cannot run commands here", hint=" ".join(probe.missing)
        )
    if demanded == "strong" and probe.tier == "weak":
        raise Problem(
            "policy_denied", "the strong sandbox is demanded, and this machine has only the weak one",
            hint=" ".join(probe.missing), tier=probe.tier, gaps=[gap.what for gap in probe.gaps],
        )  # fmt: skip
    return probe.tier


def tier_for(unit: Unit, order: Order, probe: Probe, allowed: Tier | None) -> Tier | str:
    """The weakest tier that will do for this command, or the id of the approval that it waits for.

    `allowed` as in the provider's file: where it is silent, people decide about each command in the weak sandbox.
    Raises like `require_tier`.
    """
    if probe.tier != "weak" or allowed is not None:
        return require_tier(probe, allowed or "strong")
    # A yes makes the step begin again, and counts for each try of the same command.
    env = {name: value for name, value in order.env.items() if name != ATTEMPT}
    shown = {
        "run": order.run_id, "step": order.step_id, "command": list(order.command), "env": env,
        "hosts": list(order.network), "secrets": [asked.name for asked in order.secrets],
        "gaps": [gap.what for gap in probe.gaps],
    }  # fmt: skip
    text = json.dumps(shown, indent=1, ensure_ascii=False, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    object_ = f"{order.run_id}/{order.step_id}"
    if policy.approvals.is_approved(unit, action=WEAK, object_=object_, diff_hash=digest):
        return "weak"
    return policy.approvals.request(
        unit, action=WEAK, object_=object_, diff=text, diff_stat={"commands": 1}, diff_hash=digest, risk="high",
        reason=f"{order.step_id} would run in the weak sandbox: this machine has no strong one.",
        risk_reasons=[gap.id for gap in probe.gaps],
    )  # fmt: skip
