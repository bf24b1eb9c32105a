"""Whole runs where there is the weak sandbox alone: people say yes to each command, and the receipt says so."""

import base64
import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from builderos.execution.compute.service import SandboxProviders
from builderos.integrations.bwrap.service import LocalSandboxes
from tests.support.databases import Databases
from tests.support.runs import Ship, ship_in_temp
from tests.support.sandboxes import until
from tests.support.steps import write

PIPELINE = """
steps:
  - {id: make, run: "echo made > made.txt; echo said"}
  - {id: use, needs: [make], run: "cat made.txt > used.txt"}
  - {id: save, needs: [use], action: git.commit, inputs: {message: Made}}
"""


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        provider = LocalSandboxes(made.world.home / "weak", tier="weak")
        if provider.probe().tier != "weak":
            pytest.skip("no weak sandbox on this machine")
        strong = made.context.get(SandboxProviders)
        weaker = SandboxProviders(made.world.home)
        weaker.enrol("local", lambda: provider)
        made.context.put(SandboxProviders, weaker)
        yield made
        made.context.put(SandboxProviders, strong)
        weaker.close()


@pytest.fixture
def says(ship: Ship) -> Iterator[Any]:
    """Writes what the server's file says of the tier."""
    folder = ship.world.home / "ssot"
    yield lambda tier: write(
        folder, "providers/local/sandbox.yaml", f"provider: local\n{f'tier: {tier}' if tier else ''}\n"
    )
    shutil.rmtree(folder, ignore_errors=True)


def decide(ship: Ship, run_id: str, name: str, decision: str) -> dict[str, Any]:
    """Say yes or no to the command that the run waits with; returns what was shown."""
    until(lambda: ship.steps(ship.run(run_id))[name]["status"] == "waiting_approval")
    step = ship.steps(ship.run(run_id))[name]
    shown = ship.world.ok(ship.world.as_owner("GET", f"/v1/approvals/{step['approval_id']}"))
    ship.world.ok(
        ship.world.as_owner("POST", f"/v1/approvals/{step['approval_id']}", json={"decision": decision})
    )
    return shown


def test_people_say_yes_to_each_command_and_the_receipt_names_the_tier(ship: Ship) -> None:
    run_id = ship.start(ship.pipeline(PIPELINE))
    first = decide(ship, run_id, "make", "approve")
    assert (first["action"], first["risk"]) == ("command.run_weak", "high")
    assert "echo made > made.txt" in first["diff"]
    second = decide(ship, run_id, "use", "approve")
    assert "cat made.txt > used.txt" in second["diff"], "one yes is for one command"
    run = ship.until(run_id)

    steps = ship.steps(run)
    assert run["status"] == "succeeded", run
    assert [steps[name]["tier"] for name in ("make", "use", "save")] == ["weak", "weak", None]
    assert ship.box.post("/system/fetch_files", path="used.txt")["files"][0]["content"] == "made\n"
    receipt = ship.world.ok(ship.world.http.get(f"/v1/runs/{run_id}/receipt", headers=ship.box.headers))
    statement = json.loads(base64.b64decode(receipt["payload"]))
    told = statement["predicate"]["buildDefinition"]["internalParameters"]
    assert {step["name"]: step["tier"] for step in told["steps"] if "tier" in step} == {
        "make": "weak",
        "use": "weak",
    }
    page = ship.world.http.get(f"/v1/runs/{run_id}/receipt/page", headers=ship.box.headers).text
    assert page.count("(weak sandbox)") == 2
    assert {approval["action"] for approval in told["approvals"]} == {"command.run_weak"}


def test_a_no_ends_the_run_and_nothing_has_run(ship: Ship) -> None:
    run_id = ship.start(ship.pipeline(PIPELINE))
    decide(ship, run_id, "make", "deny")
    run = ship.until(run_id)

    assert (run["status"], ship.statuses(run)["use"]) == ("denied", "skipped")
    executions = ship.world.ok(ship.world.as_owner("GET", f"/v1/sandbox-runs?run_id={run_id}"))["items"]
    assert executions == []


def test_where_the_stronger_tier_is_demanded_no_command_runs(ship: Ship, says: Any) -> None:
    says("strong")
    run = ship.done(PIPELINE)

    make = ship.steps(run)["make"]
    assert (run["status"], make["status"], make["reason"]) == ("failed", "failed", "policy")
    assert "strong sandbox is demanded" in make["error"]


def test_where_the_owner_says_that_the_weaker_will_do_nobody_is_asked(ship: Ship, says: Any) -> None:
    says("weak")
    run = ship.done(PIPELINE)

    assert (run["status"], ship.steps(run)["make"]["tier"]) == ("succeeded", "weak")
