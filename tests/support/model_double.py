"""A model that is none, for published coding agents: a program of its own, to stand in the jail beside them.

`python model_double.py PORT FILE`: asked over Anthropic's messages it first has the tool `Write` make FILE, then says
that it is done; over OpenAI's responses it says that at once. It needs the standard library alone.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
DONE = "All done."


class Door(BaseHTTPRequestHandler):
    """Answers whatever is asked."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        del format, args

    def do_HEAD(self) -> None:
        self._reply({})

    def do_GET(self) -> None:
        self._reply({"object": "list", "data": [], "models": []})

    def do_POST(self) -> None:
        asked: Json = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        if "count_tokens" in self.path:
            self._reply({"input_tokens": 10})
        elif "/messages" in self.path:
            self._stream(_messages(asked, sys.argv[2]))
        elif "/responses" in self.path:
            self._stream(_responses(asked))
        else:
            self._reply({})

    def _reply(self, body: Json) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _stream(self, events: list[Json]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events:
            data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")


def _messages(asked: Json, path: str) -> list[Json]:
    used = "tool_result" in json.dumps(asked.get("messages") or [])
    if not used and any(tool.get("name") == "Write" for tool in asked.get("tools") or []):
        block: Json = {"type": "tool_use", "id": "toolu_1", "name": "Write", "input": {}}
        args = json.dumps({"file_path": path, "content": "hello\n"})
        delta, stop = {"type": "input_json_delta", "partial_json": args}, "tool_use"
    else:
        block, delta, stop = {"type": "text", "text": ""}, {"type": "text_delta", "text": DONE}, "end_turn"
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": asked.get("model"), "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 1},
    }  # fmt: skip
    return [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": None},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    ]


def _responses(asked: Json) -> list[Json]:
    text = {"type": "output_text", "text": DONE, "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    usage = {
        "input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 15,
    }  # fmt: skip
    whole = {
        "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": asked.get("model"),
        "output": [item], "usage": usage,
    }  # fmt: skip
    begun = {**item, "content": [], "status": "in_progress"}
    return [
        {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {
            "type": "response.output_text.delta",
            "item_id": "msg_1",
            "output_index": 0,
            "content_index": 0,
            "delta": DONE,
        },
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Door).serve_forever()
