"""Notebooks as texts that people compare: cell by cell, outputs in short, nothing that changes with every run.

A file of Jupyter (nbformat 4, https://nbformat.readthedocs.io/en/latest/format_description.html) is a JSON document;
line by line its differences are counters, metadata and images in base64. Here is what somebody has written, and what
came of it. The content is a stranger's: whatever is no such document is told by None, and compared as any file is.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, Final, cast

SUFFIX: Final = ".ipynb"
LARGEST: Final = 64 * 1024 * 1024
_MOST_CELLS: Final = 20_000
_MOST_OUTPUTS: Final = 50
_LINES: Final = 12
_WIDTH: Final = 400
# ECMA-48 §5.4 (colours and the like), then all other control characters.
_UNSEEN: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


def readable(data: bytes) -> bytes | None:
    """A notebook as text, UTF-8; nothing where there is nothing, None for what is no notebook."""
    if not data:
        return b""
    if len(data) > LARGEST:
        return None
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    cells = cast("dict[str, Any]", said).get("cells")
    if not isinstance(cells, list) or len(cast("list[Any]", cells)) > _MOST_CELLS:
        return None
    lines: list[str] = []
    for cell in cast("list[Any]", cells):
        if not isinstance(cell, dict):
            return None
        lines += _cell(cast("dict[str, Any]", cell))
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _cell(cell: dict[str, Any]) -> Iterator[str]:
    yield f"%% {_short(cell.get('cell_type', 'cell'))}"
    yield from _text(cell.get("source")).split("\n")
    attached = cell.get("attachments")
    if isinstance(attached, dict):
        for name, bundle in sorted(cast("dict[str, Any]", attached).items()):
            yield from (f"@ {_short(name)}: {line}" for line in _kinds(bundle))
    outputs = cell.get("outputs")
    if isinstance(outputs, list):
        many = cast("list[Any]", outputs)
        for output in many[:_MOST_OUTPUTS]:
            yield from (f"> {line}" for line in _output(output))
        if len(many) > _MOST_OUTPUTS:
            yield f"> … {len(many) - _MOST_OUTPUTS} more outputs"


def _output(output: Any) -> Iterator[str]:
    if not isinstance(output, dict):
        return
    said = cast("dict[str, Any]", output)
    kind = said.get("output_type")
    if kind == "stream":
        yield from _first(said.get("text"))
    elif kind == "error":
        yield f"{_short(said.get('ename', 'error'))}: {_short(said.get('evalue', ''))}"
    else:
        data = said.get("data")
        if isinstance(data, dict):
            yield from _first(cast("dict[str, Any]", data).get("text/plain"))
        yield from _kinds(data)


def _kinds(bundle: Any) -> Iterator[str]:
    """What is no text, by its kind, size and the beginning of its hash: whether it has changed can be seen."""
    if not isinstance(bundle, dict):
        return
    for kind, content in sorted(cast("dict[str, Any]", bundle).items()):
        if kind == "text/plain":
            continue
        text = content if isinstance(content, str) else _text(content) or json.dumps(content, sort_keys=True)
        data = text.encode("utf-8", "replace")
        yield f"[{_short(kind)}, {len(data)} bytes, {hashlib.sha256(data).hexdigest()[:8]}]"


def _first(content: Any) -> Iterator[str]:
    text = _text(content)
    lines = text.rstrip("\n").split("\n") if text else []
    yield from (line[:_WIDTH] + ("…" if len(line) > _WIDTH else "") for line in lines[:_LINES])
    if len(lines) > _LINES:
        rest = hashlib.sha256("\n".join(lines[_LINES:]).encode("utf-8", "replace")).hexdigest()[:8]
        yield f"… {len(lines) - _LINES} more lines, {rest}"


def _text(content: Any) -> str:
    """A text as nbformat has it: one, or a list of its lines."""
    if isinstance(content, list):
        content = "".join(part for part in cast("list[Any]", content) if isinstance(part, str))
    if not isinstance(content, str):
        return ""
    return _UNSEEN.sub("", content.replace("\r\n", "\n").replace("\r", "\n"))


def _short(content: Any) -> str:
    return _text(content).replace("\n", " ")[:_WIDTH]
