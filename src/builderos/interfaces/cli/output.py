"""Text for people: tables, facts, and nothing that a terminal would obey."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_CONTROLS: Final = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"
}
_LONGEST: Final = 72


def plain(text: str) -> str:
    """The text with control characters made visible: what others wrote must not steer the terminal."""
    return text.translate(_CONTROLS)


def word(value: Any) -> str:
    """One value in one line."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        items: Mapping[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return ", ".join(f"{name}={word(item)}" for name, item in items.items())
    if isinstance(value, list):
        parts: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        return ", ".join(map(word, parts)) or "-"
    return " ".join(str(value).split())


def short(value: Any) -> str:
    """One value, cut to a cell of a table."""
    text = word(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def pick(row: Mapping[str, Any], path: str) -> Any:
    """A member of a row; `a.b` looks inside `a`."""
    value: Any = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return value  # pyright: ignore[reportUnknownVariableType]


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[tuple[str, str]]) -> str:
    """Rows under headings, each column as wide as it must be; `columns` are (member, heading)."""
    cells = [
        [heading for _, heading in columns],
        *([short(pick(row, name)) for name, _ in columns] for row in rows),
    ]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )
    return "\n".join(lines)


def facts(reply: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    """`name  value` lines of the members that are present and not empty."""
    found = [(key.rpartition(".")[2].replace("_", " "), pick(reply, key)) for key in keys]
    shown = [(name, value) for name, value in found if value not in (None, "", [], {})]
    width = max((len(name) for name, _ in shown), default=0)
    return [f"  {name:<{width}}  {word(value)}" for name, value in shown]
