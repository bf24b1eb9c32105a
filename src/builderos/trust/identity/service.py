"""Credentials: opaque random secrets, stored only as a keyed hash; a credential proves an `Actor`."""

import hmac
import re
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from builderos.core.actor import Actor, Grant, Profile, Role
from builderos.core.clock import utcnow
from builderos.core.database import Database
from builderos.core.ids import new_id
from builderos.core.keys import ServerKeys
from builderos.core.problems import Problem
from builderos.core.tables import as_dict
from builderos.core.unit import Presented, Unit
from builderos.trust.secrets.service import Keyring

from . import members, roles, visitors
from .model import credentials, orgs
from .standing import standing_in, still

__all__ = ["members", "roles", "standing_in", "still", "visitors"]

CredentialKind = Literal[
    "reuse_token",
    "owner",
    "api_key",
    "share",
    "personal",
    "service",
    "access",
    "cookie",
    "invite",
    "workload",
]
PREFIX: Final[dict[CredentialKind, str]] = {
    "reuse_token": "bos_rt_",
    "owner": "bos_ow_",
    "api_key": "bos_ak_",
    "share": "bos_sh_",
    "personal": "bos_pt_",
    "service": "bos_sa_",
    "access": "bos_at_",
    "cookie": "bos_cs_",
    "invite": "bos_in_",
    "workload": "bos_wl_",
}
ROLE: Final[dict[str, Role]] = {
    "reuse_token": "sandbox",
    "owner": "owner",
    "api_key": "api_key",
    "share": "share",
    "invite": "invite",
    "workload": "workload",
}
OF_MEMBERS: Final = frozenset({"personal", "service", "access", "cookie"})
EVERY_SCOPE: Final = ("admin", "approve", "promote", "read", "write")
SECRET: Final = re.compile(r"bos_(?:rt|ow|ak|sh|pt|sa|at|cs|in|wl)_[0-9A-Za-z]{43}")
_BASE62: Final = string.digits + string.ascii_letters
_PAIRS: Final = tuple(high + low for high in _BASE62 for low in _BASE62)
DEFAULT_ORG_SLUG: Final = "local"
SLIDE: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Found:
    """What a presented secret turned out to be. `actor` is set when it is valid."""

    presented: Presented
    actor: Actor | None = None
    org_id: str | None = None
    idle: bool = False  # a sandbox's token whose last activity was written down more than `SLIDE` ago
    audience: str = ""  # the part of this server that the credential is for; empty: all of it


@dataclass(frozen=True)
class NewCredential:
    """A fresh credential: `secret` is shown once and never stored."""

    id: str
    secret: str


def new_secret(kind: CredentialKind) -> str:
    """The kind's prefix and 43 base62 characters: 256 bits."""
    return PREFIX[kind] + random_text()


def random_text() -> str:
    """43 base62 characters: 256 bits."""
    number, pairs = secrets.randbelow(62**44), list[str]()
    for _ in range(22):
        number, pair = divmod(number, 62**2)
        pairs.append(_PAIRS[pair])
    return "".join(pairs)[:43]


class Hasher:
    """Hashes secrets with a pepper that the database does not hold. Equality of hashes decides: no timing question."""

    def __init__(self, keys: ServerKeys) -> None:
        self._pepper = keys.derive("credential")

    def __call__(self, secret: str) -> bytes:
        """32 bytes."""
        return hmac.digest(self._pepper, secret.encode(), "sha256")


def authenticate(database: Database, hasher: Hasher, secret: str) -> Found:
    """Turn a secret into an actor. Anything that is not exactly a live credential is `invalid`, `expired` or
    `revoked`.
    """
    if not SECRET.fullmatch(secret):
        return Found("invalid")
    rows = database.ask("select * from ops.credential(%s)", (hasher(secret),))
    if not rows:
        return Found("invalid")
    row = rows[0]
    id_, org_id, kind, actor_id, actor_name, profile, scopes, repo_id, sandbox_id, branch = row[:10]
    sandbox_state, expires_at, revoked_at, sandbox_expires_at, last_active_at, member_id, member_role = row[
        10:17
    ]
    closing, grants, session_id, opened_by = row[18:22]
    actor = Actor(
        role=member_role if kind in OF_MEMBERS else ROLE[kind], id=actor_id, name=actor_name, org_id=org_id,
        profile="closing" if closing else profile, scopes=frozenset(scopes),
        grants=tuple(Grant(*grant) for grant in grants or ()), credential_id=id_,
        repo_id=repo_id, sandbox_id=sandbox_id, branch=branch,
        member_id=member_id, session_id=session_id, opened_by=opened_by,
    )  # fmt: skip
    if revoked_at is not None:
        return Found("revoked", None, org_id)
    now = utcnow()
    over = [at for at in (expires_at, sandbox_expires_at) if at is not None and at <= now]
    if over or sandbox_state in ("expired", "archived"):
        return Found("expired", None, org_id)
    idle = actor.role == "sandbox" and last_active_at is not None and now - last_active_at > SLIDE
    return Found("valid", actor, org_id, idle, row[17])


def find_org(database: Database, slug: str) -> tuple[str, bool] | None:
    """Id and anonymous switch of an organisation, before any credential is known."""
    if len(slug) > 63 or not re.fullmatch(r"[a-z0-9][a-z0-9-]*", slug):
        return None
    rows = database.ask("select id, anonymous from ops.org_by_slug(%s)", (slug,))
    return (rows[0][0], rows[0][1]) if rows else None


def anonymous_actor(org_id: str) -> Actor:
    """Somebody without a credential: may at most open a sandbox."""
    return Actor(role="anonymous", id="anonymous", name="anonymous", org_id=org_id)


def create_org(unit: Unit, slug: str, name: str, *, anonymous: bool) -> str:
    """Insert the unit's own organisation (the unit was opened under the new id), with a key of its own."""
    unit.execute(
        sa.insert(orgs).values(id=unit.org_id, slug=slug, name=name, anonymous=anonymous, created_at=unit.now)
    )
    unit.get(Keyring).create(unit)
    return unit.org_id


def own_org(unit: Unit) -> sa.Row[Any]:
    """The row of the unit's organisation. Raises `not_found` where there is none, or none any more."""
    row = unit.execute(sa.select(orgs).where(orgs.c.erased_at.is_(None))).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no such organisation", hint="Check its name.")
    return row


def change_org(unit: Unit, **values: Any) -> None:
    """Change columns of the unit's organisation. Raises `conflict` for a slug that is taken."""
    try:
        unit.execute(sa.update(orgs).where(orgs.c.id == unit.org_id).values(values))
    except IntegrityError:
        raise Problem("conflict", "this slug is taken", hint="Choose another slug.") from None


def org_slug(unit: Unit) -> str:
    """The slug of the unit's organisation."""
    return unit.execute(sa.select(orgs.c.slug)).scalar_one()


def issue(
    unit: Unit, kind: CredentialKind, *, actor_name: str, profile: Profile = "standard", scopes: tuple[str, ...] = (),
    actor_id: str | None = None, repo_id: str | None = None, sandbox_id: str | None = None, label: str = "",
    expires_at: datetime | None = None, secret: str | None = None, member_id: str | None = None,
    session_id: str | None = None, made_by: str | None = None,
) -> NewCredential:  # fmt: skip
    """Make a credential; its secret is in the result and nowhere else.

    It acts on behalf of `member_id`, or of the member who makes it, and ends with that membership. `made_by`: who is
    kept as its maker, where that is not this member; of a workspace's token: who opened the workspace (`opener`).
    """
    secret = secret or new_secret(kind)
    id_ = new_id("crd")
    unit.add(
        credentials, id=id_, org_id=unit.org_id, kind=kind, hash=unit.get(Hasher)(secret),
        actor_id=actor_id or new_id("act"), actor_name=actor_name, profile=profile, scopes=list(scopes),
        repo_id=repo_id, sandbox_id=sandbox_id, label=label, created_at=unit.now, expires_at=expires_at,
        member_id=member_id or unit.actor.member_id, made_by=made_by or unit.actor.member_id, session_id=session_id,
    )  # fmt: skip
    return NewCredential(id_, secret)


def opener(unit: Unit, sandbox_id: str | None = None) -> str | None:
    """Who of the organisation stands for a workspace that the unit's actor opens now, or for `sandbox_id`: a member,
    or the local owner; None where nobody is known. Whoever gives a stranger a new token did not open the workspace.
    """
    actor = unit.actor
    if sandbox_id is None:
        return actor.id if actor.role == "owner" else actor.member_id or actor.opened_by
    c = credentials.c
    known = sa.select(c.made_by).where(c.sandbox_id == sandbox_id, c.kind == "reuse_token")
    return unit.execute(known.order_by(c.created_at.desc(), c.id.desc()).limit(1)).scalar_one_or_none()


def revoke(unit: Unit, *, credential_id: str | None = None, sandbox_id: str | None = None) -> int:
    """Revoke one credential, or all tokens of a sandbox; returns how many."""
    wanted = sa.update(credentials).where(credentials.c.revoked_at.is_(None)).values(revoked_at=unit.now)
    if credential_id is not None:
        wanted = wanted.where(credentials.c.id == credential_id)
    if sandbox_id is not None:
        wanted = wanted.where(credentials.c.sandbox_id == sandbox_id, credentials.c.kind == "reuse_token")
    if credential_id is None and sandbox_id is None:
        raise ValueError("say what to revoke")
    return unit.execute(wanted).rowcount


def is_live(unit: Unit, credential_id: str) -> bool:
    """Whether the unit's organisation has this credential, and has not revoked it."""
    c = credentials.c
    found = sa.select(c.id).where(c.id == credential_id, c.revoked_at.is_(None))
    return unit.execute(found).one_or_none() is not None


def suspend(unit: Unit, credential_id: str, *, lift: bool = False) -> str | None:
    """Stop a credential until somebody lifts that, or lift it; returns its kind, None where nothing changed."""
    c = credentials.c
    stands = c.suspended_at.is_not(None) if lift else c.suspended_at.is_(None)
    changed = sa.update(credentials).where(c.id == credential_id, c.revoked_at.is_(None), stands)
    at = None if lift else unit.now
    return unit.execute(changed.values(suspended_at=at).returning(c.kind)).scalar_one_or_none()


def extend(unit: Unit, sandbox_id: str, expires_at: datetime | None) -> None:
    """Move the expiry of a sandbox's live tokens."""
    unit.execute(
        sa.update(credentials)
        .where(credentials.c.sandbox_id == sandbox_id, credentials.c.kind == "reuse_token")
        .where(credentials.c.revoked_at.is_(None))
        .values(expires_at=expires_at)
    )


def ends(unit: Unit) -> list[tuple[str, str | None, datetime | None]]:
    """Of every token and link of a sandbox: its id, its sandbox and when it ends."""
    c = credentials.c
    wanted = sa.select(c.id, c.sandbox_id, c.expires_at).where(c.sandbox_id.is_not(None)).order_by(c.id)
    return [tuple(row) for row in unit.execute(wanted)]


def prolong(unit: Unit, credential_id: str, expires_at: datetime) -> bool:
    """Have a credential end later; whether there is one that nobody revoked."""
    c = credentials.c
    live = sa.update(credentials).where(c.id == credential_id, c.revoked_at.is_(None))
    return unit.execute(live.values(expires_at=expires_at)).rowcount == 1


def narrow(unit: Unit, actor_id: str, kept: Iterable[str]) -> None:
    """Leave the live credentials of a workload no scope but those; with none they are revoked."""
    c = credentials.c
    wanted = sa.select(c.id, c.scopes).where(
        c.actor_id == actor_id, c.kind == "workload", c.revoked_at.is_(None)
    )
    left = frozenset(kept)
    if not left:
        over = sa.update(credentials).where(c.id.in_(wanted.with_only_columns(c.id)))
        unit.execute(over.values(revoked_at=unit.now))
        return
    for row in unit.execute(wanted.with_for_update()).all():
        scopes = [scope for scope in row.scopes if scope in left]
        unit.execute(sa.update(credentials).where(c.id == row.id).values(scopes=scopes))


def list_credentials(
    unit: Unit, kind: CredentialKind, *, member_id: str | None = None
) -> list[dict[str, Any]]:
    """Live credentials of a kind, of one member where one is named, without secret or hash."""
    wanted = (
        sa.select(credentials.c.id, credentials.c.label, credentials.c.scopes, credentials.c.created_at,
                  credentials.c.expires_at)
        .where(credentials.c.kind == kind, credentials.c.revoked_at.is_(None)).order_by(credentials.c.id)
    )  # fmt: skip
    if member_id is not None:
        wanted = wanted.where(credentials.c.member_id == member_id)
    return [as_dict(r) for r in unit.execute(wanted)]


def revoke_of_member(unit: Unit, member_id: str, kinds: Iterable[CredentialKind]) -> int:
    """Revoke a member's credentials of these kinds; returns how many."""
    c = credentials.c
    wanted = sa.update(credentials).where(
        c.member_id == member_id, c.kind.in_(list(kinds)), c.revoked_at.is_(None)
    )
    return unit.execute(wanted.values(revoked_at=unit.now)).rowcount


def session_of(unit: Unit, credential_id: str) -> str | None:
    """The session that a credential belongs to."""
    wanted = sa.select(credentials.c.session_id).where(credentials.c.id == credential_id)
    return unit.execute(wanted).scalar_one_or_none()


def sweep_access(unit: Unit, before: datetime) -> int:
    """Forget access tokens, and tokens of workloads, that ended before that instant; returns how many."""
    c = credentials.c
    old = sa.delete(credentials).where(c.kind.in_(("access", "workload")), c.expires_at < before)
    return unit.execute(old).rowcount


def session_of_secret(unit: Unit, secret: str) -> str | None:
    """The session that an access token belongs to."""
    wanted = sa.select(credentials.c.session_id).where(credentials.c.hash == unit.get(Hasher)(secret))
    return unit.execute(wanted).scalar_one_or_none()


def with_branch(actor: Actor, branch: str) -> Actor:
    """The same actor, bound to a branch name (used while the first commit of a new sandbox is made)."""
    return replace(actor, branch=branch)
