"""Where time goes: spans from the door over the verb to SQL and git.

Rooms only name what they do (`with span("git repack"):`). Who keeps the spans is installed once per process by `app`;
until then `span` gives back one shared object that does nothing. Names and attributes are words of our own code: no
value that a caller sent is among them.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Final, Protocol, Self, TypeAlias

Value: TypeAlias = str | int | float | bool
MAX_CHARS: Final = 500


class Span(Protocol):
    """One stretch of work."""

    def rename(self, name: str) -> None:
        """What it turned out to be."""
        ...

    def set(self, name: str, value: Value) -> None:
        """An attribute; texts are cut to `MAX_CHARS`."""
        ...

    def fail(self, code: str) -> None:
        """It ended in a problem with this code."""
        ...


@dataclass(frozen=True)
class Ended:
    """A stretch of work that went on over several processes, told of once it is over. Ids are hexadecimal: 32 digits of
    the trace, 16 of a span, the same whoever works them out. `failed`: the code of what it ended in.
    """

    name: str
    trace_id: str
    span_id: str
    parent_id: str | None
    start: datetime
    end: datetime
    attributes: Mapping[str, Value]
    failed: str | None = None


class Tracer(Protocol):
    """Keeps spans and hands them on."""

    def span(self, name: str, attributes: Mapping[str, Value]) -> AbstractContextManager[Span]:
        """A span below the current one. An exception that leaves it marks it as failed, by its type alone."""
        ...

    def door(self, name: str, headers: Mapping[str, str]) -> AbstractContextManager[Span]:
        """A span for something that came in: below the one that a W3C `traceparent` in `headers` names."""
        ...

    def below(
        self, traceparent: str, name: str, attributes: Mapping[str, Value]
    ) -> AbstractContextManager[Span]:
        """A span below one of another process."""
        ...

    def ended(self, span: Ended) -> None:
        """Keep a span that is over."""
        ...

    def headers(self) -> dict[str, str]:
        """`traceparent` for a call to somebody else; nothing outside a span."""
        ...


class _Nothing:
    """The span of a process that keeps none."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def rename(self, name: str) -> None:
        """Nobody keeps it."""
        del name

    def set(self, name: str, value: Value) -> None:
        """Nobody keeps it."""
        del name, value

    def fail(self, code: str) -> None:
        """Nobody keeps it."""
        del code


class _Installed:
    tracer: Tracer | None = None


_NOTHING: Final = _Nothing()
_NONE: Final[Mapping[str, Value]] = {}


def install(tracer: Tracer | None) -> None:
    """From now on `tracer` keeps the spans of this process; None: nobody does."""
    _Installed.tracer = tracer


def on() -> bool:
    """Whether anybody keeps spans: for attributes that cost something to make."""
    return _Installed.tracer is not None


def span(name: str, attributes: Mapping[str, Value] = _NONE) -> AbstractContextManager[Span]:
    """A span below the current one."""
    tracer = _Installed.tracer
    return _NOTHING if tracer is None else tracer.span(name, attributes)


def below(
    traceparent: str, name: str, attributes: Mapping[str, Value] = _NONE
) -> AbstractContextManager[Span]:
    """A span below one of another process, which `traceparent` names as W3C Trace Context has it."""
    tracer = _Installed.tracer
    return _NOTHING if tracer is None else tracer.below(traceparent, name, attributes)


def ended(span: Ended) -> None:
    """Tell of work that is over and was nobody's alone."""
    if _Installed.tracer is not None:
        _Installed.tracer.ended(span)


def door(name: str, headers: Mapping[str, str]) -> AbstractContextManager[Span]:
    """The span of a request that came in with these headers."""
    tracer = _Installed.tracer
    return _NOTHING if tracer is None else tracer.door(name, headers)


def headers() -> dict[str, str]:
    """What a request to somebody else carries, so that their spans stand below ours."""
    tracer = _Installed.tracer
    return {} if tracer is None else tracer.headers()
