"""JSON Schemas that people write into files."""

from typing import Any, cast


def schema_fault(schema: Any) -> str:
    """Why this is no JSON Schema that can be used here; empty where it is one."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    if not isinstance(schema, dict):
        return "expected a JSON Schema"
    try:
        Draft202012Validator.check_schema(cast("dict[str, Any]", schema))
    except SchemaError as error:
        return f"{'.'.join(map(str, error.absolute_path)) or 'schema'}: {error.message[:200]}"
    return _foreign(schema)


def _foreign(value: Any) -> str:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        ref = items.get("$ref")
        if isinstance(ref, str) and not ref.startswith("#"):
            return f"$ref leads out of the file: {ref[:100]}"
        return next((why for item in items.values() if (why := _foreign(item))), "")
    if isinstance(value, list):
        return next((why for item in cast("list[Any]", value) if (why := _foreign(item))), "")
    return ""
