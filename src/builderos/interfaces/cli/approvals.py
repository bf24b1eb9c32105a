"""Decisions: what waits, and yes or no to exactly that."""

from urllib.parse import quote

import click

from builderos.client.http import Json

from .caller import Caller
from .commands import Verb
from .options import fields, paged
from .output import facts

COLUMNS = (("id", "APPROVAL"), ("state", "STATE"), ("risk", "RISK"), ("action", "ACTION"), ("reason", "REASON"),
           ("expires_at", "EXPIRES"))  # fmt: skip
FACTS = (
    "id",
    "state",
    "action",
    "object",
    "risk",
    "risk_reasons",
    "requested_by",
    "prompt_version",
    "quorum",
    "may_decide",
    "diff_stat",
    "diff_hash",
    "self_approved",
    "expires_at",
)


@click.command(cls=Verb)
@click.argument("id", required=False, metavar="[ID]")
@click.option("--state", type=click.Choice(["pending", "approved", "denied", "expired", "cancelled", "all"]),
              default="pending", show_default=True, help="Only these.")  # fmt: skip
@paged
@click.pass_obj
def approvals(caller: Caller, id: str | None, state: str, limit: int, cursor: str | None) -> int:
    """List what waits for a decision; with ID show one, with the diff it is bound to."""
    if id is not None:
        reply = caller.client().call("GET", f"/v1/approvals/{quote(id, safe='')}")
        return caller.show(
            reply, [str(reply.get("reason", "")), *facts(reply, FACTS), "", str(reply.get("diff", ""))]
        )
    query = fields(state=None if state == "all" else state, limit=limit, cursor=cursor)
    return caller.listing(
        caller.client().call("GET", "/v1/approvals", query), COLUMNS, "Nothing waits for a decision"
    )


def _decide(caller: Caller, id: str, decision: str, comment: str, digest: str | None) -> int:
    body: Json = {"decision": decision, "comment": comment} | fields(diff_hash=digest)
    reply = caller.client().call("POST", f"/v1/approvals/{quote(id, safe='')}", body, once=True)
    return caller.show(
        reply, [f"{str(reply.get('state', decision)).capitalize()} {id}", *facts(reply, FACTS[2:])]
    )


_COMMENT = click.option("-m", "--comment", default="", help="Why.")
_DIGEST = click.option(
    "--diff-hash", "digest", metavar="HASH", help="Only if the change is still the one with this hash."
)


@click.command(cls=Verb)
@click.argument("id")
@_COMMENT
@_DIGEST
@click.pass_obj
def approve(caller: Caller, id: str, comment: str, digest: str | None) -> int:
    """Say yes to exactly the change that waits; a different one needs a new yes."""
    return _decide(caller, id, "approve", comment, digest)


@click.command(cls=Verb)
@click.argument("id")
@_COMMENT
@_DIGEST
@click.pass_obj
def deny(caller: Caller, id: str, comment: str, digest: str | None) -> int:
    """Say no to a waiting change; nothing of it happens."""
    return _decide(caller, id, "deny", comment, digest)
