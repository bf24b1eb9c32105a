"""Models and versions as rows. Each function is part of a unit of its caller, who has asked the policy."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import sqlalchemy as sa

from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.workloads.lineage import service as lineage

from .model import aliases, models, versions
from .schema import Model, ModelFile, ModelVersion

Row: TypeAlias = sa.Row[Any]
Said: TypeAlias = Mapping[str, Any]


def model_of(unit: Unit, name: str, *, lock: bool = False) -> Row:
    """The row of a model. Raises `not_found`."""
    wanted = sa.select(models).where(models.c.name == name, models.c.gone_at.is_(None))
    row = unit.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise Problem(
            "not_found",
            f"there is no model {name[:200]!r}",
            hint="List the models, or register it.",
            what="model",
        )
    return row


def version_of(unit: Unit, model: Row, number: int, *, lock: bool = False) -> Row:
    """The row of a version. Raises `not_found`."""
    c = versions.c
    wanted = sa.select(versions).where(c.model_id == model.id, c.number == number, c.gone_at.is_(None))
    row = unit.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise Problem(
            "not_found", f"{model.name} has no version {number}", hint="List its versions.", what="version"
        )
    return row


def by_id(unit: Unit, version_id: str) -> tuple[Row, Row]:
    """A version with its model, those that are gone, too."""
    row = unit.execute(sa.select(versions).where(versions.c.id == version_id)).one()
    return unit.execute(sa.select(models).where(models.c.id == row.model_id)).one(), row


def project_of(unit: Unit, version: Row) -> str | None:
    """The repository in which the run that made a version was carried out; None where nobody can tell."""
    found = unit.ask("ops.experiment_repository", version.run_id) if version.run_id is not None else []
    return str(found[0][0]) if found else None


def in_production(unit: Unit, model_id: str) -> Row | None:
    """The version that is let into production."""
    c = versions.c
    wanted = sa.select(versions).where(
        c.model_id == model_id, c.stage == "production", c.gone_at.is_(None)
    )  # fmt: skip
    return unit.execute(wanted).one_or_none()


def shown_models(unit: Unit, rows: Sequence[Row]) -> list[Model]:
    """Models as they are told of; one question for all of them."""
    ids = [row.id for row in rows]
    named: dict[str, dict[str, int]] = {id_: {} for id_ in ids}
    for row in unit.execute(sa.select(aliases).where(aliases.c.model_id.in_(ids)).order_by(aliases.c.alias)):
        named[row.model_id][row.alias] = row.number
    c = versions.c
    latest: dict[str, int] = {}
    production: dict[str, int] = {}
    wanted = sa.select(
        c.model_id, sa.func.max(c.number).label("latest"),
        sa.func.max(c.number).filter(c.stage == "production").label("production"),
    )  # fmt: skip
    for row in unit.execute(wanted.where(c.model_id.in_(ids), c.gone_at.is_(None)).group_by(c.model_id)):
        latest[row.model_id], production[row.model_id] = row.latest, row.production
    return [
        Model(
            id=row.id, name=row.name, description=row.description, tags=row.tags, aliases=named[row.id],
            latest=latest.get(row.id), production=production.get(row.id), created_by=row.created_by,
            created_at=row.created_at, updated_at=row.updated_at,
        )
        for row in rows
    ]  # fmt: skip


def shown_model(unit: Unit, row: Row) -> Model:
    """One model as it is told of."""
    return shown_models(unit, [row])[0]


def shown_versions(unit: Unit, rows: Sequence[Row]) -> list[ModelVersion]:
    """Versions as they are told of; two questions for all of them."""
    ids = {row.model_id for row in rows}
    names = {
        row.id: row.name
        for row in unit.execute(sa.select(models.c.id, models.c.name).where(models.c.id.in_(ids)))
    }
    named: dict[tuple[str, int], list[str]] = {}
    for row in unit.execute(sa.select(aliases).where(aliases.c.model_id.in_(ids)).order_by(aliases.c.alias)):
        named.setdefault((row.model_id, row.number), []).append(row.alias)
    return [
        ModelVersion(
            id=row.id, name=names[row.model_id], version=row.number, stage=row.stage, status="READY",
            source=row.source, run_id=row.run_id, digest=f"sha256:{row.digest.hex()}",
            files=[ModelFile(**file) for file in row.files], aliases=named.get((row.model_id, row.number), []),
            tags=row.tags, description=row.description, created_by=row.created_by, created_at=row.created_at,
            updated_at=row.updated_at,
        )
        for row in rows
    ]  # fmt: skip


def shown_version(unit: Unit, row: Row) -> ModelVersion:
    """One version as it is told of."""
    return shown_versions(unit, [row])[0]


def change_version(unit: Unit, id_: str, **values: Any) -> Row:
    """Write columns of a version; its row as it is then."""
    changed = sa.update(versions).where(versions.c.id == id_).values(updated_at=unit.now, **values)
    return unit.execute(changed.returning(versions)).one()


def change_model(unit: Unit, id_: str, **values: Any) -> Row:
    """Write columns of a model; its row as it is then."""
    changed = sa.update(models).where(models.c.id == id_).values(updated_at=unit.now, **values)
    return unit.execute(changed.returning(models)).one()


def node_of(model: Row, version: Row) -> lineage.Node:
    """A version as lineage knows it."""
    return lineage.Node("model", version.id, f"{model.name}@{version.number}")


def digest_of(files: Sequence[Said]) -> bytes:
    """SHA-256 over `<sha256 of the content>  <path>` and a line feed for each file, by path: as `sha256sum` prints."""
    lines = (
        f"{file['sha256']}  {file['path']}\n" for file in sorted(files, key=lambda file: str(file["path"]))
    )
    return hashlib.sha256("".join(lines).encode()).digest()
