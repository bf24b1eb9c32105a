"""Prompts and evals on the command line: written, published, tried, compared, carried elsewhere."""

import xml.etree.ElementTree as ElementTree

import pytest

from .conftest import Line

PROMPT = """\
name: cli_planner
version: 1.0.0
changelog: First.
tags: [cli]
inputs: {goal: string, most: {type: integer, default: 3}}
template: |
  Please plan {{ goal }} in {{ most }} steps.
"""
SUITE = """\
prompt: cli_planner
models: [echo]
cases:
  - {id: kind, input: {goal: it}, expect: [{type: contains, value: Please}]}
  - {id: named, input: {goal: it}, expect: [{type: contains, value: it}]}
"""


@pytest.fixture
def writer(builder: Line) -> Line:
    """The builder with a published prompt and a suite on the own branch."""
    builder.write("p.yaml", PROMPT)
    builder.ok("prompt", "publish", "p.yaml", "--as", "owner")
    builder.write("evals/cli.yaml", SUITE)
    builder.ok("commit", "evals/cli.yaml", "-m", "Suite")
    return builder


def test_a_prompt_is_looked_over_published_shown_and_filled_in(writer: Line) -> None:
    assert "no mistake" in writer.ok("prompt", "lint", "p.yaml", "--as", "owner")
    writer.write("bad.yaml", PROMPT.replace("{{ goal }}", "{{ gaol }}"))
    bad = writer("prompt", "lint", "bad.yaml", "--as", "owner")
    assert (bad.code, bad.out.splitlines()[0]) == (1, "bad.yaml:7:1: template: there is no input 'gaol'")

    rendered = ("prompt", "render", "cli_planner@1.0.0", "-i", "goal=5 tests", "-i", "most:=2")
    assert writer.ok(*rendered) == "Please plan 5 tests in 2 steps.\n"
    assert writer("prompt", "render", "cli_planner@1.0.0", "-i", "goal:=5").code == 2
    assert writer.ok("prompt", "show", "cli_planner@1.0.0", "--file") == PROMPT
    assert "cli_planner" in writer.ok("prompt", "list", "--tag", "cli")


def test_versions_are_compared_labelled_and_carried(writer: Line) -> None:
    writer.write("next.yaml", PROMPT.replace("1.0.0", "1.1.0").replace("Please plan", "Please do plan"))
    writer.ok("prompt", "publish", "next.yaml", "--as", "owner")
    diff = writer.ok("prompt", "diff", "cli_planner", "--from", "1.0.0", "--to", "1.1.0")
    assert "+  Please do plan {{ goal }} in {{ most }} steps." in diff.splitlines()
    writer.ok("prompt", "label", "cli_planner@1.0.0", "trial", "--as", "owner")
    shown = writer.json("prompt", "versions", "cli_planner")["items"]
    assert {v["version"]: v["labels"] for v in shown} == {"1.1.0": [], "1.0.0": ["trial"]}
    writer.ok("prompt", "label", "cli_planner", "trial", "--remove", "--as", "owner")

    writer.ok("prompt", "export", "cli_planner@^1", "-o", "pack.zip", "--as", "owner")
    again = writer.json("prompt", "import", "pack.zip", "--as", "owner")
    assert again["unchanged"] == ["cli_planner@1.1.0"]
    writer.write("broken.zip", (writer.folder / "pack.zip").read_bytes()[:-30])
    assert writer("prompt", "import", "broken.zip", "--as", "owner").code == 2


def test_a_suite_that_is_worse_ends_with_one_and_writes_its_reports(writer: Line) -> None:
    assert "2 cases" in writer.ok("eval", "lint", "evals/cli.yaml")
    good = writer("eval", "run", "cli", "--prompt", "cli_planner@1.0.0", "--junit", "good.xml")
    assert (good.code, good.out.splitlines()[0]) == (
        0,
        "cli on cli_planner@1.0.0: pass, 2 of 2 cases (34% to 100%)",
    )

    writer.write("prompts/cli_planner.yaml", PROMPT.replace("1.0.0", "1.2.0").replace("Please plan", "Plan"))
    writer.ok("commit", "prompts/cli_planner.yaml", "-m", "Shorter")
    bad = writer("eval", "run", "cli", "--junit", "bad.xml", "--markdown", "bad.md", "--baseline", "1.0.0")
    assert (bad.code, "Against 1.0.0: worse is kind" in bad.out) == (1, True), bad
    root = ElementTree.fromstring((writer.folder / "bad.xml").read_text())
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    assert "Worse than before: kind" in (writer.folder / "bad.md").read_text()
    assert writer("eval", "show", "cli", "--version", "1.2.0").code == 1
    assert writer.json("eval", "list", "--suite", "cli")["items"][0]["regressions"] == 1


def test_what_is_not_supported_is_told_with_its_place(writer: Line) -> None:
    writer.write(
        "pf.yaml", "prompts: [x]\nproviders: [echo]\ntests:\n  - assert: [{type: javascript, value: x}]\n"
    )
    found = writer("eval", "lint", "pf.yaml")
    assert found.code == 1
    assert found.out.startswith("pf.yaml:4:")
    assert "javascript" in found.out


def test_a_prompt_in_a_file_beside_the_suite_is_looked_over_with_it(writer: Line) -> None:
    suite = "prompts: [file://hello.txt]\nproviders: [echo]\ntests: [{vars: {name: Ada}}]\n"
    writer.write("evals/beside.yaml", suite)
    assert "there is no file 'hello.txt'" in writer("eval", "lint", "evals/beside.yaml").out
    writer.write("evals/hello.txt", "Hello {{name}}")
    assert "1 cases" in writer.ok("eval", "lint", "evals/beside.yaml")


def test_the_workflow_names_what_it_needs(writer: Line) -> None:
    text = writer.ok("eval", "workflow")
    assert "builderos eval run" in text
    assert "pull_request" in text
