"""A pipeline as data: what a file says (`Definition`), and what a run carries out (`Node`).

Everything is frozen and becomes plain JSON with `as_json`, so that a run can keep exactly what it was started with.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Final, Literal, TypeAlias, cast

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
PAYLOAD: Final = "payload"  # the parameter in which a webhook's call arrives, as text
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
    column: int = 1


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most `max` runs of one `group` at a time; with `replace` a newer one cancels those that still wait."""

    group: str
    max: int = 1
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every combination of the axes' values, without those that an entry of `exclude` fits, and those of `include`
    at the end. An axis may be one text: a parameter that is a list.
    """

    axes: Mapping[str, tuple[Value, ...] | str]
    exclude: tuple[Mapping[str, Value], ...] = ()
    include: tuple[Mapping[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One step as written. Exactly one of run, python, actor, agent, uses, approval, question says what is done;
    without any, the `action` is a built-in one. `parallel`: so many combinations of its matrix run at once, at most.
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
    matrix: Matrix | None = None
    parallel: int | None = None
    prompt: str | None = None
    title: str = ""
    column: int = 1


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
        """Plain JSON without defaults and places; equal files in other spellings (order of keys, comments, spaces,
        defaults written out) give the same, and so they will when later versions know more keys.
        """
        return _plain(self)

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
    parallel: int | None = None
    prompt: str | None = None
    title: str = ""
    replay: Mapping[str, Value] | None = (
        None  # of a run that replays another one: what it is to do with this node
    )

    def as_json(self) -> dict[str, Any]:
        """Plain JSON without defaults, from which `node_of` makes the same node again."""
        return _plain(self)


def node_of(data: Mapping[str, Any]) -> Node:
    """The node that `as_json` wrote."""
    made = _asked(data)
    for key, read in _READ.items():
        if key in data:
            made[key] = read(data[key])
    if "gates" in data:
        made["gates"] = tuple(_gate_of(gate) for gate in data["gates"])
    return Node(**made)


_TUPLES: Final = frozenset({"needs", "network", "secrets", "tools", "outputs", "approvers", "choices"})
_PLACES: Final = frozenset({"line", "column"})


def _asked(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if key in _TUPLES else value for key, value in data.items()}


def _approval_of(data: Mapping[str, Any]) -> Approval:
    return Approval(**_asked(data))


def _question_of(data: Mapping[str, Any]) -> Question:
    return Question(**_asked(data))


def _retries_of(data: Mapping[str, Any]) -> Retries:
    return Retries(**data)


_READ: Final[Mapping[str, Callable[[Mapping[str, Any]], object]]] = {
    "retries": _retries_of,
    "approval": _approval_of,
    "question": _question_of,
}


def _gate_of(data: Mapping[str, Any]) -> Gate:
    found = dict(data)
    for key, read in (("approval", _approval_of), ("question", _question_of)):
        if key in found:
            found[key] = read(found[key])
    return Gate(**found)


def _plain(value: Any) -> Any:
    """As JSON would have it: tuples as lists; of a record the fields that differ from their defaults."""
    if isinstance(value, str | int | float | None):
        return value
    if is_dataclass(value):
        return {
            name: _plain(found)
            for name, default in _defaults(type(value)).items()
            if name not in _PLACES and (found := getattr(value, name)) != default
        }
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value)
        return {str(key): _plain(item) for key, item in items.items()}
    return [_plain(item) for item in cast("tuple[Any, ...]", value)]


@functools.cache
def _defaults(kind: type[Any]) -> dict[str, Any]:
    """Field → default; a field without one has a value that nothing equals."""
    return {
        f.name: f.default_factory()
        if f.default_factory is not MISSING
        else (_NONE if f.default is MISSING else f.default)
        for f in fields(kind)
    }


_NONE: Final = object()
