"""A policy file as it is read: what is right becomes rules, every mistake is told with its line."""

import json

import jsonschema
import pytest
import yaml

from builderos.core.problems import Problem
from builderos.trust.policy.document import ApprovalRule, Limits, Scope, read_document
from builderos.trust.policy.file_schema import SCHEMA

EXAMPLE = """\
# builderos.policy.yaml
version: 1
rules:
  - {id: tests, scope: {agent: tester}, allow: {tools: [read, write], paths: ["a/**","b/**"], network: [API.example]}}
  - {id: no-env, scope: {project: "*"}, deny: {paths: ["**/.env"]}}
approvals:
  - {id: prod, when: {action: [git.push_main, deploy.prod]}, from: [Reviewer, Admin, Owner], count: 2, expires: 7d}
limits: {sandbox: {files: 500, commits: 1000, days: 90}, rate: {per_token: 60/min}, budget: {cpu_seconds: 36000}}
prbot: {enabled: false, max_lines: 4}
"""


def issues(text: str) -> list[tuple[int, str]]:
    with pytest.raises(Problem) as caught:
        read_document(text)
    assert caught.value.code == "validation_failed"
    return [(issue["line"], issue["path"]) for issue in caught.value.extra["issues"]]


def rule(text: str) -> str:
    return f"version: 1\nrules:\n  - {text}\n"


def test_the_example_of_the_specification_is_read_whole() -> None:
    found = read_document(EXAMPLE)
    tests, no_env = found.rules
    assert (tests.id, tests.line, tests.scope, tests.scope.level) == (
        "tests",
        4,
        Scope(agent="tester"),
        "agent",
    )
    assert tests.allow == {
        "tools": ("read", "write"), "paths": ("a/**", "b/**"), "network": ("api.example",),
    }  # fmt: skip
    assert (no_env.deny, no_env.scope.level) == ({"paths": ("**/.env",)}, "project")
    assert found.approvals == (
        ApprovalRule(
            "prod", 7, ("git.push_main", "deploy.prod"), ("Reviewer", "Admin", "Owner"), 2, 7 * 1440
        ),
    )
    assert (found.limits, found.prbot_enabled, found.prbot_lines) == (
        Limits(500, 1000, 90, 60, cpu_seconds=36000), False, 4,
    )  # fmt: skip


def test_what_has_no_effect_on_this_server_is_said() -> None:
    noted = {
        (note.line, note.path)
        for note in read_document(EXAMPLE.replace("deploy.prod", "db.migrate_prod")).notes
    }
    assert noted == {(7, "approvals[0].when.action[1]")}


@pytest.mark.parametrize(
    ("text", "line", "path"),
    [
        ("", 1, ""),
        ("[]", 1, ""),
        ("version: 2", 1, "version"),
        ("rules: []", 1, ""),
        ("version: 1\nversion: 1", 2, "version"),
        ("version: 1\nrule: []", 2, "rule"),
        ("version: 1\nrules: {}", 2, "rules"),
        ("version: 1\n---\nversion: 1", 2, ""),
        ("version: 1\nrules: [", 3, ""),
        ("version: !!int 1", 1, ""),
        ("a: &x 1", 1, ""),
        ("a: *x", 1, ""),
        ("[" * 50, 1, ""),
        (rule("{deny: {paths: [a]}}"), 3, "rules[0]"),
        (rule("{id: a}"), 3, "rules[0]"),
        (rule("{id: A, deny: {paths: [a]}}"), 3, "rules[0].id"),
        (rule("{id: error, deny: {paths: [a]}}"), 3, "rules[0].id"),
        (rule("{id: no_matching_allow, deny: {paths: [a]}}"), 3, "rules[0].id"),
        (rule("{id: a, deny: {paths: [a]}}") + "  - {id: a, deny: {paths: [a]}}", 4, "rules[1].id"),
        (rule("{id: a, deny: {}}"), 3, "rules[0].deny"),
        (rule("{id: a, deny: {path: [a]}}"), 3, "rules[0].deny.path"),
        (rule("{id: a, deny: {paths: a}}"), 3, "rules[0].deny.paths"),
        (rule("{id: a, deny: {paths: [no]}}"), 3, "rules[0].deny.paths[0]"),
        (rule("{id: a, deny: {paths: [1]}}"), 3, "rules[0].deny.paths[0]"),
        (rule("{id: a, deny: {paths: [[a]]}}"), 3, "rules[0].deny.paths[0]"),
        (rule('{id: a, deny: {paths: ["../a"]}}'), 3, "rules[0].deny.paths[0]"),
        (rule('{id: a, deny: {tools: ["a b"]}}'), 3, "rules[0].deny.tools[0]"),
        (rule("{id: a, scope: {user: x}, deny: {paths: [a]}}"), 3, "rules[0].scope.user"),
        (rule("{id: a, scope: {org: acme}, deny: {paths: [a]}}"), 3, "rules[0].scope.org"),
        (rule("{id: a, scope: {agent: }, deny: {paths: [a]}}"), 3, "rules[0].scope.agent"),
        ("version: 1\napprovals: [{id: a, when: {action: [x]}}]", 2, "approvals[0].when.action[0]"),
        ("version: 1\napprovals: [{id: a}]", 2, "approvals[0]"),
        ("version: 1\napprovals: [{id: a, when: {action: [a.b]}, from: [Builder]}]", 2, "approvals[0].from[0]"),
        ("version: 1\napprovals: [{id: a, when: {action: [a.b]}, from: []}]", 2, "approvals[0].from"),
        ("version: 1\napprovals: [{id: a, when: {action: [a.b]}, count: 0}]", 2, "approvals[0].count"),
        ("version: 1\napprovals: [{id: a, when: {action: [a.b]}, count: 0x1}]", 2, "approvals[0].count"),
        ("version: 1\napprovals: [{id: a, when: {action: [a.b]}, expires: 91d}]", 2, "approvals[0].expires"),
        ("version: 1\napprovals: [{id: a, when: {action: [a.b]}, expires: soon}]", 2, "approvals[0].expires"),
        ("version: 1\nlimits: {sandbox: {files: -1}}", 2, "limits.sandbox.files"),
        ("version: 1\nlimits: {sandbox: {file: 1}}", 2, "limits.sandbox.file"),
        ("version: 1\nlimits: {rate: {per_token: 60}}", 2, "limits.rate.per_token"),
        ("version: 1\nlimits: {rate: {per_token: 60/s}}", 2, "limits.rate.per_token"),
        ("version: 1\nlimits: {budget: {cpu_seconds: 1.5}}", 2, "limits.budget.cpu_seconds"),
        ("version: 1\nprbot: {enabled: yes}", 2, "prbot.enabled"),
        ("version: 1\nprbot: {max_lines: 101}", 2, "prbot.max_lines"),
        ("version: 1\nrules: [\x00]", 1, ""),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_place(text: str, line: int, path: str) -> None:
    assert (line, path) in issues(text)


def test_every_mistake_is_told_at_once() -> None:
    text = "version: 1\nrules:\n  - {id: A, deny: {paths: [/a]}}\n  - {id: b, zzz: 1}\n"
    assert {line for line, _ in issues(text)} == {3, 4}
    with pytest.raises(Problem) as caught:
        read_document(text)
    assert caught.value.detail.startswith("builderos.policy.yaml:3: ")
    assert caught.value.hint


def test_a_file_that_is_too_large_or_has_too_many_patterns_is_refused() -> None:
    assert issues("version: 1\n#" + "x" * 300_000) == [(1, "")]
    many = ", ".join(f"p{n}" for n in range(201))
    assert issues(rule(f"{{id: a, deny: {{paths: [{many}]}}}}")) == [(3, "rules[0].deny.paths")]


@pytest.mark.parametrize(
    "text",
    [
        EXAMPLE,
        "version: 1",
        rule("{id: a, deny: {paths: [a]}}"),
        rule("{id: a, scope: {org: '*', branch: 'release/*'}, allow: {branches: [main]}}"),
    ],
)
def test_the_published_schema_accepts_what_is_read(text: str) -> None:
    read_document(text)
    jsonschema.validate(yaml.safe_load(text), SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        "version: 2",
        "version: 1\nrule: []",
        rule("{id: a}"),
        rule("{id: A, deny: {paths: [a]}}"),
        rule("{id: a, deny: {}}"),
        rule("{id: a, deny: {path: [a]}}"),
        rule("{id: a, deny: {paths: [1]}}"),
        rule("{id: a, scope: {user: x}, deny: {paths: [a]}}"),
        rule("{id: a, scope: {org: acme}, deny: {paths: [a]}}"),
        "version: 1\napprovals: [{id: a, when: {action: [a.b]}, from: [Builder]}]",
        "version: 1\napprovals: [{id: a, when: {action: [a.b]}, count: 0}]",
        "version: 1\nlimits: {sandbox: {file: 1}}",
        "version: 1\nlimits: {rate: {per_token: 60/s}}",
        "version: 1\nprbot: {max_lines: 101}",
    ],
)
def test_the_published_schema_refuses_what_is_not_read(text: str) -> None:
    assert issues(text)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), SCHEMA)


def test_the_schema_is_one_itself_and_survives_json() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
