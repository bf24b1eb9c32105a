"""Budgets through the doors: told at 80 %, refused at 100 %, open again with a larger one."""

from datetime import timedelta
from typing import Any

import pytest

from builderos.core.clock import utcnow
from tests.support.lab import Lab
from tests.support.world import Json, Sandbox

from .conftest import tick


def budget(lab: Lab, meter: str, amount: int | None, period: str = "day") -> Json:
    body = {"meter": meter, "period": period, "amount": amount}
    return lab.ok(lab.world.http.put("/v1/budgets", json=body, headers=lab.world.owner))


def spent(box: Sandbox, calls: int) -> list[int]:
    return [box.try_post("/git/log").status_code for _ in range(calls)]


def test_a_budget_tells_at_80_per_cent_and_refuses_at_100(fresh: Lab) -> None:
    box = fresh.open_sandbox()
    budget(fresh, "requests", 10)
    tick(fresh)
    counted = next(b for b in fresh.ok(fresh.as_owner("GET", "/v1/budgets"))["items"])["used"]
    spent(box, 8 - counted)
    tick(fresh)
    assert [a["object"].split(" 2")[0] for a in fresh.alerts("quota_near")] == ["requests per day"]
    for _ in range(5):
        reply = box.try_post("/git/log")
        if reply.status_code != 200:
            break
    problem = fresh.problem(reply, "budget_exceeded")
    assert (problem["limit"], problem["name"], problem["status"]) == (10, "requests per day", 403)
    assert problem["resets_at"] == f"{utcnow().date() + timedelta(days=1)}T00:00:00Z"
    tick(fresh)
    tick(fresh)
    assert len(fresh.alerts("budget_exceeded")) >= 1
    raised = budget(fresh, "requests", 1000)["items"]
    assert [(b["amount"], b["level"]) for b in raised] == [(1000, "ok")]
    assert spent(box, 1) == [200], "a larger budget opens the door at once"
    assert fresh.events(type="call.failed", code="budget_exceeded")
    assert fresh.ok(fresh.as_owner("GET", "/v1/usage"))["totals"]["refused"] >= 1


def test_a_budget_of_commits_stops_commits_and_not_reading(fresh: Lab) -> None:
    box = fresh.open_sandbox()
    budget(fresh, "commits", 2, "month")
    for number in range(2):
        box.commit({"a.txt": f"{number}\n"})
    change = {"file_path": "a.txt", "content": "3\n", "message": "m"}
    problem = fresh.problem(box.try_post("/commit_and_log_output", **change), "budget_exceeded")
    assert problem["resets_at"].endswith("-01T00:00:00Z")
    assert spent(box, 1) == [200]
    assert len(fresh.ok(fresh.as_owner("GET", "/v1/approvals"))["items"]) == 0
    assert budget(fresh, "commits", None, "month")["items"] == []
    fresh.ok(box.try_post("/commit_and_log_output", **change))
    body = {"meter": "commits", "period": "month"}
    gone = fresh.world.http.put("/v1/budgets", json=body, headers=fresh.world.owner)
    fresh.problem(gone, "not_found")


def test_alerts_of_a_budget_are_told_once_for_its_period(fresh: Lab) -> None:
    budget(fresh, "sandboxes", 1)
    fresh.open_sandbox()
    for _ in range(4):
        tick(fresh)
    assert [a["count"] for a in fresh.alerts("budget_exceeded")] == [1]
    fresh.problem(fresh.init(), "budget_exceeded")


BAD_BUDGETS: list[Json] = [
    {"meter": "x", "period": "day", "amount": 1},
    {"meter": "commits", "period": "week"},
    {"meter": "commits", "period": "day", "amount": 0},
    {"meter": "commits"},
]


@pytest.mark.parametrize("body", BAD_BUDGETS)
def test_a_malformed_budget_is_refused(lab: Lab, body: Json) -> None:
    lab.problem(lab.world.http.put("/v1/budgets", json=body, headers=lab.world.owner), "validation_failed")


def test_a_push_is_counted_and_stopped_by_a_budget_like_a_commit(fresh: Lab) -> None:
    box = fresh.open_sandbox()
    address = "/git/lab.git/info/refs"

    def knock(service: str) -> Any:
        return fresh.world.http.get(address, params={"service": service}, auth=("x", box.token))

    assert knock("git-receive-pack").status_code == 200
    budget(fresh, "writes", 1)
    tick(fresh)
    refused = knock("git-receive-pack")
    assert refused.status_code == 403
    assert "budget" in refused.text
    assert knock("git-upload-pack").status_code == 200
    assert "ratelimit" in knock("git-upload-pack").headers
    tools = {t["tool"] for t in fresh.ok(fresh.as_owner("GET", "/v1/admin/overview"))["tools"]}
    tick(fresh)
    tools |= {t["tool"] for t in fresh.ok(fresh.as_owner("GET", "/v1/admin/overview"))["tools"]}
    assert {"git push", "git fetch"} <= tools
