"""HTTP/1.1 on the socket: what is no HTTP at all is refused in the same form as everything else."""

from typing import Final

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from builderos.core.ids import new_id
from builderos.core.problems import Problem

from .edge import SAFE_HEADERS

_HINT: Final = "Look at the request line and the headers of what was sent; they are not HTTP/1.1."


class Wire(HttpToolsProtocol):
    """uvicorn's protocol with our words for bytes that cannot be read as a request."""

    def send_400_response(self, msg: str) -> None:
        """Answer `validation_failed` and close the connection: where the next request starts is unknown."""
        problem, request_id = Problem("validation_failed", msg.rstrip("."), hint=_HINT), new_id("req")
        body = orjson.dumps(problem.as_dict(request_id))
        headers = SAFE_HEADERS | {
            "content-type": "application/problem+json", "content-length": str(len(body)), "connection": "close",
            "x-request-id": request_id,
        }  # fmt: skip
        lines = [
            f"HTTP/1.1 {problem.status} Unprocessable Content",
            *(f"{k}: {v}" for k, v in headers.items()),
            "",
            "",
        ]
        self.transport.write("\r\n".join(lines).encode() + body)
        self.transport.close()
