"""What the loopback doubles of other people's HTTP APIs share: a server on a free port, strict routes, the wire.

What a double does not know is answered with 400 and remembered in `faults`, which a test expects to be empty.
"""

import json
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from .boxes import Box

Json = dict[str, Any]


class Refusal(Exception):
    """A reply with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Double:
    """A server of such an API on loopback; `gone` is set when it is closed."""

    def __init__(self, folder: Path, door: "type[Door[Any]]") -> None:
        self.folder = folder
        self.faults: list[str] = []
        self.gone = threading.Event()
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (door,), {"double": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def boxes(self) -> Iterable[Box]:
        """The places where commands run."""
        raise NotImplementedError

    def close(self) -> None:
        self.gone.set()
        self._server.shutdown()
        self._server.server_close()
        for box in self.boxes():
            box.close()


D = TypeVar("D", bound=Double)
Verb = Callable[[Any, Json, Json, bytes], None]
"""`verb(door, what the path holds, the query, the body)`."""

Route = tuple[str, str, set[str], Verb]
"""Method, pattern of the path, names that the query may have."""


class Door(BaseHTTPRequestHandler, Generic[D]):
    """One request. `repeated` is the query with all values of each name."""

    protocol_version = "HTTP/1.1"
    double: D
    repeated: dict[str, list[str]]

    def routes(self) -> Sequence[Route]:
        raise NotImplementedError

    def admit(self, path: str, query: Json) -> str:
        """The path to look for; raises `Refusal` for callers who may not ask. May take names out of the query."""
        del query
        return path

    def error(self, message: str) -> Json:
        """How this API tells of an error."""
        raise NotImplementedError

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        self.repeated = parse_qs(parts.query)
        query: Json = {name: values[-1] for name, values in self.repeated.items()}
        body = self._body()
        try:
            self._route(self.admit(unquote(parts.path), query), query, body)
        except Refusal as refusal:
            if refusal.status == 400:
                self.double.faults.append(refusal.message)
            self.json(refusal.status, self.error(refusal.message))

    def _route(self, path: str, query: Json, body: bytes) -> None:
        for method, pattern, allowed, verb in self.routes():
            match = re.fullmatch(pattern, path)
            if method == self.command and match:
                if unknown := set(query) - allowed:
                    raise Refusal(400, f"{method} {path}: unknown parameters {sorted(unknown)}")
                verb(self, match.groupdict(), query, body)
                return
        raise Refusal(404, f"not found: {self.command} {path}")

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815  as the base class has them

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""

    # ------------------------------------------------------------ the wire

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def json(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def empty(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def stream(self, kind: str, chunks: Iterable[bytes], headers: Json | None = None) -> None:
        self.send_response(200)
        for name, value in {"content-type": kind, "transfer-encoding": "chunked", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for data in chunks:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except OSError:  # whoever followed is gone
            self.close_connection = True
