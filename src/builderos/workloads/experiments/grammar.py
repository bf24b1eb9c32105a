"""The words of a search: `metrics.acc > 0.9 AND params.model LIKE 'net%'`, and of its order: `metrics.acc DESC`.

They are those of MLflow's clients. Nothing here knows a database: `asking` makes statements of what was read.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from builderos.core.problems import Problem

Entity = Literal["metric", "param", "tag", "attribute", "dataset", "feedback", "expectation"]
Value = float | int | str | tuple[str, ...] | None
MAX_CLAUSES: Final = 50
MAX_TEXT: Final = 20_000
ENTITIES: Final[Mapping[str, Entity]] = {
    **dict.fromkeys(("metric", "metrics"), "metric"),
    **dict.fromkeys(("param", "params", "parameter", "parameters"), "param"),
    **dict.fromkeys(("tag", "tags"), "tag"),
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), "attribute"),
    **dict.fromkeys(("dataset", "datasets"), "dataset"),
}
TRACES: Final[Mapping[str, Entity]] = {
    **dict.fromkeys(("metadata", "request_metadata", "trace_metadata"), "param"),
    **dict.fromkeys(("tag", "tags"), "tag"),
    **dict.fromkeys(("attribute", "attributes", "trace"), "attribute"),
    "feedback": "feedback", "expectation": "expectation",
}  # fmt: skip
"""The words for traces: metadata are parameters to this grammar."""
NUMBERS: Final = frozenset({"=", "!=", ">", ">=", "<", "<="})
TEXTS: Final = frozenset({"=", "!=", "LIKE", "ILIKE", "IS NULL", "IS NOT NULL"})
LISTED: Final = frozenset({"=", "!=", "LIKE", "ILIKE", "IN", "NOT IN"})
RANGES: Final = frozenset({">", ">=", "<", "<="})
ASSESSED: Final = frozenset({"feedback", "expectation"})
NUMERIC: Final = frozenset({"start_time", "end_time", "creation_time", "last_update_time", "creation_timestamp",
                               "last_updated_timestamp"})  # fmt: skip
ATTRIBUTES: Final[Mapping[str, str]] = {
    "run_id": "run_id", "run id": "run_id", "id": "run_id", "run_name": "run_name", "run name": "run_name",
    "status": "status", "user_id": "user_id", "user": "user_id", "start_time": "start_time", "created": "start_time",
    "end_time": "end_time", "artifact_uri": "artifact_uri",
}  # fmt: skip
EXPERIMENT: Final[Mapping[str, str]] = {
    name: name for name in ("experiment_id", "name", "creation_time", "last_update_time")
}
DATASET: Final = frozenset({"name", "digest", "context"})

_SPACE: Final = re.compile(r"\s*")
_IDENTIFIER: Final = re.compile(r"(?:([A-Za-z_]+)\s*\.\s*)?(?:`([^`]+)`|\"([^\"]+)\"|([A-Za-z_][\w./:-]*))")
_OPERATOR: Final = re.compile(
    r"(>=|<=|!=|=|>|<|NOT\s+IN\b|IN\b|ILIKE\b|LIKE\b|IS\s+NOT\s+NULL\b|IS\s+NULL\b)", re.IGNORECASE
)
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)")
_TEXT: Final = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_AND: Final = re.compile(r"AND\b", re.IGNORECASE)
_ORDER: Final = re.compile(r"\s+(ASC|DESC)\s*\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition; all of them must hold."""

    entity: Entity
    key: str
    operator: str
    value: Value


@dataclass(frozen=True, slots=True)
class Order:
    """One key of the order."""

    entity: Entity
    key: str
    descending: bool


def invalid(detail: str) -> Problem:
    """A search that cannot be read."""
    return Problem(
        "validation_failed", detail,
        hint="Write e.g. metrics.acc > 0.9 AND params.model = 'net' AND tags.team LIKE 'a%'.",
    )  # fmt: skip


def read_filter(
    text: str, attributes: Mapping[str, str] = ATTRIBUTES, entities: Mapping[str, Entity] = ENTITIES
) -> tuple[Clause, ...]:
    """The conditions of a filter; an empty one has none. Raises `validation_failed`."""
    if len(text) > MAX_TEXT or "\x00" in text:
        raise invalid("Invalid filter string: it is too long, or holds a NUL character")
    if not text.strip():
        return ()
    reader, found = _Reader(text, attributes, entities), list[Clause]()
    while True:
        found.append(reader.clause())
        if len(found) > MAX_CLAUSES:
            raise invalid(f"a filter may have {MAX_CLAUSES} conditions")
        if reader.ended():
            return tuple(found)
        reader.conjunction()


def read_order(
    items: Sequence[str],
    attributes: Mapping[str, str] = ATTRIBUTES,
    entities: Mapping[str, Entity] = ENTITIES,
) -> tuple[Order, ...]:
    """The keys of an order. Raises `validation_failed`."""
    found: list[Order] = []
    for item in items:
        named = _ORDER.search(item)
        text = item[: named.start()] if named else item
        match = _IDENTIFIER.fullmatch(text.strip())
        if match is None:
            raise invalid(f"Invalid order_by clause '{item[:200]}'")
        entity, key = _named(match, item, attributes, entities)
        if entity == "dataset":
            raise invalid(f"Invalid order_by clause '{item[:200]}': runs are not ordered by datasets")
        found.append(Order(entity, key, named is not None and named[1].upper() == "DESC"))
    return tuple(found)


def _named(
    match: "re.Match[str]", text: str, attributes: Mapping[str, str], entities: Mapping[str, Entity]
) -> tuple[Entity, str]:
    prefix, tick, quoted, bare = match.groups()
    key = tick or quoted or bare
    if prefix is None and bare is not None and "." in bare:
        prefix, _, key = bare.partition(".")
    assert prefix is None or isinstance(prefix, str)
    entity = entities.get(prefix.lower()) if prefix is not None else "attribute"
    if entity is None:
        raise invalid(f"Invalid entity type '{str(prefix)[:100]}'. There are {', '.join(sorted(entities))}")
    if entity == "attribute":
        known = attributes.get(key.lower())
        if known is None:
            keys = sorted(set(attributes.values()))
            raise invalid(f"Invalid attribute key '{key[:100]}' in '{text[:200]}'. Valid keys are {keys}")
        return entity, known
    if entity == "dataset" and key not in DATASET:
        raise invalid(f"Invalid dataset attribute key '{key[:100]}'. Valid keys are {sorted(DATASET)}")
    return entity, key


class _Reader:
    """Reads a filter from left to right."""

    def __init__(self, text: str, attributes: Mapping[str, str], entities: Mapping[str, Entity]) -> None:
        self._text, self._at, self._attributes, self._entities = text, 0, attributes, entities

    def ended(self) -> bool:
        self._skip()
        return self._at >= len(self._text)

    def conjunction(self) -> None:
        if self._take(_AND) is None:
            raise self._bad()

    def clause(self) -> Clause:
        self._skip()
        begin = self._at
        match = self._take(_IDENTIFIER)
        if match is None:
            raise self._bad()
        found = self._take(_OPERATOR)
        if found is None:
            raise invalid(f"Invalid clause(s) in filter string: '{self._text[begin:][:200].strip()}'")
        entity, key = _named(match, self._text[begin:], self._attributes, self._entities)
        operator = " ".join(found[1].upper().split())
        return Clause(entity, key, operator, self._value(entity, key, operator))

    def _value(self, entity: Entity, key: str, operator: str) -> Value:
        number = entity == "metric" or (entity == "attribute" and key in NUMERIC)
        known = NUMBERS if number else TEXTS if entity in ("param", "tag") else LISTED
        if entity in ASSESSED:
            known, number = TEXTS | RANGES, operator in RANGES
        if operator not in known:
            raise invalid(
                f"Invalid comparator '{operator}' for {entity} '{key[:100]}'; there are {sorted(known)}"
            )
        if operator.startswith("IS "):
            return None
        if operator.endswith("IN"):
            return self._list()
        if number:
            return self._number(entity)
        match = self._take(_TEXT)
        if match is None:
            raise invalid(f"Expected a quoted string value for {entity} '{key[:100]}' (e.g. 'my-value')")
        return match[1] if match[1] is not None else match[2]

    def _number(self, entity: Entity) -> float | int:
        match = self._take(_NUMBER)
        if match is None:
            quoted = self._take(_TEXT)
            match = _NUMBER.fullmatch(quoted[1] or quoted[2] or "") if quoted else None
        if match is None:
            raise invalid(f"Expected numeric value type for {entity}. Found '{self._text[self._at :][:50]}'")
        return float(match[0])

    def _list(self) -> tuple[str, ...]:
        found: list[str] = []
        if not self._char("("):
            raise self._bad()
        while True:
            match = self._take(_TEXT)
            if match is None:
                raise invalid("While parsing a list in the query, expected a non-empty list of string values")
            found.append(match[1] if match[1] is not None else match[2])
            if self._char(")"):
                return tuple(found)
            if not self._char(","):
                raise self._bad()

    def _char(self, char: str) -> bool:
        self._skip()
        if self._text[self._at : self._at + 1] != char:
            return False
        self._at += 1
        return True

    def _take(self, pattern: "re.Pattern[str]") -> "re.Match[str] | None":
        self._skip()
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        return match

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _bad(self) -> Problem:
        return invalid(f"Invalid clause(s) in filter string: '{self._text[self._at :][:200]}'")
