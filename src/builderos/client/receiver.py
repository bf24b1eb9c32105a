"""The part of a sign-in that happens on this machine: what the browser brings back, and the proof that we asked."""

import base64
import hashlib
import secrets
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Final, Self
from urllib.parse import parse_qsl, urlsplit

_DONE: Final = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>BuilderOS</title>
<p>You are signed in. You can close this page and go back to the terminal.</p></html>
"""


def random_word() -> str:
    """64 characters that nobody guesses."""
    return secrets.token_urlsafe(48)


def challenge_of(verifier: str) -> str:
    """PKCE, S256 (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


class Receiver:
    """Waits on this machine for the one answer that carries our `state`; anything else is turned away."""

    def __init__(self, state: str) -> None:
        receiver, self._state = self, state
        self._answer: dict[str, str] = {}
        self._come = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                """Take the answer, or nothing."""
                at = urlsplit(self.path)
                ours = at.path == "/callback" and receiver.take(dict(parse_qsl(at.query)))
                self.send_response(200 if ours else 404)
                self.send_header("content-type", "text/html")
                self.send_header("content-security-policy", "default-src 'none'; frame-ancestors 'none'")
                self.send_header("referrer-policy", "no-referrer")
                self.end_headers()
                self.wfile.write(_DONE if ours else b"")

            def log_message(self, *_args: object, **_more: object) -> None:
                """Say nothing: the address holds the code."""
                return

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def uri(self) -> str:
        """Where the browser is sent back to."""
        return f"http://127.0.0.1:{self._server.server_port}/callback"

    def take(self, answer: dict[str, str]) -> bool:
        """Keep the first answer with our state."""
        if self._come.is_set() or not secrets.compare_digest(
            answer.get("state", "").encode(), self._state.encode()
        ):
            return False
        self._answer = answer
        self._come.set()
        return True

    def wait(self, seconds: float) -> dict[str, str] | None:
        """The answer; None when none came in time."""
        return self._answer if self._come.wait(seconds) else None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
