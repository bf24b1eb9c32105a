"""Logging to experiments from scripts and notebooks: `import builderos; builderos.start_run("iris")`.

What is logged goes into a file first, a line each, and from there to the server, in another thread and in batches. So a
call costs the same whether the server is there or away; what did not get through lies in the file, and `sync` sends it
another day. Lines may be sent twice: the server keeps them once.
"""

import atexit
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from .errors import ClientError
from .http import Client, Json
from .lines import FILE, Lines, attached, dataset, params

__all__ = ["ExperimentRun", "dataset", "params", "start_run", "sync"]
FOLDER: Final = ".builderos-runs"
FILES: Final = "/mlflow/api/2.0/mlflow-artifacts/artifacts"  # the one door that takes them by name
BATCH: Final = 500
PARAMS: Final = 100
WAIT_S: Final = 1.0
GIVE_UP_S: Final = 5.0
_NAMED: Final = {"metric": "metrics", "param": "params", "tag": "tags"}


class ExperimentRun(Lines):
    """A run that logs. Use it as a context: it ends `finished`, or `failed` where an exception leaves it."""

    def __init__(self, file: Path, client: Client | None, *, system_metrics: bool = False) -> None:
        super().__init__(file, system_metrics=system_metrics)
        self._wake = threading.Event()
        self._sender: threading.Thread | None = None
        if client is not None:
            self._sender = threading.Thread(
                target=self._send, args=(client,), name="builderos-run", daemon=True
            )
            self._sender.start()
        atexit.register(self.end)

    def end(self, status: str = "finished") -> None:
        """Say what came of it (finished, failed, killed), and wait a moment until it is sent. Safe to repeat."""
        if self._ended:
            return
        super().end(status)
        atexit.unregister(self.end)
        self._wake.set()
        if self._sender is not None:
            self._sender.join(GIVE_UP_S)

    def _write(self, what: str, **members: Any) -> None:
        super()._write(what, **members)
        self._wake.set()

    def _send(self, client: Client) -> None:
        """In a thread of its own: what has come since the last time, until the run has ended or the server is away."""
        post = _Post(client, self.file)
        try:
            while not post.done:
                self._wake.wait()
                self._wake.clear()
                post.go_on()
                if not (post.done or self._ended):
                    time.sleep(WAIT_S)
        except (ClientError, OSError):
            return  # the file has all of it


class _Post:
    """Sends the lines of one file."""

    def __init__(self, client: Client, file: Path) -> None:
        self._client, self._file = client, file
        self._at, self._id = 0, ""
        self.done = False

    def go_on(self) -> None:
        """Send the lines that are new. Raises `ClientError`."""
        batch: dict[str, Any] = {}
        count = 0
        for line in self._lines():
            what = line.pop("what")
            if what == "start":
                self._id = self._open(line)
            elif what == "end":
                self._flush(batch)
                self._give()
                ended = {"status": line["status"], "ended_at_ms": line["at_ms"]}
                self._client.call("POST", f"/v1/experiment-runs/{self._id}/end", ended, once=True)
                self.done = True
            else:
                _put(batch, what, line)
                count += 1
            if count >= BATCH or any(len(batch.get(name, ())) >= PARAMS for name in ("params", "tags")):
                self._flush(batch)
                batch, count = {}, 0
        self._flush(batch)
        if self.done:
            self._file.unlink(missing_ok=True)
            shutil.rmtree(self._file.with_suffix(".files"), ignore_errors=True)

    def _give(self) -> None:
        """Send the files that are to be kept; those that were sent before have the same names, and are the same."""
        folder = self._file.with_suffix(".files")
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = quote(file.relative_to(folder).as_posix())
            self._client.send(f"{FILES}/_/{self._id}/artifacts/{name}", file.read_bytes())

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Whole lines; one that is half written waits for the next time."""
        with self._file.open("rb") as file:
            file.seek(self._at)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._at += len(line)
                yield json.loads(line)

    def _open(self, line: dict[str, Any]) -> str:
        """The run: the same one, however often the file is sent, as long as it is not sent twice in a different way."""
        name = line["experiment"]
        found = self._client.call("GET", "/v1/experiments", {"q": name, "limit": 200})["items"]
        experiment = next((one["id"] for one in found if one["name"] == name), None)
        if experiment is None:
            experiment = self._client.call("POST", "/v1/experiments", {"name": name}, once=True)["id"]
        tagged = f"tags.`builderos.file` = '{line['id']}'"
        path = f"/v1/experiments/{quote(str(experiment), safe='')}/runs"
        before = self._client.call("GET", path, {"filter": tagged})["items"]
        if before:
            return str(before[0]["id"])
        sent = {
            "name": line["name"], "started_at_ms": line["at_ms"], "tags": {"builderos.file": line["id"]},
            "idempotency_key": line["id"],
        }  # fmt: skip
        return str(self._client.call("POST", f"{path}/open", sent)["id"])

    def _flush(self, batch: dict[str, Any]) -> None:
        if batch:
            self._client.call("POST", f"/v1/experiment-runs/{self._id}/log", dict(batch))
            batch.clear()


def _put(batch: dict[str, Any], what: str, line: Json) -> None:
    if what == "metric":
        batch.setdefault("metrics", []).append(line)
    else:
        batch.setdefault(_NAMED[what], {})[line["key"]] = line["value"]


def start_run(
    experiment: str = "Default", name: str | None = None, *, url: str | None = None, token: str | None = None,
    folder: str | Path | None = None, offline: bool = False, system_metrics: bool = False,
) -> Lines:  # fmt: skip
    """Begin a run of the experiment of this name, which is made for the first.

    Server and token: the arguments, else `BUILDEROS_URL` and `BUILDEROS_TOKEN`; without both, or `offline`, it is
    written to `folder` alone (`.builderos-runs`), and `sync` sends it later. In the sandbox of a run that was
    submitted it is that run. `system_metrics`: processor and memory, too, every ten seconds.
    """
    if FILE in os.environ:
        return attached()
    place = Path(folder if folder is not None else os.environ.get("BUILDEROS_RUNS", FOLDER))
    place.mkdir(parents=True, exist_ok=True)
    id_ = uuid.uuid4().hex
    file = place / f"{id_}.jsonl"
    first = {
        "what": "start",
        "id": id_,
        "experiment": experiment,
        "name": name,
        "at_ms": int(time.time() * 1000),
    }
    file.write_text(json.dumps(first) + "\n", encoding="utf-8")
    return ExperimentRun(file, None if offline else _client(url, token), system_metrics=system_metrics)


def sync(folder: str | Path | None = None, *, url: str | None = None, token: str | None = None) -> int:
    """Send what lies in a folder; how many runs were sent whole. Those that go on elsewhere stay.

    Raises `ClientError`.
    """
    client = _client(url, token)
    if client is None:
        raise ValueError("name the server and a token, or set BUILDEROS_URL and BUILDEROS_TOKEN")
    place = Path(folder if folder is not None else os.environ.get("BUILDEROS_RUNS", FOLDER))
    sent = 0
    for file in sorted(place.glob("*.jsonl")):
        post = _Post(client, file)
        post.go_on()
        sent += post.done
    client.close()
    return sent


def _client(url: str | None, token: str | None) -> Client | None:
    url, token = url or os.environ.get("BUILDEROS_URL"), token or os.environ.get("BUILDEROS_TOKEN")
    return Client(url, token, timeout_s=GIVE_UP_S) if url and token else None
