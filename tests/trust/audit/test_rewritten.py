"""What somebody with all rights in the database rewrites beside the bodies of the ledger's lines is found, too."""

from typing import Any

import psycopg
import pytest

from builderos.trust.policy.force import InForce
from tests.support.databases import FreshDatabase
from tests.support.world import Json, World

POLICY = "version: 1\nrules:\n- {id: env, scope: {project: '*'}, deny: {paths: ['**/.env']}}\n"
FORGED = POLICY.replace("**/.env", "src/**")


def rewrite(database: FreshDatabase, *statements: str) -> None:
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        for statement in statements:
            assert connection.execute(statement.encode()).rowcount


def verified(world: World) -> Json:
    return world.ok(world.as_owner("GET", "/v1/audit/verify"))


def with_policy(world: World) -> str:
    """A policy in force; the id of its approval."""
    asked = world.ok(world.as_owner("PUT", "/v1/policies", json={"content": POLICY, "reason": "x"}))
    decided: Any = world.as_owner(
        "POST", f"/v1/approvals/{asked['approval_id']}", json={"decision": "approve"}
    )
    assert world.ok(decided)["state"] == "approved"
    return str(asked["approval_id"])


@pytest.mark.parametrize(
    "statement",
    [
        "update ops.ledger set type = 'zzz' where seq = 3",
        "update ops.ledger set actor = 'usr_forged' where seq = 3",
        "update ops.ledger set at = at - interval '1 day' where seq = 3",
        "update ops.ledger set branch = 'main' where type = 'commit'",
        "delete from ops.ledger_terms",
        "update ops.ledger_terms set seq = 1",
    ],
)
def test_a_line_that_is_found_by_other_words_than_its_own(
    world: World, database: FreshDatabase, statement: str
) -> None:
    world.open_sandbox().commit({"one.txt": "1\n"})
    assert verified(world)["ok"]
    rewrite(database, statement)
    found = verified(world)
    assert not found["ok"]
    assert "found by" in str(found["findings"])


def test_an_approval_that_says_something_else_than_the_ledger(world: World, database: FreshDatabase) -> None:
    approval = with_policy(world)
    assert verified(world)["ok"]
    rewrite(
        database, "update ops.approvals set decisions = jsonb_set(decisions, '{0,who}', '\"usr_viewer\"')"
    )
    assert f"the decisions of {approval} are not those in the ledger" in verified(world)["findings"]
    rewrite(database, "update ops.approvals set state = 'denied'")
    assert approval in str(verified(world)["findings"])


@pytest.mark.parametrize("with_digest", [False, True])
def test_a_policy_that_nobody_approved_is_found_and_denies_all(
    world: World, database: FreshDatabase, with_digest: bool
) -> None:
    with_policy(world)
    box = world.open_sandbox()
    box.commit({"src/a.py": "1\n"})
    digest = ", digest = 'sha256:' || encode(sha256(convert_to('{0}', 'UTF8')), 'hex')" if with_digest else ""
    text = FORGED.replace("'", "''")
    rewrite(database, f"update ops.policies set content = '{text}'{digest.format(text)}")
    found = verified(world)
    assert not found["ok"]
    assert "version 1 of the policy" in str(found["findings"])
    world.context.put(InForce, InForce())  # as after a start
    refused = world.problem(box.try_post("/commit_and_log_output", files=[{"path": "b.py", "content": "2\n"}],
                                         message="m"), "policy_denied")  # fmt: skip
    assert refused["policy_rule"] == "altered-policy"
    again = POLICY.replace("**/.env", "**/.envrc")
    asked = world.ok(world.as_owner("PUT", "/v1/policies", json={"content": again, "reason": "x"}))
    world.ok(world.as_owner("POST", f"/v1/approvals/{asked['approval_id']}", json={"decision": "approve"}))
    box.commit({"b.py": "2\n"})


def test_the_doctor_looks_at_the_ledgers_of_all_organisations(world: World, database: FreshDatabase) -> None:
    body = {"slug": "acme", "name": "Acme", "owner_email": "ann@acme.example"}
    made = world.ok(world.as_owner("POST", "/v1/orgs", json=body), 201)
    rewrite(
        database, f"update ops.ledger set body = replace(body, 'acme', 'evil') where org_id = '{made['id']}'"
    )
    examined = world.ok(world.as_owner("POST", "/v1/admin/doctor", json={}))
    (ledger,) = [check for check in examined["checks"] if check["name"] == "ledger"]
    assert not ledger["ok"]
    assert made["id"] in ledger["detail"]
