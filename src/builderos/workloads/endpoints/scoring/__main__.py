"""HTTP/1.1 as far as the program takes it."""

import asyncio
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from .answering import Scorer, finite, no
from .loading import Unfit, load

LIMIT: Final = 16 * 1024 * 1024
FAILED: Final = "model: "
"""Begins the line that says why a model could not be loaded."""


class Line(asyncio.Protocol):
    """HTTP/1.1 as far as it takes: one request after the other, bodies of known length."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._held = bytearray()
        self._line: Any = None
        self._free = asyncio.Event()
        self._free.set()
        self._telling: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        """A caller."""
        self._line = transport

    def data_received(self, data: bytes) -> None:
        """Bytes of it: answer each request that is complete."""
        if self._telling is not None:
            return  # what it tells is the last on this line
        self._held += data
        while not self._line.is_closing():
            end = self._held.find(b"\r\n\r\n")
            if end < 0:
                if len(self._held) > 65536:
                    self._line.close()
                return
            lines = self._held[:end].decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
            }
            size = headers.get("content-length", "0")
            if "transfer-encoding" in headers or not size.isdecimal() or int(size) > LIMIT:
                self._say(
                    413 if size.isdecimal() else 400,
                    no(413, "a body has a length, and 16 MiB at most")[1],
                    last=True,
                )
                return
            whole = end + 4 + int(size)
            if len(self._held) < whole:
                return
            body = bytes(self._held[end + 4 : whole])
            del self._held[:whole]
            method, _, rest = lines[0].partition(" ")
            path, accept = rest.rpartition(" ")[0], headers.get("accept", "")
            status, document = self._scorer.answer(method, path, body, accept)
            if hasattr(document, "__next__"):
                self._telling = asyncio.get_running_loop().create_task(self._tell(document))
                return
            self._say(status, document, last=headers.get("connection", "").lower() == "close")

    def pause_writing(self) -> None:
        """Whoever reads it is slower."""
        self._free.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._free.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        """Nobody reads it any more."""
        if self._telling is not None:
            self._telling.cancel()

    async def _tell(self, documents: Iterator[Any]) -> None:
        """Server-sent events, one for each document; the end of the line is their end."""
        self._line.write(b"HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        try:
            for document in documents:
                self._line.write(b"data: " + _json(document) + b"\n\n")
                await asyncio.sleep(0)
                await self._free.wait()
        except Exception as error:  # noqa: BLE001 - the model's own code: whatever it raises is told
            told = no(500, f"the model failed: {type(error).__name__}: {error}"[:1000])[1]
            self._line.write(b"event: error\ndata: " + _json(told) + b"\n\n")
        self._line.close()

    def _say(self, status: int, document: Any, *, last: bool) -> None:
        body = _json(document)
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._line.write(head.encode() + (b"Connection: close\r\n\r\n" if last else b"\r\n") + body)
        if last:
            self._line.close()


def _json(document: Any) -> bytes:
    try:
        return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        return json.dumps(finite(document), default=str).encode()
    except TypeError:
        return json.dumps(document, default=str).encode()


async def _serve(scorer: Scorer, port: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Line(scorer), "127.0.0.1", port)
    await server.serve_forever()


def main() -> int:
    """Load the model, then answer until somebody ends it; 3 where it cannot be loaded."""
    folder, port, name, version = sys.argv[1:5]
    warnings.filterwarnings("ignore")
    try:
        scorer = Scorer(load(Path(folder)), name, version)
    except Exception as error:  # noqa: BLE001 - whatever keeps it from being loaded is told
        why = str(error) if isinstance(error, Unfit) else f"{type(error).__name__}: {error}"
        sys.stdout.write(f"{FAILED}{why[:2000]}\n")
        return 3
    asyncio.run(_serve(scorer, int(port)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
