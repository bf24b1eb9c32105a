"""What the form of a table says of it: columns and rows of CSV and of JSON lines."""

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

FORMS: Final = (".csv", ".tsv", ".jsonl", ".parquet")
MOST: Final = 32 * 1024 * 1024
"""Bytes of a table that are looked at; of a larger one columns and rows are not told."""
_SAMPLE: Final = 200
_COLUMNS: Final = 2000
_CELL: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Profile:
    """Columns (name → number or text) and rows."""

    columns: list[dict[str, str]]
    rows: int


def is_table(path: str) -> bool:
    """Whether a file's name says that it is a table."""
    return path.lower().endswith(FORMS)


def profile(path: str, size: int, chunks: Iterable[bytes]) -> Profile | None:
    """Look at a table. None where its form does not say what its columns are, or it is not what its name says."""
    form = path.lower().rpartition(".")[2]
    if size > MOST or form not in ("csv", "tsv", "jsonl"):
        return None
    try:
        text = b"".join(chunks).decode("utf-8-sig")
        rows = _records(text) if form == "jsonl" else _lines(text, "\t" if form == "tsv" else ",")
        first = next(rows, None)
        if first is None or not 0 < len(first) <= _COLUMNS:
            return None
        sample = list(itertools.islice(rows, _SAMPLE))
        count = len(sample) + sum(1 for _ in rows)
    except (ValueError, csv.Error, RecursionError):
        return None
    names = list(first)
    columns = [{"name": name[:500], "type": _type([row[name] for row in sample if row.get(name) not in (None, "")])}
               for name in names]  # fmt: skip
    return Profile(columns, count)


def _lines(text: str, separator: str) -> Iterator[dict[str, Any]]:
    """First the names of the columns, then each row. Raises `ValueError` where two columns have one name."""
    csv.field_size_limit(_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    names: list[str] = next(reader, list[str]())
    if len(set(names)) != len(names):
        raise ValueError("two columns have one name")
    yield dict.fromkeys(names)
    for row in reader:
        if row:
            yield dict(zip(names, row, strict=False))


def _records(text: str) -> Iterator[dict[str, Any]]:
    first = True
    for line in text.splitlines():
        if not line.strip():
            continue
        row: Any = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError("a line is no object")
        said = cast("dict[str, Any]", row)
        if first:
            yield dict.fromkeys(said)
            first = False
        yield said


def _type(values: list[Any]) -> str:
    return "number" if values and all(_is_number(value) for value in values) else "text"


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True
