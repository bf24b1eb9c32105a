"""One completion through policy, budget, secrets and the ledger of usage."""

import asyncio
import base64
import json

import pytest

from builderos.core.problems import Problem
from builderos.execution.gateway.schema import About, ChatIn
from builderos.trust.policy import service as policy
from builderos.trust.policy.document import read_document
from builderos.trust.vault import service as vault
from tests.integrations.test_otlp import collecting, traced, values
from tests.support.gateways import Models
from tests.support.upstreams import Reply


def test_a_completion_names_its_model_its_provider_and_its_row(models: Models) -> None:
    out = models.complete("hello dear model")
    assert (out.text, out.provider, out.model, out.label) == ("Hello there!", "up", "small", "live")
    (row,) = models.rows()
    assert (row.id, row.state, row.provider, row.model, row.asked) == (
        out.usage_id,
        "done",
        "up",
        "small",
        "default",
    )
    assert (row.input_tokens, row.output_tokens, row.cost) == (3, 3, 3 * 1000 + 3 * 2000)
    assert out.cost == row.cost / 10**9


def test_a_stream_is_told_as_events(models: Models) -> None:
    models.upstream.replies.append(Reply(words=["a", "b"], pieces=7))
    events = models.stream()
    assert [e.type for e in events] == ["token", "token", "usage", "done"]
    assert events[2].data["completion_tokens"] == 2
    assert not events[2].data["estimated"]
    (row,) = models.rows()
    assert (row.state, row.output_tokens, row.estimated) == ("done", 2, False)


def test_a_tool_call_comes_whole(models: Models) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    models.upstream.replies.append(Reply(words=[], tool_calls=[call], pieces=5))
    events = models.stream()
    assert events[0].data == {"id": "call_1", "name": "add", "arguments": '{"a":1}'}
    assert events[-1].data["finish_reason"] == "tool_calls"


def test_embeddings_are_vectors_in_the_order_of_their_texts(models: Models) -> None:
    found = asyncio.run(models.gateway.embed(models.call, ["a", "bcd"], "up/small"))
    assert found.vectors == [[1.0, 0.5], [3.0, 0.5]]
    assert [(row.kind, row.input_tokens) for row in models.rows()] == [("embeddings", 2)]


def test_what_it_is_about_stands_in_the_row(models: Models) -> None:
    about = About(run_id="run_1", step_id="stp_1", agent="planner", prompt="planner@1.0.0#sha256:00")
    asked = ChatIn(messages=[{"role": "user", "content": "hi"}])
    asyncio.run(models.gateway.complete(models.call, asked, about))
    (row,) = models.rows()
    assert (row.run_id, row.step_id, row.agent, row.prompt) == ("run_1", "stp_1", "planner", about.prompt)


def test_known_secrets_never_leave(models: Models) -> None:
    owner = models.world.as_owner
    secret = "canary-3f9a-of-the-vault"
    models.world.ok(owner("POST", "/v1/secrets", json={"key_name": "CANARY", "value": secret}), 201)
    models.world.context.get(vault.Known).changed(models.world.org_id)
    for text in (f"use {secret} please", base64.b64encode(f"x{secret}".encode()).decode()):
        models.complete(text, tools=[{"type": "function", "function": {"name": "f", "description": secret}}])
    sent = json.dumps(models.upstream.requests)
    assert secret not in sent
    assert base64.b64encode(f"x{secret}".encode()).decode() not in sent
    assert "[secret removed]" in sent


def test_a_policy_file_keeps_models_from_people(models: Models) -> None:
    rule = {"id": "no-small", "scope": {"org": "*"}, "deny": {"tools": ["model:up/small"]}}
    known = models.world.context.get(policy.InForce)
    fixed = read_document(json.dumps({"version": 1, "rules": [rule]}))
    models.world.context.put(policy.InForce, policy.InForce(fixed))
    try:
        with pytest.raises(Problem, match="policy") as refused:
            models.complete(model="up/small")
        assert refused.value.extra["policy_rule"] == "no-small"
        assert models.complete(model="up/other").text == "Hello there!"
    finally:
        models.world.context.put(policy.InForce, known)
    assert [row.model for row in models.rows()] == ["other"]


def test_a_workspace_that_nobody_signed_in_for_uses_no_models(models: Models) -> None:
    sandbox = models.world.open_sandbox()
    reply = models.world.http.post(
        "/v1/ai/stream", json={"messages": [{"role": "user", "content": "hi"}]}, headers=sandbox.headers
    )
    assert models.world.problem(reply, "policy_denied")["policy_rule"] == "known-people-use-models"


@pytest.mark.parametrize("path", ["/v1/ai/stream", "/api/ai/stream"])
def test_the_stream_of_this_server_has_its_own_events(models: Models, path: str) -> None:
    models.upstream.replies.append(Reply(words=["a", "b"]))
    body = {"messages": [{"role": "user", "content": "hi"}], "model": "quick"}
    reply = models.world.as_owner("POST", path, json=body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("event: ") for line in reply.text.splitlines() if line.startswith("event: ")]
    assert events == ["token", "token", "usage", "done"]
    assert [row.state for row in models.rows()] == ["done"]


def test_what_was_used_is_listed_and_added_up(models: Models) -> None:
    models.complete()
    models.complete(model="up/other")
    listed = models.world.ok(models.world.as_owner("GET", "/v1/ai/usage"))["items"]
    assert [row["model"] for row in listed] == ["other", "small"]
    added = models.world.ok(models.world.as_owner("GET", "/v1/ai/usage/sums", params={"by": "model"}))
    assert {row["name"]: row["output_tokens"] for row in added["items"]} == {"small": 3, "other": 3}
    assert added["totals"]["requests"] == 2
    for row in [*added["items"], added["totals"]]:
        assert row["total_p95_ms"] >= row["total_p50_ms"] >= 0
    (day,) = models.world.ok(models.world.as_owner("GET", "/v1/ai/usage/sums"))["items"]
    known = [row.total_ms for row in models.rows()]
    assert day["total_p50_ms"] == sum(known) / 2
    shown = models.world.ok(models.world.as_owner("GET", "/v1/ai/models"))
    assert [row["name"] for row in shown["items"]] == ["default", "quick", "bare/*", "up/*", "up/small"]


def test_tokens_stand_in_one_span_by_opentelemetrys_words_and_no_words_of_anybody(models: Models) -> None:
    models.upstream.replies.append(Reply(words=["canary-answer"]))
    with collecting() as collector, traced(collector):
        models.complete("canary-question")
        chat = ChatIn(messages=[{"role": "user", "content": "hi"}])
        about = About(agent="builder", prompt="builder@1.0.0", turn=1)  # who has a span of its own
        asyncio.run(models.gateway.complete(models.call, chat, about))
    (alone,), (within,) = collector.named("chat small"), collector.named("gateway chat")
    told = values(alone.attributes)
    assert (told["gen_ai.operation.name"], told["gen_ai.provider.name"]) == ("chat", "up")
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (1, 1)
    assert (told["builderos.cost"], told["builderos.label"]) == ((1000 + 2000) / 10**9, "live")
    inner = values(within.attributes)
    assert (inner["gen_ai.response.model"], inner["builderos.prompt.ref"]) == ("small", "builder@1.0.0")
    assert not {"gen_ai.operation.name", "gen_ai.usage.input_tokens"} & set(inner)
    assert "canary" not in repr(collector.spans)
