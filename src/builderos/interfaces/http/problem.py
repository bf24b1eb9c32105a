"""Problems on the wire: RFC 9457."""

import logging
from collections.abc import Mapping

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from builderos.core.problems import Problem

from .challenge import challenge

log = logging.getLogger("builderos.http")


class ProblemBody(BaseModel):
    """RFC 9457 problem details. Some codes bring members of their own, e.g. `limit`, `conflicts`, `allowed`."""

    model_config = ConfigDict(title="Problem", extra="allow")

    type: str
    title: str
    status: int
    code: str = Field(description="Stable code to branch on.")
    detail: str = Field(description="What happened, in plain words.")
    hint: str = Field(description="What to do next.")
    request_id: str
    retryable: bool
    retry_after_s: float | None = None


def problem_response(
    problem: Problem, request_id: str, more: Mapping[str, str] | None = None
) -> JSONResponse:
    """A problem as `application/problem+json`; `more` are headers that belong to the status, e.g. Allow."""
    headers = dict(more or {})
    if problem.retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(problem.retry_after_s)))
    bearer = challenge(problem)
    if bearer is not None:
        headers["www-authenticate"] = bearer
    return JSONResponse(
        problem.as_dict(request_id), problem.status, headers, media_type="application/problem+json"
    )


def crash_response(error: Exception, request_id: str) -> JSONResponse:
    """What a caller hears of an error that nobody expected; the log gets all of it."""
    if isinstance(error, RecursionError):
        problem = Problem(
            "validation_failed", "the JSON is nested too deeply", hint="Send a flatter document."
        )
    else:
        log.error("unexpected error in %s", request_id, exc_info=error)
        problem = Problem("internal", "something went wrong on our side", hint="Report the request_id.")
    return problem_response(problem, request_id)
