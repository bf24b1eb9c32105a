"""What notebooks run on (the server of Jupyter), in an environment of its own; and a client that talks to kernels."""

import asyncio
import json
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from builderos.interfaces.proxy.front import Front, listen
from builderos.workloads.sessions.service import Keeper, Pace

from .environments import environment
from .runs import Ship, ship_in_temp
from .servers import until
from .world import Json

IN_JAIL = {
    "notebook": ("jupyter_server.serverapp", "ipykernel.kernelapp"),
    "marimo": ("marimo._cli.cli", "marimo._server.start", "marimo._runtime.runtime"),
}
QUICK = Pace(look_s=0.1, quiet_s=0.3, ready_s=300.0, rights_s=0.2)
PROTOCOL = "v1.kernel.websocket.jupyter.org"


def approve(home: Path, *, brings: str = "notebook", memory: str = "1Gi", seconds: int = 3600) -> None:
    """Have a server's own file approve a runtime with notebooks."""
    folders = [str(environment(brings, *IN_JAIL[brings])), sys.base_prefix]
    file = home / "ssot" / "workbench" / "runtimes.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({
        "runtimes": [{"name": "py", "kind": "local", "languages": ["python"], "folders": folders}],
        "profiles": [{"name": "small", "cpu": 1, "memory": memory, "max_seconds": seconds, "price": 1}],
    }))  # fmt: skip


class Desk:
    """A ship whose sandbox may open notebooks, and the door to them."""

    def __init__(self, ship: Ship) -> None:
        self.ship = ship
        self.front = Front(ship.context)
        sock = listen(ship.world.settings, 65535)
        self.front.open(sock)
        self.at = f"http://127.0.0.1:{sock.getsockname()[1]}"

    def post(self, path: str, status: int | None = None, **body: Any) -> Json:
        """A call of the sandbox that succeeds."""
        return self.ship.world.ok(self.try_post(path, **body), status)

    def try_post(self, path: str, **body: Any) -> Any:
        """A call of the sandbox, whatever comes of it."""
        return self.ship.world.http.post(path, json=body, headers=self.ship.box.headers)

    def get(self, path: str) -> Json:
        """What a door answers to the sandbox."""
        return self.ship.world.ok(self.ship.world.http.get(path, headers=self.ship.box.headers))

    def start(self, **body: Any) -> Json:
        """A session that runs."""
        return self.until(self.post("/v1/sessions", 202, runtime="py", **body)["id"], "running", "idle")

    def until(self, id_: str, *statuses: str) -> Json:
        """A session once it stands so."""
        seen: list[Json] = []

        def there() -> bool:
            seen.append(self.get(f"/v1/sessions/{id_}"))
            over = seen[-1]["ended_at"] is not None
            assert not over or seen[-1]["status"] in statuses, (seen[-1], self.log(id_))
            return seen[-1]["status"] in statuses

        until(there)
        return seen[-1]

    def file(self, path: str) -> str:
        """A file of the branch."""
        return str(self.ship.box.post("/system/fetch_files", path=path)["files"][0]["content"])

    def log(self, id_: str) -> str:
        """What its server printed."""
        return str(self.get(f"/v1/sessions/{id_}/logs")["text"])

    def token(self, id_: str) -> str:
        """The way in."""
        return str(self.post(f"/v1/sessions/{id_}/token", 201)["token"])

    def close(self) -> None:
        """Shut the door."""
        self.front.close()


@contextmanager
def desk_in_temp(database: Any, **settings: Any) -> Iterator[Desk]:
    """A desk with everything of its own; its sessions are looked at often."""
    with ship_in_temp(database, **settings) as ship:
        approve(ship.world.home)
        ship.context.get(Keeper).pace = QUICK
        desk = Desk(ship)
        try:
            yield desk
        finally:
            desk.close()


class Kernel:
    """A kernel's line, as JupyterLab holds it: the old protocol of JSON texts."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.session = uuid.uuid4().hex

    async def send(self, code: str) -> str:
        """Ask for a cell; the id of the request."""
        id_ = uuid.uuid4().hex
        header = {
            "msg_id": id_, "session": self.session, "username": "t", "msg_type": "execute_request", "version": "5.3",
            "date": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        content = {
            "code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False,
        }  # fmt: skip
        await self.socket.send_json({
            "header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell",
            "buffers": [],
        })  # fmt: skip
        return id_

    async def run(self, code: str) -> str:
        """What a cell prints, once it is done; of one that fails, its error."""
        id_, out, done = await self.send(code), "", False
        while not done:
            message = json.loads((await self.socket.receive(timeout=300)).data)
            if message["parent_header"].get("msg_id") != id_:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                out += content["text"]
            elif kind == "error":
                out += f"{content['ename']}: {content['evalue']}"
            done = kind == "status" and content["execution_state"] == "idle"
        return out


async def kernel_at(http: aiohttp.ClientSession, base: str) -> Kernel:
    """A new kernel and a line to it; `base` is the session's address with a slash at its end."""
    async with http.post(f"{base}api/kernels", json={"name": "python3"}) as reply:
        assert reply.status == 201, await reply.text()
        id_ = (await reply.json())["id"]
    kernel = Kernel(await http.ws_connect(f"{base}api/kernels/{id_}/channels", max_msg_size=0))
    assert await kernel.run("print('up')") == "up\n"
    return kernel


def bearer(token: str) -> dict[str, str]:
    """The header of a program."""
    return {"Authorization": f"Bearer {token}"}


def cell(desk: Desk, id_: str, code: str) -> str:
    """What a cell prints in a kernel of its own, through the door."""

    async def ran() -> str:
        async with aiohttp.ClientSession(headers=bearer(desk.token(id_))) as http:
            kernel = await kernel_at(http, f"{desk.at}/s/{id_}/")
            return await kernel.run(code)

    return asyncio.run(ran())
