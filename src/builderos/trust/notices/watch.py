"""Every few seconds: write down what was counted, look at the budgets, and tell where one comes to its end."""

from typing import Any

from builderos.core.context import Context
from builderos.core.unit import Unit, as_system
from builderos.trust.quotas import service as quotas

from .alerts import raise_alert

EVERY_S = 5.0


class Told:
    """Which budgets this process has told of already, with their period: an alert is no ticking counter."""

    def __init__(self) -> None:
        self.levels: dict[tuple[str, str, str, str, float, str], str] = {}


def tick(context: Context) -> None:
    """One round. Safe to repeat and in several processes; raises `Problem` where the database does not answer."""
    quotas.metering.flush(context)
    told, present = context.get(Told), dict[tuple[str, str, str, str, float, str], str]()
    for standing in quotas.budgets.refresh(context):
        where = (standing.org_id, standing.repo_id, standing.meter, standing.period)
        key = (*where, standing.amount, str(standing.since))
        present[key] = standing.level
        if told.levels.get(key) != standing.level:
            as_system(context, standing.org_id, lambda unit, found=standing: _tell(unit, found))
    told.levels = present


def _tell(unit: Unit, standing: quotas.budgets.Standing) -> None:
    """Once for each level that a budget comes to in a period, whichever process sees it."""
    if not quotas.budgets.tell(unit, standing):
        return
    rule = "budget_exceeded" if standing.level == "exceeded" else "quota_near"
    detail: dict[str, Any] = {
        "budget": quotas.budgets.plain(standing.amount), "used": quotas.budgets.plain(standing.used),
        "resets_at": standing.resets_at.isoformat(),
    }  # fmt: skip
    name = f"{standing.name} {standing.since}"
    if standing.repo_id:
        detail |= {"repo": standing.project, "repo_id": standing.repo_id, "meter": standing.meter}
        name = f"{detail['budget']} {name}"  # a larger one is told of anew
    raise_alert(unit, rule, name, detail)
