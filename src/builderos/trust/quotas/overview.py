"""What the owner of the server sees of all organisations at once: numbers, and nothing of what is in them."""

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from builderos.core.schema import In, Out
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy


class OverviewIn(In):
    """How far back numbers of use go."""

    days: Annotated[
        int, Field(description="Days of use that are summed up, today included.", ge=1, le=400)
    ] = 7


class OrgOverview(Out):
    """One organisation: what there is now, and what was used in the last days."""

    org_id: str
    slug: str
    name: str
    created_at: datetime
    members: int
    repositories: int
    sandboxes: dict[str, int]
    alerts: dict[str, int]
    approvals: int
    requests: int
    writes: int
    refused: int
    failed: int
    commits: int


class ToolOverview(Out):
    """One tool over all organisations. `mean_ms`: how long a call took."""

    tool: str
    calls: int
    failed: int
    mean_ms: float


class ErrorOverview(Out):
    """How often a code was answered, over all organisations."""

    code: str
    calls: int


class Overview(Out):
    """The whole server."""

    orgs: list[OrgOverview]
    tools: list[ToolOverview]
    errors: list[ErrorOverview]
    totals: dict[str, int]


_TOTALS = ("members", "repositories", "approvals", "requests", "writes", "refused", "failed", "commits")


def show(unit: Unit, body: OverviewIn) -> Overview:
    """Every organisation, every tool, and the sums."""
    policy.require(unit, "server.overview", policy.org_resource(unit))
    since = (unit.now - timedelta(days=body.days - 1)).date()
    names = list(OrgOverview.model_fields)
    orgs = [OrgOverview(**dict(zip(names, row, strict=True))) for row in unit.ask("ops.overview", since)]
    tools = [
        ToolOverview(tool=tool, calls=calls, failed=failed, mean_ms=round(busy / calls, 1) if calls else 0)
        for tool, calls, failed, busy in unit.ask("ops.overview_tools", since)
    ]
    errors = [ErrorOverview(code=code, calls=calls) for code, calls in unit.ask("ops.overview_errors", since)]
    totals = {name: sum(getattr(org, name) for org in orgs) for name in _TOTALS}
    totals |= {"orgs": len(orgs), "sandboxes": sum(sum(org.sandboxes.values()) for org in orgs),
               "alerts": sum(sum(org.alerts.values()) for org in orgs)}  # fmt: skip
    return Overview(orgs=orgs, tools=tools, errors=errors, totals=totals)
