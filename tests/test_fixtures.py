"""The fixtures that all other tests stand on: one server per run, one database per test, nothing left behind."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from builderos.integrations.embedded_postgres import service
from tests.support.databases import Databases, FreshDatabase, prefix_of
from tests.support.run_folder import ON_DISK, run_folder
from tests.support.servers import ask, pid_of, quickly, until

ROOT = Path(__file__).parents[1]


def python(statements: str, *arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    argv = [sys.executable, "-c", statements, *map(str, arguments)]
    return subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def run() -> str:
    return f"x{uuid.uuid4().hex[:8]}"


def test_every_test_has_a_database_of_its_own(databases: Databases) -> None:
    with databases.fresh() as one, databases.fresh() as other:
        with psycopg.connect(one.superuser_conninfo, autocommit=True) as connection:
            connection.execute("create table public.mine()")
        with psycopg.connect(other.superuser_conninfo) as connection:
            assert connection.execute("select to_regclass('public.mine')").fetchone() == (None,)
    query = f"select count(*) from pg_database where datname in ('{one.name}', '{other.name}')"
    assert ask(databases.server(), query) == 0


def test_a_fresh_database_is_migrated_and_reached_as_the_restricted_role(database: FreshDatabase) -> None:
    engines = [sa.create_engine(url) for url in (database.keys.url, database.engine_url)]
    users = []
    for engine in engines:
        with engine.connect() as connection:
            users.append(connection.scalar(sa.text("select current_user || ' ' || current_database()")))
        engine.dispose()
    assert users == [f"bos_app {database.name}", f"bos_engine {database.name}"]
    with psycopg.connect(database.superuser_conninfo) as connection:
        assert connection.execute("select k from priv.unit_key").fetchone() == (database.keys.unit_key,)


def test_a_database_is_dropped_while_somebody_is_connected(databases: Databases) -> None:
    with databases.fresh() as database:
        connection = psycopg.connect(database.superuser_conninfo)
    with pytest.raises(psycopg.OperationalError):
        connection.execute("select 1")


def test_only_the_durable_server_keeps_the_flags_of_production(
    cluster: service.Cluster, durable_cluster: service.Cluster
) -> None:
    flags = ("fsync", "full_page_writes", "synchronous_commit")
    assert [ask(cluster, f"show {flag}") for flag in flags] == ["off"] * 3
    assert [ask(durable_cluster, f"show {flag}") for flag in flags] == ["on"] * 3


def test_a_server_that_a_test_killed_is_started_again(home: Path, fast_folder: Path) -> None:
    databases = Databases(home, durable=False, folder=fast_folder)
    databases.server()
    os.kill(pid_of(home), signal.SIGKILL)
    assert ask(databases.server(), "select 1") == 1


def test_workers_that_come_at_the_same_time_migrate_one_template(home: Path) -> None:
    home.mkdir(mode=0o755)
    statements = (
        "import sys; from pathlib import Path; from tests.support.databases import Databases\n"
        "folder = Path(sys.argv[1])\n"
        "with Databases(folder / 'pg', durable=False, folder=folder).fresh() as database:\n"
        "    print(database.keys.unit_key.hex())"
    )
    workers = [python(statements, home) for _ in range(3)]
    keys = {worker.communicate(timeout=120)[0] for worker in workers}
    assert [worker.returncode for worker in workers] == [0] * 3
    assert len(keys) == 1, "each migration makes a key of its own"


def test_a_template_that_a_killed_worker_left_half_made_is_made_again(home: Path) -> None:
    home.mkdir(mode=0o755)
    databases = Databases(home / "pg", durable=False, folder=home)
    with psycopg.connect(databases.superuser(), autocommit=True) as connection:
        connection.execute(f"create database {prefix_of(home)}template")  # type: ignore[arg-type]
    with databases.fresh() as database, psycopg.connect(database.superuser_conninfo) as connection:
        assert connection.execute("select to_regnamespace('ops') is not null").fetchone() == (True,)


def test_the_last_one_who_leaves_a_run_ends_its_servers(run: str) -> None:
    with run_folder(run) as folder:
        quickly(folder / "pg")
        pid = pid_of(folder / "pg")
        with run_folder(run) as same:
            assert same == folder
        assert pid_of(folder / "pg") == pid
    assert not folder.exists()
    until(lambda: not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes())
    assert not list(ON_DISK.glob(f"*{run}*"))


def test_a_killed_run_leaves_nothing_behind(run: str) -> None:
    statements = (
        "import os, signal, sys; from tests.support.run_folder import run_folder\n"
        "from tests.support.servers import pid_of, quickly\n"
        "with run_folder(sys.argv[1]) as folder:\n"
        "    quickly(folder / 'pg')\n"
        "    print(pid_of(folder / 'pg'), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = python(statements, run)
    pid = int(killed.communicate(timeout=120)[0])
    assert killed.returncode == -signal.SIGKILL
    until(lambda: not list(ON_DISK.glob(f"*{run}*")))
    assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()
