"""Ids may be exchanged only where the rules cannot tell; where they could, every id is asked about by itself."""

import ast
import copy
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builderos.core.actor import Actor
from builderos.trust.policy import renaming
from builderos.trust.policy.loading import parse_policies
from builderos.trust.policy.renaming import renamed
from builderos.trust.policy.rules import shipped
from builderos.trust.policy.schema import Resource
from builderos.trust.policy.service import Policy

from .test_file_mutants import slots

SCHEMA = (files("builderos.trust.policy") / "schema.cedarschema").read_text("utf-8")
PERMIT = '@id("all") permit (principal, action, resource);\n'
USER = Actor("sandbox", "act_user", "s", "org_a", repo_id="repo_a", sandbox_id="sbx_a")
OWN = Resource("branch", "br_a", "org_a", "repo_a", branch_kind="sandbox", sandbox_id="sbx_a")
# Each of these tells one workspace from another by more than by equality.
TELLING = [
    '(principal, action, resource) when { principal.org_id == "org_b" }',
    '(principal, action, resource) when { resource.org_id like "org_b*" }',
    '(principal, action, resource) when { principal == Actor::"act_b" }',
    '(principal == Actor::"act_b", action, resource)',
    '(principal, action, resource == Branch::"br_b")',
    '(principal, action, resource) when { resource in [Branch::"br_b"] }',
    '(principal, action, resource) when { ["org_b"].contains(resource.org_id) }',
    "(principal, action, resource) when { principal.scopes.contains(principal.org_id) }",
    "(principal, action, resource) when { context.paths.contains(resource.org_id) }",
    '(principal, action, resource) when { {a: principal.org_id} == {a: "org_b"} }',
    '(principal, action, resource) when { if principal.org_id == "org_b" then true else false }',
    '(principal, action, resource) when { context.paths.contains(if 1 > 0 then resource.org_id else "a") }',
]
# None of these does.
SILENT = [
    "(principal, action, resource) when { principal.org_id != resource.org_id }",
    "(principal, action, resource) when { principal has repo_id && !(resource has repo_id) }",
    '(principal in Role::"share", action == Action::"files.read", resource is Branch)',
    '(principal, action in [Action::"files.read", Action::"read"], resource)',
    '(principal, action, resource) when { principal in [Role::"owner", Role::"share"] && resource is Branch }',
    '(principal, action, resource) when { principal.scopes.contains("read") || context.approved }',
    "(principal, action, resource) when { if context.approved then 1 + 1 < 3 else -1 > 0 }",
    '(principal, action, resource) when { principal.profile == Profile::"full" && action == Action::"git.log" }',
    "(principal, action, resource) when { resource has scopes && principal.scopes.containsAll(resource.scopes) }",
]
ids = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "", "0", "1", "é"]), st.text(max_size=2))


def forbid(rest: str) -> str:
    return f'@id("no") @code("policy_denied") @hint("No.") forbid {rest};\n'


def test_the_shipped_rules_compare_ids_with_each_other_alone() -> None:
    policy = Policy.default()
    for number in range(200):
        mine = f"sbx_{number}"
        who, branch = replace(USER, id=mine, sandbox_id=mine), replace(OWN, id=mine, sandbox_id=mine)
        assert policy.decide(who, "files.write", branch).verdict == "allow"
        assert policy.decide(who, "files.write", OWN).code == "forbidden_branch"
    assert policy._judge.cache_info().misses == 2


@pytest.mark.parametrize("rest", TELLING)
def test_a_rule_that_knows_an_id_is_asked_about_every_id(rest: str) -> None:
    policy = Policy.from_text(PERMIT + forbid(rest), SCHEMA)
    policy.decide(USER, "files.write", OWN)
    other = replace(USER, id="act_b", org_id="org_b"), replace(OWN, id="br_b", org_id="org_b")
    policy.decide(other[0], "files.write", other[1])
    assert policy._judge.cache_info().misses == 2


@given(st.lists(ids, min_size=1, max_size=9).map(tuple))
def test_new_names_keep_what_is_equal_and_what_is_absent(given_ids: tuple[str | None, ...]) -> None:
    found = renamed(given_ids)
    pairs = [(a, b) for a in range(len(found)) for b in range(len(found))]
    assert [found[a] == found[b] for a, b in pairs] == [given_ids[a] == given_ids[b] for a, b in pairs]
    assert [name is None for name in found] == [id_ is None for id_ in given_ids]


@pytest.mark.parametrize("strange", [7, True, b"a", "\ud800", "é"])
def test_what_is_no_plain_text_is_shown_to_cedar_as_it_is(strange: object) -> None:
    given_ids = ("a", strange, None)
    assert renamed(given_ids) is given_ids  # type: ignore[arg-type]
    assert Policy.default().decide(replace(USER, id="\ud800"), "files.write", OWN).rules == ("error",)


def _notices(source: str) -> bool:
    """Whether the rest of this file tells changed code from the real one."""
    module: dict[str, Any] = {"__name__": "builderos.trust.policy.renaming"}
    try:
        exec(compile(source, "<changed>", "exec"), module)
        telling = [parse_policies(PERMIT + forbid(rest)) for rest in TELLING]
        samples = [("x", None, "x"), ("x", "y", None, "x"), ("", "0", "1", "0"), ("a", "é"), ("a", 7)]
        return (
            not module["compares_only"](parse_policies(shipped()))
            or not all(module["compares_only"](parse_policies(forbid(rest))) for rest in SILENT)
            or any(module["compares_only"](policies) for policies in telling)
            or any(module["renamed"](sample) != renamed(sample) for sample in samples)  # type: ignore[arg-type]
        )
    except Exception:
        return True


def test_a_small_fault_in_the_proof_is_noticed() -> None:
    tree = ast.parse(Path(renaming.__file__).read_text("utf-8"))
    assert not _notices(ast.unparse(tree))
    survivors: list[str] = []
    count = len(list(slots(tree)))
    for number in range(count):
        changed = copy.deepcopy(tree)
        node, change, what = list(slots(changed))[number]
        change(node)
        if not _notices(ast.unparse(ast.fix_missing_locations(changed))):
            survivors.append(f"{getattr(node, 'lineno', '?')} {what}: {ast.unparse(node)[:90]}")
    assert count >= 40
    assert len(survivors) <= count * 0.05, "\n".join(survivors)
