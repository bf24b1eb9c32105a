"""The keys of one organisation's vault, in versions: each seals the keys of values, which seal the values."""

import json
import os

import sqlalchemy as sa

from builderos.core.database import Retry
from builderos.core.keys import ServerKeys
from builderos.core.unit import Unit
from builderos.trust.secrets.service import Box, Keyring

from .model import vault_keys


def about(*facts: str | int) -> str:
    """What a sealed thing is bound to: it opens only where all of this is the same."""
    return json.dumps(["builderos-vault", *facts], ensure_ascii=True, separators=(",", ":"))


class Keys:
    """The vault's keys as one unit sees them; a key is opened once."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._root = unit.get(Keyring).keys(unit)
        self._boxes: dict[int, Box] = {}

    def current(self) -> tuple[int, Box]:
        """The newest version, held until the unit ends so that no rotation passes by; made when there is none."""
        newest = sa.select(vault_keys.c.version).order_by(vault_keys.c.version.desc()).limit(1)
        version = self._unit.execute(newest).scalar_one_or_none()
        if version is None:
            return self.add(1)
        held = (
            sa.select(vault_keys.c.version).where(vault_keys.c.version == version).with_for_update(read=True)
        )
        if self._unit.execute(held).scalar_one_or_none() is None:
            raise Retry  # it was rotated away while we waited
        return version, self.box(version)

    def hold_all(self) -> list[int]:
        """Every version there is, held against everybody until the unit ends."""
        wanted = sa.select(vault_keys.c.version).order_by(vault_keys.c.version)
        held = list(self._unit.execute(wanted.with_for_update()).scalars())
        if held != list(self._unit.execute(wanted).scalars()):
            raise Retry  # somebody else rotated while we waited
        return held

    def add(self, version: int) -> tuple[int, Box]:
        """A new version."""
        key = os.urandom(32)
        wrapped = Box(self._root).seal(key, self._about(version))
        self._unit.add(
            vault_keys, org_id=self._unit.org_id, version=version, wrapped=wrapped, created_at=self._unit.now
        )
        self._boxes[version] = Box(ServerKeys(key))
        return version, self._boxes[version]

    def box(self, version: int) -> Box:
        """One version. Raises `ValueError` where it is missing, was altered, or is another organisation's."""
        if version not in self._boxes:
            wanted = sa.select(vault_keys.c.wrapped).where(vault_keys.c.version == version)
            wrapped = self._unit.execute(wanted).scalar_one_or_none()
            if wrapped is None:
                raise ValueError("the vault has no key of this version")
            self._boxes[version] = Box(ServerKeys(Box(self._root).open(bytes(wrapped), self._about(version))))
        return self._boxes[version]

    def fingerprint(self, secret_id: str, version: int, value: bytes) -> str:
        """Tells versions of secrets apart. Nobody can try values against it: the key never leaves the server."""
        key = self._root.derive("vault-fingerprint")
        return ServerKeys(key + value).derive(about(secret_id, version)).hex()[:16]

    def _about(self, version: int) -> str:
        return about("key", self._unit.org_id, version)
