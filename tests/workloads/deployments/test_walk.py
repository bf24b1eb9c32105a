"""From a tree of a branch to something that answers, and back."""

import pytest

from tests.support.deployers import get
from tests.support.deploying import COMMAND, DEPLOY, STATIC, Harbour
from tests.support.sandboxes import until

PROBED = DEPLOY + "  - {id: probe, needs: [preview], action: verify, on_fail: rollback"


def test_a_tree_of_a_branch_is_deployed_by_a_step_and_answers(harbour: Harbour) -> None:
    harbour.server("hello")
    run = harbour.deploy()
    assert run["status"] == "succeeded", run
    deployment = harbour.deployment(run)
    assert (deployment["status"], deployment["env"], deployment["provider"]) == ("live", "preview", "local")
    assert get(deployment["url"]).text == "hello /  "
    assert harbour.get(f"/v1/deployments/{deployment['id']}") == deployment
    assert harbour.get(f"/v1/runs/{run['id']}/view")["preview_url"] == deployment["url"]
    health = harbour.get(f"/v1/deployments/{deployment['id']}/health")
    assert (health["well"], health["http_status"]) == (True, 200)
    until(lambda: "listening as hello" in harbour.get(f"/v1/deployments/{deployment['id']}/logs")["text"])
    origin = harbour.get(f"/v1/provenance/{deployment['id']}")
    assert origin["kind"] == "deployment"
    edges = {(edge["relation"], edge["object"]) for edge in origin["edges"]}
    assert {("deployed_by", f"run:{run['id']}"), ("serves", f"tree:{deployment['tree']}")} <= edges


def test_the_next_one_takes_the_place_of_the_one_before(harbour: Harbour) -> None:
    harbour.server("one")
    first = harbour.deployment(harbour.deploy())
    harbour.server("two")
    second = harbour.deployment(harbour.deploy())
    assert second["url"] == first["url"]
    assert (second["replaces"], second["number"]) == (first["id"], first["number"] + 1)
    assert get(second["url"]).text.startswith("two")
    assert harbour.get(f"/v1/deployments/{first['id']}")["status"] == "superseded"


def test_a_call_brings_the_one_before_back_within_a_moment(harbour: Harbour) -> None:
    harbour.server("one")
    first = harbour.deployment(harbour.deploy())
    harbour.server("two")
    second = harbour.deployment(harbour.deploy())
    reply = harbour.ship.world.ok(harbour.post(f"/v1/deployments/{second['id']}/rollback", reason="Too blue"))
    assert (reply["id"], reply["status"]) == (first["id"], "live")
    harbour.until_says(first["url"], "one")
    taken = harbour.get(f"/v1/deployments/{second['id']}")
    assert (taken["status"], taken["detail"]) == ("rolled_back", "Too blue")
    harbour.ship.world.problem(harbour.post(f"/v1/deployments/{second['id']}/rollback"), "illegal_transition")


def test_a_failed_verification_restores_the_version_before(harbour: Harbour) -> None:
    harbour.server("good")
    good = harbour.deployment(harbour.deploy(PROBED + ", inputs: {expect: [{path: /, contains: good}]}}\n"))
    harbour.server("bad")
    run = harbour.deploy(PROBED + ", inputs: {expect: [{path: /, contains: good}, {path: /health}]}}\n")
    assert run["status"] == "failed"
    probe = harbour.ship.steps(run)["probe"]
    assert (probe["status"], probe["reason"]) == ("failed", "gate")
    assert [check["ok"] for check in probe["result"]["checks"]] == [False, True]
    assert "1 of 2 checks failed: /: its answer does not contain 'good'" in probe["error"]
    assert harbour.deployment(run)["status"] == "rolled_back"
    assert harbour.get(f"/v1/deployments/{good['id']}")["status"] == "live"
    harbour.until_says(good["url"], "good")


def test_files_are_served_after_a_build_that_runs_in_the_jail(harbour: Harbour) -> None:
    manifest = (
        STATIC
        + "build: mkdir -p site && echo built-$WORD > site/index.html && echo building\nenv: {WORD: here}\n"
    )
    harbour.ship.box.commit({"deploy.yaml": manifest})
    deployment = harbour.deployment(harbour.deploy())
    assert get(deployment["url"]).text == "built-here\n"
    assert deployment["built_tree"] != deployment["tree"]
    assert "building" in harbour.get(f"/v1/deployments/{deployment['id']}/logs")["text"]


def test_a_build_that_fails_leaves_what_is_live(harbour: Harbour) -> None:
    harbour.server("live")
    live = harbour.deployment(harbour.deploy())
    harbour.server("broken", COMMAND + "build: echo no such thing; exit 9\n")
    run = harbour.deploy()
    assert run["status"] == "failed"
    failed = harbour.deployment(run)
    assert (failed["status"], failed["reason"]) == ("failed", "build")
    assert harbour.get(f"/v1/deployments/{live['id']}")["status"] == "live"
    assert get(live["url"]).text.startswith("live")


def test_one_that_never_is_well_is_never_live_and_somebody_is_told(harbour: Harbour) -> None:
    harbour.server("live")
    live = harbour.deployment(harbour.deploy())
    harbour.server("sick", COMMAND.replace("exec python3 server.py", "echo dying; exit 4"))
    run = harbour.deploy()
    failed = harbour.deployment(run)
    assert (failed["status"], failed["reason"]) == ("failed", "unhealthy")
    assert "exit code 4" in failed["detail"]
    assert "dying" in harbour.get(f"/v1/deployments/{failed['id']}/logs")["text"]
    alerts = harbour.ship.world.ok(harbour.ship.world.as_owner("GET", "/v1/alerts?rule=deploy_unhealthy"))[
        "items"
    ]
    assert failed["id"] in {alert["object"] for alert in alerts}
    assert get(live["url"]).text.startswith("live")


def test_a_stopped_one_answers_no_more(harbour: Harbour) -> None:
    harbour.server("short")
    deployment = harbour.deployment(harbour.deploy())
    reply = harbour.ship.world.ok(harbour.post(f"/v1/deployments/{deployment['id']}/stop"))
    assert (reply["status"], reply["reason"]) == ("superseded", "stopped")

    def is_gone() -> bool:
        try:
            get(deployment["url"])
        except OSError:
            return True
        return False

    until(is_gone)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (None, "there is no deploy.yaml"),
        ("version: 1\n", "say either static or command"),
        ("version: 1\ncommand: x\nstatic: {folder: a}\n", "say either static or command"),
        ("version: 1\ncommand: x\nenv: {PORT: '1'}\n", "no name for a variable"),
        ("version: 1\ncommand: x\ncomand: y\n", "Did you mean command"),
        ("version: 1\nstatic: {folder: ../up}\n", "is not a path"),
        ("version: 1\ncommand: x\nlimits: {memory: 999999}\n", "whole number from 16"),
        ("version: 1\ncommand: x\nhealth: {path: 'no slash'}\n", "is not a path"),
        ("version: 1\ncommand: x\nenvironments: {qa: {env: {A: b}}}\n", "unknown key"),
    ],
)  # fmt: skip
def test_a_branch_that_does_not_say_how_is_not_deployed(
    harbour: Harbour, manifest: str | None, said: str
) -> None:
    harbour.server("x")
    harbour.ship.box.commit({"deploy.yaml": manifest})
    run = harbour.deploy()
    assert said in harbour.ship.steps(run)["preview"]["error"]
    assert harbour.get(f"/v1/deployments?run_id={run['id']}")["items"] == []


def test_a_step_can_ask_whether_there_is_anything_to_deploy(harbour: Harbour) -> None:
    text = "steps:\n  - {id: look, action: deploy.plan}\n  - {id: preview, needs: [look], when: steps.look.outputs.found, action: deploy.preview}\n"  # noqa: E501
    harbour.ship.box.commit({"deploy.yaml": None})
    assert harbour.ship.statuses(harbour.deploy(text)) == {"look": "succeeded", "preview": "skipped"}
    harbour.server("there")
    assert harbour.ship.statuses(harbour.deploy(text)) == {"look": "succeeded", "preview": "succeeded"}


def test_verify_needs_something_that_was_deployed(harbour: Harbour) -> None:
    run = harbour.deploy("steps:\n  - {id: probe, action: verify}\n")
    assert "has deployed nothing" in harbour.ship.steps(run)["probe"]["error"]


def test_a_step_takes_a_deployment_back(harbour: Harbour) -> None:
    harbour.server("one")
    first = harbour.deployment(harbour.deploy())
    harbour.server("two")
    run = harbour.deploy(
        DEPLOY + "  - {id: back, needs: [preview], action: deploy.rollback, inputs: {deployment: "
        '"${{ steps.preview.outputs.deployment_id }}"}}\n'
    )
    assert run["status"] == "succeeded", run
    assert harbour.ship.steps(run)["back"]["result"]["deployment_id"] == first["id"]
    harbour.until_says(first["url"], "one")
