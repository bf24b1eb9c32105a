"""Sinks of a test server: made, woken, and what they carry checked by a second reading of the rules."""

import base64
import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from builderos import app as root
from builderos.engine import outbox
from builderos.trust.audit import service as audit

from .lab import Lab
from .world import Json


def sink(site: Lab, name: str, **where: Any) -> Json:
    """A sink of the owner from the start of the record."""
    return site.ok(
        site.as_owner("POST", "/v1/audit/sinks", json={"name": name, "from_start": True, **where}), 201
    )


def state_of(site: Lab, made: Json) -> Json:
    """The sink as the list shows it."""
    items = site.ok(site.as_owner("GET", "/v1/audit/sinks"))["items"]
    return next(item for item in items if item["id"] == made["id"])


def work(site: Lab) -> None:
    """Wake sinks that are behind and carry what is due, as the engine does."""
    context = site.world.context
    audit.shipping.wake(context)
    handlers = root.outbox_handlers()
    while due := [d for d in outbox.due(context) if kind_of(site, d.id) == audit.sinks.MESSAGE]:
        for item in due:
            outbox.deliver(context, handlers, item.org_id, item.id)


def kind_of(site: Lab, message: int) -> str:
    """The kind of a message of the outbox."""
    return site.sql("select kind from ops.outbox where id = %s", message)[0][0]


def due_now(site: Lab) -> None:
    """Whatever waits is due."""
    site.sql("update ops.outbox set next_at = now() where done_at is null")


def lines_of(site: Lab) -> list[str]:
    """The export's rows, without its head."""
    return site.as_owner("GET", "/v1/audit/export").text.split("\n")[:-2]


def signature_holds(envelope: Json, data: bytes) -> bool:
    """By the documented rule, written down a second time."""
    assert envelope["sha256"] == hashlib.sha256(data).hexdigest()
    said = "".join(f"{envelope[n]}\n" for n in ("org_id", "stream", "first", "last", "sha256", "signed_at"))
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(envelope["public_key"]))
    key.verify(base64.b64decode(envelope["signature"]), b"builderos/batch\n" + said.encode())
    return True
