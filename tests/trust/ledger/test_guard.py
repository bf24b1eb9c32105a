"""What the database itself refuses: changes of the ledger, and a look into another organisation."""

from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa

from builderos.core.database import Database
from tests.support.databases import Databases
from tests.support.lab import Lab, Org, lab_in_temp
from tests.support.world import make_repository

UNSCOPED = {"alembic_version"}


@pytest.fixture(scope="module")
def two(databases: Databases) -> Iterator[tuple[Lab, Org]]:
    """A server on which both organisations have used every table that an act fills."""
    with lab_in_temp(databases) as lab:
        other = lab.second_org()
        source = make_repository(lab.world.home / "theirs")
        body = {"source": str(source), "name": "far"}
        lab.ok(lab.world.http.post("/v1/repos/import", json=body, headers=other.owner), 201)
        for owner in (lab.world.owner, other.owner):
            invite = {"email": "ann@acme.example", "role": "viewer"}
            made = lab.ok(lab.world.http.post("/v1/invites", json=invite, headers=owner), 201)
            joined = {"invite_token": made["invite_token"]}
            member = lab.ok(lab.world.http.post("/v1/invites/accept", json=joined))["member_id"]
            lab.sql(
                "insert into ops.identities select org_id, 'https://id.example', id, id from ops.members where id = %s",
                member,
            )
            lab.sql(
                "insert into ops.sign_ins select sha256(id::bytea), org_id, 'link', ''::bytea, id, null, now(), now() "
                "from ops.members where id = %s",
                member,
            )
        for box in (lab.open_sandbox(), other.open_sandbox("far")):
            box.commit({"a.txt": "x\n" * 500}, idempotency_key="k")
            box.post("/system/backup")
            box.post("/git/promote", title="t")
            id_ = lab.sql("select id from ops.sandboxes where name = %s", box.branch)[0][0]
            lab.ok(lab.world.http.post(f"/v1/sandboxes/{id_}/share", json={}, headers=box.headers), 201)
        yield lab, other


def as_app(lab: Lab) -> psycopg.Connection[tuple[object, ...]]:
    url = sa.make_url(lab.database.keys.url).set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


def tenant_tables(lab: Lab) -> list[str]:
    rows = lab.sql(
        "select table_name from information_schema.columns where table_schema = 'ops' and column_name = 'org_id' "
        "and table_name in (select tablename from pg_tables where schemaname = 'ops') order by 1"
    )
    return [row[0] for row in rows]


def test_every_table_belongs_to_an_organisation_and_forces_its_wall(two: tuple[Lab, Org]) -> None:
    lab, _ = two
    flags = lab.sql(
        "select relname, relrowsecurity, relforcerowsecurity from pg_class c "
        "join pg_namespace n on n.oid = relnamespace where nspname = 'ops' and relkind in ('r', 'p')"
    )
    assert {name for name, _, _ in flags} - set(tenant_tables(lab)) <= UNSCOPED
    assert [name for name, on, forced in flags if not (on and forced) and name not in UNSCOPED] == []


def test_the_servers_role_cannot_pass_the_wall(two: tuple[Lab, Org]) -> None:
    lab, _ = two
    rights = lab.sql(
        "select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb from pg_roles where rolname = 'bos_app'"
    )
    assert rights == [(False, False, False, False)]
    with as_app(lab) as connection:
        for role in ("bos_owner", "bos_definer"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"set role {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from priv.unit_key")


def test_an_organisation_sees_its_own_rows_of_every_table_and_no_others(two: tuple[Lab, Org]) -> None:
    lab, other = two
    filled: set[str] = set()
    for org, stranger in ((lab.world.org_id, other.id), (other.id, lab.world.org_id)):
        with lab.world.context.get(Database).transaction(org) as transaction:
            for table in tenant_tables(lab):
                seen = {r[0] for r in transaction.driver.execute(f"select org_id from ops.{table}")}
                assert seen <= {org}, table
                filled |= {table} if seen else set()
                count = transaction.driver.execute(
                    f"select count(*) from ops.{table} where org_id = %s", (stranger,)
                )
                assert count.fetchone() == (0,), table
    assert filled >= {"orgs", "repositories", "branches", "sandboxes", "credentials", "git_journal", "idempotency",
                      "approvals", "pulls", "backups", "shares", "alerts", "ledger", "ledger_head", "ledger_terms",
                      "members", "people", "invites", "member_sessions", "refresh_tokens", "identities",
                      "sign_ins"}  # fmt: skip


def test_no_row_is_written_into_another_organisation(two: tuple[Lab, Org]) -> None:
    lab, other = two
    with lab.world.context.get(Database).transaction(lab.world.org_id) as transaction:
        for statement in (
            "update ops.sandboxes set org_id = %s", "update ops.credentials set org_id = %s",
            "insert into ops.orgs (id, slug, name, created_at) values (%s || 'x', 'third', 'Third', now())",
        ):  # fmt: skip
            transaction.driver.execute("savepoint s")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                transaction.driver.execute(statement, (other.id,))
            transaction.driver.execute("rollback to s")
        assert (
            transaction.driver.execute("delete from ops.shares where org_id = %s", (other.id,)).rowcount == 0
        )


@pytest.mark.parametrize("proof", ["", "0" * 64, "replayed"])
def test_a_forged_unit_sees_nothing(two: tuple[Lab, Org], proof: str) -> None:
    lab, other = two
    if proof == "replayed":
        with lab.world.context.get(Database).transaction(other.id) as transaction:
            row = transaction.driver.execute("select current_setting('app.unit')").fetchone()
            assert row is not None
            proof = str(row[0]).partition(" ")[2]
    with as_app(lab) as connection:  # another backend: a proof is bound to the one it was made for
        connection.execute("select set_config('app.unit', %s, false)", (f"{other.id} {proof}",))
        for table in tenant_tables(lab):
            assert connection.execute(f"select count(*) from ops.{table}").fetchone() == (0,), table
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select ops.ledger_append('{}')")


def test_an_injected_setting_does_not_change_the_organisation(two: tuple[Lab, Org]) -> None:
    lab, other = two
    with lab.world.context.get(Database).transaction(lab.world.org_id) as transaction:
        row = transaction.driver.execute("select current_setting('app.unit')").fetchone()
        assert row is not None
        mine = str(row[0]).partition(" ")[2]
        transaction.driver.execute("select set_config('app.unit', %s, true)", (f"{other.id} {mine}",))
        assert transaction.driver.execute("select count(*) from ops.sandboxes").fetchone() == (0,)


@pytest.mark.parametrize(
    "statement",
    [
        "update ops.ledger set body = body", "delete from ops.ledger", "truncate ops.ledger",
        "insert into ops.ledger (org_id, seq, body, prev_hash, hash) values ('o', 1, '{}', '', '')",
        "insert into ops.ledger_terms values ('o', '', 1)", "delete from ops.ledger_terms",
        "update ops.ledger_head set seq = 0", "delete from ops.ledger_head", "drop trigger append_only on ops.ledger",
        "alter table ops.ledger disable trigger all", "alter table ops.ledger disable row level security",
    ],
)  # fmt: skip
def test_the_servers_role_cannot_touch_the_ledger(two: tuple[Lab, Org], statement: str) -> None:
    lab, _ = two
    with (
        lab.world.context.get(Database).transaction(lab.world.org_id) as transaction,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        transaction.driver.execute(statement)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "statement", ["update ops.ledger set body = body", "delete from ops.ledger", "truncate ops.ledger"]
)
@pytest.mark.parametrize("role", ["bos_owner", "postgres"])
def test_the_ledger_is_append_only_even_for_its_owner(
    two: tuple[Lab, Org], statement: str, role: str
) -> None:
    lab, _ = two
    before = lab.sql("select count(*) from ops.ledger")
    with psycopg.connect(lab.database.superuser_conninfo, autocommit=True) as connection:
        if role == "bos_owner":
            connection.execute("set role bos_owner")
            if not statement.startswith("truncate"):
                connection.execute("set row_security = on")
                connection.execute("create policy everyone on ops.ledger using (true)")
        try:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)  # type: ignore[arg-type]
        finally:
            connection.execute("drop policy if exists everyone on ops.ledger")
    assert lab.sql("select count(*) from ops.ledger") == before
