"""The question a verb asks: it passes with the decision or stops with a problem a caller can act on."""

import pytest

from builderos.core.actor import Actor
from builderos.core.clock import utcnow
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit
from builderos.trust.policy.schema import RequestContext, Resource
from builderos.trust.policy.service import Action, InForce, Policy, Refused, decide, org_resource, require

POLICY = Policy.default()
MAIN = Resource("branch", "br_m", "org_a", "repo_a", branch_kind="main")
OWN = Resource("branch", "br_a", "org_a", "repo_a", branch_kind="sandbox", sandbox_id="sbx_a")
OTHER = Resource("branch", "br_b", "org_a", "repo_a", branch_kind="sandbox", sandbox_id="sbx_b")
FOREIGN = Resource("branch", "br_z", "org_z", "repo_z", branch_kind="main")
PULL = Resource("pull", "pul_a", "org_a", "repo_a", branch_kind="dev", target_kind="main")
REPO = Resource("repo", "repo_a", "org_a", "repo_a")


def unit_of(actor: Actor) -> Unit:
    """A unit without a transaction: a decision reads and writes nothing in the database."""
    context = Context()
    context.put(Policy, POLICY)
    context.put(InForce, InForce(ask=False))
    return Unit(None, context, Call(actor=actor), utcnow())  # type: ignore[arg-type]


def user(profile: str = "standard") -> Actor:
    return Actor("sandbox", "act_1", "s", "org_a", profile, repo_id="repo_a", sandbox_id="sbx_a")  # type: ignore[arg-type]


OWNER = Actor("owner", "act_o", "owner", "org_a")
NOBODY = Actor("anonymous", "act_n", "nobody", "org_a")


def test_what_is_allowed_returns_the_decision_for_the_ledger_line() -> None:
    decision = require(unit_of(user()), "files.write", OWN)
    assert decision == decide(unit_of(user()), "files.write", OWN)
    assert (decision.verdict, decision.rules) == ("allow", ("sandbox-own",))


@pytest.mark.parametrize(
    ("actor", "action", "resource", "code", "status", "rule"),
    [
        (user(), "files.write", MAIN, "protected_branch", 403, "protected-branch"),
        (user(), "files.read", OTHER, "forbidden_branch", 403, "another-sandbox"),
        (user(), "sandbox.list", REPO, "policy_denied", 403, "no_matching_allow"),
        (user("minimal"), "git.log", OWN, "tool_not_allowed", 403, "minimal-profile"),
        (NOBODY, "sandbox.init", REPO, "unauthenticated", 401, "sign-in-first"),
        (OWNER, "files.read", FOREIGN, "not_found", 404, "same-organisation"),
        (OWNER, "pull.merge", PULL, "approval_required", 403, "main-needs-approval"),
    ],
)
def test_what_is_not_allowed_stops_with_its_code_hint_and_rule(
    actor: Actor, action: Action, resource: Resource, code: str, status: int, rule: str
) -> None:
    with pytest.raises(Refused) as caught:
        require(unit_of(actor), action, resource)
    refused: Problem = caught.value
    body = refused.as_dict("req_1")
    assert (body["code"], body["status"], body["policy_rule"]) == (code, status, rule)
    assert body["hint"] == caught.value.decision.hint != ""
    assert (caught.value.action, caught.value.resource) == (action, resource)
    assert resource.id not in body["detail"]


def test_a_hidden_object_is_refused_in_the_words_of_one_that_does_not_exist() -> None:
    with pytest.raises(Refused) as caught:
        require(unit_of(OWNER), "files.read", FOREIGN)
    assert caught.value.detail == "There is no such object."


def test_the_own_organisation_is_what_lists_are_asked_for() -> None:
    unit = unit_of(OWNER)
    assert require(unit, "alert.read", org_resource(unit)).verdict == "allow"
    assert decide(unit_of(user()), "alert.read", org_resource(unit)).code == "policy_denied"


def test_the_context_and_approved_digests_reach_the_rules() -> None:
    require(unit_of(NOBODY), "sandbox.init", REPO, RequestContext(anonymous_mode=True))
    digest = decide(unit_of(OWNER), "pull.merge", PULL).digest
    assert (
        require(unit_of(OWNER), "pull.merge", PULL, approved_digests=frozenset({digest})).verdict == "allow"
    )
