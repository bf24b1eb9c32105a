"""What leaves the server is denied until the policy file lists it: hosts by name alone, secrets by name alone."""

import pytest

from builderos.core.actor import Actor, system_actor
from builderos.core.clock import utcnow
from builderos.core.context import Context
from builderos.core.unit import Call, Unit
from builderos.trust.policy.document import read_document
from builderos.trust.policy.schema import Resource
from builderos.trust.policy.service import Decision, InForce, Policy, may_reach, may_use_secret

POLICY = Policy.default()
REPO = Resource(
    "repo", "repo_a", "org_a", "repo_a", project="lab", branch="sandbox-a", environment="dev", home="||"
)
USER = Actor("sandbox", "act_1", "sandbox-a", "org_a", repo_id="repo_a", sandbox_id="sbx_a")
FILE = """\
version: 1
rules:
  - {id: apis, scope: {project: lab}, allow: {network: [API.example.com, "*.pkg.example"], secrets: [CI_*]}}
  - {id: no-prod, scope: {environment: prod}, deny: {secrets: ["*"]}}
  - {id: tester, scope: {agent: "*-tester"}, allow: {network: [test.example.com]}}
"""


def unit_of(actor: Actor, text: str | None = FILE) -> Unit:
    context = Context()
    context.put(Policy, POLICY)
    context.put(InForce, InForce(read_document(text) if text else None, ask=False))
    return Unit(None, context, Call(actor=actor), utcnow())  # type: ignore[arg-type]


def told(decision: Decision) -> str:
    return "+" if decision.verdict == "allow" else decision.rules[0]


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("api.example.com", "+"),
        ("API.Example.COM", "+"),
        ("a.b.pkg.example", "+"),
        ("pkg.example", "no_matching_allow"),
        ("evil-pkg.example", "no_matching_allow"),
        ("api.example.com.evil.net", "no_matching_allow"),
        ("test.example.com", "no_matching_allow"),
    ],
)
def test_a_host_is_reached_only_where_a_rule_lists_it(host: str, answer: str) -> None:
    assert told(may_reach(unit_of(USER), host, REPO)) == answer


@pytest.mark.parametrize(
    "host",
    [
        "", "localhost", "127.0.0.1", "2130706433", "0x7f.1", "[::1]", "::1", "api.example.com.", "api.example.com:443",
        "api.example.com\0.evil.net", "user@api.example.com", "api.example.com/x", "api.example.com\n",
        "-a.example.com",
        "api..example.com", "xn--.example.com%00", "ａpi.example.com", "a" * 64 + ".example.com", "a." * 130 + "com",
    ],
)  # fmt: skip
def test_what_a_resolver_could_read_as_something_else_is_no_host(host: str) -> None:
    everything = "version: 1\nrules: [{id: all, allow: {network: ['*']}}]\n"
    assert told(may_reach(unit_of(USER, everything), host, REPO)) == "no_matching_allow"
    assert told(may_reach(unit_of(USER, everything), "api.example.com", REPO)) == "+"


def test_the_most_specific_scope_decides_about_hosts_alone() -> None:
    tester = Actor("sandbox", "act_2", "unit-tester", "org_a", repo_id="repo_a", sandbox_id="sbx_b")
    assert told(may_reach(unit_of(tester), "test.example.com", REPO)) == "+"
    assert told(may_reach(unit_of(tester), "api.example.com", REPO)) == "no_matching_allow"


def test_a_secret_is_handed_out_only_where_a_rule_lists_its_name_and_none_denies_it() -> None:
    prod = Resource("repo", "repo_a", "org_a", "repo_a", project="lab", environment="prod", home="||")
    other = Resource("repo", "repo_b", "org_a", "repo_b", project="other", home="||")
    owner = Actor("owner", "act_o", "owner", "org_a")
    assert told(may_use_secret(unit_of(USER), "CI_TOKEN", REPO)) == "+"
    assert told(may_use_secret(unit_of(USER), "ci_token", REPO)) == "no_matching_allow"
    assert told(may_use_secret(unit_of(USER), "DEPLOY", REPO)) == "no_matching_allow"
    assert told(may_use_secret(unit_of(USER), "", REPO)) == "no_matching_allow"
    assert told(may_use_secret(unit_of(USER), "CI_TOKEN", prod)) == "no-prod"
    assert told(may_use_secret(unit_of(USER), "CI_TOKEN", other)) == "same-repository"
    assert told(may_use_secret(unit_of(owner), "CI_TOKEN", other)) == "no_matching_allow"


@pytest.mark.parametrize("actor", [USER, Actor("owner", "act_o", "owner", "org_a"), system_actor("org_a")])
def test_without_a_file_or_without_a_rule_nothing_leaves_not_even_by_the_server_itself(actor: Actor) -> None:
    for text in (None, "version: 1\n"):
        assert told(may_reach(unit_of(actor, text), "api.example.com", REPO)) == "no_matching_allow"
        decision = may_use_secret(unit_of(actor, text), "CI_TOKEN", REPO)
        assert (told(decision), decision.code) == ("no_matching_allow", "policy_denied")
        assert "ask an owner" in decision.hint


def test_who_may_only_read_neither_reaches_out_nor_is_handed_a_secret() -> None:
    viewer = Actor("viewer", "usr_v", "v", "org_a", scopes=frozenset({"read", "write"}))
    stranger = Actor("owner", "act_z", "owner", "org_z")
    assert told(may_reach(unit_of(viewer), "api.example.com", REPO)) == "no_matching_allow"
    assert may_use_secret(unit_of(stranger), "CI_TOKEN", REPO).code == "not_found"
