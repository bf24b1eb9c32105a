"""How a decision is made: it fails closed, approvals are bound to one request, repeated questions are cheap."""

from dataclasses import fields, replace
from importlib.resources import files
from typing import get_args

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builderos.core.actor import Actor, Profile, Role
from builderos.core.problems import Problem
from builderos.trust.policy.narrowing import NarrowedSets
from builderos.trust.policy.rules import shipped
from builderos.trust.policy.schema import NO_CONTEXT, BranchKind, RequestContext, Resource, canonical_path
from builderos.trust.policy.service import ACTIONS, Action, Policy, request_digest

ROOM = files("builderos.trust.policy")
CEDAR = shipped()
SCHEMA = (ROOM / "schema.cedarschema").read_text("utf-8")
PERMIT = '@id("all") permit (principal, action, resource);\n'
OWNER = Actor(role="owner", id="act_owner", name="owner", org_id="org_a")
USER = Actor(role="sandbox", id="act_user", name="s", org_id="org_a", repo_id="repo_a", sandbox_id="sbx_a")
REVIEWER = Actor(role="api_key", id="act_key", name="k", org_id="org_a", scopes=frozenset({"approve"}))
OWN = Resource("branch", "br_a", "org_a", "repo_a", branch_kind="sandbox", sandbox_id="sbx_a")
TO_MAIN = Resource(
    "pull", "pul_a", "org_a", "repo_a", branch_kind="sandbox", sandbox_id="sbx_a", target_kind="main"
)
WRITES = (
    "backup.restore", "files.write", "git.push", "git.rollback", "memory.write", "sandbox.reset",
    "sandbox.scaffold", "task.write",
)  # fmt: skip


def rule(name: str, rest: str, *, require: bool = False) -> str:
    approval = '@require("approval") ' if require else ""
    return f'@id("{name}") {approval}@code("policy_denied") @hint("Hint of {name}.") forbid {rest};\n'


# Facts that the shipped rules have no word for: pseudonyms, and what a policy file alone looks at.
UNSEEN: dict[type, set[str]] = {
    Actor: {"name", "credential_id", "branch", "member_id", "grants", "session_id", "opened_by"},
    Resource: {"project", "branch", "environment", "home", "lies_in"},
    RequestContext: set(),
}


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.default()


class TestFailingClosed:
    def test_a_forbid_whose_evaluation_errors_denies_although_cedar_skips_it(self) -> None:
        overflow = "(principal, action, resource) when { 9223372036854775807 + 1 > 0 }"
        cedar = PERMIT + rule("broken", overflow)
        request = {
            "principal": 'Actor::"a"',
            "action": 'Action::"files.read"',
            "resource": 'Branch::"b"',
            "context": {},
        }
        assert cedarpy.is_authorized(request, cedar, "[]").decision is cedarpy.Decision.Allow
        decision = Policy.from_text(cedar, SCHEMA).decide(OWNER, "files.read", OWN)
        assert (decision.verdict, decision.rules, decision.code) == ("deny", ("error",), "policy_denied")

    @pytest.mark.parametrize(
        "resource",
        [
            replace(OWN, branch_kind=None),
            replace(OWN, repo_id=None),
            replace(OWN, target_kind="main"),
            replace(OWN, branch_kind="mian"),
            replace(OWN, id="\ud800"),
            replace(OWN, sandbox_id="\ud800"),
            replace(OWN, org_id=7),
            Resource("org", "org_a", "org_a"),
        ],
    )
    def test_missing_superfluous_or_malformed_facts_deny_even_the_owner(
        self, policy: Policy, resource: Resource
    ) -> None:
        decision = policy.decide(OWNER, "files.read", resource)
        assert (decision.verdict, decision.rules) == ("deny", ("error",))
        assert decision.hint

    def test_a_role_or_a_kind_of_object_without_rules_is_denied(self, policy: Policy) -> None:
        stranger = replace(OWNER, role="member")  # type: ignore[arg-type]
        thing = replace(OWN, kind="endpoint")  # type: ignore[arg-type]
        for decision in (
            policy.decide(stranger, "files.read", OWN),
            policy.decide(OWNER, "files.read", thing),
        ):
            assert (decision.verdict, decision.rules, decision.code) == ("deny", ("error",), "policy_denied")

    def test_an_act_nobody_declared_is_denied(self, policy: Policy) -> None:
        assert policy.decide(OWNER, "files.raed", OWN).rules == ("error",)  # type: ignore[arg-type]

    def test_ids_are_data_and_never_syntax(self, policy: Policy) -> None:
        nasty = 'x", "attrs": {}}, {"uid": "'
        assert (
            policy.decide(replace(OWNER, id=nasty), "files.read", replace(OWN, id=nasty)).verdict == "allow"
        )
        thief = replace(USER, id='act_owner" in Role::"owner', sandbox_id='sbx_b"')
        assert policy.decide(thief, "files.write", OWN).code == "forbidden_branch"

    def test_two_absent_ids_never_match(self, policy: Policy) -> None:
        nobody = replace(USER, repo_id=None, sandbox_id=None)
        unowned = replace(OWN, sandbox_id=None)
        assert policy.decide(nobody, "files.write", unowned).verdict == "deny"
        assert policy.decide(nobody, "files.read", unowned).verdict == "deny"
        main = replace(unowned, branch_kind="main")
        assert policy.decide(nobody, "files.read", main).verdict == "deny"
        repo = Resource("repo", "repo_a", "org_a", "repo_a")
        assert policy.decide(nobody, "sandbox.init", repo).verdict == "deny"

    def test_without_any_rule_nothing_is_allowed(self) -> None:
        decision = Policy.from_text("", SCHEMA).decide(OWNER, "files.read", OWN)
        assert (decision.verdict, decision.rules) == ("deny", ("no_matching_allow",))

    def test_the_first_of_several_forbids_in_the_file_speaks(self) -> None:
        anyone = "(principal, action, resource)"
        names = [f"r{number:02}" for number in range(25)]
        forbids = Policy.from_text(PERMIT + "".join(rule(name, anyone) for name in names), SCHEMA)
        decision = forbids.decide(OWNER, "files.read", OWN)
        assert decision.rules == tuple(names)
        assert decision.hint == "Hint of r00."


class TestPaths:
    @pytest.mark.parametrize(
        ("given_path", "canonical"),
        [
            ("src/a.py", "src/a.py"),
            ("./src//a.py", "src/a.py"),
            ("src/./b/", "src/b"),
            ("...", "..."),
            ("ä b", "ä b"),
        ],
    )
    def test_a_path_meets_the_rules_in_one_form_only(self, given_path: str, canonical: str) -> None:
        assert canonical_path(given_path) == canonical

    @pytest.mark.parametrize(
        "path",
        [
            "",
            ".",
            "./",
            "..",
            "src/../.env",
            "src/..",
            "/etc/passwd",
            "//x",
            "a\\..\\b",
            "a\0b",
            "a\nb",
            "\ud800",
        ],
    )
    def test_a_path_that_could_leave_its_glob_is_refused(self, path: str) -> None:
        with pytest.raises(Problem) as caught:
            RequestContext(paths=("ok.txt", path))
        assert caught.value.code == "invalid_path"

    def test_a_rule_about_a_path_sees_through_another_spelling(self) -> None:
        no_env = rule("no-env", '(principal, action, resource) when { context.paths.contains(".env") }')
        policy = Policy.from_text(PERMIT + no_env, SCHEMA)
        for spelling in (".env", "./.env", ".//.env"):
            decision = policy.decide(OWNER, "files.write", OWN, RequestContext(paths=("a", spelling)))
            assert decision.rules == ("no-env",)
        assert policy.decide(OWNER, "files.write", OWN, RequestContext(paths=("env",))).verdict == "allow"


class TestApprovals:
    def test_an_approved_digest_turns_needs_approval_into_allow(self, policy: Policy) -> None:
        asked = policy.decide(REVIEWER, "pull.merge", TO_MAIN)
        assert (asked.verdict, asked.code, asked.rules) == (
            "needs_approval", "approval_required", ("main-needs-approval",),
        )  # fmt: skip
        assert asked.hint
        granted = policy.decide(
            REVIEWER, "pull.merge", TO_MAIN, approved_digests=frozenset({asked.digest, "x"})
        )
        assert (granted.verdict, granted.rules, granted.code) == ("allow", ("key-reviews",), "")
        assert granted.digest == asked.digest

    @pytest.mark.parametrize(
        ("action", "resource", "context"),
        [
            ("git.release", TO_MAIN, RequestContext(diff_hash="t1")),
            ("pull.merge", replace(TO_MAIN, id="pul_b"), RequestContext(diff_hash="t1")),
            ("pull.merge", replace(TO_MAIN, sandbox_id="sbx_b"), RequestContext(diff_hash="t1")),
            ("pull.merge", replace(TO_MAIN, repo_id="repo_b"), RequestContext(diff_hash="t1")),
            ("pull.merge", TO_MAIN, RequestContext(diff_hash="t2")),
            ("pull.merge", TO_MAIN, RequestContext(diff_hash="t1", paths=("a",))),
            ("pull.merge", TO_MAIN, RequestContext(diff_hash="t1", requested_by="act_user")),
        ],
    )
    def test_an_approval_covers_no_other_request(
        self, policy: Policy, action: Action, resource: Resource, context: RequestContext
    ) -> None:
        approved = policy.decide(OWNER, "pull.merge", TO_MAIN, RequestContext(diff_hash="t1")).digest
        decision = policy.decide(OWNER, action, resource, context, frozenset({approved}))
        assert decision.verdict == "needs_approval"
        assert decision.digest != approved

    def test_who_merges_on_whose_request_asks_the_same_question_as_who_requested(
        self, policy: Policy
    ) -> None:
        request = RequestContext(diff_hash="t1", requested_by=USER.id)
        asked = policy.decide(USER, "pull.merge", TO_MAIN, RequestContext(diff_hash="t1"))
        assert asked.verdict == "deny"
        for merger in (OWNER, REVIEWER):
            decision = policy.decide(merger, "pull.merge", TO_MAIN, request, frozenset({asked.digest}))
            assert decision.verdict == "allow"
        own_wish = policy.decide(OWNER, "pull.merge", TO_MAIN, RequestContext(diff_hash="t1"))
        assert own_wish.digest != asked.digest

    def test_an_approval_gives_nobody_a_right_they_lack(self, policy: Policy) -> None:
        for who in (USER, replace(REVIEWER, scopes=frozenset({"read", "write", "promote", "admin"}))):
            digest = request_digest(who, "pull.merge", TO_MAIN)
            decision = policy.decide(who, "pull.merge", TO_MAIN, approved_digests=frozenset({digest}))
            assert decision.verdict == "deny"

    def test_nobody_is_asked_to_approve_what_would_stay_forbidden(self) -> None:
        anyone = "(principal, action, resource)"
        pending = rule("ask", f"{anyone} unless {{ context.approved }}", require=True)
        for other in (rule("never", anyone), "", rule("later", f"{anyone} when {{ context.approved }}")):
            cedar = pending + other + (PERMIT if other else "")
            decision = Policy.from_text(cedar, SCHEMA).decide(OWNER, "files.read", OWN)
            assert decision.verdict == "deny"
            assert "ask" not in decision.rules
        ask_always = rule("ask", anyone, require=True)
        decision = Policy.from_text(PERMIT + ask_always, SCHEMA).decide(OWNER, "files.read", OWN)
        assert (decision.verdict, decision.rules) == ("deny", ("ask",))

    def test_the_digest_of_a_request_never_changes(self) -> None:
        # An approval may wait for days and survive an upgrade of the server.
        context = RequestContext(paths=("b", "a"), diff_hash="t1")
        written_down = "0d2f5dfb4911cd67b5a2772473b8711197d4a2dc1ff3f640f0dea7b79e2c7b35"
        assert request_digest(OWNER, "pull.merge", TO_MAIN, context) == written_down


class TestCache:
    def test_equal_questions_are_evaluated_once(self) -> None:
        policy = Policy.default()
        for _ in range(3):
            policy.decide(replace(USER), "files.write", replace(OWN), RequestContext(paths=("./a",)))
        assert policy._judge.cache_info().misses == 1

    @pytest.mark.parametrize(
        ("kind", "name"),
        [
            (kind, field.name)
            for kind in (Actor, Resource, RequestContext)
            for field in fields(kind)
            if field.name not in UNSEEN[kind]
        ],
    )
    def test_every_single_fact_is_part_of_the_key(self, kind: type, name: str) -> None:
        policy = Policy.default()
        question = {Actor: USER, Resource: OWN, RequestContext: NO_CONTEXT}
        first = policy.decide(question[Actor], "files.write", question[Resource], question[RequestContext])
        old = getattr(question[kind], name)
        new = {bool: True, tuple: ("a",), frozenset: frozenset({"read"})}.get(
            type(old), "branch" if name == "id" else "org"
        )
        if name == "kind":
            new = "pull"
        question[kind] = replace(question[kind], **{name: new})
        second = policy.decide(question[Actor], "files.write", question[Resource], question[RequestContext])
        assert policy._judge.cache_info().misses == 2 or first.digest != second.digest

    def test_other_paths_ask_the_rules_anew_only_where_a_rule_reads_paths(self) -> None:
        no_env = rule("no-env", '(principal, action, resource) when { context.paths.contains(".env") }')
        first, second = RequestContext(paths=("a",)), RequestContext(paths=(".env",))
        for cedar, evaluations, verdict in ((PERMIT, 1, "allow"), (PERMIT + no_env, 2, "deny")):
            policy = Policy.from_text(cedar, SCHEMA)
            digests = {
                policy.decide(OWNER, "files.write", OWN, context).digest for context in (first, second)
            }
            assert len(digests) == 2
            assert policy._judge.cache_info().misses == evaluations
            assert policy.decide(OWNER, "files.write", OWN, second).verdict == verdict

    def test_a_number_is_no_switch(self) -> None:
        with pytest.raises(TypeError):
            RequestContext(anonymous_mode=1)  # type: ignore[arg-type]

    def test_two_sets_of_rules_share_no_answers(self) -> None:
        assert Policy.from_text(PERMIT, SCHEMA).decide(OWNER, "files.read", OWN).verdict == "allow"
        assert Policy.from_text("", SCHEMA).decide(OWNER, "files.read", OWN).verdict == "deny"

    def test_the_cache_is_bounded(self) -> None:
        assert 0 < (Policy.default()._judge.cache_info().maxsize or 0) <= 100_000


ids = st.sampled_from(["a", "b", None])
actors = st.builds(
    Actor,
    role=st.sampled_from(get_args(Role)),
    id=st.sampled_from(["act_1", "act_2"]),
    name=st.just("x"),
    org_id=st.sampled_from(["org_a", "org_b"]),
    profile=st.sampled_from(get_args(Profile)),
    scopes=st.frozensets(st.sampled_from(["read", "write", "promote", "approve", "admin"])),
    repo_id=ids,
    sandbox_id=ids,
)
kinds = st.sampled_from(get_args(BranchKind))
branches = st.builds(
    Resource, kind=st.just("branch"), id=st.just("br"), org_id=st.sampled_from(["org_a", "org_b"]),
    repo_id=st.sampled_from(["a", "b"]), branch_kind=kinds, sandbox_id=ids, default_write=st.booleans(),
)  # fmt: skip
pulls = st.builds(
    Resource, kind=st.just("pull"), id=st.just("pul"), org_id=st.just("org_a"), repo_id=st.sampled_from(["a", "b"]),
    branch_kind=kinds, sandbox_id=ids, target_kind=kinds, target_sandbox_id=ids,
)  # fmt: skip
contexts = st.builds(RequestContext, anonymous_mode=st.booleans())
POLICY = Policy.default()


@given(actors, st.sampled_from(ACTIONS), branches, contexts, st.booleans())
def test_whoever_asks_and_however_the_limits_of_a_branch_hold(
    who: Actor, action: Action, branch: Resource, context: RequestContext, approved: bool
) -> None:
    digest = request_digest(who, action, branch, context)
    decision = POLICY.decide(who, action, branch, context, frozenset({digest} if approved else ()))
    if decision.verdict == "deny":
        assert decision.code
        assert decision.hint
        return
    assert decision.verdict == "allow" or action == "deploy.prod"  # somebody has to say yes to that
    assert who.org_id == branch.org_id
    assert who.repo_id in (None, branch.repo_id)
    assert who.role != "anonymous"
    own = who.sandbox_id is not None and who.sandbox_id == branch.sandbox_id
    if action in WRITES:
        assert branch.branch_kind in ("sandbox", "dev")
        assert who.role in ("owner", "sandbox", "api_key")
        assert own or who.role != "sandbox"
        assert who.role != "api_key" or (
            "write" in who.scopes and (branch.default_write or not branch.sandbox_id)
        )
    if who.role == "share":
        assert own
        assert action.endswith((".read", ".log", ".diff", ".fetch"))
    if who.profile == "minimal":
        assert action in ("files.read", "files.write", "sandbox.scaffold")


@given(actors, st.sampled_from(["git.promote", "git.release", "pull.merge"]), pulls)
def test_main_moves_only_by_an_approved_merge_of_an_owner_or_reviewer(
    who: Actor, action: Action, pull: Resource
) -> None:
    decision = POLICY.decide(who, action, pull)
    assert decision.verdict == "deny" or pull.target_kind in ("main", "dev", "sandbox")
    if action == "git.promote" or pull.target_kind != "main":
        assert decision.verdict != "needs_approval"
        return
    assert decision.verdict != "allow"
    if decision.verdict == "needs_approval":
        assert who.role == "owner" or (
            who.role in ("api_key", "org_owner", "admin", "reviewer") and "approve" in who.scopes
        )


@given(actors, st.sampled_from(ACTIONS), st.one_of(branches, pulls), contexts)
def test_neither_the_rules_left_out_of_a_question_nor_the_names_of_things_matter(
    who: Actor, action: Action, resource: Resource, context: RequestContext
) -> None:
    whole = WHOLE.decide(who, action, resource, context)
    assert POLICY.decide(who, action, resource, context) == whole


class Everything(NarrowedSets):
    """Leaves nothing out."""

    def get(self, role: str, action: str, kind: str) -> cedarpy.PolicySet:
        return cedarpy.PolicySet.from_str(CEDAR)


WHOLE = Policy.default()
WHOLE._sets = Everything({}, cedarpy.Schema.from_str(SCHEMA))
WHOLE._renames = False


def test_most_rules_are_left_out_of_a_question() -> None:
    policy = Policy.default()
    policy.decide(USER, "files.write", OWN)
    (made,) = policy._sets._made.values()
    assert len(made) <= len(policy.rules) / 3
