"""What apps promise: a switch of releases that nobody notices, however they ask; and a short way."""

import asyncio
import json
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

from builderos.client.http import Client

from .report import Report
from .sessions import served
from .stage import Server

SERVER = """
import asyncio, base64, hashlib, os
WORD = {word!r}.encode()
KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
async def one(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            fields = dict(line.split(b": ", 1) for line in head.split(b"\\r\\n")[1:] if b": " in line)
            fields = {{name.lower(): value for name, value in fields.items()}}
            if b"sec-websocket-key" in fields:
                return await line(reader, writer, fields[b"sec-websocket-key"])
            body = await reader.readexactly(int(fields.get(b"content-length", 0)))
            if b" /slow " in head: await asyncio.sleep(1.5)
            said = WORD + b" %d" % len(body)
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(said), said))
            await writer.drain()
    except (EOFError, ConnectionError):
        pass
    finally:
        writer.close()
async def line(reader, writer, key):
    said = base64.b64encode(hashlib.sha1(key + KEY).digest())
    writer.write(b"HTTP/1.1 101 x\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: " + said
                 + b"\\r\\n\\r\\n")
    while True:
        head = await reader.readexactly(2)
        mask, data = await reader.readexactly(4), await reader.readexactly(head[1] & 127)
        if head[0] & 15 == 8:
            return
        data = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
        writer.write(bytes([0x82, len(data)]) + data)
        await writer.drain()
async def main():
    server = await asyncio.start_server(one, "127.0.0.1", int(os.environ["PORT"]))
    await server.serve_forever()
asyncio.run(main())
"""
CLIENTS, SOCKETS, SWITCHES = 8, 3, 5
LEAST = 1800
PATIENCE_S = 120.0
BODY = b"x" * 4096


def switched(report: Report, source: Path, place: Path, seconds: float) -> None:
    """All rows."""
    (place / "apps").mkdir()
    with served(source, place / "apps") as (client, server):
        opened = client.call("POST", "/sandbox/init", {"mode": "branch", "repo_name": "lab"})
        yard = _Yard(client, server, str(opened["branch"]))
        yard.release("r0")
        _switches(report, yard, seconds)
        _wakes(report, yard)
        client.call("POST", f"/v1/apps/{yard.id}/stop", {})


class _Yard:
    """One app, and its door."""

    def __init__(self, client: Client, server: Server, branch: str) -> None:
        self._client = client
        self._here = {"repo_name": "lab", "branch": branch}
        made = client.call("POST", "/v1/apps", {
            "name": "bench", "type": "custom", "command": "exec python3 serve.py", "runtime": "py",
            "profile": "small", "source": {**self._here, "path": "serve.py"}, "idle_timeout": 0,
        })  # fmt: skip
        self.id, self.host = str(made["id"]), str(made["url"]).removeprefix("http://").rstrip("/")
        port = json.loads((server.home / "server.json").read_text())["proxy_port"]
        self.at = f"http://127.0.0.1:{port}"
        self.token = str(client.call("POST", f"/v1/apps/{self.id}/token", {})["token"])

    @property
    def headers(self) -> dict[str, str]:
        """What a request to the app says."""
        return {"Host": self.host, "Authorization": f"Bearer {self.token}"}

    def release(self, word: str) -> float:
        """Have a release that says this word be live; seconds that it took."""
        self._commit(word)
        began = time.perf_counter()
        id_ = self._client.call("POST", f"/v1/apps/{self.id}/releases", {})["id"]
        shown = self.until(lambda app: app["latest"]["status"] in ("live", "failed"))
        if shown["latest"]["id"] != id_ or shown["latest"]["status"] != "live":
            raise RuntimeError(shown)
        return time.perf_counter() - began

    def until(self, hold: Any) -> Any:
        """The app once this holds of it."""
        end = time.monotonic() + PATIENCE_S
        while not hold(shown := self._client.call("GET", f"/v1/apps/{self.id}")):
            if time.monotonic() > end:
                raise RuntimeError(shown)
            time.sleep(0.05)
        return shown

    def idle(self, seconds: int) -> None:
        """Have it sleep after so long."""
        self._client.call("POST", f"/v1/apps/{self.id}", {"idle_timeout": seconds})

    def _commit(self, word: str) -> None:
        body = {**self._here, "file_path": "serve.py", "content": SERVER.format(word=word), "message": word}
        self._client.call("POST", "/commit_and_log_output", body)


class _Load:
    """Clients that never stop asking: some POST, some ask what takes long, some hold sockets."""

    def __init__(self, yard: _Yard) -> None:
        self._yard = yard
        self.counts: Counter[str] = Counter()
        self.failed: list[str] = []
        self.over = asyncio.Event()

    async def ask(self, http: aiohttp.ClientSession, number: int) -> None:
        turn = number * 7
        while not self.over.is_set():
            turn += 1
            how, path = ("POST" if turn % 10 < 3 else "GET"), ("/slow" if turn % 33 == 0 else "/")
            try:
                await self._asked(http, how, path)
            except aiohttp.ClientError as error:
                self.failed.append(f"{how} {path}: {error!r}")
            self.counts[how] += 1

    async def _asked(self, http: aiohttp.ClientSession, how: str, path: str) -> None:
        body = BODY if how == "POST" else None
        async with http.request(how, f"{self._yard.at}{path}", data=body) as reply:
            said = await reply.text()
        if reply.status != 200 or not said.endswith(f" {len(body or b'')}"):
            self.failed.append(f"{how} {path}: {reply.status} {said[:200]}")

    async def talk(self, http: aiohttp.ClientSession) -> None:
        while not self.over.is_set():
            try:
                async with http.ws_connect(f"{self._yard.at}/line") as line:
                    await self._talked(line)
                self.counts["sockets"] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                self.failed.append(f"socket: {error!r}")

    async def _talked(self, line: aiohttp.ClientWebSocketResponse) -> None:
        for number in range(200):
            await line.send_bytes(b"%d" % number)
            heard = await line.receive(timeout=PATIENCE_S)
            if heard.data != b"%d" % number:
                self.failed.append(f"socket: {heard!r}")
                return
            self.counts["messages"] += 1
            await asyncio.sleep(0.01)
            if self.over.is_set():
                return


def _switches(report: Report, yard: _Yard, seconds: float) -> None:
    async def ran() -> tuple[_Load, list[float]]:
        load, took = _Load(yard), list[float]()
        async with aiohttp.ClientSession(headers=yard.headers) as http:
            tasks = [asyncio.create_task(load.ask(http, number)) for number in range(CLIENTS)]
            tasks += [asyncio.create_task(load.talk(http)) for _ in range(SOCKETS)]
            for number in range(SWITCHES):
                await asyncio.sleep(seconds / SWITCHES)
                took.append(await asyncio.to_thread(yard.release, f"r{number + 1}"))
            while load.counts["GET"] + load.counts["POST"] < LEAST:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            load.over.set()
            await asyncio.gather(*tasks)
        return load, took

    load, took = asyncio.run(ran())
    for why in load.failed[:5]:
        print(f"     {why}", flush=True)
    asked = load.counts["GET"] + load.counts["POST"]
    report.at_most(
        "app: failed requests, 5 switches of releases under load", len(load.failed), 0,
        f"{asked} requests, {load.counts['POST']} POST, {load.counts['sockets']} sockets, "
        f"{load.counts['messages']} messages",
    )  # fmt: skip
    report.at_least("app: requests during the switches", asked, LEAST, f"{CLIENTS} clients")
    report.shown("app: release asked for to live, ms", statistics.median(took) * 1000, "under that load")


def _wakes(report: Report, yard: _Yard) -> None:
    yard.idle(1)
    yard.until(lambda app: app["standing"] == "asleep")

    async def asked() -> float:
        async with aiohttp.ClientSession(headers=yard.headers) as http:
            began = time.perf_counter()
            async with http.get(f"{yard.at}/") as reply:
                assert reply.status == 200, await reply.text()
            return time.perf_counter() - began

    report.shown("app: asleep to an answer, ms", asyncio.run(asked()) * 1000, "one request")
