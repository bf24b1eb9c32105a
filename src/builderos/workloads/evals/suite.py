"""A suite as data: what is tried, on what, and what has to come out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeGuard

ProviderKind = Literal["model", "echo", "canned"]
MAX_CASES: Final = 2_000
MAX_REPEATS: Final = 100


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether a JSON value is a list."""
    return isinstance(value, list)


def is_mapping(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a JSON value is an object."""
    return isinstance(value, dict)


@dataclass(frozen=True, slots=True)
class Expect:
    """One thing that has to hold of an answer; `negate`: that must not. `type` is one of `checks.TYPES`.

    `threshold` is that of the type: a similarity, a share, milliseconds. `weight` counts where a case has a threshold.
    """

    type: str
    value: Any = None
    threshold: float | None = None
    weight: float = 1.0
    negate: bool = False
    line: int = 1

    @property
    def name(self) -> str:
        """Its type as people write it."""
        return f"not-{self.type}" if self.negate else self.type


@dataclass(frozen=True, slots=True)
class Case:
    """One try. Without `threshold` everything has to hold; with it the weighted share of what holds."""

    id: str
    input: Mapping[str, Any]
    expect: tuple[Expect, ...]
    golden: str | None = None
    threshold: float | None = None
    line: int = 1


@dataclass(frozen=True, slots=True)
class Provider:
    """Who answers. `model`: a model of the gateway by name; `echo`: the prompt itself; `canned`: replies that stand in
    the suite, by case.
    """

    kind: ProviderKind
    model: str = ""
    replies: Mapping[str, str] = field(default_factory=dict[str, str])
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def name(self) -> str:
        """How results name it."""
        return self.model or self.kind


@dataclass(frozen=True, slots=True)
class Template:
    """A text with holes that stands in the suite itself."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite without mistakes. What is tried: `prompt`, a reference, or `templates`; neither where only files are
    judged. `threshold`: the share of cases that has to pass. `share`: of the repeats of a case, those that have to.
    """

    id: str
    cases: tuple[Case, ...]
    providers: tuple[Provider, ...]
    prompt: str | None = None
    templates: tuple[Template, ...] = ()
    repeats: int = 1
    threshold: float = 1.0
    share: float = 1.0
    judge: str | None = None
    description: str = ""
    source: Literal["suite", "promptfoo"] = "suite"
