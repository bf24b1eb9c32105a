"""Where the record is sent to: webhooks, syslog, files, S3. Owners and admins manage them."""

import json
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field, SecretStr, StringConstraints, model_validator

from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out, WriteIn
from builderos.core.unit import Unit
from builderos.engine import outbox
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.secrets.service import Keyring

from . import access
from .keeping import NothingIn, WhichIn
from .model import sinks
from .ports import Carriers

MAX_SINKS: Final = 20
MESSAGE: Final = "audit.sink"
Kind = Literal["webhook", "syslog", "file", "s3"]
Stream = Literal["ledger", "access"]
Host = Annotated[Line, Field(min_length=1, max_length=253)]


class WebhookSink(In):
    """POSTs of JSON, signed as Standard Webhooks has it."""

    url: Annotated[Line, Field(min_length=1, description="HTTPS address that takes the batches.")]
    secret: Annotated[
        SecretStr | None, Field(description="whsec_ and 24 to 64 bytes of base64; made when left out.")
    ] = None


class SyslogSink(In):
    """RFC 5424 messages."""

    host: Host
    port: Annotated[int, Field(ge=1, le=65_535)] = 6514
    transport: Annotated[
        Literal["tls", "tcp", "udp"], Field(description="udp cannot tell whether anything arrived.")
    ] = "tls"
    facility: Annotated[int, Field(ge=0, le=23, description="13: log audit.")] = 13


class FileSink(In):
    """A file in the server's state folder, `audit/<organisation>/<name>.jsonl`."""

    max_mb: Annotated[int, Field(ge=1, le=100_000, description="A new file is begun at this size.")] = 256


class S3Sink(In):
    """Objects in a bucket, one for each batch."""

    bucket: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")] = "us-east-1"
    prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]{0,200}$")] = "builderos/"
    endpoint: Annotated[Line | None, Field(description="Of another service that speaks S3.")] = None
    access_key_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{1,128}$")]
    secret_access_key: SecretStr


class SinkIn(WriteIn):
    """One of webhook, syslog, file and s3 says where."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    stream: Annotated[Stream, Field(description="The ledger, or who read what.")] = "ledger"
    from_start: Annotated[bool, Field(description="Send what was recorded before, too.")] = False
    webhook: WebhookSink | None = None
    syslog: SyslogSink | None = None
    file: FileSink | None = None
    s3: S3Sink | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "SinkIn":
        if len([k for k in ("webhook", "syslog", "file", "s3") if getattr(self, k) is not None]) != 1:
            raise ValueError("exactly one of webhook, syslog, file and s3 must be given")
        return self

    @property
    def kind(self) -> Kind:
        """Which of them was given."""
        kinds: tuple[Kind, ...] = ("webhook", "syslog", "file", "s3")
        return next(kind for kind in kinds if getattr(self, kind) is not None)


class Sink(Out):
    """`cursor` is the number of the last line that was taken; what comes behind it is sent, again if need be."""

    id: str
    name: str
    kind: Kind
    stream: Stream
    config: dict[str, Any]
    cursor: int
    failing_since: datetime | None
    last_error: str | None
    last_at: datetime | None
    tested_at: datetime | None
    test_error: str | None
    created_by: str
    created_at: datetime


class NewSink(Sink):
    """A fresh sink; a webhook's secret is shown only here."""

    secret: str | None


class SinkList(Out):
    """All of the organisation."""

    items: list[Sink]
    next_cursor: str | None = None


class SinkGone(Out):
    """A sink that has ended."""

    id: str
    message: str


def create(unit: Unit, body: SinkIn) -> NewSink:
    """Send what is recorded from now on (or from the start) there. Raises `validation_failed`, `conflict`."""
    decision = policy.require(unit, "audit.manage", access.resource(unit))
    live = sinks.c.state == "active"
    names = unit.execute(sa.select(sinks.c.name).where(live)).scalars().all()
    if body.name in names:
        raise Problem("conflict", f"there is a sink {body.name}", hint="Choose another name.")
    if len(names) >= MAX_SINKS:
        raise Problem(
            "quota_exceeded", f"an organisation has at most {MAX_SINKS} sinks", hint="Delete one.",
            limit=MAX_SINKS, used=len(names), resets_at=None,
        )  # fmt: skip
    config = _plain(getattr(body, body.kind))
    secrets = unit.get(Carriers).get(body.kind).fit(config)
    id_ = new_id("snk")
    values: dict[str, Any] = {
        "id": id_, "name": body.name, "kind": body.kind, "stream": body.stream, "config": config,
        "cursor": 0 if body.from_start else _end_of(unit, body.stream), "created_by": unit.actor.id,
        "created_at": unit.now,
    }  # fmt: skip
    sealed = unit.get(Keyring).box(unit).seal(json.dumps(secrets).encode(), _purpose(unit.org_id, id_))
    unit.execute(sa.insert(sinks).values(org_id=unit.org_id, state="active", secret=sealed, **values))
    told = {"name": body.name, "kind": body.kind, "stream": body.stream}
    ledger.record(unit, "sink.created", id_, told, rules=decision.rules)
    shown = secrets.get("secret") if body.kind == "webhook" else None
    return NewSink(**_out(find(unit, id_)).model_dump(), secret=shown)


def listed(unit: Unit, _body: NothingIn) -> SinkList:
    """All that were not deleted, oldest first, with how they fare."""
    policy.require(unit, "audit.read", access.resource(unit))
    wanted = sa.select(sinks).where(sinks.c.state == "active").order_by(sinks.c.id)
    return SinkList(items=[_out(row) for row in unit.execute(wanted)])


class SinkTestIn(WriteIn):
    """Which sink is to be tried."""

    id: Line


def test(unit: Unit, body: SinkTestIn) -> Sink:
    """Send a sink a batch of its own; `tested_at` and `test_error` tell a moment later what became of it."""
    decision = policy.require(unit, "audit.manage", access.resource(unit))
    row = find(unit, body.id)
    outbox.put(unit, MESSAGE, f"test:{row.id}:{unit.call.request_id}", {"sink": row.id, "test": True})
    ledger.record(unit, "sink.tested", row.id, {}, rules=decision.rules)
    return _out(row)


def delete(unit: Unit, body: WhichIn) -> SinkGone:
    """Send nothing there any more, and forget its secrets."""
    decision = policy.require(unit, "audit.manage", access.resource(unit))
    row = find(unit, body.id)
    unit.execute(sa.update(sinks).where(sinks.c.id == row.id).values(state="deleted", secret=None))
    ledger.record(
        unit, "sink.deleted", row.id, {"name": row.name, "cursor": row.cursor}, rules=decision.rules
    )
    return SinkGone(id=row.id, message="Nothing is sent there any more.")


def find(unit: Unit, id_: str) -> sa.Row[Any]:
    """A live sink. Raises `not_found`."""
    row = unit.execute(sa.select(sinks).where(sinks.c.id == id_, sinks.c.state == "active")).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no such sink", hint="List the sinks first.")
    return row


def secrets_of(unit: Unit, row: sa.Row[Any]) -> dict[str, str]:
    """What the carrier needs beside the configuration; sealed under the organisation's own key, and gone with it."""
    return json.loads(unit.get(Keyring).box(unit).open(row.secret, _purpose(unit.org_id, row.id)))


def _plain(config: In) -> dict[str, Any]:
    """The configuration as JSON, secrets in the clear: for the carrier, which takes them out."""
    found = config.model_dump(exclude_none=True)
    return {name: v.get_secret_value() if isinstance(v, SecretStr) else v for name, v in found.items()}


def _end_of(unit: Unit, stream: str) -> int:
    return ledger.stored_head(unit)[0] if stream == "ledger" else access.settled(unit)


def _purpose(org_id: str, id_: str) -> str:
    return f"sink {org_id} {id_}"


def _out(row: sa.Row[Any]) -> Sink:
    return Sink(
        id=row.id, name=row.name, kind=row.kind, stream=row.stream, config=row.config, cursor=row.cursor,
        failing_since=row.failing_since, last_error=row.last_error, last_at=row.last_at, tested_at=row.tested_at,
        test_error=row.test_error, created_by=row.created_by, created_at=row.created_at,
    )  # fmt: skip
