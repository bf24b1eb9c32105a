"""Passes: the ways into something behind a door of its own. Short-lived, for that one thing, once as a link.

Each room keeps its own table of them, with the columns that `Passes` names; the secret itself is kept nowhere.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa

from builderos.core.clock import utcnow
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.trust.identity import service as identity

Kind = Literal["link", "cookie"]
LIFE: Final = timedelta(minutes=15)
LONGEST: Final = timedelta(hours=12)
MOST: Final = 1000  # of one thing at a time


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass that is known. `of`: the id of what it leads into; `actor`: whoever asked for it, as kept."""

    org_id: str
    id: str
    of: str
    kind: Kind
    actor: dict[str, Any]
    expires_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Passes:
    """Those into things of one kind. `prefix`: how the secrets begin.

    `table` has the columns id, org_id, hash, kind, actor, created_at, expires_at, used_at, and the one named `of`.
    `query` gives a `Pass` for a hash, before any organisation is known.
    """

    prefix: str
    table: sa.Table
    of: str
    query: str

    def find(self, context: Context, secret: str, *, late: bool = False) -> Pass:
        """The pass with this secret. Blocks. Raises `token_invalid`, and `token_expired` but where it may be `late`."""
        rows: Any = ()
        if secret.startswith(self.prefix) and len(secret) <= 100 and secret.isascii():
            hashed = context.get(identity.Hasher)(secret)
            rows = context.get(Database).ask(self.query, (hashed,))
        if not rows:
            raise Problem("token_invalid", "this token is not known", hint="Ask for another one.")
        found = Pass(*rows[0])
        if found.expires_at <= utcnow() and not late:
            raise Problem("token_expired", "this token is over", hint="Ask for another one.")
        return found

    def add(self, unit: Unit, of: str, kind: Kind, actor: dict[str, Any]) -> tuple[str, datetime]:
        """A new one: its secret, and when it ends. Raises `quota_exceeded`."""
        c, mine = self.table.c, self.table.c[self.of] == of
        # Whoever came in with one that is over may still be in: `find` with `late`.
        unit.execute(sa.delete(self.table).where(mine, c.expires_at < unit.now - LONGEST))
        open_ = sa.select(sa.func.count()).select_from(self.table).where(mine, c.expires_at >= unit.now)
        held = unit.execute(open_).scalar_one()
        if held >= MOST:
            raise Problem(
                "quota_exceeded", f"{held} ways in here are open; the limit is {MOST}",
                hint="Wait until some are over.", limit=MOST, used=held,
            )  # fmt: skip
        secret, until = self.prefix + identity.random_text(), unit.now + LIFE
        unit.execute(sa.insert(self.table).values({
            "id": new_id("tok"), "org_id": unit.org_id, self.of: of, "hash": unit.get(identity.Hasher)(secret),
            "kind": kind, "actor": actor, "created_at": unit.now, "expires_at": until,
        }))  # fmt: skip
        return secret, until

    def longer(self, unit: Unit, one: Pass) -> datetime:
        """A browser's pass lasts as long as it is used, half a day at most; when it ends now."""
        if one.kind != "cookie" or one.expires_at - unit.now > LIFE / 2:
            return one.expires_at
        c = self.table.c
        began = unit.execute(sa.select(c.created_at).where(c.id == one.id)).scalar_one()
        until = min(unit.now + LIFE, began + LONGEST)
        unit.execute(sa.update(self.table).where(c.id == one.id).values(expires_at=until))
        return until

    def exchange(self, context: Context, secret: str) -> tuple[str, datetime] | None:
        """A browser's own pass for the link that it followed, and how long it may last at most. Blocks.

        None where somebody has followed that link before, and for what is no link. Raises what `find` raises.
        """
        one, c = self.find(context, secret), self.table.c

        def swap(unit: Unit) -> tuple[str, datetime] | None:
            unused = sa.update(self.table).where(c.id == one.id, c.used_at.is_(None))
            if unit.execute(unused.values(used_at=unit.now)).rowcount != 1:
                return None
            return self.add(unit, one.of, "cookie", one.actor)[0], unit.now + LONGEST

        return as_system(context, one.org_id, swap) if one.kind == "link" else None
