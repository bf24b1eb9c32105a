"""Keep something in mind, change it, let it go, bring it back. Secrets are taken out before anything else happens."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.quotas import service as quotas
from builderos.trust.vault import service as vault

from . import vectors
from .files import Files
from .items_schema import MAX_BODY, Tier
from .model import memory_history as history
from .model import memory_items as items
from .model import memory_space as space
from .places import Scope, alive, row_of

MAX_VERSIONS: Final = 100  # of one item; older ones go
RUN_TTL: Final = timedelta(days=1)  # of short_term: behind the longest run


@dataclass(frozen=True)
class Note:
    """What is to be remembered. None: as it is, or the usual."""

    body: str | None = None
    tier: Tier | None = None
    fact: str | None = None
    tags: tuple[str, ...] | None = None
    source: dict[str, Any] | None = None
    kind: Literal["person", "agent", "import"] = (
        "person"  # who says so: the server's to say, never a caller's
    )
    pinned: bool | None = None
    ttl: timedelta | None = None
    no_end: bool = False  # takes a term away


def remember(unit: Unit, scope: Scope, note: Note, *, rules: tuple[str, ...] = ()) -> dict[str, Any]:
    """Keep something in a place, for a caller that has asked the policy; returns its row.

    A fact that is there already gets a new version. Raises `validation_failed`, `quota_exceeded`.
    """
    tier: Tier = note.tier or ("semantic" if note.fact else "vector")
    if note.body is None:
        raise Problem("validation_failed", "there is nothing to remember", hint="Send body.", field="body")
    _fits(tier, note.fact, scope.run_id)
    if tier == "semantic":
        held = fact(unit, scope, str(note.fact))
        if held is not None:
            return change(unit, held, note, rules=rules)
    _count(unit)
    expires = unit.now + (note.ttl or RUN_TTL) if note.ttl or tier == "short_term" else None
    row: dict[str, Any] = {
        "id": new_id("mem"), "org_id": unit.org_id, "repo_id": scope.repo_id, "branch_id": scope.branch_id or "",
        "agent": scope.agent or "", "run_id": scope.run_id or "" if tier == "short_term" else "", "tier": tier,
        "fact": _line(unit, note.fact or ""), "body": clean(unit, note.body), "tags": _tags(unit, note.tags or ()),
        "source": _source(unit, note, scope.run_id), "version": 1, "pinned": bool(note.pinned),
        "created_by": author(unit), "created_at": unit.now, "changed_by": author(unit), "changed_at": unit.now,
        "expires_at": expires, "deleted_at": None,
    }  # fmt: skip
    unit.execute(sa.insert(items).values(**row))
    _wrote(unit, row, "put", rules)
    return row


def change(
    unit: Unit, row: Any, note: Note, *, rules: tuple[str, ...] = (), act: str = "put"
) -> dict[str, Any]:
    """A new version of an item; what the note leaves out stays. One that says the same changes nothing."""
    new = dict(row)
    new["body"] = clean(unit, note.body) if note.body is not None else row["body"]
    if note.tags is not None:
        new["tags"] = _tags(unit, note.tags)
    if note.pinned is not None:
        new["pinned"] = note.pinned
    if note.ttl is not None or note.no_end:
        new["expires_at"] = unit.now + note.ttl if note.ttl is not None else None
    if new == dict(row) and alive(unit, row):
        return new
    if note.source is not None:
        new["source"] = _source(unit, note, row["run_id"])
    if not alive(unit, row):
        new["deleted_at"] = None
        if note.ttl is None:
            new["expires_at"] = None
    new |= {"version": row["version"] + 1, "changed_by": author(unit), "changed_at": unit.now}
    _update(unit, new)
    _wrote(unit, new, act, rules)
    return new


def remove(unit: Unit, row: Any, *, rules: tuple[str, ...] = ()) -> dict[str, Any]:
    """Let an item go. It is found no more; a fact can be brought back for 30 days."""
    new: dict[str, Any] = dict(row) | {
        "deleted_at": unit.now, "version": row["version"] + 1, "changed_by": author(unit), "changed_at": unit.now,
    }  # fmt: skip
    _update(unit, new)
    vectors.drop(unit, new["id"])
    _remember_version(unit, new, "remove")
    unit.get(Files).note(unit, new["repo_id"], new["agent"])
    ledger.record(unit, "memory.removed", new["id"], _told(new), rules=rules)
    return new


def pin(unit: Unit, row: Any, pinned: bool, *, rules: tuple[str, ...] = ()) -> dict[str, Any]:
    """Keep an item whatever its term, or let its term count again; its words stay, so no version is made."""
    if row["pinned"] == pinned:
        return dict(row)
    return _kept(
        unit, dict(row) | {"pinned": pinned}, "memory.pinned" if pinned else "memory.unpinned", rules
    )


def keep_for(unit: Unit, row: Any, ttl: timedelta | None, *, rules: tuple[str, ...] = ()) -> dict[str, Any]:
    """Give an item a term from now on, or none."""
    expires = unit.now + ttl if ttl is not None else None
    if expires is None and row["tier"] == "short_term":
        raise Problem(
            "validation_failed", "what is a run's own has a term", hint="Send ttl_s.", field="ttl_s"
        )
    return _kept(unit, dict(row) | {"expires_at": expires}, "memory.term", rules)


def undo(unit: Unit, id_: str, version: int | None) -> dict[str, Any]:
    """Have an earlier version of a fact hold again, as a new version. Raises `not_found`, `conflict`."""
    row, rules = row_of(unit, id_, write=True, gone=True)
    if row.tier != "semantic":
        raise Problem("conflict", "only facts have versions to go back to", hint="Change the item instead.")
    wanted = row.version - 1 if version is None else version
    c = history.c
    found = unit.execute(sa.select(history).where(c.item_id == id_, c.version == wanted)).one_or_none()
    if found is None:
        raise Problem("not_found", f"this fact has no version {wanted}", hint="Its history lists them.")
    held = row._mapping  # pyright: ignore[reportPrivateUsage]
    if found.body is None:
        if not alive(unit, held):
            return dict(held)
        return remove(unit, held, rules=rules)
    note = Note(body=found.body, tags=tuple(found.tags), source=found.source, no_end=True)
    return change(unit, held, note, rules=rules, act="undo")


def fact(unit: Unit, scope: Scope, name: str) -> Any:
    """The row of a fact in exactly this place, removed ones included; locked. None: there is none."""
    c = items.c
    wanted = sa.select(items).where(
        c.org_id == unit.org_id, c.repo_id == scope.repo_id, c.branch_id == (scope.branch_id or ""),
        c.agent == (scope.agent or ""), c.fact == _line(unit, name),
    )  # fmt: skip
    row = unit.execute(wanted.with_for_update()).one_or_none()
    return row._mapping if row is not None else None  # pyright: ignore[reportPrivateUsage]


def versions(unit: Unit, id_: str) -> list[sa.Row[Any]]:
    """Every version of an item, newest first, for a caller that has asked the policy."""
    wanted = sa.select(history).where(history.c.item_id == id_).order_by(history.c.version.desc())
    return list(unit.execute(wanted).all())


def author(unit: Unit) -> str:
    """Whose words they are: the member's on whose behalf somebody acts, so that they go when the member is erased."""
    return unit.actor.member_id or unit.actor.id


def clean(unit: Unit, text: str) -> str:
    """A text without the organisation's secrets and without anything that has the form of a credential."""
    return vault.clean_text(unit, text)[:MAX_BODY]


def _line(unit: Unit, text: str) -> str:
    return clean(unit, text)[:200]


def _tags(unit: Unit, tags: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(_line(unit, tag) for tag in tags))


def _source(unit: Unit, note: Note, run_id: str | None) -> dict[str, Any]:
    """Where an item is known from."""
    said = {name: value for name, value in (note.source or {}).items() if value is not None}
    if run_id:
        said.setdefault("run_id", run_id)
    cleaned: dict[str, Any] = vault.clean(unit, said)
    return cleaned | {"kind": note.kind, "by": unit.actor.name}


def _fits(tier: Tier, fact: str | None, run_id: str | None) -> None:
    if (tier == "semantic") != bool(fact):
        raise Problem(
            "validation_failed", "a fact says what it is about, and nothing else does",
            hint="Send fact with tier semantic.", field="fact",
        )  # fmt: skip
    if tier == "short_term" and not run_id:
        raise Problem("validation_failed", "short_term belongs to a run", hint="Send run_id.", field="run_id")


def _update(unit: Unit, row: dict[str, Any]) -> None:
    unit.execute(sa.update(items).where(items.c.id == row["id"]).values(**row))


def _kept(unit: Unit, row: dict[str, Any], act: str, rules: tuple[str, ...]) -> dict[str, Any]:
    _update(unit, row)
    vectors.keep_until(unit, row)
    unit.get(Files).note(unit, row["repo_id"], row["agent"])
    ledger.record(unit, act, row["id"], _told(row), rules=rules)
    return row


def _wrote(unit: Unit, row: dict[str, Any], act: str, rules: tuple[str, ...]) -> None:
    vectors.put(unit, row, f"{row['fact']} {row['body']}".strip())
    _remember_version(unit, row, act)
    unit.get(Files).note(unit, row["repo_id"], row["agent"])
    ledger.record(
        unit, "memory.undone" if act == "undo" else "memory.put", row["id"], _told(row), rules=rules
    )


def _remember_version(unit: Unit, row: dict[str, Any], act: str) -> None:
    if row["tier"] == "short_term":
        return
    body = None if act == "remove" else row["body"]
    unit.execute(
        sa.insert(history).values(
            org_id=row["org_id"], item_id=row["id"], version=row["version"], act=act, body=body, tags=row["tags"],
            source=row["source"], by=author(unit), at=unit.now,
        )
    )  # fmt: skip
    old = history.c.version <= row["version"] - MAX_VERSIONS
    unit.execute(sa.delete(history).where(history.c.item_id == row["id"], old))


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """What the ledger holds of an item: where it belongs, never what it says."""
    names = ("repo_id", "branch_id", "agent", "run_id", "tier", "version", "pinned")
    return {name: row[name] for name in names if row[name] not in ("", None)}


def _count(unit: Unit) -> None:
    unit.execute(insert(space).values(org_id=unit.org_id, held=0).on_conflict_do_nothing())
    used = unit.execute(sa.select(space.c.held).with_for_update()).scalar_one()
    quotas.spend("memory items", used=used, cost=1, limit=unit.settings.max_memory_items)
    unit.execute(sa.update(space).values(held=used + 1))
