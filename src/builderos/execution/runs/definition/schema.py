"""A pipeline as data: what a file says (`Definition`), and what a run carries out (`Node`).

Everything is frozen and becomes plain JSON with `as_json`, so that a run can keep exactly what it was started with.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeAlias

Expression: TypeAlias = list[Any]
"""A parsed expression as JSON: `["==", ["status", ["test"]], ["value", "failed"]]`; see `expressions.py`."""
Value: TypeAlias = Any
"""A JSON value; an object `{"${{": [parts…]}` is a text whose parts are known only while the run goes on."""
OnFail: TypeAlias = Literal["stop", "continue", "rollback"]
Lanes: TypeAlias = Literal["fail_fast", "continue"]
GateKind: TypeAlias = Literal["tests_pass", "eval", "approval", "question"]
TriggerKind: TypeAlias = Literal["manual", "schedule", "webhook", "push", "after"]
ParameterType: TypeAlias = Literal["string", "integer", "number", "boolean", "list"]

MAX_NODES: Final = 5_000
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Retries:
    """Attempts after the first one: the n-th waits `backoff_s · factor^(n-1)`, at most `most_s`, plus or minus
    `jitter` of it (a share).
    """

    max: int = 0
    backoff_s: float = 1.0
    factor: float = 2.0
    jitter: float = 0.1
    most_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Approval:
    """People who must say yes: `approvers` are roles; nobody's answer within `expires_s` is no answer, not a no."""

    message: Value
    approvers: tuple[str, ...] = ("Owner", "Admin", "Reviewer")
    count: int = 1
    expires_s: float = DAY_S


@dataclass(frozen=True, slots=True)
class Question:
    """Something a person is asked; without `choices` any text answers it. The answer is the step's output `answer`."""

    message: Value
    choices: tuple[str, ...] = ()
    expires_s: float = DAY_S


@dataclass(frozen=True, slots=True)
class Gate:
    """What must hold before a step counts as succeeded; `suite` for an eval, the rest as of the kind."""

    kind: GateKind
    suite: str | None = None
    approval: Approval | None = None
    question: Question | None = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a run is started with. `choices` of text are safe to stand in a command."""

    name: str
    type: ParameterType = "string"
    required: bool = False
    default: Value = None
    choices: tuple[Any, ...] = ()
    pattern: str | None = None
    least: float | None = None
    most: float | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Trigger:
    """What starts a run. `schedule`: five fields of cron in UTC; `webhook`: the event's name; `push`: patterns of
    branches and paths; `after`: another pipeline and the ends of it that count.
    """

    kind: TriggerKind
    schedule: str | None = None
    event: str | None = None
    branches: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    pipeline: str | None = None
    statuses: tuple[str, ...] = ()
    params: Mapping[str, Value] = field(default_factory=dict[str, Value])
    line: int = 1


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most `max` runs of one `group` at a time; with `replace` a newer one cancels those that still wait."""

    group: str
    max: int = 1
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One step as written. Exactly one of run, python, actor, agent, uses, approval, question says what is done;
    without any, the `action` is a built-in one.
    """

    id: str
    line: int
    action: str
    run: str | None = None
    python: str | None = None
    actor: str | None = None
    agent: str | None = None
    uses: str | None = None
    approval: Approval | None = None
    question: Question | None = None
    needs: tuple[str, ...] = ()
    lane: str = ""
    on_fail: OnFail = "stop"
    retries: Retries = Retries()
    timeout_s: float | None = None
    gates: tuple[Gate, ...] = ()
    cache: bool = False
    deterministic: bool = True
    runtime: str | None = None
    profile: str | None = None
    network: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    inputs: Mapping[str, Value] = field(default_factory=dict[str, Value])
    outputs: tuple[str, ...] = ()
    when: str | None = None
    matrix: Mapping[str, tuple[Value, ...]] = field(default_factory=dict[str, tuple[Value, ...]])
    max_parallel: int | None = None
    prompt: str | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class Definition:
    """A pipeline file without mistakes."""

    name: str
    version: str
    steps: tuple[Step, ...]
    description: str = ""
    triggers: tuple[Trigger, ...] = (Trigger("manual"),)
    params: tuple[Parameter, ...] = ()
    timeout_s: float | None = None
    lanes: Lanes = "fail_fast"
    concurrency: Concurrency | None = None
    budget_credits: float | None = None
    priority: int = 5

    @property
    def ref(self) -> str:
        """`name@version`, as runs name it."""
        return f"{self.name}@{self.version}"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; equal files in other spellings (order of keys, comments, spaces) give the same."""
        found = _plain(asdict(self))
        for item in (*found["steps"], *found["triggers"]):
            del item["line"]
        return found

    @property
    def digest(self) -> str:
        """`sha256:…` of the canonical JSON."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Node:
    """One thing that a run does: a step, one combination of its matrix, or a step of a sub-pipeline.

    `id` fits into file names and has no dot. `step` is the step of the file it comes from (`outer/inner` in a
    sub-pipeline), `needs` are ids of nodes. `when` is a parsed condition over results of other nodes; None: when
    nothing that it needs has failed. Parts of `env`, `inputs` and messages that only results can fill are filled by
    `fill`.
    """

    id: str
    step: str
    action: str
    run: str | None = None
    actor: str | None = None
    agent: str | None = None
    uses: str | None = None
    approval: Approval | None = None
    question: Question | None = None
    needs: tuple[str, ...] = ()
    lane: str = ""
    on_fail: OnFail = "stop"
    retries: Retries = Retries()
    timeout_s: float | None = None
    gates: tuple[Gate, ...] = ()
    cache: bool = False
    deterministic: bool = True
    runtime: str | None = None
    profile: str | None = None
    network: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    env: Mapping[str, Value] = field(default_factory=dict[str, Value])
    inputs: Mapping[str, Value] = field(default_factory=dict[str, Value])
    outputs: tuple[str, ...] = ()
    when: Expression | None = None
    matrix: Mapping[str, Value] = field(default_factory=dict[str, Value])
    max_parallel: int | None = None
    prompt: str | None = None
    title: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, from which `node_of` makes the same node again."""
        return _plain(asdict(self))


def node_of(data: Mapping[str, Any]) -> Node:
    """The node that `as_json` wrote."""
    made = {key: tuple(value) if key in _TUPLES else value for key, value in data.items()}
    made["retries"] = Retries(**data["retries"])
    made["approval"] = _approval_of(data["approval"])
    made["question"] = _question_of(data["question"])
    made["gates"] = tuple(
        Gate(g["kind"], g["suite"], _approval_of(g["approval"]), _question_of(g["question"]))
        for g in data["gates"]
    )
    return Node(**made)


_TUPLES: Final = frozenset({"needs", "network", "secrets", "tools", "outputs"})


def _approval_of(data: Mapping[str, Any] | None) -> Approval | None:
    return Approval(**{**data, "approvers": tuple(data["approvers"])}) if data else None


def _question_of(data: Mapping[str, Any] | None) -> Question | None:
    return Question(**{**data, "choices": tuple(data["choices"])}) if data else None


def _plain(value: Any) -> Any:
    """Tuples become lists, as JSON would make them."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value
