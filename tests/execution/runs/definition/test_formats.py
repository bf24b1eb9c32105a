"""The published schema and the reader know the same keys, and agree on what is sound."""

from typing import Any

import jsonschema
import pytest
import yaml

from builderos.execution.runs import shipped
from builderos.execution.runs.definition import read, service, steps, triggers
from builderos.execution.runs.definition.formats import SCHEMA
from tests.execution.runs.definition.test_parsing import SPEC


def at(*path: str) -> dict[str, Any]:
    found: Any = SCHEMA
    for key in path:
        found = found[key] if key != "?" else found["anyOf"][1]
    return found["properties"]


def test_the_schema_has_every_key_of_the_reader():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    step = at("properties", "steps", "items")

    assert tuple(sorted(at())) == tuple(sorted(service.TOP_KEYS))
    assert set(step) == set(steps.STEP_KEYS)
    assert set(at("properties", "defaults")) == set(steps.DEFAULTED)
    assert set(at("properties", "params", "additionalProperties", "?")) == set(service.PARAM_KEYS)
    assert set(at("properties", "concurrency", "?")) == set(service.CONCURRENCY_KEYS)
    for key, known in (
        ("retries", steps.RETRY_KEYS),
        ("approval", steps.APPROVAL_KEYS),
        ("question", steps.QUESTION_KEYS),
    ):
        assert set(step[key]["anyOf"][1]["properties"]) == set(known)
    kinds = {key for form in at()["triggers"]["anyOf"][0]["oneOf"][1:] for key in form["properties"]}
    assert kinds == set(triggers.TRIGGER_KEYS)


@pytest.mark.parametrize("name", ["spec", *shipped.names()])
def test_what_is_sound_fits_the_schema(name: str):
    found = shipped.find(name)
    text = found.content if found else SPEC

    jsonschema.validate(yaml.safe_load(text), SCHEMA)
    assert read(text)[1] == []


@pytest.mark.parametrize(
    "change",
    [
        {"steps": []},
        {"steps": [{"id": "X", "run": "e"}]},
        {"steps": [{"id": "x"}]},
        {"steps": [{"id": "x", "run": "e", "timeout": "10"}]},
        {"steps": [{"id": "x", "run": "e", "network": ["http://a.b"]}]},
        {"steps": [{"id": "x", "run": "e", "outputs": ["../a"]}]},
        {"steps": [{"id": "x", "run": "e", "more": 1}]},
        {"triggers": [{"schedule": "0 3 * * *", "webhook": "push"}]},
        {"lanes": "sometimes"},
        {"name": None},
    ],
)
def test_what_does_not_fit_the_schema_is_refused_by_the_reader(change: dict[str, Any]):
    document = {"name": "a", "steps": [{"id": "x", "run": "e"}]} | change

    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(document)
    assert read(yaml.safe_dump(document))[1]
