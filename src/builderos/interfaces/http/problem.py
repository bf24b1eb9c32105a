"""Problems on the wire: RFC 9457."""

from collections.abc import Mapping

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from builderos.core.problems import Problem

from .challenge import challenge


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
