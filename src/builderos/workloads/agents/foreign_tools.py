"""What a foreign agent may ask for, as tools: each goes through the gate, the journal and the ledger like any other."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast

from builderos.core.paths import check_path
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.execution.compute import service as compute
from builderos.trust.policy.schema import canonical_path

from .files import MAX_FILE
from .tools import At, Result, Tool, form, text

START: Final = "foreign_agent"
READ: Final = "read_file"
WRITE: Final = "write_file"
KINDS: Final = (
    "read",
    "edit",
    "delete",
    "move",
    "search",
    "execute",
    "think",
    "fetch",
    "switch_mode",
    "other",
)
_CHANGING: Final = frozenset({"edit", "delete", "move", "other"})
_SCRATCH: Final = ("/tmp/", "/home/builder/", "/dev/shm/")  # noqa: S108 - in the jail
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FRESH: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def tools_in(folder: Path) -> dict[str, Tool]:
    """The tools of a foreign agent that works in this folder, by name."""

    def read(unit: Unit, at: At, args: Mapping[str, Any]) -> Result:
        del unit, at
        return Result(_read(folder, str(args["path"])))

    def write(unit: Unit, at: At, args: Mapping[str, Any]) -> Result:
        del unit, at
        _write(folder, str(args["path"]), str(args["content"]))
        return Result(f"Wrote {args['path']}.")

    path = text("Path from the top of the workspace.", 1_024)
    own = (
        # Whoever it is, it can run any command in there: policies of shells hold for it.
        Tool(START, "Start a foreign agent.", form(), "outside", _allowed, kind="run_shell"),
        Tool(READ, "Read a text file.", form("path", path=path), "read", read),
        Tool(WRITE, "Write a whole file.", form("path content", path=path), "write", write, paths=_path),
    )
    asked = (
        Tool(f"foreign_{kind}", "What a foreign agent asks leave for.", form(), _effect(kind), _allowed, paths=_paths,
             kind="foreign")
        for kind in KINDS
    )  # fmt: skip
    return {tool.name: tool for tool in (*own, *asked)}


def inside(path: object) -> str | None:
    """A path of the workspace as seen from its top; None for one outside of it."""
    if not isinstance(path, str) or not path or "\0" in path:
        return None
    found = PurePosixPath(os.path.normpath(f"{compute.WORKSPACE}/{path}" if path[0] != "/" else path))
    return str(found.relative_to(compute.WORKSPACE)) if found.is_relative_to(compute.WORKSPACE) else None


def request_of(call: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The tool that a permission is asked for, and its arguments: everything that a person has to see, without the
    numbers that are others with every session."""
    kind = call.get("kind") if call.get("kind") in KINDS else "other"
    changes = [item for item in _list(call.get("content")) if item.get("type") == "diff"]
    named = [item.get("path") for item in (*_list(call.get("locations")), *changes)]
    args: dict[str, Any] = {
        "title": str(call.get("title") or ""), "input": call.get("rawInput"), "changes": changes,
        "paths": sorted({found for path in named if (found := inside(path)) not in (None, ".")}),
    }  # fmt: skip
    return f"foreign_{kind}", args


def changed_outside(call: Mapping[str, Any]) -> list[str]:
    """What a request would change neither in the workspace nor in places that are the jail's own and end with it."""
    if call.get("kind") not in ("edit", "delete", "move"):
        return []
    changes = [item for item in _list(call.get("content")) if item.get("type") == "diff"]
    named = [item.get("path") for item in (*_list(call.get("locations")), *changes)]
    paths = [path for path in named if isinstance(path, str) and inside(path) is None]
    return [path for path in paths if not os.path.normpath(path).startswith(_SCRATCH)]


def _effect(kind: str) -> Any:
    return "read" if kind in ("read", "search", "think") else "write" if kind in _CHANGING else "outside"


def _allowed(unit: Unit, at: At, args: Mapping[str, Any]) -> Result:
    del unit, at, args
    return Result("allowed")


def _path(args: Mapping[str, Any]) -> tuple[str, ...]:
    return (canonical_path(str(args["path"])),)


def _paths(args: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(canonical_path(str(path)) for path in args.get("paths") or ())


def _list(value: object) -> list[Mapping[str, Any]]:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("Mapping[str, Any]", item) for item in items if isinstance(item, Mapping)]


def _read(folder: Path, path: str) -> str:
    """Raises `not_found`, `invalid_path`."""
    check_path(path)
    try:
        with compute.Beneath(folder) as beneath:
            return beneath.read(path, MAX_FILE).decode("utf-8", "replace")
    except OSError as error:
        raise Problem(
            "not_found", f"{path} cannot be read: {error.strerror}", hint="Use another file."
        ) from error


def _write(folder: Path, path: str, content: str) -> None:
    """Put a new file in its place. A link on the way is not followed: whoever works in there may change any of it
    meanwhile. Raises `invalid_path`, `payload_too_large`, `conflict`."""
    check_path(path)
    data = content.encode("utf-8", "replace")
    if len(data) > MAX_FILE:
        raise Problem(
            "payload_too_large", f"{path} would have {len(data)} bytes; the limit is {MAX_FILE}",
            hint="Cut it into several files.", limit=MAX_FILE, used=len(data),
        )  # fmt: skip
    *above, name = path.split("/")
    try:
        _put(folder, above, name, data)
    except OSError as error:
        raise Problem(
            "conflict", f"{path} cannot be written: {error.strerror}", hint="Use another path."
        ) from error


def _put(folder: Path, above: list[str], name: str, data: bytes) -> None:
    at = os.open(folder, _FOLDER)
    try:
        owner = os.fstat(at)
        for part in above:
            below = _entered(at, part, owner)
            os.close(at)
            at = below
        fresh = f".{secrets.token_hex(8)}"
        with os.fdopen(os.open(fresh, _FRESH, 0o644, dir_fd=at), "wb") as file:
            file.write(data)
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        os.rename(fresh, name, src_dir_fd=at, dst_dir_fd=at)
    finally:
        os.close(at)


def _entered(at: int, part: str, owner: os.stat_result) -> int:
    try:
        return os.open(part, _FOLDER, dir_fd=at)
    except FileNotFoundError:
        os.mkdir(part, 0o755, dir_fd=at)
        below = os.open(part, _FOLDER, dir_fd=at)
        os.fchown(below, owner.st_uid, owner.st_gid)
        return below
