"""What every provider of models must do: each adapter runs through the same sentences, against servers not ours."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builderos.core.cleaning import clean_with
from builderos.execution.gateway.counting import usage_in
from builderos.execution.gateway.ports import Ask, ModelProvider, NoAnswer, Unfit
from builderos.execution.gateway.schema import About, Counts
from builderos.execution.gateway.service import Provider
from builderos.integrations.anthropic.service import AnthropicProvider
from builderos.integrations.openai.service import OpenAIProvider
from builderos.integrations.recorded.service import RecordedProvider
from builderos.trust.vault.service import Known
from tests.support.aimock import aimock
from tests.support.upstreams import ModelServer, Reply, model_server

Json = dict[str, Any]
TEXT = "Hello from somebody else, at some length."
ARGUMENTS = {"a": 1, "b": 2}
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 5,
    "total_tokens": 12,
    "input_tokens": 7,
    "output_tokens": 5,
}
FIXTURES = [
    {"match": {"userMessage": "say hello"}, "response": {"content": TEXT, "usage": USAGE}},
    {"match": {"userMessage": "add"},
     "response": {"toolCalls": [{"name": "add", "arguments": json.dumps(ARGUMENTS)}], "usage": USAGE}},
    {"match": {"userMessage": "too much"},
     "response": {"error": {"message": "Slow down", "type": "rate_limit_error"}, "status": 429}},
    {"match": {"userMessage": "too long"},
     "response": {"error": {"message": "prompt is too long: 9 > 8", "type": "invalid_request_error"}, "status": 400}},
    {"match": {"inputText": "vector"}, "response": {"embedding": [0.5, 0.25]}},
]  # fmt: skip
SCRIPT = f"""
version: 1
label: scripted
about: what the others say, too
replies:
  - {{id: hello, expect: {{last_contains: [say hello]}}, reply: {{content: "{TEXT}"}}}}
  - id: add
    expect: {{last_contains: [add], tools: [add]}}
    reply: {{tool_calls: [{{name: add, arguments: {{a: 1, b: 2}}}}]}}
"""
TOOLS = [
    {"type": "function",
     "function": {"name": "add", "description": "Add.", "parameters": {"type": "object", "properties": {"a": {}}}}}
]  # fmt: skip


@dataclass
class Case:
    """One adapter."""

    provider: ModelProvider
    usage: Counts | None = None
    errors: bool = True
    embeds: bool = False


def ask(what: str, *, stream: bool = False, tools: bool = False, **more: Any) -> Ask:
    body: Json = {
        "model": "some-model",
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": what}],
    }
    if tools:
        body["tools"] = TOOLS
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return Ask("chat", body | more, stream, "a-key", About(), 10, 10)


def collect(case: Case, asked: Ask) -> tuple[int, list[bytes], Any]:
    async def run() -> tuple[int, list[bytes], Any]:
        answer = await case.provider.send(asked)
        return answer.status, [chunk async for chunk in answer.chunks()], answer

    return asyncio.run(run())


def events(chunks: list[bytes]) -> list[Json]:
    lines = [line[5:].strip() for line in b"".join(chunks).splitlines() if line.startswith(b"data:")]
    assert lines[-1] == b"[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with aimock(tmp_path_factory.mktemp("aimock"), FIXTURES) as url:
        yield url


@pytest.fixture(scope="module")
def double() -> Iterator[ModelServer]:
    with model_server() as made:
        yield made


def openai_at(url: str) -> OpenAIProvider:
    return OpenAIProvider(Provider(kind="openai", base_url=f"{url}/v1"))


def recorded(folder: Path, mode: Any, source: Callable[[], ModelProvider] | None = None) -> RecordedProvider:
    entry = Provider(kind="recorded", mode=mode, folder=str(folder), source="up" if source else None)
    return RecordedProvider(entry, folder, source)


@pytest.fixture(params=["openai", "anthropic", "replayed", "replayed from streams", "scripted", "double"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    told = Counts(7, 5, 0)
    if request.param == "scripted":
        (tmp_path / "script.yaml").write_text(SCRIPT)
        return Case(recorded(tmp_path, "scripted"), errors=False)
    if request.param == "double":
        upstream: ModelServer = request.getfixturevalue("double")
        return Case(_Primed(upstream), Counts(4, 1, 0), errors=False)
    url: str = request.getfixturevalue("elsewhere")
    if request.param == "anthropic":
        return Case(AnthropicProvider(Provider(kind="anthropic", base_url=url)), told)
    if request.param == "openai":
        return Case(openai_at(url), told, embeds=True)
    recorder = Case(recorded(tmp_path, "record", lambda: openai_at(url)))
    stream = request.param == "replayed from streams"
    for asked in (ask("say hello", stream=stream), ask("add", stream=stream, tools=True)):
        assert collect(recorder, asked)[0] == 200
    return Case(recorded(tmp_path, "replay"), told, errors=False)


class _Primed(OpenAIProvider):
    """The double, told before each request what to say."""

    def __init__(self, upstream: ModelServer) -> None:
        super().__init__(Provider(kind="openai", base_url=upstream.url))
        self._upstream = upstream

    async def send(self, asked: Ask) -> Any:
        call = {
            "id": "call_1",
            "type": "function",
            "function": {"name": "add", "arguments": json.dumps(ARGUMENTS)},
        }
        said = Reply(words=[], tool_calls=[call]) if asked.body.get("tools") else Reply(words=[TEXT])
        self._upstream.replies.append(said)
        return await super().send(asked)


def test_it_chats(case: Case) -> None:
    status, chunks, answer = collect(case, ask("say hello"))
    found = json.loads(b"".join(chunks))
    assert status == 200
    assert answer.label in ("live", "recorded", "scripted")
    assert found["choices"][0]["message"]["content"] == TEXT
    assert found["choices"][0]["finish_reason"] == "stop"
    counts = usage_in(chunks)
    assert counts == case.usage if case.usage else counts is not None


def test_it_asks_for_tools(case: Case) -> None:
    _, chunks, _ = collect(case, ask("add", tools=True))
    choice = json.loads(b"".join(chunks))["choices"][0]
    (call,) = choice["message"]["tool_calls"]
    assert (call["type"], call["function"]["name"]) == ("function", "add")
    assert json.loads(call["function"]["arguments"]) == ARGUMENTS
    assert call["id"]
    assert choice["finish_reason"] == "tool_calls"


def test_it_streams(case: Case) -> None:
    _, chunks, _ = collect(case, ask("say hello", stream=True))
    told = events(chunks)
    texts = [choice["delta"].get("content") or "" for event in told for choice in event["choices"]]
    assert "".join(texts) == TEXT
    assert [c["finish_reason"] for event in told for c in event["choices"] if c["finish_reason"]] == ["stop"]
    assert all(event["object"] == "chat.completion.chunk" for event in told)
    counts = usage_in(chunks)
    assert counts == case.usage if case.usage else counts is not None


def test_it_streams_tool_calls(case: Case) -> None:
    _, chunks, _ = collect(case, ask("add", stream=True, tools=True))
    pieces = [
        c
        for event in events(chunks)
        for choice in event["choices"]
        for c in choice["delta"].get("tool_calls") or []
    ]
    assert {piece["index"] for piece in pieces} == {0}
    assert pieces[0]["id"]
    assert pieces[0]["function"]["name"] == "add"
    assert json.loads("".join(piece["function"].get("arguments") or "" for piece in pieces)) == ARGUMENTS


@pytest.mark.parametrize(("what", "status"), [("too much", 429), ("too long", 400)])
@pytest.mark.parametrize("stream", [True, False])
def test_a_refusal_keeps_its_status_and_its_words(case: Case, what: str, status: int, stream: bool) -> None:
    if not case.errors:  # nobody there refuses: what was not written or recorded is not answered at all
        if not isinstance(case.provider, _Primed):
            with pytest.raises(Unfit):
                collect(case, ask(what, stream=stream))
        return
    found, chunks, _ = collect(case, ask(what, stream=stream))
    assert found == status
    assert json.loads(b"".join(chunks))["error"]["message"]


def test_embeddings_or_a_plain_no(case: Case) -> None:
    asked = Ask("embeddings", {"model": "m", "input": ["vector", "vector 2"]}, False, None, About(), 10, 10)
    if case.embeds:
        _, chunks, _ = collect(case, asked)
        assert [row["embedding"] for row in json.loads(b"".join(chunks))["data"]] == [[0.5, 0.25]] * 2
    elif not isinstance(case.provider, _Primed):
        with pytest.raises(Unfit):
            collect(case, asked)


def test_nobody_there_is_no_answer() -> None:
    for provider in (
        openai_at("http://127.0.0.1:9"), AnthropicProvider(Provider(kind="anthropic", base_url="http://127.0.0.1:9")),
    ):  # fmt: skip
        with pytest.raises(NoAnswer) as away:
            collect(Case(provider), ask("say hello"))
        assert not away.value.sent


def test_a_replay_says_where_a_request_differs(elsewhere: str, tmp_path: Path) -> None:
    recorder = Case(recorded(tmp_path, "record", lambda: openai_at(elsewhere)))
    original = collect(recorder, ask("say hello"))[1]
    replaying = Case(recorded(tmp_path, "replay"))
    assert json.loads(collect(replaying, ask("say hello"))[1][0]) == json.loads(b"".join(original))
    with pytest.raises(
        Unfit, match=r"request\.messages\[1\]\.content: \"say goodbye\" instead of \"say hello\""
    ):
        collect(replaying, ask("say goodbye"))


def test_a_credential_in_a_request_is_in_no_recording_and_the_request_is_found_again(
    elsewhere: str, tmp_path: Path
) -> None:
    key = "ghp_" + "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb3d"
    clean_with(Known().clean)
    try:
        collect(Case(recorded(tmp_path, "record", lambda: openai_at(elsewhere))), ask(f"say hello {key}"))
        replayed = collect(Case(recorded(tmp_path, "replay")), ask(f"say hello {key}"))
    finally:
        clean_with(None)
    assert replayed[0] == 200
    kept = "".join(file.read_text() for file in tmp_path.rglob("*.jsonl"))
    assert kept
    assert key not in kept


def test_a_refusal_is_not_recorded(elsewhere: str, tmp_path: Path) -> None:
    collect(Case(recorded(tmp_path, "record", lambda: openai_at(elsewhere))), ask("too much"))
    with pytest.raises(Unfit, match="none at all"):
        collect(Case(recorded(tmp_path, "replay")), ask("too much"))


def test_a_script_never_pretends(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "version: 1\nlabel: scripted\nabout: x\nreplies:\n"
        "  - {id: one, when: {agent: tester, turn: 2}, expect: {last_role: tool, last_contains: [1 failed]},"
        " reply: {content: mended}}\n"
    )
    scripted = Case(recorded(tmp_path, "scripted"))
    failed = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y"},
        {"role": "tool", "content": "1 failed"},
    ]

    def asked(messages: list[Json], agent: str, turn: int = 0) -> Ask:
        return Ask("chat", {"model": "m", "messages": messages}, False, None, About(agent=agent, turn=turn))

    status, chunks, answer = collect(scripted, asked(failed, "tester"))
    found = json.loads(chunks[0])
    assert (status, answer.label, found["system_fingerprint"]) == (200, "scripted", "scripted")
    with pytest.raises(Unfit, match="'1 failed' is not in the last message, which is '2 passed'"):
        collect(scripted, asked([*failed[:2], {"role": "tool", "content": "2 passed"}], "tester"))
    with pytest.raises(Unfit, match="nothing for turn 3 of tester"):
        collect(scripted, asked(failed, "tester", 3))
    with pytest.raises(Unfit, match="nothing for turn 2 of planner"):
        collect(scripted, asked(failed, "planner"))
