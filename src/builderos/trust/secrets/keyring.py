"""Every organisation has a key of its own: random, kept wrapped under the server's key, gone with the organisation.

What it sealed cannot be read without both the server's key and the organisation's row; destroying the row is enough to
make all of it unreadable, in every backup too that holds the sealed values alone.
"""

import os

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.keys import ServerKeys
from builderos.core.unit import Unit

from .model import org_keys
from .sealing import Box


class Keyring:
    """Makes and opens the data keys of organisations. Nothing is kept in memory: a destroyed key is gone at once."""

    def __init__(self, keys: ServerKeys) -> None:
        self._wrapping = Box(keys)

    def create(self, unit: Unit) -> None:
        """Make the key of the unit's organisation, unless it has one."""
        wrapped = self._wrapping.seal(os.urandom(32), _purpose(unit.org_id))
        values = {"org_id": unit.org_id, "wrapped": wrapped, "created_at": unit.now}
        unit.execute(insert(org_keys).values(values).on_conflict_do_nothing(index_elements=["org_id"]))

    def keys(self, unit: Unit) -> ServerKeys:
        """The organisation's own root of derived keys: `derive` gives one for each purpose.

        Raises `ValueError` where the stored key was altered or belongs to another organisation, `LookupError` where the
        organisation has none any more.
        """
        wanted = sa.select(org_keys.c.wrapped).where(org_keys.c.org_id == unit.org_id)
        wrapped = unit.execute(wanted).scalar_one_or_none()
        if wrapped is None:
            raise LookupError("this organisation has no key")
        return ServerKeys(self._wrapping.open(bytes(wrapped), _purpose(unit.org_id)))

    def box(self, unit: Unit) -> Box:
        """Seals and opens values under the organisation's own key."""
        return Box(self.keys(unit))


def _purpose(org_id: str) -> str:
    return f"org-key|{org_id}"
