"""A whole task of an agent is tried: it works in a sandbox, and the tree that it leaves is judged."""

from collections.abc import Iterator

import pytest

from builderos.workloads.agents.ports import Models
from tests.support.databases import Databases
from tests.support.models import Scripted, say, use
from tests.support.runs import Ship, ship_in_temp

PIPELINE = """
params: {goal: {type: string, required: true}}
steps:
  - {id: build, agent: builder, action: generate}
  - {id: judge, needs: [build], action: eval, inputs: {suite: task}}
  - {id: save, needs: [judge], action: git.commit, inputs: {message: Add}, gates: [{eval: task}]}
"""
SUITE = """\
replies: {adds: "", tested: ""}
cases:
  - id: adds
    expect:
      - {type: file_exists, path: src/add.py}
      - {type: command, run: 'cd src && python3 -c "import add; assert add.add(2, 3) == 5"'}
  - id: tested
    expect:
      - {type: file_contains, path: tests/test_add.py, text: assert}
      - {type: compile}
      - {type: not-lint}
"""


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        yield made


def work(ship: Ship, sum_: str) -> Scripted:
    model = Scripted()
    ship.context.put(Models, model)  # type: ignore[type-abstract]
    model.lines["builder"] = [
        use(
            ("write_file", {"path": "src/add.py", "content": f"def add(a, b):\n    return {sum_}\n"}),
            ("write_file", {"path": "tests/test_add.py", "content": "assert True\n"}),
        ),
        say("Done."),
    ]
    return model


def test_what_an_agent_leaves_is_kept_only_where_it_passes(ship: Ship) -> None:
    work(ship, "a - b")
    bad = ship.done(PIPELINE, {"evals/task.yaml": SUITE}, params={"goal": "Add"})
    assert ship.statuses(bad) == {"build": "succeeded", "judge": "failed", "save": "skipped"}
    assert "1 of 2 cases pass" in ship.steps(bad)["judge"]["error"]
    missing = ship.box.post("/system/fetch_files", mode="single", path="src/add.py")["missing"]
    assert missing == ["src/add.py"]

    work(ship, "a + b")
    good = ship.done(PIPELINE, params={"goal": "Add"})
    assert ship.statuses(good) == {"build": "succeeded", "judge": "succeeded", "save": "succeeded"}
    found = ship.box.post("/system/fetch_files", mode="single", path="src/add.py")
    assert "a + b" in found["files"][0]["content"]
