"""Pipelines that come with BuilderOS: `ship/<name>/pipeline.yaml` of this package."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .definition import Definition, parse

_FOLDER: Final = Path(__file__).parent / "ship"
FILE: Final = "pipeline.yaml"


@dataclass(frozen=True)
class Shipped:
    """A file with what it says."""

    definition: Definition
    content: str


@functools.cache
def names() -> tuple[str, ...]:
    """Their names, in order."""
    return tuple(sorted(path.parent.name for path in _FOLDER.glob(f"*/{FILE}")))


@functools.cache
def find(name: str) -> Shipped | None:
    """The one of this name; None where none is."""
    if name not in names():
        return None
    content = (_FOLDER / name / FILE).read_text()
    return Shipped(parse(content, name=name), content)
