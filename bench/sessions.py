"""What notebooks promise: through the door nearly as fast as without it, and stopped soon after they are idle."""

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from builderos.client.http import Client

from .models import free_port
from .report import Report
from .stage import Home, Server

LOCK = Path(__file__).parents[1] / "requirements" / "notebook.lock"
CLIENTS = 4
IDLE_S = 3
PATIENCE_S = 120.0


def notebooks(report: Report, source: Path, place: Path, seconds: float) -> None:
    """All rows."""
    env = Path(os.environ.get("BENCH_NOTEBOOK") or place / "notebook-env")
    if not env.exists():
        subprocess.run([sys.executable, "-m", "venv", env], check=True)
        pip = [env / "bin" / "pip", "install", "-qq", "--require-hashes", "-r", LOCK]
        subprocess.run(pip, check=True)
    with _direct(env, place) as direct, served(source, place, env) as (client, server):
        began = time.perf_counter()
        id_ = _started(client, idle_timeout=3600)
        report.shown(
            "session: asked for to running, ms", (time.perf_counter() - began) * 1000, "jupyter-server"
        )
        door = _way(client, server, id_)
        asyncio.run(_side_by_side(report, direct, door, seconds))
        client.call("POST", f"/v1/sessions/{id_}/stop", {})
        _idle(report, client)


async def _side_by_side(
    report: Report, direct: tuple[str, str], door: tuple[str, str], seconds: float
) -> None:  # fmt: skip
    """The same requests and cells here and there, in turns."""
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(3):
        for found, (base, token) in zip(rates, (direct, door), strict=True):
            found.append(await _rate(base, token, seconds / 3))
    here, there = (statistics.median(found) for found in rates)
    report.at_least(
        "session: HTTP through the door ÷ direct", there / here, 0.4, f"{there:.0f}/s, {CLIENTS} clients"
    )
    async with _Line(*direct) as first, _Line(*door) as second:
        took: tuple[list[float], list[float]] = ([], [])
        for number in range(60):
            for found, cell in zip(took, (first, second), strict=True):
                began = time.perf_counter()
                await cell(f"print({number})")
                found.append((time.perf_counter() - began) * 1000)
    here, there = (statistics.median(found[5:]) for found in took)
    report.at_most(
        "session: round trip of a cell through the door ÷ direct",
        there / here,
        1.1,
        f"{there:.1f} ms, median",
    )


def _idle(report: Report, client: Client) -> None:
    id_ = _started(client, idle_timeout=IDLE_S)
    began = time.monotonic()
    _until(client, id_, "stopped")
    report.at_most(
        "session: idle to stopped, s", time.monotonic() - began, IDLE_S + 10, f"idle timeout {IDLE_S} s"
    )


async def _rate(base: str, token: str, seconds: float) -> float:
    """Answers per second that clients with a line each get."""
    end, counts = time.monotonic() + seconds, [0] * CLIENTS

    async def client(http: aiohttp.ClientSession, number: int) -> None:
        while time.monotonic() < end:
            async with http.get(f"{base}api/status") as reply:
                await reply.read()
                assert reply.status == 200, reply.status
            counts[number] += 1

    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
        await asyncio.gather(*(client(http, number) for number in range(CLIENTS)))
    return sum(counts) / seconds


class _Line:
    """A kernel of its own and a line to it; entered, a function that runs a cell."""

    def __init__(self, base: str, token: str) -> None:
        self._base = base
        self._http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"})

    async def __aenter__(self) -> Callable[[str], Any]:
        async with self._http.post(f"{self._base}api/kernels", json={"name": "python3"}) as reply:
            id_ = (await reply.json())["id"]
        self._socket = await self._http.ws_connect(f"{self._base}api/kernels/{id_}/channels", max_msg_size=0)
        await self._cell("0")
        return self._cell

    async def __aexit__(self, *_: object) -> None:
        await self._socket.close()
        await self._http.close()

    async def _cell(self, code: str) -> None:
        id_ = uuid.uuid4().hex
        header = {
            "msg_id": id_, "session": "b", "username": "b", "msg_type": "execute_request", "version": "5.3",
            "date": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        asked = {"header": header, "parent_header": {}, "metadata": {}, "channel": "shell", "buffers": []}
        await self._socket.send_json({**asked, "content": content})
        while True:
            said = json.loads((await self._socket.receive(timeout=PATIENCE_S)).data)
            about = said["parent_header"].get("msg_id") == id_
            if about and said["msg_type"] == "status" and said["content"]["execution_state"] == "idle":
                return


def _started(client: Client, **more: Any) -> str:
    made = client.call(
        "POST", "/v1/sessions", {"repo_name": "lab", "branch": "main", "runtime": "py", **more}
    )
    _until(client, str(made["id"]), "running")
    return str(made["id"])


def _until(client: Client, id_: str, status: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while (shown := client.call("GET", f"/v1/sessions/{id_}"))["status"] != status:
        if time.monotonic() > end or shown["status"] == "failed":
            raise RuntimeError(shown)
        time.sleep(0.05)


def _way(client: Client, server: Server, id_: str) -> tuple[str, str]:
    token = str(client.call("POST", f"/v1/sessions/{id_}/token", {})["token"])
    port = json.loads((server.home / "server.json").read_text())["proxy_port"]
    return f"http://127.0.0.1:{port}/s/{id_}/", token


@contextmanager
def served(source: Path, place: Path, *folders: Path) -> Iterator[tuple[Client, Server]]:
    """A server that approves a runtime with these folders."""
    home = Home(place / "sessions", source)
    file = home.path / "ssot" / "workbench" / "runtimes.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({
        "runtimes": [{"name": "py", "kind": "local", "folders": [*map(str, folders), sys.base_prefix]}],
        "profiles": [{"name": "small", "cpu": 2, "memory": "1Gi", "max_seconds": 3600}],
    }))  # fmt: skip
    server = Server(home.path)
    try:
        yield Client(f"http://127.0.0.1:{server.port}", home.owner_token), server
    finally:
        server.stop()
        home.close()


@contextmanager
def _direct(env: Path, place: Path) -> Iterator[tuple[str, str]]:
    """The same program without jail and door: its address and its token."""
    port, token, folder = free_port(), uuid.uuid4().hex, place / "plain-notebook"
    folder.mkdir()
    sockets = tempfile.mkdtemp(prefix="nb-")  # their paths must be short
    process = subprocess.Popen(
        [
            env / "bin" / "jupyter-server", "--no-browser", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={folder}", "--allow-root", "--KernelManager.transport=ipc",
        ],
        env={**os.environ, "JUPYTER_TOKEN": token, "HOME": str(folder), "JUPYTER_RUNTIME_DIR": sockets,
             "PATH": f"{env}/bin:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    base = f"http://127.0.0.1:{port}/"
    try:
        asyncio.run(_up(base, token))
        yield base, token
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(sockets, ignore_errors=True)


async def _up(base: str, token: str) -> None:
    end = time.monotonic() + PATIENCE_S
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
        while not await _answers(http, base):
            if time.monotonic() > end:
                raise TimeoutError(base)
            await asyncio.sleep(0.05)


async def _answers(http: aiohttp.ClientSession, base: str) -> bool:
    try:
        async with http.get(f"{base}api/status") as reply:
            return reply.status == 200
    except aiohttp.ClientError:
        return False
