"""The client says what it means on the wire, and turns every failure into one kind of error."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from builderos.client.errors import ClientError
from builderos.client.http import Client

Act = Callable[[BaseHTTPRequestHandler], None]


class Wire:
    """A server that keeps what it was asked and does what the test says, one act per request."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.acts: list[Act] = []
        wire = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                data = self.rfile.read(int(self.headers.get("content-length", 0)))
                parts = urlsplit(self.path)
                wire.seen.append(
                    {"method": self.command, "path": parts.path, "query": parse_qs(parts.query),
                     "headers": dict(self.headers), "body": json.loads(data) if data else None,
                     "peer": self.client_address}
                )  # fmt: skip
                (wire.acts.pop(0) if wire.acts else replying({"ok": True}))(self)

            do_GET = do_POST = handle_any

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


def replying(body: Any, status: int = 200, kind: str = "application/json") -> Act:
    def act(handler: BaseHTTPRequestHandler) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("content-type", kind)
        handler.send_header("content-length", str(len(data)))
        handler.send_header("x-request-id", "req_1")
        handler.end_headers()
        handler.wfile.write(data)

    return act


def problem(code: str, status: int, **more: Any) -> Act:
    body = {
        "code": code,
        "status": status,
        "detail": "no",
        "hint": "do",
        "request_id": "req_1",
        "retryable": False,
    } | more
    return replying(body, status, "application/problem+json")


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_a_post_carries_json_and_the_credential(wire: Wire) -> None:
    assert Client(wire.url, "bos_rt_x").call("POST", "/a/b", {"text": "é", "no": None, "n": 1}) == {
        "ok": True
    }
    [seen] = wire.seen
    assert seen["body"] == {"text": "é", "n": 1}
    assert seen["headers"]["Authorization"] == "Bearer bos_rt_x"
    assert seen["headers"]["Content-Type"] == "application/json"


def test_a_get_carries_its_input_in_the_query(wire: Wire) -> None:
    Client(wire.url).call("GET", "/a", {"q": "x y&z", "flag": True, "many": ["a", "b"], "no": None})
    [seen] = wire.seen
    assert seen["query"] == {"q": ["x y&z"], "flag": ["true"], "many": ["a", "b"]}
    assert seen["body"] is None
    assert "Authorization" not in seen["headers"]


def test_a_base_path_is_kept(wire: Wire) -> None:
    Client(wire.url + "/base/").call("GET", "/healthz")
    assert wire.seen[0]["path"] == "/base/healthz"


def test_one_connection_serves_many_calls(wire: Wire) -> None:
    client = Client(wire.url)
    for _ in range(3):
        client.call("POST", "/a", {})
    assert len({seen["peer"] for seen in wire.seen}) == 1


def test_a_problem_becomes_an_error_with_its_words(wire: Wire) -> None:
    wire.acts = [problem("conflict", 409, conflicts=["a"])]
    client = Client(wire.url)
    with pytest.raises(ClientError) as caught:
        client.call("POST", "/a", {})
    error = caught.value
    assert (error.status, error.code, error.detail, error.hint) == (409, "conflict", "no", "do")
    assert error.problem["conflicts"] == ["a"]
    assert client.status == 409


@pytest.mark.parametrize(
    ("act", "status"),
    [
        (replying(b"<html>proxy</html>", 200, "text/html"), 502),
        (replying([1, 2]), 502),
        (replying(b"<html>nope</html>", 404, "text/html"), 404),
        (replying({"message": "gateway"}, 503), 503),
        (replying(b"", 302), 400),
    ],
)
def test_an_answer_that_is_not_ours_is_said_to_be_so(wire: Wire, act: Act, status: int) -> None:
    wire.acts = [act]
    with pytest.raises(ClientError) as caught:
        Client(wire.url).call("POST", "/a", {})
    assert caught.value.code == "upstream_failed"
    assert caught.value.status >= 302
    assert wire.url in caught.value.detail


def test_no_server_is_an_error_with_a_hint() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ClientError) as caught:
            Client(url).call("GET", "/healthz")
    assert (caught.value.status, caught.value.code) == (503, "unavailable")
    assert "builderos up" in caught.value.hint


def test_a_server_that_is_silent_is_given_up(wire: Wire) -> None:
    gate = threading.Event()
    wire.acts = [lambda _: gate.wait(120) and None]
    with pytest.raises(ClientError) as caught:
        Client(wire.url, timeout_s=0.2).call("POST", "/a", {})
    gate.set()
    assert "in time" in caught.value.detail


def test_a_lost_connection_is_tried_again_with_the_same_key(wire: Wire) -> None:
    wire.acts = [hang_up, hang_up]
    assert Client(wire.url).call("POST", "/a", {"x": 1}, once=True) == {"ok": True}
    keys = [seen["body"]["idempotency_key"] for seen in wire.seen]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert len(keys[0]) >= 20


def test_two_calls_have_two_keys(wire: Wire) -> None:
    client = Client(wire.url)
    for _ in range(2):
        client.call("POST", "/a", {}, once=True)
    assert len({seen["body"]["idempotency_key"] for seen in wire.seen}) == 2


def test_a_given_key_is_kept(wire: Wire) -> None:
    Client(wire.url).call("POST", "/a", {"idempotency_key": "mine"}, once=True)
    assert wire.seen[0]["body"]["idempotency_key"] == "mine"


def test_a_write_without_a_key_is_never_repeated(wire: Wire) -> None:
    wire.acts = [hang_up]
    with pytest.raises(ClientError):
        Client(wire.url).call("POST", "/a", {})
    assert len(wire.seen) == 1


def test_a_read_is_tried_again(wire: Wire) -> None:
    wire.acts = [hang_up]
    assert Client(wire.url).call("GET", "/a") == {"ok": True}


def test_a_busy_server_is_asked_again(wire: Wire) -> None:
    wire.acts = [problem("busy", 409, retryable=True, retry_after_s=0.01)]
    assert Client(wire.url).call("POST", "/a", {}, once=True) == {"ok": True}


def test_it_gives_up_after_a_few_tries(wire: Wire) -> None:
    wire.acts = [problem("busy", 409, retryable=True, retry_after_s=0.01) for _ in range(9)]
    with pytest.raises(ClientError):
        Client(wire.url).call("POST", "/a", {}, once=True)
    assert len(wire.seen) == 4


@pytest.mark.parametrize(
    "act",
    [
        problem("rate_limited", 429, retryable=True, retry_after_s=0.01),
        problem("busy", 409, retryable=True, retry_after_s=60),
        problem("conflict", 409),
    ],
)
def test_what_would_not_help_is_not_repeated(wire: Wire, act: Act) -> None:
    wire.acts = [act]
    with pytest.raises(ClientError):
        Client(wire.url).call("POST", "/a", {}, once=True)
    assert len(wire.seen) == 1


def test_a_download_comes_in_pieces(wire: Wire, tmp_path: Any) -> None:
    data = bytes(range(256)) * 1000
    wire.acts = [replying(data, 200, "application/zip")]
    with (tmp_path / "out").open("wb") as out:
        assert Client(wire.url).save("GET", "/zip", {"format": "zip"}, out) == len(data)
    assert (tmp_path / "out").read_bytes() == data


def test_a_refused_download_is_an_error_and_no_file_content(wire: Wire, tmp_path: Any) -> None:
    wire.acts = [problem("policy_denied", 403)]
    with (tmp_path / "out").open("wb") as out, pytest.raises(ClientError):
        Client(wire.url).save("GET", "/zip", None, out)
    assert (tmp_path / "out").read_bytes() == b""


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://x", "http://", "file:///etc/passwd"])
def test_an_address_must_be_one(url: str) -> None:
    with pytest.raises(ValueError):
        Client(url)


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX-Evil: 1", "tökén"])
def test_a_token_cannot_smuggle_a_header(token: str) -> None:
    with pytest.raises(ValueError):
        Client("http://127.0.0.1:1", token)


def test_a_connection_that_the_server_closed_meanwhile_is_opened_anew(wire: Wire) -> None:
    """As a server does with one that was idle for some seconds: nothing was sent on it, so nothing is sent twice."""

    def answer_and_leave(handler: BaseHTTPRequestHandler) -> None:
        replying({"ok": 1})(handler)
        handler.close_connection = True

    client = Client(wire.url)
    for number in range(3):
        wire.acts.append(answer_and_leave)
        assert client.call("POST", "/once", {"number": number}, once=True) == {"ok": 1}
        assert client._connection.sock is not None
        client._connection.sock.settimeout(10)
        client._connection.sock.recv(1, socket.MSG_PEEK)  # until the end has arrived
    assert [seen["body"]["number"] for seen in wire.seen] == [0, 1, 2]
