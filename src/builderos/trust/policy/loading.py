"""Turns Cedar text into rules, or refuses it: what is in force is certainly meant as written.

Cedar's own validation lets two mistakes through that would open a door: a misspelt name behind `has` (the
condition is then silently false) and rules that cannot be told apart in a log. Both fail the load here.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import cedarpy

from builderos.core.problems import STATUS, Problem

NO_MATCH: Final = "no_matching_allow"
ERROR: Final = "error"
_ANNOTATIONS: Final = frozenset({"id", "code", "hint", "require"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy of the set: its place in the file and what its annotations say."""

    order: int
    id: str
    effect: str
    code: str
    hint: str
    requires_approval: bool


def parse_schema(text: str) -> cedarpy.Schema:
    """The handle of a schema; raises `Problem("validation_failed")`."""
    try:
        return cedarpy.Schema.from_str(text)
    except ValueError as error:
        raise _invalid(f"The policy schema does not parse: {error}.") from error


def parse_policies(text: str) -> dict[str, Any]:
    """Cedar's name of each policy → its JSON form; raises `Problem("validation_failed")`."""
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(text))
    except ValueError as error:
        raise _invalid(f"The policy does not parse: {error}.") from error
    if parsed["templates"]:
        raise _invalid("The policy has a template, which would decide nothing.")
    return parsed["staticPolicies"]


def check_rules(text: str, policies: dict[str, Any], schema: cedarpy.Schema) -> dict[str, Rule]:
    """Cedar's name of each policy → its rule, in file order; raises `Problem("validation_failed")`."""
    # Cedar names policies policy0, policy1, ... by their place in the text, and lists them in any order.
    names = sorted(policies, key=lambda name: int(name.removeprefix("policy")))
    rules = {name: _rule(order, policies[name]) for order, name in enumerate(names)}
    seen = {ERROR, NO_MATCH}
    for rule in rules.values():
        if rule.id in seen:
            raise _invalid(f'@id("{rule.id}") is reserved or used twice.')
        seen.add(rule.id)
    result = cedarpy.validate_policies(  # pyright: ignore[reportUnknownMemberType] - bare dicts
        text, schema
    )
    if not result.validation_passed:
        raise _invalid("; ".join(_with_own_ids(str(error), rules) for error in result.errors))
    declared = set(re.findall(r"(\w+)\??:(?!:)", str(schema)))
    for name in names:
        if unknown := sorted(set(_names_behind_has(policies[name])) - declared):
            names_unknown = ", ".join(unknown)
            raise _invalid(f"Rule {rules[name].id} asks `has` for {names_unknown}, unknown to the schema.")
    return rules


def _rule(order: int, policy: dict[str, Any]) -> Rule:
    notes: dict[str, str] = policy.get("annotations") or {}
    effect: str = policy["effect"]
    identity, require = notes.get("id"), notes.get("require")
    if not identity:
        raise _invalid(f"Rule number {order + 1} has no @id.")
    if unknown := sorted(set(notes) - _ANNOTATIONS):
        raise _invalid(f"Rule {identity} has an unknown annotation: {', '.join(unknown)}.")
    if require is not None and (require != "approval" or effect != "forbid"):
        raise _invalid(f'Rule {identity}: @require stands on a forbid and says "approval".')
    code, hint = notes.get("code") or "", notes.get("hint") or ""
    if effect == "forbid" and (code not in STATUS or not hint):
        raise _invalid(f"Rule {identity}: a forbid needs a known @code and a @hint.")
    return Rule(order, identity, effect, code, hint, require is not None)


def _with_own_ids(message: str, rules: dict[str, Rule]) -> str:
    return re.sub(r"policy\d+", lambda match: rules[match[0]].id if match[0] in rules else match[0], message)


def _names_behind_has(node: object) -> Iterator[str]:
    """Every attribute name that stands behind `has` anywhere in a policy's JSON form."""
    if isinstance(node, list):
        for item in cast(list[object], node):
            yield from _names_behind_has(item)
    if not isinstance(node, dict):
        return
    fields = cast(dict[str, object], node)
    tested = cast(dict[str, object], fields.get("has", {}))
    if "attr" in tested:
        yield str(tested["attr"])
    for value in fields.values():
        yield from _names_behind_has(value)


def _invalid(detail: str) -> Problem:
    return Problem("validation_failed", detail, hint="Correct the rules; those in force stay as they are.")
