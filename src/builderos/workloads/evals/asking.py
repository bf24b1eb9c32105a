"""Who answers what a suite asks: models through the gateway, commands in the jail."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from builderos.assets.prompts import service as prompts
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.steps import Work
from builderos.engine.durable import Durable
from builderos.execution.compute import service as compute
from builderos.execution.gateway import service as gateway
from builderos.execution.gateway.schema import About, ChatIn
from builderos.execution.runs import service as runs

from .checks import Answer, Grade
from .opening import Opened
from .running import Cell, grade_of

_FIELDS: Final = (
    "temperature", "top_p", "max_tokens", "seed", "stop", "frequency_penalty", "presence_penalty", "reasoning_effort",
)  # fmt: skip
_COMMAND_S: Final = 300.0
_LOST_AT_MOST: Final = 3
_KEPT: Final = 2_000


class Outside:
    """Asks for one attempt of one step."""

    def __init__(self, context: Context, work: Work, opened: Opened) -> None:
        self._context = context
        self._work = work
        self._opened = opened

    async def ask(
        self, messages: list[dict[str, Any]], cell: Cell, repeat: int
    ) -> tuple[Answer, Mapping[str, Any]]:
        """The answer of a model through the gateway: with its policy, its budgets, its row of usage."""
        version = self._opened.version
        chat = ChatIn(
            messages=messages, model=_model_of(cell.provider.model, version), **self._parameters(cell, repeat)
        )
        about = self._about(version.ref if version is not None else None)
        reply = await gateway.complete(self._context, self._work.call, chat, about)
        usage = {
            "prompt_tokens": reply.usage.prompt_tokens, "completion_tokens": reply.usage.completion_tokens,
            "cost": reply.cost, "label": reply.label, "model": f"{reply.provider}/{reply.model}",
            "usage_id": reply.usage_id,
        }  # fmt: skip
        return Answer(reply.text, cost=reply.cost, finish_reason=reply.choices[0].finish_reason or ""), usage

    async def judge(self, rubric: str, answer: str, model: str | None) -> Grade:
        """What a model says to an answer, by the judge that comes along."""
        judge = self._opened.judge
        text = prompts.render(judge, {"rubric": rubric, "answer": {"text": answer}})
        chat = ChatIn(
            messages=[{"role": "user", "content": text}], model=model or "default",
            temperature=0, max_tokens=int(judge.model["max_tokens"]),
        )  # fmt: skip
        reply = await gateway.complete(self._context, self._work.call, chat, self._about(judge.ref))
        return grade_of(reply.text)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Vectors of the server's model for them."""
        found = await gateway.embed(self._context, self._work.call, texts, about=self._about(None))
        return [list(vector) for vector in found.vectors]

    async def command(self, script: str, answer: str, name: str) -> Grade:
        """Run a script over the tree in the jail; the answer stands in `EVAL_OUTPUT`."""
        short = hashlib.sha256(f"{name}\x00{script}".encode()).hexdigest()[:12]
        durable = self._context.get(Durable)
        for attempt in range(1, _LOST_AT_MOST + 1):
            at = f"{self._work.attempt}{attempt:02}"
            work = dataclasses.replace(self._work, name=f"{self._work.name}-{short}", attempt=int(at))
            folder = runs.workspace.folder_of(self._context, work)
            lay = functools.partial(runs.workspace.lay_out, self._opened.scratch, self._opened.tree, folder)
            await durable.unit(lay)
            said = _Said()
            outcome = await compute.execute(
                self._context, self._order(work, str(folder), script, answer), said
            )
            await durable.unit(functools.partial(runs.workspace.remove, folder))
            if outcome.reason != "lost":
                passed = outcome.reason in (None, "exit") and outcome.exit_code == 0
                ending = (
                    f"exit code {outcome.exit_code}" if outcome.reason in (None, "exit") else outcome.reason
                )
                return Grade(passed, float(passed), "" if passed else f"{ending}: {said.text().strip()}")
        raise Problem("internal", "the command was lost again and again", hint="Look at the server's log.")

    def _order(self, work: Work, folder: str, script: str, answer: str) -> compute.Order:
        node = work.node
        return compute.Order(
            call=work.call, run_id=work.run_id, step_id=work.name, attempt=work.attempt, workspace=folder,
            script=script, runtime=node.runtime or "", profile=node.profile or "", network=(),
            env=dict(runs.FIXED) | {"EVAL_OUTPUT": answer.replace("\x00", "")},
            timeout_s=min(_COMMAND_S, work.timeout_s), repo_id=work.repo_id, branch=work.branch or None,
            logs_ref=f"logs/{work.run_id}/{work.name}.{work.attempt}.log",
        )  # fmt: skip

    def _parameters(self, cell: Cell, repeat: int) -> dict[str, Any]:
        version = self._opened.version
        given = {name: version.model[name] for name in _FIELDS if name in version.model} if version else {}
        given |= cell.provider.parameters
        if "seed" in given and repeat > 1:  # else every repeat would say the same
            given["seed"] = int(given["seed"]) + repeat - 1
        return given

    def _about(self, prompt: str | None) -> About:
        return About(run_id=self._work.run_id, step_id=self._work.step_id, prompt=prompt)


class _Said:
    """The end of what a command prints."""

    def __init__(self) -> None:
        self._tail = b""

    def write(self, data: bytes) -> None:
        """More of it."""
        self._tail = (self._tail + data)[-_KEPT:]

    def text(self) -> str:
        """What is kept of it."""
        return self._tail.decode("utf-8", "replace")


def _model_of(asked: str, version: prompts.PromptVersion | None) -> str:
    """The model that a suite names; `default` is that of the prompt, where it names one."""
    own = str(version.model.get("model", "")) if version is not None else ""
    if asked != "default" or not own:
        return asked
    provider = str(version.model.get("provider", "default")) if version is not None else "default"
    return own if provider == "default" or "/" in own else f"{provider}/{own}"
