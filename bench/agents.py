"""Calls of an agent beside raw steps of DBOS, in the same process, on the same database, taking turns."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from builderos.core.context import Context
from builderos.core.unit import Call
from builderos.execution.runs.definition import Definition, parse
from builderos.workloads.agents.ports import Models, Turn

from .engine import Yard
from .report import Report
from .timing import interleave, medians

TURNS: Final = 30


class Instant:
    """A model that answers at once: a tool in every turn but the last, as many as its task says."""

    async def complete(
        self, context: Context, call: Call, request: Mapping[str, Any], turn: Turn
    ) -> dict[str, Any]:
        """The reply of this turn."""
        del context, call
        turns = int(request["messages"][1]["content"].rpartition(" ")[2])
        message: dict[str, Any] = {"role": "assistant", "content": "Done."}
        if turn.number < turns:
            function = {"name": "list_files", "arguments": json.dumps({"pattern": f"{turn.number}/**"})}
            tool = {"id": f"c{turn.number}", "type": "function", "function": function}
            message = {"role": "assistant", "content": None, "tool_calls": [tool]}
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        return {
            "model": "instant",
            "choices": [{"index": 0, "message": message}],
            "usage": usage,
            "cost": 0.0,
        }


def calls(report: Report, place: Path, rounds: int) -> None:
    """What a call of a model or a tool costs beside the call itself: policy, journal, ledger, the runtime."""
    from dbos import DBOS

    yard = Yard(place / "agents")
    yard.context.put(Models, Instant())  # type: ignore[type-abstract]

    def raw(steps: int) -> Callable[[int], None]:
        return lambda _: DBOS.start_workflow(yard.raw["steps"], steps).get_result(polling_interval_sec=0.001)

    few, many = _task(2), _task(TURNS)
    yard.run(few)  # the runtime is imported
    try:
        took = medians(
            interleave(
                rounds,
                {
                    "few": lambda _: yard.run(few), "many": lambda _: yard.run(many),
                    "raw few": raw(3), "raw many": raw(2 * TURNS - 1),
                },
            )
        )  # fmt: skip
    finally:
        yard.close()
    more = 2 * (TURNS - 2)
    ours, theirs = (took["many"] - took["few"]) / more, (took["raw many"] - took["raw few"]) / more
    how = f"one more call in a run, {ours:.2f} ms beside {theirs:.2f} ms; medians of {rounds}"
    report.at_most("agent: added time per model or tool call ÷ raw DBOS step", ours / theirs, 2, how)


def _task(turns: int) -> Definition:
    text = f"name: turns{turns}\nsteps:\n  - {{id: work, agent: planner, title: Turns {turns}}}\n"
    return parse(text, name=f"turns{turns}")
