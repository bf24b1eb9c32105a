"""Merged rules of a policy file as Cedar: forbids alone, beside one permit, so that a file can narrow and never widen.

Names become `like` conditions. Paths cannot: Cedar cannot ask something of every element of a set, and its `*` knows no
folders. Our bounded matcher looks at the paths and hands over which deny lists were hit, and whether a path lies
outside what is allowed; Cedar decides over these facts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .document import Kind
from .globs import NamePatterns, PathPatterns
from .loading import NO_MATCH
from .merging import Merged

OUTSIDE: Final = ":outside"  # the colon keeps it apart from the ids of a file
PERMIT: Final = '@id(":file")\npermit (principal, action, resource);\n'
# Acts that change a branch: path rules are about these. What may be read follows from the branch, since a clone holds
# all of it.
CHANGES: Final = frozenset({
    "backup.restore", "files.write", "git.promote", "git.push", "git.release", "git.rollback", "memory.write",
    "pull.merge", "sandbox.reset", "sandbox.scaffold", "task.write", "tool.use",
})  # fmt: skip
# What of an act is absent where it has no such thing; in this order the act's names are handed over.
ATTRIBUTES: Final[dict[Kind, str]] = {
    "branches": "branch",
    "environments": "environment",
    "network": "host",
    "secrets": "secret",
}
_THING: Final[dict[Kind, str]] = {
    "branches": "this branch",
    "environments": "this environment",
    "network": "this host",
    "paths": "these paths",
    "secrets": "this secret",
    "tools": "this tool",
}


@dataclass(frozen=True)
class Compiled:
    """Cedar text, with the path patterns whose hits it asks for: those of each deny rule, and what is allowed.

    `names`: every pattern it holds a branch, environment, host or secret against.
    """

    cedar: str
    denied: tuple[tuple[str, PathPatterns], ...]
    allowed: PathPatterns | None
    names: Mapping[Kind, NamePatterns]
    any_denied: PathPatterns

    def hits(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Ids of the deny rules that any path hits, and `:outside` if any path is not among the allowed ones."""
        suspects = [path for path in paths if self.any_denied.match(path)]
        found = (
            [id_ for id_, patterns in self.denied if any(map(patterns.match, suspects))] if suspects else []
        )
        if self.allowed is not None and not all(map(self.allowed.match, paths)):
            found.append(OUTSIDE)
        return tuple(found)


def compile_rules(merged: Merged) -> Compiled:
    """Cedar for one scene. Denies come first, in file order: the first one that decides gives the refusal its name."""
    parts = [PERMIT]
    denied: list[tuple[str, PathPatterns]] = []
    for rule in merged.denies:
        conditions = [_deny(kind, rule.id, patterns) for kind, patterns in rule.deny.items() if patterns]
        if conditions:
            hint = f"The rule {rule.id} of the organisation's policy denies this; ask an owner or admin."
            parts.append(_forbid(rule.id, hint, "when", any_of(conditions)))
        if rule.deny.get("paths"):
            # A name that only some computers take for a denied one is denied: there it is the same file.
            denied.append((rule.id, PathPatterns(rule.deny["paths"], folded=True)))
    allowed = None
    for kind, found in merged.allows.items():
        hint = (
            f"The policy allows only what it lists for {_THING[kind]} (rules {', '.join(found.rules)[:200]})."
        )
        if not found.rules:
            hint = (
                f"No rule of the organisation's policy allows {_THING[kind]}; ask an owner or admin for one."
            )
        if kind == "paths":
            allowed = PathPatterns(found.patterns, folded=False)
            condition = f'!context.hits.contains("{OUTSIDE}")'
        else:
            condition = _names(kind, found.patterns)
            if kind in ATTRIBUTES:  # the act may have nothing of the kind; then nothing is asked
                condition = any_of([f"!(context has {ATTRIBUTES[kind]})", condition])
        parts.append(_forbid(f"{NO_MATCH}:{kind}", hint, "unless", condition))
    everything = [pattern for rule in merged.denies for pattern in rule.deny.get("paths", ())]
    any_denied = PathPatterns(everything, folded=True)
    return Compiled("\n".join(parts), tuple(denied), allowed, _names_of(merged), any_denied)


def _names_of(merged: Merged) -> dict[Kind, NamePatterns]:
    """Every pattern that the conditions hold a name against."""
    found: dict[Kind, NamePatterns] = {}
    for kind in ATTRIBUTES:
        lists = [rule.deny.get(kind, ()) for rule in merged.denies]
        if kind in merged.allows:
            lists.append(merged.allows[kind].patterns)
        found[kind] = NamePatterns(list(dict.fromkeys(pattern for each in lists for pattern in each)))
    return found


def _forbid(id_: str, hint: str, clause: str, condition: str) -> str:
    return (
        f'@id({_text(id_)})\n@code("policy_denied")\n@hint({_text(hint)})\n'
        f"forbid (principal, action, resource)\n{clause} {{ {condition} }};\n"
    )


def _deny(kind: Kind, id_: str, patterns: Sequence[str]) -> str:
    return f"context.hits.contains({_text(id_)})" if kind == "paths" else _names(kind, patterns)


def _names(kind: Kind, patterns: Sequence[str]) -> str:
    """Whether the act's name of this kind fits any pattern; a tool has two names, its own and its action's."""
    if kind == "tools":
        return any_of([f"context.{name} like {_text(p)}" for p in patterns for name in ("tool", "action")])
    name = ATTRIBUTES[kind]
    return any_of([f"(context has {name} && context.{name} like {_text(p)})" for p in patterns])


def any_of(conditions: Sequence[str]) -> str:
    """Joined by `||` as a balanced tree: parsers have a limit on depth."""
    if not conditions:
        return "false"
    if len(conditions) == 1:
        return conditions[0]
    half = len(conditions) // 2
    return f"({any_of(conditions[:half])} || {any_of(conditions[half:])})"


def _text(text: str) -> str:
    """A Cedar string. Ids and patterns hold nothing that needs escaping; a hint is quoted like JSON."""
    return json.dumps(text)
