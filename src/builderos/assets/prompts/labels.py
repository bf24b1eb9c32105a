"""Labels: names that move from version to version. Protected ones move with a permission, or with an approval where the
policy file asks for one.
"""

import hashlib
import json
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.operations import Reply
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.core.versions import bounds_of, is_version
from builderos.core.yamlwords import ID
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.service import Approval, approvals

from . import registry
from .changes import unified
from .model import prompt_labels
from .schema import LabelIn, Labelled, UnlabelIn
from .spec import PromptVersion

PROMOTE: Final = "prompt.promote"
MAX_LABELS: Final = 50


def is_protected(unit: Unit, label: str) -> bool:
    """Whether a label may not move like any other."""
    return label in {name.strip() for name in unit.settings.protected_labels.split(",")}


def label(unit: Unit, body: LabelIn) -> Reply[Labelled]:
    """Let a label name a version: 202 with `approval_id` where the policy file wants an approval for it.

    Raises `not_found`, `validation_failed`, `policy_denied`.
    """
    asks = is_protected(unit, body.label) and _by_approval(unit)
    decision = policy.require(
        unit,
        PROMOTE if is_protected(unit, body.label) and not asks else "prompt.label",
        policy.org_resource(unit),
    )
    _check_name(body.label)
    what = registry.split(f"{body.name}@{body.version}")[1]
    found = registry.find(unit, body.name, what)
    if found is None or registry.row_of(unit, body.name, found.version) is None:
        raise registry.not_found(f"{body.name}@{body.version}")
    before = _stands(unit, body.name, body.label)
    if before == found.version:
        message = f"{body.label} names {found.spec.ref} already."
        return Reply(200, _labelled(body.name, body.label, before, before, message))
    if asks:
        return _ask(unit, body, found, before)
    _move(unit, body.name, body.label, found, before, decision.rules)
    message = f"{body.label} names {found.spec.ref} now."
    return Reply(200, _labelled(body.name, body.label, found.version, before, message))


def unlabel(unit: Unit, body: UnlabelIn) -> Labelled:
    """Take a label away. Raises `not_found`, `policy_denied`."""
    action: policy.Action = PROMOTE if is_protected(unit, body.label) else "prompt.label"
    decision = policy.require(unit, action, policy.org_resource(unit))
    before = _stands(unit, body.name, body.label)
    if before is None:
        raise registry.not_found(f"{body.name}@{body.label}")
    c = prompt_labels.c
    unit.execute(sa.delete(prompt_labels).where(c.name == body.name, c.label == body.label))
    payload = {"label": body.label, "before": before, "version": None}
    ledger.record(unit, "prompt.labelled", body.name, payload, rules=decision.rules)
    return _labelled(
        body.name, body.label, None, before, f"{body.label} names no version of {body.name} any more."
    )


def on_verdict(unit: Unit, approval: Approval) -> None:
    """An approval for a protected label was decided: on a yes it moves to exactly that version.

    Raises `conflict` when it has moved since, or the version is not the one that was shown.
    """
    if approval.state != "approved":
        return
    said = approval.diff_stat
    name, word = str(said["name"]), str(said["label"])
    found = registry.find(unit, name, str(said["version"]))
    before = _stands(unit, name, word)
    if found is None or approval.diff_hash != _bound(name, word, before, found):
        raise Problem(
            "conflict",
            f"{word} has moved since this was proposed, so its approval is void",
            hint="Ask for it again.",
        )
    _move(unit, name, word, found, before, (), approval.id)


def _ask(unit: Unit, body: LabelIn, found: PromptVersion, before: str | None) -> Reply[Labelled]:
    old = registry.find(unit, body.name, before) if before is not None else None
    diff = unified(
        old.content if old else "", found.content, (old.spec.ref if old else "nothing", found.spec.ref)
    )
    stat: dict[str, Any] = {"name": body.name, "label": body.label, "version": found.version, "from": before}
    approval_id = approvals.request(
        unit, action=PROMOTE, object_=f"{body.name}@{body.label}", diff=diff, diff_stat=stat,
        diff_hash=_bound(body.name, body.label, before, found),
        reason=body.reason or f"{body.label} of {body.name} to {found.version}", risk="high",
        risk_reasons=["changes what runs with this label say to a model"], prompt_version=found.ref,
    )  # fmt: skip
    message = (
        f"{body.label} waits for an approval ({approval_id}); it stays at {before or 'nothing'} until then."
    )
    return Reply(202, _labelled(body.name, body.label, before, before, message, approval_id))


def _move(
    unit: Unit, name: str, word: str, found: PromptVersion, before: str | None, rules: tuple[str, ...],
    approval_id: str | None = None,
) -> None:  # fmt: skip
    c = prompt_labels.c
    if before is None:
        count = unit.execute(sa.select(sa.func.count()).where(c.name == name)).scalar_one()
        if count >= MAX_LABELS:
            raise Problem(
                "quota_exceeded", f"{name} has {count} labels", hint="Take one away.", limit=MAX_LABELS
            )
    values = {"version": found.version, "moved_by": unit.actor.id, "moved_at": unit.now}
    made = insert(prompt_labels).values(org_id=unit.org_id, name=name, label=word, **values)
    unit.execute(made.on_conflict_do_update(index_elements=[c.org_id, c.name, c.label], set_=values))
    payload = {"label": word, "before": before, "version": found.version, "sha256": found.sha256}
    more = {"approval_id": approval_id} if approval_id else {}
    ledger.record(unit, "prompt.labelled", name, payload | more, rules=rules)


def _by_approval(unit: Unit) -> bool:
    """Whether the organisation's policy file wants an approval."""
    return any(PROMOTE in rule.actions for rule in policy.document_in_force(unit).approvals)


def _stands(unit: Unit, name: str, word: str) -> str | None:
    c = prompt_labels.c
    wanted = sa.select(c.version).where(c.name == name, c.label == word).with_for_update()
    return unit.execute(wanted).scalar_one_or_none()


def _check_name(word: str) -> None:
    if ID.match(word) is None or word == registry.LATEST or is_version(word) or bounds_of(word) is not None:
        raise Problem(
            "validation_failed", f"{word[:80]!r} cannot be a label",
            hint="Use small letters, digits, - and _, and begin with a letter; latest moves by itself.",
        )  # fmt: skip


def _bound(name: str, word: str, before: str | None, found: PromptVersion) -> str:
    text = json.dumps([name, word, before, found.version, found.sha256])
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _labelled(
    name: str, word: str, version: str | None, before: str | None, message: str, approval_id: str | None = None
) -> Labelled:  # fmt: skip
    return Labelled(
        name=name, label=word, version=version, before=before, approval_id=approval_id, message=message
    )
