"""Every rule of the alerts, provoked as it happens in life: told to a webhook, once.

The engine that passes things on runs in this process, as in a server.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any, get_args
from unittest import mock

import psycopg
import pytest

from builderos import app as root
from builderos.assets.repositories.service import RepositoryStore
from builderos.assets.workspaces import history, schedules
from builderos.assets.workspaces import service as workspaces
from builderos.core.problems import Problem
from builderos.core.unit import as_system
from builderos.engine import outbox
from builderos.trust.ledger import service as ledger
from builderos.trust.notices import service as notices
from builderos.trust.notices.schema import Rule
from builderos.trust.quotas.service import Rates
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.pages import ROOT
from tests.support.receivers import NETWORKS, Receiver, receiver
from tests.support.servers import until
from tests.support.world import Json

GARBAGE = "bos_rt_" + "0" * 43
_numbers = count()
# Whose test stands elsewhere, because the room that raises it has its own doors.
ELSEWHERE: dict[str, str] = {
    "sink_failing": "tests/trust/audit",
    "artifact_altered": "tests/assets/artifacts",
    "record_altered": "tests/execution/runs",
    "task_check_failed": "tests/execution/runs",
    "deploy_unhealthy": "tests/workloads/deployments",
}


@pytest.fixture(scope="module")
def site(databases: Databases) -> Iterator[Lab]:
    """A server with its engine running, and limits that are near."""
    with lab_in_temp(
        databases, webhook_networks=NETWORKS, rate_invalid_tokens=2, max_commits_per_sandbox=5
    ) as made:
        engine = root.build_engine(root.Started(made.world.app, made.database.engine_url))
        engine.start()
        assert engine.wait(120)
        yield made
        engine.stop(5)


@pytest.fixture(scope="module")
def there(site: Lab) -> Iterator[Receiver]:
    with receiver() as made:
        body = {"url": made.url, "events": ["alert.opened"]}
        site.ok(site.as_owner("POST", "/v1/webhooks", json=body), 201)
        yield made


def too_many_invalid_tokens(site: Lab) -> None:
    for _ in range(4):
        site.world.http.post("/git/log", json={"reuse_token": GARBAGE})


def too_many_calls(site: Lab) -> None:
    box, windows = site.open_sandbox(), site.world.context.get(Rates)._windows["per_token"]
    with mock.patch.object(windows, "size", 1):
        box.try_post("/git/log")
        site.problem(box.try_post("/git/log"), "rate_limited")


def a_fault_of_ours(site: Lab) -> None:
    box = site.open_sandbox()
    with mock.patch.object(history, "log", side_effect=ZeroDivisionError):
        site.problem(box.try_post("/git/log"), "internal")


def a_disk_that_keeps_nothing(site: Lab) -> None:
    box = site.open_sandbox()
    with mock.patch.object(RepositoryStore, "swap_ref", return_value=True):
        change = {"file_path": "a.txt", "content": "x", "message": "m"}
        site.problem(box.try_post("/commit_and_log_output", **change), "write_not_verified")


def a_broken_delivery_file(site: Lab) -> None:
    box = site.open_sandbox()
    box.commit({"project/task.yaml": "tasks: [unclosed\n"})
    site.problem(box.try_post("/tasks/query"), "validation_failed")


def a_large_change(site: Lab) -> None:
    site.open_sandbox().commit({"large.txt": "line\n" * 500})


def commits(site: Lab, number: int) -> None:
    box = site.open_sandbox()
    for n in range(number):
        box.try_post("/commit_and_log_output", file_path="a.txt", content=f"{n}\n", message="m")


def a_backup_that_fails(site: Lab) -> None:
    problem = Problem("unavailable", "its files cannot be opened")
    with mock.patch.object(schedules, "back_up_main", side_effect=problem), suppress(Problem):
        workspaces.back_up_daily(site.world.context, site.world.org_id)


def a_budget_that_is_used_up(site: Lab) -> None:
    body = {"meter": "commits", "period": "month", "amount": 1}
    site.open_sandbox().commit({"a.txt": "1\n"})
    notices.feed.pass_on(site.world.context)
    site.ok(site.world.http.put("/v1/budgets", json=body, headers=site.world.owner))
    notices.watch.tick(site.world.context)
    site.ok(site.world.http.put("/v1/budgets", json={**body, "amount": None}, headers=site.world.owner))


def a_receiver_that_takes_nothing(site: Lab, ages: str) -> None:
    body = {"url": "http://127.0.0.1:9/", "events": ["none"], "description": str(next(_numbers))}
    made = site.ok(site.as_owner("POST", "/v1/webhooks", json=body), 201)
    sent = site.ok(site.as_owner("POST", f"/v1/webhooks/{made['id']}/ping", json={}))["id"]
    until(lambda: site.sql("select attempts from ops.deliveries where id = %s", sent) == [(1,)])
    site.sql(ages, made["id"])
    until(lambda: retried(site, sent))


def retried(site: Lab, delivery: str) -> bool:
    """Have the next round now, until it has happened."""
    site.sql("update ops.outbox set next_at = now() where key = %s and done_at is null", f"{delivery}:0")
    site.world.context.get(outbox.Bell).ring()
    return site.sql("select state from ops.deliveries where id = %s", delivery) != [("pending",)]


def an_altered_ledger(site: Lab) -> None:
    """By somebody who rules the database."""
    size = site.sql("select max(seq) from ops.ledger where org_id = %s", site.world.org_id)[0][0]
    with psycopg.connect(site.database.superuser_conninfo, autocommit=True) as superuser:
        superuser.execute("alter table ops.ledger disable trigger user")
        superuser.execute(
            "update ops.ledger set body = replace(body, '\"door\"', '\"dooR\"') where seq = %s", (size,)
        )
        superuser.execute("alter table ops.ledger enable trigger user")
    with suppress(ledger.Altered):
        workspaces.sign_ledger(site.world.context, site.world.org_id)


DAY_OVER = "update ops.deliveries set begun_at = now() - interval '25 hours' where webhook_id = %s"
DAYS_OVER = "update ops.webhooks set failing_since = now() - interval '4 days' where id = %s"
PROVOKE: dict[str, Callable[[Lab], object]] = {
    "tool_failed": a_fault_of_ours,
    "write_not_verified": a_disk_that_keeps_nothing,
    "memory_invalid": a_broken_delivery_file,
    "large_diff": a_large_change,
    "token_abuse": too_many_invalid_tokens,
    "quota_near": lambda site: commits(site, 4),
    "quota_exceeded": lambda site: commits(site, 6),
    "rate_limited": too_many_calls,
    "backup_failed": a_backup_that_fails,
    "budget_exceeded": a_budget_that_is_used_up,
    "webhook_failing": lambda site: a_receiver_that_takes_nothing(site, DAY_OVER),
    "webhook_disabled": lambda site: a_receiver_that_takes_nothing(site, DAYS_OVER),
    "ledger_altered": an_altered_ledger,
}


def told(there: Receiver, rule: str) -> list[Json]:
    events = [json.loads(body) for _, body in list(there.got)]
    return [event for event in events if event["data"]["rule"] == rule]


def test_every_rule_is_provoked_and_explained() -> None:
    assert set(PROVOKE) | set(ELSEWHERE) == set(get_args(Rule))
    page = (ROOT / "docs" / "technical" / "notices.md").read_text("utf-8")
    assert [rule for rule in get_args(Rule) if f"| `{rule}` |" not in page] == []


@pytest.mark.parametrize("rule", PROVOKE)
def test_an_alert_arrives_once_and_is_over_when_somebody_says_so(
    site: Lab, there: Receiver, rule: str
) -> None:
    PROVOKE[rule](site)
    until(lambda: bool(told(there, rule)))
    event = told(there, rule)[0]
    shown = next(a for a in site.alerts(rule) if a["id"] == event["object"])
    assert (shown["state"], shown["severity"]) == ("open", event["data"]["severity"])
    inbox = site.ok(site.as_owner("GET", "/v1/inbox", params={"kind": "alert", "limit": 200}))["items"]
    assert shown["id"] in [item["id"] for item in inbox]

    detail = shown["detail"]
    as_system(
        site.world.context, site.world.org_id,
        lambda unit: notices.raise_alert(unit, rule, shown["object"], detail),  # type: ignore[arg-type]
    )  # fmt: skip
    again = [a for a in site.alerts(rule) if a["object"] == shown["object"]]
    assert [a["count"] > shown["count"] for a in again] == [True], "it counts up instead of piling up"

    path = f"/v1/alerts/{shown['id']}/ack"
    assert site.ok(site.as_owner("POST", path, json={}))["state"] == "acked"
    assert site.ok(site.as_owner("POST", path, json={"resolve": True}))["state"] == "resolved"
    left = site.ok(site.as_owner("GET", "/v1/inbox", params={"kind": "alert", "limit": 200}))["items"]
    assert shown["id"] not in [item["id"] for item in left]
    assert len([e for e in told(there, rule) if e["object"] == shown["id"]]) == 1


def test_an_alert_has_its_line_in_the_ledger(site: Lab) -> None:
    a_large_change(site)

    def opened() -> list[Any]:
        return [e for e in site.events(type="alert.opened") if e["payload"]["rule"] == "large_diff"]

    until(lambda: bool(opened()))
    assert opened()[0]["payload"]["severity"] == "info"
