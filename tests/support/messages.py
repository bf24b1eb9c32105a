"""A model server that is not ours and speaks Anthropic's Messages interface, refusing what the real one refuses."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

Json = dict[str, Any]
USAGE = {
    "input_tokens": 20,
    "cache_read_input_tokens": 5,
    "cache_creation_input_tokens": 0,
    "output_tokens": 9,
}


def text(said: str) -> Json:
    """A block of an answer."""
    return {"type": "text", "text": said}


def use(name: str, **arguments: Any) -> Json:
    """A block that asks for a tool."""
    return {"type": "tool_use", "id": f"toolu_{name}", "name": name, "input": arguments}


class MessageServer:
    """What it was asked; `answers` are lists of blocks, or raw bytes of a stream, or a status with a JSON error."""

    def __init__(self) -> None:
        self.requests: list[Json] = []
        self.answers: list[list[Json] | bytes | tuple[int, Json]] = []
        self.stop_reason = ""
        outer = self

        class Handler(_Handler):
            server_of = outer

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        """End it."""
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    server_of: MessageServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server_of.requests.append(body)
        wrong = _wrong(self.path, dict(self.headers), body)
        if wrong:
            self._send(400, {"type": "error", "error": {"type": "invalid_request_error", "message": wrong}})
            return
        answer = self.server_of.answers.pop(0) if self.server_of.answers else [text("Hello there!")]
        if isinstance(answer, tuple):
            self._send(*answer)
            return
        if isinstance(answer, bytes):
            self._stream(answer)
            return
        stop = self.server_of.stop_reason or (
            "tool_use" if any(b["type"] == "tool_use" for b in answer) else "end_turn"
        )
        message = {"id": "msg_01", "type": "message", "role": "assistant", "model": body["model"], "content": answer,
                   "stop_reason": stop, "stop_sequence": None, "usage": USAGE}  # fmt: skip
        if body.get("stream"):
            self._stream(b"".join(_line(event) for event in _events(message)))
        else:
            self._send(200, message)

    def _send(self, status: int, body: Json) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _stream(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


def _wrong(path: str, headers: dict[str, str], body: Json) -> str:
    """Why the real one would refuse it: platform.claude.com/docs/en/api/messages."""
    if path != "/v1/messages" or not {k.lower(): v for k, v in headers.items()}.get("anthropic-version"):
        return "no such address, or no version"
    roles = [turn["role"] for turn in body["messages"]]
    if not roles or roles[0] != "user" or any(a == b for a, b in pairwise(roles)):
        return "turns must alternate and begin with the user"
    asked: set[str] = set()
    for turn in body["messages"]:
        results = {b["tool_use_id"] for b in turn["content"] if b["type"] == "tool_result"}
        if results != asked:
            return "each tool_use must have its tool_result in the next turn"
        asked = {b["id"] for b in turn["content"] if b["type"] == "tool_use"}
    return "" if type(body.get("max_tokens")) is int else "max_tokens is missing"


def _events(message: Json) -> Iterator[Json]:
    started = {**message, "content": [], "stop_reason": None, "usage": {**USAGE, "output_tokens": 1}}
    yield {"type": "message_start", "message": started}
    for index, block in enumerate(message["content"]):
        if block["type"] == "tool_use":
            whole = json.dumps(block["input"])
            yield {"type": "content_block_start", "index": index, "content_block": {**block, "input": {}}}
            pieces = [{"type": "input_json_delta", "partial_json": p} for p in ("", whole[:4], whole[4:])]
        else:
            member = "thinking" if block["type"] == "thinking" else "text"
            yield {"type": "content_block_start", "index": index, "content_block": {**block, member: ""}}
            words = block[member].partition(" ")
            pieces = [{"type": f"{member}_delta", member: word} for word in words if word]
        yield {"type": "ping"}
        yield from ({"type": "content_block_delta", "index": index, "delta": piece} for piece in pieces)
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": message["stop_reason"]},
        "usage": {"output_tokens": 9},
    }
    yield {"type": "message_stop"}


def _line(event: Json) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


@contextmanager
def message_server() -> Iterator[MessageServer]:
    """One for a test."""
    made = MessageServer()
    try:
        yield made
    finally:
        made.close()
