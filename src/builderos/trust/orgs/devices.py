"""Signing in a program on a machine without a browser (RFC 8628): it shows a short code that a member types elsewhere.

Until somebody decides, nobody knows which organisation it will be: such a code belongs to none.
"""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

import sqlalchemy as sa

from builderos.core.clock import utcnow
from builderos.core.database import Database
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity

from . import grants, sessions
from .clients import Client
from .model import device_codes

CODE: Final = "bos_dc_"
LIFE: Final = timedelta(minutes=10)
INTERVAL_S: Final = 2
# No vowels, so that no word comes up; nothing that is misread. 20^8 codes, of which one address may try few a minute.
LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
State = Literal["unknown", "pending", "slow_down", "denied", "expired", "approved"]


@dataclass(frozen=True)
class Shown:
    """A fresh device: `secret` is for the program, `user_code` for the person, e.g. `WDJB-MJHT`."""

    secret: str
    user_code: str


def begin(database: Database, hasher: identity.Hasher, wish: grants.Wish) -> Shown:
    """Let a program wait for a member."""
    secret = CODE + identity.random_text()
    letters = "".join(secrets.choice(LETTERS) for _ in range(8))
    now = utcnow()
    with database.connection() as conn:
        conn.execute(
            "select ops.begin_device(%s, %s, %s, %s, %s, %s, %s)",
            (
                hasher(secret),
                hasher(letters),
                wish.client.id,
                list(wish.scopes),
                wish.audience,
                now,
                now + LIFE,
            ),
        )
    return Shown(secret, f"{letters[:4]}-{letters[4:]}")


def letters_of(typed: str) -> str:
    """What a person typed, as it was shown: case, blanks and the dash do not matter."""
    return "".join(c for c in typed.upper() if c in LETTERS)[:9]


def waiting(unit: Unit, typed: str) -> tuple[str, tuple[str, ...], str] | None:
    """Program, scopes and audience of the device that shows this code; None where none waits."""
    rows = unit.ask("ops.device_to_decide", unit.get(identity.Hasher)(letters_of(typed)), unit.now)
    return (rows[0][0], tuple(rows[0][1]), rows[0][2]) if rows else None


def decide(unit: Unit, wish: grants.Wish, typed: str, scopes: tuple[str, ...] | None) -> bool:
    """The member whom the unit acts for lets the program in, or with None keeps it out. False when it is too late.

    Raises as `grants.check`.
    """
    decision = grants.check(unit, wish, scopes) if scopes is not None else None
    claimed = unit.ask("ops.claim_device", unit.get(identity.Hasher)(letters_of(typed)), unit.now)
    if not claimed:
        return False
    c = device_codes.c
    unit.execute(
        sa.update(device_codes)
        .where(c.hash == bytes(claimed[0][0]))
        .values(
            state="denied" if scopes is None else "approved",
            scopes=list(scopes or ()),
            member_id=unit.actor.id,
        )
    )
    if scopes is not None and decision is not None:
        grants.note(unit, wish, scopes, decision)
    return True


def poll(database: Database, hasher: identity.Hasher, client: Client, secret: str) -> tuple[State, str]:
    """What became of a device, and its organisation once it was let in."""
    now = utcnow()
    with database.connection() as conn:
        gap = timedelta(seconds=INTERVAL_S) * 0.8  # a clock that is a little fast is no offence
        row = conn.execute("select * from ops.poll_device(%s, %s, %s)", (hasher(secret), now, gap)).fetchone()
    if row is None or row[1] != client.id or row[2] == "used":
        return "unknown", ""
    if row[2] == "denied":
        return "denied", ""
    if row[3] <= now:
        return "expired", ""
    if row[2] == "approved":
        return "approved", str(row[0])
    return ("slow_down" if row[4] else "pending"), ""


def redeem(unit: Unit, client: Client, secret: str) -> grants.Given:
    """Tokens for a device that was let in, once. Raises `token_invalid`."""
    c = device_codes.c
    row = unit.execute(
        sa.update(device_codes)
        .where(c.hash == unit.get(identity.Hasher)(secret), c.client_id == client.id, c.state == "approved")
        .values(state="used")
        .returning(c.member_id, c.scopes, c.audience)
    ).one_or_none()
    if row is None:
        raise grants.refused()
    member = identity.members.find(unit, row.member_id)
    grant = sessions.Grant(client.id, tuple(row.scopes), row.audience)
    return grants.Given(sessions.begin(unit, member, "device", grant), grant.scopes)
