"""Versions: the files of a run or a logged model as they are now, frozen; and the stages that they go through."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from builderos.assets.artifacts import service as artifacts
from builderos.core.ids import new_id
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.audit import service as audit
from builderos.trust.ledger import service as ledger
from builderos.workloads.lineage import service as lineage

from . import rows, sources
from .model import aliases, versions
from .registry import READ, WRITE, may
from .schema import (
    MAX_FILES,
    ChangeVersionIn,
    CreateVersionIn,
    ListVersionsIn,
    ModelGone,
    ModelVersion,
    ModelVersionList,
    Stage,
    WhichVersionIn,
    WhichVersionWriteIn,
)

STEPS: Final[dict[Stage, frozenset[Stage]]] = {
    "registered": frozenset({"staged", "retired"}),
    "staged": frozenset({"registered", "production", "retired"}),
    "production": frozenset({"retired"}),
    "retired": frozenset(),
}
"""From where to where a version goes. A rollback of a promotion alone brings one back that is retired."""


def create_version(unit: Unit, body: CreateVersionIn) -> ModelVersion:
    """The next version of a model. Raises `not_found`, `validation_failed` for a source that is none of ours."""
    rules = may(unit, WRITE)
    model = rows.model_of(unit, body.name, lock=True)
    files = files_of(unit, body)
    return rows.shown_version(unit, made(unit, model, body, files, rules))


def made(
    unit: Unit,
    model: rows.Row,
    body: CreateVersionIn,
    files: Sequence[dict[str, Any]],
    rules: tuple[str, ...],
) -> rows.Row:
    """Number and write a version of a locked model; its edge of lineage, its line in the ledger."""
    number = model.numbers + 1
    rows.change_model(unit, model.id, numbers=number)
    digest = rows.digest_of(files)
    run_id = body.run_id or _run_of(body.source)
    values: dict[str, Any] = {
        "id": new_id("mdv"), "org_id": unit.org_id, "model_id": model.id, "number": number, "stage": "registered",
        "source": body.source, "run_id": run_id, "digest": digest, "files": list(files),
        "description": body.description, "tags": body.tags, "created_by": unit.actor.id, "created_at": unit.now,
        "updated_at": unit.now,
    }  # fmt: skip
    row = unit.execute(sa.insert(versions).values(values).returning(versions)).one()
    if run_id is not None:
        facts = sources.facts(unit, run_id)
        node = lineage.Node("experiment_run", run_id, facts.name if facts is not None else run_id)
        lineage.record(unit, node, rows.node_of(model, row), "registered_as")
    for file in files if run_id is None else ():
        node = lineage.Node("artifact", file["artifact_id"], file["path"])
        lineage.record(unit, node, rows.node_of(model, row), "registered_as")
    payload = {
        "name": model.name, "version": number, "source": body.source, "run_id": run_id, "files": len(files),
        "digest": f"sha256:{digest.hex()}",
    }  # fmt: skip
    ledger.record(unit, "model.version", row.id, payload, rules=rules)
    return row


def files_of(unit: Unit, body: CreateVersionIn) -> list[dict[str, Any]]:
    """The files that a source has now. Raises `validation_failed`, and `not_found` for what the actor may not see."""
    if body.source and body.artifacts:
        raise Problem("validation_failed", "a version has one source", hint="Name source or artifacts.")
    if body.artifacts:
        kept = [
            artifacts.reading.row_of(unit, id_, "artifact.read")[0] for id_ in dict.fromkeys(body.artifacts)
        ]
        files = [_file(row.path, row.id, row.size, row.hash.hex()) for row in kept]
    elif body.source:
        owner, folder = _parts(body.source)
        files = _frozen(unit, owner, folder)
    else:
        raise Problem(
            "validation_failed",
            "a version comes from somewhere",
            hint="Name source, or artifacts that are its files.",
        )
    if len(files) > MAX_FILES:
        raise Problem(
            "payload_too_large",
            f"a version has {MAX_FILES} files at most",
            hint="Pack them.",
            limit=MAX_FILES,
        )
    if len({file["path"] for file in files}) != len(files):
        raise Problem("validation_failed", "two files have one path", hint="Name each of them once.")
    return sorted(files, key=lambda file: file["path"])


def _parts(source: str) -> tuple[str, str]:
    """Owner and folder of a source. Raises `validation_failed` for an address that is not ours."""
    scheme, _, rest = source.partition(":/")
    owner, _, folder = rest.strip("/").partition("/")
    if (
        scheme not in ("runs", "models")
        or not owner
        or any(part in ("", ".", "..") for part in folder.split("/") if folder)
    ):
        raise Problem(
            "validation_failed", f"{source[:200]!r} is no source of a model here",
            hint="Give runs:/<run id>/<folder> or models:/<logged model id>.",
        )  # fmt: skip
    return owner, folder


def _run_of(source: str) -> str | None:
    return _parts(source)[0] if source.startswith("runs:/") else None


def _frozen(unit: Unit, owner: str, folder: str) -> list[dict[str, Any]]:
    """All files of a folder, named from there on, with the hash that each has now."""
    prefix = f"{folder}/" if folder else ""
    frozen: list[dict[str, Any]] = []
    for path, artifact_id in sources.files(unit, owner, folder):
        what = artifacts.reading.handle_of(unit, artifact_id).what
        frozen.append(_file(path.removeprefix(prefix), artifact_id, what.size, what.hash.hex()))
    return frozen


def _file(path: str, artifact_id: str, size: int, sha256: str) -> dict[str, Any]:
    return {"path": path, "artifact_id": artifact_id, "size": size, "sha256": sha256}


def show_version(unit: Unit, body: WhichVersionIn) -> ModelVersion:
    """One version. Raises `not_found`."""
    may(unit, READ)
    row = rows.version_of(unit, rows.model_of(unit, body.name), body.version)
    audit.access.note(unit, "model.show", row.id)
    return rows.shown_version(unit, row)


def list_versions(unit: Unit, body: ListVersionsIn) -> ModelVersionList:
    """Versions, newest first. Raises `not_found` for a model that is not there."""
    may(unit, READ)
    c = versions.c
    key = list_key("model_versions", of=body.name, run=body.run_id, stage=body.stage)
    wanted = sa.select(versions).where(c.gone_at.is_(None)).order_by(c.id.desc()).limit(body.limit + 1)
    if body.name is not None:
        wanted = wanted.where(c.model_id == rows.model_of(unit, body.name).id)
    for column, value in ((c.run_id, body.run_id), (c.stage, body.stage)):
        wanted = wanted.where(column == value) if value is not None else wanted
    last = decode_cursor(key, body.cursor)
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    found = unit.execute(wanted).all()
    items = rows.shown_versions(unit, found[: body.limit])
    more = len(found) > body.limit
    return ModelVersionList(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def change_version(unit: Unit, body: ChangeVersionIn) -> ModelVersion:
    """Another description. Raises `not_found`."""
    rules = may(unit, WRITE)
    row = rows.version_of(unit, rows.model_of(unit, body.name), body.version, lock=True)
    changed = rows.change_version(unit, row.id, description=body.description)
    ledger.record(
        unit, "model.version_changed", row.id, {"name": body.name, "version": body.version}, rules=rules
    )
    return rows.shown_version(unit, changed)


def delete_version(unit: Unit, body: WhichVersionWriteIn) -> ModelGone:
    """It is shown no more; its row stays. Raises `not_found`, `conflict` while it is in production."""
    rules = may(unit, WRITE)
    model = rows.model_of(unit, body.name, lock=True)
    row = rows.version_of(unit, model, body.version, lock=True)
    if row.stage == "production":
        raise Problem("conflict", "it is in production", hint="Retire it first.", what="production")
    rows.change_version(unit, row.id, gone_at=unit.now)
    c = aliases.c
    unit.execute(sa.delete(aliases).where(c.model_id == model.id, c.number == row.number))
    ledger.record(
        unit, "model.version_deleted", row.id, {"name": model.name, "version": row.number}, rules=rules
    )
    return ModelGone(name=model.name, version=row.number, message=f"{model.name}@{row.number} is gone.")


def check_step(row: rows.Row, stage: Stage) -> None:
    """Raise `illegal_transition` where a version may not go there from where it stands."""
    if stage not in STEPS[row.stage]:
        ways = ", ".join(sorted(STEPS[row.stage])) or "nowhere"
        raise Problem(
            "illegal_transition", f"version {row.number} is {row.stage}; from there it goes to {ways}",
            hint="registered → staged → production → retired.",
        )  # fmt: skip
