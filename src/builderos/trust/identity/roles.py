"""Which role a member has where: the one in the organisation, or that of the most specific grant."""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.actor import Actor, Grant, Role
from builderos.core.ids import new_id
from builderos.core.unit import Unit

from .model import credentials, grants, members

BUILDS = frozenset({"org_owner", "admin", "builder"})  # who may hold the token of a workspace
SCOPES: Final = ("read", "write", "promote", "approve", "admin")
SCOPES_OF_ROLE: Final[dict[Role, tuple[str, ...]]] = {  # what a whole sign-in of a member may do
    "org_owner": SCOPES,
    "admin": SCOPES,
    "builder": ("read", "write", "promote"),
    "reviewer": ("read", "approve"),
    "viewer": ("read",),
}
_OF_WORKSPACES = ("reuse_token", "share")


@dataclass(frozen=True)
class Home:
    """What a repository lies in. `project`, by id and name, and its workspace; empty: in none."""

    repo_name: str = ""
    project_id: str = ""
    workspace_id: str = ""
    project: str = ""

    @classmethod
    def of_text(cls, repo_name: str, text: str) -> "Home":
        """From `ops.home_of`: project, workspace and name, each behind a bar; empty text: in no project."""
        return cls(repo_name, *text.split("|", 2)) if text else cls(repo_name)

    def places(self, org_id: str, repo_id: str) -> tuple[str, ...]:
        """Ids of everything the repository lies in, from the narrowest to the organisation."""
        return tuple(id_ for id_ in (repo_id, self.project_id, self.workspace_id, org_id) if id_)


def home_of(unit: Unit, repo_id: str) -> Home:
    """Where a repository lies; nowhere, where there is none."""
    rows = unit.ask("ops.home_of", repo_id)
    return Home.of_text(*rows[0]) if rows else Home()


def homes(unit: Unit) -> dict[str, str]:
    """Name of every repository that is in a project → name of the project."""
    return {str(repo): str(project) for repo, project in unit.ask("ops.homes")}


def canonical(environment: str | None) -> str:
    """`staging` is another word for `stage` (SPEC §4)."""
    return "stage" if environment == "staging" else environment or ""


def deciding(
    held: tuple[Grant, ...], places: tuple[str, ...], environment: str | None = None
) -> Grant | None:
    """The grant that says what a member is there; None: what it is in the organisation.

    `places` from the narrowest to the widest. A grant for the environment of the act goes before any without one, then
    the narrower place before the wider.
    """
    here, found = canonical(environment), list[tuple[bool, int, Grant]]()
    for grant in held:
        if grant.place_id in places and grant.environment in ("", here):
            found.append((grant.environment != "", -places.index(grant.place_id), grant))
    return max(found, key=lambda ranked: ranked[:2])[2] if found else None


def role_at(actor: Actor, places: tuple[str, ...], environment: str | None = None) -> Role:
    """The role that counts there."""
    grant = deciding(actor.grants, places, environment)
    return actor.role if grant is None else grant.role


def give(unit: Unit, member_id: str, place_id: str, environment: str, role: str) -> str:
    """Grant a role, instead of an older grant for the same place and environment; returns its id."""
    c = grants.c
    unit.execute(
        sa.delete(grants).where(
            c.member_id == member_id, c.place_id == place_id, c.environment == environment
        )
    )
    id_ = new_id("grt")
    unit.execute(
        sa.insert(grants).values(
            id=id_, org_id=unit.org_id, member_id=member_id, place_id=place_id, environment=environment,
            role=role, created_by=unit.actor.id, created_at=unit.now,
        )
    )  # fmt: skip
    return id_


def grants_of(
    unit: Unit, *, member_id: str | None = None, place_id: str | None = None, id_: str | None = None
) -> list[sa.Row[Any]]:
    """Rows of grants, oldest first."""
    wanted = sa.select(grants).order_by(grants.c.id)
    for column, value in ((grants.c.member_id, member_id), (grants.c.place_id, place_id), (grants.c.id, id_)):
        if value is not None:
            wanted = wanted.where(column == value)
    return list(unit.execute(wanted).all())


def take(unit: Unit, id_: str) -> None:
    """End a grant."""
    unit.execute(sa.delete(grants).where(grants.c.id == id_))


def take_all(unit: Unit, *, member_id: str | None = None, place_id: str | None = None) -> int:
    """End the grants of a member, or those in a place; returns how many."""
    if member_id is None and place_id is None:
        raise ValueError("say whose, or where")
    return sum(1 for row in grants_of(unit, member_id=member_id, place_id=place_id) if not take(unit, row.id))


def end_what_no_longer_holds(unit: Unit, *, member_id: str | None = None, repo_id: str | None = None) -> int:
    """End workspace tokens and share links of members who may no longer build where these work; returns how many.

    Called whenever grants or the place of a repository have changed; for one member, one repository, or all.
    """
    c, ended = credentials.c, 0
    live = sa.and_(c.kind.in_(_OF_WORKSPACES), c.revoked_at.is_(None))
    wanted = sa.select(c.member_id, c.repo_id).where(live, c.member_id.is_not(None), c.repo_id.is_not(None))
    for column, value in ((c.member_id, member_id), (c.repo_id, repo_id)):
        if value is not None:
            wanted = wanted.where(column == value)
    for row in unit.execute(wanted.distinct()).all():
        holder, repo = str(row.member_id), str(row.repo_id)
        if role_of(unit, holder, home_of(unit, repo).places(unit.org_id, repo)) in BUILDS:
            continue
        over = sa.update(credentials).where(live, c.member_id == holder, c.repo_id == repo)
        ended += unit.execute(over.values(revoked_at=unit.now)).rowcount
    return ended


def role_of(unit: Unit, member_id: str, places: tuple[str, ...]) -> Role | None:
    """The role that a member has there by now; None for one who left."""
    role: Role | None = unit.execute(
        sa.select(members.c.role).where(members.c.id == member_id)
    ).scalar_one_or_none()
    held = tuple(Grant(r.id, r.place_id, r.environment, r.role) for r in grants_of(unit, member_id=member_id))
    grant = deciding(held, places) if role is not None else None
    return role if grant is None else grant.role
