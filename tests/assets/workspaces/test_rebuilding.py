"""Rows that are lost come back from the ledger, git and the credentials, each exactly as it was."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from builderos.assets.repositories.service import RepositoryStore
from builderos.assets.workspaces import lifecycle, rebuilding, schedules
from builderos.core.unit import as_system
from tests.support.databases import FreshDatabase
from tests.support.lab import Lab
from tests.support.live import address, run, served
from tests.support.world import Json, Sandbox, World, world_in_temp

TABLES = ("repositories", "branches", "sandboxes", "backups", "pulls", "shares", "pending_delivery")
Rows = dict[str, list[Json]]


@pytest.fixture
def world(database: FreshDatabase) -> Iterator[World]:
    with world_in_temp(database) as made:
        yield made


def rows(database: FreshDatabase) -> Rows:
    """Every row of the projections, by table; numbers that the database gives out by itself left out."""
    found: Rows = {}
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        for table in TABLES:
            left_out = "id" if table == "pending_delivery" else ""
            query = f"select to_jsonb(t) - '{left_out}' from ops.{table} t order by 1"
            found[table] = [row[0] for row in connection.execute(query).fetchall()]  # type: ignore[arg-type]
    return found


def lose(database: FreshDatabase, *tables: str, where: str = "true") -> None:
    """Delete rows as no program of ours would: what refers to them stays."""
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        for table in tables:
            connection.execute(f"delete from ops.{table} where {where}")  # type: ignore[arg-type]


def rebuilt(world: World) -> Json:
    reply = world.ok(world.as_owner("POST", "/v1/admin/doctor", json={"rebuild": True}))
    return next(check for check in reply["checks"] if check["name"] == "projections")


def promoted(world: World, sandbox: Sandbox, **more: Any) -> Json:
    opened = sandbox.post("/git/promote", title="Take it in", **more)
    decided = {"decision": "approve"}
    world.ok(world.as_owner("POST", f"/v1/approvals/{opened['approval_id']}", json=decided))
    return opened


def pushed(world: World, sandbox: Sandbox, folder: Path, name: str) -> None:
    with served(world) as url:
        assert run("clone", "-q", "-b", sandbox.branch, address(url, sandbox), str(folder)).ok
        (folder / name).write_text("pushed\n")
        assert run("add", "-A", cwd=folder).ok
        me = {"NAME": sandbox.branch, "EMAIL": f"{sandbox.branch}@builderos.invalid"}
        env = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in me.items()}
        assert run("commit", "-qm", f"Push {name}", cwd=folder, **env).ok
        done = run("push", "-q", "origin", f"HEAD:{sandbox.branch}", cwd=folder)
        assert done.ok, done.err


def story(world: World, folder: Path) -> dict[str, Sandbox]:
    """A bit of everything that leaves rows."""
    world.ok(world.as_owner("POST", "/v1/repos", json={"name": "second"}), 201)
    writer, pusher, unborn, gone, put_away, promoter = (world.open_sandbox() for _ in range(6))
    other = world.open_sandbox("second")
    other.commit({"b.txt": "b\n"})
    writer.commit({"a.txt": "1\n", "d/b.txt": "2\n"}, "First")
    second = writer.commit({"a.txt": "3\n", "d/b.txt": None}, "Second")["commit_sha"]
    writer.post("/git/rollback_commit", commit_sha=second, paths=["d/b.txt"], reason="test")
    writer.post("/system/backup", scope="branch")
    writer.post("/system/backup", scope="key_files")
    pushed(world, pusher, folder / "one", "p.txt")
    gone.commit({"g.txt": "g\n"})
    put_away.commit({"h.txt": "h\n"})
    ids = {s["branch"]: s["id"] for s in world.ok(world.as_owner("GET", "/v1/sandboxes"))["items"]}
    world.ok(world.as_owner("DELETE", f"/v1/sandboxes/{ids[gone.branch]}"))
    world.ok(world.as_owner("POST", f"/v1/sandboxes/{ids[put_away.branch]}/archive", json={}))
    link = world.ok(world.as_owner("POST", f"/v1/sandboxes/{ids[writer.branch]}/share", json={}))
    world.ok(world.as_owner("POST", f"/v1/sandboxes/{ids[writer.branch]}/share", json={}))
    world.ok(world.as_owner("DELETE", f"/v1/shares/{link['share_id']}"))
    promoter.commit({"m.txt": "m\n"})
    promoted(world, promoter)
    promoter.commit({"n.txt": "n\n"})
    promoted(world, promoter, mode="release", version="1.0.0")
    writer.post("/git/promote", title="Open one")
    denied = other.post("/git/promote", title="No", repo_name="second")
    world.ok(
        world.as_owner(
            "POST", f"/v1/approvals/{denied['approval_id']}", json={"decision": "deny", "comment": "no"}
        )
    )
    schedules.back_up_daily(world.context, world.org_id)
    return {"writer": writer, "pusher": pusher, "unborn": unborn, "gone": gone, "put_away": put_away}


def test_every_lost_row_comes_back_as_it_was(world: World, database: FreshDatabase, tmp_path: Path) -> None:
    sandboxes = story(world, tmp_path)
    before = rows(database)
    assert all(before.values()), {table: len(found) for table, found in before.items()}
    assert as_system(world.context, world.org_id, rebuilding.missing, read_only=True) == []
    lose(database, *TABLES)
    lost = sum(len(found) for found in before.values()) - len(before["pending_delivery"])
    reply = world.ok(world.as_owner("POST", "/v1/admin/doctor", json={}))
    (told,) = (c for c in reply["checks"] if c["name"] == "projections")
    assert not told["ok"]
    assert f"{lost} rows" in told["detail"]
    assert rows(database)["branches"] == []  # looking changes nothing
    check = rebuilt(world)
    assert check["ok"], check
    assert check["fixed"]
    after = rows(database)
    for table in TABLES:
        assert after[table] == before[table], table
    for sandbox in (sandboxes["writer"], sandboxes["pusher"], sandboxes["unborn"]):
        sandbox.commit({"later.txt": "goes on\n"})
    again = world.ok(world.http.post("/sandbox/init", json={"reuse_token": sandboxes["gone"].token}))
    assert again["recreated"]
    assert again["restore_from"]
    entries = sandboxes["pusher"].post("/system/fetch_files", mode="single", path="project/changelog.yaml")
    assert "Push p.txt" in entries["files"][0]["content"]
    world.ok(world.as_owner("GET", "/v1/audit/verify"))


def test_a_second_rebuild_finds_nothing_to_do(world: World, database: FreshDatabase, tmp_path: Path) -> None:
    story(world, tmp_path)
    lose(database, "pulls", "shares")
    assert rebuilt(world)["fixed"]
    once = rows(database)
    assert not rebuilt(world)["fixed"]
    assert rows(database) == once


def test_a_row_that_is_there_stays_as_it_is(world: World, database: FreshDatabase) -> None:
    sandbox = world.open_sandbox()
    sandbox.commit({"a.txt": "1\n"})
    lose(database, "sandboxes", where=f"name <> '{sandbox.branch}'")
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        connection.execute("update ops.sandboxes set profile = 'minimal'")
    rebuilt(world)
    assert rows(database)["sandboxes"][0]["profile"] == "minimal"


@pytest.mark.parametrize("table", ["backups", "shares", "sandboxes"])
def test_one_lost_row_among_many_comes_back(
    world: World, database: FreshDatabase, tmp_path: Path, table: str
) -> None:
    story(world, tmp_path)
    before = rows(database)
    id_ = before[table][0]["id"]
    lose(database, table, where=f"id = '{id_}'")
    assert id_ in world.ok(world.as_owner("POST", "/v1/admin/doctor", json={}))["checks"][0]["detail"]
    assert rebuilt(world)["fixed"]
    assert rows(database) == before


def test_a_branch_that_was_opened_again_comes_back_from_there(world: World, database: FreshDatabase) -> None:
    sandbox = world.open_sandbox()
    sandbox.commit({"a.txt": "1\n"})
    items = world.ok(world.as_owner("GET", "/v1/sandboxes"))["items"]
    world.ok(world.as_owner("DELETE", f"/v1/sandboxes/{items[0]['id']}"))
    world.ok(world.http.post("/sandbox/init", json={"reuse_token": sandbox.token}))
    sandbox.commit({"b.txt": "2\n"})
    before = rows(database)
    lose(database, *TABLES)
    assert rebuilt(world)["ok"]
    assert rows(database) == before


def test_an_expired_and_a_renewed_sandbox_come_back_as_they_are(
    world: World, database: FreshDatabase
) -> None:
    sandbox, kept = world.open_sandbox(), world.open_sandbox()
    items = {s["branch"]: s["id"] for s in world.ok(world.as_owner("GET", "/v1/sandboxes"))["items"]}
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        connection.execute(
            "update ops.sandboxes set expires_at = expires_at - interval '91 days',"
            " last_active_at = last_active_at - interval '91 days', created_at = created_at - interval '91 days'"
        )
        connection.execute(
            "update ops.credentials set expires_at = expires_at - interval '91 days' where sandbox_id is not null"
        )
    lifecycle.age_sandboxes(world.context, world.org_id)
    world.ok(world.as_owner("POST", f"/v1/sandboxes/{items[kept.branch]}/token", json={"action": "renew"}))
    before = {row["name"]: row for row in rows(database)["sandboxes"]}
    assert (before[sandbox.branch]["state"], before[kept.branch]["state"]) == ("expired", "active")
    lose(database, "sandboxes")
    assert rebuilt(world)["ok"]
    after = {row["name"]: row for row in rows(database)["sandboxes"]}
    for name in (sandbox.branch, kept.branch):  # the test had moved the day of their making
        moved = ("created_at", "last_active_at") if name == sandbox.branch else ("created_at",)
        assert {k: v for k, v in after[name].items() if k not in moved} == {
            k: v for k, v in before[name].items() if k not in moved
        }


def test_what_cannot_come_back_is_told_and_the_rest_does(world: World, database: FreshDatabase) -> None:
    sandbox, other = world.open_sandbox(), world.open_sandbox()
    sandbox.commit({"a.txt": "1\n"})
    other.commit({"b.txt": "2\n"})
    store = world.context.get(RepositoryStore)
    folder = next(row["store"] for row in rows(database)["branches"] if row["name"] == sandbox.branch)
    shutil.rmtree(store.path(folder))
    store.forget(folder)
    lose(database, "git_journal", "branches", "sandboxes", where="true")
    check = rebuilt(world)
    assert not check["ok"]
    names = {row["name"] for row in rows(database)["branches"]}
    assert other.branch in names
    assert sandbox.branch not in names
    other.commit({"c.txt": "goes on\n"})


def test_rebuilding_is_for_owners(world: World) -> None:
    sandbox = world.open_sandbox()
    reply = world.http.post("/v1/admin/doctor", json={"rebuild": True}, headers=sandbox.headers)
    assert reply.status_code == 403


def test_another_organisation_s_rows_come_back_too(database: FreshDatabase, world: World) -> None:
    org = Lab(world, database).second_org()
    world.ok(world.http.post("/v1/repos", json={"name": "theirs"}, headers=org.owner), 201)
    org.open_sandbox("theirs").commit({"a.txt": "1\n"})
    before = rows(database)
    lose(database, *TABLES)
    rebuilt(world)
    assert rows(database) == before
