"""The loop of an agent on the runtime: its model and its tools are the journal's. Imported when an agent works."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_ai import Agent as Runtime
from pydantic_ai import ModelRetry, RunContext, StructuredDict, ToolOutput
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import AbstractToolset
from pydantic_ai.toolsets.abstract import ToolsetTool
from pydantic_ai.usage import UsageLimits

from builderos.core.jsonschemas import first_fault
from builderos.core.problems import Problem

from . import journal
from .calls import Calls
from .definition import Agent
from .gate import MCP
from .tools import Tool, unknown
from .transcript import messages_of, request_of, response_of

_ARGUMENTS: Final[Any] = TypeAdapter(dict[str, Any]).validator
ANSWER: Final = "final_answer"


class JournaledModel(Model[Any]):
    """A model whose replies come out of the journal, or through it from the gateway."""

    def __init__(self, calls: Calls, instructions: str) -> None:
        super().__init__()
        self._calls = calls
        self._instructions = instructions

    @property
    def model_name(self) -> str:
        """As the agent names it."""
        return self._calls.agent.model

    @property
    def system(self) -> str:
        """Who answers."""
        return "builderos"

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """One turn. `messages` come prepared: done twice, the runtime takes its own words for a user's, and says so."""
        _, params = self.prepare_request(model_settings, model_request_parameters)

        def make() -> Mapping[str, Any]:
            told = messages_of(messages, self._instructions, self._calls.heard)
            return request_of(told, params, options_of(self._calls.agent))

        reply = await self._calls.ask_model(make)
        response = response_of(reply, self._calls.turns)
        for name, said, problem in misfits(self._calls, response):
            await self._calls.refuse(name, said, problem)  # the runtime tells the model, or gives up
        return response


def options_of(agent: Agent) -> dict[str, Any]:
    """What the agent's file says of how its model answers."""
    options: dict[str, Any] = {"model": agent.model, "max_tokens": agent.limits.reply_tokens}
    if agent.temperature is not None:
        options["temperature"] = agent.temperature
    if agent.seed is not None:
        options["seed"] = agent.seed
    return options


class JournaledTools(AbstractToolset[Any]):
    """All tools of an agent: whatever the model calls goes through `Calls.use_tool`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    @property
    def id(self) -> str | None:
        """One toolset."""
        return "builderos"

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """The tools, in the order of the agent's file."""
        del ctx
        return {tool.word: self._tool(tool) for tool in self._calls.tools.values() if not tool.hidden}

    def _tool(self, tool: Tool) -> ToolsetTool[Any]:
        definition = ToolDefinition(
            name=tool.word,
            description=tool.summary,
            parameters_json_schema=dict(tool.schema),
            sequential=True,
        )  # one after the other: the journal numbers them
        return ToolsetTool(
            toolset=self, tool_def=definition, max_retries=self._calls.agent.limits.mistakes,
            args_validator=_ARGUMENTS,
        )  # fmt: skip

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """What the tool says. Arguments that do not fit are told to the model, a limited number of times."""
        del ctx, tool
        meant = _offered(self._calls)[name]
        if fault := fault_of(meant, tool_args):
            raise ModelRetry(fault)
        return await self._calls.use_tool(meant.name, tool_args)


def _offered(calls: Calls) -> dict[str, Tool]:
    """The tools that the model was told of, by the word for them."""
    return {tool.word: tool for tool in calls.tools.values() if not tool.hidden}


def misfits(calls: Calls, response: ModelResponse) -> Iterator[tuple[str, str, Problem]]:
    """The calls of a reply that cannot be made: name, arguments as they came, and why."""
    offered = _offered(calls)
    for part in response.parts:
        if not isinstance(part, ToolCallPart) or (
            part.tool_name == ANSWER and calls.agent.output is not None
        ):
            continue
        said = part.args if isinstance(part.args, str) else part.args_as_json_str()
        tool = offered.get(part.tool_name)
        if tool is None:
            yield part.tool_name, said, unknown(part.tool_name)
        elif fault := _fault_in(tool, said):
            yield (
                tool.name,
                said,
                Problem("validation_failed", fault, hint="Send arguments that fit the tool."),
            )


def _fault_in(tool: Tool, said: str) -> str:
    try:
        args: dict[str, Any] = _ARGUMENTS.validate_json(said)
    except ValidationError:
        return "the arguments are no JSON object"
    return fault_of(tool, args)


def fault_of(tool: Tool, args: Mapping[str, Any]) -> str:
    """Why arguments do not fit a tool; empty where they do."""
    for name, value in args.items():
        if journal.storable({name: value}) != {name: value}:  # a path would be another one without it
            return f"{name[:100]!r} holds NUL, or half a character, which no path and no text has here"
    try:
        journal.digest_of(tool.name, args)
    except ValueError:
        return "arguments: a number is none of JSON's"
    if tool.kind == MCP:
        # Schemas of strangers are for the strangers to apply: one that never comes to an end would hold up everybody.
        return ""
    fault = first_fault(tool.schema, dict(args))
    return "" if fault is None else f"{fault[0] or 'arguments'}: {fault[1]}"


def _fitting(schema: Mapping[str, Any], answer: Any) -> Any:
    """The answer, if it is what the agent's file promises: the runtime looks only whether it is an object."""
    if fault := first_fault(schema, answer):
        raise ModelRetry(f"{fault[0] or 'answer'}: {fault[1]}")
    return answer


async def work(calls: Calls, instructions: str, task: str) -> Any:
    """The answer of the agent: text, or what its schema says. Raises `limits.Reached`, `Parked`, what the gateway
    raises, and the runtime's `UnexpectedModelBehavior` where nothing usable comes.
    """
    agent = calls.agent
    wanted: Any = str
    if agent.output is not None:
        schema = StructuredDict(
            dict(agent.output), name=ANSWER, description="Your answer. It ends your work."
        )
        wanted = ToolOutput(schema, name=ANSWER, max_retries=agent.limits.mistakes)
    runtime: Runtime[Any, Any] = Runtime(
        JournaledModel(calls, instructions), output_type=wanted, toolsets=[JournaledTools(calls)],
        retries=agent.limits.mistakes, end_strategy="early",
    )  # fmt: skip
    if agent.output is not None:
        schema = agent.output

        @runtime.output_validator
        def _(answer: Any) -> Any:
            return _fitting(schema, answer)

    result = await runtime.run(task, usage_limits=UsageLimits(request_limit=None))
    return result.output
