"""A program in the jail that is spoken with on its standard streams: a foreign agent, a server of tools."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.execution.compute import service as compute
from builderos.execution.compute.ports import LogSink

from .calls import Parked
from .limits import Reached
from .line import MAX_LINE

PORT: Final = 8000
_GRACE_S: Final = 1.0
_NOT_THERE: Final = 127
# In the jail, between line and command: pipes, since many programs take a socket as their output for closed as soon as
# something comes in by it. It hears the first caller alone, before anybody else is in there.
_STARTER: Final = f"""
import contextlib, os, socket, subprocess, sys, threading
door = socket.create_server(("127.0.0.1", {PORT}))
line = door.accept()[0]
door.close()
try:
    agent = subprocess.Popen(sys.argv[1:], stdin=-1, stdout=-1)
except OSError as error:
    print(error, file=sys.stderr)
    sys.exit({_NOT_THERE})
line.sendall({compute.GREETING!r})
def feed():
    with contextlib.suppress(OSError):
        while data := line.recv(65536):
            agent.stdin.write(data)
            agent.stdin.flush()
    with contextlib.suppress(OSError):
        agent.stdin.close()
threading.Thread(target=feed, daemon=True).start()
with contextlib.suppress(OSError):
    while data := os.read(agent.stdout.fileno(), 65536):
        line.sendall(data)
    line.shutdown(socket.SHUT_WR)
sys.exit(agent.wait())
"""

_BEFORE: Final = ("python3", "-I", "-c", _STARTER)

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def started(command: tuple[str, ...]) -> tuple[str, ...]:
    """What an order runs so that `command` can be spoken with; it serves `PORT`."""
    return (*_BEFORE, *command)


@asynccontextmanager
async def spoken_with(context: Context, order: compute.Order, output: LogSink) -> AsyncGenerator[Streams]:
    """A line to the command of an order; behind this nothing of it runs any more.

    Raises what keeps it from starting, `Parked` where that needs a yes, `Reached` where it ended before it spoke.
    """
    running = asyncio.ensure_future(compute.execute(context, order, output))
    writer: asyncio.StreamWriter | None = None
    try:
        reader, writer = await _dialled(context, order, running)
        yield reader, writer
    finally:
        if writer is not None:
            writer.close()
        await _over(running)


async def _dialled(
    context: Context, order: compute.Order, running: "asyncio.Future[compute.Outcome]"
) -> Streams:
    dialling = asyncio.ensure_future(compute.dial(context, order, MAX_LINE))
    try:
        await asyncio.wait({dialling, running}, return_when=asyncio.FIRST_COMPLETED)
        if dialling.done():
            return dialling.result()
    finally:
        dialling.cancel()
    try:
        outcome = running.result()
    except Problem as problem:
        if problem.code == "approval_required" and "approval_id" in problem.extra:
            raise Parked("a yes", approval_id=str(problem.extra["approval_id"])) from problem
        raise
    if outcome.exit_code == _NOT_THERE:
        where = "install it below /usr of this machine, or name a file of the branch"
        raise Reached("answer", f"the sandbox has no program {order.argv[len(_BEFORE)][:100]!r}: {where}")
    raise Reached("answer", f"the command could not be started: {outcome.reason} {outcome.detail}"[:500])


async def _over(running: "asyncio.Future[compute.Outcome]") -> None:
    """Wait for the end of a command that was hung up on; one that does not end is ended."""
    await asyncio.wait({running}, timeout=_GRACE_S)
    running.cancel()
    await asyncio.gather(
        running, return_exceptions=True
    )  # it was told where it mattered: before the first word
