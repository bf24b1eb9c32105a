"""Scores a table in chunks: the program of a batch job, started as `python3 -m scoring.batch FOLDER`.

`spec.json` in the folder says what is to be done. Each chunk becomes a file in `out/`, which appears there whole; then
`done.json` says how many there are, and the program waits until somebody has taken them. What keeps it from going on is
in `fault.json`, with row and column where they are known.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import csv
import io
import json
import re
import sys
import time
import warnings
from pathlib import Path
from typing import Any, Final

from .answering import Misfit, Scorer, finite
from .loading import Unfit, load
from .tables import Fault, Table

_ROW: Final = re.compile(r"\brow (\d+)\b")
_WAIT_S: Final = 300.0
ROW: Final = "row"
ANSWER: Final = "prediction"


class Batch:
    """One job."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._spec: dict[str, Any] = json.loads((folder / "spec.json").read_text())
        self._size: int = self._spec["chunk_rows"]
        self._csv = self._spec["format"] == "csv"

    def run(self) -> None:
        """Every chunk that is not there yet. Raises `Fault`."""
        spec = self._spec
        try:
            model = load(self._folder / "model")
        except Exception as error:  # noqa: BLE001 - whatever keeps it from being loaded is told
            why = str(error) if isinstance(error, Unfit) else f"{type(error).__name__}: {error}"
            raise Fault(f"the model cannot be loaded: {why}") from None
        scorer = Scorer(model, spec["name"], spec["version"])
        table = Table(self._folder / "data" / spec["file"], model.columns, spec["columns"], spec["carry"])
        number, rows = 0, 0
        for names, some, carried in table.chunks(self._size):
            number += 1
            if number > spec["skip"]:
                answers = self._scored(scorer, names, some, rows)
                self._write(number, rows, carried, answers)
            rows += len(some)
        if not rows:
            raise Fault("the table has no rows")
        _whole(self._folder / "done.json", json.dumps({"chunks": number, "rows": rows}))

    def _scored(self, scorer: Scorer, names: list[str], rows: list[list[Any]], before: int) -> list[Any]:
        try:
            answers = scorer.score(names, rows)
        except Misfit as misfit:
            row = next((int(found[1]) for where in misfit.where if (found := _ROW.fullmatch(where))), None)
            column = next((where for where in misfit.where if where in names), None)
            why = _ROW.sub(lambda found: f"row {before + int(found[1]) + 1}", str(misfit))
            raise Fault(why, row=None if row is None else before + row + 1, column=column) from None
        except Exception as error:  # noqa: BLE001 - the model's own code: whatever it raises is told
            place = f"rows {before + 1} to {before + len(rows)}"
            raise Fault(
                f"the model failed on {place}: {type(error).__name__}: {error}", row=before + 1
            ) from None
        if not isinstance(answers, list) or len(answers) != len(rows):
            given = len(answers) if isinstance(answers, list) else 1
            raise Fault(f"the model gave {given} answers to {len(rows)} rows", row=before + 1)
        return answers

    def _write(self, number: int, before: int, carried: list[dict[str, Any]], answers: list[Any]) -> None:
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        if self._csv and number == 1:
            lines.writerow([ROW, *self._spec["carry"], ANSWER])
        for at, (kept, answer) in enumerate(zip(carried, answers, strict=True), before + 1):
            said = finite(answer)
            if self._csv:
                plain = json.dumps(said, default=_plain) if isinstance(said, dict | list) else said
                lines.writerow([at, *kept.values(), plain])
            else:
                text.write(json.dumps({ROW: at, **finite(kept), ANSWER: said}, default=_plain) + "\n")
        _whole(self._folder / "out" / f"{number:06d}", text.getvalue())


def _plain(value: Any) -> Any:
    """What JSON does not know: numbers of numpy as numbers, all else as text."""
    return value.item() if hasattr(value, "item") else str(value)


def _whole(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all."""
    part = path.with_name(f".{path.name}")
    part.write_text(text, encoding="utf-8")
    part.rename(path)


def main() -> int:
    """0 once all was taken, 4 where the table or the model does not allow it."""
    warnings.filterwarnings("ignore")
    folder = Path(sys.argv[1])
    (folder / "out").mkdir(exist_ok=True)
    try:
        Batch(folder).run()
    except Fault as fault:
        where = "".join(
            [f"row {fault.row}, " if fault.row else "", f"column {fault.column}: " if fault.column else ""]
        )
        sys.stdout.write(f"{where}{fault}\n")
        _whole(
            folder / "fault.json",
            json.dumps({"row": fault.row, "column": fault.column, "message": str(fault)[:2000]}),
        )
        return 4
    until = time.monotonic() + _WAIT_S
    while not (folder / "taken").exists() and time.monotonic() < until:
        time.sleep(0.02)
    return 0


if __name__ == "__main__":
    sys.exit(main())
