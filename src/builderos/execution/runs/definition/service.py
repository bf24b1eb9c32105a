"""Reading a pipeline file: `parse`."""

import contextlib
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, cast

import yaml

from builderos.core.versions import SEMVER
from builderos.core.yamlnodes import Enough, Issue
from builderos.core.yamlwords import refused

from .binding import fault_of, pattern_fault
from .checking import check
from .schema import Concurrency, Definition, Lanes, Parameter, ParameterType, Step, Value
from .steps import NAME_AT, StepWords
from .triggers import TriggerWords

TOP_KEYS: Final = (
    "name", "version", "description", "triggers", "params", "defaults", "timeout", "lanes", "concurrency", "budget",
    "priority", "steps",
)  # fmt: skip
PARAM_KEYS: Final = ("type", "required", "default", "choices", "pattern", "min", "max", "description")
PARAM_TYPES: Final = ("string", "integer", "number", "boolean", "list")
CONCURRENCY_KEYS: Final = ("group", "max", "replace")
BUDGET_KEYS: Final = ("credits",)
LANES: Final = ("fail_fast", "continue")
FIRST_VERSION: Final = "1.0.0"
MAX_PARAMS: Final = 100
MAX_RUN_S: Final = 400 * 86_400
_PARAM: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")


def parse(
    text: str, *, name: str | None = None, actions: Collection[str] | None = None,
    gates: Collection[str] | None = None,
) -> Definition:  # fmt: skip
    """The definition that a file says; `name` is that of its folder, `actions` are what a step may do here, `gates`
    what can be checked here.

    Raises `validation_failed` with `errors`, one for each mistake: `{line, column, where, message, hint, code}`.
    """
    found, issues = read(text, name=name, actions=actions, gates=gates)
    if issues or found is None:
        raise refused(name or "pipeline", issues)
    return found


def read(
    text: str, *, name: str | None = None, actions: Collection[str] | None = None,
    gates: Collection[str] | None = None,
) -> tuple[Definition | None, list[Issue]]:  # fmt: skip
    """The definition, and every mistake in the order of the lines; with any, the definition is None."""
    reader = _PipelineWords(gates)
    found: Definition | None = None
    with contextlib.suppress(Enough):  # a hundred mistakes are told, not more
        found = reader.read(text, name)
        if found is not None:
            check(reader, found, actions)
    issues = sorted(reader.issues, key=lambda issue: (issue.line, issue.column))
    return (None if issues else found), issues


class _PipelineWords(StepWords, TriggerWords):
    """The top of a pipeline file."""

    def read(self, text: str, name: str | None) -> Definition | None:
        root = self.document(text)
        if root is None:
            if not self.issues:
                self.fault(1, "", "the file is empty", "Begin with name: and steps:.")
            return None
        keys = self.mapping(root, "", TOP_KEYS, required=("name", "steps"))
        given = self.id(keys["name"], "name") if "name" in keys else None
        if given is not None and name is not None and given != name:
            said = f"the file lies in the folder of {name[:63]}"
            self.fault(keys["name"], "name", said, f"Write name: {name[:63]}, or move the file.", "name")
        if "defaults" in keys:
            self.defaults(keys["defaults"])
        steps = self._steps(keys["steps"]) if "steps" in keys else ()
        found = self._top(keys)
        return Definition(given or "", found.pop("version", FIRST_VERSION), steps, **found)

    def _steps(self, node: yaml.Node) -> tuple[Step, ...]:
        found: list[Step] = []
        for number, (item, where) in enumerate(self.items(node, "steps", 5_000)):
            step = self.step(item, where)
            if step is None:
                self.dropped = True
                continue
            found.append(step)
            self.numbers.append(number)
        if isinstance(node, yaml.SequenceNode) and not node.value:
            self.fault(node, "steps", "there is no step", "Add {id: hello, run: echo hello}.")
        return tuple(found)

    def _top(self, keys: Mapping[str, yaml.Node]) -> dict[str, Any]:
        version = (SEMVER, "a version", "Write three numbers: 1.0.0.")
        readers: dict[str, Callable[[yaml.Node, str], Any]] = {
            "version": lambda n, p: self.fitting(n, p, *version),
            "description": self.long,
            "triggers": lambda n, p: self.listed(n, p, 50, self.trigger),
            "params": self._params,
            "timeout": lambda n, p: self.span(n, p, MAX_RUN_S),
            "lanes": lambda n, p: cast("Lanes | None", self.choice(n, p, LANES)),
            "concurrency": self._concurrency,
            "budget": self._budget,
            "priority": lambda n, p: self.number(n, p, 1, 9),
        }
        found: dict[str, Any] = {}
        for name, reader in readers.items():
            value = reader(keys[name], name) if name in keys else None
            if value is not None:
                found[{"timeout": "timeout_s", "budget": "budget_credits"}.get(name, name)] = value
        return found

    def _params(self, node: yaml.Node, path: str) -> tuple[Parameter, ...]:
        found: list[Parameter] = []
        for name, item in self.free_mapping(node, path, MAX_PARAMS).items():
            where = f"{path}.{name}"
            if not _PARAM.match(name):
                self.fault(item, where, "not a usable name", "Use letters, digits and _, e.g. base_url.")
            parameter = self._param(name, item, where)
            if parameter is not None:
                found.append(parameter)
        return tuple(found)

    def _param(self, name: str, node: yaml.Node, path: str) -> Parameter | None:
        """`string`, or `{type, required, default, choices, pattern, min, max, description}`."""
        if isinstance(node, yaml.ScalarNode):
            type_ = self.choice(node, path, PARAM_TYPES)
            return Parameter(name, cast("ParameterType", type_), required=True) if type_ else None
        keys = self.mapping(node, path, PARAM_KEYS)
        readers: dict[str, Callable[[yaml.Node, str], Any]] = {
            "type": lambda n, p: self.choice(n, p, PARAM_TYPES),
            "required": self.switch,
            "choices": lambda n, p: self.listed(n, p, 100, self._plain),
            "pattern": self._pattern,
            "min": lambda n, p: self.real(n, p, -1e15, 1e15),
            "max": lambda n, p: self.real(n, p, -1e15, 1e15),
            "description": self.short,
        }
        found = self.read_keys(keys, path, readers)
        for key, field in (("min", "least"), ("max", "most")):
            if key in found:
                found[field] = found.pop(key)
        found.setdefault("required", False)
        parameter = Parameter(name, **found)
        return self._with_default(parameter, keys, path)

    def _with_default(self, parameter: Parameter, keys: Mapping[str, yaml.Node], path: str) -> Parameter:
        bare = Parameter(parameter.name, parameter.type, least=parameter.least, most=parameter.most)
        for choice in parameter.choices:
            why = fault_of(bare, choice)
            if why is not None:
                self.fault(
                    keys["choices"], f"{path}.choices", f"{str(choice)[:60]!r}: {why[0]}", why[1], "param"
                )
        if "default" not in keys:
            return parameter
        default: Value = self.value(keys["default"], f"{path}.default")
        why = fault_of(parameter, default) if default is not None else None
        if why is not None:
            self.fault(keys["default"], f"{path}.default", why[0], why[1], "param")
        if parameter.required:
            said = "a required parameter needs no default"
            self.fault(keys["default"], f"{path}.default", said, "Keep one of required and default.", "param")
        kept: dict[str, Any] = {name: getattr(parameter, name) for name in Parameter.__dataclass_fields__}
        kept["default"] = default
        return Parameter(**kept)

    def _pattern(self, node: yaml.Node, path: str) -> str | None:
        found = self.short(node, path)
        why = pattern_fault(found) if found is not None else None
        if why is not None:
            self.fault(
                node, path, f"not a usable expression: {why}", "Look-around and back references do not exist."
            )
            return None
        return found

    def _concurrency(self, node: yaml.Node, path: str) -> Concurrency | None:
        """A number, or `{group, max, replace}`; without a group the pipeline's own runs are meant."""
        if isinstance(node, yaml.ScalarNode):
            most = self.number(node, path, 1, 1_000)
            return Concurrency("", most) if most is not None else None
        keys = self.mapping(node, path, CONCURRENCY_KEYS)
        group = (NAME_AT, "a name", "Write for example deploys.")
        readers: dict[str, Callable[[yaml.Node, str], Any]] = {
            "group": lambda n, p: self.fitting(n, p, *group),
            "max": lambda n, p: self.number(n, p, 1, 1_000),
            "replace": self.switch,
        }
        found = self.read_keys(keys, path, readers)
        return Concurrency(found.pop("group", ""), **found)

    def _budget(self, node: yaml.Node, path: str) -> float | None:
        keys = self.mapping(node, path, BUDGET_KEYS, required=("credits",))
        return self.real(keys["credits"], f"{path}.credits", 0, 1e9) if "credits" in keys else None
