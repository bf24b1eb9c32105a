"""Programs around the gateway, each a process of its own: `python -m bench.modelling upstream|load|relay …`.

The upstream answers at once with bytes that are ready, and counts the tokens that it has sent. The load keeps a number
of requests under way and tells how long each took. The relay is the least that one would write instead of a gateway.
"""

import asyncio
import json
import sys
import time
from typing import Any

WORDS = 20
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PROMPT = 9


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _usage(made: int) -> dict[str, int]:
    return {"prompt_tokens": PROMPT, "completion_tokens": made, "total_tokens": PROMPT + made}


def _chunk(**more: Any) -> bytes:
    event = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", **more}
    return b"data: " + _json(event) + b"\n\n"


def _delta(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return _chunk(choices=[{"index": 0, "delta": delta, "finish_reason": finish}])


WHOLE = _json(
    {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "usage": _usage(WORDS),
     "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "word " * WORDS}}]}
)  # fmt: skip
EVENTS = [_delta({"role": "assistant", "content": ""}), *[_delta({"content": "word "})] * WORDS, _delta({}, "stop"),
          _chunk(choices=[], usage=_usage(WORDS)), b"data: [DONE]\n\n"]  # fmt: skip
FRAMES = [b"%x\r\n%b\r\n" % (len(event), event) for event in EVENTS]


class Upstream(asyncio.Protocol):
    """A model that answers at once. A stream whose request says `slow` pauses after each word."""

    sent = {"requests": 0, "input": 0, "output": 0, "cut": 0, "cut_output": 0}

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._rest = b""
        self._task: asyncio.Task[None] | None = None
        self._words = 0

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._task is not None and not self._task.done():
            self._task.cancel()
            self.sent["cut"] += 1
            self.sent["cut_output"] += self._words

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while (end := self._rest.find(b"\r\n\r\n")) >= 0:
            head = self._rest[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._rest) < end + 4 + size:
                return
            body, self._rest = self._rest[end + 4 : end + 4 + size], self._rest[end + 4 + size :]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get /sent"):
            text = _json(self.sent)
            self._transport.write(_HEAD % (len(text), text))
        elif b'"stream":true' in body.replace(b" ", b""):
            self._task = asyncio.ensure_future(self._stream(b"slow" in body))
        else:
            self._count(WORDS)
            self._transport.write(_HEAD % (len(WHOLE), WHOLE))

    def _count(self, made: int) -> None:
        self.sent["requests"] += 1
        self.sent["input"] += PROMPT
        self.sent["output"] += made

    async def _stream(self, slow: bool) -> None:
        self._words = 0
        self._transport.write(_STREAM)
        for number, frame in enumerate(FRAMES):
            self._transport.write(frame)
            self._words += 0 < number <= WORDS
            await asyncio.sleep(0.02 if slow else 0)
        self._count(WORDS)
        self._transport.write(b"0\r\n\r\n")


async def upstream() -> None:
    """Serve until the process is ended; the first line printed is the port."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _ask(reader: Any, writer: Any, request: bytes, leave: bool) -> None:
    """One request on a kept connection, read to its end; or left behind its third piece."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head[:20]:
        raise RuntimeError(head.decode() + (await reader.read(2000)).decode())
    low = head.lower()
    if b"content-length:" in low:
        await reader.readexactly(int(low.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]))
        return
    for number in range(10**9):
        size = int(await reader.readuntil(b"\r\n"), 16)
        await reader.readexactly(size + 2)
        if leave and number == 3:
            writer.close()
            return
        if not size:
            return


async def load(port: int, path: str, token: str, count: int, at_once: int, stream: bool, aborts: int) -> None:
    """`count` requests; every `aborts`-th one (0: none) is slow and left in the middle; -1: all of them are
    slow, and none is left. Prints their seconds as JSON."""
    took: list[float] = []
    left = iter(range(count))

    def request(slow: bool) -> bytes:
        said = "slow please" if slow else "Tell me something about the sea and its many colours."
        body = {"model": "up/m", "messages": [{"role": "user", "content": said}], "max_tokens": 100}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        data = _json(body)
        return (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {token}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        ).encode() + data

    ordinary, slow = request(False), request(True)

    async def worker() -> None:
        reader = writer = None
        for number in left:
            held = bool(aborts) and number % aborts == 0
            if writer is None or writer.is_closing():
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            began = time.perf_counter()
            await _ask(reader, writer, slow if held else ordinary, held and aborts > 0)
            took.append(time.perf_counter() - began)
        if writer is not None:
            writer.close()

    await asyncio.gather(*(worker() for _ in range(at_once)))
    print(json.dumps(took), flush=True)


def relay(port: int, target: int) -> None:
    """FastAPI and aiohttp, and nothing between them."""
    from contextlib import asynccontextmanager

    import aiohttp
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import Response, StreamingResponse

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        app.state.http = aiohttp.ClientSession()
        yield
        await app.state.http.close()

    api = FastAPI(lifespan=lifespan)

    @api.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        raw = await request.body()
        up = await api.state.http.post(
            f"http://127.0.0.1:{target}/v1/chat/completions",
            data=raw,
            headers={"content-type": "application/json"},
        )
        if not json.loads(raw).get("stream"):
            return Response(await up.read(), media_type="application/json")
        return StreamingResponse(up.content.iter_any(), media_type="text/event-stream")

    uvicorn.run(
        api, host="127.0.0.1", port=port, access_log=False, log_level="error", loop="uvloop", http="httptools"
    )


def main(argv: list[str]) -> None:
    """The program that is named."""
    what, *rest = argv
    if what == "upstream":
        asyncio.run(upstream())
    elif what == "relay":
        relay(int(rest[0]), int(rest[1]))
    else:
        port, path, token, count, at_once, stream, aborts = rest
        asyncio.run(load(int(port), path, token, int(count), int(at_once), stream == "1", int(aborts)))


if __name__ == "__main__":
    main(sys.argv[1:])
