"""A deployer with versions to deploy, for tests of every provider of deployments."""

import http.client
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from builderos.execution.compute.schema import Limits
from builderos.integrations.local_deploy.service import LocalDeployer
from builderos.integrations.local_deploy.version import Pace
from builderos.workloads.deployments.ports import Check, Deployer, Release, Site, Standing

from .sandboxes import until, yard_in_temp

QUICK = Limits(memory=256 * 1024 * 1024, pids=32, grace_s=0.2)
SERVER = """
import http.server, os, sys, time
WORD = open("word.txt").read()
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/crash": os._exit(3)
        if self.path == "/slow": time.sleep(0.4)
        if self.path == "/headers":
            return self.say(200, str(self.headers))
        if os.path.exists("/tmp/sick") and self.path == "/health": return self.say(500, "sick")
        if self.path == "/sicken": open("/tmp/sick", "w").close()
        self.say(200, f"{WORD} {self.path} {os.environ.get('COLOUR', '')} {os.environ.get('KEY', '')}")
    def do_POST(self):
        self.say(200, f"{WORD} {len(self.rfile.read(int(self.headers['content-length'])))}")
    def say(self, status, text):
        body = text.encode()
        self.send_response(status); self.send_header("content-length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
print("listening as", WORD, flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"""
COMMAND = "exec python3 server.py"


@dataclass
class Got:
    """A reply."""

    status: int
    text: str
    headers: Mapping[str, str]


def get(
    url: str, path: str = "/", method: str = "GET", body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Got:  # fmt: skip
    """One request to what is deployed. Raises `OSError` where nobody listens."""
    place = urlsplit(url)
    line = http.client.HTTPConnection(str(place.hostname), place.port, timeout=120)
    try:
        line.request(method, path, body=body, headers=dict(headers or {}))
        reply = line.getresponse()
        return Got(reply.status, reply.read().decode(), {k.lower(): v for k, v in reply.getheaders()})
    finally:
        line.close()


@dataclass
class Quay:
    """One deployer, and a folder in which versions are laid out."""

    deployer: Deployer
    folder: Path
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def place(self) -> str:
        """One that nobody has used."""
        return f"org/place{next(self._numbers)}"

    def lay(self, files: Mapping[str, str]) -> str:
        """A folder of files."""
        folder = self.folder / f"v{next(self._numbers)}"
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return str(folder)

    def server(self, place: str, word: str, **given: Any) -> Release:
        """A version that is a command."""
        folder = self.lay({"server.py": SERVER, "word.txt": word})
        given = {"command": COMMAND, "check": Check("/health", within_s=120), "limits": QUICK} | given
        return Release(f"dep_{next(self._numbers)}", place, "preview", folder, **given)

    def site(self, place: str, files: Mapping[str, str], **given: Any) -> Release:
        """A version that is files."""
        given = {"site": Site(), "check": Check(within_s=120)} | given
        return Release(f"dep_{next(self._numbers)}", place, "preview", self.lay(files), **given)

    def until(self, ref: str, *stages: str) -> Standing:
        """How it stands once it has come up, or has not."""
        wanted = stages or ("ready", "live", "failed")
        until(lambda: self.deployer.status(ref).stage in wanted)
        return self.deployer.status(ref)

    def live(self, release: Release) -> Standing:
        """Deploy it and have it served."""
        self.deployer.deploy(release)
        standing = self.until(release.ref)
        assert standing.stage == "ready", standing
        return self.deployer.promote(release.ref)


@contextmanager
def local_quay(**given: Any) -> Iterator[Quay]:
    """Deployments on this machine, in jails of their own."""
    folder = Path(tempfile.mkdtemp(prefix="bos-quay-"))
    folder.chmod(0o755)
    given = {"pace": Pace(every_s=0.1, patience_s=60, bad_looks=2), "drain_s": 5.0} | given
    with yard_in_temp("strong") as yard:
        jail: Any = yard.needed().provider
        deployer = LocalDeployer(lambda: jail, **given)
        try:
            yield Quay(deployer, folder)
        finally:
            deployer.close()
            shutil.rmtree(folder)


QUAYS: Mapping[str, Callable[[], Any]] = {"local": local_quay}
