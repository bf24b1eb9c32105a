"""Daily backups and weekly exports: made once, kept as long as promised, protected, restorable."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from builderos.assets.repositories.service import RepositoryStore
from builderos.assets.workspaces import schedules
from builderos.assets.workspaces.schedules import back_up_daily, export_weekly, retained, settle_backups
from builderos.core import unit as units
from builderos.core.problems import Problem
from tests.support.databases import FreshDatabase
from tests.support.world import World, git, make_repository, world_in_temp

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def world(database: FreshDatabase) -> Iterator[World]:
    with world_in_temp(database) as made:
        yield made


class Calendar:
    """The day that units and exports see."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOON
        monkeypatch.setattr(units, "utcnow", lambda: self.now)
        monkeypatch.setattr(schedules, "utcnow", lambda: self.now)

    def day(self, number: int) -> datetime:
        self.now = NOON + timedelta(days=number)
        return self.now


@pytest.fixture
def calendar(monkeypatch: pytest.MonkeyPatch) -> Calendar:
    return Calendar(monkeypatch)


def select(database: FreshDatabase, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


def base_of(world: World, database: FreshDatabase, name: str = "lab") -> Path:
    query = (
        "select b.store from ops.branches b join ops.repositories r on r.id = b.repo_id"
        f" where b.name = 'main' and r.name = '{name}'"
    )
    return world.context.get(RepositoryStore).path(select(database, query)[0][0])


def refs(world: World, database: FreshDatabase) -> list[str]:
    listed = git("for-each-ref", "--format=%(refname)", "refs/heads/backup", cwd=base_of(world, database))
    return [line.removeprefix("refs/heads/") for line in listed.splitlines()]


def kept(database: FreshDatabase) -> list[str]:
    rows = select(database, "select ref from ops.backups where kind = 'daily' order by ref")
    return [row[0].removeprefix("refs/heads/") for row in rows]


def back_up(world: World) -> int:
    return back_up_daily(world.context, world.org_id)


def test_main_is_kept_once_a_day_under_its_date(
    world: World, database: FreshDatabase, calendar: Calendar
) -> None:
    assert [back_up(world), back_up(world)] == [1, 0]
    calendar.day(1)
    assert back_up(world) == 1
    assert refs(world, database) == kept(database) == ["backup/2026-11-21", "backup/2026-11-22"]
    main = git("rev-parse", "main", cwd=base_of(world, database))
    assert git("rev-parse", "backup/2026-11-21", cwd=base_of(world, database)) == main
    ((branch, files, digest),) = select(
        database,
        "select b.name, k.files, k.sha256 from ops.backups k join ops.branches b on b.id = k.branch_id limit 1",
    )
    assert branch == "main"
    assert set(files) == {"README.md", "src/app.py"}
    assert len(digest) == 64


def test_every_repository_has_its_own(world: World, database: FreshDatabase) -> None:
    world.import_repo(make_repository(world.home.parent / "second"), "second")
    assert back_up(world) == 2
    assert git("for-each-ref", "refs/heads/backup", cwd=base_of(world, database, "second"))


def test_nobody_writes_a_backup(world: World, calendar: Calendar) -> None:
    back_up(world)
    sandbox = world.open_sandbox()
    reply = sandbox.try_post(
        "/commit_and_log_output", branch="backup/2026-11-21", file_path="a", content="a", message="a"
    )
    assert reply.json()["code"] in ("protected_branch", "forbidden_branch")
    owner = world.as_owner(
        "POST", "/commit_and_log_output",
        json={"repo_name": "lab", "branch": "backup/2026-11-21", "file_path": "a", "content": "a", "message": "a"},
    )  # fmt: skip
    world.problem(owner, "protected_branch")


def test_old_ones_go_but_one_of_each_month_stays(
    world: World, database: FreshDatabase, calendar: Calendar
) -> None:
    for number in range(0, 120, 3):
        calendar.day(number)
        back_up(world)
    names = kept(database)
    assert names == refs(world, database)
    assert len([name for name in names if name >= "backup/2026-12"]) >= 30
    assert names[0] == "backup/2026-11-21"  # the first of November, though not among the thirty newest
    rows = select(database, "select name, state from ops.branches where kind = 'backup' order by name")
    assert [name for name, state in rows if state == "active"] == names
    removed = select(database, "select count(*) from ops.ledger where type = 'backup.removed'")
    assert removed == [(40 - len(names),)]
    git("fsck", "--strict", "--full", cwd=base_of(world, database))


@pytest.mark.parametrize(
    ("days", "daily", "monthly", "expected"),
    [
        ([0, 1, 2, 3], 2, 0, [2, 3]),
        ([0, 1, 2, 3], 0, 1, [0]),
        ([0, 9, 10, 11, 40, 41], 1, 2, [10, 41]),  # 21 and 30 November; 1, 2 and 31 December; 1 January
        ([0, 400], 1, 12, [0, 400]),
        ([], 30, 12, []),
    ],
)
def test_the_newest_days_and_the_first_of_each_month_are_retained(
    days: list[int], daily: int, monthly: int, expected: list[int]
) -> None:
    rows = [(str(day), NOON + timedelta(days=day)) for day in reversed(days)]
    found = sorted(int(id_) for id_ in retained(rows, daily, monthly))
    assert found == expected


def test_a_failure_is_an_alert_and_the_others_have_their_turn(
    world: World, database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.import_repo(make_repository(world.home.parent / "second"), "second")
    ((bad,),) = select(database, "select id from ops.repositories where name = 'lab'")
    real = schedules.back_up_main

    def fail(unit: Any, repo_id: str) -> bool:
        if repo_id == bad:
            raise Problem("unavailable", "its files cannot be opened")
        return real(unit, repo_id)

    monkeypatch.setattr(schedules, "back_up_main", fail)
    with pytest.raises(Problem, match="cannot be opened"):
        back_up(world)
    assert git("for-each-ref", "refs/heads/backup", cwd=base_of(world, database, "second"))
    assert select(database, "select rule, object from ops.alerts") == [("backup_failed", bad)]


def test_a_backup_whose_process_died_before_its_ref_was_written_gets_it(
    world: World, database: FreshDatabase, calendar: Calendar
) -> None:
    back_up(world)
    sandbox = world.open_sandbox()
    sandbox.commit({"a.txt": "1\n"})
    mine = sandbox.post("/system/backup", scope="branch")
    ((store,),) = select(database, f"select store from ops.branches where name = '{sandbox.branch}'")
    folder = world.context.get(RepositoryStore).path(store)
    git("update-ref", "-d", mine["ref"], cwd=folder)
    git("update-ref", "-d", "refs/heads/backup/2026-11-21", cwd=base_of(world, database))
    assert settle_backups(world.context, calendar.now + timedelta(days=1)) == 0
    assert settle_backups(world.context, calendar.now - timedelta(days=1)) == 2
    assert git("rev-parse", mine["ref"], cwd=folder) == mine["commit_sha"]
    assert refs(world, database) == ["backup/2026-11-21"]
    assert settle_backups(world.context) == 0


def test_a_backup_with_a_date_of_its_own_goes_then(
    world: World, database: FreshDatabase, calendar: Calendar
) -> None:
    sandbox = world.open_sandbox()
    sandbox.commit({"a.txt": "1\n"})
    dated, lasting = (sandbox.post("/system/backup", scope="branch")["backup_id"] for _ in range(2))
    select(
        database,
        f"update ops.backups set expires_at = created_at + interval '3 days' where id = '{dated}' returning id",
    )
    calendar.day(2)
    back_up(world)
    assert len(select(database, "select id from ops.backups where kind = 'manual'")) == 2
    calendar.day(3)
    back_up(world)
    assert select(database, "select id from ops.backups where kind = 'manual'") == [(lasting,)]


# ---------------------------------------------------------------- exports


def exported(world: World) -> list[Path]:
    return sorted((world.home / "exports").rglob("*.json"))


def test_memory_and_changelog_of_main_are_written_out_once_a_week(world: World, calendar: Calendar) -> None:
    files: dict[str, str | bytes] = {
        "project/changelog.yaml": "- {id: chg_1, timestamp: 2026-11-01T00:00:00Z, paths: [a.py], message: First}\n",
        "project/memory.yaml": "version: 1\nfiles:\n  - {path: a.py, description: The start, tags: [code]}\n",
        "a.py": "1\n",
    }
    world.import_repo(make_repository(world.home.parent / "told", files), "told")
    assert [export_weekly(world.context, world.org_id) for _ in range(2)] == [2, 0]
    stories = {
        story["repo_name"]: story for story in (json.loads(path.read_text()) for path in exported(world))
    }
    assert set(stories) == {"lab", "told"}
    assert [entry["message"] for entry in stories["told"]["changelog"]] == ["First"]
    assert [(item["path"], item["description"]) for item in stories["told"]["memory"]] == [
        ("a.py", "The start")
    ]
    assert (stories["lab"]["changelog"], stories["lab"]["memory"]) == ([], [])
    for path in exported(world):
        assert path.stem == "2026-11-21"
        assert path.stat().st_mode & 0o777 == 0o600


def test_the_newest_exports_are_kept(world: World, calendar: Calendar) -> None:
    for number in range(0, 7 * 15, 7):
        calendar.day(number)
        assert export_weekly(world.context, world.org_id) == 1
    names = [path.stem for path in exported(world)]
    assert len(names) == 12
    assert names[-1] == f"{calendar.now:%Y-%m-%d}"


def test_an_export_holds_no_secret(world: World) -> None:
    token = "ghp_" + "a1B2" * 9
    files: dict[str, str | bytes] = {
        "project/changelog.yaml": f"- {{id: chg_1, timestamp: 2026-11-01T00:00:00Z, paths: [], message: use {token}}}\n"
    }
    world.import_repo(make_repository(world.home.parent / "leaky", files), "leaky")
    export_weekly(world.context, world.org_id)
    texts = [path.read_text() for path in exported(world)]
    assert any("chg_1" in text for text in texts)
    assert not any(token in text for text in texts)


def test_a_file_that_somebody_else_put_there_stays(world: World) -> None:
    export_weekly(world.context, world.org_id)
    foreign = exported(world)[0].with_name("notes.json")
    foreign.write_text("{}")
    assert export_weekly(world.context, world.org_id) == 0
    assert foreign.exists()
