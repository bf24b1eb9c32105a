"""An unmodified `openai` client asks Anthropic's models, and scripts, by the Responses interface."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.support.gateways import FILE, Models
from tests.support.messages import MessageServer, message_server, text, use

ADD: Any = {"type": "function", "name": "add", "description": "Add.", "strict": True,
            "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}  # fmt: skip
SCRIPT = """
version: 1
label: scripted
about: a call and what follows
replies:
  - {id: call, when: {turn: 1}, expect: {tools: [add]}, reply: {tool_calls: [{name: add, arguments: {a: 1}}]}}
  - {id: said, when: {turn: 2}, expect: {last_role: tool, last_contains: ["3"]}, reply: {content: It is 3.}}
"""


@pytest.fixture(scope="module")
def theirs() -> Iterator[MessageServer]:
    with message_server() as made:
        yield made


@pytest.fixture
def client(models: Models, address: str, theirs: MessageServer, tmp_path: Path) -> openai.OpenAI:
    (tmp_path / "s.yaml").write_text(SCRIPT)
    more = f"""  claude: {{kind: anthropic, base_url: "{theirs.url}", retries: 0, models: {{"*": {{max_output: 77}}}}}}
  tape: {{kind: recorded, mode: scripted, folder: "{tmp_path}"}}
fallbacks:"""
    models.file(FILE.replace("fallbacks:", more.replace("{", "{{").replace("}", "}}")))
    theirs.requests.clear()
    theirs.answers.clear()
    theirs.stop_reason = ""
    return openai.OpenAI(base_url=f"{address}/openai/v1", api_key=models.world.owner_token, max_retries=0)


def _events(client: openai.OpenAI, **asked: Any) -> tuple[list[Any], Any]:
    with client.responses.stream(**asked) as stream:
        return list(stream), stream.get_final_response()


@pytest.mark.parametrize("stream", [False, True])
def test_text_goes_out_and_comes_back(
    client: openai.OpenAI, models: Models, theirs: MessageServer, stream: bool
) -> None:
    theirs.answers.append([{"type": "thinking", "thinking": "hm hm", "signature": "s"}, text("Hello there!")])
    asked: Any = {
        "model": "claude/small", "instructions": "Be short.", "temperature": 0.5, "metadata": {"team": "a"},
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
        "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low"}, "store": False,
    }  # fmt: skip
    out = _events(client, **asked)[1] if stream else client.responses.create(**asked)
    assert (out.status, out.output_text, [item.type for item in out.output]) == (
        "completed", "Hello there!", ["message"],
    )  # fmt: skip
    assert (out.usage.input_tokens, out.usage.input_tokens_details.cached_tokens) == (25, 5)
    assert (out.usage.output_tokens, out.usage.total_tokens) == (9, 34)
    assert (out.instructions, out.temperature, out.metadata, out.store) == (
        "Be short.", 0.5, {"team": "a"}, False,
    )  # fmt: skip
    (request,) = theirs.requests
    assert (request["system"], request["max_tokens"], request["temperature"]) == ("Be short.", 77, 0.5)
    assert request["messages"] == [{"role": "user", "content": [text("Hi")]}]
    (row,) = models.rows()
    assert (row.kind, row.state, row.estimated) == ("responses", "done", False)
    assert (row.input_tokens, row.cached_tokens, row.output_tokens) == (25, 5, 9)


def test_the_events_of_a_stream_come_in_openais_order(client: openai.OpenAI, theirs: MessageServer) -> None:
    theirs.answers.append([text("Let us see."), use("add", a=1), use("look")])
    events, final = _events(client, model="claude/small", input="Add 1", tools=[ADD])
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type.removeprefix("response.") for event in events] == [
        "created", "in_progress",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    assert [event.snapshot for event in events if event.type == "response.output_text.delta"][
        -1
    ] == "Let us see."
    assert [(item.type, getattr(item, "name", "")) for item in final.output] == [
        ("message", ""), ("function_call", "add"), ("function_call", "look"),
    ]  # fmt: skip
    assert json.loads(final.output[1].arguments) == {"a": 1}


@pytest.mark.parametrize("model", ["claude/small", "tape/any"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_goes_back(
    client: openai.OpenAI, theirs: MessageServer, model: str, stream: bool
) -> None:
    theirs.answers += [[text("Let us see."), use("add", a=1)], [text("It is 3.")]]
    said: list[Any] = [{"role": "user", "content": "Add"}]
    for _ in range(2):
        asked: Any = {"model": model, "input": said, "tools": [ADD], "parallel_tool_calls": False}
        out = _events(client, **asked)[1] if stream else client.responses.create(**asked)
        said += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in out.output]
        said += [
            {"type": "function_call_output", "call_id": item.call_id, "output": "3"}
            for item in out.output if item.type == "function_call"
        ]  # fmt: skip
    assert out.output_text == "It is 3."
    if model == "claude/small":
        tool = {"name": "add", "description": "Add.", "input_schema": ADD["parameters"]}
        assert theirs.requests[1]["tools"] == [tool]
        assert theirs.requests[1]["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
        assert theirs.requests[1]["messages"][1:] == [
            {"role": "assistant", "content": [text("Let us see."), use("add", a=1)]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_add", "content": "3"}]},
        ]  # fmt: skip


class Sum(BaseModel):
    """A structured answer."""

    total: int


def test_a_structured_answer_is_parsed_by_the_client(client: openai.OpenAI, theirs: MessageServer) -> None:
    theirs.answers.append([text('{"total": 3}')])
    out = client.responses.parse(model="claude/small", input="1 + 2", text_format=Sum)
    assert out.output_parsed == Sum(total=3)
    assert theirs.requests[0]["output_config"]["format"]["schema"]["required"] == ["total"]


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_was_cut_short_says_so(
    client: openai.OpenAI, models: Models, theirs: MessageServer, stream: bool
) -> None:
    theirs.stop_reason = "max_tokens"
    asked: Any = {"model": "claude/small", "input": "Hi", "max_output_tokens": 5}
    out = (
        list(client.responses.create(**asked, stream=True))[-1].response
        if stream
        else client.responses.create(**asked)
    )
    assert (out.status, out.incomplete_details.reason, out.output_text) == (
        "incomplete", "max_output_tokens", "Hello there!",
    )  # fmt: skip
    assert theirs.requests[0]["max_tokens"] == 5
    assert [row.state for row in models.rows()] == ["done"]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "previous": ({"previous_response_id": "resp_1"}, "knows no previous_response_id"),
    "background": ({"background": True}, "knows no background"),
    "store": ({"store": True}, "keeps no responses"),
    "truncation": ({"truncation": "auto"}, "truncation can only be disabled"),
    "include": ({"include": ["message.output_text.logprobs"]}, "message.output_text.logprobs"),
    "tool": ({"tools": [{"type": "web_search"}]}, "runs no 'web_search'"),
    "choice": ({"tools": [ADD], "tool_choice": {"type": "web_search"}}, "tool_choice 'web_search'"),
    "file": (
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        r"input\[0\]: .*'input_file'",
    ),
    "reference": ({"input": [{"type": "item_reference", "id": "i"}]}, "'item_reference'"),
    "role": ({"input": [{"role": "king", "content": "x"}]}, "no role 'king'"),
    "call": ({"input": [{"type": "function_call", "name": "x", "arguments": "{}"}]}, "call_id is missing"),
    "items": ({"input": ["x"]}, r"input\[0\] is no item"),
    "object": ({"text": {"format": {"type": "json_object"}}}, "json_object"),
    "future": ({"extra_body": {"teleport": {"to": "x"}}}, "knows no teleport"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_translated_is_refused_by_name(
    client: openai.OpenAI, models: Models, theirs: MessageServer, name: str
) -> None:
    more, says = REFUSED[name]
    asked: Any = {"model": "claude/small", "input": "Hi", "stream": name == "store", **more}
    with pytest.raises(openai.BadRequestError, match=says) as told:
        client.responses.create(**asked)
    assert told.value.type == "invalid_request_error"
    assert theirs.requests == []
    assert [(row.state, row.cost) for row in models.rows()] == [("failed", 0)]


def test_a_stream_that_breaks_off_or_fails_is_the_clients_own_error(
    client: openai.OpenAI, models: Models, theirs: MessageServer
) -> None:
    begun = b'data: {"type":"message_start","message":{"id":"m","model":"x","usage":{}}}\n\n'
    busy = b'data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    for raw, says in (
        (begun, "ended in the middle"),
        (begun + busy, "Overloaded"),
        (begun + b"data: {\n\n", "no event"),
    ):
        theirs.answers.append(raw)
        with pytest.raises(openai.APIError, match=says):
            _events(client, model="claude/small", input="Hi")
    assert {(row.state, row.estimated) for row in models.rows()} == {("failed", True)}
    theirs.answers.append(
        (400, {"error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}})
    )
    with pytest.raises(openai.BadRequestError) as long:
        client.responses.create(model="claude/small", input="Hi")
    assert long.value.code == "context_length_exceeded"


MALFORMED: tuple[dict[str, Any], ...] = (
    {"messages": [1]}, {"messages": "hello"}, {"messages": [{"role": "assistant", "tool_calls": [3]}]},
    {"tools": [1]}, {"tools": "x"}, {"tools": [{"type": "function", "function": "x"}]},
    {"tools": [{"type": "function", "function": {"name": "a"}}], "tool_choice": [1]},
    {"response_format": {"type": "json_schema", "json_schema": "x"}},
    {"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": "x"}]}]},
)  # fmt: skip


def test_what_is_no_chat_is_refused_and_costs_nothing(
    client: openai.OpenAI, models: Models, theirs: MessageServer
) -> None:
    for body in MALFORMED:
        with pytest.raises(openai.BadRequestError, match="claude/small: "):
            client.post(
                "/chat/completions", cast_to=object,
                body={"model": "claude/small", "messages": [{"role": "user", "content": "x"}], **body},
            )  # fmt: skip
    assert theirs.requests == []
    assert {(row.state, row.cost) for row in models.rows()} == {("failed", 0)}
