"""Members of an organisation: persons and service accounts, each with one role. Who they are stands elsewhere."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from builderos.core.actor import MemberRole
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Unit

from .model import credentials, members


@dataclass(frozen=True)
class Member:
    """A live member. `label` is a pseudonym fit for git and the ledger, or the name of a service account."""

    id: str
    role: MemberRole
    label: str
    created_at: datetime

    @property
    def kind(self) -> Literal["person", "service"]:
        """Whether somebody signs in, or a program holds a token."""
        return "service" if self.id.startswith("sva_") else "person"


def add(unit: Unit, role: MemberRole, *, label: str | None = None) -> Member:
    """A new member: a service account where a label is given, else a person with a pseudonym."""
    id_ = new_id("usr" if label is None else "sva")
    label = label or f"member-{id_[-6:].lower()}"
    unit.execute(
        sa.insert(members).values(
            id=id_,
            org_id=unit.org_id,
            role=role,
            label=label,
            created_at=unit.now,
            created_by=unit.actor.member_id or unit.actor.id,
        )
    )
    return Member(id_, role, label, unit.now)


def find(unit: Unit, id_: str, *, lock: bool = True) -> Member:
    """A live member, held until the transaction ends unless it is only looked at. Raises `not_found`."""
    wanted = _live().where(members.c.id == id_)
    if lock:
        wanted = wanted.with_for_update()
    row = unit.execute(wanted).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no such member", hint="List the members first.")
    return _member(row)


def everybody(unit: Unit) -> list[Member]:
    """All live members, oldest first."""
    return [_member(row) for row in unit.execute(_live().order_by(members.c.id))]


def labels(unit: Unit, ids: Collection[str]) -> dict[str, str]:
    """Pseudonyms of members, who may have left, and names of other actors, by their ids; without unknown ones."""
    c, m, wanted = credentials.c, members.c, list(set(ids))
    actors = sa.select(c.actor_id.label("id"), sa.func.max(c.actor_name).label("name")).group_by(c.actor_id)
    known = sa.select(m.id, m.label.label("name")).where(m.id.in_(wanted))
    named = sa.union_all(actors.where(c.actor_id.in_(wanted)), known)
    return {row.id: row.name for row in unit.execute(named)}


def programs_of(unit: Unit, member_id: str) -> frozenset[str]:
    """Service accounts that a member made, or made any token for: what these ask for, that member asks for."""
    made = sa.select(members.c.id).where(members.c.created_by == member_id, members.c.id.startswith("sva_"))
    c = credentials.c
    handed = sa.select(c.member_id).where(c.made_by == member_id, c.kind == "service")
    return frozenset(unit.execute(sa.union(made, handed)).scalars())


def revoke_handed(unit: Unit, member_id: str) -> int:
    """Revoke the tokens of service accounts that a member made, and so may know; returns how many.

    An account that no token is left for has no use for the workspaces that were opened and the keys that were made with
    them: these end too.
    """
    c = credentials.c
    live = sa.and_(c.kind == "service", c.revoked_at.is_(None))
    over = sa.update(credentials).where(live, c.made_by == member_id).values(revoked_at=unit.now)
    accounts = list(unit.execute(over.returning(c.member_id)).scalars())
    if accounts:
        kept = sa.select(c.member_id).where(live, c.member_id.in_(accounts))
        idle = set(accounts) - set(unit.execute(kept).scalars())
        rest = sa.update(credentials).where(c.member_id.in_(idle), c.revoked_at.is_(None))
        unit.execute(rest.values(revoked_at=unit.now))
    return len(accounts)


def set_role(unit: Unit, member: Member, role: MemberRole) -> None:
    """Another role. Raises `conflict` where it takes the last owner."""
    if member.role == "org_owner" and role != "org_owner":
        _keep_an_owner(unit, member)
    unit.execute(sa.update(members).where(members.c.id == member.id).values(role=role))


def remove(unit: Unit, member: Member) -> None:
    """End a membership; every credential on its behalf ends with it. Raises `conflict` for the last owner."""
    if member.role == "org_owner":
        _keep_an_owner(unit, member)
    unit.execute(sa.update(members).where(members.c.id == member.id).values(removed_at=unit.now))


def _keep_an_owner(unit: Unit, leaving: Member) -> None:
    # All owners are held, in one order: two who demote each other at once wait for one another.
    wanted = _live().where(members.c.role == "org_owner").order_by(members.c.id).with_for_update()
    if not [row for row in unit.execute(wanted) if row.id != leaving.id]:
        raise Problem(
            "conflict", "an organisation keeps at least one owner",
            hint="Make somebody else an owner first.",
        )  # fmt: skip


def _live() -> sa.Select[Any]:
    return sa.select(members).where(members.c.removed_at.is_(None))


def _member(row: sa.Row[Any]) -> Member:
    return Member(row.id, row.role, row.label, row.created_at)
