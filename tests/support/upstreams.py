"""A model server that is not ours: it speaks OpenAI's interface, and misbehaves when it is told."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Json = dict[str, Any]
REFUSED = b'{"error":{"message":"no","type":"t","code":null}}'


@dataclass
class Reply:
    """What is answered to one request: `words` are tokens, one chunk each; or a status with a raw body."""

    words: list[str] = field(default_factory=lambda: ["Hello", " there", "!"])
    tool_calls: list[Json] = field(default_factory=list)
    status: int = 200
    raw: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    spaced: bool = False  # `"usage": {` instead of `"usage":{`
    usage: bool = True
    pieces: int = 0  # cut the stream into pieces of so many bytes, wherever that is
    endless: bool = False
    done: bool = True
    pause: threading.Event | None = None  # wait for it behind the first word
    cut: int | None = None  # break the connection behind so many words


class ModelServer:
    """What it was asked, and what it answered."""

    def __init__(self) -> None:
        self.requests: list[Json] = []
        self.headers: list[dict[str, str]] = []
        self.replies: list[Reply] = []
        self.aborted = threading.Semaphore(0)
        self._lock = threading.Lock()
        outer = self

        class Handler(_Handler):
            server_of = outer

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def close(self) -> None:
        """End it."""
        self._http.shutdown()
        self._http.server_close()

    def next_reply(self, body: Json, headers: dict[str, str]) -> Reply:
        """What is answered now."""
        with self._lock:
            self.requests.append(body)
            self.headers.append(headers)
            return self.replies.pop(0) if self.replies else Reply()


class _Handler(BaseHTTPRequestHandler):
    server_of: ModelServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        reply = self.server_of.next_reply(body, {k.lower(): v for k, v in self.headers.items()})
        if reply.status != 200 or reply.raw is not None:
            self._send(reply.status, reply.raw if reply.raw is not None else REFUSED, reply.headers)
        elif self.path.endswith("/embeddings"):
            self._embed(body)
        elif self.path.endswith("/responses"):
            self._respond(body, reply)
        elif body.get("stream"):
            self._stream(self._parts(body, reply), reply)
        else:
            self._whole(body, reply)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @staticmethod
    def _usage(body: Json, made: int) -> Json:
        sent = sum(len(str(m.get("content", "")).split()) for m in body.get("messages", [])) or 1
        return {"prompt_tokens": sent, "completion_tokens": made, "total_tokens": sent + made}

    def _whole(self, body: Json, reply: Reply) -> None:
        message: Json = {"role": "assistant", "content": "".join(reply.words) or None}
        if reply.tool_calls:
            message["tool_calls"] = reply.tool_calls
        count = int(body.get("n") or 1)
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": "tool_calls" if reply.tool_calls else "stop",
        }
        found = {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"],
            "choices": [choice] * count, "usage": self._usage(body, len(reply.words) * count),
        }  # fmt: skip
        self._send(200, json.dumps(found).encode())

    def _embed(self, body: Json) -> None:
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [
            {"object": "embedding", "index": i, "embedding": [float(len(t)), 0.5]}
            for i, t in enumerate(texts)
        ]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        found = {"object": "list", "model": body["model"], "data": data, "usage": usage}
        self._send(200, json.dumps(found).encode())

    def _respond(self, body: Json, reply: Reply) -> None:
        text = "".join(reply.words)
        content = {"type": "output_text", "text": text, "annotations": []}
        item = {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [content],
        }
        found: Json = {
            "id": "resp_1", "object": "response", "created_at": 1, "model": body["model"], "output": [item],
            "status": "completed", "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
            "usage": {
                "input_tokens": 4, "output_tokens": len(reply.words), "total_tokens": 4 + len(reply.words),
                "input_tokens_details": {"cached_tokens": 1}, "output_tokens_details": {"reasoning_tokens": 0},
            },
        }  # fmt: skip
        if not body.get("stream"):
            self._send(200, json.dumps(found).encode())
            return
        told: list[Json] = [
            {"type": "response.output_text.delta", "delta": word, "item_id": "msg_1", "output_index": 0,
             "content_index": 0, "sequence_number": number, "logprobs": []}
            for number, word in enumerate(reply.words)
        ]  # fmt: skip
        told.append({"type": "response.completed", "response": found, "sequence_number": len(reply.words)})
        parts = (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in told)
        self._stream(parts, Reply(done=False))

    def _stream(self, parts: Iterator[bytes], reply: Reply) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for made, part in enumerate(parts, 1):
                self._write(part, reply.pieces)
                if reply.pause is not None and made == 2:
                    reply.pause.wait(10)
                if reply.cut is not None and made > reply.cut:
                    return
            if reply.done:
                self._write(b"data: [DONE]\n\n", reply.pieces)
        except OSError:
            self.server_of.aborted.release()

    def _parts(self, body: Json, reply: Reply) -> Iterator[bytes]:
        yield self._event(body, reply, {"role": "assistant", "content": ""})
        for word in reply.words:
            yield self._event(body, reply, {"content": word})
        while reply.endless:
            time.sleep(0.001)
            yield self._event(body, reply, {"content": "again "})
        for index, call in enumerate(reply.tool_calls):
            function = call["function"]
            head = {"index": index, "id": call["id"], "type": "function",
                    "function": {"name": function["name"], "arguments": function["arguments"][:3]}}  # fmt: skip
            yield self._event(body, reply, {"tool_calls": [head]})
            rest = {"index": index, "function": {"arguments": function["arguments"][3:]}}
            yield self._event(body, reply, {"tool_calls": [rest]})
        if reply.done:
            yield self._event(body, reply, {}, "tool_calls" if reply.tool_calls else "stop")
        if reply.usage and (body.get("stream_options") or {}).get("include_usage"):
            yield self._event(body, reply, None, usage=self._usage(body, len(reply.words)))

    @staticmethod
    def _event(
        body: Json, reply: Reply, delta: Json | None, finish: str | None = None, usage: Json | None = None
    ) -> bytes:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
        found = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"],
                 "choices": choices, "usage": usage}  # fmt: skip
        text = json.dumps(found) if reply.spaced else json.dumps(found, separators=(",", ":"))
        return f"data: {text}\n\n".encode()

    def _write(self, data: bytes, pieces: int) -> None:
        for start in range(0, len(data), pieces or len(data)):
            self.wfile.write(data[start : start + (pieces or len(data))])
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@contextmanager
def model_server() -> Iterator[ModelServer]:
    """One for a test."""
    made = ModelServer()
    try:
        yield made
    finally:
        made.close()


def provider_file(home: Path, text: str) -> None:
    """Write the server's file of providers."""
    path = home / "ssot" / "providers" / "ai" / "provider.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
