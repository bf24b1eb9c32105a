"""What is told of a call: in the log of its attempt, among the events of its step, in what was used."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from builderos.core import tracing
from builderos.core.steps import Work

from .definition import Agent
from .journal import Entry


def told_by_tool(entry: Entry) -> str:
    """The line of the log for the use of a tool."""
    said = str((entry.response or {}).get("text", ""))
    return f"[{entry.name}] {_short(entry.request)} -> {entry.status}: {said[:300]}\n"


def _short(args: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={str(value)[:80]!r}" for name, value in args.items())[:400]


def model_of(reply: Mapping[str, Any]) -> str:
    """The model that answered, with whoever served it: `provider/model`; empty where the reply names none."""
    model, provider = str(reply.get("model") or ""), str(reply.get("provider") or "")
    return f"{provider}/{model}" if model and provider and not model.startswith(f"{provider}/") else model


def credited(reply: Mapping[str, Any], otherwise: str) -> str:
    """The model as commits and receipts name it; what was not live says so: `provider/model, scripted`."""
    label = reply.get("label")
    name = model_of(reply) or otherwise
    return name if label in (None, "", "live") else f"{name}, {label}"


def told_by_model(turn: int, reply: Mapping[str, Any]) -> str:
    """The line of the log for a turn of the model."""
    choices: Sequence[Mapping[str, Any]] = reply.get("choices") or ()
    message: Mapping[str, Any] = (choices[0].get("message") if choices else None) or {}
    calls: Sequence[Mapping[str, Any]] = message.get("tool_calls") or ()
    functions: list[Mapping[str, Any]] = [call.get("function") or {} for call in calls]
    asked = [str(function.get("name")) for function in functions]
    label = f" ({reply['label']})" if reply.get("label") not in (None, "live") else ""
    said = str(message.get("content") or "")[:4_000]
    return f"[turn {turn}: {model_of(reply)}{label}] {said}{' -> ' + ', '.join(asked) if asked else ''}\n"


def usage_of(reply: Mapping[str, Any]) -> dict[str, Any]:
    """Tokens and cost of a reply."""
    told: Mapping[str, Any] = reply.get("usage") or {}
    return {
        "input_tokens": int(told.get("prompt_tokens") or 0),
        "output_tokens": int(told.get("completion_tokens") or 0),
        "cost": float(reply.get("cost") or 0.0),
    }


def tools_of(reply: Mapping[str, Any]) -> int:
    """How many tools a reply asks for."""
    choices: Sequence[Mapping[str, Any]] = reply.get("choices") or ()
    message: Mapping[str, Any] = (choices[0].get("message") if choices else None) or {}
    wanted: Sequence[Any] = message.get("tool_calls") or ()
    return len(wanted)


def event_of(entry: Entry) -> list[dict[str, Any]]:
    """What the policy said, as the step's events have it."""
    verdict = "deny" if entry.status == "refused" else "allow"
    rules: Sequence[str] = entry.decision.get("rules", ())
    what = f"{entry.name} {entry.request.get('path', '')}".strip()
    return [{"rule": rules[0], "decision": verdict, "what": what}] if rules else []


def span_of(
    work: Work, agent: Agent, prompt: str, operation: str, what: str, more: Mapping[str, tracing.Value]
) -> AbstractContextManager[tracing.Span]:
    """A span by OpenTelemetry's conventions for generative AI: names and figures, nobody's words."""
    told: dict[str, tracing.Value] = {
        "gen_ai.operation.name": operation, "gen_ai.provider.name": "builderos", "gen_ai.agent.name": agent.name,
        "builderos.prompt.ref": prompt, "builderos.run.id": work.run_id, "builderos.step.id": work.step_id,
    }  # fmt: skip
    return tracing.span(f"{operation} {what}", {**told, **more} if tracing.on() else {})


def end_chat(span: tracing.Span, reply: Mapping[str, Any], usage: Mapping[str, Any]) -> None:
    """Who answered a request, and what it took."""
    span.set("gen_ai.provider.name", str(reply.get("provider") or "builderos"))
    span.set("gen_ai.response.model", str(reply.get("model", "")))
    span.set("gen_ai.usage.input_tokens", usage["input_tokens"])
    span.set("gen_ai.usage.output_tokens", usage["output_tokens"])
    span.set("builderos.cost", usage["cost"])
    span.set("builderos.label", str(reply.get("label") or "live"))
