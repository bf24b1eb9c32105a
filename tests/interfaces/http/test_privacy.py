"""No personal data: of an anonymous person nothing is kept that says who or where the person is.

Canaries stand wherever a client may put something about a person; afterwards every table, every git object, every file
of the home, every log line and every export is searched. What the person writes on purpose (files, messages, the claim
`committed_by`) is content and stays.
"""

import json
import logging
import os
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from builderos.core.logs import JsonLines
from tests.support.databases import FreshDatabase
from tests.support.live import run
from tests.support.ports import live
from tests.support.world import GIT_ENV, World, world_in_temp

ADDRESS = "203.0.113.77"
CANARY = "canary7f3e"
HEADERS = {
    "User-Agent": f"Mozilla/5.0 ({CANARY}-agent)",
    "X-Forwarded-For": ADDRESS,
    "X-Real-IP": ADDRESS,
    "Forwarded": f"for={ADDRESS}",
    "CF-Connecting-IP": ADDRESS,
    "From": f"{CANARY}@person.example",
    "Referer": f"https://{CANARY}.example/home",
    "Cookie": f"session={CANARY}-cookie",
    "Accept-Language": f"x-{CANARY}",
    "X-Request-Id": f"{CANARY}-request",
    "Origin": f"https://{CANARY}.example",
}
CLAIM = "somebody-who-claims"
PEER = "198.51.100.23"


@pytest.fixture
def stage(database: FreshDatabase, caplog: pytest.LogCaptureFixture) -> Iterator[World]:
    """A world in which an anonymous person has done everything that an anonymous person can do."""
    caplog.set_level(logging.DEBUG)
    with world_in_temp(database, rate_invalid_tokens=30) as world:
        act(world)
        yield world


def act(world: World) -> None:
    """Everything an anonymous person can do, with canaries in every header, from an address of its own."""
    from starlette.testclient import TestClient

    person = TestClient(world.asgi, base_url="http://127.0.0.1", headers=HEADERS, client=(PEER, 4711))

    def post(path: str, **body: Any) -> Any:
        return person.post(path, json=body)

    opened = World.ok(post("/sandbox/init", repo_name="lab", idempotency_key="k" * 30))
    here = {"repo_name": "lab", "branch": opened["branch"], "reuse_token": opened["reuse_token"]}
    first = World.ok(
        post("/commit_and_log_output", **here, message="m", file_path="a", content="b", committed_by=CLAIM)
    )
    World.ok(post("/git/rollback_commit", **here, commit_sha=first["commit_sha"], reason="r"))
    World.ok(post("/system/backup", **here))
    World.ok(post("/sandbox/init", **here, mode="project", project_name="P"))
    World.ok(post("/git/promote", **here, title="t"))
    World.ok(post("/sandbox/init", repo_name="lab", reuse_token=opened["reuse_token"]))
    for n in range(32):  # until the alert
        assert post("/git/log", reuse_token=f"bos_rt_{n:043}").status_code in (401, 429)
    assert post("/git/log", repo_name="lab", branch="main", nonsense=1).status_code in (401, 422)
    assert person.get("/nowhere").status_code == 404
    fetch(world, here)


def fetch(world: World, here: dict[str, Any]) -> None:
    """A real git client, which sends a user agent of its own."""
    with live(world.asgi) as url:
        remote = f"{url}/git/lab.git"
        agent = {"GIT_HTTP_USER_AGENT": f"{CANARY}-git"}
        token = f"http.extraHeader=Authorization: Bearer {here['reuse_token']}"
        done = run("-c", token, "ls-remote", remote, **agent)
        assert done.ok, done.err


def every_row(conninfo: str) -> Iterator[tuple[str, str]]:
    """Table and text of every row of every table of this database, the engine's among them."""
    with psycopg.connect(conninfo) as connection:
        tables = connection.execute(
            "select table_schema, table_name from information_schema.tables where table_type = 'BASE TABLE' "
            "and table_schema not in ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, table in tables:
            query = sql.SQL("select t::text from {} t").format(sql.Identifier(schema, table))
            for (text,) in connection.execute(query):
                yield f"{schema}.{table}", text


def journal_streams(conninfo: str) -> Iterator[bytes]:
    """The git objects that the journal holds, unpacked."""
    with psycopg.connect(conninfo) as connection:
        columns = connection.execute(
            "select column_name from information_schema.columns where table_schema = 'ops' "
            "and table_name = 'git_journal' and data_type = 'bytea'"
        ).fetchall()
        for (column,) in columns:
            query = sql.SQL("select {} from ops.git_journal").format(sql.Identifier(column))
            for (value,) in connection.execute(query):
                yield from unpacked(bytes(value or b""))


def unpacked(raw: bytes) -> Iterator[bytes]:
    """Every zlib stream in a run of bytes."""
    at = raw.find(b"\x78\x01")
    while at >= 0:
        stream = zlib.decompressobj()
        try:
            yield stream.decompress(raw[at:])
        except zlib.error:
            pass
        at = raw.find(b"\x78\x01", at + 1)


def every_object(home: Path) -> Iterator[bytes]:
    """The content of every git object in every repository of the home."""
    for repository in sorted(
        path.parent for path in home.rglob("HEAD") if (path.parent / "objects").is_dir()
    ):
        listing = subprocess.run(
            ["git", "-C", str(repository), "cat-file", "--batch-all-objects", "--batch"],
            env={**GIT_ENV, "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"},
            capture_output=True, check=True,
        )  # fmt: skip
        yield listing.stdout


def every_file(home: Path) -> Iterator[tuple[str, bytes]]:
    for folder, _, names in os.walk(home):
        for name in names:
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink():
                yield str(path), path.read_bytes()


def finds(data: str | bytes) -> list[str]:
    """Which canaries stand in some data."""
    text = data if isinstance(data, str) else data.decode(errors="replace")
    return [word for word in (CANARY, ADDRESS, PEER) if word in text]


def test_nothing_of_an_anonymous_person_is_in_the_database(stage: World, database: FreshDatabase) -> None:
    rows = list(every_row(database.superuser_conninfo))
    assert {"ops.ledger", "ops.alerts", "ops.sandboxes", "ops.idempotency", "ops.credentials"} <= {
        t for t, _ in rows
    }
    assert not [(table, text) for table, text in rows if finds(text)]
    assert any(CLAIM in text for _, text in rows), "the claim is kept: the search does find what is there"


def test_nothing_of_an_anonymous_person_is_in_git(stage: World, database: FreshDatabase) -> None:
    objects = [*every_object(stage.home), *journal_streams(database.superuser_conninfo)]
    assert any(b"sandbox-" in content for content in objects), "the search does see what was committed"
    assert not [content for content in objects if finds(content)]


def test_the_git_identity_of_an_anonymous_person_is_a_pseudonym(stage: World) -> None:
    authors = set()
    for content in every_object(stage.home):
        authors |= {line for line in content.split(b"\n") if line.startswith((b"author ", b"committer "))}
    imported = b" t <t@builderos.invalid>"  # somebody's own commit
    ours = [line for line in authors if imported not in line]
    assert ours
    for line in ours:
        name, _, rest = line.partition(b" <")
        assert name.split(b" ", 1)[1].startswith((b"sandbox-", b"builderos", b"BuilderOS", b"owner")), line
        mail = rest.partition(b">")[0].decode()
        assert mail.endswith((".invalid", ".localhost", "noreply.builderos")) or not mail, line


def test_nothing_of_an_anonymous_person_is_in_a_file_of_the_server(stage: World) -> None:
    assert not [path for path, content in every_file(stage.home) if finds(content)]


def test_nothing_of_an_anonymous_person_is_in_the_logs(
    stage: World, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    records = [*caplog.get_records("setup"), *caplog.records]
    ours = [record for record in records if record.name.startswith(("builderos", "mcp", "uvicorn"))]
    assert any(record.name == "builderos.access" for record in ours), "the access log was on"
    lines = [JsonLines().format(record) for record in ours]
    assert not [line for line in lines if finds(line)]
    assert not finds("".join(capfd.readouterr()))


def test_nothing_of_an_anonymous_person_is_in_an_export(stage: World) -> None:
    branch = World.ok(stage.as_owner("GET", "/v1/sandboxes"))["items"][0]["branch"]
    exports = [stage.as_owner("GET", f"/v1/audit/export?format={form}") for form in ("jsonl", "csv")]
    for form in ("json", "csv"):
        body = {"repo_name": "lab", "branch": branch, "mode": "export", "format": form}
        exports.append(stage.as_owner("POST", "/system/metrics", json=body))
    for export in exports:
        assert export.status_code == 200
        assert branch in export.text
        assert not finds(export.text)
        assert "bos_rt_" not in export.text


def test_no_token_is_kept_or_logged_anywhere(
    stage: World, database: FreshDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [text for _, text in every_row(database.superuser_conninfo)]
    assert not [text for text in rows if "bos_rt_" in text]
    assert "bos_rt_" not in json.dumps(
        [r.getMessage() for r in caplog.records if r.name.startswith("builderos")]
    )
    files = [path for path, content in every_file(stage.home) if b"bos_rt_" in content]
    assert not files
