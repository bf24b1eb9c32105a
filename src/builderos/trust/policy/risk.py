"""How much harm a change could do, and why (SPEC §8): whoever approves reads the reasons before the diff."""

import re
from collections.abc import Iterable
from typing import Final, Literal

Risk = Literal["low", "medium", "high"]
MANY_LINES: Final = 400
_SCHEMA: Final = re.compile(
    r"(?:^|/)(?:migrations?|alembic)/|\.sql\Z|(?:^|/)schema\.(?:rb|prisma)\Z", re.IGNORECASE
)
_DEPENDENCIES: Final = re.compile(
    r"(?:^|/)(?:requirements[^/]*\.(?:txt|in|lock)|[^/]*\.lock|package(?:-lock)?\.json|pnpm-lock\.yaml|pyproject\.toml"
    r"|setup\.(?:py|cfg)|Pipfile|Cargo\.toml|go\.(?:mod|sum)|Gemfile|Dockerfile[^/]*|\.npmrc)\Z",
    re.IGNORECASE,
)
_WORKFLOW: Final = re.compile(
    r"^\.github/|^\.gitlab|^\.circleci/|^\.ci/|^ship/|^policies?/|(?:^|/)(?:builderos[^/]*\.ya?ml|Makefile|CODEOWNERS)\Z",
    re.IGNORECASE,
)
_SHOWN: Final = 3


def assess(
    *, target: str, main: bool, paths: Iterable[str], deleted: Iterable[str], lines: int
) -> tuple[Risk, list[str]]:
    """The risk of a change of `paths` (of which `deleted` end) in so many changed lines, and every reason for it.

    High: main, a database's schema, deletions. Medium: dependencies, workflows and rules, more than 400 lines.
    """
    changed, gone = list(paths), list(deleted)
    high = [f"changes {target}"] if main else []
    high += _named("deletes", gone)
    high += _named("changes the schema of a database:", filter(_SCHEMA.search, changed))
    medium = _named("changes dependencies:", filter(_DEPENDENCIES.search, changed))
    medium += _named("changes workflows or rules:", filter(_WORKFLOW.search, changed))
    medium += [f"{lines} changed lines are more than {MANY_LINES}"] if lines > MANY_LINES else []
    return ("high" if high else "medium" if medium else "low"), [*high, *medium]


def _named(what: str, paths: Iterable[str]) -> list[str]:
    found = sorted(paths)
    if not found:
        return []
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return [f"{what} {', '.join(found[:_SHOWN])}{more}"]
