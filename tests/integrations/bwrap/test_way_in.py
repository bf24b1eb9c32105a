"""The way to a server inside a jail."""

import http.client
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from builderos.execution.compute.schema import Limits, Sandbox
from builderos.integrations.bwrap.service import LocalSandboxes
from tests.support.sandboxes import Yard, until, yard_in_temp

SERVER = """
import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = self.path.encode() * 1000
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"""


@pytest.fixture(scope="module")
def yard() -> Iterator[Yard]:
    with yard_in_temp("strong") as made:
        yield made.needed()


def _serve(yard: Yard, port: int = 8000) -> tuple[Sandbox, Path]:
    spec = yard.spec(
        "python3",
        "-c",
        SERVER,
        serves=port,
        env=(("PORT", str(port)),),
        limits=Limits(wall_s=240, grace_s=0.2),
    )
    sandbox = yard.provider.start(spec)
    assert isinstance(yard.provider, LocalSandboxes)
    door = yard.provider.door(sandbox.id)
    until(lambda: _answers(door))
    return sandbox, door


def _connection(door: Path) -> http.client.HTTPConnection:
    line = http.client.HTTPConnection("jail", timeout=120)
    line.sock = socket.socket(socket.AF_UNIX)
    line.sock.settimeout(10)
    line.sock.connect(str(door))
    return line


def _handed(door: Path) -> socket.socket:
    with socket.socket(socket.AF_UNIX) as asks:
        asks.settimeout(10)
        asks.connect(str(door.with_name("lines")))
        _, given, _, _ = socket.recv_fds(asks, 1, 1)
    found = socket.socket(fileno=given[0])
    found.settimeout(10)
    return found


def _get(door: Path, path: str = "/") -> bytes:
    line = _connection(door)
    try:
        line.request("GET", path)
        return line.getresponse().read()
    finally:
        line.close()


def _answers(door: Path) -> bool:
    try:
        return bool(_get(door))
    except (OSError, http.client.HTTPException):
        return False


def test_a_server_in_a_jail_is_reached_through_its_door_and_by_nothing_else(yard: Yard) -> None:
    sandbox, door = _serve(yard)
    for number in range(40):  # more than are dialled at once
        assert _get(door, f"/{number}").startswith(f"/{number}/".encode())
    assert stat.S_IMODE(door.stat().st_mode) == 0o600
    with socket.socket() as outside:
        outside.settimeout(5)
        assert outside.connect_ex(("127.0.0.1", 8000)) != 0
    straight = http.client.HTTPConnection("jail", timeout=10)
    straight.sock = _handed(door)
    assert straight.sock.family == socket.AF_INET  # the line itself, with nobody between
    straight.request("GET", "/straight")
    assert straight.getresponse().read().startswith(b"/straight/")
    yard.provider.kill(sandbox.id, 0)
    yard.provider.wait(sandbox.id, 120)
    assert not _answers(door)
    assert straight.sock.recv(1) == b""  # it ends with the jail
    straight.close()


def test_two_servers_on_one_port_are_two_servers(yard: Yard) -> None:
    doors = [_serve(yard, 9000)[1] for _ in range(2)]
    lines = [_connection(door) for door in doors]
    for line, word in zip(lines, ("/one", "/two"), strict=True):
        line.request("GET", word)
    assert [line.getresponse().read()[:4] for line in lines] == [b"/one", b"/two"]
    for line in lines:
        line.close()


def test_a_jail_that_does_not_listen_ends_the_line(yard: Yard) -> None:
    sandbox = yard.provider.start(yard.spec("sleep", "30", serves=8000))
    assert isinstance(yard.provider, LocalSandboxes)
    door = yard.provider.door(sandbox.id)
    until(door.exists)
    with pytest.raises((OSError, http.client.HTTPException)):
        _get(door)
    yard.provider.kill(sandbox.id, 0)
