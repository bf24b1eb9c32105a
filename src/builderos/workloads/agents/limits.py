"""How far a session may go, where it turns in circles, and that it has to wait."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from builderos.core.steps import Question

from .definition import Limits

_LOOKED_BACK: Final = 60


class Reached(Exception):
    """A limit of the agent; the step ends. `limit` names it."""

    def __init__(self, limit: str, detail: str) -> None:
        super().__init__(detail)
        self.limit = limit


class Parked(Exception):
    """The step has to wait: for a yes (`approval_id`), or for the answer to a question."""

    def __init__(
        self, why: str, *, approval_id: str = "", question: Question | None = None, about: str = ""
    ) -> None:
        super().__init__(why)
        self.approval_id = approval_id
        self.question = question
        self.about = about


class Meter:
    """Counts the calls of a session, those from its journal included."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.model_calls = 0
        self.tool_calls = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost = 0.0
        self._recent: deque[tuple[str, str]] = deque(maxlen=_LOOKED_BACK)

    @property
    def tokens(self) -> int:
        """In both directions."""
        return self.input_tokens + self.output_tokens

    def check(self, run: tuple[int, float]) -> None:
        """Before a model is asked; `run`: tokens and cost of the whole run. Raises `Reached`."""
        limits = self._limits
        for name, used, most in (
            ("model_calls", self.model_calls, limits.model_calls),
            ("tokens", self.tokens, limits.tokens),
            ("cost", self.cost, limits.cost),
            ("run_tokens", run[0], limits.run_tokens),
            ("run_cost", run[1], limits.run_cost),
        ):
            if used >= most:
                raise Reached(name, f"the agent has used its {most:g} {name.replace('_', ' ')}")

    def check_tool(self, digest: str, tree: str) -> None:
        """Before a tool is used. Raises `Reached`."""
        limits = self._limits
        if self.tool_calls >= limits.tool_calls:
            raise Reached("tool_calls", f"the agent has made its {limits.tool_calls} tool calls")
        if self._recent.count((digest, tree)) >= limits.repeats:
            raise Reached(
                "repeats", f"the agent repeats itself: the same tool call {limits.repeats + 1} times"
            )

    def count_tool(self, digest: str, tree: str) -> None:
        """A tool was used; `tree` is the workspace behind it."""
        self.tool_calls += 1
        self._recent.append((digest, tree))

    def count_model(self, reply: Mapping[str, Any]) -> None:
        """A model has answered. Raises `Reached` where it says the same again and again."""
        usage: Mapping[str, Any] = reply.get("usage") or {}
        self.model_calls += 1
        self.input_tokens += int(usage.get("prompt_tokens") or 0)
        self.output_tokens += int(usage.get("completion_tokens") or 0)
        self.cost += float(reply.get("cost") or 0.0)

    def as_json(self) -> dict[str, Any]:
        """What was used, by the names of a step's usage."""
        return {
            "model_calls": self.model_calls, "tool_calls": self.tool_calls, "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens, "cost": round(self.cost, 6),
        }  # fmt: skip
