import json

import jsonschema
import pytest
import yaml

from builderos.assets.workspaces.delivery import (
    Issue,
    Layout,
    changelog,
    empty,
    goals_text,
    issues,
    layout_from,
    memory,
    schemas,
    tasks,
    validate,
)
from builderos.assets.workspaces.delivery.memory import hashed
from tests.assets.workspaces.delivery.trees import LAYOUT, Tree, entry, memory_item, task

CONFIG = """\
version: 1
project: {name: nhl-demo, stack: [python], description: Scores}
envs: [dev, stage, prod]
desks: [llm-chatbot@1.2.0]
prompts: [planner@^1.0]
repo: {host: local, owner: acme, name: ai-builder-lab, base_branch: sandbox}
providers: {inference: recorded, sandbox: local, deploy: local, db: embedded}
defaults: {write_branch: sandbox-team, timeout: 10m}
paths: {}
"""


def found(path: str, text: str, layout: Layout = LAYOUT) -> list[tuple[int, str, str]]:
    return [(issue.line, issue.level, issue.message) for issue in validate(path, text.encode(), layout)]


def test_the_files_of_the_server_are_without_fault():
    tree = Tree(empty(LAYOUT))
    tree.edit(changelog.append(tree, LAYOUT, [entry(n) for n in range(250)]))
    tree.edit(memory.upsert(tree, LAYOUT, [memory_item(f"f{n}") for n in range(250)]))
    tree.edit(tasks.upsert(tree, LAYOUT, "1.1_goals", task(depends_on=[])))
    tree.edit(tasks.upsert(tree, LAYOUT, "2.1_parser", task()))
    assert {path: validate(path, data) for path, data in tree.items() if validate(path, data)} == {}
    assert issues(tree, LAYOUT) == []
    for name, path in (("changelog", LAYOUT.changelog), ("memory", LAYOUT.memory), ("task", LAYOUT.task)):
        jsonschema.validate(tree.yaml(path), schemas()[name])


def test_the_example_configuration_is_without_fault():
    assert validate("builderos.yaml", CONFIG.encode()) == []
    jsonschema.validate(yaml.safe_load(CONFIG), schemas()["builderos"])


def test_an_unknown_key_warns_and_says_what_was_probably_meant():
    text = CONFIG.replace("project: {name", "projct: {name").replace("base_branch", "base_brnch")
    got = validate("builderos.yaml", text.encode())
    assert [(i.line, i.level, i.message, i.hint) for i in got] == [
        (2, "warning", "unknown key 'projct'", "Did you mean 'project'?"),
        (6, "warning", "unknown key 'repo.base_brnch'", "Did you mean 'base_branch'?"),
    ]


def test_an_unknown_key_like_no_other_lists_the_known_ones():
    (issue,) = validate("builderos.yaml", b"version: 1\nzzz: 1\n")
    assert issue.hint.startswith("Known: version, project, envs")


def test_wrong_values_in_the_configuration_are_named_with_their_lines():
    text = CONFIG.replace("[dev, stage, prod]", "[dev, live]").replace("10m", "soon").replace("nhl-demo", "7")
    assert [
        (line, level, message.split(":")[0]) for line, level, message in found("builderos.yaml", text)
    ] == [
        (2, "error", "project.name"),
        (3, "error", "envs.1"),
        (8, "error", "defaults.timeout"),
    ]
    assert found("builderos.yaml", "- a\n")[0][1] == "broken"
    assert found("builderos.yaml", "") == []


@pytest.mark.parametrize(
    ("path", "text", "line", "words"),
    [
        (
            "project/task.yaml",
            "version: 1\ntasks:\n  a: {title: x}\n  a: {title: y}\n",
            4,
            "duplicate key 'a'",
        ),
        ("project/task.yaml", "version: 1\ntasks:\n  - a\n", 3, "must be a mapping"),
        ("project/task.yaml", "version: 1\ntasks:\n  a: done\n", 3, "must be a mapping"),
        ("project/task.yaml", "version: 3\ntasks: {}\n", 1, "format version"),
        ("project/task.yaml", "version: 1\ntasks:\n  a: {title: x\n  b: {}\n", 4, "not valid YAML"),
        ("project/memory.yaml", "version: 1\nfiles:\n  - {sha: x}\n", 3, "without `path`"),
        ("project/memory.yaml", "version: 1\nfiles:\n  - src/a.py\n", 3, "must be a mapping"),
        ("project/memory.yaml", "files: {a: b}\n", 1, "a list is expected"),
        ("project/changelog.yaml", "- {id: a}\n--- \n- {id: b}\n", 2, "second document"),
        ("project/changelog.yaml", "- {id: a, <<: {b: c}}\n", 1, "merge keys"),
        ("project/changelog.yaml", "- {id: *x}\n", 1, "no anchor"),
        ("project/changelog.yaml", "- {? [a] : b}\n", 1, "not text"),
        ("project/changelog.yaml", "- {id: !!set {a}}\n", 1, "not allowed"),
        ("project/changelog.yaml", "- {id: \x07}\n", 1, "does not allow"),
        ("project/changelog.yaml", "\n- {" + "k" * 200 + ": 1}\n", 2, "128 characters"),
        ("project/changelog.yaml", "- " + "[" * 40 + "]" * 40 + "\n", 1, "deeper than 32"),
        (
            "project/changelog.yaml",
            "- &a [" + "1," * 500 + "]\n" + "- &b [" + "*a," * 500 + "]\n",
            2,
            "unfolds",
        ),
        ("project/changelog.yaml", "#" * (1 << 20) + "\n", 1, "at most 1048576"),
        (".logs/reverted_commits.yaml", "a: b\n", 1, "a list is expected"),
    ],
)
def test_a_broken_file_is_one_finding_with_its_line(path: str, text: str, line: int, words: str):
    (issue,) = validate(path, text.encode())
    assert (issue.path, issue.line, issue.level) == (path, line, "broken")
    assert words in issue.message


@pytest.mark.parametrize(
    "bomb", ["[" * 300_000, "- " * 300_000, "{a: " * 200_000, "? " * 300_000, "[[]," * 200_000]
)
def test_a_file_made_to_exhaust_the_reader_is_refused_soon(bomb: str):
    (issue,) = validate("project/changelog.yaml", bomb.encode())
    assert issue.level == "broken"


def test_faults_of_single_items_are_errors_with_their_lines_and_slips_are_warnings():
    text = (
        "version: 1\ntasks:\n  a:\n    title: 5\n    stauts: ready\n  b: {status: started, depends_on: [a, aa, zzz]}\n"
        "  c d: {inputs: [x, 1]}\n"
    )
    got = validate("project/task.yaml", text.encode())
    assert [(i.line, i.level, i.message.split(":")[0], i.hint) for i in got] == [
        (4, "error", "title", "Put it in quotes."),
        (5, "warning", "unknown member 'stauts'", "Did you mean 'status'?"),
        (6, "error", "status", "Correct this value."),
        (6, "warning", "b waits for 'aa', which is no task", "Create it, or take it out of depends_on."),
        (6, "warning", "b waits for 'zzz', which is no task", "Create it, or take it out of depends_on."),
        (7, "error", "inputs.1", "Put it in quotes."),
        (7, "error", "'c d' cannot be the id of a task", got[-1].hint),
    ]


def test_an_entry_given_twice_is_an_error():
    double = "- {id: a, timestamp: 2026-11-21}\n- {id: b, timestamp: 2026-11-21}\n- {id: a, timestamp: 2026-11-22}\n"
    assert found("project/changelog.yaml", double) == [
        (3, "error", "'a' stands here a second time (first on line 1)")
    ]
    paths = "files:\n  - {path: a}\n  - {path: a}\n"
    assert found("project/memory.yaml", paths) == [
        (3, "error", "'a' stands here a second time (first on line 2)")
    ]


def test_an_entry_in_a_shard_in_which_nobody_looks_is_an_error():
    prefix = next(digit for digit in "0123456789abcdef" if digit != hashed("src/a.py")[0])
    got = validate(f"project/memory/{prefix}.yaml", b"version: 1\nfiles:\n  - {path: src/a.py}\n")
    assert [(i.line, i.level) for i in got] == [(3, "error")]


def test_a_file_that_is_none_of_the_servers_is_not_judged():
    assert validate("src/task.yaml", b"{") == []
    assert validate("project/changelog/000000.yaml.broken", b"{") == []


def test_every_unreadable_file_of_a_tree_is_listed():
    tree = Tree(dict.fromkeys([*empty(LAYOUT), LAYOUT.reverted, "project/memory/a.yaml"], b"{"))
    assert sorted(issue.path for issue in issues(tree, LAYOUT)) == sorted(tree)
    assert all(isinstance(issue, Issue) and issue.level == "broken" for issue in issues(tree, LAYOUT))


def test_paths_are_taken_from_the_configuration():
    layout = layout_from(b"paths: {task: plan/tasks.yaml, memory: plan/map.yml, goals: GOALS.md}\n")
    assert layout == Layout(task="plan/tasks.yaml", memory="plan/map.yml", goals="GOALS.md")
    tree = Tree().edit(memory.upsert(Tree(), layout, [memory_item(f"f{n}") for n in range(201)]))
    assert "plan/map/a.yaml" in tree
    assert validate("plan/tasks.yaml", b"[", layout)[0].level == "broken"


@pytest.mark.parametrize(
    "path",
    ["../x.yaml", "/x.yaml", "a//b.yaml", ".git/x.yaml", ".github/workflows/ci.yaml", "builderos.policy.yaml",
     "src/a.py", "a\\b.yaml", "", "x\n.yaml", "builderos.yaml", "Builderos.Policy.yaml"],
)  # fmt: skip
def test_an_unsafe_path_is_refused_and_the_default_used(path: str):
    text = f"version: 1\npaths:\n  task: {json.dumps(path)}\n"
    assert layout_from(text.encode()) == Layout()
    assert [(line, level) for line, level, _ in found("builderos.yaml", text)][-1] == (3, "error")


@pytest.mark.parametrize(
    "paths",
    ["{task: project/memory.yaml}", "{task: project/memory/a.yaml}", "{changelog: a.yaml, memory: a.yml}",
     "{task: a.yaml, memory: a.yaml/b.yaml}", "{goals: project/changelog/x.md}"],
)  # fmt: skip
def test_paths_that_get_in_each_others_way_are_refused_together(paths: str):
    text = f"version: 1\npaths: {paths}\n"
    assert layout_from(text.encode()) == Layout()
    assert [level for _, level, _ in found("builderos.yaml", text)] == ["error"]


@pytest.mark.parametrize("data", [None, b"", b"[", b"- a", b"paths: 7", b"paths:\n", b"\xff"])
def test_without_a_usable_configuration_the_layout_is_the_default(data: bytes | None):
    assert layout_from(data) == Layout()


def test_goals_are_written_once_as_a_list_to_tick_off():
    text = goals_text("Demo\n# x", "What it is.", ["Parse\nlines", "Ship"]).decode()
    assert text == "# Demo # x\n\nWhat it is.\n\n## Goals\n\n- [ ] Parse lines\n- [ ] Ship\n"
