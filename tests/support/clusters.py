"""A Kubernetes API on loopback: what a provider of sandboxes asks, answered strictly, by real processes.

A member that the published schema of an object does not have is answered with 400 and remembered in `faults`, as an API
server with strict field validation does.
"""

import base64
import hashlib
import json
import os
import re
import signal
import struct
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from .boxes import SYSTEM, Box
from .cluster_shapes import fault_in
from .loopback import Door, Double, Json, Refusal, Route

HELPER = "registry.example/x/busybox@sha256:" + "c" * 64
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")


@dataclass
class Job:
    """A Job with its one pod."""

    body: Json
    box: Box
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    ready: bool = False
    oom: bool = False
    evicted: bool = False

    @property
    def name(self) -> str:
        return self.body["metadata"]["name"]


class Cluster(Double):
    """One namespace of one cluster."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, _Handler)
        self.jobs: dict[str, Job] = {}
        self.objects: dict[str, dict[str, Json]] = {"secrets": {}, "networkpolicies": {}}
        self.host = f"http://{self.address}"

    def job(self, name: str) -> Job:
        if name not in self.jobs:
            raise Refusal(404, f'jobs.batch "{name}" not found')
        return self.jobs[name]

    def begin(self, job: Job) -> None:
        """The helper has the workspace: mount the secrets and start the command."""
        pod = job.body["spec"]["template"]["spec"]
        for volume in pod["volumes"]:
            if "secret" in volume:
                data = self.objects["secrets"][volume["secret"]["secretName"]]["data"]
                for name, value in data.items():
                    file = job.box.root / "secrets" / name
                    file.write_bytes(base64.b64decode(value))
                    file.chmod(0o444)
        command = pod["containers"][0]
        env = {item["name"]: item["value"].replace("$$(", "$(") for item in command["env"]}
        mount = next(m for m in command["volumeMounts"] if m["name"] == "workspace")
        job.ready = True
        job.box.start(command["command"], env, command["workingDir"], writable=not mount["readOnly"])

    def boxes(self) -> list[Box]:
        return [job.box for job in self.jobs.values()]


class _Handler(Door[Cluster]):
    def routes(self) -> list[Route]:
        return _ROUTES

    def error(self, message: str) -> Json:
        return {"kind": "Status", "status": "Failure", "message": message}

    # ------------------------------------------------------------ verbs

    def list_jobs(self, _m: Json, _q: Json, _b: bytes) -> None:
        self.json(200, {"apiVersion": "batch/v1", "kind": "JobList", "items": []})

    def create_job(self, _m: Json, _q: Json, raw: bytes) -> None:
        body = json.loads(raw)
        fault = fault_in(body)
        if fault:
            raise Refusal(400, fault)
        name = body["metadata"]["name"]
        if not _NAME.match(name):
            raise Refusal(400, f"{name!r} is no RFC 1123 label")
        pod = body["spec"]["template"]["spec"]
        for container in (*pod["initContainers"], *pod["containers"]):
            if "@sha256:" not in container["image"]:
                raise Refusal(400, f"{container['image']} is not pinned")
        with self.double.lock:
            if name in self.double.jobs:
                raise Refusal(409, f'jobs.batch "{name}" already exists')
            box = Box(self.double.folder / name)
            (box.root / "control").mkdir()
            if os.geteuid() == 0:
                for place in ("workspace", "control"):
                    os.chown(box.root / place, 1000, 1000)
            job = self.double.jobs[name] = Job(body, box)
        self.json(201, self._job(job))

    def read_job(self, match: Json, _q: Json, _b: bytes) -> None:
        self.json(200, self._job(self.double.job(match["name"])))

    def delete_job(self, match: Json, query: Json, raw: bytes) -> None:
        body: Json = json.loads(raw) if raw else {}
        policy = query.get("propagationPolicy", body.get("propagationPolicy"))
        if policy != "Background":
            raise Refusal(400, "its pods and secrets would stay behind")
        job = self.double.job(match["name"])
        del self.double.jobs[job.name]
        for kind in self.double.objects.values():
            for name in [n for n, o in kind.items() if o["metadata"]["ownerReferences"][0]["uid"] == job.uid]:
                del kind[name]
        job.box.close()
        self.json(200, {"kind": "Status", "status": "Success"})

    def create_object(self, match: Json, _q: Json, raw: bytes) -> None:
        body = json.loads(raw)
        kinds = {"secrets": {"apiVersion", "kind", "type", "metadata", "data"},
                 "networkpolicies": {"apiVersion", "kind", "metadata", "spec"}}  # fmt: skip
        if unknown := set(body) - kinds[match["kind"]]:
            raise Refusal(400, f"{match['kind']} have no {unknown}")
        owner = body["metadata"]["ownerReferences"][0]
        if (
            set(owner) != {"apiVersion", "kind", "name", "uid"}
            or self.double.job(owner["name"]).uid != owner["uid"]
        ):
            raise Refusal(400, "it belongs to no Job")
        for value in body.get("data", {}).values():
            base64.b64decode(value, validate=True)
        self.double.objects[match["kind"]][body["metadata"]["name"]] = body
        self.json(201, body)

    def list_pods(self, _m: Json, query: Json, _b: bytes) -> None:
        name = query["labelSelector"].partition("=")[2]
        found = [self._pod(job) for job in self.double.jobs.values() if job.name == name]
        self.json(200, {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": found})

    def log(self, match: Json, query: Json, _b: bytes) -> None:
        if query.get("container") != "command" or query.get("follow") not in ("true", "True"):
            raise Refusal(400, f"the log of {query}")
        job = self.double.job(match["name"].removesuffix("-pod"))
        self.stream("text/plain", job.box.follow(self.double.gone))

    def run(self, match: Json, query: Json, _b: bytes) -> None:
        job = self.double.job(match["name"].removesuffix("-pod"))
        if self.headers.get("upgrade", "").lower() != "websocket":
            raise Refusal(400, "exec is a websocket")
        key = self.headers["sec-websocket-key"] + _GUID
        self.send_response(101)
        self.send_header("upgrade", "websocket")
        self.send_header("connection", "Upgrade")
        self.send_header(
            "sec-websocket-accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        )
        self.send_header("sec-websocket-protocol", "v4.channel.k8s.io")
        self.end_headers()
        self.close_connection = True
        code = self._executed(
            job, query["container"], self.repeated["command"], stdin=query["stdin"].lower() == "true"
        )
        status: Json = {"metadata": {}, "status": "Success"}
        if code:
            causes = [{"reason": "ExitCode", "message": str(code)}]
            status = {
                "metadata": {},
                "status": "Failure",
                "reason": "NonZeroExitCode",
                "details": {"causes": causes},
            }
        self._frame(b"\x03" + json.dumps(status).encode())
        self._frame(struct.pack(">H", 1000), opcode=8)

    def _executed(self, job: Job, container: str, command: list[str], *, stdin: bool) -> int:
        script = command[2]
        if container == "command":
            number = {"kill -TERM -1": signal.SIGTERM, "kill -KILL -1": signal.SIGKILL}[script]
            job.box.signal(number)
            return 0
        root = job.box.root
        words = ["bwrap", *SYSTEM, "--bind", str(root / "workspace"), "/workspace"]
        words += ["--bind", str(root / "control"), "/control", "--", *command]
        account = 1000 if os.geteuid() == 0 else None
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, user=account,
            group=account, extra_groups=None if account is None else [],
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        if stdin:
            threading.Thread(target=self._feed, args=(process,), daemon=True).start()
        while data := process.stdout.read1(1 << 16):
            self._frame(b"\x01" + data)
        code = process.wait()
        if container == "receive" and (root / "control" / "ready").exists():
            self.double.begin(job)
        return code

    def _feed(self, process: "subprocess.Popen[bytes]") -> None:
        """Frames of the client (masked, RFC 6455 5.2) into the process, until either is over."""
        assert process.stdin is not None
        try:
            while process.poll() is None:
                head = self.rfile.read(2)
                if len(head) < 2 or head[0] & 15 == 8:
                    return
                size = head[1] & 127
                size = int.from_bytes(self.rfile.read({126: 2, 127: 8}[size])) if size > 125 else size
                mask = self.rfile.read(4)
                data = self.rfile.read(size)
                whole = (mask * (size // 4 + 1))[:size]
                data = (int.from_bytes(data) ^ int.from_bytes(whole)).to_bytes(size) if size else b""
                if data[:1] == b"\0":
                    process.stdin.write(data[1:])
                    process.stdin.flush()
        except (OSError, ValueError):
            return  # it ended meanwhile

    # ------------------------------------------------------------ objects

    def _job(self, job: Job) -> Json:
        return {**job.body, "metadata": {**job.body["metadata"], "uid": job.uid}, "status": {}}

    def _pod(self, job: Job) -> Json:
        box = job.box
        phase, state = "Pending", {"waiting": {"reason": "PodInitializing"}}
        if box.exit_code is not None:
            reason = "OOMKilled" if job.oom else "Completed" if box.exit_code == 0 else "Error"
            ended = {
                "exitCode": box.exit_code,
                "reason": reason,
                "startedAt": _time(box.began),
                "finishedAt": _time(box.ended),
            }
            phase, state = "Running", {"terminated": ended}  # its keeper runs on
        elif job.ready:
            phase, state = "Running", {"running": {"startedAt": _time(box.began)}}
        receive = {"terminated": {"exitCode": 0}} if job.ready else {"running": {"startedAt": _time(1)}}
        status: Json = {
            "phase": phase, "initContainerStatuses": [_container("receive", receive)],
            "containerStatuses": [_container("command", state), _container("keeper", {"running": {}})],
        }  # fmt: skip
        if job.evicted:
            status = {
                "phase": "Failed",
                "reason": "Evicted",
                "message": "The node was low on resource: ephemeral-storage.",
            }
        template = job.body["spec"]["template"]
        return {
            "metadata": {"name": f"{job.name}-pod", **template["metadata"]},
            "spec": template["spec"],
            "status": status,
        }

    # ------------------------------------------------------------ the wire

    def _frame(self, data: bytes, opcode: int = 2) -> None:
        size = len(data)
        head = (
            bytes([size])
            if size < 126
            else b"\x7e" + struct.pack(">H", size)
            if size < 1 << 16
            else b"\x7f" + struct.pack(">Q", size)
        )
        self.wfile.write(bytes([0x80 | opcode]) + head + data)
        self.wfile.flush()


_JOBS = "/apis/batch/v1/namespaces/steps/jobs"
_PODS = "/api/v1/namespaces/steps/pods"
_ROUTES: list[Route] = [
    ("GET", _JOBS, {"limit"}, _Handler.list_jobs),
    ("POST", _JOBS, set(), _Handler.create_job),
    ("GET", f"{_JOBS}/(?P<name>[a-z0-9-]+)", set(), _Handler.read_job),
    (
        "DELETE",
        f"{_JOBS}/(?P<name>[a-z0-9-]+)",
        {"propagationPolicy", "gracePeriodSeconds"},
        _Handler.delete_job,
    ),
    ("POST", "/api/v1/namespaces/steps/(?P<kind>secrets)", set(), _Handler.create_object),
    (
        "POST",
        "/apis/networking.k8s.io/v1/namespaces/steps/(?P<kind>networkpolicies)",
        set(),
        _Handler.create_object,
    ),
    ("GET", _PODS, {"labelSelector"}, _Handler.list_pods),
    ("GET", f"{_PODS}/(?P<name>[a-z0-9-]+)/log", {"container", "follow"}, _Handler.log),
    (
        "GET",
        f"{_PODS}/(?P<name>[a-z0-9-]+)/exec",
        {"container", "command", "stdin", "stdout", "stderr", "tty"},
        _Handler.run,
    ),
]


def _container(name: str, state: Json) -> Json:
    return {"name": name, "state": state, "image": "x", "imageID": "", "ready": True, "restartCount": 0}


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def cluster_in(folder: Path) -> Iterator[Cluster]:
    """A cluster whose pods lie in a folder that every account can walk."""
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        cluster.close()
