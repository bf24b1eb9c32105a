"""Tells others what was made from what, in the words of OpenLineage: a run begins, and comes to an end.

It is read off the ledger behind the calls, by whichever process holds the organisation's cursor; the cursor and what
was put into the outbox are one transaction. So an event is told at least once, and no verb waits for that.

https://openlineage.io/spec/2-0-2/OpenLineage.json
"""

import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos import VERSION
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.dialing import Unreachable, networks_of, post
from builderos.core.settings import Settings
from builderos.core.unit import Unit, as_system
from builderos.engine import outbox
from builderos.trust.ledger import service as ledger

from .model import cursors, edges

KIND: Final = "openlineage"
FILE: Final = "file"
BEGAN: Final = ("run.started", "experiment_run.started")
ENDED: Final = ("run.ended", "experiment_run.ended")
AT_ONCE: Final = 200  # lines of one transaction
TIMEOUT_S: Final = 20
_SPEC: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs"
_GOOD: Final = frozenset({"succeeded", "finished"})
_BROKEN_OFF: Final = frozenset({"cancelled", "killed"})
# Whoever runs the server says in its environment where events go: that may be a neighbour.
_ANYWHERE: Final = networks_of("0.0.0.0/0,::/0")


def pass_on(context: Context) -> None:
    """Put what began and ended since the last time into the outbox, of all organisations."""
    if not context.get(Settings).openlineage:
        return
    for org_id in context.get(Database).organisations("lineage"):
        while as_system(context, org_id, _pass_on):
            pass


def _pass_on(unit: Unit) -> bool:
    """The next lines; whether there may be more."""
    head, _ = ledger.stored_head(unit)
    after = _cursor(unit, head)
    if after is None or after >= head:
        return False
    upto = min(head, after + AT_ONCE)
    for line in ledger.scan(unit, after=after, upto=upto, batch=AT_ONCE):
        body = json.loads(line.body)
        if body["type"] in BEGAN or body["type"] in ENDED:
            outbox.put(unit, KIND, str(line.seq), event_of(unit, body))
    unit.execute(sa.update(cursors).values(seq=upto))
    return upto < head


def _cursor(unit: Unit, head: int) -> int | None:
    """The last line that was looked at, held until the transaction ends; None where another process holds it.

    An organisation that is looked at for the first time begins with what comes.
    """
    unit.execute(insert(cursors).values(org_id=unit.org_id, seq=head).on_conflict_do_nothing())
    return unit.execute(sa.select(cursors.c.seq).with_for_update(skip_locked=True)).scalar_one_or_none()


def event_of(unit: Unit, body: dict[str, Any]) -> dict[str, Any]:
    """A line of the ledger as a RunEvent, with what lineage knows of the run by now."""
    producer = (unit.settings.openlineage_producer or unit.settings.address).rstrip("/")
    space = f"{producer}/{unit.org_id}"
    run_id, said = str(body["object"]), body["payload"]
    kind = body["type"].partition(".")[0]
    status = None if body["type"] in BEGAN else str(said.get("status", "failed"))
    sources, made = _around(unit, run_id)
    ours: dict[str, Any] = {
        "_producer": producer, "_schemaURL": f"{_SPEC}/RunFacet", "id": run_id, "kind": kind, "status": status,
        "code": [row.source_id for row in sources if row.source_kind == "code"],
    }  # fmt: skip
    facets: dict[str, Any] = {"builderos_run": ours}
    type_ = _type_of(status)
    if type_ == "FAIL":
        facets["errorMessage"] = {
            "_producer": producer, "_schemaURL": _schema("ErrorMessageRunFacet"),
            "message": f"the run ended: {status}", "programmingLanguage": "unknown",
        }  # fmt: skip
    return {
        "eventType": type_, "eventTime": body["at"], "producer": producer, "schemaURL": f"{_SPEC}/RunEvent",
        "run": {"runId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{space}/{run_id}")), "facets": facets},
        "job": {"namespace": space, "name": _job_of(unit, body)},
        "inputs": [
            _dataset(producer, space, row.source_kind, row.source_name) for row in sources if row.source_kind != "code"
        ],
        "outputs": [_dataset(producer, space, row.target_kind, row.target_name) for row in made],
    }  # fmt: skip


def _type_of(status: str | None) -> str:
    if status is None:
        return "START"
    return "COMPLETE" if status in _GOOD else "ABORT" if status in _BROKEN_OFF else "FAIL"


def _job_of(unit: Unit, body: dict[str, Any]) -> str:
    """What was run: the pipeline, or the experiment."""
    said = body["payload"]
    if body["type"] == "experiment_run.ended":
        begun = ledger.lines_about(unit, body["object"], type_="experiment_run.started", limit=1)
        said = begun[0]["payload"] if begun else said
    return str(said.get("pipeline") or said.get("experiment_id") or body["object"])


def _around(unit: Unit, run_id: str) -> tuple[Sequence[sa.Row[Any]], Sequence[sa.Row[Any]]]:
    c = edges.c
    sources = unit.execute(
        sa.select(edges).where(c.target_id == run_id).order_by(c.source_id).limit(200)
    ).all()
    made = unit.execute(sa.select(edges).where(c.source_id == run_id).order_by(c.target_id).limit(200)).all()
    return sources, made


def _dataset(producer: str, space: str, kind: str, name: str) -> dict[str, Any]:
    """A thing as a dataset, with its version apart where its name has one."""
    bare, at, version = name.rpartition("@")
    facets: dict[str, Any] = {}
    if at and bare:
        schema = _schema("DatasetVersionDatasetFacet")
        facets["version"] = {"_producer": producer, "_schemaURL": schema, "datasetVersion": version}
    return {"namespace": f"{space}/{kind}", "name": bare if at and bare else name, "facets": facets}


def _schema(facet: str) -> str:
    return f"https://openlineage.io/spec/facets/1-0-1/{facet}.json#/$defs/{facet}"


def carry(context: Context, message: outbox.Message) -> None:
    """The outbox's handler. Raises `RuntimeError` where nobody took the event: it is tried again."""
    settings = context.get(Settings)
    body = json.dumps(message.payload, separators=(",", ":"), ensure_ascii=False).encode()
    if settings.openlineage == FILE:
        _append(settings.home_dir / "openlineage" / f"{message.org_id}.jsonl", body)
    elif settings.openlineage:
        _send(settings, body)


def _append(path: Path, body: bytes) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with path.open("ab") as file:
        file.write(body + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _send(settings: Settings, body: bytes) -> None:
    headers = {
        "content-type": "application/json",
        "user-agent": f"BuilderOS/{VERSION}",
        "connection": "close",
    }
    if settings.openlineage_token is not None:
        headers["authorization"] = f"Bearer {settings.openlineage_token.get_secret_value()}"
    try:
        answer = post(settings.openlineage, body, headers, networks=_ANYWHERE, timeout_s=TIMEOUT_S)
    except Unreachable as why:
        raise RuntimeError(f"the address for lineage: {why}") from why
    if not 200 <= answer.status < 300:
        raise RuntimeError(f"the address for lineage answered {answer.status}")
