"""Reads a table in chunks, each cell held against what the model says of its columns."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# What tables bring has no types.

import csv
import importlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

Columns = Sequence[tuple[str, str, bool]]
_BOOLEANS: Final = {"true": True, "false": False, "1": True, "0": False}
_LONGEST: Final = 16 * 1024 * 1024


class Fault(Exception):
    """A table that cannot be scored. `row` counts from 1, without the header; `column` by name."""

    def __init__(self, why: str, *, row: int | None = None, column: str | None = None) -> None:
        super().__init__(why)
        self.row = row
        self.column = column


class Table:
    """One file. `columns`: what the model says of its columns; `wanted`: the columns that it is given where it says
    nothing, all but `carried` where nobody names them.
    """

    def __init__(self, path: Path, columns: Columns, wanted: Sequence[str], carried: Sequence[str]) -> None:
        self._path = path
        self._columns = {name: (kind, required) for name, kind, required in columns}
        self._wanted = list(wanted or self._columns)
        self._carried = list(carried)

    def chunks(self, size: int) -> Iterator[tuple[list[str], list[list[Any]], list[dict[str, Any]]]]:
        """Names, rows as the model takes them, and what is carried along, `size` rows at a time. Raises `Fault`."""
        rows = enumerate(self._rows(size), 1)
        while some := list(itertools.islice(rows, size)):
            names = self._wanted or [name for name in some[0][1] if name not in self._carried]
            taken = [[self._cell(number, row, name) for name in names] for number, row in some]
            yield names, taken, [{name: row.get(name) for name in self._carried} for _, row in some]

    def _rows(self, size: int) -> Iterator[dict[str, Any]]:
        form = self._path.suffix.lower()
        if form == ".parquet":
            return self._parquet(size)
        return self._jsonl() if form in (".jsonl", ".ndjson") else self._csv("\t" if form == ".tsv" else ",")

    def _csv(self, between: str) -> Iterator[dict[str, Any]]:
        csv.field_size_limit(_LONGEST)
        with self._path.open(encoding="utf-8-sig", newline="") as file:
            try:
                yield from self._lines(csv.reader(file, delimiter=between))
            except (csv.Error, UnicodeDecodeError) as error:
                raise Fault(f"the file is no table of UTF-8: {error}") from None

    def _lines(self, lines: Iterator[list[str]]) -> Iterator[dict[str, Any]]:
        names = next(lines, [])
        self._has(names)
        for number, line in enumerate((line for line in lines if line), 1):
            if len(line) != len(names):
                raise Fault(f"it has {len(line)} values; the header names {len(names)}", row=number)
            yield self._read(number, dict(zip(names, line, strict=True)))

    def _jsonl(self) -> Iterator[dict[str, Any]]:
        number = 0
        with self._path.open("rb") as file:
            for line in file:
                if not line.strip():
                    continue
                number += 1
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise Fault(f"the line is no JSON: {error}", row=number) from None
                if not isinstance(row, dict):
                    raise Fault("the line has to be an object: column to value", row=number)
                yield row

    def _parquet(self, size: int) -> Iterator[dict[str, Any]]:
        try:
            parquet = importlib.import_module("pyarrow.parquet")
        except ImportError:
            raise Fault(
                "the runtime does not bring pyarrow, which reads Parquet: take one that does, or CSV"
            ) from None
        try:
            file = parquet.ParquetFile(self._path)
            self._has(file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=size):
                yield from batch.to_pylist()
        except (ValueError, OSError) as error:
            raise Fault(f"the file is no Parquet: {error}") from None

    def _has(self, names: Iterable[str]) -> None:
        """What the header has to name."""
        there = set(names)
        needed = [name for name in self._wanted if self._columns.get(name, ("", True))[1]]
        for name in [*needed, *self._carried]:
            if name not in there:
                raise Fault(f"the table has no column {name}", column=name)

    def _read(self, number: int, row: dict[str, Any]) -> dict[str, Any]:
        """Texts of a CSV as the types that the model says its columns have; numbers where it says nothing."""
        for name in self._wanted or [name for name in row if name not in self._carried]:
            if name in row:
                kind, required = self._columns.get(name, ("", True))
                row[name] = _typed(row[name], kind, required=required, row=number, column=name)
        return row

    def _cell(self, number: int, row: dict[str, Any], name: str) -> Any:
        if name not in row:
            if self._columns.get(name, ("", True))[1]:
                raise Fault(f"the row has no {name}", row=number, column=name)
            return None
        return row[name]


def _typed(text: str, kind: str, *, required: bool, row: int, column: str) -> Any:
    if not kind:
        return _number(text)
    if kind in ("string", "datetime", "binary"):
        return text
    if not text.strip() and not required:
        return None
    try:
        return _PARSED[kind](text.strip()) if kind in _PARSED else text
    except (ValueError, KeyError, OverflowError):
        said = {"boolean": "true or false", "long": "a whole number", "integer": "a whole number"}.get(
            kind, "a number"
        )
        shown = json.dumps(text[:60])
        raise Fault(f"{column} has to be {said} ({kind}); it is {shown}", row=row, column=column) from None


def _number(text: str) -> Any:
    """A number where it reads like one, else the text."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        found = float(text)
    if not math.isfinite(found) or not found.is_integer():
        raise ValueError(text)
    return int(found)


_PARSED: Final[dict[str, Callable[[str], Any]]] = {
    "double": float, "float": float, "long": _whole, "integer": _whole, "boolean": lambda text: _BOOLEANS[text.lower()],
}  # fmt: skip
