"""Semantic versions (semver.org 2.0.0, without build metadata): order, ranges, what follows."""

import re
from typing import Final, Literal, NamedTuple

Level = Literal["major", "minor", "patch"]
LEVELS: Final[tuple[Level, ...]] = ("patch", "minor", "major")
SEMVER: Final = re.compile(
    r"(?=.{5,64}\Z)(?:0|[1-9][0-9]{0,8})(?:\.(?:0|[1-9][0-9]{0,8})){2}"
    r"(?:-(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?\Z"
)
RANGE: Final = re.compile(
    r"(?P<how>\^|~|>=|<=|>|<|=)?(?P<what>(?:0|[1-9][0-9]{0,8})(?:\.(?:0|[1-9][0-9]{0,8})){0,2})\Z"
)


class Numbers(NamedTuple):
    """The three numbers of a version."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def is_version(text: str) -> bool:
    """Whether a text is a version."""
    return SEMVER.match(text) is not None


def numbers_of(version: str) -> Numbers:
    """Its three numbers, without what stands behind a dash."""
    return Numbers(*(int(part) for part in version.partition("-")[0].split(".")))


def is_stable(version: str) -> bool:
    """Whether it is no version of the kind 1.0.0-rc.1."""
    return "-" not in version


def rank_of(version: str) -> str:
    """A text whose order is that of semantic versions: 1.9.0 before 1.10.0-rc.1 before 1.10.0."""
    numbers, _, early = version.partition("-")
    rank = ".".join(f"{int(number):010}" for number in numbers.split("."))
    if not early:
        return f"{rank}~"
    parts = [f"0{int(part):064}" if part.isdigit() else f"1{part}" for part in early.split(".")]
    return f"{rank}-{' '.join(parts)}"


def bounds_of(range_: str) -> tuple[Numbers, Numbers | None] | None:
    """From (inclusive) and to (exclusive, None: without end) of a range; None where the text is no range.

    `^1.2` from 1.2.0 below 2.0.0 (`^0.2` below 0.3.0, `^0.0.3` below 0.0.4); `~1.2` from 1.2.0 below 1.3.0; `1` and
    `1.2` all that begin so; `>=1.2`, `>1.2`, `<2`, `<=2.1`, `=1.2.3`.
    """
    found = RANGE.match(range_)
    if found is None:
        return None
    given = [int(part) for part in found["what"].split(".")]
    low = Numbers(*[*given, 0, 0][:3])
    after = _next(given)
    match found["how"]:
        case "^":
            return low, _caret(given)
        case "~":
            return low, _next(given[:2])
        case ">=":
            return low, None
        case ">":
            return after, None
        case "<":
            return Numbers(0, 0, 0), low
        case "<=":
            return Numbers(0, 0, 0), after
        case _:
            return low, after


def fits(version: str, range_: str) -> bool:
    """Whether a stable version lies in a range; versions like 2.0.0-rc.1 lie in none."""
    bounds = bounds_of(range_)
    if bounds is None or not is_stable(version):
        return False
    numbers = numbers_of(version)
    return bounds[0] <= numbers and (bounds[1] is None or numbers < bounds[1])


def raised(version: str, level: Level) -> str:
    """The stable version that follows one with a change of a level. Below 1.0.0 a major change raises the second
    number.
    """
    numbers = numbers_of(version)
    if numbers.major == 0:
        level = "minor" if level == "major" else "patch"
    at = {"major": 1, "minor": 2, "patch": 3}[level]
    return str(_next(list(numbers[:at])))


def level_between(older: str, newer: str) -> Level | None:
    """Which of its numbers a newer version has raised; None where it is not newer. Below 1.0.0 the second number
    tells of major changes and the third of all others.
    """
    if rank_of(newer) <= rank_of(older):
        return None
    a, b = numbers_of(older), numbers_of(newer)
    if a.major != b.major:
        return "major"
    if a.minor != b.minor:
        return "major" if a.major == 0 else "minor"
    return "minor" if a.major == 0 else "patch"


def _next(given: list[int]) -> Numbers:
    """The first version behind all that begin with these numbers."""
    return Numbers(*[*given[:-1], given[-1] + 1, 0, 0][:3])


def _caret(given: list[int]) -> Numbers:
    """The first version that a change may break: behind the first number that is not 0."""
    for at, number in enumerate(given):
        if number:
            return _next(given[: at + 1])
    return _next(given)
