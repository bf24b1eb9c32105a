"""Keeping something: first the bytes, durably, then the row that refers to them.

Between the two nothing is locked. Under the lock of the organisation's space it is then looked whether the bytes are
still there: nothing but a holder of that lock removes any. So what a row refers to is there, whatever tidied up
meanwhile, and whoever died in between left bytes that nobody refers to, which are found and removed some day.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.actor import is_anonymous
from builderos.core.context import Context
from builderos.core.ids import new_id
from builderos.core.paths import check_path
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.trust.ledger import service as ledger
from builderos.trust.notices import service as notices
from builderos.trust.quotas import service as quotas
from builderos.trust.secrets.service import Cleaner
from builderos.trust.vault import service as vault

from . import media
from .hashing import BLOCK, Sum, Summing
from .model import artifacts, contents, space
from .places import Stores
from .ports import ArtifactStore, RunFacts
from .rules import Limits, limits
from .schema import Artifact

Source: TypeAlias = "Path | BinaryIO | bytes | Iterator[bytes]"
_START: Final = 8192
NOWHERE: Final = RunFacts(None, None, None)


@dataclass(frozen=True)
class Prepared:
    """Content that is in a store; nothing refers to it yet."""

    what: Sum
    store: str
    media_type: str
    redacted: bool


@dataclass(frozen=True)
class Ways:
    """How content of an organisation is put away now; good for one thing alone."""

    store: ArtifactStore
    cleaner: Any  # feed and end; None: nothing is taken out
    max_size: int


def prepare(
    context: Context, org_id: str, source: Source, *, path: str, media_type: str | None = None
) -> Prepared:
    """Put the bytes into the store, without holding a transaction: then `keep` what comes back.

    Raises `invalid_path`, `payload_too_large`, `storage_full`, `unavailable`.
    """
    found = as_system(context, org_id, ways, read_only=True)
    return put(found, org_id, source, path=path, media_type=media_type)


def ways(unit: Unit) -> Ways:
    """How content is put away now."""
    return Ways(unit.get(Stores).current(unit), _cleaner(unit, limits(unit)), unit.settings.max_artifact)


def _cleaner(unit: Unit, held: Limits) -> Any:
    if held.redact == "off":
        return None
    pair = unit.get(vault.Known).pair(unit)
    redactor = pair.guarded if is_anonymous(unit.actor) else pair.all
    if held.redact == "all":
        return Cleaner(redactor)
    return redactor.stream() if redactor else None


def put(found: Ways, org_id: str, source: Source, *, path: str, media_type: str | None = None) -> Prepared:
    """Put bytes into a store under their hash; secrets are taken out of texts on the way."""
    check_path(path)
    chunks = _chunks(source)
    first = next(chunks, b"")
    kind = media.told(media_type) if media_type is not None else media.guessed(path, first[:_START])
    cleaner = found.cleaner if media.is_text(first[:_START]) else None
    came, kept, size = Summing(), Summing(), 0
    draft = found.store.draft(org_id)
    try:
        for chunk in chain((first,), chunks):
            size += len(chunk)
            if size > found.max_size:
                raise too_large(found.max_size)
            clean = chunk
            if cleaner is not None:
                came.update(chunk)
                clean = cleaner.feed(chunk)
            kept.update(clean)
            draft.write(clean)
        if cleaner is not None:
            clean = cleaner.end()
            kept.update(clean)
            draft.write(clean)
        what = kept.done()
        draft.keep(what)
    finally:
        draft.drop()
    redacted = cleaner is not None and came.done().hash != what.hash
    return Prepared(what, found.store.url, kind, redacted)


def _chunks(source: Source) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
    elif isinstance(source, Path):
        with source.open("rb", buffering=0) as file:
            while data := file.read(BLOCK):
                yield data
    elif hasattr(source, "read"):
        file = cast("BinaryIO", source)
        while data := file.read(BLOCK):
            yield data
    else:
        yield from cast("Iterator[bytes]", source)


def keep(
    unit: Unit,
    source: "Source | Prepared",
    *,
    path: str,
    run_id: str | None = None,
    step_id: str | None = None,
    media_type: str | None = None,
    type_: str = "file",
    facts: RunFacts = NOWHERE,
    created_by_prompt: str | None = None,
    created_by_agent: str | None = None,
    expires_at: datetime | None = None,
    rules: tuple[str, ...] = (),
) -> Artifact:
    """Keep something as an artifact. A step that keeps the same once more gets the one that there is.

    What is large should be `prepare`d before the unit begins. `facts` says which repository, sandbox and pipeline it
    belongs to. Raises `quota_exceeded`, and what `prepare` does.
    """
    check_path(path)
    content = (
        source
        if isinstance(source, Prepared)
        else put(ways(unit), unit.org_id, source, path=path, media_type=media_type)
    )
    _refer(unit, content)
    what = content.what
    if run_id is not None and step_id is not None:
        c = artifacts.c
        same = sa.select(artifacts).where(
            c.run_id == run_id, c.step_id == step_id, c.path == path, c.hash == what.hash, c.gone_at.is_(None)
        )
        before = unit.execute(same).one_or_none()
        if before is not None:
            return shown(before, limits(unit))
    values: dict[str, Any] = {
        "id": new_id("art"), "org_id": unit.org_id, "run_id": run_id, "step_id": step_id, "repo_id": facts.repo_id,
        "sandbox_id": facts.sandbox_id, "pipeline": facts.pipeline, "path": path, "type": type_, "hash": what.hash,
        "size": what.size, "media_type": content.media_type, "redacted": content.redacted,
        "created_by": unit.actor.id, "created_by_prompt": created_by_prompt, "created_by_agent": created_by_agent,
        "created_at": unit.now, "expires_at": expires_at,
    }  # fmt: skip
    row = unit.execute(sa.insert(artifacts).values(**values).returning(artifacts)).one()
    told = ("run_id", "step_id", "path", "type", "size", "created_by_prompt", "created_by_agent")
    payload = {name: values[name] for name in told} | {"hash": f"sha256:{what.hash.hex()}"}
    ledger.record(unit, "artifact.created", values["id"], payload, rules=rules)
    return shown(row, limits(unit))


def lock_space(unit: Unit) -> int:
    """Be the one who adds or removes content here, until the unit ends; returns the bytes that are used."""
    unit.execute(insert(space).values(org_id=unit.org_id, bytes=0).on_conflict_do_nothing())
    return unit.execute(sa.select(space.c.bytes).with_for_update()).scalar_one()


def add_space(unit: Unit, size: int) -> None:
    """Count bytes that came (or went)."""
    unit.execute(sa.update(space).values(bytes=sa.func.greatest(space.c.bytes + size, 0)))


def _refer(unit: Unit, content: Prepared) -> None:
    """See to it that the content stays. Raises `busy` where it was tidied away meanwhile, `quota_exceeded`."""
    size, hash_ = content.what.size, content.what.hash
    used = lock_space(unit)
    row = unit.execute(sa.select(contents).where(contents.c.hash == hash_)).one_or_none()
    if row is not None and row.doomed_at is None:
        return
    if unit.get(Stores).at(content.store).size_of(unit.org_id, hash_) != size:
        raise Problem("busy", "the content was tidied away before it was kept", hint="Repeat the call.")
    if row is not None:
        again = sa.update(contents).where(contents.c.hash == hash_)
        unit.execute(again.values(doomed_at=None, store=content.store, blocks=content.what.blocks, size=size))
        return
    spend(unit, used, size)
    unit.execute(
        sa.insert(contents).values(
            org_id=unit.org_id, hash=hash_, size=size, blocks=content.what.blocks, store=content.store,
            stored_at=unit.now,
        )
    )  # fmt: skip
    add_space(unit, size)


def spend(unit: Unit, used: int, size: int) -> None:
    """Whether there is space left for so much. Raises `quota_exceeded`; tells once when little is left."""
    most = limits(unit).max_bytes
    quotas.spend(
        "artifact bytes", used=used, cost=size, limit=most,
        near=lambda: notices.raise_alert(unit, "quota_near", "artifacts", {"used": used + size, "limit": most}),
    )  # fmt: skip


def too_large(limit: int) -> Problem:
    """An artifact has more bytes than one may have."""
    return Problem(
        "payload_too_large", f"an artifact may have {limit} bytes", hint="Keep it in parts.", limit=limit
    )


def shown(row: sa.Row[Any], held: Limits) -> Artifact:
    """An artifact as it is told of."""
    return Artifact(
        id=row.id, run_id=row.run_id, step_id=row.step_id, path=row.path, type=row.type,
        hash=f"sha256:{row.hash.hex()}", size=row.size, media_type=row.media_type, redacted=row.redacted,
        created_by=row.created_by, created_by_prompt=row.created_by_prompt, created_by_agent=row.created_by_agent,
        created_at=row.created_at, expires_at=held.expiry(row.pipeline, row.created_at, row.expires_at),
        gone_at=row.gone_at, gone_why=row.gone_why,
    )  # fmt: skip
