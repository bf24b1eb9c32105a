"""Which room a command gets, and waiting for it without a thread."""

import asyncio

from builderos.core.problems import Problem

from .beneath import Beneath
from .ports import SandboxProvider
from .runtimes import ProviderFile, RuntimeFile, parse_provider, parse_runtimes
from .schema import Probe, Sandbox, Spec, Tier

__all__ = [
    "Beneath", "ProviderFile", "RuntimeFile", "finished", "parse_provider", "parse_runtimes", "require_tier", "run",
]  # fmt: skip


async def finished(provider: SandboxProvider, sandbox_id: str) -> Sandbox:
    """How it stands once it ended; holds no thread meanwhile. Being cancelled does not end the command."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Sandbox] = loop.create_future()

    def settle(sandbox: Sandbox) -> None:
        if not future.done():
            future.set_result(sandbox)

    def tell(sandbox: Sandbox) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, sandbox)

    await asyncio.to_thread(provider.when_ended, sandbox_id, tell)
    return await future


async def run(provider: SandboxProvider, spec: Spec) -> Sandbox:
    """Start and await; where the caller is cancelled, the whole process tree is, too. Raises like `start`."""
    starting = asyncio.ensure_future(asyncio.to_thread(provider.start, spec))
    try:
        sandbox = await asyncio.shield(starting)
        return await finished(provider, sandbox.id)
    except asyncio.CancelledError:
        await asyncio.wait([starting])  # a start under way cannot be called back, only ended
        if starting.exception() is None:
            await asyncio.to_thread(provider.kill, spec.id)
        raise


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
