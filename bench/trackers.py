"""Servers that runs are logged to: MLflow's own, and one that answers nothing at all; and the line to ask them on."""

import http.client
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .models import free_port

MLFLOW = "mlflow==3.17.2"
API = "/api/2.0/mlflow/"
SILENT_S = 2.0
EMPTY = """
import asyncio, sys
BODY = b"{}"
class Empty(asyncio.Protocol):
    def connection_made(self, transport): self.transport, self.held = transport, b""
    def data_received(self, data):
        self.held += data
        while (end := self.held.find(b"\\r\\n\\r\\n")) >= 0:
            head = self.held[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15:].split(b"\\r\\n")[0]) if at >= 0 else 0
            if len(self.held) < end + 4 + size: return
            self.held = self.held[end + 4 + size:]
            self.transport.write(b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\n"
                                 b"content-length: 2\\r\\n\\r\\n{}")
async def main():
    server = await asyncio.get_running_loop().create_server(Empty, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
asyncio.run(main())
"""


@dataclass
class Tracker:
    """A server of MLflow's interface, asked over one connection."""

    port: int
    base: str = ""
    token: str = ""

    def __post_init__(self) -> None:
        self._line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        self._asked = time.monotonic()

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """The reply to one request."""
        return json.loads(self.raw(method, path, json.dumps(body).encode()))

    def raw(self, method: str, path: str, body: bytes) -> bytes:
        """The bytes of the reply to one request."""
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self.token}"} if self.token else {}
        )
        if time.monotonic() - self._asked > SILENT_S:
            self._line.close()  # and it is opened anew: nobody keeps a silent line for long
        self._line.request(method, f"{self.base}{API}{path}", body, headers)
        reply = self._line.getresponse()
        data = reply.read()
        self._asked = time.monotonic()
        if reply.status != 200:
            raise RuntimeError(f"{path}: {reply.status} {data[:500]!r}")
        return data

    def run(self, name: str) -> str:
        """A run of a new experiment."""
        made = self.ask("POST", "experiments/create", name=f"{name}-{uuid.uuid4().hex[:8]}")
        begun = self.ask("POST", "runs/create", experiment_id=made["experiment_id"], start_time=1)
        return begun["run"]["info"]["run_id"]

    @property
    def address(self) -> str:
        """What a client is told."""
        return f"http://127.0.0.1:{self.port}{self.base}"


@contextmanager
def empty() -> Iterator[Tracker]:
    """A server that answers nothing at all."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", EMPTY, str(port)])
    try:
        _wait(port, "/")
        yield Tracker(port)
    finally:
        process.kill()
        process.wait()


@contextmanager
def mlflow_server(place: Path) -> Iterator[tuple[Tracker, Path, Path]]:
    """MLflow's own server with its programs and its file. BENCH_MLFLOW: an environment that there is already."""
    env = Path(os.environ.get("BENCH_MLFLOW") or place / "mlflow")
    if not env.exists():
        subprocess.run([sys.executable, "-m", "venv", env], check=True)
        subprocess.run([env / "bin" / "pip", "install", "-qq", MLFLOW], check=True)
    port, store = free_port(), place / "mlflow.db"
    argv = [env / "bin" / "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{store}",
            "--artifacts-destination", str(place / "mlartifacts")]  # fmt: skip
    with (place / "mlflow.log").open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, cwd=place, start_new_session=True,
                                   env={**os.environ, "PATH": f"{env / 'bin'}:{os.environ['PATH']}"})  # fmt: skip
    try:
        _wait(port, "/health")
        yield Tracker(port), env / "bin", store
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def _wait(port: int, path: str) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            line.request("GET", path)
            if line.getresponse().status == 200:
                return
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.05)
