"""A prompt as data: what its file says (`Spec`), and one version of it ready to be filled in (`PromptVersion`)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

InputType: TypeAlias = Literal["string", "integer", "number", "boolean", "list", "object"]
INPUT_TYPES: Final[tuple[InputType, ...]] = ("string", "integer", "number", "boolean", "list", "object")


@dataclass(frozen=True, slots=True)
class Input:
    """What a prompt is filled with. Without a default it is required; `choices` are the only values it takes."""

    name: str
    type: InputType = "string"
    required: bool = True
    default: Any = None
    choices: tuple[Any, ...] = ()
    description: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON without what is as usual."""
        found: dict[str, Any] = {"type": self.type}
        if not self.required:
            found |= {"required": False, "default": self.default}
        if self.choices:
            found["choices"] = list(self.choices)
        return found | ({"description": self.description} if self.description else {})


@dataclass(frozen=True, slots=True)
class Spec:
    """A prompt file without mistakes. `partials`: the word in the template → `name@version` of another prompt."""

    name: str
    version: str
    changelog: str
    template: str
    description: str = ""
    tags: tuple[str, ...] = ()
    inputs: Mapping[str, Input] = field(default_factory=dict[str, Input])
    output_schema: Mapping[str, Any] | None = None
    partials: Mapping[str, str] = field(default_factory=dict[str, str])
    model: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON: the same for files that differ in comments, spaces, order of keys, defaults written out."""
        found: dict[str, Any] = {
            "name": self.name, "version": self.version, "changelog": self.changelog, "template": self.template,
            "description": self.description, "tags": sorted(self.tags),
            "inputs": {name: one.as_json() for name, one in self.inputs.items()},
            "output": {"schema": self.output_schema} if self.output_schema is not None else None,
            "partials": dict(self.partials), "model": dict(self.model),
        }  # fmt: skip
        return {key: value for key, value in found.items() if value not in (None, "", [], {})}

    def sha256(self, partials: Mapping[str, str]) -> str:
        """`sha256:…` over the canonical JSON, with the hashes of the partials: whatever is sent stands in it."""
        whole = {
            **self.as_json(),
            "partials": {word: [self.partials[word], partials[word]] for word in partials},
        }
        text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PromptVersion:
    """One version of a prompt with its partials. `source` tells where it comes from: the registry, a branch, or shipped
    with BuilderOS; `content` is its file.
    """

    spec: Spec
    sha256: str
    content: str
    source: Mapping[str, Any]
    partials: Mapping[str, "PromptVersion"] = field(default_factory=dict[str, "PromptVersion"])

    @property
    def name(self) -> str:
        """Name of the prompt."""
        return self.spec.name

    @property
    def version(self) -> str:
        """Its exact version."""
        return self.spec.version

    @property
    def ref(self) -> str:
        """`name@version#sha256:…`, as runs and receipts name it."""
        return f"{self.spec.ref}#{self.sha256}"

    @property
    def template(self) -> str:
        """The text with holes."""
        return self.spec.template

    @property
    def inputs(self) -> Mapping[str, Input]:
        """What it is filled with."""
        return self.spec.inputs

    @property
    def output_schema(self) -> Mapping[str, Any] | None:
        """JSON Schema that an answer has to fit; None where any text will do."""
        return self.spec.output_schema

    @property
    def model(self) -> Mapping[str, Any]:
        """Provider, model and parameters that it asks for."""
        return self.spec.model
