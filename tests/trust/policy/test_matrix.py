"""The shipped rules against the table in `matrix.txt`: every actor × act × kind of object, with code and rule."""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from builderos.core.actor import Actor, Role, system_actor
from builderos.trust.policy.rules import shipped
from builderos.trust.policy.schema import RequestContext, Resource
from builderos.trust.policy.service import ACTIONS, Action, Policy

ORG, REPO, MINE, YOURS, TEAM = "org_a", "repo_a", "sbx_a", "sbx_b", "sbx_t"
ROOM = files("builderos.trust.policy")
CEDAR = shipped()
SCHEMA = (ROOM / "schema.cedarschema").read_text("utf-8")
TABLE = Path(__file__).with_name("matrix.txt").read_text("utf-8")


def actor(role: Role, **facts: object) -> Actor:
    return Actor(role=role, id=f"act_{role}", name=role, org_id=ORG, **facts)  # type: ignore[arg-type]


def key(scope: str) -> Actor:
    return actor("api_key", scopes=frozenset({scope}))


EVERY_SCOPE = frozenset({"read", "write", "promote", "approve", "admin"})
HERE = {"repo_id": REPO, "sandbox_id": MINE}
ACTORS: list[tuple[Actor, bool]] = [
    (actor("owner"), True),
    *((key(scope), True) for scope in ("read", "write", "promote", "approve", "admin")),
    (actor("sandbox", **HERE), True),
    (actor("sandbox", **HERE, profile="minimal"), True),
    (actor("sandbox", **HERE, scopes=EVERY_SCOPE), True),
    (actor("sandbox", **HERE, scopes=frozenset({"read", "write"})), True),
    (actor("share", **HERE), True),
    (actor("anonymous"), True),
    (actor("anonymous"), False),
    (system_actor(ORG), True),
    *(
        (actor(role, scopes=EVERY_SCOPE), True)
        for role in ("org_owner", "admin", "builder", "reviewer", "viewer")
    ),
    (actor("org_owner", scopes=frozenset({"read"})), True),
    (actor("admin", scopes=frozenset({"admin", "write"})), True),
    (actor("invite"), True),
    (actor("workload", scopes=frozenset({"endpoint:iris", "model:fast"})), True),
]


def branch(kind: str, sandbox: str | None = None, **facts: object) -> Resource:
    return Resource("branch", "br_1", ORG, REPO, branch_kind=kind, sandbox_id=sandbox, **facts)  # type: ignore[arg-type]


def pull(source: str, sandbox: str | None, target: str, into: str | None = None, **facts: object) -> Resource:
    return Resource(
        "pull", "pul_1", ORG, REPO, branch_kind=source, sandbox_id=sandbox,
        target_kind=target, target_sandbox_id=into, **facts,
    )  # type: ignore[arg-type]  # fmt: skip


RESOURCES: dict[str, Resource] = {
    "own": branch("sandbox", MINE),
    "other": branch("sandbox", YOURS),
    "team": branch("sandbox", TEAM, default_write=True),
    "dev": branch("dev"),
    "main": branch("main"),
    "base": branch("base"),
    "backup": branch("backup"),
    "mybackup": branch("backup", MINE),
    "archive": branch("archive", MINE),
    "s:own": Resource("sandbox", MINE, ORG, REPO, sandbox_id=MINE),
    "s:other": Resource("sandbox", YOURS, ORG, REPO, sandbox_id=YOURS),
    "b:own": Resource("backup", "bak_1", ORG, REPO, sandbox_id=MINE),
    "b:other": Resource("backup", "bak_2", ORG, REPO, sandbox_id=YOURS),
    "b:team": Resource("backup", "bak_3", ORG, REPO, sandbox_id=TEAM, default_write=True),
    "b:main": Resource("backup", "bak_4", ORG, REPO),
    "own>main": pull("sandbox", MINE, "main"),
    "own>dev": pull("sandbox", MINE, "dev"),
    "own>base": pull("sandbox", MINE, "base"),
    "own>backup": pull("sandbox", MINE, "backup"),
    "own>archive": pull("sandbox", MINE, "archive"),
    "own>other": pull("sandbox", MINE, "sandbox", YOURS),
    "main>own": pull("main", None, "sandbox", MINE),
    "other>main": pull("sandbox", YOURS, "main"),
    "dev>main": pull("dev", None, "main"),
    "dev>dev": pull("dev", None, "dev"),
    "dev>other": pull("dev", None, "sandbox", YOURS),
    "team>main": pull("sandbox", TEAM, "main", default_write=True),
    "a:own>main": Resource("approval", "apr_1", ORG, REPO, sandbox_id=MINE, target_kind="main"),
    "a:own>dev": Resource("approval", "apr_2", ORG, REPO, sandbox_id=MINE, target_kind="dev"),
    "a:other>main": Resource("approval", "apr_3", ORG, REPO, sandbox_id=YOURS, target_kind="main"),
    "a:none": Resource("approval", "apr_4", ORG),
    "art:own": Resource("artifact", "art_1", ORG, REPO, sandbox_id=MINE),
    "art:other": Resource("artifact", "art_2", ORG, REPO, sandbox_id=YOURS),
    "art:free": Resource("artifact", "art_3", ORG),
    "repo": Resource("repo", REPO, ORG, REPO, source="url"),
    "repo:path": Resource("repo", REPO, ORG, REPO, source="path"),
    "repo:second": Resource("repo", "repo_b", ORG, "repo_b"),
    "model": Resource("model", "provider/model", ORG),
    "org": Resource("org", ORG, ORG),
    "ledger": Resource("ledger", ORG, ORG),
    "project": Resource("project", "prj_1", ORG),
    "workspace": Resource("workspace", "wks_1", ORG),
    "alert": Resource("alert", "alt_1", ORG),
    "schedule": Resource("schedule", "daily-backup", ORG),
    "tool": Resource("tool", "commit_and_log", ORG),
    "cr:key": Resource("credential", "crd_1", ORG, role="api_key", scopes=frozenset({"admin"})),
    "cr:wide": Resource("credential", "crd_2", ORG, role="api_key", scopes=frozenset({"admin", "write"})),
    "m:owner": Resource("member", "usr_1", ORG, role="org_owner"),
    "m:admin": Resource("member", "usr_2", ORG, role="admin"),
    "m:viewer": Resource("member", "usr_3", ORG, role="viewer"),
    "cr:owner": Resource("credential", "crd_3", ORG, role="owner", scopes=frozenset()),
}


def marks() -> dict[str, tuple[str, str]]:
    """Mark → (code, rule), from the legend of the table; `+` has neither."""
    legend = re.findall(r"^#   (\S)  (?:needs_approval +)?(\w+) +\[([\w-]+)\]$", TABLE, re.MULTILINE)
    return {mark: (code, rule) for mark, code, rule in legend}


def rows() -> Iterator[tuple[Action, str, str]]:
    for line in TABLE.splitlines():
        if line and not line.startswith("#"):
            actions, resources, cells = (part.split() for part in re.split(r" : ", line))
            for action in actions:
                for resource in resources:
                    yield action, resource, "".join(cells)  # type: ignore[misc]


ROWS = list(rows())
MARKS = marks()


def answer(policy: Policy, column: int, action: Action, resource: str) -> str:
    """The mark that the rules themselves would write into the table."""
    who, anonymous_mode = ACTORS[column]
    decision = policy.decide(who, action, RESOURCES[resource], RequestContext(anonymous_mode=anonymous_mode))
    if decision.verdict == "allow":
        return "+"
    found = [mark for mark, meaning in MARKS.items() if meaning == (decision.code, decision.rules[0])]
    expected_verdict = "needs_approval" if found in (["?"], ["!"]) else "deny"
    return found[0] if found and decision.verdict == expected_verdict else repr(decision)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.from_text(CEDAR, SCHEMA)


@pytest.mark.parametrize(("action", "resource", "cells"), ROWS, ids=[f"{row[0]}-{row[1]}" for row in ROWS])
def test_the_rules_decide_as_the_table_says(
    policy: Policy, action: Action, resource: str, cells: str
) -> None:
    assert len(cells) == len(ACTORS)
    assert [answer(policy, column, action, resource) for column in range(len(ACTORS))] == list(cells)


def test_every_act_has_a_row_for_every_kind_of_object_it_can_be_done_to(policy: Policy) -> None:
    owner = ACTORS[0][0]
    possible = {
        (action, name)
        for action in ACTIONS
        for name, resource in RESOURCES.items()
        if policy.decide(owner, action, resource).rules != ("error",)
    }
    written = [(action, resource) for action, resource, _ in ROWS]
    assert len(written) == len(set(written)), "a cell is written twice"
    assert set(written) == possible
    assert {action for action, _ in written} == set(ACTIONS)


def test_an_act_on_a_kind_of_object_it_does_not_fit_is_denied_even_to_owner_and_server(
    policy: Policy,
) -> None:
    written = {(action, resource) for action, resource, _ in ROWS}
    for who in (actor("owner"), system_actor(ORG)):
        for action in ACTIONS:
            decisions = {
                policy.decide(who, action, resource).verdict
                for name, resource in RESOURCES.items()
                if (action, name) not in written
            }
            assert decisions <= {"deny"}


def test_every_rule_answers_somewhere_in_the_table(policy: Policy) -> None:
    deciding = {rule for _, rule in MARKS.values()} | {
        rule
        for column, (who, anonymous_mode) in enumerate(ACTORS)
        for action, resource, cells in ROWS
        if cells[column] == "+"
        for rule in policy.decide(
            who, action, RESOURCES[resource], RequestContext(anonymous_mode=anonymous_mode)
        ).rules
    }
    assert deciding | {"same-organisation", "closing-organisation"} == {rule.id for rule in policy.rules} | {
        "no_matching_allow"
    }


def test_an_owner_whose_organisation_is_closing_can_keep_it_and_take_its_record_along(policy: Policy) -> None:
    owner = actor("org_owner", scopes=EVERY_SCOPE, profile="closing")
    allowed = {
        a for a, resource, _ in ROWS if policy.decide(owner, a, RESOURCES[resource]).verdict == "allow"
    }
    assert allowed == {"audit.export", "audit.read", "audit.verify", "me.read", "org.delete"}
    assert policy.decide(owner, "org.manage", RESOURCES["org"]).rules[0] == "closing-organisation"


def beside_the_table(policy: Policy) -> dict[str, bool]:
    """What no cell can say, and whether it holds."""
    closing = actor("org_owner", scopes=EVERY_SCOPE, profile="closing")
    refused = policy.decide(closing, "org.manage", RESOURCES["org"])
    reading = actor("admin", scopes=frozenset({"read"}))
    strange = Resource("org", "org_z", "org_z")
    return {
        "a closing organisation is closed": (refused.verdict, refused.rules[0]) == ("deny", "closing-organisation"),
        "but for taking things along": policy.decide(closing, "me.read", RESOURCES["org"]).verdict == "allow",
        "who administers may read who is there with a token for reading alone":
            policy.decide(reading, "member.list", RESOURCES["org"]).verdict == "allow",
        "an owner is a stranger elsewhere": policy.decide(actor("owner"), "org.read", strange).verdict == "deny",
    }  # fmt: skip


def test_what_no_cell_can_say_holds(policy: Policy) -> None:
    held = beside_the_table(policy)
    assert [what for what, holds in held.items() if not holds] == []


def test_no_cell_is_allowed_across_organisations(policy: Policy) -> None:
    for who, anonymous_mode in ACTORS:
        stranger = Actor(**{**{name: getattr(who, name) for name in Actor.__slots__}, "org_id": "org_z"})
        for action, resource, _ in ROWS:
            context = RequestContext(anonymous_mode=anonymous_mode)
            decision = policy.decide(stranger, action, RESOURCES[resource], context)
            assert (decision.verdict, decision.code) == ("deny", "not_found")
            assert decision.rules[0] == "same-organisation"
