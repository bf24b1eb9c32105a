"""Models by name: registering, renaming, what they are called and tagged with."""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.database import Retry
from builderos.core.ids import new_id
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.audit import service as audit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from . import rows
from .model import aliases, models, versions
from .schema import (
    AliasIn,
    ChangeModelIn,
    DeleteAliasIn,
    DeleteTagIn,
    ListModelsIn,
    Model,
    ModelGone,
    ModelList,
    ModelVersion,
    RegisterModelIn,
    SetAliasIn,
    SetTagIn,
    WhichModelIn,
    WhichModelWriteIn,
)

READ: Final = "registry.read"
WRITE: Final = "registry.write"
MAX_ALIASES: Final = 100
MAX_TAGS: Final = 100


def may(unit: Unit, action: policy.Action) -> tuple[str, ...]:
    """Ask the policy; the rules that allow it. Raises `Refused`."""
    return policy.require(unit, action, policy.org_resource(unit)).rules


def register_model(unit: Unit, body: RegisterModelIn) -> Model:
    """A model without versions. Raises `conflict` where the name is taken."""
    rules = may(unit, WRITE)
    _ensure_free(unit, body.name)
    values: dict[str, Any] = {
        "id": new_id("mdl"), "org_id": unit.org_id, "name": body.name, "description": body.description,
        "tags": body.tags, "numbers": 0, "created_by": unit.actor.id, "created_at": unit.now, "updated_at": unit.now,
    }  # fmt: skip
    made = insert(models).values(values).on_conflict_do_nothing().returning(models)
    row = unit.execute(made).one_or_none()
    if row is None:  # somebody took the name meanwhile: looked at anew, it is a conflict
        raise Retry
    ledger.record(unit, "model.registered", row.id, {"name": body.name}, rules=rules)
    return rows.shown_model(unit, row)


def _ensure_free(unit: Unit, name: str) -> None:
    c = models.c
    if unit.execute(sa.select(c.id).where(c.name == name, c.gone_at.is_(None))).one_or_none() is not None:
        raise Problem(
            "conflict", f"there is a model {name!r} already", hint="Choose another name.", what="model"
        )


def show_model(unit: Unit, body: WhichModelIn) -> Model:
    """One model. Raises `not_found`."""
    may(unit, READ)
    row = rows.model_of(unit, body.name)
    audit.access.note(unit, "model.show", row.id)
    return rows.shown_model(unit, row)


def list_models(unit: Unit, body: ListModelsIn) -> ModelList:
    """Models by name. Raises `validation_failed` for a tag without `=`."""
    may(unit, READ)
    c = models.c
    key = list_key("models", like=body.like, case=body.ignore_case, tag=body.tag)
    wanted = sa.select(models).where(c.gone_at.is_(None)).order_by(c.name).limit(body.limit + 1)
    if body.like is not None:
        fits = c.name.ilike(body.like) if body.ignore_case else c.name.like(body.like)
        wanted = wanted.where(fits)
    if body.tag is not None:
        name, equals, value = body.tag.partition("=")
        if not equals:
            raise Problem("validation_failed", "a tag is key=value", hint="e.g. tag=team=vision.")
        wanted = wanted.where(c.tags.contains({name: value}))
    after = decode_cursor(key, body.cursor)
    if after is not None:
        wanted = wanted.where(c.name > str(after[0]))
    found = unit.execute(wanted).all()
    items = rows.shown_models(unit, found[: body.limit])
    more = len(found) > body.limit
    return ModelList(items=items, next_cursor=encode_cursor(key, [items[-1].name]) if more else None)


def change_model(unit: Unit, body: ChangeModelIn) -> Model:
    """Another name or description. Raises `not_found`, `conflict`."""
    rules = may(unit, WRITE)
    row = rows.model_of(unit, body.name, lock=True)
    values: dict[str, Any] = {}
    if body.new_name is not None and body.new_name != body.name:
        _ensure_free(unit, body.new_name)
        values["name"] = body.new_name
    if body.description is not None:
        values["description"] = body.description
    changed = rows.change_model(unit, row.id, **values)
    ledger.record(unit, "model.changed", row.id, {"name": changed.name, "before": row.name}, rules=rules)
    return rows.shown_model(unit, changed)


def delete_model(unit: Unit, body: WhichModelWriteIn) -> ModelGone:
    """It is shown no more, nor are its versions; their rows and files stay. Raises `conflict` while one serves."""
    rules = may(unit, WRITE)
    row = rows.model_of(unit, body.name, lock=True)
    if rows.in_production(unit, row.id) is not None:
        raise Problem(
            "conflict", "a version of it is in production", hint="Retire that one first.", what="production"
        )
    gone = sa.update(versions).where(versions.c.model_id == row.id, versions.c.gone_at.is_(None))
    unit.execute(gone.values(gone_at=unit.now))
    unit.execute(sa.delete(aliases).where(aliases.c.model_id == row.id))
    rows.change_model(unit, row.id, gone_at=unit.now)
    ledger.record(unit, "model.deleted", row.id, {"name": row.name}, rules=rules)
    return ModelGone(name=row.name, version=None, message=f"{row.name} is gone.")


# -------------------------------------------------------------------- aliases and tags


def set_alias(unit: Unit, body: SetAliasIn) -> Model:
    """Let an alias name a version. Raises `not_found`, `quota_exceeded`."""
    rules = may(unit, WRITE)
    row = rows.model_of(unit, body.name, lock=True)
    rows.version_of(unit, row, body.version)
    c = aliases.c
    stands = {one.alias: one.number for one in unit.execute(sa.select(aliases).where(c.model_id == row.id))}
    if body.alias not in stands and len(stands) >= MAX_ALIASES:
        raise Problem(
            "quota_exceeded", f"a model has {MAX_ALIASES} aliases at most", hint="Delete one.", limit=MAX_ALIASES,
            used=len(stands),
        )  # fmt: skip
    put = insert(aliases).values(org_id=unit.org_id, model_id=row.id, alias=body.alias, number=body.version)
    unit.execute(
        put.on_conflict_do_update(index_elements=["model_id", "alias"], set_={"number": body.version})
    )
    payload = {
        "name": row.name,
        "alias": body.alias,
        "version": body.version,
        "before": stands.get(body.alias),
    }
    ledger.record(unit, "model.alias", row.id, payload, rules=rules)
    return rows.shown_model(unit, rows.change_model(unit, row.id))


def delete_alias(unit: Unit, body: DeleteAliasIn) -> Model:
    """Forget an alias; one that is not there is no fault. Raises `not_found` for the model."""
    rules = may(unit, WRITE)
    row = rows.model_of(unit, body.name, lock=True)
    c = aliases.c
    gone = unit.execute(sa.delete(aliases).where(c.model_id == row.id, c.alias == body.alias))
    if gone.rowcount:
        ledger.record(
            unit, "model.alias", row.id, {"name": row.name, "alias": body.alias, "version": None}, rules=rules
        )
    return rows.shown_model(unit, row)


def by_alias(unit: Unit, body: AliasIn) -> ModelVersion:
    """The version that an alias names. Raises `not_found`."""
    may(unit, READ)
    row = rows.model_of(unit, body.name)
    c = aliases.c
    number = unit.execute(
        sa.select(c.number).where(c.model_id == row.id, c.alias == body.alias)
    ).scalar_one_or_none()
    if number is None:
        raise Problem("not_found", f"{row.name} has no alias {body.alias}", hint="Show the model.", what="alias",
                      alias=body.alias)  # fmt: skip
    found = rows.version_of(unit, row, number)
    audit.access.note(unit, "model.show", found.id)
    return rows.shown_version(unit, found)


def set_tag(unit: Unit, body: SetTagIn) -> Model | ModelVersion:
    """Tag a model or a version. Raises `not_found`, `quota_exceeded`."""
    return _tagged(unit, body, body.value)


def delete_tag(unit: Unit, body: DeleteTagIn) -> Model | ModelVersion:
    """Forget a tag; one that is not there is no fault. Raises `not_found`."""
    return _tagged(unit, body, None)


def _tagged(unit: Unit, body: SetTagIn | DeleteTagIn, value: str | None) -> Model | ModelVersion:
    rules = may(unit, WRITE)
    model = rows.model_of(unit, body.name, lock=True)
    version = rows.version_of(unit, model, body.version, lock=True) if body.version is not None else None
    tags: dict[str, str] = dict((model if version is None else version).tags)
    if value is None:
        tags.pop(body.key, None)
    else:
        tags[body.key] = value
    if len(tags) > MAX_TAGS:
        raise Problem(
            "quota_exceeded",
            f"there are {MAX_TAGS} tags at most",
            hint="Delete one.",
            limit=MAX_TAGS,
            used=MAX_TAGS,
        )
    payload = {"name": model.name, "version": body.version, "key": body.key, "set": value is not None}
    if version is None:
        shown: Model | ModelVersion = rows.shown_model(unit, rows.change_model(unit, model.id, tags=tags))
    else:
        shown = rows.shown_version(unit, rows.change_version(unit, version.id, tags=tags))
    ledger.record(unit, "model.tagged", shown.id, payload, rules=rules)
    return shown
