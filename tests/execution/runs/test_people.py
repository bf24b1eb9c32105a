"""People in a run: approvals, questions, pause, cancel, running again."""

from collections.abc import Iterator

import pytest

from builderos.core.context import Context
from builderos.core.unit import as_system
from builderos.execution.runs import watching
from builderos.execution.runs.service import Watch
from builderos.trust.policy.service import approvals
from builderos.trust.quotas.service import budgets
from tests.support.databases import Databases
from tests.support.lab import Lab
from tests.support.runs import Ship, ship_in_temp
from tests.support.sandboxes import until
from tests.support.world import Json


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        yield made


def verb(ship: Ship, run_id: str, name: str, **body: object) -> Json:
    return ship.world.ok(
        ship.world.http.post(f"/v1/runs/{run_id}/{name}", json=body, headers=ship.box.headers)
    )


def decide(ship: Ship, approval_id: str, decision: str) -> None:
    ship.world.ok(ship.world.as_owner("POST", f"/v1/approvals/{approval_id}", json={"decision": decision}))


APPROVED = """
steps:
  - {id: make, run: "echo shipped > out.txt"}
  - {id: gate, needs: [make], approval: {message: Ship it?}}
  - {id: save, needs: [gate], action: git.commit}
"""


def test_an_approval_shows_exactly_what_was_made_and_a_yes_lets_the_run_go_on(ship: Ship) -> None:
    id_ = ship.start(ship.pipeline(APPROVED))
    waiting = ship.until(id_, "waiting_approval")
    approval_id = ship.steps(waiting)["gate"]["approval_id"]
    shown = ship.world.ok(ship.world.as_owner("GET", f"/v1/approvals/{approval_id}"))
    assert "+shipped" in shown["diff"]
    assert (shown["run_id"], shown["step_id"]) == (id_, ship.steps(waiting)["gate"]["id"])
    decide(ship, approval_id, "approve")
    run = ship.until(id_)
    assert run["status"] == "succeeded"
    assert run["provenance"]["approvals"] == [approval_id]


def test_a_no_ends_the_run_and_nothing_after_it_happens(ship: Ship) -> None:
    id_ = ship.start(ship.pipeline(APPROVED))
    waiting = ship.until(id_, "waiting_approval")
    decide(ship, ship.steps(waiting)["gate"]["approval_id"], "deny")
    run = ship.until(id_)
    assert run["status"] == "denied"
    assert ship.statuses(run) == {"make": "succeeded", "gate": "denied", "save": "skipped"}
    assert run["provenance"]["commits"] == []


def test_a_gate_asks_after_the_work_is_done(ship: Ship) -> None:
    id_ = ship.start(
        ship.pipeline('steps:\n  - {id: a, action: noop, inputs: {n: 1}, gates: [{approval: "Good?"}]}')
    )
    waiting = ship.until(id_, "waiting_approval")
    step = ship.steps(waiting)["a"]
    assert step["result"] == {"n": 1}
    decide(ship, step["approval_id"], "approve")
    assert ship.until(id_)["status"] == "succeeded"


def test_a_question_waits_for_one_of_its_choices(ship: Ship) -> None:
    id_ = ship.start(
        ship.pipeline("""
steps:
  - {id: ask, question: {message: Which colour?, choices: [red, blue]}}
  - {id: use, needs: [ask], action: noop, inputs: {colour: "${{ steps.ask.outputs.answer }}"}}
""")
    )
    ship.until(id_, "waiting_input")
    status = ship.box.post("/runs/status", run_id=id_)
    assert status["asks"][0]["choices"] == ["red", "blue"]
    wrong = ship.box.try_post("/runs/answer", run_id=id_, answer="green")
    ship.world.problem(wrong, "validation_failed")
    ship.box.post("/runs/answer", run_id=id_, answer="blue")
    run = ship.until(id_)
    assert ship.steps(run)["use"]["result"] == {"colour": "blue"}


def test_a_paused_run_begins_nothing_new_until_it_is_resumed(ship: Ship) -> None:
    id_ = ship.start(
        ship.pipeline("""
steps:
  - {id: first, run: "while [ ! -e go ]; do sleep 0.05; done"}
  - {id: second, needs: [first], action: noop}
""")
    )
    until(lambda: ship.statuses(ship.run(id_))["first"] == "running")
    assert verb(ship, id_, "pause")["status"] == "paused"
    ship.let_go(id_, "first")
    until(lambda: ship.statuses(ship.run(id_))["first"] == "succeeded")
    assert ship.statuses(ship.run(id_))["second"] == "pending"
    verb(ship, id_, "resume")
    assert ship.until(id_)["status"] == "succeeded"


def test_cancelling_ends_what_runs_and_gives_up_what_waits(ship: Ship) -> None:
    id_ = ship.start(
        ship.pipeline("""
steps:
  - {id: slow, run: "sleep 300"}
  - {id: ask, question: Why?}
  - {id: after, needs: [slow], action: noop}
""")
    )
    ship.until(id_, "running")
    verb(ship, id_, "cancel", reason="not needed")
    run = ship.until(id_)
    assert (run["status"], run["detail"]) == ("cancelled", "not needed")
    assert ship.statuses(run) == {"slow": "cancelled", "ask": "cancelled", "after": "skipped"}
    again = ship.world.http.post(f"/v1/runs/{id_}/cancel", json={}, headers=ship.box.headers)
    assert ship.world.problem(again, "illegal_transition")["allowed"] == ["rerun"]


def test_running_again_from_a_step_takes_over_what_came_before(ship: Ship) -> None:
    old = ship.done("""
steps:
  - {id: make, run: "date +%s%N > stamp.txt"}
  - {id: check, needs: [make], run: "test $BUILDEROS_ATTEMPT -ge 2"}
  - {id: save, needs: [check], action: noop}
""")
    assert old["status"] == "failed"
    new = ship.until(verb(ship, old["id"], "rerun", from_step="check")["run_id"])
    assert ship.steps(new)["make"]["status"] == "cached"
    assert ship.steps(new)["make"]["output_tree"] == ship.steps(old)["make"]["output_tree"]
    assert ship.steps(new)["check"]["status"] == "failed"
    assert new["trigger"]["run_id"] == old["id"]


def test_a_sandbox_reaches_no_run_of_another_one(ship: Ship) -> None:
    other = ship.world.open_sandbox()
    id_ = ship.start(ship.pipeline("steps:\n  - {id: a, action: noop}"))
    for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/pause"), ("POST", "/rerun")):
        call = {"json": {}} if method == "POST" else {}
        reply = ship.world.http.request(method, f"/v1/runs/{id_}{path}", headers=other.headers, **call)
        ship.world.problem(reply, "not_found")
    listed = ship.world.ok(ship.world.http.get("/v1/runs", headers=other.headers))
    assert listed["items"] == []


def lapse(ship: Ship, run_id: str) -> None:
    """Let the time in which somebody was to answer be over."""
    lab = Lab(ship.world, ship.database)
    lab.sql("update ops.approvals set expires_at = now() - interval '1 minute' where run_id = %s", run_id)
    lab.sql(
        "update ops.run_steps set next_at = now() - interval '1 minute' where run_id = %s and next_at > now()",
        run_id,
    )
    as_system(ship.context, ship.world.org_id, approvals.expire_overdue)


def test_an_approval_that_expired_leaves_the_run_waiting_and_resume_asks_anew(ship: Ship) -> None:
    id_ = ship.start(ship.pipeline(APPROVED))
    old = ship.steps(ship.until(id_, "waiting_approval"))["gate"]["approval_id"]
    early = ship.world.http.post(f"/v1/runs/{id_}/resume", json={}, headers=ship.box.headers)
    ship.world.problem(early, "illegal_transition")  # nobody is late yet

    lapse(ship, id_)
    late = ship.world.as_owner("POST", f"/v1/approvals/{old}", json={"decision": "approve"})
    assert late.status_code == 409
    assert ship.run(id_)["status"] == "waiting_approval"
    verb(ship, id_, "resume")

    new = ship.steps(ship.until(id_, "waiting_approval"))["gate"]["approval_id"]
    assert new != old
    decide(ship, new, "approve")
    run = ship.until(id_)
    assert run["status"] == "succeeded"
    assert run["provenance"]["approvals"] == [old, new]
    assert ship.steps(run)["make"]["attempt"] == 1  # what was done is not done again


def test_a_run_whose_time_is_over_while_it_waits_ends_and_its_request_counts_no_more(ship: Ship) -> None:
    id_ = ship.start(ship.pipeline(APPROVED))
    approval_id = ship.steps(ship.until(id_, "waiting_approval"))["gate"]["approval_id"]
    lab = Lab(ship.world, ship.database)
    lab.sql("update ops.runs set deadline_at = now() - interval '1 second' where id = %s", id_)
    Watch().look(ship.context)

    run = ship.until(id_)
    assert (run["status"], run["reason"]) == ("timed_out", "timed_out")
    assert ship.statuses(run) == {"make": "succeeded", "gate": "timed_out", "save": "skipped"}
    ship.world.as_owner("POST", f"/v1/approvals/{approval_id}", json={"decision": "approve"})
    after = ship.run(id_)
    assert (after["status"], after["provenance"]["commits"]) == ("timed_out", [])


def test_a_budget_of_its_own_stops_a_run_before_its_next_step(ship: Ship) -> None:
    text = """
budget: {credits: 5}
steps:
  - {id: dear, run: "sleep 0.1"}
  - {id: ask, needs: [dear], question: Go on?}
  - {id: more, needs: [ask], run: "echo more > more.txt"}
"""
    lab, ends = Lab(ship.world, ship.database), dict[float, Json]()
    for price in (1e9, 1e-9):
        id_ = ship.start(ship.pipeline(text))
        ship.until(id_, "waiting_input")
        lab.sql(
            "update ops.sandbox_runs set price = %s where run_id = %s", price, id_
        )  # of an hour, in credits
        ship.box.post("/runs/answer", run_id=id_, answer="yes")
        ends[price] = ship.until(id_)
    stopped = ends[1e9]
    more = ship.steps(stopped)["more"]
    assert (stopped["status"], more["status"], more["reason"]) == ("failed", "failed", "budget")
    assert "of its 5 credits" in more["error"]
    assert ends[1e-9]["status"] == "succeeded"


def test_a_budget_of_its_own_ends_the_commands_of_a_run_while_they_run(
    ship: Ship, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builderos.execution.compute.execution._COUNT_S", (0.05, 0.1))
    text = """
budget: {credits: 5}
lanes: continue
steps:
  - {id: long, run: "sleep 500", lane: a, retries: {max: 3, backoff: 1s}}
  - {id: other, run: "sleep 500", lane: b}
  - {id: after, needs: [long], run: "true", lane: a}
"""
    lab, id_ = Lab(ship.world, ship.database), ship.start(ship.pipeline(text))
    ours = "select count(*) from ops.sandbox_runs where run_id = %s and finished_at is null"
    until(lambda: lab.sql(ours, id_) == [(2,)])
    assert ship.run(id_)["status"] == "running"
    lab.sql("update ops.sandbox_runs set price = 1e9 where run_id = %s", id_)  # of an hour, in credits

    run = ship.until(id_)

    steps = ship.steps(run)
    assert (run["status"], steps["after"]["status"]) == ("failed", "skipped")
    over = [step for step in (steps["long"], steps["other"]) if step["reason"] == "budget"]
    assert over  # whichever was looked at first; the other one goes with the run
    assert "all its 5 credits" in over[0]["error"]
    assert over[0]["attempt"] == 1
    ended = "select status, reason from ops.sandbox_runs where run_id = %s and finished_at is not null"
    assert len(lab.sql(ended, id_)) == 2
    assert ("failed", "budget") in lab.sql(ended, id_)


def test_a_budget_of_the_organisation_stops_its_runs(ship: Ship) -> None:
    def budget(amount: int | None) -> None:
        body = {"meter": "cpu_seconds", "amount": amount, "period": "day"}
        ship.world.ok(ship.world.as_owner("PUT", "/v1/budgets", json=body))
        budgets.refresh(ship.context)

    used = (
        "insert into ops.usage (org_id, day, actor, cpu_ms) values (%s, now() at time zone 'utc', 'a', 9e6)"
    )
    Lab(ship.world, ship.database).sql(used, ship.world.org_id)
    budget(1)
    try:
        run = ship.done("steps:\n  - {id: a, run: 'true'}\n  - {id: b, needs: [a], action: noop}\n")
    finally:
        budget(None)
    assert (run["status"], ship.steps(run)["a"]["reason"]) == ("failed", "budget")
    assert ship.statuses(run)["b"] == "skipped"
    assert ship.done("steps:\n  - {id: a, action: noop}\n")["status"] == "succeeded"


def test_what_goes_wrong_in_one_organisation_keeps_no_other_waiting(
    ship: Ship, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def visit(_watch: Watch, _context: Context, org_id: str, *, whole: bool) -> None:
        seen.append(org_id)
        if org_id != ship.world.org_id:
            raise RuntimeError("what nobody thought of")

    monkeypatch.setattr(watching, "orgs_with_runs", lambda _: ["org_broken", ship.world.org_id])
    monkeypatch.setattr(Watch, "_visit", visit)
    with pytest.raises(RuntimeError):
        Watch().look(ship.context)
    assert seen == ["org_broken", ship.world.org_id]
