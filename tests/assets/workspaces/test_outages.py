"""The database restarts under load, the disk fills up: calls fail in plain words, nothing acknowledged is lost, and all
goes on without a person when the trouble is over.
"""

import base64
import errno
import os
import random
import shutil
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from builderos.assets.repositories import objects, settling
from builderos.assets.repositories.service import RepositoryStore
from builderos.integrations.embedded_postgres import service as postgres
from tests.support.databases import Databases, FreshDatabase
from tests.support.servers import pid_of, until
from tests.support.world import Sandbox, World, git, make_repository, world_in_temp


def select(database: FreshDatabase, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


def execute(database: FreshDatabase, statement: str) -> None:
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[arg-type]


def folder_of(world: World, database: FreshDatabase, branch: str) -> Path:
    ((store,),) = select(database, f"select store from ops.branches where name = '{branch}'")
    return world.context.get(RepositoryStore).path(store)


def content(sandbox: Sandbox, path: str) -> str | None:
    reply = sandbox.post("/system/fetch_files", mode="batch", paths=[path])
    return reply["files"][0]["content"] if reply["files"] else None


# ---------------------------------------------------------------- PostgreSQL


class Writer(threading.Thread):
    """Commits without a pause, each until it is acknowledged, with one idempotency key."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self.sandbox = sandbox
        self.acknowledged: list[str] = []
        self.problems: list[str] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            number = len(self.acknowledged)
            body = {"file_path": f"f{number}.txt", "content": f"{number}\n", "message": f"commit {number}",
                    "idempotency_key": uuid.uuid4().hex}  # fmt: skip
            while (reply := self.sandbox.try_post("/commit_and_log_output", **body)).status_code != 200:
                self.problems.append(reply.json()["code"])
                threading.Event().wait(0.05)
            self.acknowledged.append(reply.json()["commit_sha"])


def crash(home: Path) -> None:
    os.kill(pid_of(home), signal.SIGKILL)


@pytest.mark.parametrize("end", [postgres.stop, crash], ids=["restarted", "killed"])
def test_a_database_that_goes_away_under_load_loses_nothing_and_doubles_nothing(
    home: Path, tmp_path: Path, end: Any
) -> None:
    own = Databases(home, durable=True, folder=tmp_path)
    with own.fresh() as database, world_in_temp(database) as world:
        writers = [Writer(world.open_sandbox()) for _ in range(4)]
        for writer in writers:
            writer.start()
        for _ in range(3):
            before = [len(writer.acknowledged) for writer in writers]
            until(
                lambda b=before: all(len(w.acknowledged) > n + 2 for w, n in zip(writers, b, strict=True)), 60
            )
            end(home)
            own.server()
        before = [len(writer.acknowledged) for writer in writers]
        until(lambda: all(len(w.acknowledged) > n + 2 for w, n in zip(writers, before, strict=True)))
        for writer in writers:
            writer.stopping.set()
        for writer in writers:
            writer.join(120)
        assert {code for writer in writers for code in writer.problems} <= {"unavailable", "busy"}
        assert any(writer.problems for writer in writers)
        assert settling.settle_all(world.context).failed == 0
        for writer in writers:
            folder = folder_of(world, database, writer.sandbox.branch)
            subjects = git("log", "--reverse", "--format=%H %s", f"main..{writer.sandbox.branch}", cwd=folder)
            expected = [f"{sha} commit {number}" for number, sha in enumerate(writer.acknowledged)]
            assert subjects.splitlines() == expected
            git("fsck", "--strict", "--full", cwd=folder)
        world.ok(world.as_owner("GET", "/v1/audit/verify"))


def test_a_commit_whose_outcome_nobody_knows_is_told_as_such(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from builderos.core import database as core_database

    own = Databases(home, durable=False, folder=tmp_path)
    with own.fresh() as database, world_in_temp(database) as world:
        sandbox = world.open_sandbox()
        real = core_database.Transaction._exchange_all

        def lose(self: Any, meanwhile: Any = None) -> Any:
            if any(statement == "commit" for statement, _ in self._sent):
                # In place of what comes after the commit itself.
                self._sent[-1] = ("select pg_terminate_backend(pg_backend_pid())", ())
            return real(self, meanwhile)

        body = {"file_path": "a.txt", "content": "1\n", "message": "x"}
        with monkeypatch.context() as patched:
            patched.setattr(core_database.Transaction, "_exchange_all", lose)
            problem = world.problem(sandbox.try_post("/commit_and_log_output", **body), "unavailable")
            assert "idempotency_key" in problem["hint"]
            assert problem["retryable"]
            keyed = body | {"content": "2\n", "idempotency_key": uuid.uuid4().hex}
            reply = sandbox.post("/commit_and_log_output", **keyed)  # with a key the server can find out
        assert select(database, "select tip, commits from ops.branches where kind = 'sandbox'") == [
            (reply["commit_sha"], 2)
        ]
        assert content(sandbox, "a.txt") == "2\n"
        assert sandbox.post("/commit_and_log_output", **keyed) == reply


def test_a_database_without_room_is_told_and_nothing_is_changed(database: FreshDatabase) -> None:
    with world_in_temp(database) as world:
        sandbox = world.open_sandbox()
        before = sandbox.commit({"a.txt": "1\n"})["commit_sha"]
        execute(
            database,
            "create function ops.no_room() returns trigger language plpgsql as $$ begin"
            " raise exception 'could not extend file' using errcode = '53100'; end $$;"
            " create trigger no_room before insert on ops.git_journal execute function ops.no_room()",
        )
        reply = sandbox.try_post("/commit_and_log_output", file_path="b", content="b", message="b")
        world.problem(reply, "storage_full")
        execute(database, "drop trigger no_room on ops.git_journal")
        assert select(database, "select tip from ops.branches where kind = 'sandbox'") == [(before,)]
        sandbox.commit({"b": "b"})


# ---------------------------------------------------------------- the disk


@contextmanager
def small_disk(database: FreshDatabase, size: str, **settings: Any) -> Iterator[World]:
    """A world whose repositories lie on a file system of their own, which fills up for real."""
    folder = Path("/tmp") / f"bos-disk-{uuid.uuid4().hex[:8]}"
    repos = folder / "home" / "repos"
    repos.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(repos)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        shutil.rmtree(folder)
        pytest.skip("this user may not mount a file system")
    world = World(folder / "home", database, **settings)
    try:
        world.import_repo(make_repository(folder / "source"))
        yield world
    finally:
        world.close()
        subprocess.run(["umount", "-l", str(repos)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


class Ballast:
    """A file that takes the room of a file system, but for `left` bytes."""

    def __init__(self, world: World, left: int) -> None:
        self._path = world.home / "repos" / "ballast"
        free = shutil.disk_usage(world.home / "repos").free
        with self._path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free - left)

    def drop(self) -> None:
        self._path.unlink()


def noise(size: int) -> str:
    """Text that no compression makes smaller than three quarters."""
    return base64.b64encode(random.Random(1).randbytes(size)).decode()


def test_nothing_is_begun_when_the_disk_is_nearly_full(database: FreshDatabase) -> None:
    with small_disk(database, "8m", disk_reserve=1 << 20) as world:
        sandbox = world.open_sandbox()
        sha = sandbox.commit({"a.txt": "1\n"})["commit_sha"]
        ballast = Ballast(world, (1 << 20) - 4096)
        reply = sandbox.try_post("/commit_and_log_output", file_path="b.txt", content="b\n", message="b")
        problem = world.problem(reply, "storage_full")
        assert "administrator" in problem["hint"]
        world.problem(
            world.http.post("/sandbox/init", json={"mode": "branch", "repo_name": "lab"}), "storage_full"
        )
        assert select(database, "select tip, commits from ops.branches where kind = 'sandbox'") == [(sha, 1)]
        assert content(sandbox, "a.txt") == "1\n"
        ballast.drop()
        sandbox.commit({"b.txt": "b\n"})
        world.open_sandbox().commit({"c.txt": "c\n"})
        git("fsck", "--strict", "--full", cwd=folder_of(world, database, sandbox.branch))


def test_a_disk_that_fills_up_in_the_middle_of_a_commit_loses_nothing(database: FreshDatabase) -> None:
    with small_disk(database, "8m", disk_reserve=0) as world:
        sandbox, other = world.open_sandbox(), world.open_sandbox()
        sandbox.commit({"a.txt": "1\n"})
        ballast = Ballast(world, 600_000)
        body = {
            "file_path": "b.txt",
            "content": noise(500_000),
            "message": "b",
            "idempotency_key": uuid.uuid4().hex,
        }
        first = noise(200_000)
        replies = [other.try_post("/commit_and_log_output", file_path="x", content=first, message="x")]
        replies += [sandbox.try_post("/commit_and_log_output", **body)]
        told = [reply.json()["code"] for reply in replies if reply.status_code != 200]
        assert told
        assert set(told) == {"storage_full"}
        ballast.drop()
        ((tip,),) = select(database, f"select tip from ops.branches where name = '{sandbox.branch}'")
        assert content(sandbox, "a.txt") == "1\n"
        folder = folder_of(world, database, sandbox.branch)
        if replies[1].status_code == 200 or "is kept" in replies[1].json()["detail"]:
            assert git("show", f"{tip}:b.txt", cwd=folder) == body["content"]
        sandbox.commit({"c.txt": "c\n"})
        other.commit({"y": "y"})
        for each in (sandbox, other):
            git("fsck", "--strict", "--full", cwd=folder_of(world, database, each.branch))


@pytest.mark.parametrize("call", range(7))
def test_wherever_the_disk_s_refusal_comes_the_commit_is_kept_and_finished_later(
    database: FreshDatabase, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    with world_in_temp(database) as world:
        sandbox = world.open_sandbox()
        sandbox.commit({"a.txt": "1\n"})
        seen = iter(range(call))

        def write(fd: int, data: Any) -> int:
            if next(seen, None) is None:
                raise OSError(errno.ENOSPC, "No space left on device")
            return os.write(fd, data)

        body = {"file_path": "d/b.txt", "content": "2\n", "message": "b"}
        with monkeypatch.context() as patched:
            patched.setattr(objects, "os", _Like(os, write=write))
            reply = sandbox.try_post("/commit_and_log_output", **body)
            problem = world.problem(reply, "storage_full")
            assert "is kept" in problem["detail"]
            assert "Do not send it again" in problem["hint"]
            world.problem(
                sandbox.try_post("/system/fetch_files", mode="batch", paths=["d/b.txt"]), "storage_full"
            )
        assert content(sandbox, "d/b.txt") == "2\n"
        world.problem(
            sandbox.try_post("/commit_and_log_output", **body), "validation_failed"
        )  # it is there already
        assert select(database, "select commits from ops.branches where kind = 'sandbox'") == [(2,)]
        folder = folder_of(world, database, sandbox.branch)
        assert list(folder.rglob("tmp_obj*")) == []
        git("fsck", "--strict", "--full", cwd=folder)


def test_with_a_key_a_commit_that_is_kept_is_acknowledged(
    database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world_in_temp(database) as world:
        sandbox = world.open_sandbox()

        def refuse(_fd: int, _data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(objects, "os", _Like(os, write=refuse))
            sha = sandbox.commit({"a.txt": "1\n"}, idempotency_key=uuid.uuid4().hex)["commit_sha"]
        assert content(sandbox, "a.txt") == "1\n"
        assert git("rev-parse", sandbox.branch, cwd=folder_of(world, database, sandbox.branch)) == sha


class _Like:
    """A module with some of its functions replaced."""

    def __init__(self, module: Any, **replaced: Any) -> None:
        self.__dict__.update(vars(module), **replaced)
