"""What is not certainly meant as written does not come into force."""

from importlib.resources import files

import cedarpy
import pytest

from builderos.core.problems import STATUS, Problem
from builderos.trust.policy.rules import shipped
from builderos.trust.policy.service import ACTIONS, Policy

ROOM = files("builderos.trust.policy")
CEDAR = shipped()
SCHEMA = (ROOM / "schema.cedarschema").read_text("utf-8")
PERMIT = '@id("all") permit (principal, action, resource);\n'
FORBID = '@id("no") @code("policy_denied") @hint("Ask.") forbid (principal, action, resource)'


@pytest.mark.parametrize(
    ("what", "cedar", "said"),
    [
        ("a rule without @id", "permit (principal, action, resource);", "no @id"),
        ("an empty @id", '@id("") permit (principal, action, resource);', "no @id"),
        ("the same @id twice", PERMIT + PERMIT, "used twice"),
        ("a reserved @id", '@id("no_matching_allow") permit (principal, action, resource);', "reserved"),
        ("another reserved @id", '@id("error") permit (principal, action, resource);', "reserved"),
        ("a misspelt attribute", FORBID + " when { resource.org_ib == principal.org_id };", "org_ib"),
        ("a misspelt name behind has", FORBID + " when { resource has sandbx_id };", "sandbx_id"),
        (
            "a misspelt name deep behind has",
            FORBID + " when { if true then principal has nme else true };",
            "nme",
        ),
        ("a misspelt context attribute", FORBID + " unless { context.aproved };", "aproved"),
        ("a misspelt role", FORBID + ' when { principal in Role::"ownr" };', "ownr"),
        (
            "a misspelt branch kind",
            FORBID.replace("resource)", "resource is Branch)")
            + ' when { resource.branch_kind == BranchKind::"mian" };',
            "mian",
        ),
        (
            "a misspelt action",
            '@id("a") permit (principal, action == Action::"files.raed", resource);',
            "raed",
        ),
        ("a misspelt type", '@id("a") permit (principal, action, resource is Brunch);', "Brunch"),
        ("a comparison of different types", FORBID + " when { principal.scopes == principal.org_id };", "no"),
        ("an unknown annotation", '@id("a") @hnit("x") permit (principal, action, resource);', "hnit"),
        ("@require of something else", f'@require("luck") {FORBID};', "@require"),
        ("@require on a permit", f'@require("approval") {PERMIT}', "@require"),
        ("a forbid without @code", '@id("a") @hint("x") forbid (principal, action, resource);', "@code"),
        (
            "a forbid with a code that SPEC does not know",
            FORBID.replace("policy_denied", "nope") + ";",
            "@code",
        ),
        ("a forbid without @hint", '@id("a") @code("busy") forbid (principal, action, resource);', "@hint"),
        ("a template", '@id("a") permit (principal == ?principal, action, resource);', "template"),
        ("text that is no policy", "permit everything", "does not parse"),
    ],
)
def test_a_rule_that_is_not_certainly_meant_as_written_fails_the_load(
    what: str, cedar: str, said: str
) -> None:
    with pytest.raises(Problem) as caught:
        Policy.from_text(cedar, SCHEMA)
    assert caught.value.code == "validation_failed", what
    assert said in caught.value.detail
    assert caught.value.hint


def test_cedar_itself_would_let_a_misspelt_name_behind_has_pass() -> None:
    open_door = FORBID + " when { resource has sandbx_id };"
    assert cedarpy.validate_policies(open_door, SCHEMA).validation_passed


def test_a_refused_rule_is_named_by_its_own_id_and_not_by_its_position() -> None:
    with pytest.raises(Problem) as caught:
        Policy.from_text(PERMIT + FORBID + " when { context.aproved };", SCHEMA)
    assert "no" in caught.value.detail.split("`")
    assert "policy1" not in caught.value.detail


def test_a_schema_that_does_not_parse_fails_the_load() -> None:
    with pytest.raises(Problem, match="schema does not parse"):
        Policy.from_text(PERMIT, "entity Actor = {")


def test_the_shipped_rules_load_from_the_package_and_are_listed_in_file_order() -> None:
    policy = Policy.default()
    places = [CEDAR.index(f'@id("{rule.id}")') for rule in policy.rules]
    assert places == sorted(places)
    assert len(places) == CEDAR.count("@id(")
    assert {rule.code for rule in policy.rules if rule.effect == "forbid"} <= set(STATUS)
    assert [rule.id for rule in policy.rules if rule.requires_approval] == [
        "main-needs-approval",
        "prod-needs-approval",
    ]


def test_the_digest_names_exactly_one_text_and_one_schema() -> None:
    digests = {
        Policy.from_text(CEDAR, SCHEMA).digest,
        Policy.from_text(CEDAR + "\n", SCHEMA).digest,
        Policy.from_text(CEDAR, SCHEMA + "\n").digest,
    }
    assert len(digests) == 3
    assert Policy.default().digest in digests


def test_the_acts_are_in_alphabetical_order_and_the_schema_knows_each() -> None:
    assert list(ACTIONS) == sorted(ACTIONS)
    assert all(f'"{action}"' in SCHEMA for action in ACTIONS)
    declared = {
        word for line in SCHEMA.splitlines() if "action " in line for word in line.split('"') if "." in word
    }
    assert declared == set(ACTIONS)
