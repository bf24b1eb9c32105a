"""How firmly a command is held, and whether that will do."""

from builderos.core.problems import Problem

from .schema import Probe, Tier


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
