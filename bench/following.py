"""Rows about following: how soon a client of the stream hears of an act, and what many clients cost."""

import http.client
import json
import statistics
import threading
import time

from .report import Report
from .stage import REPO, Home, Server
from .wire import Wire

CLIENTS = 100
ACTS = 60


def latency(report: Report, home: Home, server: Server) -> None:
    """From the moment a commit was answered until each of many clients has heard of it; p95 over all of them."""
    box = home.open_sandbox()
    wire = Wire(server.port, box.token)
    heard: list[dict[str, float]] = [{} for _ in range(CLIENTS)]
    ready = threading.Barrier(CLIENTS + 1)
    done = threading.Event()
    threads = [
        threading.Thread(
            target=_listen, args=(server.port, home.owner_token, heard[n], ready, done), daemon=True
        )
        for n in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    ready.wait(60)
    acted: dict[str, float] = {}
    for number in range(ACTS):
        said = json.loads(wire.commit(REPO, box.branch, number, ("following", number)))
        acted[said["commit_sha"]] = time.monotonic()
        time.sleep(0.05)
    until = time.monotonic() + 20
    while any(acted.keys() - got.keys() for got in heard) and time.monotonic() < until:
        time.sleep(0.01)
    done.set()
    wire.close()
    late = sorted(
        (got[object_] - at) * 1e3 for got in heard for object_, at in acted.items() if object_ in got
    )
    lost = CLIENTS * ACTS - len(late)
    report.at_most(
        "acts that a client of the stream did not hear of", lost, 0, f"{CLIENTS} clients, {ACTS} acts"
    )
    p95 = late[int(len(late) * 0.95)]
    note = f"{CLIENTS} clients; median {statistics.median(late):.0f}"
    report.at_most("an act until a client of the stream has heard of it, p95 [ms]", p95, 250, note)


def _listen(
    port: int, token: str, heard: dict[str, float], ready: threading.Barrier, done: threading.Event
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/v1/stream?topics=commits", headers={"Authorization": f"Bearer {token}"})
    for raw in connection.getresponse():
        if raw.startswith(b"data: "):
            said = json.loads(raw[6:])
            now = time.monotonic()
            if "resumed" in said:
                ready.wait(60)
            for item in said.get("items", ()):
                heard[item["object"]] = now
        if done.is_set():
            break
    connection.close()
