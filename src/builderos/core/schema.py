"""Base types of the words that go in and out: strict about what enters, so that nothing below has to be."""

import math
import re
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

MAX_DEPTH = 32
MAX_MEMBERS = 200
MAX_INTEGER = 2**63 - 1
# Ends of lines and commands for terminals, of old and of Unicode; and what turns text around, so that people read
# another line than the one that was sent (Unicode TR36, 2.3).
_NOT_IN_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
T = TypeVar("T")


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain a NUL character")
    return text


def _one_line(text: str) -> str:
    if _NOT_IN_A_LINE.search(text):
        raise ValueError("must be one line without control characters")
    return text


def _bounded_json(value: Any, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"must not nest deeper than {MAX_DEPTH} levels")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be finite")
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError("must fit into 64 bits")
    if isinstance(value, str):
        value.encode()  # a lone surrogate cannot be stored
        return _no_nul(value)
    if isinstance(value, dict):
        for key, item in value.items():  # pyright: ignore[reportUnknownVariableType]
            _bounded_json(key, depth + 1)
            _bounded_json(item, depth + 1)
    elif isinstance(value, list):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            _bounded_json(item, depth + 1)
    return value  # pyright: ignore[reportUnknownVariableType]


def _some_words(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


Text = Annotated[str, AfterValidator(_no_nul)]
Prose = Annotated[Text, AfterValidator(_some_words)]
Line = Annotated[str, StringConstraints(max_length=500), AfterValidator(_one_line)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_one_line)]
Sha = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
Json = Annotated[Any, AfterValidator(_bounded_json)]


def _is_number(annotation: Any) -> bool:
    kinds = get_args(annotation) or (annotation,)
    return int in kinds and bool not in kinds


def _storable(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("needs a time zone, e.g. a Z at its end")
    if not 2000 <= at.year <= 2200:
        raise ValueError("must lie between the years 2000 and 2200")
    return at


Instant = Annotated[datetime, AfterValidator(_storable)]


class In(BaseModel):
    """What a caller sends. Unknown members are refused: a typo must not be obeyed in silence."""

    # There are hundreds of forms, and a server is wanted at once: each is worked out when it is first used.
    model_config = ConfigDict(
        extra="forbid", str_max_length=12_000_000, hide_input_in_errors=True, defer_build=True
    )

    @model_validator(mode="before")
    @classmethod
    def _true_is_no_number(cls, data: Any) -> Any:
        """The library reads `true` as 1, the contract says integer. (Digits in text are numbers: queries are text.)"""
        if isinstance(data, dict):
            if len(data) > MAX_MEMBERS:  # pyright: ignore[reportUnknownArgumentType]
                # Else each of them would get an error of its own, which takes longer than to send it.
                raise ValueError(f"must not have more than {MAX_MEMBERS} members")
            fields = cls.model_fields
            for name in [n for n, value in data.items() if isinstance(value, bool)]:  # pyright: ignore[reportUnknownVariableType]
                if name in fields and _is_number(fields[name].annotation):
                    raise ValueError(f"{name} must be a number")
        return data  # pyright: ignore[reportUnknownVariableType]


class ToolIn(In):
    """Members that every tool route accepts beside its own (SPEC §2): credentials and versions may stand in the
    body.
    """

    reuse_token: Annotated[
        str | None,
        Field(description="Your workspace token (bos_rt_…), unless sent as Authorization: Bearer."),
    ] = None
    tool_version: Annotated[
        str | None, Field(description="Pins a version of this tool, e.g. 1.", max_length=20)
    ] = None


class WriteIn(ToolIn):
    """A tool call that changes something."""

    idempotency_key: Annotated[
        str | None,
        Field(
            description="Same key and body: same reply, one effect, for 24 h.", min_length=1, max_length=200
        ),
        AfterValidator(lambda v: None if v is None else _one_line(v)),
    ] = None


class Out(BaseModel):
    """What the server answers."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


class ToolOut(Out):
    """Every tool reply names where it happened and says it in plain words (SPEC §2)."""

    repo_name: str
    branch: str
    message: str


class Page(Out, Generic[T]):
    """One page of a list."""

    items: list[T]
    next_cursor: str | None = None
