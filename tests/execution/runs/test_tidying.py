"""What runs leave goes when its time is over, and what somebody still needs stays."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builderos.core.home import EXECUTIONS
from builderos.core.settings import Settings
from builderos.execution.compute import service as compute
from builderos.execution.compute.service import SandboxProviders
from builderos.execution.runs.service import fire_triggers, tidy
from tests.support.databases import Databases
from tests.support.lab import Lab
from tests.support.runs import Ship, ship_in_temp

TWO = "steps:\n  - {id: make, run: 'date +%N > a.txt'}\n  - {id: ask, needs: [make], question: Well?}\n"


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    """A server that keeps for other machines what its runs make."""
    folder = Path(tempfile.mkdtemp(prefix="bos-"))
    with databases.fresh() as database, ship_in_temp(database, artifact_url=f"file://{folder}") as made:
        yield made
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def lab(ship: Ship) -> Lab:
    return Lab(ship.world, ship.database)


def test_occasions_of_triggers_are_forgotten_after_a_month(ship: Ship, lab: Lab) -> None:
    pipeline = ship.pipeline("triggers: [{push: 'sandbox-*'}]\nsteps:\n  - {id: only, action: noop}\n")
    where = {"repo_name": ship.box.repo_name, "branch": ship.box.branch}
    ship.world.ok(ship.world.as_owner("POST", f"/v1/pipelines/{pipeline}/triggers", json=where))
    old, new = (ship.box.commit({"x.txt": text})["commit_sha"] for text in "ab")
    assert old != new
    fire_triggers(ship.context)
    firings = "select occasion from ops.trigger_firings order by occasion"
    first, second = lab.sql(firings)
    lab.sql("update ops.trigger_firings set at = now() - interval '31 days' where occasion = %s", *first)

    assert tidy(ship.context, ship.world.org_id)["firings"] == 1

    assert lab.sql(firings) == [second]
    fire_triggers(ship.context)
    assert lab.sql(firings) == [second]  # what is forgotten does not come again


def test_trees_for_other_machines_go_after_a_month_but_not_while_a_run_needs_them(
    ship: Ship, lab: Lab
) -> None:
    waiting = ship.until(ship.start(ship.pipeline(TWO)), "waiting_input")
    over = ship.done("steps:\n  - {id: make, run: 'date +%N > b.txt'}\n")
    needed, free = (ship.steps(run)["make"]["output_tree"] for run in (waiting, over))
    trees = "select tree from ops.run_trees where tree in (%s, %s)"
    assert sorted(lab.sql(trees, needed, free)) == sorted([(needed,), (free,)])

    assert tidy(ship.context, ship.world.org_id)["trees"] == 0
    lab.sql("update ops.run_trees set at = now() - interval '31 days'")
    assert tidy(ship.context, ship.world.org_id)["trees"] >= 1

    assert lab.sql(trees, needed, free) == [(needed,)]
    ship.box.post("/runs/answer", run_id=waiting["id"], answer="yes")
    assert ship.until(waiting["id"])["status"] == "succeeded"
    assert tidy(ship.context, ship.world.org_id)["trees"] == 1


def test_executions_that_ended_are_forgotten_by_this_machine_and_no_others(ship: Ship, lab: Lab) -> None:
    run = ship.done("steps:\n  - {id: make, run: 'date +%N'}\n")
    name = f"{run['id']}.make.1"
    folder = ship.context.get(Settings).home_dir / EXECUTIONS / "local"
    local = ship.context.get(SandboxProviders).provider("local")
    (folder / name).mkdir()  # as where the process died between the row and the folder
    (folder / name / "claim.json").write_text('{"fingerprint": "x", "tier": "strong", "pid": 0, "since": ""}')
    (folder / "of-nobody-known").mkdir()
    assert local.poll(name).result is not None

    org = ship.world.org_id
    assert (
        compute.forget_ended(ship.context, org) == 0
    )  # it ended a moment ago: whoever sees to it may still come
    lab.sql("update ops.sandbox_runs set finished_at = now() - interval '2 days' where name = %s", name)
    assert tidy(ship.context, org)["executions"] == 1

    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["of-nobody-known"]
