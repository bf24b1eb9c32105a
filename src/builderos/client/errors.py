"""What a client can run into, in the words of the server's own problem documents."""

from typing import Any


class ClientError(Exception):
    """A call failed. `problem` is the server's problem document (RFC 9457), or one of the same form made here."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(f"{problem.get('code')}: {problem.get('detail')}")
        self.problem = problem

    @property
    def status(self) -> int:
        """The HTTP status; 503 when no server was reached."""
        return int(self.problem.get("status") or 500)

    @property
    def code(self) -> str:
        """The stable code of SPEC §2."""
        return str(self.problem.get("code") or "internal")

    @property
    def detail(self) -> str:
        """What happened, in plain words."""
        return str(self.problem.get("detail") or "the server gave no reason")

    @property
    def hint(self) -> str:
        """What to do next, or nothing."""
        return str(self.problem.get("hint") or "")


def no_server(detail: str, hint: str) -> ClientError:
    """No server could be reached or started."""
    return ClientError(
        {"type": "urn:builderos:problem:unavailable", "title": "Unavailable", "status": 503, "code": "unavailable",
         "detail": detail, "hint": hint, "request_id": None, "retryable": True}
    )  # fmt: skip
