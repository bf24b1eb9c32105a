"""Which acts fit which kind of object, as the shipped schema declares it."""

import re
from functools import cache
from importlib.resources import files

from .actions import ACTIONS, Action

_DECLARED = re.compile(r"^action ([^;]*?)\s+appliesTo \{[^}]*resource: \[([\w, ]+)\]", re.MULTILINE)


@cache
def actions_on(kind: str) -> tuple[Action, ...]:
    """The acts that can be asked of a kind of object (a `ResourceKind`), in alphabetical order."""
    text = (files("builderos.trust.policy") / "schema.cedarschema").read_text("utf-8")
    named: set[str] = set()
    for names, kinds in _DECLARED.findall(text):
        if kind.capitalize() in re.findall(r"\w+", kinds):
            named |= set(re.findall(r'"([^"]+)"', names.partition(" in [")[0]))
    return tuple(action for action in ACTIONS if action in named)
