"""Agent files: who works, with which prompt and model, which tools it has and how far it may go.

An agent file only narrows: what it allows still has to be allowed to whoever starts the run.
"""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, cast

import yaml

from builderos.core.jsonschemas import schema_fault
from builderos.core.versions import is_version
from builderos.core.yamlnodes import Enough, Issue
from builderos.core.yamlwords import Words, refused

KEYS: Final = (
    "name", "version", "role", "description", "prompt_ref", "model", "toolset", "policy", "memory_profile", "limits",
    "output", "verdict", "harness",
)  # fmt: skip
_REQUIRED: Final = ("name", "role", "prompt_ref", "toolset")
_REF: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}(?:@[A-Za-z0-9_.+^~-]{1,60})?\Z")
_TOOL: Final = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9_.*-]{0,99}|mcp:(?:\*|[a-z0-9][a-z0-9_-]{0,40})(?:/[A-Za-z0-9_./*-]{1,100})?)\Z"
)
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:@+-]{0,199}\Z")
_GLOB: Final = re.compile(r"(?!/)(?!.*(?:^|/)\.\.(?:/|\Z))[^\x00-\x1f\\]{1,256}\Z")
# The published agents that speak ACP, as their packages name the command: to be had in the sandbox.
ADAPTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "claude-code": ("claude-agent-acp",),
    "codex": ("codex-acp",),
}
# How they are told to take their credential from the environment, where they ask for that.
LOGINS: Final[Mapping[str, str]] = {"codex": "api-key"}
_MAX_ARGUMENTS: Final = 50
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}\Z")
_SECRET: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}\Z")
_TIERS: Final = ("short_term", "episodic", "semantic", "vector")
_MAX_TOOLS: Final = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one session of an agent, and all agents of its run together, may use. Times in seconds, cost in the
    unit of the provider file's prices."""

    model_calls: int = 40
    tool_calls: int = 200
    tokens: int = 1_000_000
    cost: float = 20.0
    seconds: int = 3_600
    reply_tokens: int = 8_192
    repeats: int = 6
    mistakes: int = 3
    run_tokens: int = 10_000_000
    run_cost: float = 200.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Patterns for tools and for paths that tools change. `ask`: a person has to say yes first."""

    allow_paths: tuple[str, ...] = ("**",)
    deny_paths: tuple[str, ...] = ()
    deny_tools: tuple[str, ...] = ()
    ask_paths: tuple[str, ...] = ()
    ask_tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """What an agent is reminded of when it begins: `recall` facts of these tiers at most; whether it may add some."""

    recall: int = 0
    tiers: tuple[str, ...] = ("semantic",)
    remember: bool = False


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as its file says. `output`: JSON schema of its answer; `verdict`: the member of the answer that decides
    whether its step passes, and the values with which it does; `harness`: the command of a foreign agent, with the
    names of secrets that it finds in its environment, what else stands there, and the method by which it logs in."""

    name: str
    role: str
    prompt_ref: str
    toolset: tuple[str, ...]
    version: str = "1.0.0"
    description: str = ""
    model: str = "default"
    temperature: float | None = None
    seed: int | None = None
    policy: Bounds = Bounds()
    memory_profile: Memory = Memory()
    limits: Limits = Limits()
    output: Mapping[str, Any] | None = None
    verdict: str | None = None
    passes: tuple[str, ...] = ()
    harness: tuple[str, ...] = ()
    harness_secrets: tuple[str, ...] = ()
    harness_env: Mapping[str, str] = field(default_factory=dict[str, str])
    harness_login: str = ""

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, from which `agent_of` makes the same again."""
        return asdict(self)


def agent_of(data: Mapping[str, Any]) -> Agent:
    """The agent that `as_json` wrote."""
    made = dict(data)
    made["toolset"], made["passes"] = tuple(made["toolset"]), tuple(made["passes"])
    made["harness"], made["harness_secrets"] = tuple(made["harness"]), tuple(made.get("harness_secrets", ()))
    made["policy"] = Bounds(**{name: tuple(value) for name, value in made["policy"].items()})
    made["memory_profile"] = Memory(
        **(made["memory_profile"] | {"tiers": tuple(made["memory_profile"]["tiers"])})
    )
    made["limits"] = Limits(**made["limits"])
    return Agent(**made)


def parse(text: str, file: str) -> Agent:
    """The agent that a file says. Raises `validation_failed` with every mistake and its line."""
    reader = _AgentWords()
    found: Agent | None = None
    with contextlib.suppress(Enough):
        root = reader.document(text)
        if root is None and not reader.issues:
            reader.issues.append(Issue(1, "", "the file is empty", "Begin with name: builder."))
        found = reader.agent(root) if root is not None else None
    if reader.issues or found is None:
        raise refused(file, reader.issues)
    return found


@dataclass
class _AgentWords(Words):
    """Reads agent files."""

    made: dict[str, Any] = field(default_factory=dict[str, Any])

    def agent(self, root: yaml.Node) -> Agent | None:
        keys = self.mapping(root, "", KEYS, required=_REQUIRED)
        ref = (_REF, "the name of a prompt", "Write for example builder or builder@^1.0.")
        made = self.read_keys(keys, "", {
            "name": self.id,
            "version": self._version,
            "role": lambda n, p: self.short(n, p, 60),
            "description": lambda n, p: self.short(n, p, 500),
            "prompt_ref": lambda n, p: self.fitting(n, p, *ref),
            "toolset": lambda n, p: self.listed(n, p, _MAX_TOOLS, self._tool),
            "policy": self._policy,
            "memory_profile": self._memory,
            "limits": self._limits,
            "output": self._schema,
        })  # fmt: skip
        made |= self._harness(keys["harness"], "harness") if "harness" in keys else {}
        if "harness" in keys and ("output" in keys or "verdict" in keys):
            self.fault(
                keys["harness"], "harness", "a foreign agent answers in text", "Leave out output and verdict."
            )
        if "harness" in keys and any(tool.startswith("mcp:") for tool in made.get("toolset") or ()):
            self.fault(
                keys["toolset"], "toolset", "a foreign agent has tools of its own",
                "Leave out MCP servers, or the harness.",
            )  # fmt: skip
        made |= self._model(keys["model"], "model") if "model" in keys else {}
        made |= self._verdict(keys["verdict"], "verdict") if "verdict" in keys else {}
        return None if self.issues else Agent(**made)

    def _version(self, node: yaml.Node, path: str) -> str | None:
        found = self.text(node, path)
        if found is not None and not is_version(found):
            self.fault(node, path, "not a version", "Write for example 1.0.0.")
            return None
        return found

    def _tool(self, node: yaml.Node, path: str) -> str | None:
        hint = "Write the name of a tool, or mcp:server for all tools of an MCP server."
        return self.fitting(node, path, _TOOL, "the name of a tool", hint)

    def _glob(self, node: yaml.Node, path: str) -> str | None:
        hint = "Write it from the top of the branch: src/**."
        return self.fitting(node, path, _GLOB, "a pattern of paths", hint)

    def _model(self, node: yaml.Node, path: str) -> dict[str, Any]:
        name = (_MODEL, "the name of a model", "Write default, or provider/model.")
        if isinstance(node, yaml.ScalarNode):
            found = self.fitting(node, path, *name)
            return {"model": found} if found else {}
        keys = self.mapping(node, path, ("name", "temperature", "seed"), required=("name",))
        found = self.read_keys(keys, path, {
            "name": lambda n, p: self.fitting(n, p, *name),
            "temperature": lambda n, p: self.real(n, p, 0, 2),
            "seed": lambda n, p: self.number(n, p, 0, 999_999_999),
        })  # fmt: skip
        return {"model" if key == "name" else key: value for key, value in found.items()}

    def _policy(self, node: yaml.Node, path: str) -> Bounds:
        keys = self.mapping(node, path, ("allow", "deny", "ask"))
        found: dict[str, Any] = {}
        for word, item in keys.items():
            known = ("paths",) if word == "allow" else ("paths", "tools")
            for kind, value in self.mapping(item, f"{path}.{word}", known).items():
                one = self._glob if kind == "paths" else self._tool
                found[f"{word}_{kind}"] = self.listed(value, f"{path}.{word}.{kind}", _MAX_TOOLS, one)
        return Bounds(**found)

    def _memory(self, node: yaml.Node, path: str) -> Memory:
        keys = self.mapping(node, path, ("recall", "tiers", "remember"))
        return Memory(**self.read_keys(keys, path, {
            "recall": lambda n, p: self.number(n, p, 0, 50),
            "tiers": lambda n, p: self.listed(n, p, 4, lambda i, w: self.choice(i, w, _TIERS)),
            "remember": self.switch,
        }))  # fmt: skip

    def _limits(self, node: yaml.Node, path: str) -> Limits:
        most = {"model_calls": 10_000, "tool_calls": 100_000, "seconds": 30 * 86_400, "repeats": 1_000, "mistakes": 100,
                "reply_tokens": 1_000_000}  # fmt: skip
        names = tuple(Limits.__dataclass_fields__)
        found: dict[str, Any] = {}
        for name, item in self.mapping(node, path, names).items():
            where = f"{path}.{name}"
            value = (
                self.real(item, where, 0, 1e9) if name in ("cost", "run_cost")
                else self.number(item, where, 1, most.get(name, 999_999_999))
            )  # fmt: skip
            if value is not None:
                found[name] = value
        return Limits(**found)

    def _schema(self, node: yaml.Node, path: str) -> Mapping[str, Any] | None:
        keys = self.mapping(node, path, ("schema",), required=("schema",))
        found = self.value(keys["schema"], f"{path}.schema") if "schema" in keys else None
        schema = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
        if schema.get("type") != "object":
            self.fault(node, path, "the schema of an answer describes an object", "Write {type: object, …}.")
            return None
        if why := schema_fault(schema):
            self.fault(node, path, f"not a JSON schema that can be used: {why}", "Correct it.")
            return None
        return schema

    def _harness(self, node: yaml.Node, path: str) -> dict[str, Any]:
        keys = self.mapping(node, path, ("acp", "secrets", "env", "authenticate"), required=("acp",))
        secret = (_SECRET, "the name of a secret", "Write for example ANTHROPIC_API_KEY.")
        found = self.read_keys(keys, path, {
            "acp": self._command,
            "secrets": lambda n, p: self.listed(n, p, 20, lambda i, w: self.fitting(i, w, *secret)),
            "env": self._env,
            "authenticate": lambda n, p: self.short(n, p, 60),
        })  # fmt: skip
        known = str(keys["acp"].value) if isinstance(keys.get("acp"), yaml.ScalarNode) else ""
        login = found.get("authenticate") or LOGINS.get(known, "")
        return {
            "harness": found.get("acp", ()), "harness_secrets": found.get("secrets", ()),
            "harness_env": found.get("env", {}), "harness_login": login,
        }  # fmt: skip

    def _env(self, node: yaml.Node, path: str) -> dict[str, str] | None:
        given: Any = self.value(node, path)
        words = cast("dict[Any, Any]", given) if isinstance(given, dict) else {"": ""}
        for name, text in words.items():
            fits = isinstance(name, str) and _VARIABLE.match(name) and isinstance(text, str)
            if not fits or len(text) > 2_000 or not (text.isprintable() or not text):
                self.fault(
                    node, path, "not variables with their texts", "Write {NAME: text}; secrets go by name."
                )
                return None
        return words

    def _command(self, node: yaml.Node, path: str) -> tuple[str, ...] | None:
        if isinstance(node, yaml.ScalarNode):
            return ADAPTERS.get(str(self.choice(node, path, tuple(ADAPTERS))))
        given: Any = self.value(node, path)
        words = cast("list[Any]", given) if isinstance(given, list) else []
        if not 0 < len(words) <= _MAX_ARGUMENTS or not all(
            isinstance(w, str) and w.isprintable() for w in words
        ):
            self.fault(
                node, path, "not a command with its arguments", 'Write for example ["my-agent", "--acp"].'
            )
            return None
        return tuple(words)

    def _verdict(self, node: yaml.Node, path: str) -> dict[str, Any]:
        keys = self.mapping(node, path, ("field", "passes"), required=("field", "passes"))
        found = self.read_keys(keys, path, {
            "field": self.id,
            "passes": lambda n, p: self.listed(n, p, 20, lambda i, w: self.short(i, w, 60)),
        })  # fmt: skip
        return {"verdict": found.get("field"), "passes": found.get("passes", ())}
