"""An unmodified `openai` client against this server."""

import json
import threading
import urllib.request
from typing import Any

import openai
import pytest

from tests.support.gateways import Models
from tests.support.upstreams import Reply

SAID = [{"role": "user", "content": "hello dear model"}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a":1,"b":2}'}}


@pytest.fixture
def client(models: Models, address: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/openai/v1", api_key=models.world.owner_token, max_retries=0)


def test_a_chat_completion(client: openai.OpenAI, models: Models) -> None:
    out = client.chat.completions.create(model="up/small", messages=SAID)
    assert out.choices[0].message.content == "Hello there!"
    assert out.usage is not None
    assert (out.usage.prompt_tokens, out.usage.completion_tokens) == (3, 3)
    (row,) = models.rows()
    assert (row.state, row.input_tokens, row.output_tokens, row.door) == ("done", 3, 3, "http")
    assert models.upstream.headers[0]["authorization"] == "Bearer sk-first-key-of-the-test"


@pytest.mark.parametrize("pieces", [0, 1, 7, 64])
@pytest.mark.parametrize("spaced", [True, False])
def test_a_stream_counts_exactly_wherever_its_bytes_are_cut(
    client: openai.OpenAI, models: Models, pieces: int, spaced: bool
) -> None:
    models.upstream.replies.append(Reply(words=["one ", "two ", "drei €"], pieces=pieces, spaced=spaced))
    stream = client.chat.completions.create(model="quick", messages=SAID, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)  # each chunk has a choice
    assert text == "one two drei €"
    (row,) = models.rows()
    assert (row.state, row.input_tokens, row.output_tokens, row.estimated) == ("done", 3, 3, False)


def test_who_asks_for_the_usage_of_a_stream_gets_it(client: openai.OpenAI, models: Models) -> None:
    stream = client.chat.completions.create(
        model="quick", messages=SAID, stream=True, stream_options={"include_usage": True}
    )
    usages = [chunk.usage for chunk in stream if chunk.usage is not None]
    assert [usage.completion_tokens for usage in usages] == [3]


def test_tool_calls_pass_through(client: openai.OpenAI, models: Models) -> None:
    tools: Any = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    models.upstream.replies += [Reply(words=[], tool_calls=[CALL]), Reply(words=[], tool_calls=[CALL])]
    out = client.chat.completions.create(model="quick", messages=SAID, tools=tools)
    assert out.choices[0].message.tool_calls is not None
    assert out.choices[0].message.tool_calls[0].function.arguments == '{"a":1,"b":2}'
    stream = client.chat.completions.create(model="quick", messages=SAID, tools=tools, stream=True)
    pieces = [
        c.function.arguments
        for chunk in stream
        for c in chunk.choices[0].delta.tool_calls or []
        if c.function
    ]
    assert "".join(pieces) == '{"a":1,"b":2}'
    assert models.upstream.requests[0]["tools"] == tools


def test_embeddings(client: openai.OpenAI, models: Models) -> None:
    out = client.embeddings.create(model="up/any-name", input=["a", "bcd"], encoding_format="float")
    assert [row.embedding for row in out.data] == [[1.0, 0.5], [3.0, 0.5]]
    (row,) = models.rows()
    assert (row.kind, row.model, row.input_tokens, row.output_tokens) == ("embeddings", "any-name", 2, 0)


def test_models_are_listed_by_the_names_that_can_be_asked_for(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["default", "quick", "bare/*", "up/*", "up/small"]
    assert client.models.retrieve("up/small").owned_by == "up"


def test_problems_come_as_the_clients_own_errors(client: openai.OpenAI, models: Models, address: str) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nobody/knows", messages=SAID)
    assert missing.value.code == "model_not_found"
    stranger = openai.OpenAI(base_url=f"{address}/openai/v1", api_key="sk-not-ours", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as unknown:
        stranger.chat.completions.create(model="quick", messages=SAID)
    assert unknown.value.code == "invalid_api_key"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="quick", messages=SAID, max_tokens=-5)
    with pytest.raises(openai.BadRequestError, match="stream must be true or false"):
        client.chat.completions.create(model="quick", messages=SAID, extra_body={"stream": "yes"})
    with pytest.raises(openai.NotFoundError):
        client.files.list()
    with pytest.raises(
        openai.APIStatusError, match="larger than 8388608 bytes"
    ) as large:  # refused by the edge
        client.embeddings.create(model="quick", input="x" * 9_000_000)
    assert (large.value.status_code, large.value.type) == (413, "invalid_request_error")
    page = {"Content-Type": "text/plain"}
    with pytest.raises(openai.APIStatusError, match="must be JSON") as page_like:
        client.chat.completions.create(model="quick", messages=SAID, extra_headers=page)
    assert page_like.value.code == "unsupported_media_type"
    assert models.rows() == []
    assert models.upstream.requests == []


def test_a_client_that_leaves_stops_the_provider_and_its_row_stands(
    client: openai.OpenAI, models: Models
) -> None:
    models.upstream.replies.append(Reply(words=["first "], endless=True))
    stream = client.chat.completions.create(model="quick", messages=SAID, stream=True)
    for number, _ in enumerate(stream):
        if number == 5:
            break
    stream.close()
    assert models.upstream.aborted.acquire(timeout=120)
    (row,) = models.rows()
    assert row.state == "aborted"
    assert row.estimated
    assert row.output_tokens >= 5
    assert row.input_tokens >= 3


def test_a_client_that_leaves_before_the_answer_stops_the_provider(
    client: openai.OpenAI, models: Models
) -> None:
    held = threading.Event()
    models.upstream.replies.append(Reply(pause=held, endless=True))
    stream = client.chat.completions.create(model="quick", messages=SAID, stream=True)
    stream.close()
    held.set()
    assert models.upstream.aborted.acquire(timeout=120)
    assert [row.state for row in models.rows()] == ["aborted"]


def test_responses_plain_and_streamed(client: openai.OpenAI, models: Models) -> None:
    out = client.responses.create(model="quick", input="hello")
    assert out.output_text == "Hello there!"
    with client.responses.create(model="quick", input="hello", stream=True) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
    assert text == "Hello there!"
    rows = models.rows()
    assert [
        (row.kind, row.state, row.input_tokens, row.cached_tokens, row.output_tokens) for row in rows
    ] == [("responses", "done", 4, 1, 3)] * 2


def test_a_follower_of_our_own_stream_that_leaves_stops_the_provider(models: Models, address: str) -> None:
    models.upstream.replies.append(Reply(words=["first "], endless=True))
    body = json.dumps({"model": "quick", "messages": SAID}).encode()
    headers = {"Authorization": f"Bearer {models.world.owner_token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/v1/ai/stream", data=body, headers=headers)
    with urllib.request.urlopen(request) as reply:
        assert b"first" in b"".join(reply.readline() for _ in range(5))
    assert models.upstream.aborted.acquire(timeout=120)
    (row,) = models.rows()
    assert (row.state, row.estimated) == ("aborted", True)
