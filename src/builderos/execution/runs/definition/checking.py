"""What only the whole file shows: names that nobody has, cycles, expressions about what has not run yet."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from builderos.core.yamlnodes import MAX_ISSUES, Enough, Issue, nearest

from .binding import faults_of
from .expressions import read, steps_of, walk
from .schema import PAYLOAD, Definition, Expression, Parameter, Step, Trigger, Value
from .steps import UNREAD, StepWords
from .templates import expressions_in

REGISTERED: Final = ("run", "actor", "agent")  # kinds that a registry of actions may lack
_SAFE_TYPES: Final = ("integer", "number", "boolean")
_SHOWN: Final = 20


class _Checker:
    """Looks also at files with mistakes in single places, so that all are told at once: what hangs on something that
    could not be read is left alone.
    """

    def __init__(self, reader: StepWords, definition: Definition, actions: Collection[str] | None) -> None:
        self._reader = reader
        self._definition = definition
        self._actions = actions
        self._params = {parameter.name: parameter for parameter in definition.params}
        self._places: dict[str, int] = {}
        self._broken = [issue.path for issue in reader.issues]
        self._whole = not reader.dropped
        self._has_needs = not any(".needs" in path for path in self._broken)
        self._has_params = not any(path.startswith("params") for path in self._broken)

    def fault(self, at: Step | Trigger, where: str, message: str, hint: str, code: str) -> None:
        if len(self._reader.issues) >= MAX_ISSUES:
            raise Enough
        self._reader.issues.append(Issue(at.line, where, message, hint, at.column, code))

    def run(self) -> None:
        steps, numbers = self._definition.steps, self._reader.numbers
        sound = True
        for at, step in enumerate(steps):
            if step.id in self._places:
                sound = False
                first = steps[self._places[step.id]].line
                said = f"{step.id} is the id of the step in line {first}, too"
                self.fault(
                    step, f"steps[{numbers[at]}].id", said, "Give each step its own id.", "duplicate_id"
                )
            self._places.setdefault(step.id, at)
        for number, step in zip(numbers, steps, strict=True):
            sound = self._needs(step, f"steps[{number}].needs") and sound
            self._action(step, f"steps[{number}]")
        order = self._order() if sound and self._whole else None
        if order is not None:
            self._expressions(order)
        for number, trigger in enumerate(self._definition.triggers):
            self._trigger(trigger, f"triggers[{number}]")

    def _needs(self, step: Step, where: str) -> bool:
        """Whether all that it needs are other steps of the file."""
        sound = True
        for need in step.needs:
            if need == step.id:
                sound = False
                self.fault(
                    step, where, f"{step.id} needs itself: {step.id} → {step.id}", "Leave it out.", "cycle"
                )
            elif need not in self._places:
                sound = False
                if not self._whole:  # it may be the step whose id could not be read
                    continue
                hint = f"{nearest(need, self._places)}Steps: {', '.join(list(self._places)[:_SHOWN])}."
                self.fault(step, where, f"no step {need!r}", hint, "unknown_need")
        return sound

    def _action(self, step: Step, where: str) -> None:
        actions = self._actions
        if actions is None or step.uses or step.approval or step.question:
            return
        kind = next((name for name in ("run", "python", "actor", "agent") if getattr(step, name)), None)
        if kind is None and step.action in UNREAD:
            return
        wanted = {"python": "run", None: step.action}.get(kind, kind or "")
        if wanted in actions:
            return
        if kind is None:
            hint = f"{nearest(wanted, actions)}Known: {', '.join(sorted(actions)[:_SHOWN])}; or say how: run, python."
            self.fault(step, f"{where}.action", f"no action {wanted!r} here", hint, "unknown_action")
        else:
            hint = "Use run or python until this server has it."
            self.fault(
                step, f"{where}.{kind}", f"this server runs no step with {kind}", hint, "unknown_action"
            )

    def _order(self) -> list[Step] | None:
        """Every step after all that it needs; None where some need each other, which is told."""
        steps = self._definition.steps
        waiting = {step.id: len(step.needs) for step in steps}
        followers: dict[str, list[Step]] = {step.id: [] for step in steps}
        for step in steps:
            for need in step.needs:
                followers[need].append(step)
        ready = [step for step in steps if not step.needs]
        order: list[Step] = []
        while ready:
            order.append(done := ready.pop())
            del waiting[done.id]
            for follower in followers[done.id]:
                waiting[follower.id] -= 1
                if waiting[follower.id] == 0:
                    ready.append(follower)
        if waiting:
            self._cycle(waiting)
            return None
        return order

    def _cycle(self, waiting: Collection[str]) -> None:
        """Name the first cycle, step by step."""
        steps = self._definition.steps
        trail = [next(id_ for id_ in self._places if id_ in waiting)]
        seen = {trail[0]: 0}
        while True:
            step = steps[self._places[trail[-1]]]
            trail.append(next(need for need in step.needs if need in waiting))
            if trail[-1] in seen:
                break
            seen[trail[-1]] = len(trail) - 1
        round_ = trail[seen[trail[-1]] :]
        shown = round_ if len(round_) <= _SHOWN else [*round_[:_SHOWN], "…", round_[-1]]
        at = min((steps[self._places[id_]] for id_ in round_), key=lambda step: step.line)
        said = f"steps wait for each other: {' → '.join(shown)} (each needs the next)"
        self.fault(
            at,
            f"steps[{self._reader.numbers[self._places[at.id]]}].needs",
            said,
            "Leave one of these needs out.",
            "cycle",
        )

    def _expressions(self, order: Sequence[Step]) -> None:
        before = self._ancestors(order)
        for number, step in zip(self._reader.numbers, self._definition.steps, strict=True):
            for where, expression in _expressions_of(step):
                self._expression(step, f"steps[{number}].{where}", where, expression, before)
            for where in ("runtime", "profile"):
                self._known_before(step, number, where, getattr(step, where) or "")
            if step.uses:
                self._known_before(step, number, "inputs", step.inputs)
            if step.matrix is not None:
                self._known_before(step, number, "matrix", list(step.matrix.axes.values()))

    def _known_before(self, step: Step, number: int, where: str, value: Value) -> None:
        """What decides how a run looks cannot wait for results."""
        for expression in expressions_in(value):
            if any(True for _ in steps_of(expression)):
                said, hint = "this must be known when the run is started", "Use params or the matrix."
                self.fault(step, f"steps[{number}].{where}", said, hint, "expression")

    def _ancestors(self, order: Sequence[Step]) -> dict[str, int]:
        """For each step the set of all before it, as bits: 5,000 steps would be millions of names."""
        found: dict[str, int] = {}
        for step in order:
            bits = 0
            for need in step.needs:
                bits |= found[need] | 1 << self._places[need]
            found[step.id] = bits
        return found

    def _expression(
        self, step: Step, where: str, kind: str, expression: Expression, before: Mapping[str, int]
    ) -> None:
        for named in steps_of(expression):
            place = self._places.get(named)
            if place is None:
                hint = f"{nearest(named, self._places)}Steps: {', '.join(list(self._places)[:_SHOWN])}."
                self.fault(step, where, f"no step {named!r}", hint, "unknown_step")
            elif self._has_needs and not before[step.id] >> place & 1:
                hint = f"Add {named} to needs."
                self.fault(step, where, f"{named} need not have ended before {step.id}", hint, "not_before")
        for part in walk(expression):
            if part[0] == "param" and part[1] not in self._params:
                if not self._has_params:
                    continue
                hint = f"{nearest(part[1], self._params)}Declared: {', '.join(self._params) or 'none'}."
                self.fault(step, where, f"no parameter {part[1]!r}", hint, "unknown_param")
            elif part[0] == "matrix" and (
                kind == "matrix" or step.matrix is None or part[1] not in step.matrix.axes
            ):
                if step.matrix is None and any(".matrix" in path for path in self._broken):
                    continue
                hint = f"Axes: {', '.join(step.matrix.axes) if step.matrix else 'none'}."
                self.fault(step, where, f"no axis {part[1]!r}", hint, "unknown_axis")
            elif part[0] == "call" and part[1] in ("success", "failure", "always") and kind != "when":
                self.fault(step, where, f"{part[1]}() belongs into when", "Move it.", "expression")
            elif kind == "run" and not self._is_safe(part, step):
                hint = 'Put it into env, NAME: "${{ … }}", and write "$NAME" in the script.'
                said = "text from outside in a script could be read as commands"
                self.fault(step, where, said, hint, "injection")

    def _is_safe(self, part: Expression, step: Step) -> bool:
        """Whether a value may stand in a script as it is: numbers, and texts that the author wrote."""
        if part[0] in ("status", "reason", "output"):
            return False
        if part[0] == "fact":
            return part[1] == "id"
        if part[0] == "matrix":
            return step.matrix is not None and not isinstance(step.matrix.axes.get(part[1]), str)
        if part[0] == "param" and not self._has_params:
            return True
        parameter = self._params.get(part[1]) if part[0] == "param" else None
        return parameter is None or _is_harmless(parameter)

    def _trigger(self, trigger: Trigger, where: str) -> None:
        if trigger.kind == "after" and trigger.pipeline == self._definition.name:
            hint = "Name another pipeline."
            self.fault(trigger, where, "a pipeline cannot follow itself", hint, "cycle")
        if trigger.kind == "manual" or not self._has_params:
            return
        given: Mapping[str, Value] = trigger.params
        if trigger.kind == "webhook" and PAYLOAD in self._params:  # what the call brings
            given = {PAYLOAD: "{}", **given}
        for name, message, hint in faults_of(self._definition, given):
            self.fault(trigger, f"{where}.{name}", message, f"{hint} (params of the trigger)", "param")


def _is_harmless(parameter: Parameter) -> bool:
    return parameter.type in _SAFE_TYPES or (parameter.type == "string" and bool(parameter.choices))


def _expressions_of(step: Step) -> Iterator[tuple[str, Expression]]:
    """Every expression of a step with the key it stands under."""
    if step.when is not None:
        yield "when", read(step.when)
    asked: list[Any] = [
        step.approval,
        step.question,
        *(g.approval for g in step.gates),
        *(g.question for g in step.gates),
    ]
    texts: list[tuple[str, Value]] = [
        ("run", step.run), ("runtime", step.runtime), ("profile", step.profile), ("env", step.env),
        ("inputs", step.inputs), ("message", [item.message for item in asked if item is not None]),
        ("matrix", [axis for axis in step.matrix.axes.values() if isinstance(axis, str)] if step.matrix else []),
    ]  # fmt: skip
    for where, value in texts:
        for expression in expressions_in(value):
            yield where, expression


def check(reader: StepWords, definition: Definition, actions: Collection[str] | None) -> None:
    """Add what is wrong with the whole to the issues of the reader."""
    _Checker(reader, definition, actions).run()
