"""Rows for spreadsheets, none of which calculates anything."""

import csv
import io
from collections.abc import Sequence

_FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "＝",
    "＋",
    "－",
    "＠",
)  # the last four: some take wide ones, too


def csv_row(cells: Sequence[str]) -> bytes:
    """A row in which no cell is taken for a formula: what looks like one gets an apostrophe before it.

    Blanks are looked through, because some programs cut them off (OWASP, "CSV injection").
    """
    out = io.StringIO()
    csv.writer(out).writerow(
        [f"'{cell}" if cell.lstrip(" \u00a0\ufeff").startswith(_FORMULA) else cell for cell in cells]
    )
    return out.getvalue().encode()
