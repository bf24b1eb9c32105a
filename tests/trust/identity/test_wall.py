"""The wall between organisations, walked by the catalogue: a table, view or function of tomorrow is in it by itself.

Both organisations get a made-up row in every table there is; then the server's own role tries to get at the other's.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from builderos.core.database import Database
from tests.support.databases import Databases
from tests.support.walls import OURS, THEIRS, Walled, attempt, walled_database

POLICY = "(org_id = ( SELECT ops.org() AS org))"
# Run with their owner's rights. Each was read with this question in mind: what can the caller make it say?
DEFINERS = {
    "ops.org": "answers for a proof that the caller cannot make",
    "ops.credential": "finds by the keyed hash of a secret",
    "ops.org_by_slug": "says what a visitor hears anyway",
    "ops.org_of_secret": "finds by the keyed hash of a secret",
    "ops.org_of_hook": "an id, which opens nothing without the secret of its webhook",
    "ops.due_orgs": "answers to the server alone",
    "ops.numbers": "sums over the whole server, nothing of any one organisation",
    "ops.org_for_visitor": "says what a visitor hears anyway",
    "ops.erase_org": "ends the organisation of the transaction, when its time has come",
    "ops.ledger_span": "numbers of lines of the organisation of the transaction",
    "ops.sink_orgs": "answers to the server alone",
    "ops.news_orgs": "answers to the server alone",
    "ops.oauth_client": "a program that asks to be let in, by its id",
    "ops.register_oauth_client": "a program that belongs to nobody yet",
    "ops.begin_device": "a device that belongs to nobody yet",
    "ops.device_to_decide": "finds by the keyed hash of a secret",
    "ops.claim_device": "a device that belongs to nobody yet, for the organisation of the transaction",
    "ops.poll_device": "finds by the keyed hash of a secret",
    "ops.sweep_oauth": "removes what is over",
    "ops.org_of_provider": "an id, which is no secret",
    "ops.listed_providers": "what the sign-in page shows to everybody",
    "ops.forget_words": "removes of the organisation of the transaction",
    "ops.forget_person": "removes of the organisation of the transaction",
    "ops.forget_held_people": "removes of the organisation of the transaction",
    "ops.forget_accesses": "removes of the organisation of the transaction",
    "ops.overview": "answers in the server owner's organisation alone",
    "ops.overview_errors": "answers in the server owner's organisation alone",
    "ops.overview_tools": "answers in the server owner's organisation alone",
    "ops.budget_states": "answers to the server alone",
    "ops.orgs_with_runs": "answers to the server alone",
    "ops.trigger_orgs": "answers to the server alone",
    "ops.check_orgs": "answers to the server alone",
    "ops.places_to_serve": "answers to the server alone",
    "ops.endpoints_to_serve": "answers to the server alone",
    "ops.forget_payloads": "answers to the server alone",
    "ops.apps_to_serve": "answers to the server alone",
    "ops.app_token": "finds by the keyed hash of a secret",
    "ops.app_at_door": "says what a visitor of the door hears anyway",
    "ops.sessions_of_machine": "answers to the server alone",
    "ops.session_token": "finds by the keyed hash of a secret",
    "ops.artifact_place": "where artifacts lie, which every organisation's rows say",
    "ops.set_artifact_place": "answers to the server alone",
    "ops.recall": "ids of items of the organisation of the transaction",
    "ops.ledger_append": "writes to the organisation of the transaction",
}
# Rows of theirs may belong to nobody yet: then only the functions above see them. `orgs` computes it from its key.
BEFORE_AN_ORGANISATION = {"orgs", "oauth_clients", "device_codes"}


@pytest.fixture(scope="module")
def walled(databases: Databases) -> Iterator[Walled]:
    with walled_database(databases) as made:
        yield made


def test_every_table_has_the_one_policy_and_forces_it(walled: Walled) -> None:
    rows = walled.sql(
        "select c.relname, c.relrowsecurity, c.relforcerowsecurity, p.polname, p.polpermissive, p.polcmd::text, "
        "p.polroles, "
        "pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid) from pg_class c "
        "left join pg_policy p on p.polrelid = c.oid where c.relnamespace = 'ops'::regnamespace "
        "and c.relkind in ('r', 'p')"
    )
    # One policy each: a second one that permits would be joined to it by `or`.
    assert sorted(rows) == sorted(
        (table, True, True, "org", True, "*", [0], POLICY, POLICY) for table in walled.tables
    )
    assert len(walled.tables) > 25
    lacking = walled.sql(
        "select relname from pg_class c where relnamespace = 'ops'::regnamespace and relkind in ('r', 'p') "
        "and not exists ("
        "select 1 from pg_attribute a where a.attrelid = c.oid and attname = 'org_id' and attnotnull)"
    )
    assert {name for (name,) in lacking} <= BEFORE_AN_ORGANISATION
    assert walled.sql(
        "select relname from pg_class c where relnamespace = 'ops'::regnamespace and relkind in ('r', 'p') "
        "and not exists (select 1 from pg_attribute a where a.attrelid = c.oid and attname = 'org_id')"
    ) == []  # fmt: skip


def test_nothing_else_in_the_schema_shows_rows(walled: Walled) -> None:
    kinds = walled.sql(
        "select relkind::text, relname, reloptions from pg_class where relnamespace = 'ops'::regnamespace "
        "and relkind not in ('r', 'p', 'i', 'I', 'c')"
    )
    for kind, name, options in kinds:
        assert kind in ("S", "v"), f"{name} copies rows past the wall"
        assert kind != "v" or "security_invoker=true" in (options or []), (
            f"the view {name} reads as its owner"
        )
    counters = [name for kind, name, _ in kinds if kind == "S"]
    for name in counters:
        assert walled.sql(
            "select has_sequence_privilege('bos_app', %s, 'usage,select,update')", f"ops.{name}"
        ) == [(False,)], name


def test_every_function_that_runs_as_somebody_else_has_been_read(walled: Walled) -> None:
    found = walled.sql(
        "select n.nspname || '.' || p.proname, array_to_string(p.proconfig, ' ') from pg_proc p join pg_namespace n "
        "on n.oid = p.pronamespace where p.prosecdef and n.nspname !~ '^pg_' "
        "and has_function_privilege('bos_app', p.oid, 'execute')"
    )
    assert {name for name, _ in found} == set(DEFINERS)
    for name, config in found:
        assert "search_path=" in (config or ""), f"{name} can be led to tables of the caller's making"
        assert config.endswith("pg_temp"), f"{name} looks into temporary tables first"
    open_ones = walled.sql(
        "select p.oid::regproc::text from pg_proc p "
        "where p.pronamespace in ('ops'::regnamespace, 'priv'::regnamespace) "
        "and p.prorettype <> 'trigger'::regtype and exists (select 1 from aclexplode(coalesce(p.proacl, "
        "acldefault('f', p.proowner))) where grantee = 0)"
    )
    assert open_ones == [], "a function for everybody"


# Given as text, so that PostgreSQL takes each for what the parameter is.
ARGUMENTS = {
    "text": THEIRS, "bytea": "theirs", "timestamp with time zone": "2026-01-01Z", "date": "2026-01-01",
    "interval": "1 day", "bigint": "1", "jsonb": "{}", "boolean": "true", "integer": "1",
    "real": "1", "double precision": "1",
}  # fmt: skip
# Their labels are kinds of things, a closed list but for rows that are made up.
SUMS = {"ops.numbers": "sums over the whole server, nothing of any one organisation"}


def test_no_function_tells_of_another_organisation(walled: Walled) -> None:
    """Every one that the server's role may call, without any proof and with ours; those of tomorrow, too."""
    functions = walled.sql(
        "select p.oid::regproc::text, array(select format_type(t, null) from unnest(p.proargtypes) t) from pg_proc p "
        "where p.pronamespace = 'ops'::regnamespace and p.prokind = 'f' and p.prorettype <> 'trigger'::regtype "
        "and has_function_privilege('bos_app', p.oid, 'execute')"
    )
    assert {name for name, _ in functions} >= set(DEFINERS)
    with walled.bare() as nobody, walled.as_ours() as ours:
        for name, types in functions:
            values = ["{}" if type_.endswith("[]") else ARGUMENTS[type_] for type_ in types]
            given = ", ".join(f"'{value}'::{type_}" for value, type_ in zip(values, types, strict=True))
            for connection in (nobody, ours):
                said = told(connection, f"select * from {name}({given})")
                assert THEIRS not in said or name in SUMS, name


def told(connection: psycopg.Connection[Any], query: str) -> str:
    try:
        with connection.transaction(force_rollback=True):
            return str(connection.execute(query).fetchall())  # type: ignore[arg-type]
    except psycopg.Error as refused:
        return str(refused.sqlstate)  # its message repeats what it was given


@pytest.mark.parametrize("call", ["due_orgs('x')", "due_orgs('outbox')", "news_orgs()", "sink_orgs()",
                                  "budget_states('2026-01-01')"])  # fmt: skip
def test_what_lists_organisations_answers_to_the_server_alone(walled: Walled, call: str) -> None:
    query = f"select * from ops.{call}"
    with walled.bare() as nobody, walled.as_ours() as ours:
        for connection in (nobody, ours):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(query)  # type: ignore[arg-type]
        ours.execute(
            "select set_config('app.unit', replace(current_setting('app.unit'), %s, 'server'), true)", (OURS,)
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ours.execute(query)  # type: ignore[arg-type]
    database = Database(walled.fresh.keys, pool_size=1)
    try:
        assert {OURS, THEIRS} <= set(database.organisations("x"))
    finally:
        database.close()


def test_the_servers_role_owns_nothing_and_is_nobody_else(walled: Walled) -> None:
    assert walled.sql(
        "select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolinherit "
        "from pg_roles where rolname = 'bos_app'"
    ) == [(False,) * 6]
    assert walled.sql("select roleid::regrole from pg_auth_members where member = 'bos_app'::regrole") == []
    for catalogue, owner in (
        ("pg_class", "relowner"), ("pg_proc", "proowner"), ("pg_namespace", "nspowner"), ("pg_type", "typowner"),
        ("pg_database", "datdba"), ("pg_largeobject_metadata", "lomowner"),
    ):  # fmt: skip
        assert walled.sql(f"select count(*) from {catalogue} where {owner} = 'bos_app'::regrole") == [(0,)], (
            catalogue
        )
    assert (
        walled.sql(
            "select nspname from pg_namespace where has_schema_privilege('bos_app', oid, 'create') "
            "and nspname !~ '^pg_temp'"
        )
        == []
    )
    assert walled.sql("select has_schema_privilege('bos_app', 'priv', 'usage')") == [(False,)]
    wide = walled.sql(
        "select relname from pg_class where relnamespace = 'ops'::regnamespace and relkind in ('r', 'p') and "
        "has_table_privilege('bos_app', oid, 'truncate,references,trigger')"
    )
    assert wide == [], "a reference or a trigger sees rows that a query does not"


def test_raw_sql_sees_no_row_of_another_organisation(walled: Walled) -> None:
    with walled.as_ours() as connection:
        for table in walled.tables:
            seen = connection.execute(f"select org_id from ops.{table}").fetchall()
            assert seen == [(OURS,)], table
            assert connection.execute(
                f"select count(*) from ops.{table} where org_id <> %s or true", (OURS,)
            ).fetchone() == (1,)
            with connection.cursor().copy(f"copy ops.{table} to stdout") as copied:
                assert THEIRS.encode() not in b"".join(bytes(part) for part in copied), table
    with walled.bare() as connection:
        for table in walled.tables:
            assert connection.execute(f"select count(*) from ops.{table}").fetchone() == (0,), table


def test_raw_sql_changes_no_row_of_another_organisation(walled: Walled) -> None:
    before = walled.theirs()
    with walled.as_ours() as connection:
        for table in walled.tables:
            for statement in (
                f"update ops.{table} set org_id = org_id where org_id = '{THEIRS}'",
                f"delete from ops.{table} where org_id = '{THEIRS}'",
            ):
                touched = attempt(connection, statement)
                assert touched in (0, None), statement
            given = attempt(connection, f"update ops.{table} set org_id = '{THEIRS}'")
            assert given is None, f"{table}: a row was given away"
            planted = attempt(connection, f"insert into ops.{table} select * from ops.{table}")
            assert planted is None, f"{table}: the same row twice"
    assert walled.theirs() == before


def test_a_row_for_another_organisation_is_refused_in_every_table(walled: Walled) -> None:
    with walled.as_ours() as connection:
        for table in walled.tables:
            if table == "orgs":
                statement = (
                    "insert into ops.orgs (id, slug, name, created_at) values ('org_x', 'x', 'x', now())"
                )
            else:
                statement = f"insert into ops.{table} (org_id) values ('{THEIRS}')"
            connection.execute("savepoint s")
            with pytest.raises(psycopg.Error) as refused:
                connection.execute(statement)  # type: ignore[arg-type]
            connection.execute("rollback to s")
            # A missing column is found after the policy was asked only where the row would have been allowed.
            assert refused.value.sqlstate in ("42501", "428C9"), (table, str(refused.value))


CLIMBING = """\
set role bos_owner
set role bos_definer
set role postgres
set session authorization bos_owner
alter role bos_app bypassrls
grant bos_owner to bos_app
create role intruder
alter table ops.orgs disable row level security
alter table ops.orgs no force row level security
drop policy org on ops.orgs
alter policy org on ops.orgs using (true)
create policy wide on ops.orgs using (true)
alter table ops.orgs owner to bos_app
drop table ops.orgs
truncate ops.outbox
create view ops.peek as select * from ops.orgs
create table ops.mine (x int)
create table public.mine (x int)
create schema mine
create materialized view ops.m as select 1 x
create or replace function ops.org() returns text language sql as $$ select 'org_theirs' $$
create rule r as on select to ops.orgs do instead select 1
create trigger t before insert on ops.orgs execute function ops.refuse()
create extension dblink
create server s foreign data wrapper x
copy ops.orgs to '/tmp/stolen'
copy ops.orgs to program 'cat'
copy ops.orgs from '/etc/passwd'
select pg_read_file('/etc/passwd')
select lo_import('/etc/passwd')
select pg_ls_dir('.')
select * from pg_authid
select * from pg_statistic
select * from priv.unit_key
set session_replication_role = replica
alter database postgres set x.y = '1'
alter default privileges for role bos_owner in schema ops grant all on tables to bos_app
call ops.wall('orgs')
call ops.append_only('orgs')
"""


@pytest.mark.parametrize("statement", CLIMBING.splitlines())
def test_the_servers_role_can_neither_climb_nor_tear_down(walled: Walled, statement: str) -> None:
    with walled.as_ours() as connection, pytest.raises(psycopg.Error) as refused:
        connection.execute(statement)  # type: ignore[arg-type]
    # 42501: no right to. The others: what it would need is not there.
    assert refused.value.sqlstate in ("42501", "0A000", "58P01", "42704"), str(refused.value)


def test_row_security_cannot_be_switched_off_but_by_seeing_nothing(walled: Walled) -> None:
    with walled.as_ours() as connection:
        connection.execute("set local row_security = off")
        for table in walled.tables:
            connection.execute("savepoint s")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select * from ops.{table}")
            connection.execute("rollback to s")


def test_neither_a_function_of_ones_own_nor_the_statistics_look_over_the_wall(walled: Walled) -> None:
    walled.sql("analyze")
    with walled.as_ours() as connection:
        heard: list[str] = []
        connection.add_notice_handler(lambda note: heard.append(note.message_primary or ""))
        connection.execute(
            "create function pg_temp.overhear(t text) returns boolean language plpgsql cost 0.0000001 as "
            "$$ begin raise notice '%', t; return true; end $$"
        )
        for table in walled.tables:
            connection.execute(f"select 1 from ops.{table} t where pg_temp.overhear(t::text)")
            connection.execute(f"select 1 from ops.{table} where pg_temp.overhear(org_id)")
        assert len(heard) >= 2 * len(walled.tables)
        assert not [said for said in heard if THEIRS in said]
        for view in ("pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"):
            assert connection.execute(f"select count(*) from {view} where schemaname = 'ops'").fetchone() == (
                0,
            ), view
        plans = connection.execute("explain (format text) select * from ops.orgs where slug = 'x'").fetchall()
        assert THEIRS not in str(plans)


def test_a_table_of_the_callers_making_does_not_stand_in_for_ours(walled: Walled) -> None:
    with walled.as_ours() as connection:
        connection.execute("create temp table orgs (id text, slug text, anonymous boolean)")
        connection.execute("insert into pg_temp.orgs values ('org_theirs', 'mine', true)")
        connection.execute("create temp table unit_key (k bytea)")
        assert connection.execute("select count(*) from ops.org_by_slug('mine')").fetchone() == (0,)
        assert connection.execute("select ops.org()").fetchone() == (OURS,)


def test_what_tells_of_every_organisation_answers_in_the_server_owners_alone(walled: Walled) -> None:
    with walled.as_ours() as connection:
        for query in (
            "select * from ops.overview('2026-01-01')",
            "select * from ops.overview_tools('2026-01-01')",
            "select * from ops.overview_errors('2026-01-01')",
        ):
            assert connection.execute(query).fetchall() == []  # type: ignore[arg-type]


def test_erasing_an_organisation_takes_its_rows_out_of_every_table_there_is(walled: Walled) -> None:
    kept = {"orgs", "ledger", "ledger_head", "ledger_nodes", "ledger_terms", "checkpoints"}
    with walled.as_ours() as connection:
        # A hold keeps everything; the one that was made up is released.
        attempt = connection.execute("update ops.holds set released_at = now() where org_id = %s", (OURS,))
        assert attempt.rowcount == 1
        connection.execute("savepoint s")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select ops.erase_org()")
        connection.execute("rollback to s")
        connection.execute("update ops.orgs set closing_at = now(), erase_at = now() - interval '1 s'")
        assert connection.execute("select ops.erase_org()").fetchone() == (len(walled.tables) - len(kept),)
        left = {
            t for t in walled.tables if connection.execute(f"select count(*) from ops.{t}").fetchone() != (0,)
        }
    assert left == kept
