"""Calls of one server: JSON in and out, downloads as streams, problems as `ClientError`."""

import http.client
import json
import os
import select
import time
from collections.abc import Iterator, Mapping
from typing import IO, Any, Final
from urllib.parse import urlencode, urlsplit

from .errors import ClientError, no_server

Json = dict[str, Any]
CALL_S: Final = 60.0  # the server answers a call within 45 s or says that it takes longer
_CHUNK: Final = 64 * 1024
_BYTES: Final = "application/octet-stream"
_ATTEMPTS: Final = 4
_LONGEST_PAUSE_S: Final = 2.0
_TRANSIENT: Final = (ConnectionError, http.client.BadStatusLine, http.client.IncompleteRead)


class Client:
    """Talks to the server at `url`, as the bearer of `token` when one is given. Keeps one connection open.

    Not to be shared between threads. `status` and `media_type` are those of the last reply.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout_s: float = CALL_S,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an http or https address")
        if token is not None and (not token.isascii() or any(c.isspace() for c in token) or not token):
            raise ValueError("a token is one word of plain characters")
        self.url = url.rstrip("/")
        self.token = token
        self.status = 0
        self.media_type = ""
        self.request_id: str | None = None
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Accept": "application/json", **(headers or {})}
        self._timeout_s = timeout_s
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=timeout_s)

    def wait_up_to(self, seconds: float) -> None:
        """Give the calls from now on this long."""
        self._connection.close()
        self._connection.timeout = seconds

    def beside(self) -> "Client":
        """Another one as the same bearer: for calls while a reply of this one still goes on. Close it."""
        return Client(self.url, self.token, timeout_s=self._timeout_s, headers=self._headers)

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, once: bool = False
    ) -> Json:
        """One call; returns the reply's JSON object. Members of `body` that are None are not sent.

        `once`: the operation takes an `idempotency_key`; one is sent and transient faults are repeated with it, so
        that there is one effect however often the network fails. Raises `ClientError`.
        """
        sent = {name: value for name, value in (body or {}).items() if value is not None}
        if once:
            sent.setdefault("idempotency_key", os.urandom(16).hex())
        for attempt in range(1, _ATTEMPTS):
            try:
                return self._call(method, path, sent)
            except ClientError as error:
                pause = _pause(error, attempt, once=once or method == "GET")
                if pause is None:
                    raise
                time.sleep(pause)
        return self._call(method, path, sent)

    def form(self, path: str, values: Mapping[str, str]) -> Json:
        """Send a form, as the protocol of OAuth wants it; returns the reply's JSON object.

        Raises `ClientError`; where the protocol has a word for the refusal, it stands in `oauth_error`.
        """
        return self._read("POST", path, self._send("POST", path, {}, urlencode(values).encode()))

    def _call(self, method: str, path: str, sent: Json) -> Json:
        return self._read(method, path, self._send(method, path, sent))

    def _read(self, method: str, path: str, response: http.client.HTTPResponse) -> Json:
        with self._transport():
            raw = response.read()
        if not raw:
            return {}
        try:
            reply = json.loads(raw)
        except ValueError:
            raise self._not_ours(f"{method} {path} did not answer with JSON") from None
        if not isinstance(reply, dict):
            raise self._not_ours(f"{method} {path} did not answer with a JSON object")
        return reply  # pyright: ignore[reportUnknownVariableType]

    def send(self, path: str, data: bytes) -> Json:
        """PUT mere bytes; returns the reply's JSON object. Raises `ClientError`."""
        return self._read("PUT", path, self._send("PUT", path, {}, data, {"Content-Type": _BYTES}))

    def stream(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[bytes]:
        """The bytes of a reply that is no JSON document, piece by piece. The first step raises `ClientError`."""
        sent = {name: value for name, value in (body or {}).items() if value is not None}
        response = self._send(method, path, sent, headers=headers)
        while True:
            with self._transport():
                piece = response.read1(_CHUNK)  # what has come: some replies go on for long
            if not piece:
                response.close()  # else the connection takes it for unread where a length was told
                return
            yield piece

    def save(self, method: str, path: str, body: Mapping[str, Any] | None, out: IO[bytes]) -> int:
        """Write a reply that is no JSON document to `out`; returns how many bytes."""
        total = 0
        for piece in self.stream(method, path, body):
            out.write(piece)
            total += len(piece)
        return total

    def lines(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[bytes]:
        """The lines of a reply that goes on for long, as they come. The first step raises `ClientError`."""
        sent = {name: value for name, value in body.items() if value is not None}
        response = self._send("GET", path, sent, headers=headers)
        try:
            while True:
                with self._transport():
                    line = response.readline()
                if not line:
                    return
                yield line
        finally:
            if not response.isclosed():  # the rest of it will not be read
                self._connection.close()

    def _send(
        self,
        method: str,
        path: str,
        sent: Json,
        form: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        headers = {**self._headers, **(headers or {})}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        target, data = self._prefix + path, None
        if form is not None:
            data = form
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        elif method in ("GET", "DELETE"):
            query = urlencode({name: _word(value) for name, value in sent.items()}, doseq=True)
            target += f"?{query}" if query else ""
        else:
            data = json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode()
            headers["Content-Type"] = "application/json"
        with self._transport():
            if self._hung_up():
                self._connection.close()  # it is opened anew by the request
            self._connection.request(method, target, data, headers)
            response = self._connection.getresponse()
        self.status = response.status
        self.media_type = response.getheader("content-type", "").partition(";")[0].strip().lower()
        self.request_id = response.getheader("x-request-id")
        if response.status >= 300:
            with self._transport():
                raw = response.read()
            raise ClientError(self._problem(response.status, raw))
        return response

    def _hung_up(self) -> bool:
        """Whether the server closed the connection while nobody used it: nothing was sent then, so nothing is lost."""
        if self._connection.sock is None:
            return False
        return bool(select.select([self._connection.sock], [], [], 0)[0])

    def _transport(self) -> "_Transport":
        return _Transport(self)

    def lost(self, error: Exception) -> ClientError:
        """The connection failed: start afresh next time."""
        self._connection.close()
        if isinstance(error, TimeoutError):
            return no_server(f"the server at {self.url} did not answer in time", "Try again in a moment")
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return no_server(
            f"no server answers at {self.url}: {reason}", "Check the address, or start a server: builderos up"
        )

    def _problem(self, status: int, raw: bytes) -> Json:
        try:
            found = json.loads(raw)
        except ValueError:
            found = None
        if isinstance(found, dict) and "code" in found:
            return found  # pyright: ignore[reportUnknownVariableType]
        if isinstance(found, dict) and isinstance(found.get("error"), str):  # pyright: ignore[reportUnknownMemberType]
            said: Json = found  # pyright: ignore[reportUnknownVariableType]
            code = "unauthenticated" if status == 401 else "token_invalid"
            return {
                "type": f"urn:builderos:problem:{code}", "title": code.replace("_", " ").capitalize(), "status": 401,
                "code": code, "detail": str(said.get("error_description") or said["error"]),
                "hint": "Sign in again: builderos login", "request_id": said.get("request_id"), "retryable": False,
                "oauth_error": said["error"],
            }  # fmt: skip
        if isinstance(found, dict) and "error_code" in found:
            return _of_a_model(status, found)  # pyright: ignore[reportUnknownArgumentType]
        return self._not_ours(
            f"the address answered with status {status} and no problem document", status
        ).problem

    def _not_ours(self, detail: str, status: int = 502) -> ClientError:
        return ClientError(
            {"type": "urn:builderos:problem:upstream_failed", "title": "Upstream failed", "status": max(status, 400),
             "code": "upstream_failed", "detail": f"{detail} ({self.url})",
             "hint": "Check that this is the address of a BuilderOS server", "request_id": self.request_id,
             "retryable": False}
        )  # fmt: skip


class _Transport:
    """Faults of the network below, as `ClientError`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, (OSError, http.client.HTTPException)):
            raise self._client.lost(error) from error


def _word(value: Any) -> Any:
    """A query parameter as the server reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return [_word(item) for item in value] if isinstance(value, list | tuple) else value  # pyright: ignore[reportUnknownVariableType]


def _pause(error: ClientError, attempt: int, *, once: bool) -> float | None:
    """Seconds to wait before the call is repeated; None when it must not be or when that would not help."""
    refused = isinstance(error.__cause__, ConnectionRefusedError)
    broken = isinstance(error.__cause__, _TRANSIENT) and not refused
    told = error.problem.get("retryable") is True and error.__cause__ is None and error.code != "rate_limited"
    if not once or not (broken or told):
        return None
    wished = error.problem.get("retry_after_s")
    pause = float(wished) if isinstance(wished, int | float) else 0.05 * 2**attempt
    return pause if pause <= _LONGEST_PAUSE_S else None


def _of_a_model(status: int, said: Json) -> Json:
    """What the process of a model answered, in the words of MLflow's, as a problem."""
    code = "validation_failed" if status < 500 else "upstream_failed"
    where = [str(place) for place in said.get("where", ())]
    hint = f"Look at {', '.join(where)}." if where else "Look at what the model takes."
    return {
        "type": f"urn:builderos:problem:{code}", "title": code.replace("_", " ").capitalize(), "status": status,
        "code": code, "detail": str(said.get("message", "")), "hint": hint, "request_id": None, "retryable": False,
        "where": where,
    }  # fmt: skip
