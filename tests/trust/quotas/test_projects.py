"""Budgets of projects: told once at 80 %, refused and ended at 100 %, open again with a larger one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from builderos.core.clock import utcnow
from builderos.core.unit import as_system
from builderos.execution.compute import budgeting
from builderos.execution.compute.service import SandboxProviders
from builderos.trust.notices import service as notices
from builderos.trust.quotas.model import project_usage
from tests.support.databases import Databases
from tests.support.sandboxes import needs_strong
from tests.support.servers import until
from tests.support.training import Lab, lab_in_temp
from tests.support.world import Json, make_repository

GIB_HOUR_S = 3600.0


@pytest.fixture(scope="module")
def lab(databases: Databases) -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patch, databases.fresh() as database, lab_in_temp(database) as made:
        patch.setattr(budgeting, "LOOK_S", (0.05, 0.2))
        needs_strong(made.ship.context.get(SandboxProviders).probe("local"))
        yield made


@pytest.fixture
def repo(lab: Lab) -> Iterator[str]:
    """The id of a project of which nothing was used."""
    unused(lab)
    yield str(lab.get("/v1/repos")["items"][0]["id"])
    for one in lab.get("/v1/budgets")["items"]:
        budget(lab, one["meter"], None, repo_name=one["repo_name"])


def unused(lab: Lab) -> None:
    as_system(lab.ship.context, lab.ship.world.org_id, lambda unit: unit.execute(sa.delete(project_usage)))


def budget(lab: Lab, meter: str, amount: float | None, **more: Any) -> list[Json]:
    body = {"meter": meter, "period": "day", "amount": amount, "repo_name": lab.ship.box.repo_name} | more
    return list(lab.ship.world.ok(lab.ship.world.as_owner("PUT", "/v1/budgets", json=body))["items"])


def use(lab: Lab, repo_id: str, **used: float) -> None:
    values = {"cpu_s": 0.0, "memory_s": 0.0, "gpu_s": 0.0} | used

    def write(unit: Any) -> None:
        row = sa.insert(project_usage).values(
            org_id=unit.org_id, repo_id=repo_id, day=unit.now.date(), **values
        )
        unit.execute(row)

    unused(lab)
    as_system(lab.ship.context, lab.ship.world.org_id, write)


def told(lab: Lab, rule: str) -> list[Json]:
    """What a look at the budgets told of, as a process that has just begun sees them."""
    context = lab.ship.context
    context.put(notices.watch.Told, notices.watch.Told())
    notices.watch.tick(context)
    notices.feed.pass_on(context)
    lines = lab.get("/v1/audit", type="alert.opened")["items"]
    return [line["payload"] for line in lines if line["payload"]["rule"] == rule]


def try_run(lab: Lab, command: str = "true", **body: Any) -> Any:
    return lab.try_post(f"/v1/experiments/{lab.experiment}/runs", **lab.body(command=command, **body))


def test_people_are_told_once_at_80_per_cent_and_again_of_a_larger_budget(lab: Lab, repo: str) -> None:
    budget(lab, "memory_hours", 2)
    use(lab, repo, memory_s=1.5 * GIB_HOUR_S)
    assert told(lab, "quota_near") == []
    use(lab, repo, memory_s=1.7 * GIB_HOUR_S)
    until(lambda: len(told(lab, "quota_near")) == 1)
    (first,) = told(lab, "quota_near")
    assert first["object"] == f"2 memory_hours of lab per day {utcnow().date()}"
    assert (first["detail"]["repo"], first["detail"]["budget"], first["detail"]["used"]) == ("lab", 2, 1.7)
    (alert,) = lab.get("/v1/alerts", rule="quota_near")["items"]
    lab.post(f"/v1/alerts/{alert['id']}/ack", resolve=True)
    assert len(told(lab, "quota_near")) == 1, "who starts anew tells nobody again"
    (shown,) = budget(lab, "memory_hours", 4)
    assert (shown["repo_name"], shown["used"], shown["amount"], shown["percent"]) == ("lab", 1.7, 4, 42)
    assert len(told(lab, "quota_near")) == 1
    use(lab, repo, memory_s=3.3 * GIB_HOUR_S)
    until(lambda: len(told(lab, "quota_near")) == 2)


def test_nothing_new_begins_in_a_project_that_has_used_up_a_budget_and_others_go_on(
    lab: Lab, repo: str
) -> None:
    world, box = lab.ship.world, lab.ship.box
    budget(lab, "cpu_seconds", 10)
    use(lab, repo, cpu_s=12.5)
    refused = world.problem(try_run(lab), "budget_exceeded")
    assert refused["detail"].startswith(
        "the project lab has used up its budget of 10 cpu_seconds per day: 12.5 are used"
    )
    assert (refused["status"], refused["limit"], refused["used"], refused["repo_name"]) == (
        403,
        10,
        12.5,
        "lab",
    )
    assert refused["resets_at"].endswith("T00:00:00Z")
    assert "owner or admin" in refused["hint"]
    name = lab.ship.pipeline("version: 1.0.0\nsteps: [{id: a, run: 'true'}]")
    body = {"pipeline": name, "repo_name": box.repo_name, "branch": box.branch}
    world.problem(lab.try_post("/v1/runs", **body), "budget_exceeded")
    place = {"repo_name": box.repo_name, "branch": box.branch, "runtime": "py"}
    world.problem(lab.try_post("/v1/sessions", **place, kind="shell"), "budget_exceeded")
    source = {"repo_name": box.repo_name, "branch": box.branch, "path": ""}
    app = lab.post("/v1/apps", name="page", type="flask", source=source, runtime="py", command="true")
    world.problem(lab.try_post(f"/v1/apps/{app['id']}/releases"), "budget_exceeded")
    name = f"10 cpu_seconds of lab per day {utcnow().date()}"
    until(lambda: name in {one["object"] for one in told(lab, "budget_exceeded")})
    assert [one["object"] for one in told(lab, "budget_exceeded")].count(name) == 1
    world.import_repo(make_repository(world.home / "other", {"a.txt": "a"}), "other")
    other = world.open_sandbox("other")
    other.commit({"ship/p/pipeline.yaml": "name: p\nversion: 1.0.0\nsteps: [{id: a, run: 'true'}]"})
    body = {"pipeline": "p", "repo_name": "other", "branch": other.branch}
    run_id = lab.post("/v1/runs", **body)["run_id"]
    until(lambda: lab.get(f"/v1/runs/{run_id}")["status"] == "succeeded")
    (shown,) = lab.get("/v1/budgets", repo_name="lab")["items"]
    assert (shown["level"], shown["percent"]) == ("exceeded", 125)
    assert lab.get("/v1/budgets", repo_name="other")["items"] == []
    budget(lab, "cpu_seconds", 100)
    lab.until(world.ok(try_run(lab))["id"], "finished")
    assert lab.get("/v1/budgets", repo_name="lab")["items"][0]["used"] > 12.5, "what it used counts"


def test_two_that_begin_at_once_are_both_ended_when_they_pass_the_bound(lab: Lab, repo: str) -> None:
    budget(lab, "memory_hours", 1)
    use(lab, repo, memory_s=GIB_HOUR_S - 3.0)  # two of a GiB each have 1.5 s
    with ThreadPoolExecutor(2) as two:
        begun = list(two.map(lambda _: try_run(lab, "sleep 600"), range(2)))
    for reply in begun:
        ended = lab.until(lab.ship.world.ok(reply)["id"], "failed")
        (step,) = lab.get(f"/v1/runs/{ended['run_id']}")["steps"]
        assert step["reason"] == "budget"
        assert "used up" in step["error"]
    lab.ship.world.problem(try_run(lab), "budget_exceeded")
    (shown,) = lab.get("/v1/budgets")["items"]
    assert 1 <= shown["used"] < 1 + 30 / GIB_HOUR_S


def test_a_budget_names_a_project_that_is_there_and_a_meter_of_its_kind(lab: Lab, repo: str) -> None:
    world = lab.ship.world
    wrong: list[tuple[Json, str]] = [
        ({"meter": "tokens", "period": "day", "amount": 5}, "validation_failed"),
        ({"meter": "commits", "period": "day", "amount": 5, "repo_name": "lab"}, "validation_failed"),
        ({"meter": "tokens", "period": "day", "amount": 0.5, "repo_name": "lab"}, "validation_failed"),
        ({"meter": "tokens", "period": "day", "amount": 5, "repo_name": "none"}, "not_found"),
    ]
    for body, code in wrong:
        world.problem(world.as_owner("PUT", "/v1/budgets", json=body), code)
    world.problem(world.as_owner("GET", "/v1/budgets", params={"repo_name": "none"}), "not_found")
    box = lab.ship.box
    body = {"meter": "tokens", "period": "day", "amount": 5, "repo_name": "none"}
    world.problem(world.http.put("/v1/budgets", json=body, headers=box.headers), "policy_denied")
