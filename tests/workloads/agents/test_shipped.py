"""The pipelines that come along, on the repository that comes along: agents are scripted, the rest is real."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from builderos.execution.compute.service import SandboxProviders
from builderos.interfaces.cli.story import teashop
from builderos.workloads.deployments.ports import Deployers
from tests.support.databases import Databases
from tests.support.deployers import get
from tests.support.runs import Ship, ship_in_temp
from tests.support.sandboxes import needs_strong, until
from tests.support.upstreams import provider_file
from tests.support.world import Json, make_repository
from tests.workloads.deployments.conftest import quick

GOAL = {"goal": "Add rate limiting to this API", "by": "agents"}


@pytest.fixture(scope="module")
def ship(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ship]:
    source = make_repository(tmp_path_factory.mktemp("made") / "repo", dict(teashop.repository()))
    with databases.fresh() as database, ship_in_temp(database, ai_anonymous=True) as made:
        needs_strong(made.context.get(SandboxProviders).probe("local"))
        made.context.put(Deployers, quick(made))
        provider_file(made.world.home, teashop.provider_file())
        made.world.import_repo(Path(source), teashop.NAME)
        yield made


def started(ship: Ship, pipeline: str, **params: str) -> str:
    """A run of the owner on a branch of its own; its id."""
    ship.box = ship.world.open_sandbox(teashop.NAME)
    return again(ship, pipeline, **params)


def again(ship: Ship, pipeline: str, **params: str) -> str:
    where = {"repo_name": ship.box.repo_name, "branch": ship.box.branch}
    body = {"pipeline": pipeline, "params": params, **where}
    return str(ship.world.ok(ship.world.as_owner("POST", "/v1/runs", json=body), 202)["run_id"])


def decide(ship: Ship, id_: str, step: str) -> Json:
    """Say yes to what the run waits for; how it was shown."""
    approval = ship.steps(waiting(ship, id_, step))[step]["approval_id"]
    shown = ship.world.ok(ship.world.as_owner("GET", f"/v1/approvals/{approval}"))
    ship.world.ok(ship.world.as_owner("POST", f"/v1/approvals/{approval}", json={"decision": "approve"}))
    return shown


def waiting(ship: Ship, id_: str, step: str) -> Json:
    def waits() -> bool:
        run = ship.run(id_)
        failed = [(s["name"], s["error"]) for s in run["steps"] if s["status"] == "failed"]
        assert not failed, failed
        return ship.statuses(run)[step] == "waiting_approval"

    until(waits)
    return ship.run(id_)


def read(ship: Ship, path: str) -> str:
    return str(ship.box.post("/system/fetch_files", mode="single", path=path)["files"][0]["content"])


def told(ship: Ship, run: Json) -> dict[str, tuple[str, str]]:
    return {step["name"]: (step["status"], step["error"]) for step in run["steps"]}


def test_a_feature_is_planned_built_in_lanes_repaired_reviewed_approved_proposed_and_shown(
    ship: Ship,
) -> None:
    id_ = started(ship, "feature_pipeline", **GOAL)
    waiting(ship, id_, "approve")
    context = ship.world.ok(ship.world.as_owner("GET", f"/v1/runs/{id_}/context"))
    assert [(gate["kind"], gate["name"]) for gate in context["open_questions"]] == [("approval", "approve")]
    decide(ship, id_, "approve")
    run = ship.until(id_)

    assert run["status"] == "succeeded", told(ship, run)
    steps = ship.steps(run)
    assert {name for name, step in steps.items() if step["status"] == "skipped"} == {"plan", "generate"}
    rounds = steps["build"]["result"]["rounds"]
    assert [one["passed"] for one in rounds] == [False, True]
    assert "FAIL: test_who_went_on_asking_passes_again_too" in rounds[0]["said"]
    assert steps["review"]["result"]["verdict"] == "approve"
    assert "return len(passed)" not in read(ship, "shop/limits.py")
    assert read(ship, "docs/limits.md").startswith("# Limits\n")
    made = ship.box.post("/git/log")["items"][0]["agent_version"]
    who = "scripted/teashop, scripted"  # whoever served it, and that nobody was asked
    assert made == f"builder@1.0.0 ({who}), docwriter@1.0.0 ({who})"
    context = ship.world.ok(ship.world.as_owner("GET", f"/v1/runs/{id_}/context"))
    assert [(d["kind"], d["name"], d["by"], d["said"]) for d in context["decisions"]][:1] == [
        ("verdict", "review", "reviewer", "approve")
    ]
    assert context["decisions"][1]["kind"] == "approval", context["decisions"]
    assert context["decisions"][1]["by"], context["decisions"]
    assert (context["decisions"][1]["said"], context["open_questions"]) == ("approved", [])
    url = steps["deploy_preview"]["result"]["preview_url"]
    statuses = [get(url, "/items").status for _ in range(70)]
    assert statuses.count(429) >= 5, "what was built is what answers"
    used = ship.world.ok(ship.world.as_owner("GET", f"/v1/ai/usage?run_id={id_}&limit=100"))["items"]
    assert {row["label"] for row in used} == {"scripted"}
    replay_id = ship.world.ok(ship.world.as_owner("POST", f"/v1/runs/{id_}/replay", json={}), 202)["run_id"]
    ship.until(replay_id)
    found = ship.world.ok(ship.world.as_owner("GET", f"/v1/runs/{replay_id}/replay"))
    assert found["reproduced"], found


def test_a_hotfix_is_found_mended_tested_and_brought_to_production_after_two_yeses(ship: Ship) -> None:
    id_ = started(ship, "hotfix_pipeline", reason="Ten pieces of a tea do not cost a tenth less", by="agents")
    assert "+    if count >= MANY:" in decide(ship, id_, "approve")["diff"]
    decide(ship, id_, "deploy_prod")
    run = ship.until(id_)

    assert run["status"] == "succeeded", told(ship, run)
    url = ship.steps(run)["deploy_prod"]["result"]["url"]
    assert json.loads(get(url, "/price?item=green&count=10").text)["cents"] == 4050


def test_tables_are_transformed_by_an_agent_checked_and_published(ship: Ship) -> None:
    id_ = started(ship, "data_pipeline", goal="Dates as ISO 8601, prices as whole cents.")
    run = ship.until(id_)

    assert run["status"] == "succeeded", told(ship, run)
    rows = [json.loads(line) for line in read(ship, "data/clean/rows.jsonl").splitlines()]
    assert [(row["ordered_on"], row["cents"]) for row in rows] == [
        ("2026-11-03", 1350), ("2026-11-04", 980), ("2026-11-14", 105840),
    ]  # fmt: skip


def test_the_branchs_own_check_refuses_rows_that_nobody_transformed(ship: Ship) -> None:
    run = ship.until(started(ship, "data_pipeline"))

    assert (run["status"], ship.statuses(run)["validate"]) == ("failed", "failed")
    assert ship.statuses(run)["publish"] == "skipped"


def test_on_a_changed_repository_the_script_fails_and_says_what_differs(ship: Ship) -> None:
    ship.box = ship.world.open_sandbox(teashop.NAME)
    changed = read(ship, "shop/api.py").replace("def answer(target, client):", "def answer(target, who):")
    ship.box.commit({"shop/api.py": changed})

    run = ship.until(again(ship, "feature_pipeline", **GOAL))

    assert run["status"] == "failed"
    assert "'def answer(target, client):' is nowhere in the conversation" in ship.steps(run)["think"]["error"]
    assert ship.statuses(run)["save"] == "skipped"
