"""One version of one secret, sealed: a key of its own for the value, and that key under the vault's."""

import os
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from builderos.core.keys import ServerKeys
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.secrets.service import Box

from .keys import Keys, about
from .model import secret_versions as versions

KEPT_VERSIONS: Final = (
    2  # the one in use, and the one before: it may still be valid elsewhere and has to be redacted
)


@dataclass(frozen=True)
class Which:
    """What a value is bound to: sealed for this, it opens for nothing else."""

    secret_id: str
    scope_kind: str
    scope_name: str
    name: str
    version: int

    def value_of(self, org_id: str) -> str:
        """The purpose of the sealed value."""
        return about(
            "value", org_id, self.secret_id, self.scope_kind, self.scope_name, self.name, self.version
        )

    def key_of(self, org_id: str, key_version: int) -> str:
        """The purpose of its key."""
        return about("value-key", org_id, self.secret_id, self.version, key_version)


def seal(unit: Unit, keys: Keys, which: Which, value: bytes) -> None:
    """Keep a value as a new version, and destroy what is older than the one before it."""
    key_version, box = keys.current()
    key = os.urandom(32)
    unit.add(
        versions, org_id=unit.org_id, secret_id=which.secret_id, version=which.version, key_version=key_version,
        wrapped_key=box.seal(key, which.key_of(unit.org_id, key_version)),
        sealed=Box(ServerKeys(key)).seal(value, which.value_of(unit.org_id)), created_by=unit.actor.id,
        created_at=unit.now,
    )  # fmt: skip
    destroy(unit, which.secret_id, upto=which.version - KEPT_VERSIONS)


def open_(unit: Unit, keys: Keys, which: Which, row: sa.Row[tuple[object, ...]]) -> bytes:
    """The value of a version. Raises `unavailable` where it was altered, moved from elsewhere or destroyed."""
    try:
        if row.sealed is None:
            raise ValueError("destroyed")
        wrapped = keys.box(row.key_version).open(
            bytes(row.wrapped_key), which.key_of(unit.org_id, row.key_version)
        )
        return Box(ServerKeys(wrapped)).open(bytes(row.sealed), which.value_of(unit.org_id))
    except ValueError:
        raise tampered(which.name) from None


def tampered(name: str) -> Problem:
    """What is stored is not what was kept."""
    return Problem(
        "unavailable", f"the secret {name} was altered in the database and is not released",
        hint="Set it again, and look for who can write to the database.",
    )  # fmt: skip


def destroy(unit: Unit, secret_id: str, *, upto: int) -> None:
    """Make versions unreadable for ever: their keys and their sealed values are overwritten."""
    old = sa.update(versions).where(
        versions.c.secret_id == secret_id, versions.c.version <= upto, versions.c.sealed.is_not(None)
    )
    unit.execute(old.values(wrapped_key=None, sealed=None, destroyed_at=unit.now))


def rewrap(unit: Unit, keys: Keys, row: sa.Row[tuple[object, ...]], key_version: int, box: Box) -> None:
    """Put a value's key under another key of the vault; the value itself stays as it is."""
    which = Which(row.secret_id, "", "", "", row.version)
    try:
        key = keys.box(row.key_version).open(
            bytes(row.wrapped_key), which.key_of(unit.org_id, row.key_version)
        )
    except ValueError:
        raise tampered(row.secret_id) from None
    new = box.seal(key, which.key_of(unit.org_id, key_version))
    mine = sa.update(versions).where(versions.c.secret_id == row.secret_id, versions.c.version == row.version)
    unit.execute(mine.values(wrapped_key=new, key_version=key_version))
