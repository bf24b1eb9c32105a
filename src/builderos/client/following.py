"""Server-Sent Events as a client hears them: from any event on, and again after the connection was lost."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .errors import ClientError
from .http import Client, Json

_PATIENCE: Final = 10
_LONGEST_PAUSE_S: Final = 5.0
_STOPPING: Final = frozenset({"unavailable", "busy", "rate_limited", "upstream_failed"})


@dataclass(frozen=True)
class Said:
    """One event."""

    id: str
    type: str
    data: Json


def follow(
    client: Client, path: str, query: Mapping[str, Any] | None = None, *, over: Callable[[Said], bool],
    last: str | None = None,
) -> Iterator[Said]:  # fmt: skip
    """Events behind `last` as they come, up to and with the one that is `over`.

    Where the connection breaks or the server ends the reply, it goes on behind the last event: none is lost, none comes
    twice. Raises `ClientError` when the server refuses, or stays away for about half a minute.
    """
    way = _Way(client, path, query or {}, last)
    while True:
        for said in way.reply():
            yield said
            if over(said):
                return
        time.sleep(min(_LONGEST_PAUSE_S, 0.1 * 2 ** min(way.failed, 6)))


class _Way:
    """How far a client has come, and how often in a row it came nowhere."""

    def __init__(self, client: Client, path: str, query: Mapping[str, Any], last: str | None) -> None:
        self._client = client
        self._path = path
        self._query = query
        self._last = last
        self.failed = 0

    def reply(self) -> Iterator[Said]:
        """The events of one reply; ends also where the connection breaks. Raises what cannot be waited for."""
        try:
            for said in _heard(self._client, self._path, self._query, self._last):
                self.failed, self._last = 0, said.id or self._last
                yield said
            self.failed += 1
        except ClientError as error:
            self.failed += 1
            away = error.__cause__ is not None or error.code in _STOPPING
            if not away or self.failed > _PATIENCE:
                raise


def _heard(client: Client, path: str, query: Mapping[str, Any], last: str | None) -> Iterator[Said]:
    """One reply. Lines that begin with a colon are heartbeats."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last is not None else {})
    members: dict[str, str] = {}
    for raw in client.lines(path, query, headers):
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(":")
            members[name] = value.removeprefix(" ")
        elif "data" in members:
            yield Said(members.get("id", ""), members.get("event", "message"), json.loads(members["data"]))
            members = {}
