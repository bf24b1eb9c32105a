"""Checks of tasks: behind a commit that names a task, a run decides; what fails is taken back, and somebody is told."""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from unittest import mock

import pytest

from builderos.assets.workspaces import service as workspaces
from builderos.execution.runs.taskchecks import look
from tests.support.databases import Databases
from tests.support.lab import Lab
from tests.support.runs import Ship, ship_in_temp
from tests.support.world import Json, Sandbox, world_in_temp

_NUMBERS = count(1)
CHECKS = {
    "ship/good/pipeline.yaml": "name: good\nsteps:\n  - {id: only, run: 'test -f src/a.py'}\n",
    "ship/bad/pipeline.yaml": "name: bad\nsteps:\n  - {id: only, run: 'echo no; exit 3'}\n",
    "ship/asks/pipeline.yaml": "name: asks\nsteps:\n  - {id: ask, question: 'Well?'}\n"
    "  - {id: deny, needs: [ask], run: 'exit 1'}\n",
    "ship/broken/pipeline.yaml": "name: broken\nsteps: [{id: x, needs: [y], run: a}]\n",
    "ship/writes/pipeline.yaml": "name: writes\nsteps:\n  - {id: make, run: 'date +%N > made.txt'}\n"
    "  - {id: save, needs: [make], action: git.commit, inputs: {message: made, task_id: own}}\n",
}


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        yield made


@pytest.fixture(scope="module")
def lab(ship: Ship) -> Lab:
    return Lab(ship.world, ship.database)


@pytest.fixture
def box(ship: Ship) -> Sandbox:
    """A sandbox of nobody known, with the pipelines of the checks."""
    made = ship.world.open_sandbox()
    made.commit(dict(CHECKS))
    return made


def task(box: Sandbox, check: str | None, *, begun: bool = True, id_: str | None = None) -> str:
    name = id_ or f"t{next(_NUMBERS)}"
    more = {"check": check} if check else {}
    box.post("/tasks/lifecycle", action="create", task_id=name, title=name, **more)
    if begun:
        box.post("/tasks/lifecycle", action="activate", task_id=name)
        box.post("/tasks/lifecycle", action="start", task_id=name)
    return name


def commit(box: Sandbox, task_id: str, content: str, path: str = "src/a.py") -> str:
    return box.commit({path: content}, task_id=task_id)["commit_sha"]


def until(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + 120
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def looking(lab: Lab, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows, after a look of our own: the engine's comes within seconds, too."""
    look(lab.world.context)
    return lab.sql(query, *values)


def checked(lab: Lab, sha: str) -> Any:
    """State, run, what took it back and why, once it is decided."""
    query = "select state, run_id, reverted_by, detail from ops.task_checks where commit_sha = %s"
    return until(lambda: [row for row in looking(lab, query, sha) if row[0] != "running"])[0]


def run_of(lab: Lab, sha: str) -> str:
    query = "select run_id from ops.task_checks where commit_sha = %s and run_id is not null"
    return until(lambda: looking(lab, query, sha))[0][0]


def text(box: Sandbox, path: str = "src/a.py") -> str | None:
    found = box.post("/system/fetch_files", path=path)["files"]
    return found[0]["content"] if found else None


def status(box: Sandbox, task_id: str) -> str:
    return box.post("/tasks/query", mode="get", task_id=task_id)["items"][0]["status"]


def alert(lab: Lab, box: Sandbox, task_id: str) -> Json:
    found = [a for a in lab.alerts("task_check_failed") if a["object"] == f"{box.branch} {task_id}"]
    assert len(found) == 1, found
    return found[0]


def test_a_commit_whose_check_fails_is_taken_back_and_the_task_has_failed(
    lab: Lab, ship: Ship, box: Sandbox
) -> None:
    name = task(box, "bad")
    before = text(box)
    sha = commit(box, name, "broken = True\n")

    state, run_id, reverted_by, _ = checked(lab, sha)

    run = ship.world.ok(ship.world.http.get(f"/v1/runs/{run_id}", headers=box.headers))
    assert (run["kind"], run["status"], run["branch"]) == ("check", "failed", box.branch)
    assert (run["trigger"]["task_id"], run["trigger"]["commit"]) == (name, sha)
    assert (state, text(box), status(box, name)) == ("failed", before, "failed")
    assert lab.tip(box.branch) == reverted_by
    told = alert(lab, box, name)["detail"]
    assert (told["commit"], told["reverted_by"], told["task_failed"]) == (sha, reverted_by, True)
    reason = box.post("/tasks/query", mode="get", task_id=name)["items"][0]["reason"]
    assert run_id in reason


def test_a_commit_whose_check_passes_stays(lab: Lab, box: Sandbox) -> None:
    name = task(box, "good")
    sha = commit(box, name, "fine = True\n")

    assert checked(lab, sha)[0] == "passed"
    assert (text(box), status(box, name)) == ("fine = True\n", "in_progress")
    assert not [a for a in lab.alerts("task_check_failed") if box.branch in a["object"]]


def test_a_check_may_be_a_command_that_is_run_over_the_files_of_the_commit(
    lab: Lab, ship: Ship, box: Sandbox
) -> None:
    command = "run: grep -q 'fine = \"${USER:-x}\\\\n\"' src/a.py # - {not: yaml}"
    name = task(box, command)
    bad = commit(box, name, "broken = 1\n")
    state, run_id, reverted_by, _ = checked(lab, bad)

    assert (state, text(box), status(box, name)) == ("failed", None, "failed")
    run = ship.world.ok(ship.world.http.get(f"/v1/runs/{run_id}", headers=box.headers))
    assert (run["kind"], [step["name"] for step in run["steps"]]) == ("check", ["check"])
    assert alert(lab, box, name)["detail"]["check"] == command
    assert reverted_by is not None

    again = task(box, "run: test -s src/a.py")
    assert checked(lab, commit(box, again, "fine = 1\n"))[0] == "passed"
    assert text(box) == "fine = 1\n"


def test_a_command_that_says_nothing_decides_nothing(lab: Lab, box: Sandbox) -> None:
    sha = commit(box, task(box, "run:"), "x = 1\n")

    assert checked(lab, sha)[0] == "undecided"
    assert text(box) == "x = 1\n"


def test_what_came_meanwhile_stays_and_only_the_commit_itself_is_taken_back(
    lab: Lab, ship: Ship, box: Sandbox
) -> None:
    name = task(box, "asks")
    sha = commit(box, name, "one = 1\n")
    run_id = run_of(lab, sha)
    other = box.commit({"src/b.py": "two = 2\n"})["commit_sha"]
    answer(ship, box, run_id)

    state, _, reverted_by, _ = checked(lab, sha)

    assert (state, text(box, "src/b.py"), text(box)) == ("failed", "two = 2\n", None)
    assert reverted_by not in (None, other)


def answer(ship: Ship, box: Sandbox, run_id: str) -> None:
    path = f"/v1/runs/{run_id}"
    until(lambda: ship.world.ok(ship.world.http.get(path, headers=box.headers))["status"] == "waiting_input")
    ship.world.ok(ship.world.http.post(f"{path}/answer", json={"answer": "no"}, headers=box.headers))


def test_where_later_changes_are_in_the_way_the_task_alone_fails_and_the_alert_says_so(
    lab: Lab, ship: Ship, box: Sandbox
) -> None:
    name = task(box, "asks")
    sha = commit(box, name, "one = 1\n")
    run_id = run_of(lab, sha)
    box.commit({"src/a.py": "one = 11\n"})
    answer(ship, box, run_id)

    state, _, reverted_by, why = checked(lab, sha)

    assert (state, reverted_by) == ("failed", None)
    assert "src/a.py" in why
    assert (text(box), status(box, name)) == ("one = 11\n", "failed")
    assert alert(lab, box, name)["detail"]["why"] == why


def test_a_task_that_nobody_works_on_stays_and_its_commit_is_taken_back(lab: Lab, box: Sandbox) -> None:
    name = task(box, "bad", begun=False)
    sha = commit(box, name, "early = 1\n")

    state, _, reverted_by, why = checked(lab, sha)

    assert (state, status(box, name)) == ("failed", "backlog")
    assert reverted_by is not None
    assert "backlog" in why
    assert text(box) != "early = 1\n"


def test_the_check_that_counts_is_the_one_of_the_commit(lab: Lab, box: Sandbox) -> None:
    name = task(box, "good")
    sha = commit(box, name, "fine = 1\n")
    box.post("/tasks/lifecycle", action="block", task_id=name, reason="later", check="bad")

    assert checked(lab, sha)[0] == "passed"


def test_a_check_that_no_pipeline_is_called_like_is_somebody_elses(
    lab: Lab, ship: Ship, box: Sandbox
) -> None:
    name = task(box, "review")
    sha, plain = commit(box, name, "x = 1\n"), commit(box, task(box, None), "y = 1\n", "src/y.py")
    look(ship.context)

    assert lab.sql("select 1 from ops.task_checks where commit_sha in (%s, %s)", sha, plain) == []
    assert text(box) == "x = 1\n"


def test_a_pipeline_that_cannot_be_read_decides_nothing_and_somebody_is_told(lab: Lab, box: Sandbox) -> None:
    name = task(box, "broken")
    sha = commit(box, name, "x = 2\n")

    state, run_id, reverted_by, why = checked(lab, sha)

    assert (state, run_id, reverted_by) == ("undecided", None, None)
    assert (alert(lab, box, name)["detail"]["decided"], text(box)) == (False, "x = 2\n")
    assert why


def test_a_check_that_was_cancelled_decides_nothing(lab: Lab, ship: Ship, box: Sandbox) -> None:
    name = task(box, "asks")
    sha = commit(box, name, "x = 3\n")
    run_id = run_of(lab, sha)
    ship.world.ok(ship.world.as_owner("POST", f"/v1/runs/{run_id}/cancel", json={}))

    assert checked(lab, sha)[0] == "undecided"
    assert (text(box), status(box, name)) == ("x = 3\n", "in_progress")


def test_a_commit_of_a_run_is_checked_but_never_that_of_a_check(lab: Lab, ship: Ship, box: Sandbox) -> None:
    task(box, "writes", id_="own")
    body = {"pipeline": "writes", "repo_name": box.repo_name, "branch": box.branch}
    id_ = ship.world.ok(ship.world.http.post("/v1/runs", json=body, headers=box.headers), 202)["run_id"]
    until(lambda: ship.world.ok(ship.world.http.get(f"/v1/runs/{id_}", headers=box.headers))["ended_at"])
    made = lab.sql("select commits[1] from ops.runs where id = %s", id_)[0][0]

    assert checked(lab, made)[0] == "passed"
    look(ship.context)
    ours = "select c.commit_sha from ops.task_checks c join ops.branches b on b.id = c.branch_id where b.name = %s"
    assert lab.sql(ours, box.branch) == [(made,)]


def test_one_run_looks_at_a_commit_and_none_for_who_may_not_act_any_more(databases: Databases) -> None:
    with databases.fresh() as database, world_in_temp(database) as world:  # without an engine: the test looks
        lab, box = Lab(world, database), world.open_sandbox()
        box.commit(dict(CHECKS))
        name = task(box, "bad")
        first = commit(box, name, "x = 4\n")
        assert lab.sql("select 1 from ops.task_checks") == []  # nothing of it is on the way of a commit
        lookers = [threading.Thread(target=look, args=(world.context,)) for _ in range(4)]
        for one in lookers:
            one.start()
        for one in lookers:
            one.join()
        assert lab.sql("select count(*) from ops.runs where kind = 'check'") == [(1,)]

        second = commit(box, name, "x = 5\n")
        lab.change_token(box, "revoke")
        look(world.context)

        rows = dict(lab.sql("select commit_sha, state from ops.task_checks"))
        assert rows == {first: "running", second: "undecided"}
        assert (
            lab.alerts("task_check_failed")[0]["detail"]["why"] == "who made the commit may not act any more"
        )


def test_a_commit_that_cannot_be_looked_at_keeps_no_other_from_being_checked(databases: Databases) -> None:
    with databases.fresh() as database, world_in_temp(database) as world:
        lab, box = Lab(world, database), world.open_sandbox()
        box.commit(dict(CHECKS))
        name = task(box, "good")
        broken, good = commit(box, name, "x = 1\n"), commit(box, name, "x = 2\n")
        real = workspaces.check_of

        def failing(unit: Any, branch: Any, task_id: str) -> str | None:
            if branch.tip == broken:
                raise KeyError(broken)
            return real(unit, branch, task_id)

        with mock.patch("builderos.assets.workspaces.service.check_of", failing):
            look(world.context)

        assert lab.sql("select commit_sha from ops.task_checks") == [(good,)]
        assert lab.alerts("task_check_failed")[0]["detail"]["commit"] == broken
