"""A receiver of webhooks on loopback, and the engine's work done by hand."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from builderos import app as root
from builderos.engine import outbox
from builderos.trust.notices import service as notices

from .lab import Lab

NETWORKS = "127.0.0.0/8"


class Receiver:
    """Keeps what it gets; answers with `status` and `reply`."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        self.reply = b"thanks"
        self.headers: dict[str, str] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(receiver.reply)

            def log_message(self, format: str, *args: Any) -> None:
                """Nobody wants to read it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def receiver() -> Iterator[Receiver]:
    """One receiver."""
    made = Receiver()
    try:
        yield made
    finally:
        made.close()


def work(lab: Lab) -> None:
    """Pass on what is new and carry out what is due, as the engine does."""
    context = lab.world.context
    notices.feed.pass_on(context)
    handlers = root.outbox_handlers()
    while due := outbox.due(context):
        for item in due:
            outbox.deliver(context, handlers, item.org_id, item.id)
