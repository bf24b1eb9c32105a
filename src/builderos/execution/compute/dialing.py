"""Speaking with a command while it runs: a line to the port that its order says it serves."""

import asyncio
import os
from pathlib import Path
from typing import Final, Protocol, cast

from builderos.core.context import Context
from builderos.core.problems import Problem

from .orders import Order
from .ports import SandboxProvider
from .providers import SandboxProviders
from .schema import Meter

GREETING: Final = b"+"
_AGAIN_S: Final = 0.02


class _Reached(SandboxProvider, Protocol):
    def door(self, sandbox_id: str) -> Path:
        """The socket file at which what the order serves is reached."""
        ...

    def meter(self, sandbox_id: str) -> Meter | None:
        """What it uses now."""
        ...


async def dial(
    context: Context, order: Order, limit: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A line to the command of an order that is being executed; `limit`: bytes of one line of text.

    It tries until the command answers with `GREETING`: a line that nobody takes inside ends at once. So the caller
    bounds the time, and looks whether the command still runs.
    """
    providers = context.get(SandboxProviders)
    provider = cast("_Reached", await asyncio.to_thread(providers.provider, "local"))
    door = provider.door(order.name)
    while True:
        try:
            reader, writer = await _connected(door, limit)
        except (FileNotFoundError, ConnectionRefusedError):
            await asyncio.sleep(_AGAIN_S)
            continue
        try:
            if await reader.read(len(GREETING)) == GREETING:
                return reader, writer
        except ConnectionError:
            pass  # as good as an end: nobody listens inside yet
        except BaseException:
            writer.close()
            raise
        writer.close()
        await asyncio.sleep(_AGAIN_S)


def door_of(context: Context, name: str) -> Path:
    """The socket file at which the command of an order of this name is reached while it runs; it is there soon after
    the start. The path may be longer than a socket's may be: go by way of its open folder.
    """
    return cast("_Reached", context.get(SandboxProviders).provider("local")).door(name)


def meter_of(context: Context, name: str) -> Meter | None:
    """What the local command of an order of this name uses now; None where this process does not run it. Blocks."""
    return cast("_Reached", context.get(SandboxProviders).provider("local")).meter(name)


def end(context: Context, name: str) -> bool:
    """Have the local command of an order of this name end; whether there is one. Does not wait for it."""
    try:
        context.get(SandboxProviders).provider("local").kill(name)
    except Problem as problem:
        if problem.code != "not_found":
            raise
        return False
    return True


async def _connected(door: Path, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """By way of the open folder: the path of a socket may have 107 bytes, that of a folder more."""
    held = os.open(door.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{held}/{door.name}", limit=limit)
    finally:
        os.close(held)
