"""Artifacts for those who may see them. No byte is given out before its block was verified."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.context import Context
from builderos.core.operations import Download
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.trust.audit import service as audit
from builderos.trust.ledger import service as ledger
from builderos.trust.notices import service as notices
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from . import media
from .hashing import BLOCK, Altered, Missing, Sum, verified
from .keeping import shown
from .model import artifacts, contents
from .places import Stores
from .ports import RunFacts
from .rules import limits
from .schema import Artifact, ArtifactPage, DeleteIn, ListIn, WhichIn

log = logging.getLogger(__name__)
_UNSAFE_IN_NAME: Final = str.maketrans(dict.fromkeys('"\\%;', "_"))


def resource(unit: Unit, id_: str, facts: RunFacts) -> Resource:
    """An artifact as the policy sees it."""
    return Resource(
        kind="artifact", id=id_, org_id=unit.org_id, repo_id=facts.repo_id, sandbox_id=facts.sandbox_id
    )


def mine(unit: Unit) -> RunFacts:
    """What the credential itself is bound to."""
    return RunFacts(unit.actor.repo_id, unit.actor.sandbox_id, None)


def row_of(unit: Unit, id_: str, action: policy.Action) -> tuple[sa.Row[Any], tuple[str, ...]]:
    """An artifact that the actor may act on, and the rules that say so.

    Raises `not_found`, the same for what is not there and for what a credential of one sandbox may not know of.
    """
    wanted = sa.select(artifacts).where(artifacts.c.id == id_)
    if unit.actor.sandbox_id is not None:
        wanted = wanted.where(artifacts.c.sandbox_id == unit.actor.sandbox_id)
    row = unit.execute(wanted).one_or_none()
    if row is None:
        policy.require(unit, action, resource(unit, "unknown", mine(unit)))
        raise _unknown()
    facts = RunFacts(row.repo_id, row.sandbox_id, row.pipeline)
    return row, policy.require(unit, action, resource(unit, row.id, facts)).rules


def get(unit: Unit, body: WhichIn) -> Artifact:
    """One artifact. Raises `not_found`."""
    row, _ = row_of(unit, body.id, "artifact.read")
    audit.access.note(unit, "artifact.show", row.id, repo=row.repo_id, paths=[row.path])
    return shown(row, limits(unit))


def listed(unit: Unit, body: ListIn) -> ArtifactPage:
    """Artifacts, newest first: of a sandbox's own credential, those of the sandbox."""
    c = artifacts.c
    bound = unit.actor.sandbox_id is not None
    policy.require(
        unit, "artifact.read", resource(unit, "list", mine(unit)) if bound else policy.org_resource(unit)
    )
    filters = body.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
    key = list_key("artifacts", **filters)
    wanted = sa.select(artifacts).order_by(c.id.desc()).limit(body.limit + 1)
    if bound:
        wanted = wanted.where(c.sandbox_id == unit.actor.sandbox_id)
    for column, value in ((c.run_id, body.run_id), (c.path, body.path)):
        if value is not None:
            wanted = wanted.where(column == value)
    if not body.gone:
        wanted = wanted.where(c.gone_at.is_(None))
    last = decode_cursor(key, body.cursor)
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    rows = unit.execute(wanted).all()
    held = limits(unit)
    items = [shown(row, held) for row in rows[: body.limit]]
    more = len(rows) > body.limit
    return ArtifactPage(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def delete(unit: Unit, body: DeleteIn) -> Artifact:
    """End an artifact: its row stays, its content goes unless another one has the same. Raises `not_found`."""
    row, rules = row_of(unit, body.id, "artifact.manage")
    if row.gone_at is not None:
        return shown(row, limits(unit))
    reason = audit.keeping.held_by(unit, row.created_by)
    if reason is not None:
        raise Problem(
            "conflict", f"the legal hold {reason} keeps this", hint="Release it first.", hold=reason
        )
    gone = sa.update(artifacts).where(artifacts.c.id == row.id).values(gone_at=unit.now, gone_why="deleted")
    found = unit.execute(gone.returning(artifacts)).one()
    ledger.record(unit, "artifact.deleted", row.id, {"run_id": row.run_id, "path": row.path}, rules=rules)
    return shown(found, limits(unit))


def content(unit: Unit, body: WhichIn) -> Download:
    """The bytes of an artifact, as a download that can be taken in parts.

    Raises `not_found`; while the bytes are read, `hash_mismatch` where they are no longer those that were kept.
    """
    row, _ = row_of(unit, body.id, "artifact.read")
    handle = opened(unit, row)
    audit.access.note(unit, "artifact.read", row.id, repo=row.repo_id, paths=[row.path])
    name = row.path.rpartition("/")[2]
    plain = name.encode("ascii", "replace").decode().replace("?", "_").translate(_UNSAFE_IN_NAME)
    return Download(
        handle.read(0, row.size), media.served(row.media_type), plain, size=row.size,
        etag=f'"sha256-{row.hash.hex()}"', part=handle.read,
    )  # fmt: skip


def opened(unit: Unit, row: sa.Row[Any]) -> "Handle":
    """The content of an artifact's row. Raises `not_found` where it is gone."""
    found = None
    if row.gone_at is None:
        found = unit.execute(sa.select(contents).where(contents.c.hash == row.hash)).one_or_none()
    if found is None:
        raise Problem(
            "not_found", "the content of this artifact is gone", hint="It was deleted, or its term is over."
        )
    return Handle(
        unit.context, unit.org_id, row.id, Sum(row.hash, row.size, bytes(found.blocks)), found.store
    )


def open_(unit: Unit, id_: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Verified bytes of an artifact, for other rooms; `stop` is exclusive. Raises like `content`."""
    row, _ = row_of(unit, id_, "artifact.read")
    audit.access.note(unit, "artifact.read", row.id, repo=row.repo_id, paths=[row.path])
    return opened(unit, row).read(start, row.size if stop is None else min(stop, row.size))


def of_run(unit: Unit, run_id: str) -> list[Artifact]:
    """All that a run has kept, in that order, for another room that has asked the policy itself."""
    return of_runs(unit, [run_id])[run_id]


def of_runs(unit: Unit, run_ids: list[str]) -> dict[str, list[Artifact]]:
    """The same of several runs."""
    rows = unit.rows(artifacts, order="id", org_id=unit.org_id, run_id=run_ids)
    held = limits(unit) if rows else None
    found: dict[str, list[Artifact]] = {id_: [] for id_ in run_ids}
    for row in rows:
        assert held is not None
        found[row.run_id].append(shown(row, held))
    return found


def handle_of(unit: Unit, id_: str) -> "Handle":
    """The content of an artifact, for another room that has asked the policy itself. Raises `not_found`."""
    row = unit.execute(sa.select(artifacts).where(artifacts.c.id == id_)).one_or_none()
    if row is None:
        raise _unknown()
    return opened(unit, row)


@dataclass(frozen=True)
class Handle:
    """Content that can be read when its transaction has ended."""

    context: Context
    org_id: str
    artifact_id: str
    what: Sum
    store: str

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Verified bytes. Raises `hash_mismatch` instead of the first wrong block, and an alert."""
        if start >= stop:
            return
        first = start // BLOCK * BLOCK
        try:
            chunks = self._chunks(first, min(self.what.size, -(-stop // BLOCK) * BLOCK))
            yield from verified(chunks, self.what, start, stop)
        except (Altered, Missing) as why:
            log.error("the content of %s is not what was kept: %s", self.artifact_id, why)
            self._alarm(str(why))
            raise Problem(
                "hash_mismatch", "the stored content is not what was kept",
                hint="An administrator was told. Bring it back from a backup, or make it anew.",
            ) from why  # fmt: skip

    def _chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """The store's bytes; from another store where they were moved between looking and reading."""
        try:
            return self._from(self.store, start, stop)
        except Missing:
            now = as_system(self.context, self.org_id, self._store_now, read_only=True)
            if now is None or now == self.store:
                raise
            return self._from(now, start, stop)

    def _from(self, store: str, start: int, stop: int) -> Iterator[bytes]:
        chunks = self.context.get(Stores).at(store).read(self.org_id, self.what.hash, start, stop)
        first = next(chunks, None)  # so that what is missing is known now
        return chain(() if first is None else (first,), chunks)

    def _store_now(self, unit: Unit) -> str | None:
        wanted = sa.select(contents.c.store).where(contents.c.hash == self.what.hash)
        return unit.execute(wanted).scalar_one_or_none()

    def _alarm(self, why: str) -> None:
        detail = {"hash": self.what.hash.hex(), "store": self.store, "fault": why}
        as_system(
            self.context, self.org_id,
            lambda unit: notices.raise_alert(unit, "artifact_altered", self.artifact_id, detail),
        )  # fmt: skip


def _unknown() -> Problem:
    return Problem("not_found", "there is no such artifact", hint="List the artifacts first.")
