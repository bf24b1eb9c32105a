"""What deployments here promise: switches that nobody notices, a version that is back at once, a short way."""

import http.client
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from builderos.execution.compute.schema import Limits
from builderos.integrations.bwrap.service import LocalSandboxes
from builderos.integrations.local_deploy.service import LocalDeployer
from builderos.integrations.local_deploy.version import Pace
from builderos.workloads.deployments.ports import Check, Health, Release

from .report import Report

SERVER = """
import asyncio, os, sys
WORD = (sys.argv[1] if len(sys.argv) > 1 else "x").encode()
async def one(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            size = next((int(l[15:]) for l in head.lower().split(b"\\r\\n") if l.startswith(b"content-length:")), 0)
            if size: await reader.readexactly(size)
            if b" /slow " in head: await asyncio.sleep(0.5)
            status = b"500 Sick" if b" /health " in head and os.path.exists("/tmp/sick") else b"200 OK"
            if b" /sicken " in head: open("/tmp/sick", "w").close()
            writer.write(b"HTTP/1.1 %s\\r\\ncontent-length: %d\\r\\n\\r\\n%s" % (status, len(WORD), WORD))
            await writer.drain()
    except (EOFError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(one, "127.0.0.1", int(os.environ.get("PORT", "0")))
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
_SWITCHES = 5


def served(report: Report, place: Path, seconds: float) -> None:
    """All rows, with the pace of a server."""
    jail = LocalSandboxes(place / "deploy-state")
    deployer = LocalDeployer(lambda: jail, pace=Pace())
    yard = _Yard(deployer, place / "deploy")
    try:
        yard.up("first", "0")
        url = yard.switch("first")
        _switches(report, yard, url, seconds)
        _back(report, yard, url)
        _noticed(report, yard, url)
        _way(report, url, place, seconds)
    finally:
        deployer.close()
        jail.close()


class _Yard:
    """Versions of one place."""

    def __init__(self, deployer: LocalDeployer, folder: Path) -> None:
        self.deployer = deployer
        self._folder = folder
        folder.mkdir()
        (folder / "server.py").write_text(SERVER)

    def up(self, ref: str, word: str) -> float:
        """Milliseconds until a version is ready."""
        began = time.perf_counter()
        self.deployer.deploy(Release(
            ref, "place", "preview", str(self._folder), command=f"exec python3 server.py {word}",
            check=Check("/health", within_s=30), limits=Limits(memory=256 << 20, pids=32),
        ))  # fmt: skip
        _until(lambda: self.deployer.status(ref).stage == "ready")
        return (time.perf_counter() - began) * 1000

    def switch(self, ref: str) -> str:
        """Serve it."""
        return self.deployer.promote(ref).url


def _switches(report: Report, yard: _Yard, url: str, seconds: float) -> None:
    """Eight clients on lines that they keep, a third of them posting, some slow, through switches."""
    stop, found = threading.Event(), Counter[str]()

    def client(number: int) -> None:
        line = _line(url)
        asked = 0
        while not stop.is_set():
            asked += 1
            path = "/slow" if asked % 30 == 0 else "/"
            try:
                post = number % 3 == 0
                line.request("POST" if post else "GET", path, body=b"x" * 5000 if post else None)
                reply = line.getresponse()
                reply.read()
                found["ok" if reply.status == 200 else "failed"] += 1
            except (OSError, http.client.HTTPException):
                found["failed"] += 1
                line = _line(url)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in clients:
        thread.start()
    ready: list[float] = []
    for number in range(_SWITCHES):
        ready.append(yard.up(f"v{number}", str(number)))
        yard.switch(f"v{number}")
        time.sleep(seconds / _SWITCHES)
    stop.set()
    for thread in clients:
        thread.join()
    how = f"of {found.total()} on 8 kept lines, 3/8 POST, some slow, {_SWITCHES} switches"
    report.at_most("deployment: failed requests", found["failed"], 0, how)
    report.shown(
        "deployment: command to ready under load, ms",
        statistics.median(ready),
        "start in the jail, first health",
    )


def _back(report: Report, yard: _Yard, url: str) -> None:
    took: list[float] = []
    for number in range(10):
        yard.up(f"good{number}", "good")
        yard.switch(f"good{number}")
        yard.up(f"bad{number}", "bad")
        yard.switch(f"bad{number}")
        began = time.perf_counter()
        yard.deployer.rollback("place")
        assert _get(url) == b"good"
        took.append((time.perf_counter() - began) * 1000)
    report.at_most(
        "deployment: rollback to first answer, p100 ms", max(took), 1000, "the version before is still up"
    )


def _noticed(report: Report, yard: _Yard, url: str) -> None:
    heard = threading.Event()

    def tell(_ref: str, health: Health) -> None:
        if health.well is False:
            heard.set()

    yard.deployer.watch(tell)
    _get(url, "/sicken")
    began = time.perf_counter()
    assert heard.wait(60)
    took = time.perf_counter() - began
    report.at_most(
        "deployment: unhealthy noticed after, s", took, 30, "answers 500; three looks, five seconds apart"
    )


def _way(report: Report, url: str, place: Path, seconds: float) -> None:
    """Requests a second of four clients through the address, beside the same server asked directly."""
    script = place / "plain.py"
    script.write_text(SERVER)
    plain = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert plain.stdout is not None
    try:
        direct = f"http://127.0.0.1:{plain.stdout.readline().strip()}/"
        rates: dict[str, list[float]] = {direct: [], url: []}
        for _ in range(3):
            for target, found in rates.items():
                found.append(_rate(target, seconds / 3))
    finally:
        plain.terminate()
        plain.wait()
    through, straight = (statistics.median(rates[target]) for target in (url, direct))
    how = f"{through:.0f}/s and {straight:.0f}/s, 4 clients on kept lines"
    report.at_least("deployment: requests through the address / a bare server", through / straight, 0.1, how)


def _rate(url: str, seconds: float) -> float:
    count, until = Counter[int](), time.monotonic() + seconds

    def client(number: int) -> None:
        line = _line(url)
        while time.monotonic() < until:
            line.request("GET", "/")
            line.getresponse().read()
            count[number] += 1

    clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    return count.total() / seconds


def _line(url: str) -> http.client.HTTPConnection:
    place = urlsplit(url)
    return http.client.HTTPConnection(str(place.hostname), place.port, timeout=20)


def _get(url: str, path: str = "/") -> bytes:
    line = _line(url)
    line.request("GET", path)
    return line.getresponse().read()


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)
