"""Experiments themselves: made, found, renamed, put away and got back."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.ids import new_id
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger

from .grammar import EXPERIMENT, Clause, invalid, read_filter, read_order
from .limits import check_name, check_tags
from .model import experiments
from .operators import OPERATORS
from .reach import DEFAULT, experiment, no_experiment, require

Row = sa.Row[Any]
MAX_TAGS: Final = 1000


def create(
    unit: Unit, name: str, *, tags: Mapping[str, str] | None = None, project_id: str | None = None
) -> Row:
    """A new experiment. Raises `conflict` for a name that is taken, also by a deleted one."""
    check_name(name, "name", 500)
    given = dict(tags or {})
    check_tags(given)
    rules = require(unit, "experiment.write", project_id)
    id_ = new_id("exp")
    made = (
        insert(experiments)
        .values(
            id=id_, org_id=unit.org_id, name=name, project_id=project_id, tags=given, active=True,
            created_by=unit.actor.id, created_at=unit.now, updated_at=unit.now,
        )
        .on_conflict_do_nothing()
        .returning(experiments)
    )  # fmt: skip
    row = unit.execute(made).one_or_none()
    if row is None:
        raise Problem(
            "conflict", f"Experiment(name={name}) already exists.",
            hint="Use it, restore it where it was deleted, or take another name.", what="experiment",
        )  # fmt: skip
    ledger.record(unit, "experiment.created", id_, {"name": name, "project_id": project_id}, rules=rules)
    return row


def show(unit: Unit, id_: str) -> Row:
    """An experiment, a deleted one, too. `0` is the one that is called Default. Raises `not_found`."""
    row, _ = experiment(unit, id_, "experiment.read", gone=True)
    return row


def by_name(unit: Unit, name: str) -> Row:
    """The experiment of a name. Raises `not_found`."""
    row = unit.execute(sa.select(experiments).where(experiments.c.name == name)).one_or_none()
    require(unit, "experiment.read", row.project_id if row is not None else None)
    if row is None:
        raise Problem(
            "not_found", f"Could not find experiment with name '{name[:500]}'", hint="List the experiments.",
            what="experiment",
        )  # fmt: skip
    return row


def for_runs(unit: Unit, id_: str) -> Row:
    """The experiment that a run is begun in; `Default` is made for the first who wants it. Raises `not_found`."""
    if id_ == "0":
        found = unit.execute(
            sa.select(experiments.c.id).where(experiments.c.name == DEFAULT)
        ).scalar_one_or_none()
        if found is None:
            return create(unit, DEFAULT)
    row, _ = experiment(unit, id_, "experiment.write")
    return row


def rename(unit: Unit, id_: str, name: str) -> Row:
    """Another name. Raises `conflict`, `not_found`."""
    check_name(name, "new_name", 500)
    row, rules = experiment(unit, id_, "experiment.write", lock=True)
    taken = unit.execute(
        sa.select(experiments.c.id).where(experiments.c.name == name, experiments.c.id != row.id)
    )
    if taken.one_or_none() is not None:
        raise Problem(
            "conflict", f"Experiment(name={name}) already exists.", hint="Take another name.", what="experiment"
        )  # fmt: skip
    found = _changed(unit, row.id, name=name)
    ledger.record(unit, "experiment.renamed", row.id, {"from": row.name, "to": name}, rules=rules)
    return found


def delete(unit: Unit, id_: str) -> Row:
    """Put it away with all its runs; `restore` gets it back. Raises `not_found`."""
    row, rules = experiment(unit, id_, "experiment.write", lock=True)
    found = _changed(unit, row.id, active=False)
    ledger.record(unit, "experiment.deleted", row.id, {"name": row.name}, rules=rules)
    return found


def restore(unit: Unit, id_: str) -> Row:
    """Get it back. Raises `not_found`."""
    row, rules = experiment(unit, id_, "experiment.write", gone=True, lock=True)
    if row.active:
        raise no_experiment(f"{id_} among the deleted ones")
    found = _changed(unit, row.id, active=True)
    ledger.record(unit, "experiment.restored", row.id, {"name": row.name}, rules=rules)
    return found


def set_tag(unit: Unit, id_: str, key: str, value: str | None) -> Row:
    """Set a tag; None takes it away. Raises `not_found`."""
    check_tags({key: value or ""})
    row, rules = experiment(unit, id_, "experiment.write", lock=True)
    held: dict[str, str] = dict(row.tags)
    if value is None:
        if held.pop(key, None) is None:
            raise Problem("not_found", f"No tag with name: {key[:100]}", hint="Look at its tags.", what="tag")
    else:
        held[key] = value
    if len(held) > MAX_TAGS:
        raise Problem("quota_exceeded", f"an experiment may have {MAX_TAGS} tags", hint="Take some away.")
    found = _changed(unit, row.id, tags=held)
    ledger.record(unit, "experiment.tagged", row.id, {"key": key}, rules=rules)
    return found


def _changed(unit: Unit, id_: str, **values: Any) -> Row:
    change = sa.update(experiments).where(experiments.c.id == id_).values(updated_at=unit.now, **values)
    return unit.execute(change.returning(experiments)).one()


def those(unit: Unit, ids: Sequence[str]) -> Sequence[Row]:
    """The experiments among these ids that the actor may read, deleted ones not. `0` is Default."""
    c = experiments.c
    wanted = sa.select(experiments).where(
        sa.or_(c.id.in_(ids), c.name == DEFAULT if "0" in ids else sa.false())
    )
    rows = unit.execute(wanted.where(c.active)).all()
    for project_id in {row.project_id for row in rows} or {None}:
        require(unit, "experiment.read", project_id)
    return rows


def search(
    unit: Unit, *, filter_: str = "", order_by: Sequence[str] = (),
    view: Literal["active", "deleted", "all"] = "active", limit: int = 1000, token: str | None = None,
) -> tuple[list[Row], str | None]:  # fmt: skip
    """Experiments that match, by default the newest first, and where the next page goes on."""
    require(unit, "experiment.read")
    c = experiments.c
    clauses, orders = read_filter(filter_, EXPERIMENT), read_order(order_by, EXPERIMENT)
    wanted = sa.select(experiments).where(*[_condition(clause) for clause in clauses])
    if view != "all":
        wanted = wanted.where(c.active == (view == "active"))
    for order in orders:
        if order.entity != "attribute":
            raise invalid(f"Invalid order_by clause: experiments are not ordered by {order.entity}s")
        column = _COLUMNS[order.key]
        wanted = wanted.order_by(column.desc() if order.descending else column.asc())
    key = list_key("experiments", filter=filter_, order=tuple(order_by), view=view)
    last = decode_cursor(key, token)
    skipped = int(last[0]) if last is not None else 0
    page = wanted.order_by(c.created_at.desc(), c.id.desc()).offset(skipped).limit(limit + 1)
    rows = list(unit.execute(page))
    return rows[:limit], encode_cursor(key, [skipped + limit]) if len(rows) > limit else None


def _condition(clause: Clause) -> sa.ColumnElement[bool]:
    if clause.entity == "attribute":
        column = _COLUMNS[clause.key]
        if clause.key.endswith("_time"):
            column = sa.cast(sa.extract("epoch", column) * 1000, sa.BigInteger)
        return OPERATORS[clause.operator](column, clause.value)
    if clause.entity != "tag":
        raise invalid(
            f"Invalid entity type '{clause.entity}': experiments are searched by attributes and tags"
        )
    value = experiments.c.tags[clause.key].astext
    if clause.operator.startswith("IS"):
        return value.is_(None) if clause.operator == "IS NULL" else value.is_not(None)
    return OPERATORS[clause.operator](value, clause.value)


_COLUMNS: Final[dict[str, sa.ColumnElement[Any]]] = {
    "experiment_id": experiments.c.id, "name": experiments.c.name, "creation_time": experiments.c.created_at,
    "last_update_time": experiments.c.updated_at,
}  # fmt: skip
