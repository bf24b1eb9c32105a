"""Several machines on one database: who has a place free takes the step, who dies or freezes is relieved."""

from collections.abc import Iterator

import pytest

from tests.support.databases import Databases
from tests.support.machines import Fleet, fleet, step

LANES = """
steps:
  - {id: plan, run: "echo planned > plan.txt"}
  - {id: a, needs: [plan], lane: a, run: "cat plan.txt > a.txt; echo from a; sleep 0.7"}
  - {id: b, needs: [plan], lane: b, run: "cat plan.txt > b.txt; echo from b; sleep 0.7"}
  - {id: both, needs: [a, b], run: "cat a.txt b.txt > both.txt"}
  - {id: save, needs: [both], action: git.commit, inputs: {message: Build it}}
"""


@pytest.fixture(scope="module")
def crew(databases: Databases) -> Iterator[Fleet]:
    """A server that takes no commands, and two workers with one place each."""
    with databases.fresh() as database, fleet(database) as made:
        for name in ("one", "two"):
            made.machines.start(name, doors=False, BUILDEROS_RUN_SLOTS="1")
        yield made


def test_steps_of_one_run_on_several_machines_find_each_others_trees(crew: Fleet) -> None:
    run = crew.over(crew.start(LANES))
    assert run["status"] == "succeeded", run
    places = dict(
        crew.machines.sql("select step_id, place from ops.sandbox_runs where run_id = %s", run["id"])
    )
    assert places["a"] != places["b"]
    read = {"mode": "batch", "paths": ["a.txt", "b.txt", "both.txt"]}
    files = crew.server.client(crew.token).call("POST", "/system/fetch_files", read)["files"]
    assert {file["path"]: file["content"] for file in files} == {
        "a.txt": "planned\n", "b.txt": "planned\n", "both.txt": "planned\nplanned\n",
    }  # fmt: skip
    assert step(run, "save")["commit_sha"] in run["provenance"]["commits"]
