"""A provider to sign in at that is not ours (`oidc-provider-mock`), with a hand on its answers."""

import base64
import io
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import oidc_provider_mock

from .world import Json


class Quiet(WSGIRequestHandler):
    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


class Provider:
    """The foreign provider, with a hand on its answers and an eye on what it is asked.

    It does not check PKCE by itself, so what it is asked is compared here.
    """

    def __init__(self) -> None:
        self.app = oidc_provider_mock.app(require_nonce=True)
        self.change: Callable[[Json], Json] = lambda claims: claims
        self.sign: Callable[[Json, str], str] | None = None
        self.asked: list[Json] = []
        self.server = make_server("127.0.0.1", 0, self.serve, handler_class=Quiet)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"

    def serve(self, environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] != "/oauth2/token":
            return self.app(environ, start_response)
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        self.asked.append(dict(urllib.parse.parse_qsl(body.decode())))
        environ["wsgi.input"] = io.BytesIO(body)
        status: list[Any] = []
        chunks = b"".join(self.app(environ, lambda *args: status.append(args)))
        answer = json.loads(chunks)
        if "id_token" in answer and self.sign is not None:
            claims = _claims(answer["id_token"])
            answer["id_token"] = self.sign(self.change(claims), answer["id_token"])
        sent = json.dumps(answer).encode()
        start_response(
            status[0][0], [("content-type", "application/json"), ("content-length", str(len(sent)))]
        )
        return [sent]

    def person(self, sub: str, **claims: Any) -> None:
        """A person who can sign in there."""
        request = urllib.request.Request(
            f"{self.issuer}/users/{urllib.parse.quote(sub)}", json.dumps(claims).encode(),
            {"content-type": "application/json"}, method="PUT",
        )  # fmt: skip
        urllib.request.urlopen(request).close()

    def approve(self, address: str, sub: str) -> dict[str, str]:
        """What a person does there: sign in and agree; returns what comes back with the browser."""

        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_args: Any) -> None:
                return None

        try:
            form = urllib.parse.urlencode({"sub": sub}).encode()
            reply = urllib.request.build_opener(Stay()).open(address, form)
            raise AssertionError(reply.read())
        except urllib.error.HTTPError as error:
            back = urllib.parse.urlsplit(error.headers["location"])
            return dict(urllib.parse.parse_qsl(back.query))


def _claims(token: str) -> Json:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@contextmanager
def running_provider() -> Iterator[Provider]:
    """A provider that answers until the block ends."""
    made = Provider()
    thread = Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        thread.join()
        made.server.server_close()
