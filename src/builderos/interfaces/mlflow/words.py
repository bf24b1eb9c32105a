"""What clients of MLflow send: members of a document or of a query, checked one by one with MLflow's words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from builderos.core.problems import Problem

MAX_LIST: Final = 100_000
_SEE: Final = " See the API docs for more information about request parameters."
_NAMED: Final = {"nan": math.nan, "infinity": math.inf, "-infinity": -math.inf}


def invalid(detail: str) -> Problem:
    """A member that is missing or wrong."""
    return Problem("validation_failed", detail, hint="")


class Body:
    """The members of one request."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        self.members = members

    def has(self, name: str) -> bool:
        """Whether it was sent."""
        return self.members.get(name) is not None

    def text(self, name: str, default: str | None = None) -> str:
        """A text; raises where it is missing and has no default."""
        value = self.members.get(name)
        if value is None or value == "":
            if default is not None:
                return default
            raise invalid(f"Missing value for required parameter '{name}'.{_SEE}")
        if not isinstance(value, str):
            raise _wrong(name, value)
        if "\x00" in value:
            raise invalid(f"Invalid value for parameter '{name}' supplied: it contains a NUL character")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise invalid(f"Invalid value for parameter '{name}' supplied: it is no text") from None
        return value

    def any_text(self, name: str) -> str:
        """A text that may be empty, and is then not sent."""
        return self.text(name, "")

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole number, as a number or a text; raises where it is missing and has no default."""
        value = self.members.get(name)
        if value is None or value == "":
            if default is None:
                raise invalid(f"Missing value for required parameter '{name}'.{_SEE}")
            return default
        if isinstance(value, bool) or not isinstance(value, int | str | float):
            raise _wrong(name, value)
        try:
            number = int(value)
        except (ValueError, OverflowError):
            raise _wrong(name, value) from None
        if not -(2**63) <= number < 2**63 or str(value).partition(".")[2].strip("0"):
            raise _wrong(name, value)
        return number

    def number(self, name: str) -> float:
        """A number; NaN and the infinities have names."""
        value = self.members.get(name)
        if isinstance(value, str):
            found = _NAMED.get(value.lower())
            if found is None:
                try:
                    found = float(value)
                except ValueError:
                    raise _wrong(name, value) from None
            return found
        if value is None:
            raise invalid(f"Missing value for required parameter '{name}'.{_SEE}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(name, value)
        try:
            return float(value)
        except OverflowError:
            raise _wrong(name, value) from None

    def texts(self, name: str) -> list[str]:
        """A list of texts; of a query, one or several."""
        value = self.members.get(name)
        listed = cast("list[Any]", value if isinstance(value, list) else [] if value is None else [value])
        if len(listed) > MAX_LIST or any(not isinstance(one, str) or "\x00" in one for one in listed):
            raise _wrong(name, listed[:1])
        return listed

    def bodies(self, name: str) -> "list[Body]":
        """A list of documents."""
        value = self.members.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or any(not isinstance(one, dict) for one in cast("list[Any]", value)):
            raise _wrong(name, value)
        return [Body(one) for one in cast("list[dict[str, Any]]", value)]

    def body(self, name: str) -> "Body":
        """A document; an empty one where there is none."""
        value: Any = self.members.get(name)
        if value is None:
            return Body({})
        if not isinstance(value, dict):
            raise _wrong(name, value)
        return Body(cast("dict[str, Any]", value))

    def pairs(self, name: str) -> dict[str, str]:
        """A list of `{key, value}`; of one that stands there twice the last."""
        return {one.text("key"): one.any_text("value") for one in self.bodies(name)}


def of_query(pairs: Sequence[tuple[str, str]]) -> Body:
    """The members of a query; what stands there several times is a list."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return Body(found)


def _wrong(name: str, value: Any) -> Problem:
    return invalid(
        f"Invalid value {str(value)[:100]} for parameter '{name}' supplied:  Hint: Value was of type "
        f"'{type(value).__name__}'.{_SEE}"
    )  # fmt: skip
