"""Every organisation has a key of its own: random, kept wrapped under the server's key, gone with the organisation.

What it sealed cannot be read without both the server's key and the organisation's row; destroying the row is enough to
make all of it unreadable, in every backup too that holds the sealed values alone.

The key that wraps can be replaced: a newer one is configured in front of the older ones, `rewrap` moves one
organisation at a time, and until it has, the older one opens what it wrapped. So an interruption costs nothing.
"""

import os
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.keys import ServerKeys
from builderos.core.problems import Problem
from builderos.core.unit import Unit

from .model import org_keys
from .sealing import Box


class Keyring:
    """Makes and opens the data keys of organisations. Nothing is kept in memory: a destroyed key is gone at once.

    `newer`: keys that wrap instead of the server's own, the newest first.
    """

    def __init__(self, keys: ServerKeys, newer: Sequence[str] = ()) -> None:
        roots = [*(ServerKeys(key.encode()) for key in newer), keys]
        self._wrapping = {_name(root): Box(root) for root in reversed(roots)}
        self._newest = _name(roots[0])

    def create(self, unit: Unit) -> None:
        """Make the key of the unit's organisation, unless it has one."""
        wrapped = self._wrapping[self._newest].seal(os.urandom(32), _purpose(unit.org_id))
        values = {
            "org_id": unit.org_id, "wrapped": wrapped, "wrapped_by": self._newest, "created_at": unit.now,
        }  # fmt: skip
        unit.execute(insert(org_keys).values(values).on_conflict_do_nothing(index_elements=["org_id"]))

    def keys(self, unit: Unit) -> ServerKeys:
        """The organisation's own root of derived keys: `derive` gives one for each purpose.

        Raises `ValueError` where the stored key was altered or belongs to another organisation, `LookupError` where the
        organisation has none any more, `unavailable` where the key that wraps it is not configured.
        """
        return ServerKeys(self._open(unit)[0])

    def box(self, unit: Unit) -> Box:
        """Seals and opens values under the organisation's own key."""
        return Box(self.keys(unit))

    def rewrap(self, unit: Unit) -> bool:
        """Wrap the unit's organisation's key under the newest key; whether it was under another one."""
        plain, by = self._open(unit)
        if by == self._newest:
            return False
        wrapped = self._wrapping[self._newest].seal(plain, _purpose(unit.org_id))
        mine = sa.update(org_keys).where(org_keys.c.org_id == unit.org_id, org_keys.c.wrapped_by == by)
        return unit.execute(mine.values(wrapped=wrapped, wrapped_by=self._newest)).rowcount == 1

    def _open(self, unit: Unit) -> tuple[bytes, str]:
        wanted = sa.select(org_keys.c.wrapped, org_keys.c.wrapped_by).where(org_keys.c.org_id == unit.org_id)
        row = unit.execute(wanted).one_or_none()
        if row is None:
            raise LookupError("this organisation has no key")
        box = self._wrapping.get(row.wrapped_by)
        if box is None:
            raise Problem(
                "unavailable", "the key of this organisation is wrapped under one that is not configured",
                hint="Add the older key to BUILDEROS_WRAPPING_KEYS, behind the newer one.",
            )  # fmt: skip
        return box.open(bytes(row.wrapped), _purpose(unit.org_id)), row.wrapped_by


def _name(root: ServerKeys) -> str:
    """What a wrapping key is called; tells nothing of it."""
    return root.derive("name of a wrapping key").hex()[:16]


def _purpose(org_id: str) -> str:
    return f"org-key|{org_id}"
