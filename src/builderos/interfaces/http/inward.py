"""The door of commands in jails: a socket file, at which nothing of this server is but what apps and sessions may call.

What they are given to show here (`execution/serving/badges.py`) is good here alone.
"""

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from builderos.core.home import EXECUTIONS, JAIL_DOOR
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.sockets import listener_at

from .challenge import IN_A_JAIL
from .problem import problem_response
from .wire import Wire

_OPENAI: Final = "/openai/v1/"
_ENDPOINTS: Final = "/v1/endpoints/"
_INVOKE: Final = "/invoke"
_BACKLOG: Final = 128


def is_open(method: str, path: str) -> bool:
    """Whether a command may ask for this at all."""
    if path.startswith(_OPENAI):
        return True
    which = path.removeprefix(_ENDPOINTS).removesuffix(_INVOKE)
    return method == "POST" and path == f"{_ENDPOINTS}{which}{_INVOKE}" and bool(which) and "/" not in which


class Inward:
    """ASGI around the whole server."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif is_open(scope["method"], scope["path"]):
            await self._app({**scope, IN_A_JAIL: True}, receive, send)
        else:
            problem = Problem(
                "not_found", "this is not open to apps and sessions",
                hint="POST /v1/endpoints/{id}/invoke, or OpenAI's interface below /openai/v1.",
            )  # fmt: skip
            await problem_response(problem, new_id("req"))(scope, receive, send)


def listen(home: Path) -> socket.socket:
    """The socket, in the folder of executions. This process alone serves this home. Raises `OSError`."""
    folder = home / EXECUTIONS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / JAIL_DOOR).unlink(missing_ok=True)
    return listener_at(folder, JAIL_DOOR)


async def serve(server: uvicorn.Server, asgi: ASGIApp, sock: socket.socket) -> asyncio.Server:
    """Take requests at the socket, too, on the loop of a server that has started and that counts them as its own."""
    config = uvicorn.Config(
        Inward(asgi), log_config=None, access_log=False, server_header=False, date_header=False, lifespan="off",
        http=Wire, ws="none", proxy_headers=False,
    )  # fmt: skip
    config.load()
    state = server.lifespan.state

    def protocol() -> asyncio.Protocol:
        return Wire(config=config, server_state=server.server_state, app_state=state)

    return await asyncio.get_running_loop().create_unix_server(protocol, sock=sock, backlog=_BACKLOG)


def leave(home: Path) -> None:
    """Nobody is to knock any more."""
    with contextlib.suppress(OSError):
        (home / EXECUTIONS / JAIL_DOOR).unlink(missing_ok=True)
