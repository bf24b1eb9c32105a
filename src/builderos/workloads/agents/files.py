"""The workspace of an agent: a git tree. Reading and writing files needs no folder, so nothing on the disk is lost.

What a tool writes is a new tree; it counts once the journal names it.
"""

from dataclasses import dataclass
from typing import Any, Final, cast

import re2  # pyright: ignore[reportMissingTypeStubs]

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.service import Edit, Scratch
from builderos.core.paths import check_path
from builderos.core.problems import Problem
from builderos.execution.runs import service as runs

MAX_FILE: Final = 1024 * 1024
MAX_CHARS: Final = 24_000
MAX_LISTED: Final = 500
MAX_HITS: Final = 100
MAX_SEARCHED: Final = 64 * 1024 * 1024
_MAX_PATTERN: Final = 500
_re2: Final = cast("Any", re2)


@dataclass
class Files:
    """A tree (hex) and the store that it lies in. Not shared between threads."""

    scratch: Scratch
    tree: str

    def read(self, path: str, offset: int = 1, limit: int = 400) -> str:
        """Lines of a text file, from line `offset`. Raises `not_found`, `invalid_path`, `validation_failed`."""
        lines = self.text(path).splitlines(keepends=True)
        offset, limit = max(1, offset), max(1, min(limit, 2_000))
        some = "".join(lines[offset - 1 : offset - 1 + limit])
        end = min(len(lines), offset - 1 + limit)
        cut = len(some) > MAX_CHARS
        told = some[:MAX_CHARS]
        if cut or offset > 1 or end < len(lines):
            told += f"\n[lines {offset} to {end} of {len(lines)}{', cut' if cut else ''}]"
        return told

    def text(self, path: str) -> str:
        """The whole of a text file. Raises as `read` does."""
        entry = self.scratch.entry(self.tree, _clean(path))
        if entry is None:
            raise Problem("not_found", f"there is no file {path}", hint="List the files first.")
        if entry.is_tree or not entry.is_file:
            raise Problem("validation_failed", f"{path} is no plain file", hint="Read the files below it.")
        data = self.scratch.read(entry.oid)
        if len(data) > MAX_FILE or b"\0" in data[:8_192]:
            raise Problem("validation_failed", f"{path} is no text, or too large", hint="Use another file.")
        return data.decode("utf-8", "replace")

    def listed(self, pattern: str) -> list[str]:
        """Paths that a pattern fits, in git's order."""
        return [file.path for file in self.scratch.files(self.tree) if runs.fits(pattern, file.path)]

    def search(self, expression: str, pattern: str) -> list[str]:
        """`path:line: text` for lines that fit an expression (RE2), at most `MAX_HITS`. Raises `validation_failed`."""
        if len(expression) > _MAX_PATTERN:
            raise Problem("validation_failed", "the expression is too long", hint="Search for less.")
        try:
            options = _re2.Options()
            options.log_errors = False
            wanted = _re2.compile(expression, options)
        except _re2.error as error:
            raise Problem(
                "validation_failed", f"not an expression: {error}"[:300], hint="Use RE2."
            ) from error
        found: list[str] = []
        seen = 0
        for file in self.scratch.files(self.tree):
            if file.mode == repositories.LINK or not runs.fits(pattern, file.path):
                continue
            data = self.scratch.read(file.oid)
            seen += len(data)
            if len(data) > MAX_FILE or b"\0" in data[:8_192]:
                continue
            for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
                if wanted.search(line) is not None:
                    found.append(f"{file.path}:{number}: {line[:300]}")
            if len(found) >= MAX_HITS or seen > MAX_SEARCHED:
                return [*found[:MAX_HITS], "[there may be more]"]
        return found

    def write(self, path: str, content: str) -> str:
        """The tree with this file. Raises `invalid_path`, `payload_too_large`."""
        check_path(path)
        data = content.encode("utf-8", "surrogatepass")
        if len(data) > MAX_FILE:
            raise Problem(
                "payload_too_large", f"{path} would have {len(data)} bytes; the limit is {MAX_FILE}",
                hint="Cut it into several files.", limit=MAX_FILE, used=len(data),
            )  # fmt: skip
        return self.scratch.edit(self.tree, {path: Edit(self.scratch.put(data))})

    def replace(self, path: str, old: str, new: str, *, everywhere: bool) -> str:
        """The tree with one text of a file replaced. Raises `conflict` where it is not there, or more than once."""
        text = self.text(path)
        count = text.count(old) if old else 0
        if count == 0:
            hint = "Read the file again and send the exact text."
            raise Problem("conflict", f"the text is not in {path}", hint=hint)
        if count > 1 and not everywhere:
            hint = "Send more of the lines around it, or replace_all."
            raise Problem("conflict", f"the text stands {count} times in {path}", hint=hint)
        return self.write(path, text.replace(old, new))

    def delete(self, path: str) -> str:
        """The tree without this file. Raises `not_found`, `invalid_path`."""
        entry = self.scratch.entry(self.tree, _clean(path))
        if entry is None or entry.is_tree:
            raise Problem("not_found", f"there is no file {path}", hint="List the files first.")
        return self.scratch.edit(self.tree, {path: None})


def _clean(path: str) -> str:
    """A path inside the workspace. Raises `invalid_path`."""
    parts = path.split("/")
    if not path or path.startswith("/") or ".." in parts or "\0" in path or "." in parts or "" in parts:
        raise Problem(
            "invalid_path", f"{path[:200]!r} is no path inside the workspace",
            hint="Use a relative path with forward slashes, for example src/app.py.",
        )  # fmt: skip
    return path
