"""Where the delivery files of a project repository lie, and how they are read.

Everything in this package works on `Files` (a view of one tree) and answers with edits `{path: new bytes |
None}`; `None` deletes. Nothing here touches a database, git or the disk.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, Protocol

Edits = dict[str, bytes | None]

CONFIG: Final = "builderos.yaml"
LOGS: Final = ".logs/"

_YAML: Final = re.compile(r"\.ya?ml\Z")
_ROTATED: Final = re.compile(r"(\d{6,})\.yaml(\.broken)?\Z")
_SHARD: Final = re.compile(r"([0-9a-f]{1,64})\.yaml\Z")


class Files(Protocol):
    """One tree of files, read only."""

    def read(self, path: str, /) -> bytes | None:
        """The bytes of a file; None if there is none (a folder is none)."""
        ...

    def list(self, folder: str, /) -> list[str]:
        """The names directly inside a folder (`project/changelog`, no slash at the end); [] if there is none."""
        ...


class Overlay:
    """A tree with edits laid over it, so that two operations on one file can follow each other."""

    def __init__(self, files: Files, edits: Mapping[str, bytes | None]) -> None:
        self._files = files
        self._edits = edits

    def read(self, path: str, /) -> bytes | None:
        """The edited bytes where there is an edit, else those of the tree below."""
        return self._edits[path] if path in self._edits else self._files.read(path)

    def list(self, folder: str, /) -> list[str]:
        """The names in a folder after the edits."""
        names = dict.fromkeys(self._files.list(folder))
        for path, data in self._edits.items():
            inside = path.removeprefix(folder + "/")
            if inside == path:
                continue
            name = inside.split("/", 1)[0]
            if data is not None:
                names[name] = None
            elif name == inside:
                names.pop(name, None)
        return list(names)


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of the delivery files (SPEC §4); `builderos.yaml: paths` changes them."""

    task: str = "project/task.yaml"
    memory: str = "project/memory.yaml"
    changelog: str = "project/changelog.yaml"
    goals: str = "project/goals.md"
    reverted: str = ".logs/reverted_commits.yaml"

    @property
    def roots(self) -> tuple[str, ...]:
        """The top-level names below which all of them lie."""
        files = (self.task, self.memory, self.changelog, self.reverted)
        folders = (self.memory_folder, self.changelog_folder, self.reverted_folder)
        return tuple({path.partition("/")[0]: None for path in files + folders})

    @property
    def memory_folder(self) -> str:
        """Folder of the memory shards, no slash at the end."""
        return _YAML.sub("", self.memory)

    @property
    def changelog_folder(self) -> str:
        """Folder of the rotated changelog blocks, no slash at the end."""
        return _YAML.sub("", self.changelog)

    @property
    def reverted_folder(self) -> str:
        """Folder of the rotated blocks of the log of reverts, no slash at the end."""
        return _YAML.sub("", self.reverted)


NAMES: Final = tuple(f.name for f in fields(Layout))


def path_fault(name: str, path: object) -> str | None:
    """Why `path` cannot be the place of the delivery file `name`; None if it can.

    Refused besides malformed paths: git's own files and the `builderos*.yaml` that govern the project,
    because the server writes delivery files without asking the rules that guard those.
    """
    if not isinstance(path, str) or not path or len(path) > 255:
        return "is not a path of 1 to 255 characters"
    parts = path.split("/")
    if "\\" in path or any(part in ("", ".", "..") or part.lower().startswith(".git") for part in parts):
        return "is not a plain relative path"
    if any(ord(c) < 32 or ord(c) == 127 for c in path):
        return "contains a control character"
    if parts[-1].lower().startswith("builderos."):
        return "is reserved"
    if name == "goals":
        return None if path.endswith(".md") else "must end with .md"
    return None if _YAML.search(path) else "must end with .yaml"


@functools.lru_cache(maxsize=16_384)
def rotated(name: str) -> tuple[int, bool] | None:
    """(number, set aside as broken?) of a file in a log's folder; None if it is not one of the log's."""
    found = _ROTATED.match(name)
    return (int(found[1]), found[2] is not None) if found else None


@functools.lru_cache(maxsize=16_384)
def shard(name: str) -> str | None:
    """The hash prefix that a file in the memory folder holds; None if it is no shard."""
    found = _SHARD.match(name)
    return found[1] if found else None


def is_delivery(path: str, layout: Layout) -> bool:
    """Whether the server keeps this file and merges it item by item (so never textually, and never reverts it)."""
    if path in (layout.task, layout.memory, layout.changelog, layout.reverted):
        return True
    folder, _, name = path.rpartition("/")
    if folder in (layout.changelog_folder, layout.reverted_folder):
        return rotated(name) is not None
    return folder == layout.memory_folder and shard(name) is not None


def is_exempt(path: str, layout: Layout) -> bool:
    """Whether reverting a commit leaves this file alone: delivery files and everything in `.logs/` (SPEC §3.4)."""
    return path.startswith(LOGS) or is_delivery(path, layout)


def is_log(path: str, layout: Layout) -> bool:
    """Whether this is an append-only file: the changelog, the log of reverts, or one of their rotated blocks."""
    if path in (layout.changelog, layout.reverted):
        return True
    folder, _, name = path.rpartition("/")
    return folder in (layout.changelog_folder, layout.reverted_folder) and rotated(name) is not None
