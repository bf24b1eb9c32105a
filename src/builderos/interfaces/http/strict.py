"""JSON as the contract means it: UTF-8, every member once, finite numbers. What readers disagree about is refused."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from builderos.core.problems import Problem


class StrictRequest(Request):
    """A request whose JSON is read by these rules."""

    async def json(self) -> Any:
        """The document of the body. Raises `Problem("validation_failed")`."""
        return read_json(await self.body())


class StrictRoute(APIRoute):
    """A route that reads its body strictly."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The framework's handler around a strict request."""
        handler = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return strictly


def read_json(body: bytes) -> Any:
    """Parse a body; raises `Problem("validation_failed")` for what two readers could understand differently."""
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_each_once, parse_constant=_no_constant)
    except Problem:
        raise
    except UnicodeDecodeError:
        raise _unfit("the body is not UTF-8", "Send JSON in UTF-8, without a byte order mark.") from None
    except RecursionError:
        raise _unfit("the JSON is nested too deeply", "Send a flatter document.") from None
    except ValueError:  # bad syntax, or an integer with thousands of digits
        raise _unfit(
            "the body is not valid JSON", "Check the document, e.g. its quotes and commas."
        ) from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _unfit("a member of the JSON stands there twice", "Send every member once.")
    return found


def _no_constant(_name: str) -> Any:
    raise _unfit("NaN and Infinity are no JSON", "Send a finite number, or null.")


def _unfit(detail: str, hint: str) -> Problem:
    return Problem("validation_failed", detail, hint=hint)
