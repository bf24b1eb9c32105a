"""Questions that differ only in names of things are one question, as long as rules compare ids with each other alone.

A rule that asks `principal.sandbox_id == resource.sandbox_id` gives every pair of equal ids one answer, and every pair
of different ids another. So ids may be exchanged for others, one to one, without changing any decision: thousands of
workspaces ask few questions. `compares_only` proves it of a set of rules when it is loaded; a set of which that cannot
be proved is asked with the ids as they are.
"""

from typing import Any, Final, cast

ID_ATTRIBUTES: Final = frozenset({"org_id", "repo_id", "sandbox_id", "target_sandbox_id"})
_CLOSED: Final = frozenset({"Action", "BranchKind", "ImportSource", "Profile", "Role"})
# Expressions that treat whatever stands in them alike; their operands are looked at one by one.
_TRANSPARENT: Final = frozenset(
    {"!", "&&", "||", "==", "!=", "Set", "contains", "containsAll", "isEmpty", "if-then-else"}
)
_COUNTED: Final = frozenset({"+", "-", "*", "<", "<=", ">", ">="})

Ids = tuple[str | None, ...]


def renamed(ids: Ids) -> Ids:
    """The same pattern of equal, different and absent ids, in names of our own: ("x", None, "x") → ("0", None, "0").

    Ids that are not plain ASCII text stay as they are: Cedar is to see them, and to refuse what is no text at all.
    """
    names: dict[str, str] = {}
    found: list[str | None] = []
    for id_ in ids:
        if id_ is None:
            found.append(None)
        elif type(id_) is str and id_.isascii():
            name = names.get(id_)
            if name is None:
                name = names[id_] = str(len(names))
            found.append(name)
        else:
            return ids
    return tuple(found)


def compares_only(policies: dict[str, Any]) -> bool:
    """Whether all that these rules (Cedar's JSON form) ask of an id is which others it is equal to."""
    return all(
        _closed_scope(policy["principal"])
        and _closed_scope(policy["resource"])
        and all(_compares(condition["body"]) for condition in policy["conditions"])
        for policy in policies.values()
    )


def _closed_scope(scope: dict[str, Any]) -> bool:
    return "slot" not in scope and ("entity" not in scope or scope["entity"]["type"] in _CLOSED)


def _compares(node: object) -> bool:
    """Whether an expression is certainly indifferent to which ids it is given; unknown forms are not."""
    if isinstance(node, list):
        return all(_compares(item) for item in cast(list[object], node))
    if not isinstance(node, dict) or len(cast(dict[str, Any], node)) != 1:
        return False
    ((operator, operands),) = cast(dict[str, Any], node).items()
    if operator == "Value":
        return _closed_value(operands)
    if operator == "Var":
        return operands in ("action", "context")
    if operator == ".":
        return operands["attr"] not in ID_ATTRIBUTES and (
            _is_thing(operands["left"]) or _compares(operands["left"])
        )
    if operator == "has":
        return _is_thing(operands["left"]) or _compares(operands["left"])
    if operator in ("in", "is"):
        return (_is_thing(operands["left"]) or _compares(operands["left"])) and _compares(
            operands.get("right", [])
        )
    if operator in ("==", "!=") and _is_id(operands["left"]) and _is_id(operands["right"]):
        return True
    if operator in _TRANSPARENT or operator in _COUNTED:
        parts = list(cast(dict[str, Any], operands).values()) if isinstance(operands, dict) else operands
        return _compares(parts)
    return False


def _closed_value(value: object) -> bool:
    """Text, numbers and switches are no ids (no id attribute reaches them); of entities, only the enumerated ones."""
    if isinstance(value, dict):
        entity = cast(dict[str, Any], value).get("__entity", {})
        return entity.get("type") in _CLOSED
    return isinstance(value, (bool, int, str))


def _is_thing(node: dict[str, Any]) -> bool:
    return node in ({"Var": "principal"}, {"Var": "resource"})


def _is_id(node: dict[str, Any]) -> bool:
    access = node.get(".")
    return access is not None and access["attr"] in ID_ATTRIBUTES and _is_thing(access["left"])
