"""Gates: what counts as a report of a step's own tests, and which gates a server knows."""

from collections.abc import Iterator

import pytest

from builderos.core.steps import Gates
from builderos.execution.runs.gates import builtin
from tests.support.databases import Databases
from tests.support.runs import Ship, ship_in_temp
from tests.support.world import Json

GOOD = "<testsuite name='a>b' tests='3' failures='0'/>"
BAD = "<testsuite name='a>b' tests='2' failures='2'/>"


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        made.box.commit({"fixtures/good.xml": GOOD, "fixtures/bad.xml": BAD, "reports/old.xml": BAD})
        yield made


def graded(ship: Ship, run: str, outputs: str) -> Json:
    """A step whose command writes its reports, and must pass its tests."""
    done = ship.done(f"""
steps:
  - id: test
    run: |
      mkdir -p reports; {run}
    outputs: [{outputs}]
    gates: [tests_pass]
""")
    return ship.steps(done)["test"]


@pytest.mark.parametrize(
    ("run", "outputs", "error"),
    [
        ("true", '"reports/*.xml"', "no test report was left"),
        ("true", '"fixtures/*.xml"', "no test report was left"),
        (f'echo "{BAD}" > reports/b.xml', '"reports/**"', "2 of 2 tests failed"),
        (f'echo "{BAD}" > reports/b.xml', "reports", "2 of 2 tests failed"),
        (f'echo "{GOOD}" > reports/b.xml; echo "{BAD}" > reports/c.xml', '"reports/*"', "2 of 5 tests failed"),
        (f'echo "{BAD} " > reports/old.xml', '"reports/*.xml"', "2 of 2 tests failed"),
        (f'for n in $(seq 120); do echo "{GOOD}" > reports/$n.xml; done; echo "{BAD}" > reports/z.xml',
         '"reports/*.xml"', "2 of 362 tests failed"),
    ],
    ids=["none", "what lay there", "all below", "a folder", "one of two", "changed", "the last of many"],
)  # fmt: skip
def test_tests_pass_fails_by_the_reports_that_the_step_left(
    ship: Ship, run: str, outputs: str, error: str
) -> None:
    test = graded(ship, run, outputs)
    assert (test["status"], test["reason"], test["error"]) == ("failed", "gate", error)


@pytest.mark.parametrize(
    ("run", "outputs"),
    [
        (f'echo "{GOOD}" > reports/r.xml', '"reports/*.xml"'),
        (f'echo "{GOOD}" > reports/r.xml; echo "{BAD}" > other.xml', '"reports/**"'),
        ("echo done > reports/notes.txt", '"reports/*.txt"'),
    ],
    ids=["beside failures on the branch", "beside failures that are no output", "no reports at all"],
)
def test_tests_pass_is_no_matter_of_files_that_are_no_reports_of_the_step(
    ship: Ship, run: str, outputs: str
) -> None:
    assert graded(ship, run, outputs)["status"] == "succeeded"


def test_a_gate_that_this_server_cannot_check_is_refused_with_its_line_before_any_work(
    ship: Ship, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Gates()
    builtin(few)
    text = "steps:\n  - id: a\n    run: 'true'\n    gates:\n      - tests_pass\n      - {eval: suite}\n"
    name = ship.pipeline(text)
    published = ship.world.as_owner("POST", "/v1/pipelines", json={"content": f"name: judged\n{text}"})
    monkeypatch.setitem(ship.context._items, Gates, few)
    body = {"repo_name": ship.box.repo_name, "branch": ship.box.branch}
    for pipeline in (name, "judged") if published.status_code == 201 else (name,):
        reply = ship.world.http.post(
            "/v1/runs", json={"pipeline": pipeline, **body}, headers=ship.box.headers
        )
        assert reply.status_code == 422, reply.text
        errors = reply.json()["errors"]
        assert [(error["code"], error["line"]) for error in errors] == [("unknown_gate", 7)]
    looked = ship.world.as_owner("POST", "/v1/pipelines/validate", json={"content": f"name: x\n{text}"})
    assert [error["where"] for error in looked.json()["errors"]] == ["steps[0].gates[1]"]
