"""What suites and promptfoo's files share: assertions, providers, inputs, each with its line."""

import re
from collections.abc import Callable
from typing import Any, Final

import yaml

from builderos.core.holes import Unreadable, as_text, parts_of
from builderos.core.jsonschemas import schema_fault
from builderos.core.yamlnodes import Bounds, nearest
from builderos.core.yamlwords import Words

from .checks import ASKING, THRESHOLDED, TYPES, VALUELESS, pattern
from .suite import MAX_CASES, Case, Expect, Provider, is_mapping

EXPECT_KEYS: Final = (
    "type", "value", "threshold", "weight", "metric", "schema", "rubric", "path", "text", "run", "provider",
)  # fmt: skip
PROMPTFOO_EXPECT_KEYS: Final = ("type", "value", "threshold", "weight", "metric", "provider")
ALIASES: Final = {
    "json_schema": "is-json", "judge": "llm-rubric", "exact": "equals", "model-graded-rubric": "llm-rubric",
}  # fmt: skip
BUILT_IN: Final = {
    "compile": "exec python3 -m compileall -q .",
    "lint": "if [ -f ship/lint.sh ]; then exec sh ship/lint.sh; fi; exec make lint",
    "tests": "if [ -f ship/test.sh ]; then exec sh ship/test.sh; fi\n"
    "if [ -f Makefile ] && grep -q '^test:' Makefile; then exec make test; fi\n"
    "exec python3 -m unittest discover",
}
"""Checks of the tree that a step got, each a command in the jail."""
CASE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/-]{0,119}\Z")
MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}(?:/[^\s]{1,200})?\Z")
_SUBJECT: Final = {"schema": "value", "rubric": "value", "path": "value", "run": "value"}


class SuiteWords(Words):
    """A reader with the words of suites. `promptfoo`: whose rules hold for what is unknown."""

    promptfoo = False

    def __init__(self) -> None:
        super().__init__(bounds=Bounds(size=4 * 1024 * 1024, depth=24, parts=400_000, items=MAX_CASES * 10))

    def unsupported(self, node: yaml.Node, path: str, what: str, hint: str) -> None:
        """Something that promptfoo knows and this server does not do: never left out in silence."""
        self.fault(node, path, f"{what} is not supported", hint, "unsupported")

    def expects(self, node: yaml.Node, path: str) -> tuple[Expect, ...]:
        """A list of assertions."""
        found = [self.expect(item, where) for item, where in self.items(node, path, 200)]
        return tuple(one for one in found if one is not None)

    def expect(self, node: yaml.Node, path: str) -> Expect | None:
        """One assertion."""
        keys = self.mapping(
            node, path, PROMPTFOO_EXPECT_KEYS if self.promptfoo else EXPECT_KEYS, required=("type",)
        )
        said = self.text(keys["type"], f"{path}.type") if "type" in keys else None
        if said is None:
            return None
        negate = said.startswith("not-")
        bare = said.removeprefix("not-")
        if bare in BUILT_IN and not self.promptfoo:
            return self._built_in(keys, path, bare, negate=negate, line=self.line_of(node))
        type_ = ALIASES.get(bare, bare)
        if type_ not in TYPES:
            known = (*TYPES, *(() if self.promptfoo else BUILT_IN))
            hint = f"{nearest(bare, (*known, *ALIASES))}There is {', '.join(known)}, each also with not- before it."
            self.unsupported(keys["type"], f"{path}.type", f"the assertion {said[:80]!r}", hint)
            return None
        readers: dict[str, Callable[[yaml.Node, str], Any]] = {
            "threshold": lambda n, p: self.real(n, p, 0, 1e12),
            "weight": lambda n, p: self.real(n, p, 0, 1e6),
        }
        found = self.read_keys(keys, path, readers)
        if "provider" in keys and type_ not in ASKING:
            self.unsupported(
                keys["provider"], f"{path}.provider", "a provider of this assertion", "Leave it out."
            )
        value = self._value(keys, path, type_)
        one = Expect(type_, value, negate=negate, line=self.line_of(node), **found)
        self._check(one, keys, node, path)
        return one

    def _built_in(
        self, keys: dict[str, yaml.Node], path: str, name: str, *, negate: bool, line: int
    ) -> Expect:
        """A check of the whole tree whose command is known."""
        for key, node in keys.items():
            if key not in ("type", "weight", "metric"):
                self.fault(node, f"{path}.{key}", f"{name} takes no {key}", "Leave it out.", "unknown_key")
        found = self.read_keys(keys, path, {"weight": lambda n, p: self.real(n, p, 0, 1e6)})
        return Expect("command", BUILT_IN[name], negate=negate, line=line, **found)

    def _value(self, keys: dict[str, yaml.Node], path: str, type_: str) -> Any:
        if type_ == "file_contains" and "path" in keys and "text" in keys:
            return {name: self.text(keys[name], f"{path}.{name}") for name in ("path", "text")}
        given = [name for name in ("value", *_SUBJECT) if name in keys]
        if len(given) > 1:
            self.fault(keys[given[1]], f"{path}.{given[1]}", "it has a value already", "Keep one of them.")
        return self.value(keys[given[0]], f"{path}.{given[0]}") if given else None

    def _check(self, one: Expect, keys: dict[str, yaml.Node], node: yaml.Node, path: str) -> None:
        if one.value is None and one.type not in VALUELESS:
            self.fault(node, path, f"{one.name} needs a value", "Add value.", "missing_key")
        if one.type in THRESHOLDED and one.threshold is None:
            self.fault(node, path, f"{one.name} needs a threshold", "Add threshold.", "missing_key")
        text = one.value if isinstance(one.value, str) else ""
        if text.startswith(("file://", "package:")):
            hint = "Write the value out."
            self.unsupported(keys.get("value", node), f"{path}.value", f"a value from {text[:80]!r}", hint)
        why = _fault(one)
        if why:
            self.fault(keys.get("value", node), f"{path}.value", why, "Correct the value.", "value")

    def inputs(self, node: yaml.Node, path: str) -> dict[str, Any]:
        """What a case is filled with."""
        return {
            name: self.value(item, f"{path}.{name}")
            for name, item in self.free_mapping(node, path, 100).items()
        }

    def model(self, node: yaml.Node, path: str) -> str | None:
        """A model of the gateway: `provider/model`, an alias, `default`."""
        hint = "Write provider/model, an alias of the provider file, or default."
        return self.fitting(node, path, MODEL, "a model", hint)

    def template(self, node: yaml.Node, path: str, text: str) -> str | None:
        """A text whose holes can be filled."""
        why = template_fault(text)
        if why:
            self.fault(node, path, *why, "template")
            return None
        return text

    def unique(self, cases: list[Case]) -> tuple[Case, ...]:
        """The cases; an id that stands twice is a mistake."""
        seen: dict[str, int] = {}
        for case in cases:
            if case.id in seen:
                said = f"{case.id!r} is the id of the case in line {seen[case.id]}, too"
                self.fault(case.line, "id", said, "Give it another id.", "duplicate")
            seen[case.id] = case.line
        return tuple(cases)


def _fault(one: Expect) -> str:
    """Why the value does not fit the type; empty where it does."""
    if one.type == "regex":
        try:
            pattern(str(one.value))
        except ValueError as error:
            return str(error)
    if one.type in ("is-json", "contains-json") and one.value is not None:
        return schema_fault(one.value)
    if one.type == "word-count" and not (isinstance(one.value, int) or is_mapping(one.value)):
        return "expected a number, or {min, max}"
    if one.type == "file_contains" and not (is_mapping(one.value) and {"path", "text"} <= one.value.keys()):
        return "expected path and text"
    return ""


def template_fault(text: str) -> tuple[str, str] | None:
    """What in a text with holes cannot be filled here: what is wrong, and what to write."""
    if "{%" in text or "{#" in text:
        return "there is no code in templates", "Write {{ name }} alone."
    try:
        parts = parts_of(text)
    except Unreadable as error:
        return error.message, error.hint
    if any(part.kind == "partial" for part in parts):
        return "a text of a suite has no partials", "Name a prompt of the registry instead."
    return None


def filled(text: str, values: dict[str, Any]) -> str:
    """A text with its holes filled. Raises `KeyError` for one that has no value."""
    return "".join(
        part.text if part.kind == "text" else as_text(values[part.text]) for part in parts_of(text)
    )


def provider_of(name: str) -> Provider | str:
    """What promptfoo calls a provider, as ours; or why it is none."""
    if name in ("echo", "default"):
        return Provider("echo") if name == "echo" else Provider("model", "default")
    head, _, rest = name.partition(":")
    if "{{" in name:
        return f"the template {name!r}"
    if not rest:
        return Provider("model", name) if "/" in name and MODEL.match(name) else f"the provider {name!r}"
    kind, _, model = rest.partition(":")
    if head in ("openai", "anthropic", "openrouter", "ollama", "mistral", "groq", "vllm", "localai"):
        if kind in ("chat", "messages", "responses") and model:
            return Provider("model", f"{head}/{model}")
        if kind in ("completion", "embedding", "embeddings", "image", "assistant", "realtime", "agents"):
            return f"the provider {name!r}"
        return Provider("model", f"{head}/{rest}")
    return f"the provider {name!r}"
