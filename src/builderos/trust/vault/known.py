"""The values that an organisation keeps, for taking them out of what is shown and out of what goes into git.

They are opened once and looked at again when something has changed, which one short query tells at most every two
seconds. Values that this process has handled are also known to it as a whole, for its logs: these belong to no
organisation.
"""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.actor import is_anonymous
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.secrets.service import Redactor, is_hard_to_guess, redact, redacted

from . import sealing
from .keys import Keys
from .model import secret_versions as versions
from .model import secrets

RECHECK_S: Final = 2.0
_MOST_ORGS: Final = 256
_MOST_VALUES: Final = 5000
_FEW: Final = 50
_NOTHING: Final = Redactor(())
_Stamp = tuple[int, Any]


@dataclass(frozen=True)
class Pair:
    """What takes an organisation's secrets out of texts; and the same for those alone that nobody can guess.

    Whoever may try texts and sees what is taken out of them could find a weak secret that way.
    """

    all: Redactor = _NOTHING
    guarded: Redactor = _NOTHING


class Known:
    """Redactors by organisation, and one for everything that this process has had in its hands."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, tuple[float, _Stamp, Pair]] = OrderedDict()
        self._values: OrderedDict[bytes, None] = OrderedDict()
        self._settled = (
            _NOTHING  # of most values; the latest few have one of their own, which is quickly made anew
        )
        self._recent: list[bytes] = []
        self._latest: Redactor | None = _NOTHING
        self._lock = threading.Lock()

    def of(self, unit: Unit) -> Redactor:
        """What takes the organisation's secrets out."""
        return self.pair(unit).all

    def pair(self, unit: Unit) -> Pair:
        """Both of the organisation."""
        found = self._of.get(unit.org_id)
        if found is not None and time.monotonic() - found[0] < RECHECK_S:
            return found[2]
        stamp = _stamp(unit)
        pair = found[2] if found is not None and found[1] == stamp else self._made(unit, stamp)
        with self._lock:
            self._of[unit.org_id] = (time.monotonic(), stamp, pair)
            while len(self._of) > _MOST_ORGS:
                self._of.popitem(last=False)
        return pair

    def changed(self, org_id: str) -> None:
        """Something was set or destroyed here: look again."""
        with self._lock:
            self._of.pop(org_id, None)

    def saw(self, *values: bytes) -> None:
        """This process has these values in its hands from now on."""
        with self._lock:
            self._recent += dict.fromkeys(value for value in values if value not in self._values)
            for value in values:
                self._values[value] = None
                self._values.move_to_end(value)
            while len(self._values) > _MOST_VALUES:
                self._values.popitem(last=False)
            self._latest = None

    def clean(self, text: str) -> str:
        """A text of this process without values it has in its hands, and without what has the form of a credential."""
        with self._lock:
            if self._latest is None and len(self._recent) > _FEW:
                self._settled, self._recent = Redactor(self._values), []
            if self._latest is None:
                self._latest = Redactor(self._recent)
            both = (self._settled, self._latest)
        for redactor in both:
            text = redactor.text(text)
        return redact(text)

    def _made(self, unit: Unit, stamp: _Stamp) -> Pair:
        if not stamp[0]:
            return Pair()
        keys = Keys(unit)
        c = versions.c
        joined = sa.select(secrets, c.version.label("of_version"), c.key_version, c.wrapped_key, c.sealed)
        wanted = joined.join(versions, c.secret_id == secrets.c.id).where(c.sealed.is_not(None))
        values: list[bytes] = []
        for row in unit.execute(wanted):
            which = sealing.Which(row.id, row.scope_kind, row.scope_name, row.name, row.of_version)
            try:
                values.append(sealing.open_(unit, keys, which, row))
            except Problem:
                continue  # what was altered is found out where it is to be released; the others still have to go
        self.saw(*values)
        hard = [value for value in values if is_hard_to_guess(value.decode("latin-1"))]
        found = Redactor(values)
        return Pair(found, found if len(hard) == len(values) else Redactor(hard))


def _stamp(unit: Unit) -> _Stamp:
    wanted = sa.select(sa.func.count(), sa.func.max(secrets.c.changed_at))
    row = unit.execute(wanted.select_from(secrets)).one()
    found: tuple[int, Any] = tuple(row)
    return found


def clean_text(unit: Unit, text: str) -> str:
    """A free text without the organisation's secrets and without anything that has the form of a credential.

    For what people write. Ids, paths and names stay as they are: whoever keeps a secret must not be able to keep a
    place out of the record with it.
    """
    return redact(_for_reader(unit).text(text))


def clean(unit: Unit, value: Any) -> Any:
    """A JSON value likewise."""
    return redacted(_for_reader(unit).json(value))


def _for_reader(unit: Unit) -> Redactor:
    pair = unit.get(Known).pair(unit)
    return pair.guarded if is_anonymous(unit.actor) else pair.all
