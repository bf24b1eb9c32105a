"""How a run goes: order, lanes, failures, retries, conditions, results that later steps quote."""

from collections.abc import Iterator

import pytest

from builderos.core.settings import Settings
from builderos.core.steps import Action, Actions, Done, Work
from builderos.core.unit import Unit
from builderos.execution.runs.service import Callers
from tests.support.databases import Databases
from tests.support.runs import Ship, ship_in_temp
from tests.support.servers import until


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        yield made


def test_steps_without_a_command_run_in_the_order_of_their_needs(ship: Ship) -> None:
    chain = "\n".join(
        f"  - {{id: s{n}, action: noop{f', needs: [s{n - 1}]' if n else ''}}}" for n in range(6)
    )
    run = ship.done(f"steps:\n{chain}")
    assert run["status"] == "succeeded"
    starts = [ship.steps(run)[f"s{n}"]["start"] for n in range(6)]
    assert starts == sorted(starts)
    assert run["steps_total"] == 6


def test_a_failed_step_stops_the_run_and_says_why(ship: Ship) -> None:
    run = ship.done("""
steps:
  - {id: bad, run: "echo no >&2; exit 3"}
  - {id: after, action: noop, needs: [bad]}
""")
    assert run["status"] == "failed"
    assert run["detail"] == "bad failed"
    bad, after = ship.steps(run)["bad"], ship.steps(run)["after"]
    assert (bad["status"], bad["reason"], bad["exit_code"]) == ("failed", "exit", 3)
    assert (after["status"], after["reason"]) == ("skipped", "stopped")


def test_a_fault_of_an_action_is_the_end_of_its_step_and_not_of_the_engine(ship: Ship) -> None:
    def broken(_unit: Unit, _work: Work) -> Done:
        raise ValueError("what nobody thought of")

    ship.context.get(Actions).enrol("test.broken", Action(in_unit=broken))
    run = ship.done("steps:\n  - {id: bad, action: test.broken}")
    assert run["status"] == "failed"
    bad = ship.steps(run)["bad"]
    assert (bad["status"], bad["reason"], bad["attempt"]) == ("failed", "problem", 1)
    assert "ValueError: what nobody thought of" in bad["error"]


def test_lanes_that_go_on_finish_beside_a_failed_one(ship: Ship) -> None:
    run = ship.done("""
lanes: continue
steps:
  - {id: bad, lane: a, run: "exit 1"}
  - {id: bad2, lane: a, action: noop, needs: [bad]}
  - {id: good, lane: b, action: noop}
  - {id: good2, lane: b, action: noop, needs: [good]}
""")
    assert run["status"] == "failed"
    assert ship.statuses(run) == {
        "bad": "failed",
        "bad2": "skipped",
        "good": "succeeded",
        "good2": "succeeded",
    }
    assert ship.steps(run)["bad2"]["reason"] == "needs"


def test_lanes_that_fail_fast_interrupt_what_runs_beside(ship: Ship) -> None:
    run = ship.done("""
steps:
  - {id: slow, lane: a, run: "sleep 60"}
  - {id: bad, lane: b, run: "exit 1"}
""")
    assert run["status"] == "failed"
    assert ship.statuses(run) == {"slow": "cancelled", "bad": "failed"}


def test_a_failure_that_may_be_is_none_for_what_comes_after(ship: Ship) -> None:
    run = ship.done("""
steps:
  - {id: bad, run: "echo lost > lost.txt; exit 1", on_fail: continue}
  - {id: after, needs: [bad], run: "test ! -e lost.txt"}
""")
    assert run["status"] == "succeeded"
    assert ship.statuses(run) == {"bad": "failed", "after": "succeeded"}


def test_a_step_is_tried_again_after_a_pause_until_it_succeeds(ship: Ship) -> None:
    run = ship.done("""
steps:
  - {id: flaky, run: "test $BUILDEROS_ATTEMPT -ge 3", retries: {max: 3, backoff: 10ms}}
""")
    assert run["status"] == "succeeded"
    assert ship.steps(run)["flaky"]["attempt"] == 3


def test_a_step_that_never_succeeds_fails_after_its_last_try(ship: Ship) -> None:
    run = ship.done('steps:\n  - {id: bad, run: "exit 1", retries: {max: 2, backoff: 10ms}}')
    assert run["status"] == "failed"
    assert ship.steps(run)["bad"]["attempt"] == 3


def test_a_step_that_takes_too_long_ends_with_all_its_processes(ship: Ship) -> None:
    run = ship.done('steps:\n  - {id: slow, run: "(sleep 300; true) & wait", timeout: 1s}')
    slow = ship.steps(run)["slow"]
    assert (run["status"], slow["status"], slow["reason"]) == ("failed", "timed_out", "timeout")


def test_conditions_decide_from_what_became_of_other_steps(ship: Ship) -> None:
    run = ship.done("""
lanes: continue
steps:
  - {id: bad, run: "exit 1"}
  - {id: clean, needs: [bad], action: noop, when: "failure()"}
  - {id: never, needs: [clean], action: noop, when: "steps.clean.status == 'failed'"}
""")
    assert run["status"] == "failed"
    assert ship.statuses(run) == {"bad": "failed", "clean": "succeeded", "never": "skipped"}
    assert ship.steps(run)["never"]["reason"] == "condition"


def test_a_matrix_runs_once_for_each_combination(ship: Ship) -> None:
    run = ship.done("""
steps:
  - {id: each, action: noop, matrix: {n: [1, 2, 3]}, inputs: {n: "${{ matrix.n }}"}}
""")
    assert run["status"] == "succeeded"
    assert sorted(step["result"]["n"] for step in run["steps"]) == [1, 2, 3]


def test_parameters_and_results_of_steps_reach_later_ones(ship: Ship) -> None:
    run = ship.done(
        """
params: {goal: {type: string, required: true}}
steps:
  - {id: a, action: noop, inputs: {said: "${{ params.goal }}!"}}
  - {id: b, needs: [a], action: noop, inputs: {heard: "${{ steps.a.outputs.said }}"}}
""",
        params={"goal": "ship"},
    )
    assert run["status"] == "succeeded", run
    assert ship.steps(run)["b"]["result"] == {"heard": "ship!"}


def test_steps_that_change_the_same_lines_beside_each_other_conflict(ship: Ship) -> None:
    run = ship.done("""
steps:
  - {id: a, run: "echo a > same.txt"}
  - {id: b, run: "echo b > same.txt"}
  - {id: both, needs: [a, b], run: "cat same.txt"}
""")
    both = ship.steps(run)["both"]
    assert (run["status"], both["status"], both["reason"]) == ("failed", "failed", "conflict")
    assert "same.txt" in both["error"]


def test_the_gate_of_the_tests_reads_their_report(ship: Ship) -> None:
    report = "<testsuite tests='3' failures='1'>".replace("'", '\\"')
    run = ship.done(f"""
steps:
  - id: test
    run: 'echo "{report}" > report.xml'
    outputs: [report.xml]
    gates: [tests_pass]
""")
    test = ship.steps(run)["test"]
    assert (test["status"], test["reason"]) == ("failed", "gate")
    assert test["error"] == "1 of 3 tests failed"


def test_a_step_that_never_began_is_skipped_and_not_timed_out(ship: Ship) -> None:
    slots = ship.context.get(Settings).run_slots
    lanes = "\n".join(f"  - {{id: s{n}, run: 'touch up; sleep 600'}}" for n in range(slots))
    busy = ship.start(ship.pipeline(f"steps:\n{lanes}"))
    until(lambda: set(ship.statuses(ship.run(busy)).values()) == {"running"})
    run = ship.done(
        "timeout: 500ms\nsteps:\n  - {id: late, run: 'true'}\n  - {id: next, needs: [late], run: 'true'}"
    )
    assert run["status"] == "timed_out"
    late = ship.steps(run)["late"]
    assert (late["status"], late["reason"], late["attempt"]) == ("skipped", "stopped", 0)
    ship.world.as_owner("POST", f"/v1/runs/{busy}/cancel", json={})
    assert ship.until(busy)["status"] == "cancelled"


def test_a_failed_run_takes_its_commits_back(ship: Ship) -> None:
    run = ship.done("""
steps:
  - {id: make, run: "echo new > rolled.txt"}
  - {id: save, needs: [make], action: git.commit}
  - {id: verify, needs: [save], run: "exit 1", on_fail: rollback}
""")
    assert (run["status"], run["detail"]) == ("failed", "verify failed")
    assert len(run["provenance"]["commits"]) == 1
    found = ship.box.post("/system/fetch_files", mode="batch", paths=["rolled.txt"])
    assert found["missing"] == ["rolled.txt"]


def test_runs_of_one_group_take_turns_and_a_newer_one_replaces_those_that_wait(ship: Ship) -> None:
    name = ship.pipeline("""
concurrency: {group: deploys, max: 1, replace: true}
steps:
  - {id: ask, question: Go on?}
""")
    first, second, third = (ship.start(name) for _ in range(3))
    ship.until(first, "waiting_input")
    assert ship.until(second)["status"] == "cancelled"
    assert ship.run(third)["status"] == "queued"
    ship.box.post("/runs/answer", run_id=first, answer="yes")
    ship.until(third, "waiting_input")
    ship.box.post("/runs/answer", run_id=third, answer="yes")
    assert ship.until(third)["status"] == "succeeded"


def test_a_run_whose_credential_was_revoked_does_nothing_more(ship: Ship) -> None:
    box = ship.world.open_sandbox()
    other = Ship(ship.world, ship.database, ship.engine, box)
    id_ = other.start(
        other.pipeline("""
steps:
  - {id: ask, question: Go on?}
  - {id: after, needs: [ask], action: noop}
""")
    )
    other.until(id_, "waiting_input")
    found = ship.world.ok(ship.world.as_owner("GET", "/v1/sandboxes?limit=200"))["items"]
    sandbox_id = next(item["id"] for item in found if item["branch"] == box.branch)
    ship.world.ok(ship.world.as_owner("POST", f"/v1/sandboxes/{sandbox_id}/token", json={"action": "revoke"}))
    ship.context.put(Callers, Callers())  # as after two seconds
    blank = ship.world.as_owner("POST", f"/v1/runs/{id_}/answer", json={"answer": " "})
    ship.world.problem(blank, "validation_failed")
    ship.world.ok(ship.world.as_owner("POST", f"/v1/runs/{id_}/answer", json={"answer": "yes"}))
    until(lambda: ship.world.ok(ship.world.as_owner("GET", f"/v1/runs/{id_}"))["status"] == "failed")
    run = ship.world.ok(ship.world.as_owner("GET", f"/v1/runs/{id_}"))
    after = ship.steps(run)["after"]
    assert (after["status"], after["reason"]) == ("failed", "policy")
    assert "revoked" in after["error"]
