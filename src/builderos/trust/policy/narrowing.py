"""Leaves out the rules whose scope cannot match a question: Cedar looks at every rule of the set it is given.

Sound because only scopes are compared, with facts Cedar itself reports: an actor is in exactly one role and roles are
in nothing; an action is in the groups that the schema's own action entities name; a resource has one type.
"""

import json
from typing import Any, Final, cast, get_args

import cedarpy

from builderos.core.actor import Role

_ROLES: Final = frozenset(get_args(Role))


class NarrowedSets:
    """The policy set of each (role, action, resource type), made when first asked for."""

    def __init__(self, policies: dict[str, Any], schema: cedarpy.Schema) -> None:
        self._policies = policies
        self._groups = _groups_of_actions(schema)
        self._made: dict[tuple[str, str, str], cedarpy.PolicySet] = {}

    def get(self, role: str, action: str, kind: str) -> cedarpy.PolicySet:
        """All rules that can match. Raises `KeyError` for a role or an action that nothing declares."""
        key = (role, action, kind)
        if (made := self._made.get(key)) is None:
            made = self._made[key] = self._make(role, action, kind)
        return made

    def _make(self, role: str, action: str, kind: str) -> cedarpy.PolicySet:
        if role not in _ROLES:
            raise KeyError(role)
        named = {action} | self._groups[action]
        fitting = {
            name: policy
            for name, policy in self._policies.items()
            if _of_role(policy["principal"], role)
            and _begins_for_role(policy["conditions"], role)
            and _of_action(policy["action"], named)
            and _of_type(policy["resource"], kind)
        }
        document: dict[str, Any] = {"staticPolicies": fitting, "templates": {}, "templateLinks": []}
        return cedarpy.PolicySet.from_json_str(json.dumps(document))


def _groups_of_actions(schema: cedarpy.Schema) -> dict[str, set[str]]:
    """Action → every group it is in, as Cedar resolves the schema."""
    declared = cedarpy.Entities.from_json_str(  # pyright: ignore[reportUnknownMemberType] - bare dicts
        "[]", schema
    )
    entities = cast(list[dict[str, Any]], json.loads(str(declared)))
    direct = {entity["uid"]["id"]: {parent["id"] for parent in entity["parents"]} for entity in entities}
    groups: dict[str, set[str]] = {}
    for action, parents in direct.items():
        found: set[str] = set()
        waiting = set(parents)
        while waiting:
            group = waiting.pop()
            found.add(group)
            waiting |= direct[group] - found
        groups[action] = found
    return groups


def _of_role(scope: dict[str, Any], role: str) -> bool:
    return scope["op"] != "in" or scope["entity"]["type"] != "Role" or scope["entity"]["id"] == role


def _begins_for_role(conditions: list[dict[str, Any]], role: str) -> bool:
    """False where the first thing a `when` asks is whether the actor is in roles, and it is in none of them.

    Only the very first: what stands before another condition could fail to evaluate, which denies.
    """
    if not conditions or conditions[0]["kind"] != "when":
        return True
    first = conditions[0]["body"]
    while "&&" in first:
        first = first["&&"]["left"]
    asked = first.get("in", {})
    if asked.get("left") != {"Var": "principal"}:
        return True
    right = asked["right"]
    entities = [item.get("Value", {}).get("__entity", {}) for item in right.get("Set", [right])]
    return any(entity.get("type") != "Role" or entity["id"] == role for entity in entities)


def _of_action(scope: dict[str, Any], named: set[str]) -> bool:
    if scope["op"] not in ("==", "in"):
        return True
    entities: list[dict[str, str]] = scope["entities"] if "entities" in scope else [scope["entity"]]
    return any(entity["id"] in named for entity in entities)


def _of_type(scope: dict[str, Any], kind: str) -> bool:
    return scope["op"] != "is" or scope["entity_type"] == kind
