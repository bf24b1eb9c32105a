"""What time does to sandboxes, and how an owner takes it back."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from builderos.assets.repositories.service import RepositoryStore
from builderos.assets.workspaces import lifecycle
from builderos.assets.workspaces.lifecycle import age_sandboxes
from builderos.core.problems import Problem
from tests.support.databases import FreshDatabase
from tests.support.world import Sandbox, World, git, world_in_temp


@pytest.fixture
def world(database: FreshDatabase) -> Iterator[World]:
    with world_in_temp(database) as made:
        yield made


def select(database: FreshDatabase, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        return connection.execute(query, values).fetchall()  # type: ignore[arg-type]


def let_pass(database: FreshDatabase, sandbox: Sandbox, **time: float) -> None:
    """So much time passes for one sandbox."""
    for table, key, columns in (
        ("sandboxes", "name", ("created_at", "last_active_at", "expires_at", "archived_at")),
        ("branches", "name", ("created_at", "moved_at")),
        ("credentials", "actor_name", ("created_at", "expires_at")),
    ):
        moved = ", ".join(f"{column} = {column} - %s" for column in columns)
        select(
            database, f"update ops.{table} set {moved} where {key} = %s returning id",
            *[timedelta(**time)] * len(columns), sandbox.branch,
        )  # fmt: skip


def state(database: FreshDatabase, sandbox: Sandbox) -> tuple[str, str]:
    """Of the sandbox and of its branch."""
    ((mine, branch),) = select(
        database,
        "select s.state, b.state from ops.sandboxes s join ops.branches b on b.id = s.branch_id where s.name = %s",
        sandbox.branch,
    )
    return mine, branch


def age(world: World) -> lifecycle.Aged:
    return age_sandboxes(world.context, world.org_id)


def types(database: FreshDatabase) -> list[str]:
    return [row[0] for row in select(database, "select type from ops.ledger order by seq")]


def test_a_sandbox_goes_idle_expires_and_is_archived_in_its_time(
    world: World, database: FreshDatabase
) -> None:
    sandbox = world.open_sandbox()
    sha = sandbox.commit({"a.txt": "precious\n"})["commit_sha"]
    assert age(world) == lifecycle.Aged(slid=1)  # the commit came after the opening
    assert state(database, sandbox) == ("active", "active")
    let_pass(database, sandbox, days=14, minutes=1)
    assert age(world).idled == 1
    assert state(database, sandbox) == ("idle", "active")
    sandbox.commit({"b.txt": "an idle one works as before\n"})
    let_pass(database, sandbox, days=90, minutes=1)
    assert age(world).expired == 1
    assert state(database, sandbox) == ("expired", "active")
    world.problem(
        sandbox.try_post("/commit_and_log_output", file_path="c", content="c", message="c"), "token_expired"
    )
    let_pass(database, sandbox, days=29)
    assert age(world) == lifecycle.Aged()
    let_pass(database, sandbox, days=1, minutes=1)
    assert age(world).archived == 1
    assert state(database, sandbox) == ("archived", "archived")
    ((id_, store),) = select(database, "select id, store from ops.branches where name = %s", sandbox.branch)
    folder = world.context.get(RepositoryStore).path(store)
    assert git(
        "for-each-ref", "--format=%(refname)", "refs/bos", f"refs/heads/{sandbox.branch}", cwd=folder
    ) == (f"refs/bos/archive/{id_}")
    assert git("merge-base", "--is-ancestor", sha, f"refs/bos/archive/{id_}", cwd=folder) == ""
    git("fsck", "--strict", "--full", cwd=folder)
    assert age(world) == lifecycle.Aged()
    assert [t for t in types(database) if t in ("sandbox.expired", "sandbox.archived")] == [
        "sandbox.expired", "sandbox.archived",
    ]  # fmt: skip


@pytest.mark.parametrize("days", [91, 121])
def test_an_owner_renews_it_with_everything_that_was_in_it(
    world: World, database: FreshDatabase, days: int
) -> None:
    sandbox = world.open_sandbox()
    sandbox.commit({"a.txt": "precious\n"})
    age(world)
    let_pass(database, sandbox, days=days)
    while age(world) != lifecycle.Aged():
        pass
    assert state(database, sandbox)[0] == ("expired" if days == 91 else "archived")
    ((id_,),) = select(database, "select id from ops.sandboxes where name = %s", sandbox.branch)
    world.ok(world.as_owner("POST", f"/v1/sandboxes/{id_}/token", json={"action": "renew"}))
    assert age(world).archived == 0
    assert state(database, sandbox) == ("active", "active")
    reply = sandbox.post("/system/fetch_files", mode="batch", paths=["a.txt"])
    assert reply["files"][0]["content"] == "precious\n"
    sandbox.commit({"b.txt": "and on\n"})


def test_a_commit_keeps_a_sandbox_alive_though_nobody_opened_it_again(
    world: World, database: FreshDatabase
) -> None:
    sandbox = world.open_sandbox()
    let_pass(database, sandbox, days=80)
    sandbox.commit({"a.txt": "still at it\n"})
    assert age(world).slid == 1
    let_pass(database, sandbox, days=80)
    assert age(world).expired == 0
    sandbox.commit({"a.txt": "and again\n"})
    ((mine, token),) = select(
        database,
        "select s.expires_at, c.expires_at from ops.sandboxes s join ops.credentials c on c.sandbox_id = s.id"
        " where s.name = %s",
        sandbox.branch,
    )
    assert mine == token


def test_a_commit_wakes_an_idle_sandbox(world: World, database: FreshDatabase) -> None:
    sandbox = world.open_sandbox()
    let_pass(database, sandbox, days=20)
    age(world)
    assert state(database, sandbox)[0] == "idle"
    sandbox.commit({"a.txt": "back\n"})
    age(world)
    assert state(database, sandbox)[0] == "active"


def test_a_sandbox_without_expiry_never_expires(world: World, database: FreshDatabase) -> None:
    sandbox = world.open_sandbox()
    select(database, "update ops.sandboxes set expires_at = null returning id")
    let_pass(database, sandbox, days=4000)
    age(world)
    assert state(database, sandbox)[0] == "idle"


def test_one_that_was_renewed_in_the_meantime_is_left_alone(
    world: World, database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = world.open_sandbox()
    ((id_,),) = select(database, "select id from ops.sandboxes where name = %s", sandbox.branch)
    answers = iter([[id_], []])  # it was overdue when the list was made
    monkeypatch.setattr(lifecycle, "overdue", lambda _unit, _after: next(answers))
    assert age(world) == lifecycle.Aged()
    assert state(database, sandbox) == ("active", "active")


def test_one_that_fails_does_not_keep_the_others_from_their_turn(
    world: World, database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandboxes = [world.open_sandbox() for _ in range(3)]
    for sandbox in sandboxes:
        let_pass(database, sandbox, days=91)
    ((bad,),) = select(database, "select id from ops.sandboxes where name = %s", sandboxes[1].branch)
    real = lifecycle.age

    def age_or_fail(unit: Any, sandbox_id: str) -> str:
        if sandbox_id == bad:
            raise Problem("unavailable", "its files are missing")
        return real(unit, sandbox_id)

    monkeypatch.setattr(lifecycle, "age", age_or_fail)
    aged = age(world)
    assert aged.expired == 2
    assert aged.failed == 1
    assert [state(database, s)[0] for s in sandboxes] == ["expired", "idle", "expired"]


def test_another_organisation_is_not_touched(world: World, database: FreshDatabase) -> None:
    sandbox = world.open_sandbox()
    let_pass(database, sandbox, days=91)
    assert age_sandboxes(world.context, "org_01ARZ3NDEKTSV4RRFFQ69G5FAV") == lifecycle.Aged()
    assert state(database, sandbox)[0] == "active"
