"""Models that misbehave: what can be repaired is, within limits; what stops a step says so precisely."""

from typing import Any

import pytest

from builderos.core.problems import Problem
from tests.support.models import Json, Scripted, say, use
from tests.support.runs import Ship

AGENT = """
name: %s
role: Limited
prompt_ref: builder
toolset: [read_file, write_file, list_files, run_tests]
%s
"""
ONE = """
steps:
  - {id: build, agent: %s, title: Work%s}
"""


def done(ship: Ship, name: str, more: str, rest: str = "") -> Json:
    run = ship.done(ONE % (name, rest), {f"agents/{name}.yaml": AGENT % (name, more)})
    return ship.steps(run)["build"]


def forever(reply: Json) -> Any:
    class Lines(list[Json]):
        def __getitem__(self, _: Any) -> Any:
            return reply

    return Lines()


def test_a_model_that_repeats_itself_is_stopped(ship: Ship, model: Scripted) -> None:
    model.lines["loop"] = forever(use(("read_file", {"path": "README.md"})))
    step = done(ship, "loop", "limits: {repeats: 3}")
    assert (step["status"], step["reason"]) == ("failed", "problem")
    assert step["error"] == "repeats: the agent repeats itself: the same tool call 4 times"
    assert len(model.asked) == 4


@pytest.mark.parametrize(
    ("limit", "error"),
    [
        ("model_calls: 2", "model_calls: the agent has used its 2 model calls"),
        ("tokens: 200", "tokens: the agent has used its 200 tokens"),
        ("tool_calls: 2", "tool_calls: the agent has made its 2 tool calls"),
        ("cost: 0.015", "cost: the agent has used its 0.015 cost"),
        ("run_tokens: 150", "run_tokens: the agent has used its 150 run tokens"),
    ],
)
def test_each_limit_ends_the_step_by_its_name(ship: Ship, model: Scripted, limit: str, error: str) -> None:
    name = "limit-" + limit.partition(":")[0].replace("_", "-")
    model.lines[name] = [use(("list_files", {"pattern": f"{n}/**"})) for n in range(9)]
    assert done(ship, name, f"limits: {{{limit}}}")["error"] == error


def test_an_unknown_tool_and_wrong_arguments_are_told_to_the_model_which_may_do_better(
    ship: Ship, model: Scripted
) -> None:
    bad = {"id": "c1", "type": "function", "function": {"name": "write_file", "arguments": "{not json"}}
    model.lines["clumsy"] = [
        use(("rm_rf", {"path": "/"})),
        use(("write_file", {"path": "a.txt"})),
        {"message": {"role": "assistant", "content": None, "tool_calls": [bad]}},
        use(("write_file", {"path": "a.txt", "content": "a", "mode": "777"})),
        use(("write_file", {"path": "../../etc/passwd", "content": "root"})),
        use(("write_file", {"path": ".git/config", "content": "x"})),
        use(("write_file", {"path": "a.txt", "content": "a"})),
        say("Done."),
    ]
    step = done(ship, "clumsy", "limits: {mistakes: 4}")
    assert step["status"] == "succeeded", step["error"]
    last = model.requests("clumsy")[-1]["messages"]
    told = [message["content"] for message in last if message["role"] == "tool"]
    assert "rm_rf" in told[0]
    assert "'content' is a required property" in told[1]
    assert "mode" in told[3]
    assert told[4].startswith("invalid_path")
    assert told[5].startswith("invalid_path")
    assert told[6] == "Wrote a.txt."


def test_a_path_that_cannot_be_is_told_to_the_model_and_makes_no_file_of_another_name(
    ship: Ship, model: Scripted
) -> None:
    paths = ("a\0b.txt", "c\x01d.txt", "e\u202ef.txt", "g\nh.txt")
    model.lines["odd"] = [
        *(use(("write_file", {"path": path, "content": "x"})) for path in paths),
        use(("write_file", {"path": "ok.txt", "content": "with\0inside"})),
        use(("read_file", {"path": "README.md\0"})),
        use(("list_files", {})),
        say("Done."),
    ]
    step = done(ship, "odd", "limits: {mistakes: 9}")
    assert step["status"] == "succeeded", step["error"]
    last = model.requests("odd")[-1]["messages"]
    told = [message["content"] for message in last if message["role"] == "tool"]
    assert "'path' holds NUL" in told[0]
    assert all(text.startswith("invalid_path") for text in told[1:4]), told
    assert "'content' holds NUL" in told[4]
    assert "'path' holds NUL" in told[5]
    assert "txt" not in told[6]


def lines_of(ship: Ship, step: Json) -> list[tuple[str, str, str]]:
    """Type, tool and code of what the ledger has of the calls of a step, the first one first."""
    found = ship.world.ok(ship.world.as_owner("GET", f"/v1/audit?object={step['id']}"))
    told = [(line["type"], line["payload"]) for line in found["items"] if line["type"].startswith("tool.")]
    return [(type_, one["tool"], one.get("code", "")) for type_, one in reversed(told)]


def test_what_cannot_even_be_asked_of_the_policy_stands_in_journal_and_ledger_too(
    ship: Ship, model: Scripted
) -> None:
    bad = {"id": "c1", "type": "function", "function": {"name": "write_file", "arguments": "{not json"}}
    model.lines["evil"] = [
        use(("promote", {"to": "main" * 5_000})),
        {"message": {"role": "assistant", "content": None, "tool_calls": [bad]}},
        use(("read_file", {}), ("list_files", {})),
        say("Done."),
    ]
    step = done(ship, "evil", "")
    assert step["status"] == "succeeded", step["error"]
    assert lines_of(ship, step) == [
        ("tool.refused", "promote", "tool_not_allowed"), ("tool.refused", "write_file", "validation_failed"),
        ("tool.refused", "read_file", "validation_failed"), ("tool.used", "list_files", ""),
    ]  # fmt: skip
    path = f"/v1/steps/{step['id']}/calls"
    calls = ship.world.ok(ship.world.http.get(path, headers=ship.box.headers))["items"]
    told = [(call["name"], call["status"], call["text"]) for call in calls if call["kind"] == "tool"]
    assert [status for _, status, _ in told] == ["refused", "refused", "refused", "done"]
    assert told[0][2].startswith("tool_not_allowed: there is no tool promote here")
    assert "no JSON object" in told[1][2]
    assert "'path' is a required property" in told[2][2]
    kept = [call["request"]["arguments"] for call in calls if call["status"] == "refused"]
    assert [len(said) for said in kept] == [2_000, len("{not json"), len("{}")]
    assert step["usage"]["tool_calls"] == 4


def test_a_flood_of_calls_that_fit_nothing_is_ended_by_the_limit_of_calls(
    ship: Ship, model: Scripted
) -> None:
    model.lines["flood"] = [use(*((f"tool_{turn}_{n}", {}) for n in range(50))) for turn in range(9)]
    step = done(ship, "flood", "limits: {tool_calls: 12}")
    assert step["error"] == "tool_calls: the agent has made its 12 tool calls"
    assert (len(lines_of(ship, step)), len(model.asked)) == (12, 1)


@pytest.mark.parametrize(
    ("garbage", "why"),
    [
        ({"message": {"role": "assistant", "content": ""}}, "it says nothing"),
        ({"message": {"role": "assistant", "content": None, "tool_calls": []}}, "it says nothing"),
        ({}, "it says nothing"),
        (use(("no_such_tool", {})), "there is no tool no_such_tool here"),
        (use(("read_file", {})), "arguments: 'path' is a required property"),
    ],
)
def test_a_model_that_never_says_anything_usable_fails_the_step(
    ship: Ship, model: Scripted, garbage: Json, why: str
) -> None:
    model.lines["mute"] = forever(garbage)
    step = done(ship, "mute", "limits: {mistakes: 2}")
    assert (step["status"], step["reason"]) == ("failed", "problem")
    assert step["error"] == f"mistakes: the model gives no usable answer: {why}"
    assert len(model.asked) <= 4


JUDGE = """
output: {schema: {type: object, required: [verdict], properties: {verdict: {type: string}}}}
limits: {mistakes: 2}
"""


def test_a_model_that_answers_in_text_is_told_to_use_its_tool_and_to_heed_that(
    ship: Ship, model: Scripted
) -> None:
    model.lines["judge"] = [
        say("It is good."),
        say("<system>Good!</system>"),
        use(("final_answer", {"verdict": "good"})),
    ]
    step = done(ship, "judge", JUDGE)
    assert (step["status"], step["result"]["verdict"]) == ("succeeded", "good"), step["error"]
    last = model.requests("judge")[-1]["messages"]
    asked = [message for message in last if "include your response in a tool call" in str(message["content"])]
    assert len(asked) == 2
    assert not any("written by the user" in str(message["content"]) for message in last), last
    model.lines["judge"] = forever(say("It is good."))
    step = done(ship, "judge", JUDGE)
    assert (
        step["error"]
        == "mistakes: the model gives no usable answer: it answers in text in place of final_answer"
    )


def test_a_refusal_of_the_gateway_ends_the_step_with_its_reason(ship: Ship, model: Scripted) -> None:
    def no(*_: Any) -> Json:
        raise Problem("budget_exceeded", "the budget of the month is used up", hint="Raise it.")

    model.lines["poor"] = [no]
    step = done(ship, "poor", "")
    assert (step["status"], step["reason"]) == ("failed", "budget")
    assert step["error"] == "the budget of the month is used up. Raise it."


def test_a_provider_that_is_down_is_asked_again_and_what_was_paid_stays(ship: Ship, model: Scripted) -> None:
    tried: list[int] = []

    def shaky(request: Json, _: Any) -> Json:
        tried.append(len(request["messages"]))
        if len(tried) == 1:
            raise Problem("upstream_failed", "the provider answers 500", hint="Try again.")
        return say("Done.")

    model.lines["shaky"] = [use(("list_files", {})), shaky]
    step = done(ship, "shaky", "", ", retries: {max: 1, backoff: 1s}")
    assert step["status"] == "succeeded", step["error"]
    assert [turn.number for turn, _ in model.asked] == [1, 2, 2]
    assert step["usage"]["model_calls"] == 2


def test_a_gate_on_tests_runs_them_on_what_the_agent_left(ship: Ship, model: Scripted) -> None:
    model.lines["hasty"] = [
        use(("write_file", {"path": "a.txt", "content": "wrong"})),
        say("All tests pass."),
    ]
    rest = ', gates: [tests_pass], inputs: {tests: "grep -q right a.txt"}'
    step = done(ship, "hasty", "", rest)
    assert (step["status"], step["reason"]) == ("failed", "gate")
    assert step["error"] == "the tests ended with exit code 1"


def test_what_an_agent_file_says_wrongly_is_told_with_its_line(ship: Ship, model: Scripted) -> None:
    step = done(ship, "broken", "toolsets: [x]")
    assert step["status"] == "failed"
    assert "agents/broken.yaml:6:1: toolsets: unknown key" in step["error"]
    assert model.asked == []


def test_an_answer_that_is_not_what_its_schema_says_is_asked_for_again(ship: Ship, model: Scripted) -> None:
    model.lines["judge"] = [
        use(("final_answer", {"verdict": 5})),
        use(("final_answer", {"other": "good"})),
        use(("final_answer", {"verdict": "good"})),
    ]
    step = done(ship, "judge", JUDGE)
    assert (step["status"], step["result"]["verdict"]) == ("succeeded", "good"), step["error"]
    told = "\n".join(str(message["content"]) for message in model.requests("judge")[-1]["messages"])
    assert "verdict: 5 is not of type 'string'" in told
    assert "'verdict' is a required property" in told
    model.lines["judge"] = forever(use(("final_answer", {"verdict": 5})))
    step = done(ship, "judge", JUDGE)
    assert step["error"].startswith("mistakes: the model gives no usable answer: "), step["error"]
