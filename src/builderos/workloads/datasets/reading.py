"""Datasets for those who may see them. Whoever is given one, or a file of it, is written down."""

from typing import Any, TypeAlias

import sqlalchemy as sa

from builderos.assets.artifacts import service as artifacts
from builderos.core.ids import is_id
from builderos.core.operations import Download
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.audit import service as audit
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource
from builderos.workloads.lineage import service as lineage

from .model import datasets
from .schema import Dataset, DatasetFile, DatasetList, DatasetSummary, ListIn, ReadIn, WhichIn

Row: TypeAlias = sa.Row[Any]


def resource(unit: Unit, id_: str, repo_id: str | None, sandbox_id: str | None) -> Resource:
    """A dataset as the policy sees it: what belongs to a workspace is that one's, and its organisation's."""
    return Resource(kind="artifact", id=id_, org_id=unit.org_id, repo_id=repo_id, sandbox_id=sandbox_id)


def row_of(unit: Unit, ref: str) -> Row:
    """A version that the actor may read, by id, `name@version` or name. Raises `not_found`."""
    row = unit.execute(_named(unit, ref)).one_or_none()
    if row is None:
        actor = unit.actor
        policy.require(unit, "dataset.read", resource(unit, "unknown", actor.repo_id, actor.sandbox_id))
        raise Problem("not_found", "there is no such dataset", hint="List the datasets first.")
    policy.require(unit, "dataset.read", resource(unit, row.id, row.repo_id, row.sandbox_id))
    return row


def _named(unit: Unit, ref: str) -> sa.Select[Any]:
    c, wanted = datasets.c, _seen(unit)
    if is_id(ref, "dst"):
        return wanted.where(c.id == ref)
    name, _, version = ref.partition("@")
    wanted = wanted.where(c.name == name)
    if version.isascii() and version.isdigit() and len(version) < 9:
        return wanted.where(c.version == int(version))
    if version:
        return wanted.where(sa.false())
    return wanted.order_by(c.version.desc()).limit(1)


def _seen(unit: Unit) -> sa.Select[Any]:
    """What the actor may know of: the token of a workspace, what was registered there."""
    wanted = sa.select(datasets)
    own = unit.actor.sandbox_id
    return wanted.where(datasets.c.sandbox_id == own) if own is not None else wanted


def show(unit: Unit, body: WhichIn) -> Dataset:
    """One version with its files. Raises `not_found`."""
    row = row_of(unit, body.id)
    audit.access.note(unit, "dataset.show", row.id, repo=row.repo_id)
    return shown(row)


def use(unit: Unit, ref: str, by: lineage.Node) -> Dataset:
    """A version that something works with: the reading is recorded, and the edge of lineage. Raises `not_found`."""
    row = row_of(unit, ref)
    audit.access.note(unit, "dataset.read", row.id, repo=row.repo_id)
    lineage.record(unit, node_of(row), by, "input_of", sandbox_id=row.sandbox_id)
    return shown(row)


def content(unit: Unit, body: ReadIn) -> Download:
    """The bytes of one file, verified. Raises `not_found`, `validation_failed` where it is not said which."""
    row = row_of(unit, body.id)
    files: list[dict[str, Any]] = row.files
    if body.path is None and len(files) > 1:
        raise Problem(
            "validation_failed",
            f"it has {len(files)} files",
            hint=f"Say which with path, e.g. {files[0]['path']}.",
        )
    file = next((one for one in files if body.path in (None, one["path"])), None)
    if file is None:
        raise Problem("not_found", "it has no such file", hint="Show the dataset: it names its files.")
    handle = artifacts.reading.handle_of(unit, file["artifact_id"])
    audit.access.note(unit, "dataset.read", row.id, repo=row.repo_id, paths=[file["path"]])
    name = file["path"].rpartition("/")[2].encode("ascii", "replace").decode()
    plain = "".join(letter if letter not in '"\\%;?' else "_" for letter in name)
    return Download(
        handle.read(0, file["size"]), "application/octet-stream", plain, size=file["size"],
        etag=f'"sha256-{file["sha256"]}"', part=handle.read,
    )  # fmt: skip


def listed(unit: Unit, body: ListIn) -> DatasetList:
    """Versions of one dataset, or the newest version of each, newest first."""
    own = unit.actor
    bound = own.sandbox_id is not None
    where = resource(unit, "list", own.repo_id, own.sandbox_id) if bound else policy.org_resource(unit)
    policy.require(unit, "dataset.read", where)
    c = datasets.c
    key = list_key("datasets", of=body.name)
    wanted = _seen(unit)
    if body.name is not None:
        wanted = wanted.where(c.name == body.name)
    else:
        newer = datasets.alias()
        mine = newer.c.sandbox_id == own.sandbox_id if bound else sa.true()
        later = sa.exists().where(newer.c.name == c.name, newer.c.version > c.version, mine)
        wanted = wanted.where(~later)
    last = decode_cursor(key, body.cursor)
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    rows = unit.execute(wanted.order_by(c.id.desc()).limit(body.limit + 1)).all()
    items = [_summary(row) for row in rows[: body.limit]]
    more = len(rows) > body.limit
    return DatasetList(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def node_of(row: Row) -> lineage.Node:
    """A version as lineage knows it."""
    return lineage.Node("dataset", row.id, f"{row.name}@{row.version}")


def shown(row: Row) -> Dataset:
    """A version as it is told of."""
    return Dataset(
        id=row.id, name=row.name, version=row.version, ref=f"{row.name}@{row.version}", kind=row.kind,
        digest=f"sha256:{row.digest.hex()}", size=row.size, files=[DatasetFile(**file) for file in row.files],
        columns=row.columns, rows=row.rows, description=row.description, source=row.source,
        created_by=row.created_by, created_at=row.created_at,
    )  # fmt: skip


def _summary(row: Row) -> DatasetSummary:
    return DatasetSummary(
        id=row.id, ref=f"{row.name}@{row.version}", name=row.name, version=row.version, kind=row.kind,
        digest=f"sha256:{row.digest.hex()}", size=row.size, count=len(row.files), description=row.description,
        created_by=row.created_by, created_at=row.created_at,
    )  # fmt: skip
