"""People around an agent: it waits for a yes, asks, hears what is said meanwhile, and stops when it is told to."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from builderos.core.unit import Unit, as_system
from builderos.workloads.agents import journal
from tests.support.models import Json, Scripted, say, use
from tests.support.runs import Ship

ONE = """
steps:
  - {id: build, agent: %s, title: Work}
"""
CAREFUL = """
name: careful
role: Careful
prompt_ref: builder
toolset: [read_file, write_file, edit_file, delete_file, run_shell, ask_question]
policy: {ask: {tools: [delete_file], paths: ["src/**"]}}
limits: {model_calls: 20}
"""
WRITE = use(("write_file", {"path": "src/a.py", "content": "a = 1\n"}))


def start(ship: Ship, agent: str = "careful") -> str:
    return ship.start(ship.pipeline(ONE % agent, {"agents/careful.yaml": CAREFUL}))


def decide(ship: Ship, approval_id: str, decision: str) -> None:
    ship.world.ok(ship.world.as_owner("POST", f"/v1/approvals/{approval_id}", json={"decision": decision}))


@contextmanager
def in_force(ship: Ship, content: str) -> Iterator[None]:
    """A policy of the organisation, for a while."""
    put(ship, content)
    try:
        yield
    finally:
        put(ship, "version: 1\n")


def put(ship: Ship, content: str) -> None:
    reply = ship.world.ok(
        ship.world.as_owner("PUT", "/v1/policies", json={"content": content, "reason": "Test."})
    )
    if reply.get("approval_id"):
        decide(ship, reply["approval_id"], "approve")


def waiting(ship: Ship, id_: str, status: str = "waiting_approval") -> Json:
    run = ship.until(id_, status)
    assert run["status"] == status, [(s["status"], s["error"]) for s in run["steps"]]
    return ship.steps(run)["build"]


def entries(ship: Ship, step_id: str) -> list[journal.Entry]:
    def read(unit: Unit) -> list[journal.Entry]:
        session = journal.newest(unit, step_id)
        return [] if session is None else journal.entries(unit, session)

    return as_system(ship.context, ship.world.org_id, read)


def test_a_call_waits_for_a_yes_to_exactly_its_arguments_and_nothing_before_is_asked_again(
    ship: Ship, model: Scripted
) -> None:
    model.lines["careful"] = [WRITE, say("Done.")]
    id_ = start(ship)
    step = waiting(ship, id_)
    shown = ship.world.ok(ship.world.as_owner("GET", f"/v1/approvals/{step['approval_id']}"))
    assert shown["action"] == "tool.write_file"
    assert '"content": "a = 1\\n"' in shown["diff"]
    assert shown["prompt_version"] == "builder@1.0.0"
    decide(ship, step["approval_id"], "approve")
    run = ship.until(id_)
    assert run["status"] == "succeeded", [(s["status"], s["error"]) for s in run["steps"]]
    assert len(model.requests("careful")) == 2
    assert [entry.status for entry in entries(ship, step["id"])] == ["done", "done", "done"]


def test_a_yes_to_one_call_is_none_to_another(ship: Ship, model: Scripted) -> None:
    other = use(("write_file", {"path": "src/a.py", "content": "a = 2\n"}))
    model.lines["careful"] = [WRITE, other, say("Done.")]
    id_ = start(ship)
    first = waiting(ship, id_)["approval_id"]
    decide(ship, first, "approve")
    step = waiting_for_another(ship, id_, first)
    shown = ship.world.ok(ship.world.as_owner("GET", f"/v1/approvals/{step['approval_id']}"))
    assert "a = 2" in shown["diff"]
    decide(ship, step["approval_id"], "approve")
    assert ship.until(id_)["status"] == "succeeded"


def waiting_for_another(ship: Ship, id_: str, former: str) -> Json:
    until = time.monotonic() + 120
    while True:
        run = ship.run(id_)
        step = ship.steps(run)["build"]
        if run["status"] == "waiting_approval" and step["approval_id"] != former:
            return step
        assert run["status"] in ("running", "waiting_approval"), run
        assert time.monotonic() < until, run
        time.sleep(0.01)


def test_a_no_ends_the_step_and_the_file_is_not_written(ship: Ship, model: Scripted) -> None:
    model.lines["careful"] = [WRITE, say("Done.")]
    id_ = start(ship)
    decide(ship, waiting(ship, id_)["approval_id"], "deny")
    run = ship.until(id_)
    assert run["status"] == "denied"
    assert len(model.requests("careful")) == 1


def test_the_policy_file_makes_a_tool_wait_whatever_the_agent_says(ship: Ship, model: Scripted) -> None:
    model.lines["builder"] = [use(("run_shell", {"command": "touch made"})), say("Done.")]
    with in_force(
        ship, "version: 1\napprovals:\n  - {id: shells, when: {action: [tool.run_shell]}, from: [Owner]}\n"
    ):
        id_ = start(ship, "builder")
        step = waiting(ship, id_)
        decide(ship, step["approval_id"], "approve")
        run = ship.until(id_)
    assert run["status"] == "succeeded", [(s["status"], s["error"]) for s in run["steps"]]


def test_a_question_waits_in_the_inbox_and_its_answer_is_the_result(ship: Ship, model: Scripted) -> None:
    def third(request: Json, _: Any) -> Json:
        return say("You said: " + request["messages"][-1]["content"])

    model.lines["careful"] = [
        use(("no_such_tool", {})),
        use(("ask_question", {"question": "Tabs or spaces?", "choices": ["tabs", "spaces"]})), third,
    ]  # fmt: skip
    id_ = start(ship)
    step = waiting(ship, id_, "waiting_input")
    assert step["waiting"]["message"] == "Tabs or spaces?"
    refused = ship.world.http.post(
        f"/v1/runs/{id_}/answer", json={"answer": "both"}, headers=ship.box.headers
    )
    ship.world.problem(refused, "validation_failed")
    ship.world.ok(
        ship.world.http.post(f"/v1/runs/{id_}/answer", json={"answer": "spaces"}, headers=ship.box.headers)
    )
    run = ship.until(id_)
    assert run["status"] == "succeeded", [(s["status"], s["error"]) for s in run["steps"]]
    assert ship.steps(run)["build"]["result"]["text"] == "You said: spaces"
    assert len(model.requests("careful")) == 3
    made = [(call.name, call.status) for call in entries(ship, step["id"]) if call.kind == "tool"]
    assert made == [
        ("no_such_tool", "refused"),
        ("ask_question", "done"),
    ]  # once, however often it is gone through


def heard(ship: Ship, model: Scripted, turn: int) -> str:
    """The id of the step, once its model was asked this turn."""
    until = time.monotonic() + 120
    while not any(asked.number == turn for asked, _ in model.asked):
        assert time.monotonic() < until
        time.sleep(0.01)
    return model.asked[-1][0].step_id


def post(ship: Ship, path: str, **body: Any) -> Json:
    return ship.world.ok(ship.world.http.post(path, json=body, headers=ship.box.headers))


def test_what_is_said_meanwhile_is_heard_before_the_next_turn_and_ever_after(
    ship: Ship, model: Scripted
) -> None:
    open_: set[int] = {2, 3}
    model.held = lambda turn: turn.number in open_
    model.lines["builder"] = [use(("list_files", {})), use(("list_files", {"pattern": "*"})), say("Done.")]
    id_ = ship.start(ship.pipeline(ONE % "builder"))
    step_id = heard(ship, model, 1)
    post(ship, f"/v1/steps/{step_id}/message", text="Use tabs.")
    open_.add(1)
    assert ship.until(id_)["status"] == "succeeded"
    first, second, third = [
        [m["content"] for m in request["messages"] if m["role"] == "user"]
        for request in model.requests("builder")
    ]
    assert first[1:] == []
    assert second[1:] == ["Use tabs."]
    assert third[1:] == ["Use tabs."]
    refused = ship.world.http.post(
        f"/v1/steps/{step_id}/message", json={"text": "?"}, headers=ship.box.headers
    )
    ship.world.problem(refused, "illegal_transition")


def test_an_interrupted_agent_asks_what_to_do_and_goes_on_with_the_answer(
    ship: Ship, model: Scripted
) -> None:
    stop = [True]
    model.held = lambda turn: turn.number == 1 or not stop[0]
    model.lines["builder"] = [
        use(("write_file", {"path": "a", "content": "a"})),
        say("Never said."),
        say("Stopped."),
    ]
    id_ = ship.start(ship.pipeline(ONE % "builder"))
    step_id = heard(ship, model, 2)
    post(ship, f"/v1/steps/{step_id}/interrupt")
    step = waiting(ship, id_, "waiting_input")
    assert "was interrupted" in step["waiting"]["message"]
    stop[0] = False
    model.lines["builder"] = [None, say("Stopped.")]  # type: ignore[list-item]
    post(ship, f"/v1/runs/{id_}/answer", answer="Stop there.")
    run = ship.until(id_)
    assert run["status"] == "succeeded", [(s["status"], s["error"]) for s in run["steps"]]
    assert model.requests("builder")[-1]["messages"][-1] == {"role": "user", "content": "Stop there."}
    assert ship.steps(run)["build"]["result"]["text"] == "Stopped."


def test_everybody_who_may_see_the_run_sees_what_its_agent_did(ship: Ship, model: Scripted) -> None:
    model.lines["builder"] = [use(("read_file", {"path": "nothing.txt"}), said="I look."), say("Done.")]
    run = ship.done(ONE % "builder")
    path = f"/v1/steps/{ship.steps(run)['build']['id']}/calls"
    first = ship.world.ok(ship.world.http.get(f"{path}?limit=2", headers=ship.box.headers))
    assert [(c["kind"], c["status"], c["asked"]) for c in first["items"]] == [
        ("model", "done", ["read_file"]), ("tool", "failed", []),
    ]  # fmt: skip
    assert first["items"][0]["label"] == "scripted"
    assert first["items"][1]["text"].startswith("not_found: there is no file nothing.txt")
    rest = ship.world.ok(
        ship.world.http.get(f"{path}?cursor={first['next_cursor']}", headers=ship.box.headers)
    )
    assert [c["text"] for c in rest["items"]] == ["Done."]
    stranger = ship.world.open_sandbox()
    ship.world.problem(ship.world.http.get(path, headers=stranger.headers), "not_found")


def test_an_agent_that_works_in_rounds_is_told_things_too(ship: Ship, model: Scripted) -> None:
    open_: set[int] = {2}
    model.held = lambda turn: turn.number in open_
    model.lines["builder"] = [use(("list_files", {})), say("Done.")]
    rounds = 'steps:\n  - {id: build, action: rounds, inputs: {goal: Work, tests: "true"}}\n'
    id_ = ship.start(ship.pipeline(rounds))
    post(ship, f"/v1/steps/{heard(ship, model, 1)}/message", text="Use tabs.")
    open_.add(1)
    assert ship.until(id_)["status"] == "succeeded"
    assert model.requests("builder")[1]["messages"][-1] == {"role": "user", "content": "Use tabs."}
