"""All that receipts and files tell of runs, read for several of them at once: no run takes round trips of its own."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from builderos.assets.artifacts import service as artifacts
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger

from .effects_model import run_effects
from .events import run_events
from .model import runs, steps
from .records_model import receipts, step_records
from .rows import Row

_BEGAN: Final = "run.started"
_ENDED: Final = "run.ended"


@dataclass(frozen=True, slots=True)
class Whole:
    """A run with everything that was written about it. `records`: of each step the last one, by its id; `artifacts`
    in the order in which they were kept; `began` and `ended`: its lines in the ledger.
    """

    run: Row
    steps: Sequence[Row]
    events: Sequence[Row]
    records: dict[str, Row]
    effects: Sequence[Row]
    artifacts: "Sequence[artifacts.Artifact]"
    began: dict[str, Any] | None
    ended: dict[str, Any] | None
    receipt: Row | None


def whole(unit: Unit, run_ids: Sequence[str]) -> list[Whole]:
    """Those of these runs that there are, in this order."""
    ids = list(run_ids)
    own: dict[str, Any] = {"org_id": unit.org_id, "run_id": ids}
    found = unit.rows_all(
        (runs, {"id": ids}, ""), (steps, {"run_id": ids}, "position"), (run_events, own, "seq"),
        (step_records, own, "attempt"), (run_effects, own, "claimed_at, key"), (receipts, own, ""),
    )  # fmt: skip
    rows = {row.id: row for row in found[0]}
    stepped, told, recorded, did, receipted = (_by_run(part) for part in found[1:])
    kept = artifacts.reading.of_runs(unit, ids)
    lines = ledger.first_lines(unit, ids, [_BEGAN, _ENDED])
    return [
        Whole(
            rows[id_], stepped[id_], told[id_], {row.step_id: row for row in recorded[id_]}, did[id_], kept[id_],
            lines.get((id_, _BEGAN)), lines.get((id_, _ENDED)), next(iter(receipted[id_]), None),
        )
        for id_ in ids if id_ in rows
    ]  # fmt: skip


def _by_run(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.run_id].append(row)
    return found
