"""Which rules of a policy file count for one act: the order of SPEC §8.

A deny counts wherever its scope fits. Of the allows, each kind is decided by the most specific level on which any rule
whose scope fits allows something of that kind; rules of the same level are joined, wider levels are not asked. Where
no rule allows anything of a kind, nothing is restricted; of what leaves the server (hosts, secrets) all is denied.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .document import CLOSED, KINDS, LEVELS, FileRule, Kind, Level, Scope
from .globs import matches_name


@dataclass(frozen=True, slots=True)
class Scene:
    """Who acts and where, by name. None: the act has no such thing, and no pattern fits, not even `*`."""

    agent: str
    project: str | None = None
    branch: str | None = None
    environment: str | None = None
    home: str | None = None  # the project that the repository is in; `project` is the repository


@dataclass(frozen=True, slots=True)
class Allowed:
    """The level that decides about a kind, the rules of that level, and everything they allow."""

    level: Level
    rules: tuple[str, ...]
    patterns: tuple[str, ...]


NOTHING: Final = Allowed("org", (), ())


@dataclass(frozen=True, slots=True)
class Merged:
    """What counts in one scene: every deny that fits, and the deciding allows of each kind that has any."""

    denies: tuple[FileRule, ...]
    allows: Mapping[Kind, Allowed]


def fits(scope: Scope, scene: Scene) -> bool:
    """Whether every part of a scope fits a scene. A repository goes by its own name and by that of its project: whoever
    moves it into one leaves no rule behind.
    """
    project = scene.project
    if scope.project is not None and scene.home is not None and matches_name(scope.project, scene.home):
        project = scene.home
    pairs = (
        (scope.agent, scene.agent),
        (scope.project, project),
        (scope.branch, scene.branch),
        (_canonical(scope.environment), _canonical(scene.environment)),
    )
    return all(
        pattern is None or (name is not None and matches_name(pattern, name)) for pattern, name in pairs
    )


def _canonical(environment: str | None) -> str | None:
    """`staging` is another word for `stage` (SPEC §4), in a rule and in an act."""
    return "stage" if environment == "staging" else environment


def merge(rules: tuple[FileRule, ...]) -> Merged:
    """What rules that all fit say together."""
    allows: dict[Kind, Allowed] = {}
    for kind in KINDS:
        found = _deciding(rules, kind) or (NOTHING if kind in CLOSED else None)
        if found is not None:
            allows[kind] = found
    return Merged(tuple(rule for rule in rules if rule.deny), allows)


def _deciding(rules: tuple[FileRule, ...], kind: Kind) -> Allowed | None:
    for level in reversed(LEVELS):
        found = [rule for rule in rules if kind in rule.allow and rule.scope.level == level]
        if found:
            patterns = dict.fromkeys(pattern for rule in found for pattern in rule.allow[kind])
            return Allowed(level, tuple(rule.id for rule in found), tuple(patterns))
    return None
