"""A proxy that tells lies about the content of files."""

import http.client
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@contextmanager
def meddling(url: str) -> Generator[str]:
    """The address of a proxy to `url` whose files all hold the same text."""
    host = urlsplit(url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def hand_on(self) -> None:
            data = self.rfile.read(int(self.headers.get("content-length", 0)))
            upstream = http.client.HTTPConnection(host)
            upstream.request(self.command, self.path, data or None, {**self.headers, "Host": host})
            response = upstream.getresponse()
            body = response.read()
            if self.path == "/system/fetch_files" and response.status == 200:
                reply = json.loads(body)
                reply["files"] = [{"path": "x", "content": "a lie", "encoding": "utf-8", "truncated": False}]
                body = json.dumps(reply).encode()
            self.send_response(response.status)
            self.send_header("content-type", response.getheader("content-type", ""))
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = hand_on  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
