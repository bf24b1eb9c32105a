"""Somebody else's S3 (moto), in an environment and a process of its own."""

import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

from .environments import environment
from .sandboxes import until

KEY_ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
_XML = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Service:
    """The service, looked at past every client of ours."""

    def __init__(self, url: str) -> None:
        self.url = url

    def make(self, bucket: str) -> str:
        """A bucket; returns the URL of a store in it."""
        self.ask("PUT", f"/{bucket}")
        return f"s3://{bucket}/kept?endpoint={self.url}"

    def ask(self, method: str, path: str, data: bytes | None = None, **headers: str) -> bytes:
        """One request; whoever names a key is let in by this service."""
        named = {"Authorization": f"AWS4-HMAC-SHA256 Credential={KEY_ID}/20260101/us-east-1/s3/aws4_request"}
        request = urllib.request.Request(f"{self.url}{path}", data, named | headers, method=method)
        request.add_header("Content-Type", "application/octet-stream")  # else it is read as a form
        with urllib.request.urlopen(request, timeout=120) as reply:
            return reply.read()

    def keys(self, bucket: str) -> list[str]:
        """All objects of a bucket."""
        tree = ElementTree.fromstring(self.ask("GET", f"/{bucket}?list-type=2"))
        return [item.text or "" for item in tree.iter(f"{_XML}Key")]


@contextmanager
def service(folder: Path) -> Iterator[Service]:
    """The service on a free port until the block ends."""
    log = folder / "bucket.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [environment("bucket") / "bin" / "moto_server", "-H", "127.0.0.1", "-p", "0"], stdout=out, stderr=out,
            start_new_session=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    try:
        until(lambda: "Running on " in log.read_text())
        yield Service(log.read_text().split("Running on ")[1].split()[0])
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
