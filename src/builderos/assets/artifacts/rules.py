"""For how long artifacts are kept, how much space they may take, and what is taken out of them."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from .model import rules, space
from .schema import Redaction, Rules, RulesIn, SetRulesIn, Terms

_WHOLE = ""  # stands for the organisation where a pipeline could stand


class Limits(NamedTuple):
    """What holds in an organisation."""

    keep_days: int | None
    pipelines: dict[str, int | None]
    redact: Redaction
    max_bytes: int

    def expiry(self, pipeline: str | None, created_at: datetime, own: datetime | None) -> datetime | None:
        """When something is no longer kept: the earlier of its own term and that of its pipeline or organisation."""
        days = self.pipelines.get(pipeline or _WHOLE) or self.keep_days
        by_rule = created_at + timedelta(days=days) if days is not None else None
        return min((at for at in (own, by_rule) if at is not None), default=None)


def limits(unit: Unit) -> Limits:
    """What holds now."""
    rows = {row.pipeline: row for row in unit.execute(sa.select(rules))}
    whole = rows.pop(_WHOLE, None)
    most = unit.settings.max_artifact_space
    return Limits(
        keep_days=whole.keep_days if whole is not None else None,
        pipelines={name: row.keep_days for name, row in rows.items()},
        redact=(whole.redact if whole is not None else None) or "all",
        max_bytes=most if whole is None or whole.max_bytes is None else min(whole.max_bytes, most),
    )


def used(unit: Unit) -> int:
    """Bytes of content in the stores."""
    return unit.execute(sa.select(space.c.bytes)).scalar_one_or_none() or 0


def show(unit: Unit, _body: RulesIn) -> Rules:
    """What holds now."""
    policy.require(unit, "artifact.read", policy.org_resource(unit))
    return _shown(unit)


def change(unit: Unit, body: SetRulesIn) -> Rules:
    """Set what was sent. A shorter term takes effect with the next hourly run. Raises `validation_failed`."""
    decision = policy.require(unit, "artifact.manage", policy.org_resource(unit))
    sent: dict[str, Any] = {
        name: getattr(body, name)
        for name in ("keep_days", "redact", "max_bytes")
        if name in body.model_fields_set
    }
    if body.pipeline is not None and sent.keys() - {"keep_days"}:
        raise Problem(
            "validation_failed",
            "a pipeline has a term of its own, and nothing else",
            hint="Leave pipeline out.",
        )
    if not sent:
        raise Problem("validation_failed", "nothing was said", hint="Say keep_days, redact or max_bytes.")
    if "keep_days" in sent:
        sent["keep_days"] = sent["keep_days"] or None
    values = {**sent, "set_by": unit.actor.id, "set_at": unit.now}
    wanted = insert(rules).values(org_id=unit.org_id, pipeline=body.pipeline or _WHOLE, **values)
    unit.execute(wanted.on_conflict_do_update(index_elements=["org_id", "pipeline"], set_=values))
    ledger.record(
        unit, "artifact.rules", unit.org_id, {"pipeline": body.pipeline, **sent}, rules=decision.rules
    )
    return _shown(unit)


def _shown(unit: Unit) -> Rules:
    found = limits(unit)
    return Rules(
        keep_days=found.keep_days, redact=found.redact, max_bytes=found.max_bytes, used_bytes=used(unit),
        pipelines=[Terms(pipeline=name, keep_days=days) for name, days in sorted(found.pipelines.items())],
    )  # fmt: skip
