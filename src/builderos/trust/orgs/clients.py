"""Programs that may ask a member to let them act: registered by themselves, or by an organisation with a secret.

RFC 7591 (a program registers itself), RFC 6749 §2. A program without a secret proves itself by PKCE alone.
"""

import hmac
import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa

from builderos.core.clock import utcnow
from builderos.core.database import Database
from builderos.core.ids import is_id, new_id
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from . import redirects, schema, sessions
from .members import resource
from .model import oauth_clients, oauth_codes

SECRET: Final = "bos_os_"
_NO_SECRET: Final = bytes(32)
_UNSEEN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


@dataclass(frozen=True)
class Client:
    """A program. `org_id` is set where one organisation made it: only its members can let it act."""

    id: str
    name: str
    redirect_uris: tuple[str, ...]
    org_id: str | None = None
    secret_hash: bytes | None = None

    @property
    def origin(self) -> Literal["builtin", "organisation", "self"]:
        """Who vouches for the name."""
        if self.id == sessions.CLI:
            return "builtin"
        return "organisation" if self.org_id is not None else "self"


_BUILTIN: Final = Client(sessions.CLI, "BuilderOS command line", ("http://127.0.0.1/callback",))


@dataclass(frozen=True)
class Registered:
    """A program that has just registered itself; `secret` is shown once."""

    client: Client
    secret: str | None


def find(database: Database, id_: str) -> Client | None:
    """A live program, before any organisation is known."""
    if id_ == sessions.CLI:
        return _BUILTIN
    if not is_id(id_, "oac"):
        return None
    with database.connection() as conn:
        row = conn.execute("select * from ops.oauth_client(%s)", (id_,)).fetchone()
    return None if row is None else Client(row[0], row[2], tuple(row[4]), row[1], row[3])


def proven(database: Database, hasher: identity.Hasher, id_: str, secret: str | None) -> Client:
    """The program that shows its secret, or has none. Raises `unauthenticated`, the same for every reason."""
    client = find(database, id_)
    wanted = client.secret_hash if client is not None else None
    # Compared in any case, as hashes under a key of ours: how long that takes says nothing of either.
    same = hmac.compare_digest(hasher(secret or ""), wanted or _NO_SECRET)
    if client is None or (wanted is not None and not same) or (wanted is None and secret is not None):
        raise Problem(
            "unauthenticated", "this program is not known here, or its secret is wrong", hint="Register it."
        )
    return client


def register(
    database: Database, hasher: identity.Hasher, name: str, uris: tuple[str, ...], *, confidential: bool
) -> Registered:
    """Let a program register itself. Raises `validation_failed`."""
    uris = _checked(uris)
    secret = SECRET + identity.random_text() if confidential else None
    hash_ = hasher(secret) if secret is not None else None
    client = Client(new_id("oac"), plain_name(name) or redirects.origin(uris[0]), uris, None, hash_)
    with database.connection() as conn:
        conn.execute(
            "select ops.register_oauth_client(%s, %s, %s, %s, %s)",
            (client.id, client.name, hash_, list(uris), utcnow()),
        )
    return Registered(client, secret)


def plain_name(text: str) -> str:
    """A name as people read it: no control characters, no marks that turn the direction of writing."""
    seen = "".join(c for c in text if unicodedata.category(c) not in _UNSEEN)
    return re.sub(r"\s+", " ", seen).strip()[:100]


def _checked(uris: tuple[str, ...]) -> tuple[str, ...]:
    if not 0 < len(uris) <= redirects.MAX_COUNT:
        raise Problem(
            "validation_failed", f"a program has 1 to {redirects.MAX_COUNT} redirect addresses",
            hint="Send redirect_uris.",
        )  # fmt: skip
    return tuple(redirects.check(uri) for uri in uris)


# ------------------------------------------------------------ those of an organisation


def create(unit: Unit, body: schema.ClientIn) -> schema.NewClient:
    """Make a program with a secret, e.g. an action of a chat model. Only members of the organisation can use it."""
    decision = _managed(unit, "new")
    sessions.by_oneself(unit)
    uris, name = _checked(tuple(body.redirect_uris)), _named(body.name)
    id_ = new_id("oac")
    secret = SECRET + identity.random_text() if body.confidential else None
    hash_ = unit.get(identity.Hasher)(secret) if secret is not None else None
    unit.add(
        oauth_clients, id=id_, org_id=unit.org_id, name=name, secret_hash=hash_, redirect_uris=list(uris),
        created_by=unit.actor.id, created_at=unit.now,
    )  # fmt: skip
    ledger.record(unit, "oauth_client.created", id_, {"redirect_uris": list(uris)}, rules=decision.rules)
    return schema.NewClient(
        id=id_, client_secret=secret, name=name, redirect_uris=list(uris),
        message="Save the secret now: it is not shown again." if secret else "It has no secret; it uses PKCE.",
    )  # fmt: skip


def listed(unit: Unit, _body: schema.Nothing) -> schema.ClientList:
    """The programs of the organisation, oldest first."""
    _managed(unit, "list")
    return schema.ClientList(
        items=[_shown(row) for row in unit.execute(_live().order_by(oauth_clients.c.id))]
    )


def change(unit: Unit, body: schema.ClientChangeIn) -> schema.OAuthClient:
    """Give a program other redirect addresses. Who is signed in stays so."""
    decision = _managed(unit, body.id)
    sessions.by_oneself(unit)
    uris = _checked(tuple(body.redirect_uris))
    c = oauth_clients.c
    wanted = sa.update(oauth_clients).where(c.id == body.id, c.removed_at.is_(None))
    row = unit.execute(wanted.values(redirect_uris=list(uris)).returning(oauth_clients)).one_or_none()
    if row is None:
        raise _unknown()
    ledger.record(unit, "oauth_client.changed", row.id, {"redirect_uris": list(uris)}, rules=decision.rules)
    return _shown(row)


def remove(unit: Unit, body: schema.Which) -> schema.Gone:
    """End a program, every code on its way to it, and everything that it was let do."""
    decision = _managed(unit, body.id)
    c = oauth_clients.c
    wanted = sa.update(oauth_clients).where(c.id == body.id, c.removed_at.is_(None))
    if not unit.execute(wanted.values(removed_at=unit.now)).rowcount:
        raise _unknown()
    pending = sa.update(oauth_codes).where(
        oauth_codes.c.client_id == body.id, oauth_codes.c.session_id.is_(None)
    )
    unit.execute(pending.values(expires_at=unit.now))
    sessions.end_of_client(unit, body.id, "the program was removed")
    ledger.record(unit, "oauth_client.removed", body.id, {}, rules=decision.rules)
    return schema.Gone(id=body.id, message="The program has ended, and every token that it held.")


def _managed(unit: Unit, id_: str) -> policy.Decision:
    return policy.require(unit, "member.manage", resource(unit, id_, "viewer"))


def _named(name: str) -> str:
    found = plain_name(name)
    if not found:
        raise Problem("validation_failed", "the name has nothing that can be read", hint="Send a name.")
    return found


def _live() -> sa.Select[Any]:
    return sa.select(oauth_clients).where(oauth_clients.c.removed_at.is_(None))


def _shown(row: sa.Row[Any]) -> schema.OAuthClient:
    return schema.OAuthClient(
        id=row.id, name=row.name, redirect_uris=list(row.redirect_uris), confidential=row.secret_hash is not None,
        created_at=row.created_at,
    )  # fmt: skip


def _unknown() -> Problem:
    return Problem("not_found", "there is no such program", hint="List the programs first.")
