"""Prompts that come with BuilderOS: `shipped/<name>.yaml` of this package."""

import functools
from pathlib import Path
from typing import Final

from .reading import parse
from .spec import PromptVersion

_FOLDER: Final = Path(__file__).parent / "shipped"


@functools.cache
def names() -> tuple[str, ...]:
    """Their names, in order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


@functools.cache
def find(name: str) -> PromptVersion | None:
    """The one of this name; None where none is."""
    if name not in names():
        return None
    content = (_FOLDER / f"{name}.yaml").read_text("utf-8")
    spec = parse(content, name=name)
    partials = {word: _part(ref) for word, ref in spec.partials.items()}
    digest = spec.sha256({word: part.sha256 for word, part in partials.items()})
    return PromptVersion(spec, digest, content, {"type": "shipped"}, partials)


def _part(ref: str) -> PromptVersion:
    name, _, version = ref.partition("@")
    found = find(name)
    if found is None or found.version != version:
        raise ValueError(f"shipped prompts name {ref}, which does not come along")
    return found
