"""From a definition and its params to the nodes of a run: matrix, sub-pipelines, filled texts."""

import itertools
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from builderos.core.problems import Problem
from builderos.core.yamlwords import ID

from . import expressions
from .binding import bind
from .expressions import asks_for_status, read
from .schema import MAX_NODES, Definition, Expression, Gate, Matrix, Node, Step, Value
from .steps import MAX_AXIS
from .templates import as_text, settle

Resolve = Callable[[str, str], Definition]
"""Name and version of a sub-pipeline to its definition; raises `Problem` where there is none."""
MAX_DEPTH: Final = 8
MAX_CHARS: Final = 16 * 1024 * 1024
_MAX_ID: Final = 100
_UNFIT: Final = re.compile(r"[^a-z0-9_]")
_CALL: Final = (
    "import importlib, json, os, sys\n"
    "sys.path.insert(0, os.getcwd())\n"
    "given = json.loads(os.environ.get('BUILDEROS_INPUTS') or '{{}}')\n"
    "found = getattr(importlib.import_module({module!r}), {function!r})(**given)\n"
    "if found is not None and 'BUILDEROS_OUTPUT' in os.environ:\n"
    "    with open(os.environ['BUILDEROS_OUTPUT'], 'a', encoding='utf-8') as out:\n"
    "        json.dump(found if isinstance(found, dict) else {{'value': found}}, out)\n"
    "        out.write('\\n')\n"
)  # fmt: skip


def expand(
    definition: Definition,
    params: Mapping[str, Value],
    *,
    facts: Mapping[str, Value] | None = None,
    resolve: Resolve | None = None,
) -> list[Node]:
    """The nodes of a run, in the order of the file: equal input, equal list.

    `facts` are what `run.id`, `run.branch` … mean. Raises `validation_failed` for params that do not fit, for
    sub-pipelines that contain themselves, and for more than 5,000 nodes.
    """
    outer = _Frame(definition, bind(definition, params), (), "", (), None, "", (definition.ref,))
    return _Unfolding(dict(facts or {}), resolve).unfold(outer)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where unfolding is: a pipeline with its params, and what its steps inherit from the step that uses it."""

    definition: Definition
    params: Mapping[str, Value]
    trail: tuple[str, ...]  # ids of the steps around it
    prefix: str
    needs: tuple[str, ...]
    when: Expression | None
    lane: str
    refs: tuple[str, ...]  # pipelines around it, itself last


@dataclass(frozen=True, slots=True)
class _Place:
    """The nodes of one step: `ends` are those that whatever needs the step waits for."""

    nodes: tuple[Node, ...]
    ends: tuple[str, ...]

    @property
    def ids(self) -> list[str]:
        return [node.id for node in self.nodes]


class _Unfolding:
    def __init__(self, facts: Mapping[str, Value], resolve: Resolve | None) -> None:
        self._facts = facts
        self._resolve = resolve
        self._taken: set[str] = set()
        self._chars = 0

    def unfold(self, frame: _Frame) -> list[Node]:
        """The nodes of one pipeline, in the order of its file."""
        ids = {
            step.id: [(self._name(frame, step, combo), combo) for combo in self._combinations(step, frame)]
            for step in frame.definition.steps
        }
        places: dict[str, _Place] = {}
        for step in _in_order(frame.definition):
            found = [self._nodes(step, frame, id_, combo, places) for id_, combo in ids[step.id]]
            nodes = tuple(itertools.chain.from_iterable(found))
            needed = {need for node in nodes for need in node.needs} if step.uses else set[str]()
            places[step.id] = _Place(nodes, tuple(node.id for node in nodes if node.id not in needed))
        return [node for step in frame.definition.steps for node in places[step.id].nodes]

    def _nodes(
        self, step: Step, frame: _Frame, id_: str, combo: Mapping[str, Value], places: Mapping[str, _Place]
    ) -> list[Node]:
        """What one combination of a step becomes."""
        names = _Names(frame, combo, places, self._facts)
        needs = tuple(dict.fromkeys(end for need in step.needs for end in places[need].ends)) or frame.needs
        when = _condition(step, frame, needs, names)
        if not step.uses:
            return [self._node(step, frame, id_, combo, names, needs, when)]
        name, _, version = step.uses.partition("@")
        definition = self._sub(step, frame, name, version)
        given = settle(step.inputs, names.of)
        inner = _Frame(
            definition, bind(definition, given), (*frame.trail, step.id), f"{id_}--", needs, when,
            step.lane or frame.lane, (*frame.refs, step.uses),
        )  # fmt: skip
        return self.unfold(inner)

    def _sub(self, step: Step, frame: _Frame, name: str, version: str) -> Definition:
        uses = f"{name}@{version}"
        if uses in frame.refs:
            trail = " → ".join((*frame.refs[frame.refs.index(uses) :], uses))
            raise _refused(
                step, f"pipelines use each other: {trail}", "Leave one of these uses out.", "cycle"
            )
        if len(frame.refs) > MAX_DEPTH:
            raise _refused(step, f"more than {MAX_DEPTH} pipelines in each other", "Use fewer.", "too_deep")
        if self._resolve is None:
            raise _refused(step, f"no pipeline {uses} is known here", "Publish it first.", "unknown_pipeline")
        return self._resolve(name, version)

    def _node(
        self,
        step: Step,
        frame: _Frame,
        id_: str,
        combo: Mapping[str, Value],
        names: "_Names",
        needs: tuple[str, ...],
        when: Expression | None,
    ) -> Node:
        env = {name: _env(settle(text, names.of)) for name, text in step.env.items()}
        inputs = {name: settle(value, names.of) for name, value in step.inputs.items()}
        run = _call(step.python) if step.python else step.run and as_text(settle(step.run, names.of))
        self._chars += len(run or "") + sum(len(str(value)) for value in (*env.values(), *inputs.values()))
        if self._chars > MAX_CHARS:
            said = f"the steps hold more than {MAX_CHARS} characters together"
            raise _refused(step, said, "Put scripts into files of the branch.", "too_large")
        return Node(
            id=id_, step="/".join((*frame.trail, step.id)), action=step.action, run=run, actor=step.actor,
            agent=step.agent, uses=frame.refs[-1] if frame.trail else None,
            approval=_with_message(step.approval, names), question=_with_message(step.question, names),
            needs=needs, lane=step.lane or frame.lane, on_fail=step.on_fail, retries=step.retries,
            timeout_s=step.timeout_s, gates=tuple(_gate(gate, names) for gate in step.gates), cache=step.cache,
            deterministic=step.deterministic, runtime=_named(step, "runtime", names),
            profile=_named(step, "profile", names), network=step.network, secrets=step.secrets, tools=step.tools,
            env=env, inputs=inputs, outputs=step.outputs, when=when, matrix=combo,
            parallel=step.parallel, prompt=step.prompt, title=step.title,
        )  # fmt: skip

    def _combinations(self, step: Step, frame: _Frame) -> list[Mapping[str, Value]]:
        if step.matrix is None:
            return [{}]
        names = _Names(frame, {}, {}, self._facts)
        found = _combinations(step, step.matrix, names)
        if not 0 < len(found) <= MAX_AXIS:
            raise _refused(
                step, f"the matrix has {len(found)} combinations", f"Leave 1 to {MAX_AXIS}.", "too_many"
            )
        return found

    def _name(self, frame: _Frame, step: Step, combo: Mapping[str, Value]) -> str:
        """Fits into file names, says which one it is, and is no other's."""
        words = "-".join(_UNFIT.sub("_", as_text(value).lower()) for value in combo.values())
        whole = f"{frame.prefix}{step.id}{'-' + words if words else ''}"[:_MAX_ID]
        found, number = whole, 1
        while found in self._taken:
            number += 1
            found = f"{whole[: _MAX_ID - 6]}-{number}"
        self._taken.add(found)
        if len(self._taken) > MAX_NODES:
            said = f"more than {MAX_NODES} steps when unfolded"
            raise _refused(step, said, "Cut it into several pipelines.", "too_many")
        return found


@dataclass(frozen=True, slots=True)
class _Names:
    """What the names of an expression mean in one node."""

    frame: _Frame
    combo: Mapping[str, Value]
    places: Mapping[str, _Place]
    facts: Mapping[str, Value]

    def of(self, expression: Expression) -> Expression:
        """The expression with params, matrix and facts as values and steps as nodes."""
        return expressions.replace(expression, self._leaf)

    def _leaf(self, leaf: Expression) -> Expression:
        kind, name = leaf[0], leaf[1]
        if kind in ("status", "reason"):
            return [kind, self.places[name[0]].ids]
        if kind == "output":
            return [kind, list(self.places[name[0]].ends), leaf[2]]
        tables = {"param": self.frame.params, "matrix": self.combo, "fact": self.facts}
        return ["value", tables[kind].get(name)] if kind in tables else leaf


def _condition(step: Step, frame: _Frame, needs: tuple[str, ...], names: _Names) -> Expression | None:
    """The step's own condition under that of the step that uses its pipeline.

    Who does not say what shall happen after a failure wants that nothing it needs has failed.
    """
    inherited = not step.needs and frame.when is not None
    own = names.of(read(step.when)) if step.when is not None else None
    success: Expression = ["success", list(needs)]
    if own is not None and not asks_for_status(own) and not inherited:
        own = ["and", success, own]
    if own is not None:
        own = expressions.about(own, needs)
    if frame.when is None:
        return own
    return frame.when if inherited and own is None else ["and", frame.when, own or success]


def _in_order(definition: Definition) -> Iterator[Step]:
    """Every step after all that it needs."""
    steps = {step.id: step for step in definition.steps}
    done: set[str] = set()
    for first in definition.steps:
        stack = [first]
        while stack:
            if stack[-1].id in done:  # several need it
                stack.pop()
                continue
            missing = [steps[need] for need in stack[-1].needs if need not in done]
            if missing:
                stack.extend(missing)
                continue
            step = stack.pop()
            done.add(step.id)
            yield step


def _combinations(step: Step, matrix: Matrix, names: _Names) -> list[Mapping[str, Value]]:
    axes: dict[str, list[Value]] = {}
    count = 1
    for name, values in matrix.axes.items():
        found: list[Value] = list_of(settle(values, names.of)) if isinstance(values, str) else list(values)
        if isinstance(values, str) and not found:
            raise _refused(
                step, f"the axis {name} is no list with items", "Give it a parameter of type list.", "param"
            )
        axes[name] = found
        count *= len(found)
    if count > MAX_AXIS:
        raise _refused(step, f"the matrix has {count} combinations", f"At most {MAX_AXIS}.", "too_many")
    combos = (
        [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())] if axes else []
    )
    kept = [combo for combo in combos if not any(_fits(combo, rule) for rule in matrix.exclude)]
    return [*kept, *(dict(combo) for combo in matrix.include if combo not in kept)]


def list_of(value: Value) -> list[Value]:
    """The items of a list; nothing of anything else."""
    return cast("list[Value]", value) if isinstance(value, list) else []


def _fits(combo: Mapping[str, Value], rule: Mapping[str, Value]) -> bool:
    return all(combo.get(name) == value for name, value in rule.items())


def _named(step: Step, key: str, names: _Names) -> str | None:
    text = getattr(step, key)
    found = settle(text, names.of) if text is not None else None
    if found is not None and (not isinstance(found, str) or not ID.match(found)):
        raise _refused(
            step, f"{as_text(found)[:60]!r} is no {key}", f"Name a {key} of the workbench.", "param"
        )
    return found


def _with_message(asked: Any, names: _Names) -> Any:
    return replace(asked, message=settle(asked.message, names.of)) if asked is not None else None


def _gate(gate: Gate, names: _Names) -> Gate:
    return replace(
        gate, approval=_with_message(gate.approval, names), question=_with_message(gate.question, names)
    )


def _env(value: Value) -> Value:
    return cast("Value", value) if isinstance(value, dict) else as_text(value)


def _call(entry: str) -> str:
    module, _, function = entry.partition(":")
    return f"exec python3 -c {shlex.quote(_CALL.format(module=module, function=function))}"


def _refused(step: Step, message: str, hint: str, code: str) -> Problem:
    error = {
        "line": step.line, "column": step.column, "where": f"steps.{step.id}", "message": message, "hint": hint,
        "code": code,
    }  # fmt: skip
    return Problem("validation_failed", f"step {step.id}: {message}", hint=hint, errors=[error])
