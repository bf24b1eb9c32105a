"""Words of the alerts API."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from builderos.core.schema import In, Line, Out

Rule = Literal[
    "tool_failed", "write_not_verified", "memory_invalid", "large_diff", "token_abuse", "quota_near", "quota_exceeded",
    "rate_limited", "backup_failed", "ledger_altered", "budget_exceeded", "webhook_failing", "webhook_disabled",
    "sink_failing", "artifact_altered", "record_altered", "task_check_failed",
    "deploy_unhealthy",
]  # fmt: skip
Severity = Literal["info", "warning", "critical"]
State = Literal["open", "acked", "resolved"]


class Alert(Out):
    """Something a person should look at; repeated events of one object count up instead of piling up."""

    id: str
    rule: str
    severity: Severity
    object: str
    state: State
    count: int
    detail: dict[str, Any]
    first_at: datetime
    last_at: datetime
    acked_by: str | None


class AlertListIn(In):
    """Filters of the list of alerts."""

    state: State | None = None
    rule: Line | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class AlertList(Out):
    """One page of alerts, newest first."""

    items: list[Alert]
    next_cursor: str | None


class AlertAckIn(In):
    """Which alert, and whether it is over."""

    id: Line
    resolve: bool = False
