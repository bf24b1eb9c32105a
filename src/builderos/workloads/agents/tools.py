"""What an agent can do: names, words, forms of arguments, and how each tool is carried out."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.steps import Work
from builderos.core.unit import Unit
from builderos.trust.policy.schema import canonical_path

from .definition import Agent
from .files import MAX_LISTED, Files
from .gate import Asked, Effect


@dataclass(frozen=True, slots=True)
class At:
    """Where a call is made: `tree` is the workspace as it stands; `number` names the call within its step."""

    context: Context
    work: Work
    agent: Agent
    files: Files
    number: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool tells the model, the workspace after it where it changed that, and facts for the journal."""

    text: str
    tree: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


Inside: TypeAlias = Callable[[Unit, At, Mapping[str, Any]], Result]
"""Done in the unit that records the call: it happened exactly when the journal says so. Raises `Problem`."""

Outside: TypeAlias = Callable[[At, Mapping[str, Any]], Awaitable[Result]]
"""Takes its time outside of any unit; done again where nobody wrote down how it ended: it goes by `At.number`."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: exactly one of `inside` and `outside`, or neither for what the loop does itself (`ask_question`).

    `rolls_back`: where it fails, what it wrote to the database is taken back. `called`: what a model calls it, where
    its name is no word for that; `hidden`: no model is told of it. `once`: where nobody knows how a call ended it is
    not made again, and the model is told so.
    """

    name: str
    summary: str
    schema: Mapping[str, Any]
    effect: Effect
    inside: Inside | None = None
    outside: Outside | None = None
    paths: Callable[[Mapping[str, Any]], tuple[str, ...]] = lambda _: ()
    kind: str = ""
    version: str = "1"
    rolls_back: bool = False
    called: str = ""
    hidden: bool = False
    once: bool = False

    @property
    def word(self) -> str:
        """What a model calls it."""
        return self.called or self.name

    def asked(self, args: Mapping[str, Any]) -> Asked:
        """The call as the gate sees it."""
        return Asked(self.name, self.version, self.kind or self.name, self.effect, args, self.paths(args))


def form(required: str = "", **members: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of arguments."""
    return {
        "type": "object", "properties": dict(members), "required": required.split(), "additionalProperties": False,
    }  # fmt: skip


def text(description: str, most: int = 4_096) -> dict[str, Any]:
    """A text among arguments."""
    return {"type": "string", "description": description, "maxLength": most}


def number(description: str, least: int, most: int) -> dict[str, Any]:
    """A whole number among arguments."""
    return {"type": "integer", "description": description, "minimum": least, "maximum": most}


# -------------------------------------------------------------------- files


def _list(unit: Unit, at: At, args: Mapping[str, Any]) -> Result:
    del unit
    found = at.files.listed(str(args.get("pattern") or "**"))
    more = [f"[{len(found) - MAX_LISTED} more; use a narrower pattern]"] if len(found) > MAX_LISTED else []
    return Result("\n".join([*found[:MAX_LISTED], *more]) or "[no file]")


def _read(unit: Unit, at: At, args: Mapping[str, Any]) -> Result:
    del unit
    return Result(at.files.read(args["path"], int(args.get("offset", 1)), int(args.get("limit", 400))))


def _search(unit: Unit, at: At, args: Mapping[str, Any]) -> Result:
    del unit
    found = at.files.search(args["expression"], str(args.get("pattern") or "**"))
    return Result("\n".join(found) or "[nothing fits]")


def _write(unit: Unit, at: At, args: Mapping[str, Any]) -> Result:
    del unit
    tree = at.files.write(args["path"], args["content"])
    return Result(f"Wrote {args['path']}.", tree)


def _edit(unit: Unit, at: At, args: Mapping[str, Any]) -> Result:
    del unit
    everywhere = bool(args.get("replace_all", False))
    tree = at.files.replace(args["path"], args["old"], args["new"], everywhere=everywhere)
    return Result(f"Changed {args['path']}.", tree)


def _delete(unit: Unit, at: At, args: Mapping[str, Any]) -> Result:
    del unit
    tree = at.files.delete(args["path"])
    return Result(f"Deleted {args['path']}.", tree)


def _path(args: Mapping[str, Any]) -> tuple[str, ...]:
    return (canonical_path(str(args["path"])),)


_PATH: Final = text("Path from the top of the workspace, e.g. src/app.py.", 1_024)
_PATTERN: Final = text("Which files: * is any text without a slash, ** any text. Default **.", 256)
_CONTENT: Final = text("The whole content.", 1_048_576)

FILES: Final = (
    Tool("list_files", "List files of the workspace.", form(pattern=_PATTERN), "read", _list),
    Tool(
        "read_file", "Read a text file, or some lines of it.",
        form("path", path=_PATH, offset=number("First line, from 1.", 1, 10_000_000),
             limit=number("How many lines.", 1, 2_000)),
        "read", _read,
    ),
    Tool(
        "search_files", "Find lines by a regular expression (RE2).",
        form("expression", expression=text("The expression.", 500), pattern=_PATTERN), "read", _search,
    ),
    Tool(
        "write_file", "Write a whole file; what was there is replaced.",
        form("path content", path=_PATH, content=_CONTENT), "write", _write, paths=_path,
    ),
    Tool(
        "edit_file", "Replace a text that stands once in a file.",
        form("path old new", path=_PATH, old=text("Exact text that is there.", 262_144),
             new=text("What takes its place.", 262_144),
             replace_all={"type": "boolean", "description": "Replace every place."}),
        "write", _edit, paths=_path,
    ),
    Tool("delete_file", "Delete a file.", form("path", path=_PATH), "write", _delete, paths=_path),
)  # fmt: skip

ASK: Final = Tool(
    "ask_question",
    "Ask a person, where you cannot go on without an answer. The work waits for it.",
    form(
        "question", question=text("What you have to know.", 2_000),
        choices={"type": "array", "items": text("One answer.", 200), "maxItems": 10,
                 "description": "The possible answers, if they are few."},
    ),
    "read",
)  # fmt: skip


def unknown(name: str) -> Problem:
    """The refusal for a tool that is not in the agent's toolset."""
    return Problem(
        "tool_not_allowed", f"there is no tool {name[:100]} here", hint="Use the tools that are listed."
    )
