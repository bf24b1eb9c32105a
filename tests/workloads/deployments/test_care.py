"""What is live stays so, or what was before comes back; production is asked for."""

import pytest
import sqlalchemy as sa

from builderos.core.unit import as_system
from builderos.execution.compute.service import SandboxProviders
from builderos.workloads.deployments import service
from builderos.workloads.deployments.model import deployments
from builderos.workloads.deployments.ports import Deployers
from builderos.workloads.deployments.service import Care
from tests.support.deployers import get
from tests.support.deploying import COMMAND, Harbour
from tests.support.runs import Ship
from tests.support.sandboxes import until
from tests.support.world import Json, World

from .conftest import quick

NO_END = "\\ No newline at end of file\n"
PATCH = f"--- a/word.txt\n+++ b/word.txt\n@@ -1 +1 @@\n-old\n{NO_END}+new\n{NO_END}"
TEST = "import unittest\n\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertTrue(True)\n"
ROLLS_BACK = COMMAND + "on_unhealthy: rollback\n"


def start(harbour: Harbour, pipeline: str, **params: object) -> str:
    """Start a pipeline on the sandbox's branch as the owner; its id."""
    world, box = harbour.ship.world, harbour.ship.box
    body = {"pipeline": pipeline, "params": params, "repo_name": box.repo_name, "branch": box.branch}
    return str(world.ok(world.as_owner("POST", "/v1/runs", json=body), 202)["run_id"])


def decide(world: World, run: Json, step: str, decision: str = "approve") -> Json:
    """Decide about what a step waits for; the approval as it was shown."""
    approval = next(item for item in run["steps"] if item["name"] == step)["approval_id"]
    shown = world.ok(world.as_owner("GET", f"/v1/approvals/{approval}"))
    world.ok(world.as_owner("POST", f"/v1/approvals/{approval}", json={"decision": decision}))
    return shown


def to_prod(harbour: Harbour) -> Json:
    """Deploy the branch to production, with a yes; the deployment."""
    id_ = start(harbour, "deploy_pipeline", env="prod")
    decide(harbour.ship.world, harbour.ship.until(id_, "waiting_approval"), "prod")
    run = harbour.ship.until(id_)
    assert run["status"] == "succeeded", run
    return harbour.deployment(run)


def set_policy(world: World, content: str) -> None:
    """Put a policy file into force."""
    asked = world.as_owner("PUT", "/v1/policies", json={"content": content, "reason": "A test"})
    approval = world.ok(asked)["approval_id"]
    world.ok(world.as_owner("POST", f"/v1/approvals/{approval}", json={"decision": "approve"}))


def test_production_waits_for_a_yes_to_exactly_that_tree(harbour: Harbour) -> None:
    harbour.server("prod")
    id_ = start(harbour, "deploy_pipeline", env="prod")
    waiting = harbour.ship.until(id_, "waiting_approval")
    assert harbour.get(f"/v1/deployments?run_id={id_}")["items"] == [], "nothing of it has happened"
    shown = decide(harbour.ship.world, waiting, "prod")
    assert (shown["action"], shown["risk"]) == ("deploy.prod", "high")
    assert "+prod" in shown["diff"]
    run = harbour.ship.until(id_)
    assert harbour.ship.statuses(run) == {
        "preview": "skipped", "dev": "skipped", "stage": "skipped", "prod": "succeeded", "verify": "succeeded",
    }  # fmt: skip
    deployment = harbour.deployment(run)
    assert (deployment["env"], deployment["approval_id"]) == ("prod", shown["id"])
    assert get(deployment["url"]).text.startswith("prod")


def test_production_that_is_denied_does_not_happen(harbour: Harbour) -> None:
    harbour.server("never")
    id_ = start(harbour, "deploy_pipeline", env="prod")
    decide(harbour.ship.world, harbour.ship.until(id_, "waiting_approval"), "prod", "deny")
    run = harbour.ship.until(id_)
    assert run["status"] == "denied"
    assert harbour.get(f"/v1/deployments?run_id={id_}")["items"] == []


@pytest.mark.parametrize("env", ["dev", "stage", "prod"])
def test_a_workspace_deploys_previews_alone(harbour: Harbour, env: str) -> None:
    harbour.server(f"mine {env}")
    run = harbour.ship.until(harbour.ship.start("deploy_pipeline", params={"env": env}))
    step = harbour.ship.steps(run)[env]
    assert (run["status"], step["reason"]) == ("failed", "policy")
    assert harbour.get(f"/v1/deployments?run_id={run['id']}")["items"] == []


def test_a_hotfix_goes_to_production_and_comes_back_when_it_does_not_answer_as_it_should(
    harbour: Harbour,
) -> None:
    world, ship = harbour.ship.world, harbour.ship
    manifest = COMMAND + "verify: [{path: /, contains: old}]\n"
    harbour.server("old", manifest, **{"test_it.py": TEST})
    old = to_prod(harbour)
    id_ = start(harbour, "hotfix_pipeline", patch=PATCH, reason="It is old")
    decide(world, ship.until(id_, "waiting_approval"), "approve")
    until(lambda: ship.statuses(ship.run(id_)).get("deploy_prod") == "waiting_approval")
    decide(world, ship.run(id_), "deploy_prod")
    run = ship.until(id_)
    assert (run["status"], ship.steps(run)["verify"]["reason"]) == ("failed", "gate"), run
    assert harbour.deployment(run)["status"] == "rolled_back"
    assert harbour.get(f"/v1/deployments/{old['id']}")["status"] == "live"
    harbour.until_says(old["url"], "old")
    found = ship.box.post("/system/fetch_files", mode="single", path="word.txt")["files"]
    assert found[0]["content"] == "old", "the commit was taken back, too"


def test_one_that_becomes_unwell_is_switched_back_where_the_branch_asks_for_it(harbour: Harbour) -> None:
    harbour.server("steady", ROLLS_BACK)
    steady = harbour.deployment(harbour.deploy())
    harbour.server("frail", ROLLS_BACK)
    frail = harbour.deployment(harbour.deploy())
    assert get(frail["url"], "/sicken").status == 200
    harbour.until_says(frail["url"], "steady")
    until(lambda: harbour.get(f"/v1/deployments/{steady['id']}")["status"] == "live")
    gone = harbour.get(f"/v1/deployments/{frail['id']}")
    assert gone["status"] == "rolled_back"
    assert "answered 500" in gone["detail"]
    alerts = harbour.ship.world.ok(harbour.ship.world.as_owner("GET", "/v1/alerts?rule=deploy_unhealthy"))[
        "items"
    ]
    told = next(alert for alert in alerts if alert["object"] == frail["id"])
    assert told["detail"]["rolled_back_to"] == steady["id"]


def test_one_that_becomes_unwell_stays_where_nobody_asked_and_somebody_is_told(harbour: Harbour) -> None:
    harbour.server("before")
    harbour.deploy()
    harbour.server("frail")
    frail = harbour.deployment(harbour.deploy())
    assert get(frail["url"], "/sicken").status == 200
    until(lambda: harbour.get(f"/v1/deployments/{frail['id']}/health")["well"] is False)
    until(lambda: (harbour.get(f"/v1/deployments/{frail['id']}")["health"] or {})["well"] is False)
    assert harbour.get(f"/v1/deployments/{frail['id']}")["status"] == "live"
    lines = harbour.ship.world.ok(harbour.ship.world.as_owner("GET", f"/v1/audit?object={frail['id']}"))[
        "items"
    ]
    assert "deployment.unhealthy" in {line["type"] for line in lines}


def test_production_is_switched_back_unasked_only_where_the_policy_file_says_so(harbour: Harbour) -> None:
    world = harbour.ship.world
    harbour.server("good", ROLLS_BACK)
    to_prod(harbour)
    harbour.server("bad", ROLLS_BACK)
    bad = to_prod(harbour)
    get(bad["url"], "/sicken")
    until(lambda: (harbour.get(f"/v1/deployments/{bad['id']}")["health"] or {})["well"] is False)
    assert harbour.get(f"/v1/deployments/{bad['id']}")["status"] == "live"
    set_policy(world, "version: 1\nrules:\n"
               "  - {id: back, scope: {agent: builderos}, allow: {tools: [deploy.rollback_prod]}}\n")  # fmt: skip
    harbour.server("worse", ROLLS_BACK)
    worse = to_prod(harbour)
    get(worse["url"], "/sicken")
    until(lambda: harbour.get(f"/v1/deployments/{worse['id']}")["status"] == "rolled_back")
    harbour.until_says(worse["url"], "bad")
    set_policy(world, "version: 1\n")


def test_what_was_live_is_live_again_after_a_start(ship: Ship, harbour: Harbour) -> None:
    harbour.server("lasting")
    deployment = harbour.deployment(harbour.deploy())
    ship.context.get(Care).close()
    with pytest.raises(OSError, match="refused"):
        get(deployment["url"])
    ship.context.put(Deployers, quick(ship))
    ship.context.put(Care, again := Care(ship.context))
    assert ship.context.get(SandboxProviders).place
    again.look(ship.context)
    assert (
        harbour.until_says(deployment["url"], "lasting").headers["x-builderos-deployment"] == deployment["id"]
    )


def test_secrets_reach_what_is_deployed_as_the_policy_file_says(ship: Ship, harbour: Harbour) -> None:
    world = ship.world
    body = {"key_name": "KEY", "value": "hush-hush-hush"}
    world.ok(world.as_owner("POST", "/v1/secrets", json=body), 201)
    harbour.server("asks", COMMAND + "secrets: [KEY]\n")
    run = harbour.deploy()
    assert harbour.ship.steps(run)["preview"]["reason"] == "policy"
    assert harbour.deployment(run)["status"] == "failed"
    set_policy(world, "version: 1\nrules:\n  - {id: key, allow: {secrets: [KEY]}}\n")
    run = harbour.deploy()
    assert run["status"] == "succeeded", run
    deployment = harbour.deployment(run)
    assert get(deployment["url"]).text.endswith("hush-hush-hush")
    assert "hush" not in str(deployment)
    folder = ship.world.home / "projects"
    assert not [
        path for path in folder.rglob("*") if path.is_file() and b"hush-hush-hush" in path.read_bytes()
    ]
    set_policy(world, "version: 1\n")


def test_a_repository_has_so_many_places_and_no_more(
    ship: Ship, harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ship.world.open_sandbox()
    other.commit({"deploy.yaml": "version: 1\nstatic: {folder: site}\n", "site/index.html": "hi"})
    harbour.server("first")
    harbour.deploy()
    live = harbour.get("/v1/deployments?status=live")["items"]
    monkeypatch.setitem(vars(ship.world.settings), "max_deployments", len(live))
    body = {"repo_name": other.repo_name, "branch": other.branch}
    reply = ship.world.ok(ship.world.http.post("/v1/deployments", json=body, headers=other.headers), 202)
    ended = {"failed", "succeeded"}
    path = f"/v1/runs/{reply['run_id']}"
    until(lambda: ship.world.http.get(path, headers=other.headers).json()["status"] in ended)
    run = ship.world.http.get(path, headers=other.headers).json()
    assert "the limit is" in ship.steps(run)["preview"]["error"]


def test_nothing_of_an_organisation_that_is_erased_goes_on(ship: Ship, harbour: Harbour) -> None:
    harbour.server("leaving")
    deployment = harbour.deployment(harbour.deploy())
    ship.context.get(Care).forget("org_of_others")
    assert get(deployment["url"]).status == 200
    service.erase(ship.context, ship.world.org_id)
    with pytest.raises(OSError, match="refused"):
        get(deployment["url"])


def test_files_of_old_versions_go_and_what_was_interrupted_is_closed(ship: Ship, harbour: Harbour) -> None:
    old: list[Json] = []
    for word in "abcdefg":
        harbour.ship.box.commit(
            {"deploy.yaml": "version: 1\nstatic: {folder: site}\n", "site/index.html": word}
        )
        old.append(harbour.deployment(harbour.deploy()))
    long_ago = sa.update(deployments).values(
        ended_at=sa.func.now() - sa.text("interval '2 hours'"), created_at=sa.func.now() - sa.text("interval '2 days'")
    )  # fmt: skip
    gone = long_ago.where(deployments.c.id == old[0]["id"])
    as_system(ship.context, ship.world.org_id, lambda unit: unit.execute(gone).rowcount)
    folder = next((ship.world.home / "projects").rglob(old[0]["id"]))
    service.tidy(ship.context, ship.world.org_id)
    assert not folder.exists()
    assert list((ship.world.home / "projects").rglob(old[1]["id"])), "one that ended just now stays"
    assert get(old[-1]["url"]).text == "g"
