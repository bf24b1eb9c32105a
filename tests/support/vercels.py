"""Vercel's API of sandboxes on loopback, as far as a provider uses it; commands are real processes.

Bodies and parameters that the published SDK does not send are answered with 400 and remembered in `faults`.
"""

import io
import json
import os
import re
import signal
import subprocess
import tarfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .boxes import SYSTEM, Box
from .loopback import Door, Double, Json, Refusal, Route

TOKEN, TEAM, PROJECT = "vercel-token-of-the-tests", "team_tests", "prj_tests"
_CREATE = {"projectId", "name", "image", "timeout", "resources", "persistent", "networkPolicy", "tags"}
_COMMAND = {"command", "args", "cwd", "env", "sudo", "timeout", "wait", "logs"}
_HOME = "/vercel/sandbox"


@dataclass
class Command:
    """A process of a sandbox."""

    body: Json
    box: Box | None
    id: str = field(default_factory=lambda: f"cmd_{uuid.uuid4().hex[:20]}")
    started: float = field(default_factory=time.time)
    code: int | None = None

    @property
    def exit_code(self) -> int | None:
        return self.box.exit_code if self.box is not None else self.code


@dataclass
class Sandbox:
    """A small machine."""

    body: Json
    box: Box
    session: str = field(default_factory=lambda: f"ses_{uuid.uuid4().hex[:20]}")
    commands: dict[str, Command] = field(default_factory=dict[str, Command])

    @property
    def name(self) -> str:
        return self.body["name"]


class Vercel(Double):
    """One project of one team."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, _Handler)
        self.sandboxes: dict[str, Sandbox] = {}
        self.url = f"http://{self.address}"

    def of_session(self, session: str) -> Sandbox:
        for sandbox in self.sandboxes.values():
            if sandbox.session == session:
                return sandbox
        raise Refusal(404, "session not found")

    def boxes(self) -> list[Box]:
        return [sandbox.box for sandbox in self.sandboxes.values()]


class _Handler(Door[Vercel]):
    def routes(self) -> list[Route]:
        return _ROUTES

    def admit(self, path: str, query: Json) -> str:
        if self.headers.get("authorization") != f"Bearer {TOKEN}" or query.pop("teamId", "") != TEAM:
            raise Refusal(403, "Not authorized")
        return path

    def error(self, message: str) -> Json:
        return {"error": {"code": "bad_request", "message": message}}

    # ------------------------------------------------------------ sandboxes

    def query(self, _m: Json, _q: Json, _b: bytes) -> None:
        listed = [self._sandbox(sandbox)["sandbox"] for sandbox in self.double.sandboxes.values()]
        self.json(200, {"sandboxes": listed, "pagination": {"count": len(listed), "next": None}})

    def create(self, _m: Json, _q: Json, raw: bytes) -> None:
        body = json.loads(raw)
        if unknown := set(body) - _CREATE:
            raise Refusal(400, f"sandboxes have no {sorted(unknown)}")
        if body["projectId"] != PROJECT or not re.fullmatch(r"[a-z0-9-]{1,100}", body["name"]):
            raise Refusal(400, f"{body['projectId']} {body['name']}")
        if body["persistent"] is not False or not isinstance(body["timeout"], int):
            raise Refusal(400, "it would stay for ever")
        if body["networkPolicy"] != {"mode": "deny-all"} and not body["networkPolicy"].get("allow"):
            raise Refusal(400, f"the network policy {body['networkPolicy']}")
        with self.double.lock:
            if body["name"] in self.double.sandboxes:
                raise Refusal(409, "a sandbox of this name exists")
            box = Box(self.double.folder / body["name"])
            (box.root / "home").mkdir()
            if os.geteuid() == 0:
                os.chown(box.root / "home", 1000, 1000)
            sandbox = self.double.sandboxes[body["name"]] = Sandbox(body, box)
        self.json(200, self._sandbox(sandbox))

    def read(self, match: Json, _q: Json, _b: bytes) -> None:
        self.json(200, self._sandbox(self._named(match["name"])))

    def destroy(self, match: Json, _q: Json, _b: bytes) -> None:
        sandbox = self._named(match["name"])
        del self.double.sandboxes[sandbox.name]
        sandbox.box.close()
        self.json(200, self._sandbox(sandbox, "stopped"))

    def _named(self, name: str) -> Sandbox:
        if name not in self.double.sandboxes:
            raise Refusal(404, "sandbox not found")
        return self.double.sandboxes[name]

    def _sandbox(self, sandbox: Sandbox, status: str = "running") -> Json:
        body = sandbox.body
        shared = {"status": status, "vcpus": body["resources"]["vcpus"], "memory": 2048 * body["resources"]["vcpus"],
                  "region": "iad1", "cwd": _HOME, "timeout": body["timeout"], "projectId": PROJECT,
                  "createdAt": 1, "updatedAt": 1}  # fmt: skip
        return {
            "sandbox": {"name": sandbox.name, "currentSessionId": sandbox.session, "tags": body["tags"],
                        "persistent": False, **shared},
            "session": {"id": sandbox.session, "sourceSandboxName": sandbox.name, **shared, "requestedAt": 1,
                        "startedAt": 1},
            "routes": [],
        }  # fmt: skip

    # ------------------------------------------------------------ commands

    def run(self, match: Json, _q: Json, raw: bytes) -> None:
        sandbox, body = self.double.of_session(match["session"]), json.loads(raw)
        if unknown := set(body) - _COMMAND:
            raise Refusal(400, f"commands have no {sorted(unknown)}")
        if body.get("wait"):
            self._ran(sandbox, body)
            return
        command = Command(body, sandbox.box)
        sandbox.commands[command.id] = command
        sandbox.box.start([body["command"], *body["args"]], body.get("env", {}), "/")
        self.json(200, {"command": self._command(sandbox, command)})

    def _ran(self, sandbox: Sandbox, body: Json) -> None:
        command, root = Command(body, None), sandbox.box.root
        words = ["bwrap", "--cap-add", "ALL", *SYSTEM, "--bind", str(root / "workspace"), "/workspace"]
        words += ["--bind", str(root / "secrets"), "/run/secrets", "--bind", str(root / "home"), _HOME]
        words += ["--chdir", _HOME, "--", body["command"], *body["args"]]
        first = {"command": self._command(sandbox, command)}
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        command.code = done.returncode
        sandbox.commands[command.id] = command
        logs = [{"stream": "stderr", "data": done.stderr}] if done.stderr else []
        self._ndjson([first, *logs, {"command": self._command(sandbox, command)}])

    def list_commands(self, match: Json, _q: Json, _b: bytes) -> None:
        sandbox = self.double.of_session(match["session"])
        self.json(
            200, {"commands": [self._command(sandbox, command) for command in sandbox.commands.values()]}
        )

    def read_command(self, match: Json, _q: Json, _b: bytes) -> None:
        sandbox, command = self._found(match)
        self.json(200, {"command": self._command(sandbox, command)})

    def kill(self, match: Json, _q: Json, raw: bytes) -> None:
        sandbox, command = self._found(match)
        if command.exit_code is not None:
            raise Refusal(410, "the command has ended")
        sandbox.box.signal(signal.Signals(json.loads(raw)["signal"]))
        self.json(200, {"command": self._command(sandbox, command)})

    def logs(self, match: Json, _q: Json, _b: bytes) -> None:
        _, command = self._found(match)
        assert command.box is not None
        chunks = command.box.follow(self.double.gone)
        self._ndjson({"stream": "stdout", "data": data.decode("utf-8", "replace")} for data in chunks)

    def _found(self, match: Json) -> tuple[Sandbox, Command]:
        sandbox = self.double.of_session(match["session"])
        if match["id"] not in sandbox.commands:
            raise Refusal(404, "command not found")
        return sandbox, sandbox.commands[match["id"]]

    def _command(self, sandbox: Sandbox, command: Command) -> Json:
        return {
            "id": command.id, "name": command.body["command"], "args": command.body["args"], "cwd": _HOME,
            "sessionId": sandbox.session, "exitCode": command.exit_code, "startedAt": int(command.started * 1000),
        }  # fmt: skip

    # ------------------------------------------------------------ files

    def write(self, match: Json, _q: Json, raw: bytes) -> None:
        sandbox = self.double.of_session(match["session"])
        if self.headers["x-cwd"] != "/" or self.headers["content-type"] != "application/gzip":
            raise Refusal(400, "files come as a gzipped tar of absolute paths")
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:gz") as tar:
            for member in tar:
                place = f"/{member.name.lstrip('/')}"
                source = tar.extractfile(member)
                if source is None or not place.startswith(f"{_HOME}/"):
                    raise Refusal(400, f"{place} is written to")
                (sandbox.box.root / "home" / place.removeprefix(f"{_HOME}/")).write_bytes(source.read())
        self.json(200, {})

    def fetch(self, match: Json, _q: Json, raw: bytes) -> None:
        sandbox, path = self.double.of_session(match["session"]), json.loads(raw)["path"]
        file = sandbox.box.root / "home" / path.removeprefix(f"{_HOME}/")
        if not file.exists():
            raise Refusal(404, f"{path} not found")
        data = file.read_bytes()
        self.send_response(200)
        self.send_header("content-type", "application/octet-stream")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _ndjson(self, records: Iterable[Json]) -> None:
        self.stream("application/x-ndjson", (json.dumps(record).encode() + b"\n" for record in records))


_NAMED = "/v2/sandboxes/(?P<name>[a-z0-9-]+)"
_SESSION = "/v2/sandboxes/sessions/(?P<session>ses_[0-9a-f]+)"
_CMD = f"{_SESSION}/cmd/(?P<id>cmd_[0-9a-f]+)"
_ROUTES: list[Route] = [
    ("GET", "/v2/sandboxes", {"project", "limit"}, _Handler.query),
    ("POST", "/v3/sandboxes", set(), _Handler.create),
    ("GET", _NAMED, {"projectId", "resume"}, _Handler.read),
    ("DELETE", _NAMED, {"projectId"}, _Handler.destroy),
    ("POST", f"{_SESSION}/cmd", {"wait", "logs"}, _Handler.run),
    ("GET", f"{_SESSION}/cmd", set(), _Handler.list_commands),
    ("GET", _CMD, {"wait"}, _Handler.read_command),
    ("POST", f"{_CMD}/kill", set(), _Handler.kill),
    ("GET", f"{_CMD}/logs", set(), _Handler.logs),
    ("POST", f"{_SESSION}/fs/write", set(), _Handler.write),
    ("POST", f"{_SESSION}/fs/read", set(), _Handler.fetch),
]


@contextmanager
def vercel_in(folder: Path) -> Iterator[Vercel]:
    """A project whose sandboxes lie in a folder that every account can walk."""
    project = Vercel(folder)
    try:
        yield project
    finally:
        project.close()
