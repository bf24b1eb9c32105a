"""The doctor finds what is wrong, mends what is safe, and deletes nothing that somebody wrote."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from builderos.assets.repositories import settling
from builderos.assets.repositories.service import RepositoryStore, Torn
from builderos.assets.workspaces import doctor
from builderos.core import inspection
from builderos.core.clock import utcnow
from builderos.core.unit import as_system
from builderos.engine import outbox
from tests.support.databases import FreshDatabase
from tests.support.world import Sandbox, World, git, world_in_temp

UNRELATED = {"durability"}  # the tests' database forgets on power loss, and says so


@pytest.fixture
def world(database: FreshDatabase) -> Iterator[World]:
    with world_in_temp(database) as made:
        settling.settle_all(made.context)
        yield made


def examine(world: World, *, fix: bool = False) -> dict[str, dict[str, Any]]:
    reply = world.ok(world.as_owner("POST", "/v1/admin/doctor", json={"fix": fix}))
    return {check["name"]: check for check in reply["checks"] if check["name"] not in UNRELATED}


def wrong(checks: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: check["detail"] for name, check in checks.items() if not check["ok"]}


def mended(world: World, name: str) -> str:
    """That a check is not well, that it is after mending, and how it says so."""
    before = wrong(examine(world))
    assert set(before) == {name}
    check = examine(world, fix=True)[name]
    assert check["ok"]
    assert check["fixed"]
    assert before[name] in check["detail"]
    assert wrong(examine(world)) == {}
    return before[name]


def folder_of(world: World, database: FreshDatabase, name: str) -> Path:
    query = f"select store from ops.branches where name = '{name}'"
    return world.context.get(RepositoryStore).path(select(database, query)[0][0])


def select(database: FreshDatabase, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


def execute(database: FreshDatabase, statement: str) -> None:
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[arg-type]


def working(world: World) -> Sandbox:
    sandbox = world.open_sandbox()
    sandbox.commit({"a.txt": "precious\n"})
    return sandbox


def test_a_whole_installation_is_well(world: World) -> None:
    working(world)
    checks = examine(world)
    assert wrong(checks) == {}
    own = {check.name for check in (doctor.REBUILDING, *doctor.CHECKS)}
    lent = {
        "commands",
        "folders of runs",
        *(f"projections of {what}" for what in ("runs", "prompts", "memory")),
    }
    assert set(checks) | UNRELATED == own | lent
    assert not any(check["fixed"] for check in examine(world, fix=True).values())


def test_only_an_owner_may_ask(world: World) -> None:
    sandbox = working(world)
    world.problem(world.http.post("/v1/admin/doctor", json={}), "unauthenticated")
    reply = world.http.post("/v1/admin/doctor", json={"fix": True}, headers=sandbox.headers)
    assert reply.status_code == 403


def test_a_forgetful_database_is_told(world: World) -> None:
    reply = world.ok(world.as_owner("POST", "/v1/admin/doctor", json={}))
    (check,) = (c for c in reply["checks"] if c["name"] == "durability")
    assert (check["ok"], reply["ok"]) == (False, False)
    assert "power loss" in check["detail"]
    assert "durability" in reply["message"]


def test_a_database_without_a_column_is_told(world: World, database: FreshDatabase) -> None:
    execute(database, "alter table ops.backups drop column expires_at")
    found = wrong(examine(world))
    assert "backups.expires_at" in found["database"]


def test_a_role_that_passes_row_security_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = inspection.ServerFacts(180004, {"fsync": "on"}, superuser=False, bypasses_rows=True, missing=())
    monkeypatch.setattr(doctor, "inspect", lambda _database: facts)
    assert "row-level security" in wrong(examine(world))["row security"]


@pytest.mark.parametrize(
    ("said", "ok"), [(b"git version 2.31.9\n", False), (b"", False), (b"git version 2.50.1\n", True)]
)
def test_an_old_git_is_told(world: World, monkeypatch: pytest.MonkeyPatch, said: bytes, ok: bool) -> None:
    monkeypatch.setattr(
        doctor.repositories, "run_git", lambda _args: subprocess.CompletedProcess([], 0, said, b"")
    )
    assert ("git" not in wrong(examine(world))) is ok


def test_a_disk_that_is_nearly_full_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(world.home)._replace(free=5 * 1024**2)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _path: usage)
    assert "5 MiB" in wrong(examine(world))["disk space"]


def test_locks_of_dead_processes_are_removed(world: World, database: FreshDatabase) -> None:
    sandbox = working(world)
    lock = folder_of(world, database, sandbox.branch) / f"refs/heads/{sandbox.branch}.lock"
    lock.write_text("")
    os.utime(lock, (time.time() - 60, time.time() - 60))
    assert lock.name in mended(world, "locks")


@pytest.mark.parametrize("name", ["secret.key", "owner.token", "pg.password"])
def test_a_secret_that_others_can_read_is_closed(world: World, name: str) -> None:
    path = world.home / name
    path.touch(0o600)
    path.chmod(0o644)
    assert name in mended(world, "secrets")
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_dead_imports_and_pushes_left_is_removed(world: World, database: FreshDatabase) -> None:
    sandbox = working(world)
    left = [
        world.home / "repos" / ".import-dead",
        folder_of(world, database, sandbox.branch) / "objects" / "tmp_objdir-push-dead",
    ]
    for folder in left:
        folder.mkdir()
        (folder / "pack").write_text("half")
    assert wrong(examine(world)) == {}  # they may be in the making
    for folder in left:
        os.utime(folder, (time.time() - 10**5, time.time() - 10**5))
    assert "2 imports and pushes" in mended(world, "drafts")
    assert not any(folder.exists() for folder in left)


def test_a_clock_that_ran_back_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    working(world)
    earlier = utcnow() - timedelta(hours=1)
    monkeypatch.setattr(doctor, "utcnow", lambda: earlier)
    monkeypatch.setattr(doctor, "clock_of", lambda _database: earlier)
    assert "the record already has a line of" in wrong(examine(world, fix=True))["clock"]


def test_clocks_that_are_apart_are_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "clock_of", lambda _database: utcnow() + timedelta(minutes=2))
    assert "120 s apart" in wrong(examine(world))["clock"]


def test_journal_rows_that_wait_too_long_are_settled(world: World, database: FreshDatabase) -> None:
    working(world)
    select(database, "update ops.git_journal set at = at - interval '2 hours' returning id")
    assert "1 journal rows" in mended(world, "journal")
    assert select(database, "select id from ops.git_journal") == []


def test_files_torn_by_a_power_loss_are_written_anew(world: World, database: FreshDatabase) -> None:
    sandbox = working(world)
    ((branch_id,),) = select(database, f"select id from ops.branches where name = '{sandbox.branch}'")
    world.context.get(Torn).add(branch_id)
    assert "torn" in mended(world, "journal")


def test_a_ref_that_lags_is_brought_up(world: World, database: FreshDatabase) -> None:
    sandbox = working(world)
    folder = folder_of(world, database, sandbox.branch)
    sha = git("rev-parse", sandbox.branch, cwd=folder)
    (folder / "refs/heads" / sandbox.branch).write_text(git("rev-parse", f"{sha}^", cwd=folder) + "\n")
    assert "(ref)" in mended(world, "branches")
    assert git("rev-parse", sandbox.branch, cwd=folder) == sha


def test_a_missing_commit_comes_from_the_journal(world: World, database: FreshDatabase) -> None:
    sandbox = working(world)
    folder = folder_of(world, database, sandbox.branch)
    sha = git("rev-parse", sandbox.branch, cwd=folder)
    (folder / "objects" / sha[:2] / sha[2:]).unlink()
    world.context.get(RepositoryStore).forget(str(folder.relative_to(world.home / "repos")))
    assert "(commit)" in mended(world, "branches")
    git("fsck", "--strict", "--full", cwd=folder)


def test_a_branch_without_files_gets_them_back_from_the_journal(
    world: World, database: FreshDatabase
) -> None:
    sandbox = working(world)
    folder = folder_of(world, database, sandbox.branch)
    shutil.rmtree(folder)
    world.context.get(RepositoryStore).forget(str(folder.relative_to(world.home / "repos")))
    assert "(store)" in mended(world, "branches")
    reply = sandbox.post("/system/fetch_files", mode="batch", paths=["a.txt"])
    assert reply["files"][0]["content"] == "precious\n"


def test_what_cannot_be_mended_stays_told(world: World, database: FreshDatabase) -> None:
    sandbox = working(world)
    shutil.rmtree(folder_of(world, database, sandbox.branch))
    select(database, "delete from ops.git_journal returning id")
    check = examine(world, fix=True)["branches"]
    assert (check["ok"], check["fixed"]) == (False, False)


def test_folders_of_nobody_are_set_aside_and_not_deleted(world: World, database: FreshDatabase) -> None:
    working(world)
    org = folder_of(world, database, "main").parents[1]
    stores = [
        org / "repo_01ARZ3NDEKTSV4RRFFQ69G5FAV" / "base.git",
        folder_of(world, database, "main").parent / "branches" / "AV" / "br_01ARZ3NDEKTSV4RRFFQ69G5FAV.git",
    ]
    for store in stores:
        store.mkdir(parents=True)
        (store / "HEAD").write_text("somebody's work")
    assert wrong(examine(world)) == {}  # they may be in the making
    for store in (stores[0].parent, stores[1]):
        os.utime(store, (time.time() - 4000, time.time() - 4000))
    assert "2 folders" in mended(world, "orphans")
    kept = list((world.home / "repos" / ".lost").rglob("HEAD"))
    assert [path.read_text() for path in kept] == ["somebody's work"] * 2


def test_a_backup_without_its_ref_is_pinned_again(world: World, database: FreshDatabase) -> None:
    sandbox = working(world)
    ref = sandbox.post("/system/backup", scope="branch")["ref"]
    folder = folder_of(world, database, sandbox.branch)
    git("update-ref", "-d", ref, cwd=folder)
    assert ref in mended(world, "backups")


def test_a_changed_ledger_is_told_with_its_line(world: World, database: FreshDatabase) -> None:
    working(world)
    execute(database, "alter table ops.ledger disable trigger user")
    first = "(select min(seq) from ops.ledger where body like '%lab%')"
    execute(database, f"update ops.ledger set body = replace(body, 'lab', 'lap') where seq = {first}")
    assert "line" in wrong(examine(world))["ledger"]
    assert "ledger" in wrong(examine(world, fix=True))  # nobody mends that


def test_an_engine_that_should_run_and_does_not_is_told(database: FreshDatabase) -> None:
    with world_in_temp(database) as world:
        assert world.settings.engine is False
        assert examine(world)["engine"]["ok"]
        settings = world.settings.model_copy(update={"engine": True})
        world.context.put(type(settings), settings)
        assert "off" in wrong(examine(world))["engine"]


def test_a_message_that_cannot_be_delivered_is_told(world: World, database: FreshDatabase) -> None:
    as_system(world.context, world.org_id, lambda unit: outbox.put(unit, "mail", "m1", {}))
    ((id_,),) = select(database, "select id from ops.outbox")
    outbox.postpone(world.context, world.org_id, id_, "nobody answers")
    assert "m1" in wrong(examine(world))["outbox"]


def test_mending_is_recorded(world: World, database: FreshDatabase) -> None:
    sandbox = working(world)
    (folder_of(world, database, sandbox.branch) / "refs/heads" / sandbox.branch).write_text("")
    examine(world, fix=True)
    ((body,),) = select(database, "select body from ops.ledger where type = 'server.mended'")
    assert json.loads(body)["payload"]["fixed"] == ["branches"]
