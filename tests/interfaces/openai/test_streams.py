"""Streams that go wrong, and budgets between one request and the next, as an unmodified `openai` client sees them."""

import openai
import pytest

from tests.support.gateways import Models
from tests.support.upstreams import Reply

SAID = [{"role": "user", "content": "hello dear model"}]
EVENTS = {"content-type": "text/event-stream"}


@pytest.fixture
def client(models: Models, address: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/openai/v1", api_key=models.world.owner_token, max_retries=0)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (b"data: {not json\n\n", "no JSON object"),
        (b"data: [1]\n\n", "no JSON object"),
        (b'data: {"error":{"message":"sk-first-key-of-the-test is tired"}}\n\n', "[key removed] is tired"),
    ],
    ids=["no-json", "no-object", "failure"],
)
def test_a_broken_event_becomes_the_clients_own_error_without_the_providers_key(
    client: openai.OpenAI, models: Models, broken: bytes, says: str
) -> None:
    raw = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"ok"}}]}\n\n' + broken
    models.upstream.replies.append(Reply(raw=raw + b"data: [DONE]\n\n", headers=EVENTS))
    chunks = client.chat.completions.create(model="quick", messages=SAID, stream=True)
    assert next(chunks).choices[0].delta.content == "ok"
    with pytest.raises(openai.APIError) as told:
        next(chunks)
    assert says in told.value.message
    assert told.value.message.startswith("up: ")
    assert "'request_id': 'req_" in str(told.value.body)
    (row,) = models.rows()
    assert (row.state, row.estimated) == ("failed", True)


def test_a_refused_key_is_not_repeated_to_whoever_asked(client: openai.OpenAI, models: Models) -> None:
    said = b'{"error":{"message":"bad key sk-first-key-of-the-test, or sk-second-key-of-the-test"}}'
    models.upstream.replies += [Reply(status=401, raw=said), Reply(status=401, raw=said)]
    with pytest.raises(openai.APIError) as told:
        client.chat.completions.create(model="quick", messages=SAID)
    assert "bad key [key removed], or [key removed]" in told.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_a_budget_counts_what_was_used_and_not_what_an_answered_request_had_held(
    client: openai.OpenAI, models: Models, stream: bool
) -> None:
    body = {"subject": "each-key", "period": "month", "meter": "tokens", "amount": 30}
    models.world.ok(models.world.as_owner("POST", "/v1/ai/budgets", json=body))
    for _ in range(5):  # 3 + 3 each; each holds more than a hundred while it lasts
        found = client.chat.completions.create(model="quick", messages=SAID, stream=stream)
        if stream:
            assert list(found)
    with pytest.raises(openai.RateLimitError, match="used up") as told:
        client.chat.completions.create(model="quick", messages=SAID, stream=stream)
    assert (told.value.code, told.value.type) == ("insufficient_quota", "insufficient_quota")
    assert told.value.response.headers["x-should-retry"] == "false"
    (counter,) = models.counters()
    assert (counter.tokens, counter.held_tokens) == (30, 0)
