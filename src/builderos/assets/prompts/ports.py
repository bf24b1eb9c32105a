"""What others lend to prompts: gates that a version has to pass before it becomes `latest`, and their scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from builderos.core.registry import Registry
from builderos.core.unit import Unit


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate says of one version. `wait`: nobody has tried it yet, which is no pass."""

    verdict: Literal["pass", "fail", "wait"]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """How one version did in one suite, the newest time: the share of its cases that passed."""

    suite: str
    version: str
    sha256: str
    pass_rate: float
    cases: int


@dataclass(frozen=True, slots=True)
class Judged:
    """One version that a gate is asked about."""

    version: str
    sha256: str


Gate: TypeAlias = Callable[[Unit, str, Sequence[Judged]], Mapping[str, Verdict]]
"""Name of a prompt and versions of it → verdict by version. A version that is left out is not the gate's business:
nothing there stops it."""

Scores: TypeAlias = Callable[[Unit, str, Sequence[Judged]], Sequence[Score]]


class Gates(Registry[Gate]):
    """Gates by name. A version becomes `latest` when none of them holds it back."""

    def __init__(self) -> None:
        super().__init__("gate of prompts")


class Scorers(Registry[Scores]):
    """Where scores come from, for comparisons."""

    def __init__(self) -> None:
        super().__init__("scorer of prompts")
