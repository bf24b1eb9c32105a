"""Search and export of a record as large as that of ten years: an organisation of its own with made-up lines."""

import dataclasses
import http.client
import re
import statistics
import time
from pathlib import Path
from typing import Any, Final

import psycopg

from builderos.core.actor import Actor, system_actor
from builderos.core.ids import new_id
from builderos.core.unit import Call, Unit, perform
from builderos.integrations.embedded_postgres import service as embedded_postgres
from builderos.trust.identity import service as identity

from .report import Report
from .stage import Home, Server

CHUNK: Final = 100_000
# Nine of ten lines are commits, each of which also touches one file that all touch; the times go through one year.
LINES: Final = """
insert into ops.ledger (org_id, seq, body, prev_hash, hash, type, object, actor, at, branch, code)
  select %(org)s, n, j::text, sha256(int8send(n)), sha256(int8send(n + 1)), j ->> 'type', j ->> 'object', j ->> 'actor',
         (j ->> 'at')::timestamptz, j -> 'payload' ->> 'branch', j -> 'payload' ->> 'code'
    from generate_series(%(first)s::bigint, %(last)s::bigint) n, lateral (select jsonb_build_object(
      'actor', 'act_' || n %% 5000, 'actor_name', 'sandbox-golden-otter-' || n %% 5000,
      'at', to_char(timestamptz '2026-01-01Z' + n::float8 / %(count)s * interval '365 days',
                    'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
      'door', 'http', 'object', md5(n::text) || '00000000', 'request_id', 'req_' || md5(n::text), 'role', 'sandbox',
      'rules', array['sandbox-own'], 'type', case when n %% 10 = 0 then 'refused' else 'commit' end,
      'payload', jsonb_build_object('branch', 'sandbox-golden-otter-' || n %% 5000, 'old', md5((-n)::text),
        'paths', array['src/file' || n %% 20000 || '.py', 'project/changelog.yaml'], 'repo', 'lab', 'repo_id', 'repo_x',
        'stat', jsonb_build_object('added', 1, 'deleted', 0, 'files', 1), 'tool', 'commit_and_log@1',
        'code', case when n %% 10 = 0 then (array['policy_denied', 'forbidden_branch', 'rate_limited'])[1 + n %% 3] end)
    ) as j) x;
"""
TERMS: Final = """
insert into ops.ledger_terms
  select %(org)s, substr(sha256(convert_to(w, 'UTF8')), 1, 8), n
    from generate_series(%(first)s::bigint, %(last)s::bigint) n,
         unnest(array['path:src/file' || n %% 20000 || '.py', 'path:project/changelog.yaml']) w;
"""
HEAD: Final = """
insert into ops.ledger_head select org_id, seq, hash, prev_hash, at, '2 s' from ops.ledger
  where org_id = %(org)s order by seq desc limit 1;
"""
SPRING: Final = {"from": "2026-03-01T00:00:00Z", "to": "2026-05-01T00:00:00Z"}
MEMORY_MB: Final = 16


def millions(report: Report, home: Home, server: Server, count: int) -> None:
    """First pages by every filter, then an export through HTTP while the server's memory is watched."""
    owner, token = _organisation(home)
    superuser = embedded_postgres.start(home.path).superuser_conninfo
    with psycopg.connect(superuser, autocommit=True) as connection:
        _fill(connection, owner.org_id, count)
        _pages(report, home, owner, count)
        _export(report, server, token, count)
        connection.execute("set session_replication_role = replica")  # else both are append-only
        for table in ("ledger", "ledger_terms"):  # the disk is wanted back
            connection.execute(f"truncate ops.{table}") if count > 10**6 else None


def _organisation(home: Home) -> tuple[Actor, str]:
    org_id = new_id("org")

    def create(unit: Unit) -> str:
        identity.create_org(unit, "millions", "Millions", anonymous=False)
        return identity.issue(unit, "owner", actor_name="owner", profile="full").secret

    token = perform(home.context, Call(system_actor(org_id), request_id="req_bench"), create)
    return dataclasses.replace(home.actor(token)), token


def _fill(connection: psycopg.Connection[Any], org_id: str, count: int) -> None:
    connection.execute("set synchronous_commit = off")
    indexes = connection.execute(
        "select indexname, indexdef from pg_indexes where schemaname = 'ops' and tablename = 'ledger' "
        "and indexname <> 'ledger_pkey'"
    ).fetchall()
    for name, _ in indexes:  # made anew in one go they cost a tenth
        connection.execute(f"drop index ops.{name}")
    for first in range(1, count + 1, CHUNK):
        span = {"org": org_id, "first": first, "last": min(first + CHUNK - 1, count), "count": count}
        connection.execute(LINES, span)
        connection.execute(TERMS, span)
    for _, definition in indexes:
        connection.execute(definition)
    connection.execute(HEAD, {"org": org_id})
    connection.execute("vacuum (analyze) ops.ledger, ops.ledger_terms")


def _pages(report: Report, home: Home, owner: Actor, count: int) -> None:
    asked: dict[str, dict[str, Any]] = {
        "newest": {},
        "by type": {"type": "refused"},
        "by an actor": {"actor": "act_4711"},
        "by a file": {"path": "src/file4711.py"},
        "by a file that all touch": {"path": "project/changelog.yaml"},
        "by branch": {"branch": "sandbox-golden-otter-4711"},
        "by code": {"code": "forbidden_branch"},
        "by object": {"object": "no-such-object"},
        "by a file that all touch, and an actor": {"path": "project/changelog.yaml", "actor": "act_4711"},
        "of two months": SPRING,
        "by a file, of two months": {"path": "project/changelog.yaml", **SPRING},
        "by code and branch, of two months": {"code": "policy_denied", "branch": "sandbox-golden-otter-30", **SPRING},
    }  # fmt: skip
    slowest, which = 0.0, ""
    for name, filters in asked.items():
        took: list[float] = []
        for _ in range(15):
            began = time.perf_counter()
            found = home.run("searchAudit", owner, limit=50, **filters)
            took.append((time.perf_counter() - began) * 1e3)
        if not found.items and name != "by object":
            raise RuntimeError(f"nothing was found {name}")
        print(f"     {name:<40} {statistics.median(took):.2f} ms, {len(found.items)} lines")
        slowest, which = max((slowest, which), (statistics.median(took), name))
    how = f"{count:,} lines, {len(asked)} ways to ask; p50 of the slowest: {which}"
    report.at_most("first page of the audit [ms]", slowest, 20, how)


def _export(report: Report, server: Server, token: str, count: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    began = time.perf_counter()
    connection.request("GET", "/v1/audit/export", headers={"Authorization": f"Bearer {token}"})
    reply = connection.getresponse()
    size, rows, before = 0, 0, 0.0
    while chunk := reply.read(1 << 20):
        size += len(chunk)
        rows += chunk.count(b"\n")
        if not before:
            before = _resident_mb(server)
    took = time.perf_counter() - began
    grown = _resident_mb(server) - before
    if rows != count + 1:
        raise RuntimeError(f"the export has {rows} rows instead of {count + 1}")
    how = f"{count:,} lines, {size >> 20} MiB, through HTTP"
    report.shown("export [1,000 rows/s]", count / took / 1e3, how)
    report.at_most("growth of the server's memory during an export [MB]", grown, MEMORY_MB, how)


def _resident_mb(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0
