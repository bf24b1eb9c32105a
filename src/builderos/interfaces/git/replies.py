"""Replies a git client can show: plain text for errors, the protocol's own media types for the rest."""

from starlette.responses import Response

from builderos.core.problems import Problem

from .wire import error, printable


def plain(problem: Problem) -> Response:
    """A problem as text, which git prints behind `remote:`; 401 asks for Basic, which git knows how to send."""
    headers = {"cache-control": "no-cache"}
    if problem.status == 401:
        headers["www-authenticate"] = 'Basic realm="builderos", charset="UTF-8"'
    if problem.retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(problem.retry_after_s)))
    text = printable(f"{problem.code}: {problem.detail}\n{problem.hint}".strip()) + "\n"
    return Response(text, problem.status, headers, "text/plain; charset=utf-8")


def result(service: str, body: bytes, kind: str = "result") -> Response:
    """A whole answer of a service (`git-upload-pack` or `git-receive-pack`)."""
    return Response(body, 200, {"cache-control": "no-cache"}, f"application/x-{service}-{kind}")


def fetch_error(problem: Problem) -> Response:
    """A problem in the middle of a fetch: git shows no body of a failed POST, but what this packet says."""
    return result(
        "git-upload-pack", error(" ".join(f"{problem.code}: {problem.detail}. {problem.hint}".split()))
    )
