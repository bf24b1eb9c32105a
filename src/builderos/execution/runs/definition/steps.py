"""Steps of a pipeline file."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, cast

import yaml

from builderos.core.yamlwords import ID

from .reading import Words
from .schema import Approval, Gate, GateKind, Matrix, OnFail, Question, Retries, Step, Value
from .templates import OPEN

KINDS: Final = ("run", "python", "actor", "agent", "uses", "approval", "question")
DEFAULTED: Final = (
    "runtime", "profile", "timeout", "retries", "on_fail", "cache", "deterministic", "network", "secrets", "env",
)  # fmt: skip
STEP_KEYS: Final = (
    "id", "title", "action", *KINDS, "prompt", "tools", "needs", "lane", "gates", "inputs", "outputs", "when",
    "matrix", *DEFAULTED,
)  # fmt: skip
RETRY_KEYS: Final = ("max", "backoff", "factor", "jitter", "longest")
APPROVAL_KEYS: Final = ("message", "from", "count", "expires")
QUESTION_KEYS: Final = ("message", "choices", "expires")
GATE_KEYS: Final = ("eval", "approval", "question")
HUMAN: Final = ("approval", "question")
APPROVERS: Final = ("Owner", "Admin", "Reviewer")
ON_FAIL: Final = ("stop", "continue", "rollback")
MAX_WAIT_S: Final = 400 * 86_400
MAX_STEP_S: Final = 30 * 86_400
MAX_AXES, MAX_AXIS = 8, 256
ACTION: Final = re.compile(r"[a-z][a-z0-9_]{0,40}(?:\.[a-z][a-z0-9_]{0,40}){0,3}\Z")
ENTRY: Final = re.compile(
    r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*){0,9}:[A-Za-z_][A-Za-z0-9_]{0,99}\Z"
)
USES: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}@(?:0|[1-9][0-9]{0,8})(?:\.(?:0|[1-9][0-9]{0,8})){2}\Z")
NAME_AT: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}(?:@[A-Za-z0-9_.+^~-]{1,60})?\Z")
TOOL: Final = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9_.-]{0,99}(?:@[A-Za-z0-9_.+^~-]{1,60})?"
    r"|mcp:[a-z0-9][a-z0-9_-]{0,40}(?:/[A-Za-z0-9_./*-]{1,100})?)\Z"
)
HOST: Final = re.compile(
    r"(?=.{4,253}\Z)(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]\Z"
)
SECRET: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}\Z")
ENV: Final = re.compile(r"(?!BUILDEROS_)[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
GLOB: Final = re.compile(r"(?!/)(?!.*(?:^|/)\.\.(?:/|\Z))[^\x00-\x1f\\]{1,400}\Z")
# Actions of steps of which what they do could not be read.
UNREAD: Final = frozenset({"", "python", "pipeline", "actor", "agent", "approval", "question"})
_IMPLIED: Final[Mapping[str, str]] = {
    "run": "run", "python": "python", "actor": "actor", "agent": "agent", "uses": "pipeline",
    "approval": "approval", "question": "question",
}  # fmt: skip


class StepWords(Words):
    """Reads steps; what a file says under `defaults` stands in for what a step does not say."""

    def __init__(self, gates: Collection[str] | None = None) -> None:
        super().__init__()
        self.numbers: list[int] = []  # where the steps that could be read stand in the file
        self.dropped = False  # whether there are others
        self._gates = gates
        self._defaults: dict[str, Any] = {}

    def defaults(self, node: yaml.Node) -> None:
        """Read `defaults`."""
        self._defaults = self._common(self.mapping(node, "defaults", DEFAULTED), "defaults")

    def step(self, node: yaml.Node, path: str) -> Step | None:
        """One step; None where it has no usable id."""
        keys = self.mapping(node, path, STEP_KEYS, required=("id",))
        id_ = self.id(keys["id"], f"{path}.id") if "id" in keys else None
        kind = self._kind(node, keys, path)
        found = self._own(keys, path) | self._done(keys, path)
        common = self._common(keys, path)
        env = {**self._defaults.get("env", {}), **common.get("env", {})}
        if kind in ("approval", "question", "uses"):
            self._idle(keys, path, kind)
        else:
            found |= self._defaults | common | ({"env": env} if env else {})
        if id_ is None:
            return None
        action = found.pop("action", None) or _IMPLIED.get(kind, "")
        return Step(id_, self.line_of(node), action, column=node.start_mark.column + 1, **found)

    def _kind(self, node: yaml.Node, keys: Mapping[str, yaml.Node], path: str) -> str:
        """What the step does: one of `KINDS`, or a built-in action."""
        kinds = [kind for kind in KINDS if kind in keys]
        if len(kinds) > 1:
            self.fault(
                keys[kinds[1]], path, f"{' and '.join(kinds)} in one step", "Make it several steps.", "kind"
            )
        if not kinds and "action" not in keys:
            hint = f"Add one of {', '.join(KINDS)}, or a built-in action."
            self.fault(node, path, "the step does nothing", hint, "kind")
        return kinds[0] if kinds else "action"

    def _idle(self, keys: Mapping[str, yaml.Node], path: str, kind: str) -> None:
        """Refuse what has no meaning where nothing is executed."""
        for name in (*DEFAULTED, "tools", "prompt", "outputs", "gates"):
            if name in keys and not (name == "on_fail" and kind != "uses"):
                said = f"{name} means nothing in a step with {kind}"
                self.fault(keys[name], f"{path}.{name}", said, "Leave it out.", "kind")

    def _done(self, keys: Mapping[str, yaml.Node], path: str) -> dict[str, Any]:
        """The keys that say what is done."""
        entry = (ENTRY, "an entry point", "Write package.module:function.")
        uses = (USES, "a pipeline with its version", "Write name@1.0.0.")
        named = (NAME_AT, "a name", "Write for example planner or planner@1.0.0.")
        word = (ACTION, "an action", "Write for example test or git.open_pr.")
        readers: dict[str, Callable[[yaml.Node, str], Any]] = {
            "run": self._script,
            "python": lambda n, p: self.fitting(n, p, *entry),
            "actor": lambda n, p: self.fitting(n, p, *named),
            "agent": lambda n, p: self.fitting(n, p, *named),
            "uses": lambda n, p: self.fitting(n, p, *uses),
            "approval": self.approval,
            "question": self.question,
            "action": lambda n, p: self.fitting(n, p, *word),
        }
        return self.read_keys(keys, path, readers)

    def _script(self, node: yaml.Node, path: str) -> str | None:
        found = self.template(node, path)
        if found is not None and not found.strip():
            self.fault(
                node, path, "the script is empty", "Say what is to be run, or leave the step out.", "value"
            )
            return None
        return found

    def _own(self, keys: Mapping[str, yaml.Node], path: str) -> dict[str, Any]:
        """The keys that only a step has."""
        named = (NAME_AT, "a name", "Write for example planner@1.0.0.")
        tool = (TOOL, "a name", "Write for example read_file, or mcp:tracker for a server of tools.")
        glob = (GLOB, "a path pattern", "Write it from the top of the branch: dist/**.")
        readers: dict[str, Callable[[yaml.Node, str], Any]] = {
            "title": self.short,
            "prompt": lambda n, p: self.fitting(n, p, *named),
            "tools": lambda n, p: self.listed(n, p, 100, lambda i, w: self.fitting(i, w, *tool)),
            "needs": lambda n, p: self.listed(n, p, 5_000, self.id),
            "lane": self.id,
            "gates": lambda n, p: self.listed(n, p, 10, self.gate),
            "inputs": self._inputs,
            "outputs": lambda n, p: self.listed(n, p, 100, lambda i, w: self.fitting(i, w, *glob)),
            "when": self.condition,
            "matrix": self.matrix,
        }
        return self.read_keys(keys, path, readers)

    def _common(self, keys: Mapping[str, yaml.Node], path: str) -> dict[str, Any]:
        """The keys that `defaults` has, too."""
        host = (HOST, "a host", "Write api.example.com or *.example.com, without port or scheme.")
        secret = (SECRET, "the name of a secret", "Write its name in the vault.")
        readers: dict[str, Callable[[yaml.Node, str], Any]] = {
            "runtime": self.name_or_hole,
            "profile": self.name_or_hole,
            "timeout": lambda n, p: self.span(n, p, MAX_STEP_S),
            "retries": self.retries,
            "on_fail": lambda n, p: cast("OnFail | None", self.choice(n, p, ON_FAIL)),
            "cache": self.switch,
            "deterministic": self.switch,
            "network": lambda n, p: self.listed(n, p, 100, lambda i, w: self.fitting(i, w, *host)),
            "secrets": lambda n, p: self.listed(n, p, 100, lambda i, w: self.fitting(i, w, *secret)),
            "env": self.env,
        }
        found = self.read_keys(keys, path, readers)
        if "timeout" in found:
            found["timeout_s"] = found.pop("timeout")
        return found

    def name_or_hole(self, node: yaml.Node, path: str) -> str | None:
        """A name, or an expression that gives one when the run is started."""
        if isinstance(node, yaml.ScalarNode) and OPEN in str(node.value):
            return self.template(node, path)
        return self.id(node, path)

    def env(self, node: yaml.Node, path: str) -> dict[str, str]:
        """Variables of a command."""
        found: dict[str, str] = {}
        for name, item in self.free_mapping(node, path, 200).items():
            where = f"{path}.{name}"
            if not ENV.match(name):
                hint = "Use letters, digits and _; names that begin with BUILDEROS_ are the server's."
                self.fault(item, where, "not a usable name of a variable", hint)
            text = self.template(item, where)
            if text is not None:
                found[name] = text
        return found

    def _inputs(self, node: yaml.Node, path: str) -> dict[str, Value]:
        return {
            name: self.value(item, f"{path}.{name}")
            for name, item in self.free_mapping(node, path, 200).items()
        }

    def retries(self, node: yaml.Node, path: str) -> Retries | None:
        """`{max: 2, backoff: 2s}`, or a number alone."""
        if isinstance(node, yaml.ScalarNode):
            most = self.number(node, path, 0, 20)
            return None if most is None else Retries(max=most)
        keys = self.mapping(node, path, RETRY_KEYS, required=("max",))
        readers: dict[str, Callable[[yaml.Node, str], Any]] = {
            "max": lambda n, p: self.number(n, p, 0, 20),
            "backoff": lambda n, p: self.span(n, p, 86_400),
            "factor": lambda n, p: self.real(n, p, 1, 10),
            "jitter": lambda n, p: self.real(n, p, 0, 1),
            "longest": lambda n, p: self.span(n, p, 86_400),
        }
        found = self.read_keys(keys, path, readers)
        for name, field in (("backoff", "backoff_s"), ("longest", "most_s")):
            if name in found:
                found[field] = found.pop(name)
        return Retries(**found)

    def gate(self, node: yaml.Node, path: str) -> Gate | None:
        """`tests_pass`, or one of eval, approval and question with what it needs."""
        if isinstance(node, yaml.ScalarNode):
            found = self.choice(node, path, ("tests_pass",))
            return Gate(cast("GateKind", found)) if found and self._is_known(node, path, found) else None
        keys = self.mapping(node, path, GATE_KEYS)
        if len(keys) != 1:
            self.fault(node, path, "a gate is one thing", f"Give one of tests_pass, {', '.join(GATE_KEYS)}.")
            return None
        if "eval" in keys:
            named = (NAME_AT, "the name of a suite", "Write for example planner-suite.")
            suite = self.fitting(keys["eval"], f"{path}.eval", *named)
            known = self._is_known(node, path, "eval")
            return Gate("eval", suite=suite) if suite and known else None
        if "approval" in keys:
            approval = self.approval(keys["approval"], f"{path}.approval")
            return Gate("approval", approval=approval) if approval else None
        question = self.question(keys["question"], f"{path}.question")
        return Gate("question", question=question) if question else None

    def _is_known(self, node: yaml.Node, path: str, kind: str) -> bool:
        """Whether this server can check it: a gate that nobody can check would fail the step after all its work."""
        if self._gates is None or kind in self._gates:
            return True
        hint = f"Known: {', '.join(sorted({*self._gates, *HUMAN}))}."
        self.fault(node, path, f"this server checks no gate {kind}", hint, "unknown_gate")
        return False

    def approval(self, node: yaml.Node, path: str) -> Approval | None:
        """A message, or `{message, from, count, expires}`."""
        if isinstance(node, yaml.ScalarNode):
            message = self.template(node, path)
            return Approval(message) if message else None
        keys = self.mapping(node, path, APPROVAL_KEYS, required=("message",))
        readers: dict[str, Callable[[yaml.Node, str], Any]] = {
            "message": self.template,
            "from": lambda n, p: self.listed(n, p, 3, lambda i, w: self.choice(i, w, APPROVERS)) or None,
            "count": lambda n, p: self.number(n, p, 1, 10),
            "expires": lambda n, p: self.span(n, p, MAX_WAIT_S),
        }
        found = self.read_keys(keys, path, readers)
        for name, field in (("from", "approvers"), ("expires", "expires_s")):
            if name in found:
                found[field] = found.pop(name)
        return Approval(**found) if "message" in found else None

    def question(self, node: yaml.Node, path: str) -> Question | None:
        """A question, or `{message, choices, expires}`."""
        if isinstance(node, yaml.ScalarNode):
            message = self.template(node, path)
            return Question(message) if message else None
        keys = self.mapping(node, path, QUESTION_KEYS, required=("message",))
        readers: dict[str, Callable[[yaml.Node, str], Any]] = {
            "message": self.template,
            "choices": lambda n, p: self.listed(n, p, 50, lambda i, w: self.short(i, w, 200)),
            "expires": lambda n, p: self.span(n, p, MAX_WAIT_S),
        }
        found = self.read_keys(keys, path, readers)
        if "expires" in found:
            found["expires_s"] = found.pop("expires")
        return Question(**found) if "message" in found else None

    def matrix(self, node: yaml.Node, path: str) -> Matrix | None:
        """Axes with their values; `exclude` and `include` are lists of combinations."""
        keys = self.free_mapping(node, path, MAX_AXES + 2)
        axes: dict[str, tuple[Value, ...] | str] = {}
        others: dict[str, tuple[Mapping[str, Value], ...]] = {}
        for name, item in keys.items():
            where = f"{path}.{name}"
            if name in ("exclude", "include"):
                combos = [self._combo(n, w) for n, w in self.items(item, where, MAX_AXIS)]
                others[name] = tuple(combo for combo in combos if combo)
            elif not ID.match(name):
                self.fault(item, where, "not a name", "Use small letters, digits, - and _.")
            elif isinstance(item, yaml.ScalarNode):
                axes[name] = self.template(item, where) or ""
            else:
                axes[name] = tuple(self._plain(n, w) for n, w in self.items(item, where, MAX_AXIS))
            if name in axes and not axes[name]:
                self.fault(item, where, "an axis needs at least one value", "Write [a, b].")
        self._combinations(node, path, axes, others)
        return Matrix(axes, others.get("exclude", ()), others.get("include", ())) if axes or others else None

    def _combo(self, node: yaml.Node, path: str) -> dict[str, Value]:
        return {
            name: self._plain(item, f"{path}.{name}")
            for name, item in self.free_mapping(node, path, MAX_AXES).items()
        }

    def _plain(self, node: yaml.Node, path: str) -> Value:
        value = self.value(node, path)
        if isinstance(value, dict | list) or (isinstance(value, str) and OPEN in value):
            self.fault(node, path, "expected text, a number, true or false", "Write plain values.")
            return None
        return value

    def _combinations(
        self,
        node: yaml.Node,
        path: str,
        axes: Mapping[str, tuple[Value, ...] | str],
        others: Mapping[str, tuple[Mapping[str, Value], ...]],
    ) -> None:
        if not axes and "include" not in others:
            self.fault(node, path, "a matrix needs an axis", "Write {os: [a, b]}.")
        count = 1
        for values in axes.values():
            count *= len(values) if isinstance(values, tuple) else 1
        if count > MAX_AXIS:
            self.fault(
                node,
                path,
                f"{count} combinations; at most {MAX_AXIS}",
                "Cut it into several steps.",
                "too_many",
            )
        for combo in (c for found in others.values() for c in found):
            for name, value in combo.items():
                if name not in axes or isinstance(value, dict | list):
                    self.fault(
                        node,
                        path,
                        f"{name[:60]!r} is no axis with a plain value",
                        "Name axes of this matrix.",
                    )
