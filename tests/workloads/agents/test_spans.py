"""What a collector hears of agents: run → step → agent → model or tool, by OpenTelemetry's words, without anybody's."""

from builderos.execution.runs import spans
from builderos.workloads.agents.ports import Models
from tests.integrations.test_otlp import collecting, traced, values
from tests.support.databases import FreshDatabase
from tests.support.models import Scripted, say, use
from tests.support.runs import ship_in_temp

STEPS = """
steps:
  - {id: build, agent: builder, inputs: {goal: canary-goal}}
"""


def test_an_agent_is_a_span_below_its_step_with_its_calls_tokens_and_cost(database: FreshDatabase) -> None:
    model = Scripted()
    model.lines["builder"] = [
        use(
            ("write_file", {"path": "canary.txt", "content": "canary-content"}), ("read_file", {"path": "no"})
        ),
        use(("canary-tool", {})),
        say("canary-answer"),
    ]
    with collecting() as collector:
        with traced(collector), ship_in_temp(database) as ship:
            ship.context.put(Models, model)  # type: ignore[type-abstract]
            run = ship.done(STEPS)
            assert run["status"] == "succeeded", run["steps"]
            step = ship.steps(run)["build"]
        found = [span for span in collector.spans if span.trace_id.hex() == spans.trace_of(run["id"])]

    by_name = {span.name: span for span in found}
    turn = next(span for span in found if span.parent_span_id.hex() == spans.span_of(step["id"]))
    (agent,) = [span for span in found if span.name == "invoke_agent builder"]
    assert agent.parent_span_id == turn.span_id
    told = values(agent.attributes)
    assert told["gen_ai.operation.name"] == "invoke_agent"
    assert told["gen_ai.agent.name"] == "builder"
    assert told["builderos.prompt.ref"] == "builder@1.0.0"
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (300, 30)
    assert round(told["builderos.cost"], 6) == 0.03
    assert told["builderos.run.id"] == run["id"]
    below = [span for span in found if span.parent_span_id == agent.span_id and " " in span.name]
    assert sorted(span.name for span in below if span.name.partition(" ")[0] in ("chat", "execute_tool")) == [
        "chat default", "chat default", "chat default", "execute_tool read_file", "execute_tool write_file",
    ]  # fmt: skip
    chat = values(by_name["chat default"].attributes)
    assert (chat["gen_ai.request.model"], chat["gen_ai.response.model"]) == ("default", "scripted-1")
    assert (chat["gen_ai.usage.input_tokens"], chat["gen_ai.usage.output_tokens"]) == (100, 10)
    assert (chat["builderos.cost"], chat["builderos.label"]) == (0.01, "scripted")
    assert chat["gen_ai.provider.name"] == "double"
    written, missing = (
        values(by_name[f"execute_tool {name}"].attributes) for name in ("write_file", "read_file")
    )
    assert (written["gen_ai.tool.name"], written["builderos.policy.decision"]) == ("write_file", "allow")
    assert missing["error.type"] == "not_found"
    assert "canary" not in repr(found)
