"""Runs of experiments: begun, ended, shown, put away and got back."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import sqlalchemy as sa

from builderos.assets.workspaces import service as workspaces
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.audit import service as audit
from builderos.trust.ledger import service as ledger

from .keeping import for_runs
from .limits import MAX_INT, check_name, check_tags, invalid
from .logging import NAME, gone
from .model import latest, metrics, params, runs, tags
from .reach import milliseconds, no_run, require, spot

Row = sa.Row[Any]
ENDED: Final = ("finished", "failed", "killed")
MAX_POINTS: Final = 25_000
MAX_SAMPLED: Final = 100
MAX_SAMPLE: Final = 2500
MAX_NAME: Final = 500
PARTS: Final = ("metrics", "params", "tags", "inputs", "models")


@dataclass(frozen=True, slots=True)
class Submitted:
    """What a run of our own is bound to; one that is logged from outside has none of it."""

    params: Mapping[str, Any]
    dataset_ref: str
    code_sha: str
    runtime: str
    run_id: str | None = None
    step: str | None = None
    sweep: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Shown:
    """A run with all that is told of it at once, as the JSON that is told: lists, empty where there is nothing.

    `metrics`: the latest point of each series (key, value, timestamp, step); `params` and `tags`: key and value;
    `inputs`: dataset and tags; `input`, `output`: models that it used and made.
    """

    row: Row
    parts: dict[str, str] = field(default_factory=dict[str, str])

    def listed(self, part: str) -> list[dict[str, Any]]:
        """One of them, read."""
        text = self.parts.get(part)
        return [] if text is None else orjson.loads(text)

    def pairs(self, part: str) -> dict[str, Any]:
        """Keys and values of one of them."""
        return {one["key"]: one["value"] for one in self.listed(part)}


def parts_of(name: str, values: Mapping[str, str]) -> dict[str, str]:
    """A part that was just logged."""
    listed = [{"key": key, "value": value} for key, value in sorted(values.items())]
    return {name: orjson.dumps(listed).decode()} if listed else {}


def start(
    unit: Unit, experiment_id: str, *, name: str | None = None, started_at: int | None = None,
    given: Mapping[str, str] | None = None, user_name: str = "", submitted: Submitted | None = None,
    id_: str | None = None,
) -> Shown:  # fmt: skip
    """Begin a run; one that was submitted is scheduled. Without a name it gets one.

    Raises `not_found`, `validation_failed`.
    """
    marks = dict(given or {})
    check_tags(marks)
    chosen = name or marks.get(NAME) or f"{workspaces.draw_name(0)}-{secrets.randbelow(900) + 100}"
    check_name(chosen, "run_name", MAX_NAME)
    if name and marks.get(NAME, name) != name:
        raise invalid(f"Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values "
                      f"(run_name='{name}', mlflow.runName='{marks[NAME][:200]}').")  # fmt: skip
    begun = started_at if started_at is not None else milliseconds(unit)
    if not -MAX_INT <= begun <= MAX_INT:
        raise invalid("start_time must fit into 64 bits")
    experiment = for_runs(unit, experiment_id)
    rules = require(unit, "experiment.write", experiment.project_id)
    id_, marks = id_ or new_id("xrn"), marks | {NAME: chosen}
    extra = {} if submitted is None else {
        "params": dict(submitted.params), "dataset_ref": submitted.dataset_ref, "code_sha": submitted.code_sha,
        "runtime": submitted.runtime, "run_id": submitted.run_id, "step": submitted.step, "status": "scheduled",
        "sweep": submitted.sweep,
    }  # fmt: skip
    values: dict[str, Any] = {
        "id": id_, "org_id": unit.org_id, "experiment_id": experiment.id, "name": chosen, "status": "running",
        "external": submitted is None, "params": {}, "user_name": user_name[:500] or unit.actor.name,
        "started_at": begun, "active": True, "created_by": unit.actor.id, "created_at": unit.now, **extra,
    }  # fmt: skip
    row = unit.execute(sa.insert(runs).values(**values).returning(runs)).one()
    unit.send("ops.log_tags", id_, experiment.id, begun, list(marks), list(marks.values()))
    told = {"experiment_id": experiment.id, "name": chosen, "external": submitted is None}
    ledger.record(unit, "experiment_run.started", id_, told, rules=rules)
    return Shown(row, parts_of("tags", marks))


def update(
    unit: Unit,
    run_id: str,
    *,
    status: str | None = None,
    ended_at: int | None = None,
    name: str | None = None,
) -> Row:
    """Say how it stands. A run that is ended twice has the later end; one that goes on again has none.

    Its clock may say that it ended before it began: that is kept as it was said. Raises `not_found`.
    """
    found = spot(unit, run_id, "experiment.write")
    if not found.active:
        raise gone(run_id)
    before = unit.execute(sa.select(runs).where(runs.c.id == run_id).with_for_update()).one()
    if status is not None and before.run_id is not None and before.status in ("scheduled", "running"):
        raise Problem(
            "illegal_transition", "this run is carried out here, and ends with its command", hint="Cancel it.",
            allowed=["cancel"],
        )  # fmt: skip
    changes: dict[str, Any] = {}
    if status is not None:
        changes["status"] = status
        ended = status in ENDED
        changes["ended_at"] = (ended_at if ended_at is not None else milliseconds(unit)) if ended else None
    elif ended_at is not None:
        changes["ended_at"] = ended_at
    if name:
        check_name(name, "run_name", MAX_NAME)
        changes["name"] = name
        unit.send("ops.log_tags", run_id, found.experiment_id, found.started_at, [NAME], [name])
    if not changes:
        return before
    row = unit.execute(sa.update(runs).where(runs.c.id == run_id).values(**changes).returning(runs)).one()
    told = {"status": row.status, **({"name": name} if name else {})}
    if row.status in ENDED and status is not None:
        ledger.record(unit, "experiment_run.ended", run_id, told | counts_of(unit, run_id))
    else:
        ledger.record(unit, "experiment_run.changed", run_id, told)
    return row


def counts_of(unit: Unit, run_id: str) -> dict[str, Any]:
    """How much was logged: what stands in the ledger for all of it."""
    series = sa.select(sa.func.count()).select_from(latest).where(latest.c.run_id == run_id).scalar_subquery()
    given = sa.select(sa.func.count()).select_from(params).where(params.c.run_id == run_id).scalar_subquery()
    found = unit.execute(sa.select(series.label("metrics"), given.label("params"))).one()
    return {"metrics": found.metrics, "params": found.params}


def show(unit: Unit, run_id: str) -> Shown:
    """A run, a deleted one, too. Raises `not_found`."""
    spot(unit, run_id, "experiment.read")
    row = unit.execute(sa.select(runs).where(runs.c.id == run_id)).one()
    audit.access.note(unit, "experiment_run.show", run_id)
    return gathered(unit, [row])[0]


def gathered(unit: Unit, rows: Sequence[Row], *, what: Sequence[str] = PARTS) -> list[Shown]:
    """Runs with what was logged to them; `what` names the parts that are wanted."""
    found = {row.id: Shown(row) for row in rows}
    if found:
        for run_id, part, data in unit.ask("ops.experiment_run_data", list(found), list(what)):
            found[run_id].parts[part] = data
    return list(found.values())


def remove(unit: Unit, run_id: str) -> None:
    """Put it away; `restore` gets it back. Raises `not_found`."""
    _turn(unit, run_id, active=False)


def restore(unit: Unit, run_id: str) -> None:
    """Get it back. Raises `not_found`."""
    _turn(unit, run_id, active=True)


def _turn(unit: Unit, run_id: str, *, active: bool) -> None:
    found = spot(unit, run_id, "experiment.write")
    if found.active == active:
        return
    values = {"active": active, "deleted_at": None if active else unit.now}
    unit.execute(sa.update(runs).where(runs.c.id == run_id).values(**values))
    ledger.record(unit, f"experiment_run.{'restored' if active else 'deleted'}", run_id, {})


def drop_tag(unit: Unit, run_id: str, key: str) -> None:
    """Take a tag away. Raises `not_found` where there is none."""
    found = spot(unit, run_id, "experiment.write")
    if not found.active:
        raise gone(run_id)
    c = tags.c
    if not unit.execute(sa.delete(tags).where(c.run_id == run_id, c.key == key)).rowcount:
        raise Problem(
            "not_found", f"No tag with name: {key[:100]} in run with id {run_id}", hint="Look at its tags.",
            what="tag",
        )  # fmt: skip
    ledger.record(unit, "experiment_run.untagged", run_id, {"key": key})


def history(
    unit: Unit, run_id: str, key: str, *, limit: int = MAX_POINTS, after: Sequence[Any] | None = None
) -> list[Row]:
    """Points of a series in the order of (at, step, value), at most `limit`, those behind `after`.

    Raises `not_found`.
    """
    spot(unit, run_id, "experiment.read")
    c = metrics.c
    order = (c.at, c.step, c.value)
    wanted = sa.select(metrics).where(c.run_id == run_id, c.key == key).order_by(*order).limit(limit)
    if after is not None:
        wanted = wanted.where(
            sa.tuple_(*order) > sa.tuple_(*(sa.literal(v, c.type) for v, c in zip(after, order, strict=True)))
        )
    return list(unit.execute(wanted).all())


def sampled(
    unit: Unit, ids: Sequence[str], key: str, *, limit: int, between: tuple[int, int] | None = None
) -> list[Row]:
    """A series of several runs: of each at most `limit` points in the order of their steps, evenly picked, the first
    and the last among them; `between`: of these steps alone. Raises `not_found`.
    """
    wanted = list(dict.fromkeys(ids))
    for id_ in wanted:
        spot(unit, id_, "experiment.read")
    c = metrics.c
    number = sa.func.row_number().over(partition_by=c.run_id, order_by=(c.step, c.at, c.value))
    points = sa.select(
        metrics, (number - 1).label("number"), (sa.func.count().over(partition_by=c.run_id) - 1).label("last")
    ).where(c.run_id.in_(wanted), c.key == key)
    if between is not None:
        points = points.where(c.step.between(*between))
    n = points.subquery("n").c
    apart = sa.func.greatest(
        n.last, 1
    )  # one of them is left wherever the share of the points grows by a whole
    grows = n.number * (limit - 1) // apart > (n.number - 1) * (limit - 1) // apart
    kept = [n.last < limit, n.number == n.last, *([n.number == 0, grows] if limit > 1 else [])]
    return list(
        unit.execute(
            sa.select(n.run_id, n.key, n.value, n.at, n.step)
            .where(sa.or_(*kept))
            .order_by(n.run_id, n.number)
        )
    )


def known(unit: Unit, run_id: str) -> Row:
    """The row of a run, for other modules that have asked the policy. Raises `not_found`."""
    row = unit.execute(sa.select(runs).where(runs.c.id == run_id)).one_or_none()
    if row is None:
        raise no_run(run_id)
    return row
