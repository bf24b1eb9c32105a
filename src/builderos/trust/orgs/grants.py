"""What a member lets a program do: a code for one use, then a session whose tokens carry a part of the role.

OAuth 2.1: authorization code with PKCE, S256 alone (RFC 7636), bound to program, redirect address, organisation and
part of the server (RFC 8707). A code that comes twice was stolen, or its answer was: what it gave ends (RFC 6749
§4.1.2).
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from builderos.core.actor import Role
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.identity.service import roles
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from . import schema, sessions
from .clients import Client
from .model import oauth_codes

CODE: Final = "bos_ac_"
LIFE: Final = timedelta(seconds=60)
SCOPES: Final = roles.SCOPES
USUAL: Final = ("read", "write", "promote")  # what a program gets that names none: to build, not to decide
OF_ROLE: Final = roles.SCOPES_OF_ROLE
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9\-._~]{43,128}")


@dataclass(frozen=True)
class Wish:
    """What a program asks a member for. `audience` is the part of this server, e.g. `/mcp`; empty: all of it."""

    client: Client
    scopes: tuple[str, ...]
    audience: str = ""
    redirect_uri: str = ""
    challenge: str | None = None


@dataclass(frozen=True)
class Given:
    """Tokens, and what they are good for."""

    tokens: schema.Tokens
    scopes: tuple[str, ...]


def scopes_in(text: str | None) -> tuple[str, ...]:
    """The scopes that a program names, as far as there are such ones; the usual ones where it names none."""
    named = (text or "").split()
    return tuple(s for s in SCOPES if s in named) if named else USUAL


def offered(wish: Wish, role: Role) -> tuple[str, ...]:
    """What of the wish somebody of this role can give."""
    return tuple(s for s in wish.scopes if s in OF_ROLE.get(role, ()))


def well_formed(challenge: str) -> bool:
    """Whether this can be a challenge of PKCE with S256."""
    return _CHALLENGE.fullmatch(challenge) is not None


def check(unit: Unit, wish: Wish, scopes: tuple[str, ...]) -> policy.Decision:
    """Whether the member whom the unit acts for may give that. Raises `policy_denied`, `validation_failed`."""
    if wish.client.org_id not in (None, unit.org_id):
        raise Problem(
            "policy_denied", "this program belongs to another organisation", hint="Sign in to that one."
        )
    if not scopes or not set(scopes) <= set(offered(wish, unit.actor.role)):
        raise Problem(
            "validation_failed", "your role has nothing of what the program asks for",
            hint="Ask an owner of the organisation.",
        )  # fmt: skip
    asked = Resource(
        kind="credential", id="new", org_id=unit.org_id, role=unit.actor.role, scopes=frozenset(scopes)
    )
    return policy.require(unit, "token.create", asked)


def allow(unit: Unit, wish: Wish, scopes: tuple[str, ...]) -> str:
    """A code for the program: the member whom the unit acts for agrees. Raises as `check`."""
    decision = check(unit, wish, scopes)
    secret = CODE + identity.random_text()
    unit.add(
        oauth_codes, hash=unit.get(identity.Hasher)(secret), org_id=unit.org_id, client_id=wish.client.id,
        member_id=unit.actor.id, redirect_uri=wish.redirect_uri, challenge=wish.challenge, scopes=list(scopes),
        audience=wish.audience, created_at=unit.now, expires_at=unit.now + LIFE,
    )  # fmt: skip
    note(unit, wish, scopes, decision)
    return secret


def note(unit: Unit, wish: Wish, scopes: tuple[str, ...], decision: policy.Decision) -> None:
    """The line of the ledger that a member has agreed."""
    payload = {"client": wish.client.id, "scopes": list(scopes), "audience": wish.audience}
    ledger.record(unit, "oauth.allowed", wish.client.id, payload, rules=decision.rules)


def redeem(
    unit: Unit, client: Client, code: str, redirect_uri: str, verifier: str | None, audience: str | None = None
) -> Given:  # fmt: skip
    """Tokens for a code. Raises `token_invalid`, the same for a used, old, unknown or carried-off one.

    Of two who come at once the second finds it used: what the first got ends, and an alert is raised.
    """
    c = oauth_codes.c
    hash_ = unit.get(identity.Hasher)(code)
    row = unit.execute(sa.select(oauth_codes).where(c.hash == hash_).with_for_update()).one_or_none()
    if row is None or row.client_id != client.id or client.org_id not in (None, unit.org_id):
        raise refused()
    if row.session_id is not None:
        unit.keep(lambda kept: sessions.stolen(kept, row.session_id, "authorization code used twice"))
        raise refused()
    fits = row.redirect_uri == redirect_uri and audience in (None, row.audience)
    if row.expires_at <= unit.now or not fits or not _verified(row.challenge, verifier):
        raise refused()
    member = identity.members.find(unit, row.member_id)
    grant = sessions.Grant(client.id, tuple(row.scopes), row.audience)
    tokens = sessions.begin(unit, member, "code", grant)
    unit.execute(sa.update(oauth_codes).where(c.hash == hash_).values(session_id=tokens.session_id))
    return Given(tokens, grant.scopes)


def refresh(unit: Unit, client: Client, secret: str, wanted: str | None, audience: str | None) -> Given:
    """The next pair of a program, perhaps for fewer scopes. Raises `token_invalid`, `validation_failed`."""
    return Given(*sessions.refresh_for(unit, secret, client.id, wanted, audience))


def revoke(unit: Unit, client: Client, secret: str) -> None:
    """End the session that a token of the program belongs to (RFC 7009); nothing for a token of another one."""
    session_id = sessions.of_secret(unit, secret, client.id)
    if session_id is not None:
        sessions.end(unit, session_id, "revoked by the program")


def sweep(unit: Unit) -> int:
    """Forget codes that are over; a replay of a day-old one is told by nobody any more. Returns how many."""
    old: sa.Delete = sa.delete(oauth_codes).where(oauth_codes.c.expires_at < unit.now - timedelta(days=1))
    unit.send("ops.sweep_oauth", unit.now)
    return unit.execute(old).rowcount


def _verified(challenge: str | None, verifier: str | None) -> bool:
    """PKCE, S256. A verifier where none was asked for is a program that believes in a protection it has not."""
    if challenge is None or verifier is None:
        return challenge is None and verifier is None
    digest = hashlib.sha256(verifier.encode()).digest()
    made = base64.urlsafe_b64encode(digest).rstrip(b"=")
    return _VERIFIER.fullmatch(verifier) is not None and hmac.compare_digest(made, challenge.encode())


def refused() -> Problem:
    """One answer for every code that gives nothing."""
    return Problem("token_invalid", "this code was used, is too old, or was given to another program",
                   hint="Begin the sign-in again.")  # fmt: skip
