"""A Docker daemon on loopback: the part of the Engine API 1.44 that a provider of sandboxes uses, and not a word more.

What the API does not know, or knows with another type, is answered with 400 and remembered in `faults`.
"""

import io
import json
import re
import signal
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .boxes import Box
from .loopback import Door, Double, Json, Refusal, Route

IMAGE = "registry.example/x/py@sha256:" + "a" * 64
_NEVER = "0001-01-01T00:00:00Z"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")
# ContainerConfig and HostConfig of the Engine API, as far as they are used: name → JSON type.
_CONFIG: dict[str, type | tuple[type, ...]] = {
    "Hostname": (str, type(None)), "Domainname": (str, type(None)), "ExposedPorts": (dict, type(None)),
    "User": str, "Tty": bool, "OpenStdin": bool, "StdinOnce": bool, "AttachStdin": bool, "AttachStdout": bool,
    "AttachStderr": bool, "Env": list, "Cmd": list, "Image": str, "Volumes": dict, "Entrypoint": list,
    "WorkingDir": str, "HostConfig": dict, "NetworkDisabled": bool, "MacAddress": (str, type(None)), "Labels": dict,
    "StopSignal": (str, type(None)), "Healthcheck": (dict, type(None)), "StopTimeout": (int, type(None)),
    "Runtime": (str, type(None)), "NetworkingConfig": (dict, type(None)),
}  # fmt: skip
_HOST: dict[str, type | tuple[type, ...]] = {
    "NetworkMode": str, "ReadonlyRootfs": bool, "Init": bool, "CapDrop": list, "SecurityOpt": list, "Tmpfs": dict,
    "Memory": int, "MemorySwap": int, "NanoCpus": int, "PidsLimit": int, "ShmSize": int, "Ulimits": list,
    "DeviceRequests": list, "Binds": list,
}  # fmt: skip


@dataclass
class Container:
    """One of them."""

    id: str
    name: str
    config: Json
    box: Box
    status: str = "created"
    order: Json = field(default_factory=dict[str, Any])


class Docker(Double):
    """The daemon. `oom` names containers that are said to have run out of memory."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, _Handler)
        self.containers: dict[str, Container] = {}
        self.images: set[str] = set()
        self.pulled: list[str] = []
        self.oom = False
        self.host = f"tcp://{self.address}"

    def find(self, name: str) -> Container:
        for container in self.containers.values():
            if name in (container.name, container.id):
                return container
        raise Refusal(404, f"No such container: {name}")

    def boxes(self) -> list[Box]:
        return [container.box for container in self.containers.values()]


class _Handler(Door[Docker]):
    def routes(self) -> list[Route]:
        return _ROUTES

    def admit(self, path: str, query: Json) -> str:
        del query
        if not path.startswith("/v1.44/"):
            raise Refusal(400, f"the client asks for {path}")
        return path.removeprefix("/v1.44")

    def error(self, message: str) -> Json:
        return {"message": message}

    # ------------------------------------------------------------ verbs

    def info(self, _m: Json, _q: Json, _b: bytes) -> None:
        self.json(
            200, {"MemoryLimit": True, "PidsLimit": True, "CpuCfsQuota": True, "ServerVersion": "double"}
        )

    def image(self, match: Json, _q: Json, _b: bytes) -> None:
        if match["name"] not in self.double.images:
            raise Refusal(404, f"No such image: {match['name']}")
        self.json(200, {"Id": "sha256:" + "b" * 64, "RepoDigests": [match["name"]]})

    def pull(self, _m: Json, query: Json, _b: bytes) -> None:
        name = f"{query['fromImage']}@{query['tag']}" if query.get("tag") else query["fromImage"]
        if "@sha256:" not in name:
            raise Refusal(400, f"an image without a digest is pulled: {name}")
        self.double.images.add(name)
        self.double.pulled.append(name)
        self.stream("application/json", iter([b'{"status":"done"}\n']))

    def create(self, _m: Json, query: Json, body: bytes) -> None:
        config = json.loads(body)
        _typed("config", config, _CONFIG)
        _typed("HostConfig", config["HostConfig"], _HOST)
        if not _NAME.match(query["name"]):
            raise Refusal(400, f"{query['name']!r} is no container name")
        if config["Image"] not in self.double.images:
            raise Refusal(404, f"No such image: {config['Image']}")
        if not all("=" in word for word in config["Env"]):
            raise Refusal(400, "the environment is no list of NAME=value")
        with self.double.lock:
            if any(c.name == query["name"] for c in self.double.containers.values()):
                raise Refusal(409, f"Conflict. The container name {query['name']} is already in use")
            id_ = uuid.uuid4().hex * 2
            box = Box(self.double.folder / id_[:12])
            self.double.containers[id_] = Container(id_, query["name"], config, box)
        self.json(201, {"Id": id_, "Warnings": []})

    def put(self, match: Json, query: Json, body: bytes) -> None:
        container = self.double.find(match["id"])
        if container.box.folder(query["path"]) is None or not container.box.put(
            query["path"], io.BytesIO(body)
        ):
            raise Refusal(403, "container rootfs is marked read-only")
        self.json(200, {})

    def start(self, match: Json, _q: Json, _b: bytes) -> None:
        container = self.double.find(match["id"])
        config = container.config
        env = dict(word.split("=", 1) for word in config["Env"])
        container.box.start(config["Entrypoint"] + config["Cmd"], env, config["WorkingDir"] or "/")
        container.status = "running"
        self.empty(204)

    def inspect(self, match: Json, _q: Json, _b: bytes) -> None:
        container = self.double.find(match["id"])
        box = container.box
        if container.status == "running" and box.exit_code is not None:
            container.status = "exited"
        ended = container.status == "exited"
        state = {
            "Status": container.status, "Running": container.status == "running",
            "OOMKilled": self.double.oom and ended, "ExitCode": box.exit_code or 0, "Error": "",
            "StartedAt": _time(box.began), "FinishedAt": _time(box.ended),
        }  # fmt: skip
        self.json(
            200, {"Id": container.id, "Name": f"/{container.name}", "State": state, "Config": container.config,
                  "Image": "sha256:" + "b" * 64},
        )  # fmt: skip

    def logs(self, match: Json, query: Json, _b: bytes) -> None:
        container = self.double.find(match["id"])
        if query.get("follow") != "1" or query.get("stdout") != "1" or query.get("stderr") != "1":
            raise Refusal(400, f"logs of {query}")
        frames = (
            struct.pack(">BxxxI", 1, len(data)) + data for data in container.box.follow(self.double.gone)
        )
        self.stream("application/vnd.docker.multiplexed-stream", frames)

    def stats(self, match: Json, query: Json, _b: bytes) -> None:
        if set(query) != {"stream", "one-shot"}:
            raise Refusal(400, f"stats of {query}")
        box = self.double.find(match["id"]).box
        running = box.exit_code is None
        self.json(
            200, {
                "cpu_stats": {"cpu_usage": {"total_usage": int(box.cpu_s * 1e9) if running else 0}},
                "memory_stats": {"usage": box.peak} if running else {},
            },
        )  # fmt: skip

    def kill(self, match: Json, query: Json, _b: bytes) -> None:
        container = self.double.find(match["id"])
        if container.box.exit_code is not None or container.status != "running":
            raise Refusal(409, f"container {container.name} is not running")
        container.box.signal(signal.Signals[query["signal"]])
        self.empty(204)

    def archive(self, match: Json, query: Json, _b: bytes) -> None:
        container = self.double.find(match["id"])
        if container.box.folder(query["path"]) is None:
            raise Refusal(404, f"Could not find the file {query['path']} in container")
        self.stream(
            "application/x-tar",
            container.box.get(query["path"]),
            {"X-Docker-Container-Path-Stat": "e30="},
        )

    def delete(self, match: Json, query: Json, _b: bytes) -> None:
        container = self.double.find(match["id"])
        if query != {"v": "True", "link": "False", "force": "True"} and query.get("v") not in ("1", "True"):
            raise Refusal(400, f"volumes would stay behind: {query}")
        container.box.close()
        del self.double.containers[container.id]
        self.empty(204)


_ID = r"/containers/(?P<id>[a-zA-Z0-9_.-]+)"
_ROUTES: list[Route] = [
    ("GET", "/info", set(), _Handler.info),
    ("GET", "/images/(?P<name>.+)/json", set(), _Handler.image),
    ("POST", "/images/create", {"fromImage", "tag", "platform"}, _Handler.pull),
    ("POST", "/containers/create", {"name", "platform"}, _Handler.create),
    ("PUT", f"{_ID}/archive", {"path"}, _Handler.put),
    ("POST", f"{_ID}/start", set(), _Handler.start),
    ("GET", f"{_ID}/json", set(), _Handler.inspect),
    ("GET", f"{_ID}/logs", {"stdout", "stderr", "follow", "timestamps", "tail", "since"}, _Handler.logs),
    ("GET", f"{_ID}/stats", {"stream", "one-shot"}, _Handler.stats),
    ("POST", f"{_ID}/kill", {"signal"}, _Handler.kill),
    ("GET", f"{_ID}/archive", {"path"}, _Handler.archive),
    ("DELETE", _ID, {"v", "link", "force"}, _Handler.delete),
]


def _typed(what: str, given: Json, known: dict[str, type | tuple[type, ...]]) -> None:
    for name, value in given.items():
        if name not in known:
            raise Refusal(400, f"{what} has no {name}")
        if not isinstance(value, known[name]):
            raise Refusal(400, f"{what}.{name} is a {type(value).__name__}")


def _time(at: float) -> str:
    if not at:
        return _NEVER
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


@contextmanager
def docker_in(folder: Path) -> Iterator[Docker]:
    """A daemon whose containers lie in a folder that every account can walk."""
    daemon = Docker(folder)
    try:
        yield daemon
    finally:
        daemon.close()
