"""Making a version: its files are gathered, hashed together, and the name gets its next number."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.assets.artifacts import service as artifacts
from builderos.core.database import Retry
from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.audit import service as audit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.workloads.lineage import service as lineage

from .model import datasets
from .reading import node_of, resource, shown
from .schema import MAX_FILES, Dataset, Kind, RegisterIn
from .sources import File, gather
from .tables import Profile, is_table, profile


def register(unit: Unit, body: RegisterIn) -> Reply[Dataset]:
    """A new version; the one that there is where the name has exactly this content already.

    Raises `validation_failed`, `not_found`, `conflict`, `payload_too_large`, and for an address `policy_denied`.
    """
    own = unit.actor
    policy.require(unit, "dataset.write", resource(unit, "new", own.repo_id, own.sandbox_id))
    found = gather(unit, body)
    files = _ordered(found.files)
    facts = found.facts
    decision = policy.require(
        unit, "dataset.write", resource(unit, "new", facts.repo_id, facts.sandbox_id)
    )  # fmt: skip
    digest = digest_of(files)
    c = datasets.c
    rows = unit.execute(
        sa.select(c.version, c.digest, c.sandbox_id).where(c.name == body.name).order_by(c.version)
    ).all()
    if own.sandbox_id is not None and any(row.sandbox_id != own.sandbox_id for row in rows):
        raise Problem("conflict", "the name is taken", hint="Choose another name.")
    same = next((row.version for row in rows if row.digest == digest), None)
    if same is not None:
        there = sa.select(datasets).where(c.name == body.name, c.version == same)
        return Reply(200, shown(unit.execute(there).one()))
    kind = _kind(body.kind, files)
    looked = _looked(unit, files[0]) if kind == "table" else None
    values: dict[str, Any] = {
        "id": new_id("dst"), "org_id": unit.org_id, "name": body.name,
        "version": rows[-1].version + 1 if rows else 1, "kind": kind, "digest": digest,
        "files": [asdict(file) for file in files], "size": sum(file.size for file in files),
        "columns": looked.columns if looked else None, "rows": looked.rows if looked else None,
        "description": body.description, "source": found.source, "repo_id": facts.repo_id,
        "sandbox_id": facts.sandbox_id, "created_by": own.id, "created_at": unit.now,
    }  # fmt: skip
    made = insert(datasets).values(values).on_conflict_do_nothing().returning(datasets)
    row = unit.execute(made).one_or_none()
    if row is None:  # somebody else took the number meanwhile
        raise Retry
    for node in found.made_of:
        lineage.record(unit, node, node_of(row), "made", sandbox_id=facts.sandbox_id)
    audit.access.note(unit, "dataset.register", row.id, repo=row.repo_id)
    payload = {
        "name": body.name, "version": row.version, "digest": f"sha256:{digest.hex()}", "kind": kind,
        "size": row.size, "source": found.source,
    }  # fmt: skip
    ledger.record(unit, "dataset.registered", row.id, payload, rules=decision.rules)
    return Reply(201, shown(row))


def digest_of(files: Sequence[File]) -> bytes:
    """SHA-256 over `<sha256 of the content>  <path>` and a line feed for each file, by path: as `sha256sum` prints."""
    return hashlib.sha256("".join(f"{file.sha256}  {file.path}\n" for file in files).encode()).digest()


def _ordered(files: Sequence[File]) -> list[File]:
    if not files:
        raise Problem("validation_failed", "there are no files", hint="Name some that there are.")
    if len(files) > MAX_FILES:
        raise Problem(
            "payload_too_large",
            f"a dataset has {MAX_FILES} files at most",
            hint="Pack them.",
            limit=MAX_FILES,
        )
    paths = {file.path: file for file in files}
    if len(paths) != len(files):
        raise Problem("validation_failed", "two files have one path", hint="Name each of them once.")
    return [paths[path] for path in sorted(paths)]


def _kind(wanted: Kind | None, files: Sequence[File]) -> Kind:
    alone = len(files) == 1
    if wanted in ("file", "table") and not alone:
        raise Problem("validation_failed", f"a {wanted} is one file", hint="Call it a folder.")
    if wanted == "table" and not is_table(files[0].path):
        raise Problem(
            "validation_failed", "a table is a .csv, .tsv, .jsonl or .parquet file", hint="Call it a file."
        )
    if wanted is not None:
        return wanted
    return "folder" if not alone else "table" if is_table(files[0].path) else "file"


def _looked(unit: Unit, file: File) -> Profile | None:
    handle = artifacts.reading.handle_of(unit, file.artifact_id)
    return profile(file.path, file.size, handle.read(0, file.size))
