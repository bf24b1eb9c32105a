"""The words of the gateway: OpenAI's chat completions as typed models, and what comes back."""

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from builderos.core.schema import In, Line

Kind = Literal["chat", "embeddings", "responses"]
Label = Literal["live", "recorded", "scripted"]
State = Literal["reserved", "done", "failed", "aborted", "expired"]
DEFAULT: Final = "default"
NANO: Final = 10**9
"""Money is counted in billionths of the currency of the server's prices."""
Json: TypeAlias = dict[str, Any]


class _Open(BaseModel):
    """OpenAI's words change often: members that we do not know pass through."""

    model_config = ConfigDict(extra="allow")


class ChatIn(_Open):
    """A request for a completion, as OpenAI has it. `model`: `provider/model`, an alias, or `default`."""

    messages: list[Json]
    model: str = DEFAULT
    tools: list[Json] | None = None
    tool_choice: str | Json | None = None
    parallel_tool_calls: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    response_format: Json | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None

    def as_body(self) -> Json:
        """The JSON that is sent: what is not given is left out."""
        return {key: value for key, value in self.model_dump().items() if value is not None}


class Function(_Open):
    """What a tool call calls; `arguments` is JSON as the model wrote it, which may be none."""

    name: str
    arguments: str = ""


class ToolCall(_Open):
    """A call that the model asks for."""

    id: str = ""
    type: str = "function"
    function: Function


class Message(_Open):
    """What the model said."""

    role: str = "assistant"
    content: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(_Open):
    """One of `n` answers."""

    index: int = 0
    message: Message
    finish_reason: str | None = None


class Usage(_Open):
    """Tokens as the provider counted them; `estimated` where it did not say."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False


class ChatOut(_Open):
    """A completion. `provider` and `model` answered; `usage_id` names the row in the ledger of usage, `cost` is in the
    currency of the server's prices; `label` says whether a live model, a recording or a script answered.
    """

    id: str = ""
    created: int = 0
    model: str = ""
    choices: list[Choice]
    usage: Usage = Usage()
    provider: str = ""
    usage_id: str = ""
    cost: float = 0.0
    label: Label = "live"

    @property
    def text(self) -> str:
        """The first answer's text."""
        return self.choices[0].message.content or ""


@dataclass(frozen=True, slots=True)
class Event:
    """A part of a completion that is streamed.

    - `token`: `{"text"}`. `tool_call`: `{"id", "name", "arguments"}`, whole. `usage`: the tokens and the cost.
    - `done`: `{"finish_reason", "model", "provider", "label", "usage_id"}`. `error`: a problem; nothing follows it.
    """

    type: Literal["token", "tool_call", "usage", "done", "error"]
    data: Json

    def frame(self) -> bytes:
        """As Server-Sent Events have it."""
        text = json.dumps(self.data, ensure_ascii=False, separators=(",", ":"))
        return f"event: {self.type}\ndata: {text}\n\n".encode()


@dataclass(frozen=True, slots=True)
class About:
    """For what a model is asked, beside who asks: for budgets, for the ledger of usage, for scripted answers.

    `prompt` is `name@version#sha256`. `turn` counts the requests of one agent in one step from 1.
    """

    run_id: str | None = None
    step_id: str | None = None
    agent: str | None = None
    prompt: str | None = None
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens of one request. `estimated`: the provider did not say; then they are the most that it can have been."""

    input: int = 0
    output: int = 0
    cached: int = 0
    estimated: bool = False


class StreamIn(In):
    """What to answer, by which model, with which tools it may ask for."""

    messages: Annotated[
        list[Json],
        Field(description="The conversation so far, in OpenAI's form.", min_length=1, max_length=5000),
    ]
    model: Annotated[
        Line, Field(description="provider/model, an alias of the server's file, or default.", min_length=1)
    ] = DEFAULT
    tools: Annotated[
        list[Json], Field(description="Tools that the model may ask for, in OpenAI's form.", max_length=500)
    ] = []
    max_tokens: Annotated[
        int | None, Field(description="The most tokens of the answer.", ge=1, le=10_000_000)
    ] = None
    temperature: Annotated[float | None, Field(description="How freely it chooses.", ge=0, le=2)] = None
    run_id: Annotated[Line | None, Field(description="The run that this belongs to.")] = None

    def as_body(self) -> Json:
        """OpenAI's request."""
        body = self.model_dump(exclude={"run_id"}, exclude_none=True)
        if not self.tools:
            del body["tools"]
        return body


@dataclass(frozen=True, slots=True)
class Vectors:
    """Embeddings in the order of their texts."""

    vectors: list[list[float]]
    model: str
    provider: str
    usage: Counts
    usage_id: str
    cost: float
    extra: Json = field(default_factory=dict[str, Any])
