"""What some calls were asked and answered: a sample, without the secrets that are known, cut to a length, for a while.

Off unless an endpoint says otherwise. Kept in memory for some seconds, then written; what is more than fits is dropped:
a sample is no record.
"""

import json
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.ids import new_id
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.tables import as_dict
from builderos.core.unit import Unit, as_system
from builderos.trust.audit import service as audit
from builderos.trust.policy import service as policy
from builderos.trust.secrets.service import redact
from builderos.trust.vault import service as vault

from . import rows
from .choosing import Chosen
from .model import payloads
from .schema import Payload, PayloadList, PayloadLog, PayloadsIn

MOST: Final = 1000
_TAKEN: Final = 256 * 1024  # of each text, before it is looked through


@dataclass(frozen=True, slots=True)
class _Sample:
    chosen: Chosen
    at: datetime
    request_id: str
    status: int
    ms: float
    asked: bytes
    answered: bytes


class Samples:
    """Those of this process that are not written yet."""

    def __init__(self) -> None:
        self._held: deque[_Sample] = deque(maxlen=MOST)
        self._lock = threading.Lock()

    def add(
        self, chosen: Chosen, at: datetime, request_id: str, *, status: int, ms: float, asked: bytes, answered: bytes
    ) -> None:  # fmt: skip
        """One call that was answered."""
        one = _Sample(chosen, at, request_id, status, ms, asked[:_TAKEN], answered[:_TAKEN])
        with self._lock:
            self._held.append(one)

    def drop(self, org_id: str) -> None:
        """Forget what there is of an organisation."""
        with self._lock:
            self._held = deque((one for one in self._held if one.chosen.org_id != org_id), maxlen=MOST)

    def write(self, context: Context) -> None:
        """Write what there is. Raises what the database raises; then it is lost."""
        with self._lock:
            taken = list(self._held)
            self._held.clear()
        for org in sorted({one.chosen.org_id for one in taken}):
            mine = [one for one in taken if one.chosen.org_id == org]
            as_system(context, org, lambda unit, m=mine: _write(unit, m))


def _write(unit: Unit, taken: Sequence[_Sample]) -> None:
    redactor = unit.get(vault.Known).of(unit)
    for endpoint_id in sorted({one.chosen.endpoint_id for one in taken}):
        log = PayloadLog.model_validate(rows.find(unit, endpoint_id).payloads)
        if not log.rate:  # switched off meanwhile
            continue
        for one in taken:
            if one.chosen.endpoint_id == endpoint_id:
                unit.execute(sa.insert(payloads).values(_row(unit, one, log, redactor)))


def _row(unit: Unit, one: _Sample, log: PayloadLog, redactor: Any) -> dict[str, Any]:
    asked, answered = _text(one.asked, redactor), _text(one.answered, redactor)
    return {
        "id": new_id("epl"), "org_id": unit.org_id, "endpoint_id": one.chosen.endpoint_id,
        "deployment_id": one.chosen.deployment_id, "at": one.at, "expires_at": one.at + timedelta(days=log.keep_days),
        "actor": one.chosen.actor_id, "request_id": one.request_id, "status": one.status, "ms": round(one.ms, 3),
        "input": asked[: log.max_chars], "output": answered[: log.max_chars],
        "cut": max(len(asked), len(answered)) > log.max_chars,
    }  # fmt: skip


def _text(raw: bytes, redactor: Any) -> str:
    """Without secrets, however they were written in JSON, and without what has the form of a credential."""
    try:
        found = json.dumps(redactor.json(json.loads(raw)), ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        found = raw.decode("utf-8", "replace")
    return redact(redactor.text(found.encode("utf-8", "replace").decode())).replace("\0", "")


def forget(context: Context) -> int:
    """Take away what is kept longer than it is to be; how many calls that were."""
    with context.get(Database).as_server() as connection:
        row = connection.execute("select ops.forget_payloads()").fetchone()
    return int(row[0]) if row is not None else 0


def listed(unit: Unit, body: PayloadsIn) -> PayloadList:
    """What some calls were asked and answered, newest first; that somebody looked is an access. Raises `not_found`."""
    policy.require(unit, "endpoint.payloads", policy.org_resource(unit))
    row, c = rows.find(unit, body.id), payloads.c
    key = list_key("endpoint_payloads", id=row.id, deployment=body.deployment, status=body.status)
    wanted = sa.select(payloads).where(c.endpoint_id == row.id, c.expires_at > unit.now)
    wanted = wanted if body.deployment is None else wanted.where(c.deployment_id == body.deployment)
    wanted = wanted if body.status is None else wanted.where(c.status == body.status)
    last = decode_cursor(key, body.cursor)
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    found = unit.execute(wanted.order_by(c.id.desc()).limit(body.limit + 1)).all()
    audit.access.note(unit, "endpoint.payloads", row.id)
    items = [_shown(one) for one in found[: body.limit]]
    more = len(found) > body.limit
    return PayloadList(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def _shown(row: rows.Row) -> Payload:
    values = as_dict(row)
    return Payload(**{name: values[name] for name in Payload.model_fields})
