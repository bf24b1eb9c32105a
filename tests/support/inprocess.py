"""A client of an application in this process that crosses into its event loop once per request.

Starlette's own crosses nine times, which takes as long as many an answer does; it stays in use for replies that are
read while they come.
"""

from typing import Any
from urllib.parse import unquote

import anyio
from anyio.from_thread import BlockingPortal
from starlette.testclient import TestClient, httpx
from starlette.types import ASGIApp, Message

PORTS = {"http": 80, "https": 443}


class _Exchange:
    """One request and its whole reply."""

    def __init__(self, request: httpx.Request) -> None:
        self.request = request
        self.status = 500  # what a server replies when the application fails before it says anything
        self.headers: list[tuple[str, str]] = []
        self.body: list[bytes] = []
        self._sent = request.read()
        self._asked = False

    def scope(self) -> dict[str, Any]:
        """The request as ASGI has it; the same as Starlette's client makes of it."""
        url = self.request.url
        return {
            "type": "http", "http_version": "1.1", "method": self.request.method, "path": unquote(url.path),
            "raw_path": url.raw_path.split(b"?", 1)[0], "query_string": url.query, "root_path": "",
            "headers": [(k.lower().encode(), v.encode()) for k, v in self.request.headers.multi_items()],
            "scheme": url.scheme, "client": ("testclient", 50000),
            "server": [url.raw_host.decode(), url.port or PORTS[url.scheme]],
            "extensions": {"http.response.debug": {}}, "state": {},
        }  # fmt: skip

    async def run(self, app: ASGIApp) -> None:
        """Let the application answer, and end whatever it does behind its answer."""
        self._complete = anyio.Event()
        await app(self.scope(), self._receive, self._send)

    async def _receive(self) -> Message:
        if self._asked:
            await self._complete.wait()
            return {"type": "http.disconnect"}
        self._asked = True
        return {"type": "http.request", "body": self._sent}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(key.decode(), value.decode()) for key, value in message.get("headers", [])]
        elif message["type"] == "http.response.body":
            assert not self._complete.is_set(), "a reply has one end"
            self.body.append(bytes(message.get("body", b"")))
            if not message.get("more_body", False):
                self._complete.set()


class _Transport(httpx.BaseTransport):
    def __init__(self, app: ASGIApp, portal: BlockingPortal) -> None:
        self._app = app
        self._portal = portal

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        exchange = _Exchange(request)
        try:
            self._portal.call(exchange.run, self._app)
        except Exception:  # the server's log has it; who asked gets what was sent until then
            pass
        body = b"" if request.method == "HEAD" else b"".join(exchange.body)
        return httpx.Response(
            exchange.status, headers=exchange.headers, stream=httpx.ByteStream(body), request=request
        )


class InProcess(TestClient):
    """A client whose requests run in the event loop of `portal`; what the application raises becomes a 500."""

    def __init__(self, app: ASGIApp, portal: BlockingPortal, base_url: str) -> None:
        super().__init__(app, base_url=base_url, raise_server_exceptions=False)
        self.portal = portal
        self._whole, self._streamed = _Transport(app, portal), self._transport

    def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """Send a request; only who reads the reply while it comes needs the longer way."""
        self._transport = self._streamed if stream else self._whole
        return super().send(request, stream=stream, **options)
