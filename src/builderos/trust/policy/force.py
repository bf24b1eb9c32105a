"""Which policy file is in force in an organisation, kept per process.

The process that activates a file knows at once; any other one within a second, since it looks then. A version is only
ever added, so a newer one seen once is never given up for an older one that a slow transaction still reads.
"""

import hashlib
import logging
import threading
import time
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from builderos.core.actor import Actor
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger

from .document import Document, FileRule, Scope, read_document
from .file_policy import FilePolicy
from .model import policies, policy_versions

RECHECK_S: Final = 1.0
UNREADABLE: Final = "unreadable-policy"
ALTERED: Final = "altered-policy"
_MOST: Final = 1024
_REPLACERS: Final = frozenset({"admin", "org_owner", "owner"})
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Version:
    """A policy file in force: `number` counts up from 1 in each organisation; 0 is none."""

    number: int
    policy_id: str
    digest: str
    file: FilePolicy | None


NONE: Final = Version(0, "", "", None)


class InForce:
    """Organisation → its policy file, compiled. `fixed` is one that no database is asked for."""

    def __init__(self, fixed: Document | None = None, *, ask: bool = True) -> None:
        self._fixed = Version(1, "", "", FilePolicy(fixed)) if fixed is not None else NONE
        self._ask = ask and fixed is None
        self._known: dict[str, tuple[float, Version]] = {}
        self._least: dict[str, int] = {}
        self._lock = threading.Lock()

    def of(self, unit: Unit) -> Version:
        """The version in force for the unit's organisation: at most one short query, and none within a second."""
        if not self._ask:
            return self._fixed
        known = self._known.get(unit.org_id)
        if known is not None and time.monotonic() - known[0] < RECHECK_S:
            return known[1]
        found = self._look(unit, known[1] if known is not None else NONE)
        with self._lock:
            if found.number >= self._least.get(unit.org_id, 0):
                if len(self._known) >= _MOST:
                    self._known.clear()
                self._known[unit.org_id] = (time.monotonic(), found)
        return found

    def known(self, org_id: str) -> Version | None:
        """The version that this process knows to be in force; None where it would have to look."""
        if not self._ask:
            return self._fixed
        known = self._known.get(org_id)
        return known[1] if known is not None else None

    def rates(self, actor: Actor) -> tuple[int | None, int | None]:
        """Calls a minute that the file allows a token and the organisation, as far as this process knows the file.

        Whoever can replace the file keeps the rates of the server, so that no file locks them out.
        """
        known = self._known.get(actor.org_id)
        file = known[1].file if known is not None else self._fixed.file
        if file is None or actor.role in _REPLACERS:
            return None, None
        return file.document.limits.per_token, file.document.limits.per_org

    def changed(self, org_id: str, number: int) -> None:
        """A version was activated here: whoever asks from now on looks, and nobody keeps an older one."""
        with self._lock:
            self._least[org_id] = max(number, self._least.get(org_id, 0))
            self._known.pop(org_id, None)

    def _look(self, unit: Unit, known: Version) -> Version:
        newest = sa.select(policy_versions.c.version, policy_versions.c.policy_id)
        row = unit.execute(newest.order_by(policy_versions.c.version.desc()).limit(1)).first()
        if row is None:
            return NONE
        if row.version == known.number:
            return known
        wanted = sa.select(policies.c.content, policies.c.digest).where(policies.c.id == row.policy_id)
        text = unit.execute(wanted).one()
        if digest_of(text.content) != text.digest or not is_recorded(
            unit, row.policy_id, row.version, text.digest
        ):
            _log.error(
                "version %d of the policy of %s is not the one that was approved", row.version, unit.org_id
            )
            return Version(row.version, row.policy_id, text.digest, FilePolicy(_closed(ALTERED)))
        return Version(row.version, row.policy_id, text.digest, FilePolicy(_readable(text.content)))


def digest_of(content: str) -> str:
    """How a file is named in approvals and in the ledger."""
    return "sha256:" + hashlib.sha256(content.encode()).hexdigest()


def is_recorded(unit: Unit, policy_id: str, version: int, digest: str) -> bool:
    """Whether the ledger says that this text came into force as this version: its lines alone cannot be rewritten."""
    lines = ledger.lines_about(unit, policy_id, type_="policy.activated")
    return any((x["payload"]["version"], x["payload"]["digest"]) == (version, digest) for x in lines)


def _closed(rule: str) -> Document:
    """Denies everything but its own replacement."""
    return Document((FileRule(rule, 1, Scope(), {}, {"tools": ("*",)}),))


def _readable(content: str) -> Document:
    """A stored file as a document. One that this version cannot read any more denies all but its own replacement."""
    try:
        return read_document(content)
    except Problem as problem:
        _log.error("the policy file in force cannot be read: %s", problem.detail)
        return _closed(UNREADABLE)
