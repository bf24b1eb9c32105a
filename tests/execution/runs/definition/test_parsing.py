"""A pipeline file is read whole or refused with the place of every mistake."""

import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from builderos.core.problems import Problem
from builderos.execution.runs.definition import expand, parse, read

SPEC = """\
# ship/feature_pipeline/pipeline.yaml
name: feature_pipeline
triggers: [manual, {schedule: "0 3 * * *"}, {webhook: push}, {after: other_pipeline}]
steps:
  - {id: plan, agent: planner, action: plan, tools: [read_file]}
  - {id: gen_api, agent: builder, action: generate, needs: [plan], lane: a, retries: {max: 2, backoff: 2s}, timeout: 10m}
  - {id: gen_docs, agent: docwriter, action: document, needs: [plan], lane: b, on_fail: continue}
  - {id: test, agent: tester, action: test, needs: [gen_api], gates: [tests_pass, {eval: planner-suite}], cache: true}
  - {id: pr, action: git.open_pr, needs: [test, gen_docs]}
  - {id: preview, action: deploy.preview, needs: [pr]}
  - {id: verify, action: verify, needs: [preview], on_fail: rollback}
"""  # noqa: E501
ACTIONS = {"run", "git.commit", "git.open_pr"}


def refusals(text: str, **options: Any) -> list[dict[str, Any]]:
    with pytest.raises(Problem) as caught:
        parse(text, **options)
    assert caught.value.code == "validation_failed"
    return caught.value.extra["errors"]


def places(text: str, **options: Any) -> list[tuple[str, str, int]]:
    return [(e["code"], e["where"], e["line"]) for e in refusals(text, **options)]


def steps(*lines: str) -> str:
    return "name: a\nsteps:\n" + "".join(f"  - {line}\n" for line in lines)


def test_the_example_of_the_specification_is_read_as_it_stands():
    found = parse(SPEC, name="feature_pipeline")

    assert found.ref == "feature_pipeline@1.0.0"
    assert [step.id for step in found.steps] == "plan gen_api gen_docs test pr preview verify".split()
    assert [(t.kind, t.schedule, t.event, t.pipeline) for t in found.triggers] == [
        ("manual", None, None, None),
        ("schedule", "0 3 * * *", None, None),
        ("webhook", None, "push", None),
        ("after", None, None, "other_pipeline"),
    ]
    gen = found.steps[1]
    assert (gen.retries.max, gen.retries.backoff_s, gen.timeout_s, gen.lane) == (2, 2, 600, "a")
    assert [(gate.kind, gate.suite) for gate in found.steps[3].gates] == [
        ("tests_pass", None),
        ("eval", "planner-suite"),
    ]
    assert (found.steps[2].on_fail, found.steps[6].on_fail) == ("continue", "rollback")


def test_the_digest_is_of_what_a_file_says_and_not_of_how():
    same = "steps:\n- run: echo\n  id: x   # why\n  on_fail: stop\nname: a\nversion: '1.0.0'\n"

    assert parse(steps("{id: x, run: echo}")).digest == parse(same).digest
    assert parse(steps("{id: x, run: 'echo '}")).digest != parse(same).digest


@pytest.mark.parametrize(
    ("text", "code", "where", "line"),
    [
        ("", "invalid", "", 1),
        ("name: [", "not_yaml", "", 2),
        ("- name: a", "invalid", "", 1),
        ("name: a\n", "missing_key", "", 1),
        ("name: a\nsteps: []\n", "invalid", "steps", 2),
        ("name: A b\nsteps: [{id: x, run: e}]\n", "invalid", "name", 1),
        ("name: a\nversion: '1'\nsteps: [{id: x, run: e}]\n", "invalid", "version", 2),
        ("name: a\nname: b\nsteps: [{id: x, run: e}]\n", "duplicate_key", "name", 2),
        ("name: &a a\nsteps: [{id: x, run: *a}]\n", "alias", "", 1),
        ("name: !!str a\nsteps: [{id: x, run: e}]\n", "tag", "", 1),
        ("name: a\n---\nname: b\n", "too_deep", "", 2),
        ("name: a\nsteps: [[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]\n", "too_deep", "", 2),
        (steps("{id: x, run: e, need: [y]}"), "unknown_key", "steps[0].need", 3),
        (steps("{id: x}"), "kind", "steps[0]", 3),
        (steps("{id: x, run: e, python: 'a:b'}"), "kind", "steps[0]", 3),
        (steps("{id: x, approval: sure, timeout: 1m}"), "kind", "steps[0].timeout", 3),
        (steps("{id: x.y, run: e}"), "invalid", "steps[0].id", 3),
        (steps("{id: no, run: e}"), "invalid", "steps[0].id", 3),
        (steps("{id: x, run: e, timeout: 10}"), "invalid", "steps[0].timeout", 3),
        (steps("{id: x, run: e, timeout: 99999d}"), "invalid", "steps[0].timeout", 3),
        (steps("{id: x, run: e, retries: {max: 99}}"), "invalid", "steps[0].retries.max", 3),
        (steps("{id: x, run: e, on_fail: explode}"), "invalid", "steps[0].on_fail", 3),
        (steps("{id: x, run: e, network: ['http://a.b']}"), "invalid", "steps[0].network[0]", 3),
        (steps("{id: x, run: e, env: {BUILDEROS_X: '1'}}"), "invalid", "steps[0].env.BUILDEROS_X", 3),
        (steps("{id: x, run: e, outputs: ['../a']}"), "invalid", "steps[0].outputs[0]", 3),
        (steps("{id: x, run: e, inputs: {'${{': [a]}}"), "invalid", "steps[0].inputs", 3),
        (steps("{id: x, python: 'os.system'}"), "invalid", "steps[0].python", 3),
        (steps("{id: x, uses: other}"), "invalid", "steps[0].uses", 3),
        (steps("{id: x, run: e, gates: [lunch]}"), "invalid", "steps[0].gates[0]", 3),
        (steps("{id: x, run: e, matrix: {a: []}}"), "invalid", "steps[0].matrix.a", 3),
        (steps("{id: x, run: e}", "{id: x, run: e}"), "duplicate_id", "steps[1].id", 4),
        (steps("{id: x, run: e, needs: [y]}"), "unknown_need", "steps[0].needs", 3),
        (steps("{id: x, run: e, needs: [x]}"), "cycle", "steps[0].needs", 3),
        (steps("{id: x, run: e, when: 'steps.y.status'}"), "unknown_step", "steps[0].when", 3),
        (
            steps("{id: x, run: e, when: 'steps.y.status'}", "{id: y, run: e}"),
            "not_before",
            "steps[0].when",
            3,
        ),
        (steps("{id: x, run: e, when: params.y}"), "unknown_param", "steps[0].when", 3),
        (steps("{id: x, run: e, when: matrix.y}"), "unknown_axis", "steps[0].when", 3),
        (steps("{id: x, run: e, when: 'a && b'}"), "expression", "steps[0].when", 3),
        (steps("{id: x, run: 'e ${{ run.branch }}'}"), "injection", "steps[0].run", 3),
        (steps("{id: x, run: 'e ${{ run.id'}"), "expression", "steps[0].run", 3),
        (steps("{id: x, run: e, env: {A: '${{ success() }}'}}"), "expression", "steps[0].env", 3),
        (steps("{id: x, action: git.comit}"), "unknown_action", "steps[0].action", 3),
        (steps("{id: x, run: ' '}"), "invalid", "steps[0].run", 3),
        (steps("{id: x, agent: e}"), "unknown_action", "steps[0].agent", 3),
    ],
)
def test_a_mistake_is_told_with_its_code_place_and_line(text: str, code: str, where: str, line: int):
    assert (code, where, line) in places(text, actions=ACTIONS)


@pytest.mark.parametrize(
    ("trigger", "where"),
    [
        ("{schedule: '0 3 * *'}", "triggers[0].schedule"),
        ("{schedule: '61 * * * *'}", "triggers[0].schedule"),
        ("{schedule: '*/0 * * * *'}", "triggers[0].schedule"),
        ("{webhook: 'Push It'}", "triggers[0].webhook"),
        ("{push: []}", "triggers[0].push"),
        ("{after: a}", "triggers[0]"),
        ("{after: {pipeline: b, statuses: [won]}}", "triggers[0].after.statuses[0]"),
        ("{schedule: '0 3 * * *', webhook: push}", "triggers[0]"),
        ("{schedule: '0 3 * * *', params: {b: 1}}", "triggers[0].params.b"),
        ("sometimes", "triggers[0]"),
    ],
)
def test_a_trigger_that_could_never_start_a_run_is_refused(trigger: str, where: str):
    text = f"name: a\ntriggers: [{trigger}]\nsteps: [{{id: x, run: e}}]\n"

    assert where in [error["where"] for error in refusals(text)]


@pytest.mark.parametrize(
    ("param", "given"),
    [
        ("{type: text}", "params.p.type"),
        ("{type: integer, default: a}", "params.p.default"),
        ("{choices: [a, 1]}", "params.p.choices"),
        ("{choices: [a], default: b}", "params.p.default"),
        ("{pattern: '(?=a)'}", "params.p.pattern"),
        ("{required: true, default: a}", "params.p.default"),
    ],
)
def test_a_parameter_that_contradicts_itself_is_refused(param: str, given: str):
    text = f"name: a\nparams: {{p: {param}}}\nsteps: [{{id: x, run: e}}]\n"

    assert given in [error["where"] for error in refusals(text)]


def test_every_mistake_of_a_file_is_told_at_once_in_the_order_of_its_lines():
    text = steps("{id: x, run: e, tiemout: 1m}", "{id: y, run: e, lane: B}", "{id: z, run: e, cache: yes}")

    assert [line for _, _, line in places(text)] == [3, 4, 5]


def test_mistakes_of_the_whole_are_told_together_with_those_of_single_places():
    text = steps(
        "{id: a, action: nope.nope}",
        "{id: a, run: e, foo: 1}",
        "{id: b, needs: [zz], run: 'e ${{ params.x }}', gates: [{eval: suite}]}",
        "{id: c, run: e, timeout: 10, when: steps.b.status}",
    )

    found = places(text, actions=ACTIONS, gates=["tests_pass"])

    assert found == [
        ("unknown_action", "steps[0].action", 3),
        ("duplicate_id", "steps[1].id", 4),
        ("unknown_key", "steps[1].foo", 4),
        ("unknown_need", "steps[2].needs", 5),
        ("unknown_gate", "steps[2].gates[0]", 5),
        ("invalid", "steps[3].timeout", 6),
    ]


@pytest.mark.parametrize(
    "text",
    [
        steps("{id: X, run: e}", "{id: b, run: e, needs: [x], when: steps.x.status}"),
        steps("{run: e}", "{id: b, run: e, needs: [x], when: steps.x.status}"),
        steps("{id: x, agent: 'A B'}", "{id: b, run: e, needs: [x]}"),
        steps("{id: x, python: e}"),
        steps("{id: x, run: 'a ${{ params.p }}'}") + "params: {p: {type: text}}\n",
        steps("{id: x, run: 'a ${{ matrix.p }}', matrix: {p: [a], include: [{q: 1}]}}"),
        steps("{id: x, run: e}", "{id: b, run: e, needs: [x, X], when: steps.x.status}"),
        steps("{id: x, run: e}", "{id: b, run: e, needs: X, when: steps.x.status}"),
    ],
    ids=["id", "no id", "agent", "python", "params", "matrix", "needs", "need"],
)
def test_what_hangs_on_a_place_that_cannot_be_read_is_no_mistake_of_its_own(text: str):
    assert len(refusals(text, actions=ACTIONS)) == 1


def test_steps_that_need_many_are_looked_over_in_linear_time():
    lines = [
        f"{{id: s{i}, run: e, needs: [{','.join(f's{n}' for n in range(min(i + 140, 1_199), i, -1))}]}}"
        for i in range(1_200)
    ]
    text = steps(*lines, "{id: last, run: e, needs: [s0], when: steps.s1199.status}")

    began = time.process_time()
    definition = parse(text)
    assert len(expand(definition, {})) == 1_201
    assert time.process_time() - began < 3


def test_a_nul_in_a_script_is_told_as_that():
    error = refusals(steps('{id: x, run: "a\\0b"}'))[0]

    assert error["message"] == "the text holds a NUL character"


@pytest.mark.parametrize("days", ["31 2", "30 2", "31 4,6,9,11", "30-31 2"])
def test_a_schedule_that_never_comes_is_refused(days: str):
    text = f"name: a\ntriggers: [{{schedule: '0 0 {days} *'}}]\nsteps: [{{id: x, run: e}}]\n"

    assert [(e["code"], e["message"]) for e in refusals(text)] == [("cron", "no such day ever comes")]
    assert parse(text.replace(f"{days} *", "29 2 *")).triggers[0].schedule == "0 0 29 2 *"
    assert parse(text.replace(f"{days} *", f"{days} 1")).triggers[0].kind == "schedule"


def test_a_priority_goes_from_one_to_nine():
    found = [error["where"] for error in refusals(steps("{id: x, run: e}") + "priority: 0\n")]

    assert found == ["priority"]


def test_a_mistake_inside_an_expression_is_told_with_its_column():
    line = "  - {id: x, run: e, when: 'params.a = 1'}"
    error = refusals(f"name: a\nsteps:\n{line}\n")[0]

    assert error["column"] - 1 == line.index("= 1")
    assert error["hint"] == "Compare with ==."


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (steps("{id: x, run: e, need: [y]}"), "Did you mean needs?"),
        (steps("{id: test, run: e}", "{id: y, run: e, needs: [tset]}"), "Did you mean test?"),
        (steps("{id: x, action: git.comit}"), "Did you mean git.commit?"),
        (steps("{id: x, run: e, on_fail: contine}"), "Did you mean continue?"),
    ],
)
def test_a_near_miss_is_told_what_was_meant(text: str, meant: str):
    assert meant in refusals(text, actions=ACTIONS)[0]["hint"]


def test_a_cycle_is_named_step_by_step():
    text = steps(
        "{id: a, run: e}",
        "{id: b, run: e, needs: [a, d]}",
        "{id: c, run: e, needs: [b]}",
        "{id: d, run: e, needs: c}",
    )

    error = refusals(text)[0]

    assert "b → d → c → b" in error["message"]
    assert (error["code"], error["line"]) == ("cycle", 4)


def test_ten_thousand_steps_are_refused_by_their_number_at_once():
    text = "name: big\nsteps:\n" + "".join(f"  - {{id: s{i}, run: 'echo {i}'}}\n" for i in range(10_000))

    began = time.process_time()
    error = refusals(text)[0]

    assert (error["code"], error["where"], error["line"]) == ("too_many", "steps", 5_003)
    assert time.process_time() - began < 1


def test_five_thousand_steps_in_a_chain_are_read():
    lines = [f"{{id: s{i}, run: e{f', needs: [s{i - 1}]' if i else ''}}}" for i in range(5_000)]

    assert len(parse(steps(*lines)).steps) == 5_000


def test_a_hundred_mistakes_are_told_and_not_a_thousand():
    assert len(refusals(steps(*("{id: X, rnu: e}" for _ in range(1_000))))) == 100


def test_a_file_in_the_folder_of_another_pipeline_is_refused():
    assert ("name", "name", 1) in places(steps("{id: x, run: e}"), name="b")


def test_what_a_step_does_not_say_is_taken_from_the_defaults():
    text = (
        "name: a\ndefaults: {runtime: py311, timeout: 1h30m, env: {A: '1', B: '1'}, network: [a.example.com]}\n"
        "steps:\n - {id: x, run: e, env: {B: '2'}}\n - {id: y, run: e, timeout: 5s}\n - {id: z, approval: sure}\n"
    )

    x, y, z = parse(text).steps

    assert (x.runtime, x.timeout_s, dict(x.env), x.network) == (
        "py311",
        5_400,
        {"A": "1", "B": "2"},
        ("a.example.com",),
    )
    assert (y.timeout_s, z.timeout_s, z.runtime) == (5, None, None)


PIECES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**9) | st.sampled_from(
        ["x", "y", "run", "10m", "${{ params.a }}", "${{", "steps.x.status == 'failed'", "*", "a.b:c", "\x00", "é"]
    ),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            "name version steps id run needs when matrix env inputs gates approval triggers params retries uses".split()
        ),
        inner,
        max_size=6,
    ),
    max_leaves=25,
)  # fmt: skip


@settings(max_examples=200, deadline=None, derandomize=True)
@given(PIECES, st.lists(PIECES, max_size=4))
def test_whatever_a_file_holds_it_is_read_or_refused_with_places(top: Any, listed: list[Any]):
    document = (top if isinstance(top, dict) else {}) | {"name": "a", "steps": listed}
    found, issues = read(yaml.safe_dump(document, allow_unicode=True))

    assert (found is None) == bool(issues)
    assert all(issue.line >= 1 and issue.column >= 1 and issue.message for issue in issues)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data())
def test_a_file_with_a_piece_torn_out_or_doubled_never_breaks_the_reader(data: st.DataObject):
    at, to = (data.draw(st.integers(0, len(SPEC))) for _ in range(2))
    text = SPEC[:at] + data.draw(st.text(max_size=8)) + SPEC[to:]

    found, issues = read(text)

    assert (found is None) == bool(issues)
