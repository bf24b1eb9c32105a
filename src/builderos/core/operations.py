"""One declaration per operation: HTTP routes, MCP tools, `/actions/list`, the chat schema and `builderos api` are
made from it.

A room declares its operations in `routes.py`:

    routes = Operations("git")

    @routes.post("/git/log", "gitLog", effect="read", profile="standard")
    def git_log(unit: Unit, body: LogIn) -> LogOut:
        \"\"\"Show the history of a branch, newest first.\"\"\"
        return history.log(unit, body)

The docstring is the sentence a user reads everywhere.
"""

import inspect
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from .schema import In

Effect = Literal["read", "write"]
ToolProfile = Literal["minimal", "standard", "platform"]
Credential = Literal["required", "optional"]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Download:
    """A reply that is a stream of bytes instead of a JSON document."""

    chunks: Iterator[bytes]
    media_type: str
    filename: str
    size: int | None = None
    etag: str | None = None
    part: Callable[[int, int], Iterator[bytes]] | None = (
        None  # bytes from, to (exclusive): it can be taken in parts
    )


@dataclass(frozen=True)
class Live:
    """A reply that goes on while something happens: frames of Server-Sent Events, e.g. `b"id: 1\\ndata: {}\\n\\n"`.

    The door opens `frames` on its event loop, sends heartbeats between them, and ends the reply when it has gone on
    for long, where it is resumable: clients come back with the header Last-Event-ID, which is the member
    `last_event_id` of the body.
    """

    frames: Callable[[], AsyncIterator[bytes]]
    resumable: bool = True  # False: it bounds itself, and nobody can come back to it


T = TypeVar("T")


@dataclass(frozen=True)
class Reply(Generic[T]):
    """A JSON reply whose status differs from the operation's own, e.g. 202 when something waits."""

    status: int
    body: T


@dataclass(frozen=True)
class Operation:
    """What one operation is; `handler(unit, body)` does it."""

    name: str
    method: str
    path: str
    handler: Callable[..., Any]
    body: type[In]
    reply: Any
    summary: str
    description: str
    group: str
    effect: Effect
    profile: ToolProfile
    consequential: bool = False
    credential: Credential = "required"
    status: int = 200
    deprecated: bool = False
    version: str = "1"
    secret_reply: bool = False  # holds a credential: kept for a repetition under the organisation's own key
    may_wait: bool = False  # answers 202 while an approval is needed
    deciding: bool = (
        False  # a platform route that is a tool over MCP, too, for those who decide about requests
    )
    implied: dict[str, Any] = field(default_factory=dict[str, Any], hash=False)
    media_types: tuple[str, ...] = ()

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """Names in braces in the path."""
        return tuple(re.findall(r"{(\w+)}", self.path))

    @property
    def document(self) -> Any:
        """The type of the JSON reply, without bytes that may come instead; None where there are only those."""
        if self.reply in (Download, Live):
            return None
        forms = [form for form in get_args(self.reply) if form not in (Download, Live)]
        return forms[0] if len(forms) == 1 and isinstance(self.reply, UnionType) else self.reply


def _reply_of(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Reply else annotation


class Operations:
    """The operations of one group, in the order they are declared."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.items: list[Operation] = []

    def route(self, method: str, path: str, name: str, *, effect: Effect, **options: Any) -> Callable[[F], F]:
        """Declare `handler(unit, body: In) -> Out` as an operation."""

        def enrol(handler: F) -> F:
            hints = get_type_hints(handler)
            doc = inspect.cleandoc(handler.__doc__ or "")
            summary, _, description = doc.partition("\n\n")
            options.setdefault("profile", "platform")
            self.items.append(
                Operation(
                    name=name, method=method, path=path, handler=handler, body=hints["body"],
                    reply=_reply_of(hints["return"]),
                    summary=" ".join(summary.split()), description=description.strip(), group=self.group,
                    effect=effect, **options,
                )
            )  # fmt: skip
            return handler

        return enrol

    def get(self, path: str, name: str, **options: Any) -> Callable[[F], F]:
        """A read over GET: path and query make the body."""
        return self.route("GET", path, name, effect="read", **options)

    def post(self, path: str, name: str, *, effect: Effect = "write", **options: Any) -> Callable[[F], F]:
        """A call over POST with a JSON body."""
        return self.route("POST", path, name, effect=effect, **options)

    def delete(self, path: str, name: str, **options: Any) -> Callable[[F], F]:
        """A removal over DELETE: path and query make the body."""
        return self.route("DELETE", path, name, effect="write", **options)
