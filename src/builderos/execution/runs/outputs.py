"""What a step names as its outputs: files of its folder, kept as artifacts."""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from builderos.assets.artifacts import service as artifacts
from builderos.assets.artifacts.ports import RunFacts, Runs
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.steps import Done, Work
from builderos.core.unit import Unit
from builderos.execution.compute import service as compute

from .rows import set_step

MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Output:
    """A file whose content is in the store; nothing refers to it yet."""

    path: str
    content: artifacts.Prepared

    @property
    def hash(self) -> str:
        """`sha256:…` of what is kept."""
        return f"sha256:{self.content.what.hash.hex()}"

    def as_json(self, id_: str = "") -> dict[str, Any]:
        """As records and receipts tell of it."""
        return {
            "path": self.path, "hash": self.hash, "size": self.content.what.size,
            "media_type": self.content.media_type, "id": id_,
        }  # fmt: skip


def gather(context: Context, work: Work, folder: Path) -> tuple[Output, ...]:
    """Put the files that the step's `outputs` name into the store. Blocks. Symbolic links are left out.

    Raises `payload_too_large`, `validation_failed` (more than 1,000), what the store raises.
    """
    patterns = tuple(work.node.outputs)
    if not patterns:
        return ()
    with compute.Beneath(folder) as beneath:
        paths = [
            entry.path for entry in beneath.walk() if entry.target is None and named(entry.path, patterns)
        ]
        if len(paths) > MOST:
            raise Problem(
                "validation_failed", f"{len(paths)} files are outputs; the limit is {MOST}",
                hint="Pack them into one.", limit=MOST, used=len(paths),
            )  # fmt: skip
        return tuple(_put(context, work, beneath, path) for path in sorted(paths))


def _put(context: Context, work: Work, beneath: compute.Beneath, path: str) -> Output:
    with beneath.open(path) as source:
        return Output(path, artifacts.prepare(context, work.call.actor.org_id, source, path=path))


def keep(unit: Unit, work: Work, done: Done) -> list[dict[str, Any]]:
    """Keep the outputs of an attempt that succeeded, in the unit that records it; as records tell of them."""
    if not done.artifacts:
        return []
    facts = unit.get(Runs).find(unit, work.run_id) or RunFacts(work.repo_id, None, None)
    kept: list[dict[str, Any]] = []
    for output in done.artifacts:
        made = artifacts.keep(
            unit, output.content, path=output.path, run_id=work.run_id, step_id=work.step_id, facts=facts,
            type_="output",
        )  # fmt: skip
        kept.append(output.as_json(made.id))
    set_step(unit, work.step_id, artifacts_ref=[item["id"] for item in kept])
    return kept


def named(path: str, patterns: Sequence[str]) -> bool:
    """Whether a path is one of these: `*` and `?` stay within a folder, `**` does not, a folder names all in it."""
    return any(_compiled(pattern).fullmatch(path) for pattern in patterns)


@functools.lru_cache(1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.removeprefix("./").rstrip("/"))
    return re.compile("".join(words.get(piece, re.escape(piece)) for piece in pieces) + "(?:/.*)?", re.DOTALL)
