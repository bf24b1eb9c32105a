"""A server of tools of somebody else, by the protocol's published library: over HTTP in this process, or as a program
on its standard streams (`python tool_server.py MODE`), also in the jail."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PACKAGES = "/opt/agent/packages"
if os.path.isdir(PACKAGES):  # in the jail it is here
    sys.path.insert(0, PACKAGES)

from mcp.server import MCPServer  # noqa: E402
from mcp_types import ToolAnnotations  # noqa: E402


class Tools:
    """What it offers. `counted`: how often `count` was really called."""

    def __init__(self, said: Callable[[], str] = lambda: "") -> None:
        self.counted = 0
        self.held: Callable[[], bool] = lambda: False
        self.server = MCPServer("lab")
        self.offer("greet", self.greet, "Greet somebody.", read_only=True)
        self.offer("count", self.count, "Count on.")
        self.offer("long", lambda: "x" * 100_000, "Say very much.", read_only=True)
        self.offer("leak", said, "Say what was found.", read_only=True)
        self.offer("fail", self.fail, "Go wrong.")

    def offer(self, name: str, do: Callable[..., Any], about: str, *, read_only: bool = False) -> None:
        """Offer a tool."""
        hints = ToolAnnotations(read_only_hint=True) if read_only else None
        self.server.add_tool(do, name=name, description=about, annotations=hints, structured_output=False)

    def change(self, name: str, do: Callable[..., Any], about: str) -> None:
        """Offer another tool under the same name."""
        self.server.remove_tool(name)
        self.offer(name, do, about)

    def greet(self, name: str) -> str:
        return f"Hello {name}"

    def count(self) -> str:
        self.counted += 1
        while self.held():
            time.sleep(0.01)
        return f"counted {self.counted}"

    def fail(self) -> str:
        raise ValueError("it went wrong")


class Door:
    """The tools behind an address. `headers`: of every request; `answer`: in place of the protocol's own."""

    def __init__(self, tools: Tools) -> None:
        import uvicorn

        self.tools = tools
        self.headers: list[dict[str, str]] = []
        self.answer: Callable[[Any], Any] | None = None
        app = tools.server.streamable_http_app(json_response=True)

        async def seen(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
                if self.answer is not None:
                    await self.answer(send)
                    return
            await app(scope, receive, send)

        self._server = uvicorn.Server(uvicorn.Config(seen, host="127.0.0.1", port=0, log_level="error"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        until = time.monotonic() + 60
        while not self._server.started:
            assert time.monotonic() < until
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/mcp"

    def close(self) -> None:
        """End it."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(30)


@contextmanager
def tool_door(tools: Tools) -> Iterator[Door]:
    """One for some tests."""
    door = Door(tools)
    try:
        yield door
    finally:
        door.close()


def main() -> None:
    """On standard streams: what a program finds around it, beside the usual tools."""
    tools = Tools(lambda: f"{os.getcwd()} {sorted(os.listdir('.'))} {os.environ.get('LAB_KEY', 'no key')}")
    if "chatty" in sys.argv[1:]:
        print("Welcome to my server!", flush=True)
    tools.server.run("stdio")


if __name__ == "__main__":
    main()
