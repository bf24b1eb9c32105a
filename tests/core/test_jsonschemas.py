"""JSON Schemas and answers, both by strangers."""

from typing import Any

import pytest

from builderos.core.jsonschemas import first_fault, schema_fault

PERSON = {
    "type": "object", "required": ["name"],
    "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}, "ages": {"items": {"type": "integer"}}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"name": "Ada"}, None),
        ({"name": "Ada", "ages": [1, "two"]}, ("ages.1", "'two' is not of type 'integer'")),
        ({"name": "ada"}, ("name", "'ada' does not match '^[A-Z]'")),
        ({}, ("", "'name' is a required property")),
        ([], ("", "[] is not of type 'object'")),
    ],
)
def test_the_first_fault_is_told_by_its_place(value: Any, fault: tuple[str, str] | None) -> None:
    assert schema_fault(PERSON) == ""
    assert first_fault(PERSON, value) == fault


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"patternProperties": {"^x": {"type": "integer"}}}, {"x": 1, "y": "a"}, {"x": "a"}),
        ({"properties": {"a": {}}, "patternProperties": {"^x": {}}, "additionalProperties": False}, {"a": 1, "x1": 1},
         {"a": 1, "b": 1}),
        ({"additionalProperties": {"type": "integer"}}, {"a": 1}, {"a": "b"}),
        ({"uniqueItems": True}, [1, "1", True, {"a": 1}, {"a": 2}], [{"a": 1, "b": 2}, {"b": 2, "a": 1.0}]),
        ({"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}}, [1], ["a"]),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "exclusiveMinimum": 5}, 6, 5),
    ],
)  # fmt: skip
def test_keywords_mean_what_the_standard_says(schema: dict[str, Any], good: Any, bad: Any) -> None:
    assert schema_fault(schema) == ""
    assert first_fault(schema, good) is None
    assert first_fault(schema, bad) is not None


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"$ref": "http://127.0.0.1:9/schema"}, "leads out of the file"),
        (
            {"properties": {"a": {"$schema": "http://json-schema.org/draft-04/schema#"}}},
            "$schema cannot be used",
        ),
        ({"properties": {"a": {"$id": "http://127.0.0.1:9/"}}}, "$id cannot be used"),
        ({"properties": {"a": {"pattern": "(?=a)a"}}}, "linear time"),
        ({"patternProperties": {"(a)\\1": {}}}, "linear time"),
        ({"unevaluatedProperties": False, "allOf": [{"patternProperties": {}}]}, "together with"),
        ({"type": 5}, "type: 5 is not valid"),
        ([], "expected a JSON Schema"),
    ],
)
def test_what_could_lead_out_or_take_for_ever_is_refused(schema: Any, why: str) -> None:
    assert why in schema_fault(schema)


def test_a_pattern_that_would_take_for_ever_takes_no_time() -> None:
    schema = {"pattern": "^(a+)+$"}
    assert schema_fault(schema) == ""
    assert first_fault(schema, "a" * 40 + "!") is not None


def test_a_schema_that_doubles_its_work_at_every_level_is_cut_off() -> None:
    levels = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(40)}
    schema = {"$defs": {**levels, "l40": {}}, "$ref": "#/$defs/l0"}
    assert schema_fault(schema) == ""
    assert first_fault(schema, 1) == ("", "its schema asks for too much work")


def test_a_schema_that_leads_back_to_itself_comes_to_an_end() -> None:
    schema = {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
    assert schema_fault(schema) == ""
    fault = first_fault(schema, 1)
    assert fault is not None
    assert "without end" in fault[1] or "too much" in fault[1]
