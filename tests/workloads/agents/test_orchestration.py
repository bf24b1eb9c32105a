"""Agents together: rounds until the tests or a judge are content, and a choice among proposals."""

import threading

from builderos import app as root
from builderos.workloads.agents.ports import Turn
from tests.support.models import Answer, Json, Scripted, say, use
from tests.support.runs import Ship
from tests.support.servers import until

TEST = """import unittest

from src.limit import allowed


class Limit(unittest.TestCase):
    def test_three(self):
        self.assertEqual([allowed(n) for n in (1, 2, 3, 4)], [True, True, True, False])
"""
WRONG, RIGHT = (f"def allowed(n):\n    return n {sign} 3\n" for sign in ("<", "<="))
ROUNDS = """
params: {goal: {type: string, required: true}}
steps:
  - id: build
    action: rounds
    tools: [write_file, run_tests]
    inputs: {executor: builder, evaluator: tests, max: MAX, tests: "python3 -m unittest tests/test_limit.py"}
  - {id: save, needs: [build], action: git.commit, inputs: {message: Limit}}
"""
FILES = {"tests/test_limit.py": TEST}


def in_round(*rounds: list[Json]) -> list[Json | Answer]:
    """Lines of a session by what was found before it: as many findings as there were rounds."""

    def line(number: int) -> Answer:
        def answer(request: Json, turn: Turn) -> Json:
            del turn
            task = next(m["content"] for m in request["messages"] if m["role"] == "user")
            before = sum(f"evaluation of round {n}" in task for n in range(1, 9))
            return rounds[before][number]

        return answer

    return [line(number) for number in range(max(map(len, rounds)))]


def written(text: str) -> list[Json]:
    return [use(("write_file", {"path": "src/limit.py", "content": text})), say("Written.")]


def rounds(most: int = 3) -> str:
    return ROUNDS.replace("MAX", str(most))


def test_a_test_that_fails_is_repaired_in_the_next_round(ship: Ship, model: Scripted) -> None:
    model.lines["builder"] = in_round(written(WRONG), written(RIGHT))
    run = ship.done(rounds(), FILES, params={"goal": "Allow three"})
    assert ship.statuses(run) == {"build": "succeeded", "save": "succeeded"}, str(
        ship.steps(run)["build"]["error"]
    )
    told = ship.steps(run)["build"]["result"]["rounds"]
    assert [(one["round"], one["passed"]) for one in told] == [(1, False), (2, True)]
    assert "FAILED" in told[0]["said"]
    assert "FAILED" in model.requests("builder")[2]["messages"][1]["content"]
    assert ship.steps(run)["build"]["usage"]["model_calls"] == 4
    found = ship.box.post("/system/fetch_files", mode="single", path="src/limit.py")
    assert found["files"][0]["content"] == RIGHT


def test_rounds_that_were_gone_through_are_not_paid_again_by_another_process(
    ship: Ship, model: Scripted
) -> None:
    model.lines["builder"] = in_round(written(WRONG), written(RIGHT))
    asked: list[bool] = []

    def second_round(turn: Turn) -> bool:
        """The first one to ask in the second round waits until its process has ended."""
        if "evaluation of round 1" not in str(model.asked[-1][1]["messages"]) or turn.number > 1:
            return True
        asked.append(True)
        return ended.is_set()

    ended = threading.Event()
    model.held = second_round
    id_ = ship.start(ship.pipeline(rounds(), FILES), params={"goal": "Allow three"})
    until(lambda: bool(asked))
    ship.engine.stop(0.01)
    ended.set()
    ship.engine = root.build_engine(root.Started(ship.world.app, ship.database.engine_url))
    ship.engine.start()
    run = ship.until(id_)
    assert ship.statuses(run) == {"build": "succeeded", "save": "succeeded"}
    said = [
        (turn.number, "evaluation of round 1" in str(request["messages"])) for turn, request in model.asked
    ]
    assert said == [(1, False), (2, False), (1, True), (1, True), (2, True)]
    assert ship.steps(run)["build"]["usage"]["model_calls"] == 4


def test_rounds_end_where_there_are_no_more_and_say_what_was_found(ship: Ship, model: Scripted) -> None:
    model.lines["builder"] = in_round(written(WRONG), written(WRONG))
    run = ship.done(rounds(2), FILES, params={"goal": "Allow three"})
    step = ship.steps(run)["build"]
    assert (step["status"], step["reason"]) == ("failed", "gate")
    assert step["error"].startswith("not good enough after 2 rounds: The tests fail.")
    assert len(step["result"]["rounds"]) == 2


def test_another_agent_judges_and_its_score_has_to_be_high_enough(ship: Ship, model: Scripted) -> None:
    text = rounds().replace("evaluator: tests", "evaluator: judge, until: 0.8")
    judge = """
name: judge
role: Judge
prompt_ref: reviewer
toolset: [read_file]
output: {schema: {type: object, required: [score], properties: {score: {type: number}, why: {type: string}}}}
"""
    model.lines["builder"] = in_round(written(WRONG), written(RIGHT))

    def judged(request: Json, turn: Turn) -> Json:
        del turn
        first = "evaluation of round" not in str(request["messages"]) and len(scores) == 2
        return use(("final_answer", {"score": scores.pop(), "why": "Too few." if first else "Good."}))

    scores = [0.9, 0.3]
    model.lines["judge"] = [judged]
    files = {**FILES, "agents/judge.yaml": judge}
    run = ship.done(
        text.replace("write_file, run_tests", "write_file, read_file"), files, params={"goal": "Three"}
    )
    step = ship.steps(run)["build"]
    assert step["status"] == "succeeded", step["error"]
    told = step["result"]["rounds"]
    assert [(one["passed"], one["score"]) for one in told] == [(False, 0.3), (True, 0.9)]
    assert ship.statuses(run)["save"] == "succeeded"


def test_rounds_that_cannot_be_understood_fail_at_once(ship: Ship, model: Scripted) -> None:
    run = ship.done(rounds().replace("max: 3", "max: 99"), FILES, params={"goal": "Three"})
    assert "max is 99; it has to be a number from 1 to 10" in ship.steps(run)["build"]["error"]
    assert model.asked == []


CHOICE = """
steps:
  - {id: short, agent: builder, lane: a}
  - {id: long, agent: docwriter, lane: b}
  - {id: choose, action: choose, needs: [short, long], inputs: {goal: The shorter one}}
  - {id: save, needs: [choose], action: git.commit, inputs: {message: Chosen}}
"""


def test_one_of_two_proposals_is_chosen_and_the_other_is_kept_but_not_applied(
    ship: Ship, model: Scripted
) -> None:
    for agent, text in (("builder", "short"), ("docwriter", "a long one")):
        model.lines[agent] = [
            use(("write_file", {"path": "docs/a.md", "content": text})),
            say(f"{text} it is"),
        ]
    model.lines["reviewer"] = [use(("final_answer", {"choice": "short", "reasons": "It says all."}))]
    run = ship.done(CHOICE)
    assert set(ship.statuses(run).values()) == {"succeeded"}
    step = ship.steps(run)["choose"]
    assert (step["result"]["choice"], step["result"]["reasons"]) == ("short", "It says all.")
    proposals = step["result"]["proposals"]
    assert step["output_tree"] == proposals["short"] == ship.steps(run)["short"]["output_tree"]
    assert proposals["long"] == ship.steps(run)["long"]["output_tree"]
    shown = model.requests("reviewer")[0]["messages"][1]["content"]
    assert "+a long one" in shown
    assert "+short" in shown
    found = ship.box.post("/system/fetch_files", mode="single", path="docs/a.md")
    assert found["files"][0]["content"] == "short"


def test_a_choice_that_is_none_of_the_proposals_applies_nothing(ship: Ship, model: Scripted) -> None:
    for agent in ("builder", "docwriter"):
        model.lines[agent] = [use(("write_file", {"path": "docs/b.md", "content": agent})), say("Done.")]
    model.lines["reviewer"] = [use(("final_answer", {"choice": "neither", "reasons": "Both are bad."}))] * 9
    run = ship.done(CHOICE)
    assert ship.statuses(run)["choose"] == "failed"
    assert ship.statuses(run)["save"] == "skipped"
