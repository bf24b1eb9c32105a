"""Reading a prompt file: every mistake with its line."""

import contextlib
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import yaml

from builderos.core.holes import Part, Unreadable, parts_of
from builderos.core.jsonschemas import schema_fault
from builderos.core.versions import SEMVER
from builderos.core.yamlnodes import Bounds, Enough, Issue
from builderos.core.yamlwords import ID, Words, refused

from .spec import INPUT_TYPES, Input, InputType, Spec
from .templates import fault_of

MAX_CONTENT: Final = 256 * 1024
MAX_INPUTS: Final = 100
MAX_PARTIALS: Final = 20
TOP_KEYS: Final = (
    "name", "version", "changelog", "description", "tags", "inputs", "output", "partials", "template", "model",
)  # fmt: skip
INPUT_KEYS: Final = ("type", "required", "default", "choices", "description")
MODEL_KEYS: Final = (
    "provider", "model", "temperature", "top_p", "max_tokens", "seed", "stop", "frequency_penalty", "presence_penalty",
    "reasoning_effort",
)  # fmt: skip
EFFORTS: Final = ("none", "minimal", "low", "medium", "high")
INPUT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")
TAG: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
PARTIAL: Final = re.compile(ID.pattern.removesuffix(r"\Z") + r"@" + SEMVER.pattern)


def parse(text: str, *, name: str | None = None, version: str | None = None) -> Spec:
    """The prompt that a file says; `name` and `version` are those of its place. Raises `validation_failed`."""
    found, issues = read(text, name=name, version=version)
    if issues or found is None:
        raise refused(name or "prompt", issues)
    return found


@functools.lru_cache(256)
def sound(text: str) -> Spec:
    """The prompt of a file that was looked over before: what the registry and this package hold."""
    return parse(text)


def read(
    text: str, *, name: str | None = None, version: str | None = None
) -> tuple[Spec | None, list[Issue]]:
    """The prompt, and every mistake in the order of the lines; with any, the prompt is None."""
    reader = _PromptWords()
    found: Spec | None = None
    with contextlib.suppress(Enough):  # a hundred mistakes are told, not more
        found = reader.read(text, name, version)
    issues = sorted(reader.issues, key=lambda issue: (issue.line, issue.column))
    return (None if issues else found), issues


class _PromptWords(Words):
    """The words of a prompt file."""

    max_text = 128 * 1024

    def __init__(self) -> None:
        super().__init__(bounds=Bounds(size=MAX_CONTENT, depth=20, parts=50_000, items=5_000))

    def read(self, text: str, name: str | None, version: str | None) -> Spec | None:
        root = self.document(text)
        if root is None:
            if not self.issues:
                self.fault(
                    1, "", "the file is empty", "Begin with name:, version:, changelog: and template:."
                )
            return None
        keys = self.mapping(root, "", TOP_KEYS, required=("name", "version", "changelog", "template"))
        readers: dict[str, Callable[[yaml.Node, str], Any]] = {
            "name": lambda n, p: self._placed(n, p, self.id(n, p), name),
            "version": lambda n, p: self._placed(n, p, self._version(n, p), version),
            "changelog": self.long,
            "description": self.long,
            "tags": lambda n, p: self.listed(n, p, 50, self._tag),
            "inputs": self._inputs,
            "output": self._output,
            "partials": self._partials,
            "template": self._text,
            "model": self._model,
        }
        found = self.read_keys(keys, "", readers)
        if "template" in found:
            self._holes(keys["template"], found["template"], found)
        if self.issues:
            return None
        found["output_schema"] = found.pop("output", None)
        return Spec(**found)

    def _placed(self, node: yaml.Node, path: str, given: str | None, place: str | None) -> str | None:
        if given is not None and place is not None and given != place:
            said = f"the file's place says {place[:80]}"
            self.fault(node, path, said, f"Write {path}: {place[:80]}, or move the file.", "place")
        return given

    def _version(self, node: yaml.Node, path: str) -> str | None:
        return self.fitting(node, path, SEMVER, "a version", "Write three numbers: 1.0.0.")

    def _tag(self, node: yaml.Node, path: str) -> str | None:
        return self.fitting(node, path, TAG, "a tag", "Use small letters, digits, dots and dashes.")

    def _text(self, node: yaml.Node, path: str) -> str | None:
        return self.long(node, path)

    def _inputs(self, node: yaml.Node, path: str) -> dict[str, Input]:
        found: dict[str, Input] = {}
        for name, item in self.free_mapping(node, path, MAX_INPUTS).items():
            where = f"{path}.{name}"
            if not INPUT.match(name):
                self.fault(item, where, "not a usable name", "Use letters, digits and _, e.g. base_url.")
            one = self._input(name, item, where)
            if one is not None:
                found[name] = one
        return found

    def _input(self, name: str, node: yaml.Node, path: str) -> Input | None:
        """`string`, or `{type, required, default, choices, description}`."""
        if isinstance(node, yaml.ScalarNode):
            type_ = self.choice(node, path, INPUT_TYPES)
            return Input(name, cast("InputType", type_)) if type_ else None
        keys = self.mapping(node, path, INPUT_KEYS)
        readers: dict[str, Callable[[yaml.Node, str], Any]] = {
            "type": lambda n, p: self.choice(n, p, INPUT_TYPES),
            "required": self.switch,
            "choices": lambda n, p: self.listed(n, p, 100, self.value),
            "description": self.short,
        }
        found = self.read_keys(keys, path, readers)
        found.setdefault("required", "default" not in keys)
        default = self.value(keys["default"], f"{path}.default") if "default" in keys else None
        one = Input(name, **found, default=default)
        self._check_input(one, keys, path)
        return one

    def _check_input(self, one: Input, keys: Mapping[str, yaml.Node], path: str) -> None:
        bare = Input(one.name, one.type)
        for choice in one.choices:
            if why := fault_of(bare, choice):
                self.fault(keys["choices"], f"{path}.choices", f"{str(choice)[:60]!r} {why}", "", "input")
        if "default" not in keys:
            return
        if one.required:
            said = "a required input needs no default"
            self.fault(keys["default"], f"{path}.default", said, "Keep one of required and default.", "input")
        elif one.default is not None and (why := fault_of(one, one.default)):
            self.fault(keys["default"], f"{path}.default", why, f"Give a {one.type}.", "input")

    def _output(self, node: yaml.Node, path: str) -> Any:
        keys = self.mapping(node, path, ("schema",), required=("schema",))
        if "schema" not in keys:
            return None
        schema: Any = self.value(keys["schema"], f"{path}.schema")
        if why := schema_fault(schema):
            self.fault(keys["schema"], f"{path}.schema", why, "Write a JSON Schema (2020-12).", "schema")
        return schema

    def _partials(self, node: yaml.Node, path: str) -> dict[str, str]:
        """`{style: house_style@1.0.0}`, or a list of `house_style@1.0.0`, whose word is its name."""
        items = (
            {
                str(getattr(n, "value", "")).partition("@")[0]: n
                for n, _ in self.items(node, path, MAX_PARTIALS)
            }
            if isinstance(node, yaml.SequenceNode)
            else self.free_mapping(node, path, MAX_PARTIALS)
        )
        found: dict[str, str] = {}
        for word, item in items.items():
            hint = "Name the exact version, e.g. house_style@1.0.0: what a version says never changes."
            ref = self.fitting(item, f"{path}.{word}", PARTIAL, "a prompt with its version", hint)
            if ref is not None and not ID.match(word):
                self.fault(item, f"{path}.{word}", "not a usable word", "Use small letters, digits, - and _.")
            elif ref is not None:
                found[word] = ref
        return found

    def _model(self, node: yaml.Node, path: str) -> dict[str, Any]:
        keys = self.mapping(node, path, MODEL_KEYS)
        readers: dict[str, Callable[[yaml.Node, str], Any]] = {
            "provider": self.short,
            "model": self.short,
            "temperature": lambda n, p: self.real(n, p, 0, 2),
            "top_p": lambda n, p: self.real(n, p, 0, 1),
            "max_tokens": lambda n, p: self.number(n, p, 1, 10_000_000),
            "seed": lambda n, p: self.number(n, p, 0, 2**31 - 1),
            "stop": lambda n, p: list(self.listed(n, p, 16, self.text)),
            "frequency_penalty": lambda n, p: self.real(n, p, -2, 2),
            "presence_penalty": lambda n, p: self.real(n, p, -2, 2),
            "reasoning_effort": lambda n, p: self.choice(n, p, EFFORTS),
        }
        return self.read_keys(keys, path, readers)

    def _holes(self, node: yaml.Node, template: str, found: Mapping[str, Any]) -> None:
        """Whether every hole names something that there is."""
        try:
            parts = parts_of(template)
        except Unreadable as error:
            self._in_text(node, template, error.offset, error.message, error.hint)
            return
        known: dict[str, Mapping[str, Any]] = {
            "input": found.get("inputs", {}),
            "partial": found.get("partials", {}),
        }
        for part in parts:
            if part.kind != "text" and part.text not in known[part.kind]:
                self._unknown(node, template, part)

    def _unknown(self, node: yaml.Node, template: str, part: Part) -> None:
        hint = (
            f"Add {part.text}: string below inputs, or write \\{{{{ for two braces."
            if part.kind == "input"
            else f"Add {part.text}: name@1.0.0 below partials."
        )
        self._in_text(node, template, part.offset, f"there is no {part.kind} {part.text!r}", hint)

    def _in_text(self, node: yaml.Node, text: str, offset: int, message: str, hint: str) -> None:
        """Note a mistake inside a text, on its own line where the text stands in the file line by line."""
        block = getattr(node, "style", None) == "|"
        line = node.start_mark.line + 1 + (text.count("\n", 0, offset) + 1 if block else 0)
        self.fault(line if block else node, "template", message, hint, "template")
