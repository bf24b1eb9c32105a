"""Waiting for a command without a thread."""

import asyncio

from .ports import SandboxProvider
from .schema import Sandbox, Spec


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
