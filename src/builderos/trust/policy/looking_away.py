"""Where the organisation's policy file tells push protection to look away: known false alarms, by place and by form."""

from dataclasses import dataclass

from builderos.core.unit import Unit

from .document import PushLists
from .force import InForce
from .globs import PathPatterns, matches_name


@dataclass(frozen=True)
class LookingAway:
    """The two lists, ready to be asked."""

    paths: PathPatterns
    values: tuple[str, ...]

    def ignores(self, path: str, value: str) -> bool:
        """Whether a finding of `value` in the file `path` counts for nothing."""
        return self.paths.match(path) or any(matches_name(pattern, value) for pattern in self.values)


def push_lists(unit: Unit) -> LookingAway:
    """The lists in force in the unit's organisation; empty ones where it has no policy file."""
    file = unit.get(InForce).of(unit).file
    lists = file.document.push if file is not None else PushLists()
    return LookingAway(PathPatterns(lists.paths, folded=False), lists.values)
