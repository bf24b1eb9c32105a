"""A definition and its params become the nodes of a run, always the same ones."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builderos.core.problems import Problem
from builderos.execution.runs.definition import (
    Definition,
    Node,
    Result,
    bind,
    decide,
    expand,
    fill,
    node_of,
    parse,
    wanted,
)

OK = Result("succeeded")
BAD = Result("failed")


def pipeline(steps: str, top: str = "") -> Definition:
    return parse(f"name: a\n{top}\nsteps:\n{steps}")


def nodes(steps: str, top: str = "", params: dict[str, Any] | None = None, **options: Any) -> dict[str, Node]:
    return {node.id: node for node in expand(pipeline(steps, top), params or {}, **options)}


def refused(
    steps: str, top: str = "", params: dict[str, Any] | None = None, **options: Any
) -> dict[str, Any]:
    with pytest.raises(Problem) as caught:
        nodes(steps, top, params, **options)
    assert caught.value.code == "validation_failed"
    return caught.value.extra["errors"][0]


def test_a_matrix_becomes_one_node_for_each_combination_that_is_left():
    found = nodes(
        """
  - id: test
    matrix: {os: [linux, mac], py: ["3.11", "3.12"], exclude: [{os: mac, py: "3.11"}], include: [{os: bsd, py: "3.9"}]}
    run: tox -e ${{ matrix.py }}
    env: {OS: "${{ matrix.os }}!"}
  - {id: after, run: done, needs: test}
"""
    )

    assert list(found) == ["test-linux-3_11", "test-linux-3_12", "test-mac-3_12", "test-bsd-3_9", "after"]
    assert found["test-mac-3_12"].run == "tox -e 3.12"
    assert found["test-mac-3_12"].env == {"OS": "mac!"}
    assert found["after"].needs == tuple(list(found)[:4])


def test_a_node_keeps_its_value_through_json():
    found = nodes(
        """
  - {id: x, run: e, retries: {max: 3, backoff: 1s, factor: 3, jitter: 0}, gates: [tests_pass, {approval: o}]}
  - {id: y, question: {message: which, choices: [a, b], expires: 2d}, needs: [x], when: "steps.x.status == 'failed'"}
  - {id: z, run: e, needs: y, env: {A: "${{ steps.y.outputs.answer }}"}}
"""
    )

    for node in found.values():
        assert node_of(json.loads(json.dumps(node.as_json()))) == node


def test_equal_names_of_nodes_are_told_apart():
    found = nodes("  - {id: t, matrix: {v: ['a b', a_b]}, run: e}\n  - {id: t-a_b-2, run: e}\n")

    assert len(found) == 3


def test_params_are_checked_and_have_their_defaults():
    top = (
        "params: {n: {type: integer, min: 1, max: 5, default: 2}, word: {pattern: '[a-z]+', required: true}}"
    )
    definition = pipeline("  - {id: x, run: e}\n", top)

    assert bind(definition, {"word": "abc"}) == {"n": 2, "word": "abc"}
    for given in ({}, {"word": "A"}, {"word": "a", "n": True}, {"word": "a", "n": 9}, {"word": "a", "m": 1}):
        with pytest.raises(Problem):
            bind(definition, given)


def test_a_value_from_outside_stands_in_a_variable_and_not_in_a_script():
    top = "params: {goal: string}"
    found = nodes(
        '  - {id: x, run: \'echo "$GOAL"\', env: {GOAL: "${{ params.goal }}"}}\n',
        top,
        {"goal": '"; rm -rf /'},
    )

    assert found["x"].run == 'echo "$GOAL"'
    assert found["x"].env == {"GOAL": '"; rm -rf /'}


def test_a_value_of_few_stands_in_a_script():
    top = "params: {env: {choices: [stage, prod], default: stage}, n: {type: integer, default: 3}}"

    assert nodes("  - {id: x, run: 'go ${{ params.env }} ${{ params.n }}'}\n", top)["x"].run == "go stage 3"


def test_a_text_with_an_expression_inside_a_value_is_not_read_again():
    top = "params: {goal: string}"
    node = nodes('  - {id: x, run: e, env: {A: "${{ params.goal }}"}}\n', top, {"goal": "${{ run.id }}"})["x"]

    assert fill(node, {}).env == {"A": "${{ run.id }}"}


def test_facts_of_the_run_are_filled():
    found = nodes(
        '  - {id: x, run: e, env: {A: "${{ run.id }}/${{ run.branch }}"}}\n',
        facts={"id": "run_1", "branch": "b"},
    )

    assert found["x"].env == {"A": "run_1/b"}


def test_what_only_results_know_is_filled_right_before_a_node_starts():
    found = nodes(
        """
  - {id: x, run: e}
  - {id: y, needs: x, run: e, env: {A: "v${{ steps.x.outputs.n }}"}, inputs: {all: "${{ steps.x.outputs.list }}"}}
  - {id: z, needs: y, approval: "Ship ${{ steps.x.outputs.n }}?"}
"""
    )
    results = {"x": Result("succeeded", {"n": 5, "list": [1, 2]})}

    y = fill(node_of(json.loads(json.dumps(found["y"].as_json()))), results)

    assert y.env == {"A": "v5", "BUILDEROS_INPUTS": '{"all":[1,2]}'}
    assert fill(found["z"], results).approval.message == "Ship 5?"  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize(
    ("when", "before", "decision"),
    [
        ("", OK, "run"),
        ("", BAD, "needs"),
        ("", Result("failed", goes_on=True), "run"),
        ("", Result("skipped", reason="condition"), "run"),
        ("", Result("skipped", reason="needs"), "needs"),
        ("failure()", OK, "condition"),
        ("failure()", BAD, "run"),
        ("always()", BAD, "run"),
        ("params.go", OK, "condition"),
        ("not params.go", OK, "run"),
        ("not params.go", BAD, "needs"),
        ("steps.x.status == 'failed'", BAD, "needs"),
        ("failure() and steps.x.status == 'failed'", BAD, "run"),
    ],
)
def test_a_node_runs_when_its_condition_holds_and_nothing_before_it_failed(
    when: str, before: Result, decision: str
):
    condition = f', when: "{when}"' if when else ""
    top = "params: {go: {type: boolean, default: false}}"
    found = nodes(f"  - {{id: x, run: e}}\n  - {{id: y, needs: x, run: e{condition}}}\n", top)

    assert decide(found["y"], {"x": before}) == decision
    assert wanted(found["y"], {"x": before}) == (decision == "run")


SUB = parse(
    """
name: sub
params: {x: string}
steps:
  - {id: one, run: e, env: {X: "${{ params.x }}"}}
  - {id: two, run: e, needs: one}
  - {id: three, run: e, needs: one, when: always()}
"""
)


def test_a_sub_pipeline_stands_in_the_place_of_its_step():
    found = nodes(
        """
  - {id: before, run: e}
  - {id: mid, uses: sub@1.0.0, needs: before, inputs: {x: "${{ run.branch }}"}, when: "run.branch == 'b'", lane: q}
  - {id: after, run: e, needs: mid}
""",
        resolve=lambda _name, _version: SUB,
        facts={"branch": "b"},
    )

    assert list(found) == ["before", "mid--one", "mid--two", "mid--three", "after"]
    assert found["mid--one"].env == {"X": "b"}
    assert (found["mid--one"].needs, found["after"].needs) == (("before",), ("mid--two", "mid--three"))
    assert (found["mid--two"].step, found["mid--two"].uses, found["mid--two"].lane) == (
        "mid/two",
        "sub@1.0.0",
        "q",
    )
    assert decide(found["mid--one"], {"before": BAD}) == "needs"
    results = {"before": OK, "mid--one": BAD}
    assert [decide(found[f"mid--{name}"], results) for name in ("two", "three")] == ["needs", "run"]


def test_the_condition_of_a_step_holds_for_its_whole_sub_pipeline():
    found = nodes(
        "  - {id: mid, uses: sub@1.0.0, inputs: {x: a}, when: \"run.branch == 'b'\"}\n",
        resolve=lambda _name, _version: SUB,
        facts={"branch": "other"},
    )

    assert {decide(node, {}) for node in found.values()} == {"condition"}


def test_pipelines_that_use_each_other_are_named_and_refused():
    a = "  - {id: x, uses: b@1.0.0}\n"
    b = parse("name: b\nsteps: [{id: y, uses: a@1.0.0}]\n")

    error = refused(a, resolve=lambda name, _version: b if name == "b" else pipeline(a))

    assert error["code"] == "cycle"
    assert "a@1.0.0 → b@1.0.0 → a@1.0.0" in error["message"]


def test_a_sub_pipeline_that_nobody_knows_is_refused():
    assert refused("  - {id: x, uses: b@1.0.0}\n")["code"] == "unknown_pipeline"


def test_a_matrix_of_a_parameter_is_bounded():
    top, step = "params: {all: list}", '  - {id: x, matrix: {v: "${{ params.all }}"}, run: e}\n'

    assert list(nodes(step, top, {"all": ["a", 2]})) == ["x-a", "x-2"]
    assert refused(step, top, {"all": []})["code"] == "param"
    twice = '  - {id: x, matrix: {v: "${{ params.all }}", w: "${{ params.all }}"}, run: e}\n'
    assert refused(twice, top, {"all": list(range(100))})["code"] == "too_many"


def test_what_unfolds_into_more_than_five_thousand_nodes_is_refused():
    rows = "".join(
        f"  - {{id: s{i}, matrix: {{v: [{', '.join(map(str, range(200)))}]}}, run: e}}\n" for i in range(26)
    )

    assert refused(rows)["code"] == "too_many"


def test_scripts_that_unfold_into_gigabytes_are_refused():
    values = ", ".join(map(str, range(256)))
    rows = "".join(f"  - {{id: s{i}, matrix: {{v: [{values}]}}, run: '{'x' * 30_000}'}}\n" for i in range(3))

    assert refused(rows)["code"] == "too_large"


def test_a_python_entry_point_gets_its_inputs_and_leaves_its_outputs(tmp_path: Path):
    (tmp_path / "tool.py").write_text("def twice(n):\n    return {'n': 2 * n}\n")
    node = fill(nodes("  - {id: x, python: 'tool:twice', inputs: {n: 21}}\n")["x"], {})
    assert node.run is not None
    argv = [sys.executable if word == "python3" else word for word in shlex.split(node.run)[1:]]

    env = dict(node.env) | {"BUILDEROS_OUTPUT": str(tmp_path / "out")}
    subprocess.run(argv, cwd=tmp_path, env=env, check=True)

    assert json.loads((tmp_path / "out").read_text()) == {"n": 42}
