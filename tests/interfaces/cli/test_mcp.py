"""`builderos mcp` speaks MCP on stdin and stdout, in the workspace of the folder."""

import json
import subprocess
from collections.abc import Iterator
from typing import IO, Any

import pytest

from .conftest import Line


class Peer:
    """The other end: one message per line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in: IO[str] = process.stdin
        self._out: IO[str] = process.stdout
        self._id = 0

    def tell(self, method: str, params: dict[str, Any]) -> None:
        self._in.write(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}) + "\n")
        self._in.flush()

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._id += 1
        message = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        self._in.write(json.dumps(message) + "\n")
        self._in.flush()
        reply = json.loads(self._out.readline())
        assert reply["id"] == self._id
        return reply["result"]


@pytest.fixture
def peer(builder: Line) -> Iterator[Peer]:
    process = subprocess.Popen(
        [*builder.program, "mcp"],
        cwd=builder.folder,
        env=builder.env,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    peer = Peer(process)
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    assert peer.ask("initialize", hello)["serverInfo"]["name"]
    peer.tell("notifications/initialized", {})
    yield peer
    process.communicate(timeout=120)
    assert process.returncode == 0


def test_the_saved_token_of_the_folder_acts(builder: Line, peer: Peer) -> None:
    names = {tool["name"] for tool in peer.ask("tools/list", {})["tools"]}
    assert {"commit_and_log", "fetchFiles"} <= names
    change = {"file_path": "by-mcp.txt", "content": "by MCP\n", "message": "By MCP"}
    answer = peer.ask("tools/call", {"name": "commit_and_log", "arguments": change})
    assert not answer.get("isError"), answer
    assert builder.ok("fetch", "by-mcp.txt") == "by MCP\n"
