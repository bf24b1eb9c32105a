"""A client of Server-Sent Events, as plain as the format."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit


@dataclass(frozen=True)
class Said:
    """One event."""

    id: str
    type: str
    data: dict[str, Any]


class Ear:
    """An open stream; iterate over it for what is said until the server ends it."""

    def __init__(self, response: http.client.HTTPResponse, connection: http.client.HTTPConnection) -> None:
        self.response = response
        self.connection = connection

    def __iter__(self) -> Iterator[Said]:
        lines: dict[str, str] = {}
        for raw in self.response:
            line = raw.decode().rstrip("\n")
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                lines[name] = value
            elif "data" in lines:
                yield Said(lines.get("id", ""), lines.get("event", "message"), json.loads(lines["data"]))
                lines = {}


@contextmanager
def listening(
    url: str, path: str, token: str, last: str | None = None, timeout_s: float = 120, **query: Any
) -> Iterator[Ear]:
    """Open a stream behind event `last`."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    if last is not None:
        headers["Last-Event-ID"] = last
    connection.request("GET", f"{path}?{urlencode(query)}" if query else path, headers=headers)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    assert response.getheader("content-type", "").startswith("text/event-stream")
    try:
        yield Ear(response, connection)
    finally:
        connection.close()
