"""Logged models and inputs: what runs made and what they read, as their clients describe it."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.audit import service as audit
from builderos.trust.ledger import service as ledger
from builderos.workloads.lineage import service as lineage

from .grammar import Clause, invalid, read_filter
from .limits import MAX_PARAM, check_name, check_tags, check_texts
from .logging import Point, gone
from .model import inputs, logged_models, run_models, runs
from .operators import OPERATORS
from .reach import Act, Spot, experiment, require, spot

Row = sa.Row[Any]
MAX_INPUTS: Final = 1000
MAX_MEASURED: Final = 10_000
MAX_DOCUMENT: Final = 1_000_000
STATUSES: Final = frozenset({"pending", "ready", "failed"})
ATTRIBUTES: Final = {
    name: name
    for name in (
        "name", "model_id", "model_type", "status", "source_run_id", "creation_timestamp", "last_updated_timestamp",
    )
}  # fmt: skip
_COLUMNS: Final[dict[str, sa.ColumnElement[Any]]] = {
    "name": logged_models.c.name, "model_id": logged_models.c.id, "model_type": logged_models.c.type,
    "status": logged_models.c.status, "source_run_id": logged_models.c.run_id,
    "creation_timestamp": sa.cast(sa.extract("epoch", logged_models.c.created_at) * 1000, sa.BigInteger),
    "last_updated_timestamp": sa.cast(sa.extract("epoch", logged_models.c.updated_at) * 1000, sa.BigInteger),
}  # fmt: skip


def create(
    unit: Unit, experiment_id: str, name: str, *, type_: str | None = None, run_id: str | None = None,
    params: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None,
) -> Row:  # fmt: skip
    """Begin a model; its files follow, then `finish` says that it is whole. Raises `not_found`."""
    check_name(name, "name", 500)
    check_texts(params or {}, "param", MAX_PARAM)
    check_tags(tags or {})
    if run_id is not None:
        found = spot(unit, run_id, "experiment.write")
        experiment_id = found.experiment_id
    home, rules = experiment(unit, experiment_id, "experiment.write")
    values: dict[str, Any] = {
        "id": f"m-{secrets.token_hex(16)}", "org_id": unit.org_id, "experiment_id": home.id, "run_id": run_id,
        "name": name, "type": type_, "status": "pending", "params": dict(params or {}), "tags": dict(tags or {}),
        "metrics": [], "active": True, "created_by": unit.actor.id, "created_at": unit.now, "updated_at": unit.now,
    }  # fmt: skip
    row = unit.execute(sa.insert(logged_models).values(**values).returning(logged_models)).one()
    told = {"experiment_id": home.id, "run_id": run_id, "name": name}
    ledger.record(unit, "logged_model.created", row.id, told, rules=rules)
    return row


def find(unit: Unit, id_: str, act: Act, *, deleted: bool = False, lock: bool = False) -> Row:
    """A model that the actor may act on. Raises `not_found`."""
    wanted = sa.select(logged_models).where(logged_models.c.id == id_)
    row = unit.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None or not (row.active or deleted):
        require(unit, act)
        raise Problem(
            "not_found", f"Logged model with ID '{id_[:100]}' not found.", hint="Search the models.", what="model"
        )  # fmt: skip
    experiment(unit, row.experiment_id, act, gone=act == "experiment.read")
    return row


def show(unit: Unit, id_: str, *, deleted: bool = False) -> Row:
    """A model. Raises `not_found`."""
    row = find(unit, id_, "experiment.read", deleted=deleted)
    audit.access.note(unit, "logged_model.show", row.id)
    return row


def finish(unit: Unit, id_: str, status: str) -> Row:
    """Say that it is whole, or that it failed. Raises `not_found`, `validation_failed`."""
    if status not in STATUSES:
        raise invalid(f"Invalid model status {status[:50]!r}")
    row = find(unit, id_, "experiment.write", lock=True)
    found = _changed(unit, id_, status=status)
    if row.run_id is not None and status == "ready":
        _made(unit, row.run_id, row)
    ledger.record(unit, "logged_model.finished", id_, {"status": status})
    return found


def _made(unit: Unit, run_id: str, row: Row) -> None:
    name = unit.execute(sa.select(runs.c.name).where(runs.c.id == run_id)).scalar_one_or_none()
    if name is not None:
        source = lineage.Node("experiment_run", run_id, name)
        lineage.record(unit, source, lineage.Node("model", row.id, row.name), "made")


def set_tags(unit: Unit, id_: str, tags: Mapping[str, str]) -> Row:
    """Set tags. Raises `not_found`."""
    check_tags(tags)
    row = find(unit, id_, "experiment.write", lock=True)
    found = _changed(unit, id_, tags=row.tags | dict(tags))
    ledger.record(unit, "logged_model.tagged", id_, {"keys": sorted(tags)[:100]})
    return found


def drop_tag(unit: Unit, id_: str, key: str) -> Row:
    """Take a tag away. Raises `not_found`."""
    row = find(unit, id_, "experiment.write", lock=True)
    if key not in row.tags:
        raise Problem("not_found", f"No tag with key {key[:100]} found for model {id_}", hint="", what="tag")
    found = _changed(unit, id_, tags={name: value for name, value in row.tags.items() if name != key})
    ledger.record(unit, "logged_model.untagged", id_, {"key": key})
    return found


def log_params(unit: Unit, id_: str, params: Mapping[str, str]) -> Row:
    """Add parameters. Raises `not_found`, `conflict` for one that had another value."""
    check_texts(params, "param", MAX_PARAM)
    row = find(unit, id_, "experiment.write", lock=True)
    for key, value in params.items():
        if row.params.get(key, value) != value:
            raise Problem(
                "conflict", f"Changing param values is not allowed: '{key[:100]}' of model {id_}", hint="", what="param"
            )  # fmt: skip
    return _changed(unit, id_, params=row.params | dict(params))


def remove(unit: Unit, id_: str) -> None:
    """Put a model away. Raises `not_found`."""
    find(unit, id_, "experiment.write", lock=True)
    _changed(unit, id_, active=False)
    ledger.record(unit, "logged_model.deleted", id_, {})


def measure(
    unit: Unit, id_: str, run_id: str, points: Sequence[Point], dataset: tuple[str, str] | None = None
) -> None:
    """Log points to a model: of each series of a run on a dataset, the latest one is kept."""
    row = find(unit, id_, "experiment.write", lock=True)
    name, digest = dataset or ("", "")
    held = {(m["key"], m["run_id"], m["dataset_name"], m["dataset_digest"]): m for m in row.metrics}
    for point in points:
        key = (point.key, run_id, name, digest)
        before = held.get(key)
        if before is None or (point.step, point.at) >= (before["step"], before["at"]):
            held[key] = {
                "key": point.key, "value": repr(point.value), "at": point.at, "step": point.step, "run_id": run_id,
                "dataset_name": name, "dataset_digest": digest,
            }  # fmt: skip
    if len(held) > MAX_MEASURED:
        raise Problem(
            "quota_exceeded", f"a model may have {MAX_MEASURED} metrics", hint="Log them to the run."
        )
    _changed(unit, id_, metrics=list(held.values()))


def _changed(unit: Unit, id_: str, **values: Any) -> Row:
    change = sa.update(logged_models).where(logged_models.c.id == id_).values(updated_at=unit.now, **values)
    return unit.execute(change.returning(logged_models)).one()


def log_inputs(
    unit: Unit, run_id: str, datasets: Sequence[tuple[Mapping[str, Any], Mapping[str, str]]], models: Sequence[str] = ()
) -> None:  # fmt: skip
    """Say which datasets (name, digest and a description, tags) and which models a run read. Raises `not_found`."""
    if len(datasets) > MAX_INPUTS or len(models) > MAX_INPUTS:
        raise invalid(f"a run may name {MAX_INPUTS} inputs at once")
    at = _open(unit, run_id)
    told = lineage.Node("experiment_run", run_id, run_id)
    for dataset, tags in datasets:
        check_tags(tags)
        name, digest = str(dataset["name"]), str(dataset["digest"])
        check_name(name, "name", 500)
        check_name(digest, "digest", 100)
        rest = {key: str(value) for key, value in dataset.items() if key not in ("name", "digest")}
        if sum(map(len, rest.values())) > MAX_DOCUMENT:
            raise invalid(f"the description of dataset '{name[:50]}' is too long")
        row = insert(inputs).values(
            org_id=unit.org_id, run_id=run_id, name=name, digest=digest, experiment_id=at.experiment_id,
            document=rest, tags=dict(tags),
        )  # fmt: skip
        unit.execute(row.on_conflict_do_nothing())
        lineage.record(
            unit, lineage.Node("dataset", f"{name}@{digest}", f"{name}@{digest}"), told, "input_of"
        )
    _link(unit, run_id, "input", [(model, 0) for model in models])
    ledger.record(
        unit, "experiment_run.inputs", run_id, {"datasets": len(datasets), "models": list(models)[:100]}
    )


def log_outputs(unit: Unit, run_id: str, models: Sequence[tuple[str, int]]) -> None:
    """Say which models a run made, and at which step. Raises `not_found`."""
    if len(models) > MAX_INPUTS:
        raise invalid(f"a run may name {MAX_INPUTS} outputs at once")
    _open(unit, run_id)
    _link(unit, run_id, "output", models)
    ledger.record(unit, "experiment_run.outputs", run_id, {"models": [id_ for id_, _ in models][:100]})


def _open(unit: Unit, run_id: str) -> Spot:
    found = spot(unit, run_id, "experiment.write")
    if not found.active:
        raise gone(run_id)
    return found


def _link(unit: Unit, run_id: str, direction: str, models: Sequence[tuple[str, int]]) -> None:
    for id_, step in models:
        row = find(unit, id_, "experiment.write")
        link = insert(run_models).values(
            org_id=unit.org_id, run_id=run_id, direction=direction, model_id=id_, step=step
        )  # fmt: skip
        same = ["org_id", "run_id", "direction", "model_id"]
        unit.execute(link.on_conflict_do_update(index_elements=same, set_={"step": step}))
        if direction == "output":
            _made(unit, run_id, row)


def search(
    unit: Unit, experiment_ids: Sequence[str], *, filter_: str = "", order_by: Sequence[tuple[str, bool]] = (),
    limit: int = 100, token: str | None = None,
) -> tuple[list[Row], str | None]:  # fmt: skip
    """Models of experiments that match, by default the newest first, and where the next page goes on.

    `order_by`: names of attributes, each with whether it ascends.
    """
    c = logged_models.c
    clauses = read_filter(filter_, ATTRIBUTES)
    wanted = sa.select(logged_models).where(c.experiment_id.in_(experiment_ids), c.active)
    wanted = wanted.where(*[_condition(clause) for clause in clauses])
    for name, ascending in order_by:
        column = _ordered(name)
        wanted = wanted.order_by(sa.nulls_last(column.asc() if ascending else column.desc()))
    key = list_key(
        "logged_models", ids=sorted(experiment_ids), filter=filter_, order=[list(o) for o in order_by]
    )
    last = decode_cursor(key, token)
    skipped = int(last[0]) if last is not None else 0
    rows = list(unit.execute(wanted.order_by(c.created_at.desc(), c.id).offset(skipped).limit(limit + 1)))
    return rows[:limit], encode_cursor(key, [skipped + limit]) if len(rows) > limit else None


def _ordered(name: str) -> sa.ColumnElement[Any]:
    prefix, _, key = name.partition(".")
    if prefix == "metrics" and key:
        return _value(key)
    column = _COLUMNS.get(name.removeprefix("attributes."))
    if column is None:
        raise invalid(f"Invalid order_by field '{name[:100]}'")
    return column


def _value(key: str) -> sa.ColumnElement[Any]:
    """The newest value of a metric of a model."""
    item = sa.func.jsonb_array_elements(logged_models.c.metrics, type_=JSONB).table_valued(
        sa.column("value", JSONB), joins_implicitly=True
    )  # fmt: skip
    value = sa.cast(item.c.value["value"].astext, sa.Double)
    at = sa.cast(item.c.value["at"].astext, sa.BigInteger)
    return (
        sa.select(value).select_from(item).where(item.c.value["key"].astext == key).order_by(at.desc()).limit(1)
        .correlate(logged_models).scalar_subquery()
    )  # fmt: skip


def _condition(clause: Clause) -> sa.ColumnElement[bool]:
    if clause.entity == "metric":
        return OPERATORS[clause.operator](_value(clause.key), clause.value)
    if clause.entity == "attribute":
        column, value = _COLUMNS[clause.key], clause.value
        if clause.key == "status" and isinstance(value, str):
            value = value.lower().removeprefix("logged_model_")
        return OPERATORS[clause.operator](column, value)
    if clause.entity not in ("param", "tag"):
        raise invalid(
            f"Invalid entity type '{clause.entity}': models are searched by attributes, params, tags, metrics"
        )
    text = (logged_models.c.params if clause.entity == "param" else logged_models.c.tags)[clause.key].astext
    if clause.operator.startswith("IS"):
        return text.is_(None) if clause.operator == "IS NULL" else text.is_not(None)
    return OPERATORS[clause.operator](text, clause.value)
