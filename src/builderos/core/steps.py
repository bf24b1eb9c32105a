"""What steps of a run may do: rooms enrol their actions and gates here, by name, from the composition root."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from .context import Context
from .registry import Registry
from .unit import Call, Unit

StepReason = Literal[
    "exit", "timeout", "oom", "disk", "policy", "hash_mismatch", "lost",
    "conflict", "gate", "budget", "problem", "needs", "condition", "stopped",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Work:
    """One attempt of one step. `node` is the step as its run has frozen it (`runs.definition.Node`), filled in.

    Trees are ids of git trees as hex; empty: the tree of the commit the run started from. `call` is on whose behalf.
    """

    call: Call
    run_id: str
    step_id: str
    name: str
    action: str
    attempt: int
    node: Any
    params: Mapping[str, Any]
    input_tree: str
    base_tree: str | None
    base_sha: str | None
    repo_id: str | None
    branch_id: str | None
    repo_name: str
    branch: str
    project_id: str | None
    timeout_s: float
    credits: float | None = None  # what the commands of the whole run may use
    needs: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict[str, Mapping[str, Any]]
    )  # their results
    trees: Mapping[str, str] = field(default_factory=dict[str, str])  # what each of its needs left
    said: Mapping[str, Any] = field(
        default_factory=dict[str, Any]
    )  # what it left when it last waited, and the answer

    @property
    def name_of_attempt(self) -> str:
        """The idempotent name of what this attempt does outside: run.step.attempt."""
        return f"{self.run_id}.{self.name}.{self.attempt}"


@dataclass(frozen=True, slots=True)
class Question:
    """What a person has to answer before the step can go on. Another attempt finds the answer in `Work.said`, beside
    the `result` that came with the question, as `answer` and `answered_by`.
    """

    message: str
    choices: tuple[str, ...] = ()
    expires_s: float = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Done:
    """How an attempt ended. `output_tree` None: as the input was. `retry`: whether another attempt may help.

    `result` is what later steps read; `usage`, `tier` and `sandbox_run_id` tell of a command. `artifacts` are its
    outputs, each with `path` and what its keeper needs; `record` is for whoever records the attempt. With a `question`
    it has not ended: the step waits for the answer.
    """

    status: Literal["succeeded", "failed", "timed_out", "denied", "cached"] = "succeeded"
    reason: StepReason | None = None
    error: str = ""
    output_tree: str | None = None
    result: Mapping[str, Any] = field(default_factory=dict[str, Any])
    exit_code: int | None = None
    usage: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tier: str | None = None
    sandbox_run_id: str | None = None
    commit_sha: str | None = None
    policy_events: tuple[Mapping[str, Any], ...] = ()
    retry: bool = True
    artifacts: tuple[Any, ...] = ()
    record: Any = None
    question: Question | None = None


InUnit: TypeAlias = Callable[[Unit, Work], Done]
"""Done in the transaction that records the step: it happened exactly when the record says so. It must be short, and
raises `Problem` to fail (`approval_required` parks the step)."""

Outside: TypeAlias = Callable[[Context, Work], Awaitable[Done]]
"""Takes its time outside of any transaction and may be done again after a crash: it goes by `name_of_attempt`. Being
cancelled ends all that it started."""


@dataclass(frozen=True, slots=True)
class Action:
    """What one action does: exactly one of the two. `queue`: which slots it needs, none for light work. `lasting`:
    whether its record has to survive a power loss; what only computes is done again.

    `undo` takes back what a succeeded step did, when the run is rolled back. `apart`: what its needs left is not merged
    for it; it works on the tree that the run started from, and finds the others in `Work.trees`.

    `at_once`: it is nothing but a quick function of its inputs, so it is done in the very unit that lets it run,
    without a task of its own.
    """

    in_unit: InUnit | None = None
    outside: Outside | None = None
    queue: str = ""
    lasting: bool = True
    undo: "Undo | None" = None
    apart: bool = False
    at_once: bool = False


class Actions(Registry[Action]):
    """Actions by name."""

    def __init__(self) -> None:
        super().__init__("action")


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a gate says. `wait`: nobody knows yet."""

    verdict: Literal["pass", "fail", "wait"]
    why: str = ""


Gate: TypeAlias = Callable[[Unit, Work, Done, Any], GateResult]
"""Whether a step that succeeded counts as succeeded; the last argument is the gate as the definition has it."""


Undo: TypeAlias = Callable[[Unit, Work, Mapping[str, Any]], None]
"""Takes back what a step did, given its recorded result. Raises `Problem` where that is not possible."""


class Gates(Registry[Gate]):
    """Gates by kind. A kind that is not enrolled fails its step: what nobody can check has not passed."""

    def __init__(self) -> None:
        super().__init__("gate")


class Company(Protocol):
    """What another room does about one attempt of a command, whose folder is laid out."""

    @property
    def prefix(self) -> str:
        """What the shell does first."""
        ...

    def begin(self) -> None:
        """Before the command starts. Blocks. Raises `Problem` to fail the attempt."""
        ...

    async def beside(self) -> Mapping[str, Any]:
        """While it runs. Whoever returns has seen enough: the command is ended, and the step has succeeded with this
        as its result. Raises `Problem` to fail the attempt.
        """
        ...

    async def after(self) -> None:
        """When it has ended, however that came about; its folder is still there."""
        ...


@dataclass(frozen=True, slots=True)
class Companion:
    """Another room's part in the commands of steps that bear its name: `action` beside `run`.

    `ended` is told in the unit that ends such a step, even one that never began: its row, and its status. It returns
    what the ledger is to be told when all else of the unit is done: type, object, payload.
    """

    attend: Callable[[Context, Work, Path], Company]
    ended: Callable[[Unit, Any, str], list[tuple[str, str, dict[str, Any]]]]


class Companions(Registry[Companion]):
    """Companions by the name of the action."""

    def __init__(self) -> None:
        super().__init__("companion")
