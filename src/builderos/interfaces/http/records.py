"""What the edge itself writes down beside a call: refusals, and that somebody is still at work in a sandbox."""

from typing import Any, Final

from builderos.assets.workspaces import service as workspaces
from builderos.core.context import Context
from builderos.core.unit import Call, perform
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.secrets.service import redact, redacted

MAX_PATHS: Final = 100


def note_refusal(context: Context, call: Call, refused: policy.Refused) -> None:
    """A line of its own for what the policy did not allow; the verb's transaction is gone by now."""
    payload: dict[str, Any] = {
        "action": refused.action, "code": refused.code, "kind": refused.resource.kind,
        "repo_id": refused.resource.repo_id, "tool": call.tool,
    }  # fmt: skip
    where = {"repo": refused.resource.project, "branch": refused.resource.branch}
    payload |= {name: value for name, value in where.items() if value is not None}
    if refused.paths:
        payload["paths"] = list(refused.paths[:MAX_PATHS])
    payload |= refused.noted
    rules, told = refused.decision.rules, redacted(payload)
    about = redact(refused.resource.id)  # it may be what the caller named, whatever that was
    perform(context, call, lambda unit: ledger.record(unit, "refused", about, told, rules=rules))


def keep_awake(context: Context, call: Call) -> None:
    """Slide the expiry of the caller's sandbox, in a transaction of its own: at most hourly, so never in the way."""
    perform(context, call, lambda unit: workspaces.touch(unit, call.actor))
