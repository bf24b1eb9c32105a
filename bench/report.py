"""One row per promise: printed as a table, written to `bench/results.json`."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """A measured value and the bound it is held to; `bound` None: printed for comparison only."""

    name: str
    value: float
    bound: str | None
    ok: bool | None
    how: str


@dataclass
class Report:
    """The rows of one run, printed as they come."""

    rows: list[Row] = field(default_factory=list)

    def at_most(self, name: str, value: float, bound: float, how: str) -> None:
        """A value that must not exceed `bound`."""
        self._add(Row(name, round(value, 3), f"<= {bound:g}", value <= bound, how))

    def at_least(self, name: str, value: float, bound: float, how: str) -> None:
        """A value that must reach `bound`."""
        self._add(Row(name, round(value, 3), f">= {bound:g}", value >= bound, how))

    def shown(self, name: str, value: float, how: str) -> None:
        """A value without a bound."""
        self._add(Row(name, round(value, 3), None, None, how))

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        mark = {True: "ok  ", False: "MISS", None: "    "}[row.ok]
        print(f"{mark} {row.name:<62} {row.value:>9.2f}  {row.bound or '':<8}  {row.how}", flush=True)

    def missed(self) -> list[Row]:
        """Rows that break their bound."""
        return [row for row in self.rows if row.ok is False]

    def write(self, path: Path) -> None:
        """All rows as JSON, one per line."""
        lines = ",\n".join(json.dumps(asdict(row), ensure_ascii=False) for row in self.rows)
        path.write_text(f"[\n{lines}\n]\n")

    def merge(self, path: Path) -> None:
        """Replace the kept rows of the same names, append the new ones: for a run of some sections."""
        kept = [Row(**row) for row in json.loads(path.read_text())] if path.exists() else []
        measured = {row.name: row for row in self.rows}
        rows = [measured.pop(row.name, row) for row in kept]
        Report([*rows, *measured.values()]).write(path)
