"""A prompt file is read whole or refused with the line of every mistake; what is filled in is never read again."""

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from builderos.assets.prompts import service as prompts
from builderos.assets.prompts.changes import changes, require_bump, suggested
from builderos.assets.prompts.formats import SCHEMA
from builderos.assets.prompts.reading import parse, read
from builderos.assets.prompts.spec import PromptVersion, Spec
from builderos.core.problems import Problem

FILE = """\
name: planner
version: 1.3.0
changelog: Clearer task split.
tags: [plan]
inputs:
  goal: string
  most: {type: integer, default: 5}
output: {schema: {type: object, required: [steps], properties: {steps: {type: array}}}}
template: |
  Split {{ goal }} into at most {{ most }} steps.
  Write \\{{ braces }} as they are.
model: {provider: default, temperature: 0}
"""


def version_of(text: str) -> PromptVersion:
    spec = parse(text)
    return PromptVersion(spec, spec.sha256({}), text, {"type": "test"})


def faults(text: str) -> list[tuple[int, str, str]]:
    return [(issue.line, issue.path, issue.code) for issue in read(text)[1]]


def test_a_file_says_what_it_says() -> None:
    spec = parse(FILE)
    assert (spec.name, spec.version, spec.tags) == ("planner", "1.3.0", ("plan",))
    assert (spec.inputs["goal"].required, spec.inputs["most"].default) == (True, 5)
    assert spec.model == {"provider": "default", "temperature": 0.0}
    assert prompts.render(version_of(FILE), {"goal": "it"}) == (
        "Split it into at most 5 steps.\nWrite {{ braces }} as they are.\n"
    )


def test_every_mistake_has_its_line() -> None:
    text = FILE.replace("1.3.0", "1.3").replace("{{ most }}", "{{ mots }}").replace("string", "sting")
    text = text.replace("temperature: 0", "temperature: 9").replace("changelog: Clearer task split.\n", "")
    assert faults(text) == [
        (1, "", "missing_key"), (2, "version", "invalid"), (5, "inputs.goal", "invalid"),
        (9, "template", "template"), (9, "template", "template"), (11, "model.temperature", "invalid"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (("{{ goal }}", "{{ goal|upper }}"), "template"),
        (("{{ goal }}", "{{# if goal }}"), "template"),
        (("{{ goal }}", "{{ goal.name }}"), "template"),
        (("{{ goal }}", "{{ goal"), "template"),
        (("{{ goal }}", "{{> style }}"), "template"),
        (("type: object,", "type: objekt,"), "output.schema"),
        (("type: object,", "$ref: 'http://x.example/s', type: object,"), "output.schema"),
        (("default: 5", "default: five"), "inputs.most.default"),
        (("default: 5", "default: 5, required: true"), "inputs.most.default"),
        (("default: 5", "default: 5, choices: [1, two]"), "inputs.most.choices"),
        (("tags: [plan]", "tags: [plan]\npartials: [style]"), "partials.style"),
        (("tags: [plan]", "tags: [plan]\npartials: [style@^1]"), "partials.style"),
        (("tags: [plan]", "tags: [plan, plan]"), "tags[1]"),
        (("name: planner", "name: ../planner"), "name"),
        (("tags: [plan]", "tags: &a [plan]"), ""),
        (("tags: [plan]", "flags: [plan]"), "flags"),
    ],
)  # fmt: skip
def test_what_could_mean_something_else_is_refused(change: tuple[str, str], where: str) -> None:
    found = faults(FILE.replace(*change))
    assert where in [path for _, path, _ in found], found


def test_the_published_schema_agrees_with_the_reader() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    validator = Draft202012Validator(SCHEMA)
    assert list(validator.iter_errors(yaml.safe_load(FILE))) == []
    for change in (("1.3.0", "1.3"), ("goal: string", "goal: sting"), ("temperature: 0", "temperature: 9")):
        assert list(validator.iter_errors(yaml.safe_load(FILE.replace(*change)))), change


def test_the_hash_is_that_of_what_the_file_says() -> None:
    spec = parse(FILE)
    respelled = parse("# planner\n" + FILE.replace("tags: [plan]", 'tags:\n  - "plan"'))
    assert respelled.sha256({}) == spec.sha256({})
    others = (
        ("Split", "Cut"),
        ("split.", "cut."),
        ("temperature: 0", "temperature: 1"),
        ("default: 5", "default: 6"),
    )
    for change in others:
        assert parse(FILE.replace(*change)).sha256({}) != spec.sha256({}), change
    partial = parse(FILE.replace("tags: [plan]", "partials: [style@1.0.0]"))
    assert partial.sha256({"style": "sha256:a"}) != partial.sha256({"style": "sha256:b"})


@pytest.mark.parametrize(
    "inputs", [{}, {"goal": 1}, {"goal": None}, {"goal": "x", "most": True}, {"goal": "x", "gaol": "y"}]
)
def test_inputs_that_do_not_fit_are_refused(inputs: dict[str, object]) -> None:
    with pytest.raises(Problem) as error:
        prompts.render(version_of(FILE), inputs)
    assert error.value.code == "validation_failed"
    assert error.value.extra["errors"]


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_a_value_stands_in_the_text_as_it_is(value: str) -> None:
    assert prompts.render(version_of(FILE), {"goal": value}).startswith(
        f"Split {value} into at most 5 steps."
    )


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="{}> \\ag\n#|.", max_size=40))
def test_any_template_is_read_or_refused(template: str) -> None:
    text = FILE.split("template:", maxsplit=1)[0] + "template: " + json.dumps(template) + "\n"
    spec, issues = read(text)
    if spec is not None:
        prompts.render(version_of(text), {"goal": "g"})
    else:
        assert issues


def spec(text: str = FILE, **changes: tuple[str, str]) -> Spec:
    for change in changes.values():
        text = text.replace(*change)
    return parse(text)


@pytest.mark.parametrize(
    ("change", "level"),
    [
        (("Split", "Cut"), "patch"),
        (("task split", "tasks"), "patch"),
        (("[plan]", "[plan, new]"), "patch"),
        (("temperature: 0", "temperature: 1"), "minor"),
        (("default: 5", "default: 6"), "minor"),
        (("  goal: string", "  goal: string\n  tone: {default: dry}"), "minor"),
        (("  goal: string", "  goal: string\n  tone: string"), "major"),
        (("goal: string", "goal: list"), "major"),
        (("goal: string", "goal: {choices: [a]}"), "major"),
        (("{type: integer, default: 5}", "integer"), "major"),
        (("required: [steps]", "required: []"), "major"),
        (("{type: array}", "{type: string}"), "major"),
        (("required: [steps]", "required: [steps], title: x"), "minor"),
    ],
)
def test_what_changed_says_which_number_to_raise(change: tuple[str, str], level: str) -> None:
    old, new = spec(), spec(a=change)
    bumped = {"major": "2.0.0", "minor": "1.4.0", "patch": "1.3.1"}
    assert suggested(old, new) == (level, bumped[level])
    require_bump(old, spec(a=change, v=("version: 1.3.0", f"version: {bumped[level]}")))
    if level != "patch":
        with pytest.raises(Problem) as error:
            require_bump(old, spec(a=change, v=("version: 1.3.0", "version: 1.3.1")))
        assert bumped[level] in error.value.hint


def test_an_input_that_is_gone_is_major() -> None:
    new = spec(a=("  most: {type: integer, default: 5}\n", ""), b=("at most {{ most }} ", ""))
    found = changes(spec(), new)
    assert [(c.field, c.level) for c in found] == [("inputs.most", "major"), ("template", "patch")]


def test_below_one_the_second_number_tells_of_breaks() -> None:
    old = spec(v=("1.3.0", "0.3.0"))
    new = spec(v=("1.3.0", "0.4.0"), a=("goal: string", "goal: list"))
    require_bump(old, new)
    with pytest.raises(Problem, match=r"0\.4\.0|major"):
        require_bump(old, spec(v=("1.3.0", "0.3.1"), a=("goal: string", "goal: list")))
