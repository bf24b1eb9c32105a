"""Who wrote a line that an undo brought back: blame names the undo, which wrote nothing of its own."""

from dataclasses import dataclass
from typing import Final

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.repositories.service import RepositoryStore
from builderos.core.problems import Problem
from builderos.core.unit import Unit

from .provenance import Found, commit_at

UNDOING: Final = frozenset({"rollback", "reset", "restore"})
GIT_S: Final = 20.0
DEPTH: Final = 5  # an undo of an undo of …


@dataclass(frozen=True)
class Before:
    """The commit that was undone, and the one that had written the line."""

    undone: str
    found: Found


def blame(unit: Unit, branch: Branch, at: str, path: str, line: int) -> str:
    """The commit that wrote a line as it stands at a commit, through merges and renames. Raises `unavailable`."""
    return blamed(unit, branch, at, path, line)[0]


def blamed(unit: Unit, branch: Branch, at: str, path: str, line: int) -> tuple[str, str, int]:
    """Likewise, with the file and the number that the line had in that commit. Raises `unavailable`."""
    done = _git(unit, branch, ["blame", "--porcelain", "-L", f"{line},{line}", at, "--", path]) or ""
    head, _, rest = done.partition("\n")
    sha, number, *_ = [*head.split(" "), "", ""]
    named = [told.removeprefix("filename ") for told in rest.split("\n") if told.startswith("filename ")]
    if len(sha) != 40 or not number.isdecimal():
        raise Problem(
            "unavailable",
            "the history of this file cannot be read",
            hint="Ask an administrator to run doctor.",
        )
    return sha, named[0] if named and not named[0].startswith('"') else path, int(number)


def sources(unit: Unit, branch: Branch, found: Found, path: str, line: int, text: str) -> list[Before]:
    """Who wrote a line that `found` brought back, nearest first; nothing where `found` is no undo."""
    told: list[Before] = []
    while len(told) < DEPTH and found.line is not None and found.line["type"] in UNDOING:
        undone = found.line["payload"].get("reverts") or _removal(unit, branch, found.sha, path, text)
        number = _number_of(unit, branch, f"{undone}^", path, line, text) if undone else None
        if undone is None or number is None:
            break
        found = commit_at(unit, branch, blame(unit, branch, f"{undone}^", path, number))
        told.append(Before(undone, found))
    return told


def _removal(unit: Unit, branch: Branch, before: str, path: str, text: str) -> str | None:
    """The last commit behind `before` that took such a line away."""
    if not text.strip():
        return None
    out = _git(unit, branch, ["log", "-1", "--format=%H", f"-S{text}", f"{before}^", "--", path])
    return out.strip() or None if out is not None else None


def _number_of(unit: Unit, branch: Branch, at: str, path: str, near: int, text: str) -> int | None:
    """Where that line stood in another version: of several the nearest."""
    out = _git(unit, branch, ["show", f"{at}:{path}"])
    lines = (out or "").split("\n")
    found = [number for number, content in enumerate(lines, 1) if content == text]
    return min(found, key=lambda number: abs(number - near)) if found else None


def _git(unit: Unit, branch: Branch, args: list[str]) -> str | None:
    store = unit.get(RepositoryStore).path(branch.store)
    done = repositories.run_git(args, cwd=store, timeout_s=GIT_S)
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
