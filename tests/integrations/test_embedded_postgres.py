"""The launcher: start, join, stop; who may connect; settings; what a home may be called."""

import os
import signal
import threading
from pathlib import Path

import psycopg
import pytest

from builderos.core.problems import Problem
from builderos.integrations.embedded_postgres import processes, service
from builderos.integrations.embedded_postgres.layout import layout_of, socket_of
from tests.support.servers import ask, pid_of, python, quickly

# ---------------------------------------------------------------- start, join, stop


def test_the_first_start_makes_a_server_with_the_settings_of_production(home: Path) -> None:
    cluster = service.start(home)
    expected = {
        "listen_addresses": "", "max_connections": "200", "wal_compression": "pglz",
        "jit": "off", "idle_in_transaction_session_timeout": "1min", "max_wal_size": "1GB",
        "restart_after_crash": "on", "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on",
        "data_checksums": "on", "server_encoding": "UTF8", "password_encryption": "scram-sha-256", "TimeZone": "UTC",
    }  # fmt: skip
    assert {name: ask(cluster, f"show {name}") for name in expected} == expected
    assert 128 <= int(str(ask(cluster, "show shared_buffers")).removesuffix("MB")) <= 256
    assert ask(cluster, "select version()").startswith("PostgreSQL 18.")
    assert ask(cluster, "select count(*) from pg_available_extensions where name = 'vector'") == 1


def test_a_second_caller_joins_the_running_server(home: Path) -> None:
    first, pid = quickly(home), pid_of(home)
    assert quickly(home) == first
    assert pid_of(home) == pid


def test_callers_that_start_at_the_same_time_share_one_server(home: Path) -> None:
    statements = "print(service.start(home, durable=False).superuser_conninfo, service.status(home).pid)"
    callers = [python(home, statements) for _ in range(4)]
    answers = {caller.communicate(timeout=120)[0] for caller in callers}
    assert [caller.returncode for caller in callers] == [0] * 4
    assert len(answers) == 1, answers


def test_threads_that_start_at_the_same_time_share_one_server(home: Path) -> None:
    clusters: list[service.Cluster] = []
    threads = [threading.Thread(target=lambda: clusters.append(quickly(home))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(clusters) == 4
    assert len(set(clusters)) == 1


def test_the_server_outlives_its_starter_and_stop_ends_it(home: Path) -> None:
    statements = "service.start(home, durable=False); os.killpg(0, signal.SIGKILL)"
    starter = python(home, statements, start_new_session=True)
    starter.communicate(timeout=120)
    assert starter.returncode == -signal.SIGKILL
    pid = pid_of(home)
    quickly(home)
    assert pid_of(home) == pid
    service.stop(home)
    assert service.status(home).state == "stopped"
    assert not processes.is_running(pid, "builderos-")


def test_data_survives_stop_and_restart(home: Path) -> None:
    ask(quickly(home), "with x as (select 1) select count(*) from x")
    with psycopg.connect(quickly(home).superuser_conninfo, autocommit=True) as connection:
        connection.execute("create table kept as select 42 as answer")
    service.stop(home)
    assert ask(quickly(home), "select answer from kept") == 42


def test_stopping_twice_or_nothing_is_no_error(home: Path) -> None:
    service.stop(home)
    assert not home.exists()
    quickly(home)
    service.stop(home)
    service.stop(home)
    assert service.status(home).state == "stopped"


def test_stop_disconnects_clients_that_are_in_a_transaction(home: Path) -> None:
    with psycopg.connect(quickly(home).superuser_conninfo) as connection:
        connection.execute("select 1")
        service.stop(home)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")


def test_status_tells_absent_stopped_and_running_apart(home: Path) -> None:
    assert service.status(home) == service.Status("absent")
    cluster = quickly(home)
    running = service.status(home)
    assert (running.state, running.socket_dir) == ("running", cluster.socket_dir)
    assert running.started_at is not None
    assert running.started_at.tzinfo is not None
    service.stop(home)
    assert service.status(home) == service.Status("stopped")


# ---------------------------------------------------------------- who may connect


def test_nobody_connects_without_the_password(home: Path) -> None:
    cluster = quickly(home)
    for wrong in ("", "password=wrong"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(
                f"host={cluster.socket_dir} user=postgres dbname=postgres {wrong}", passfile="/dev/null"
            )
    methods = ask(cluster, "select array_agg(distinct auth_method) from pg_hba_file_rules")
    assert methods == ["scram-sha-256"]


def test_the_server_has_no_network_socket(home: Path) -> None:
    quickly(home)
    pid = pid_of(home)
    inodes = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    tcp = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    listening = {f"socket:[{line.split()[9]}]" for line in tcp.splitlines() if len(line.split()) > 9}
    assert not inodes & listening


def test_what_belongs_to_the_server_is_closed_to_others(home: Path) -> None:
    layout = layout_of(home)
    quickly(home).socket_dir.chmod(0o777)
    service.stop(home)
    cluster = quickly(home)
    assert not layout.home.stat().st_mode & 0o007
    for folder in (layout.data, cluster.socket_dir):
        assert folder.stat().st_mode & 0o777 == 0o700
    for file in (layout.password_file, layout.log_file, layout.lock_file):
        assert file.stat().st_mode & 0o777 == 0o600
    assert socket_of(cluster.socket_dir).stat().st_mode & 0o777 == 0o700


def test_the_password_is_not_shown_with_the_cluster(home: Path) -> None:
    cluster = quickly(home)
    assert layout_of(home).password_file.read_text() in cluster.superuser_conninfo
    assert layout_of(home).password_file.read_text() not in repr(cluster)


def test_values_and_statements_of_people_are_not_logged(home: Path) -> None:
    with psycopg.connect(quickly(home).superuser_conninfo, autocommit=True) as connection:
        connection.execute("create table people(mail text primary key)")
        connection.execute("insert into people values ('ada@example.org')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("insert into people values ('ada@example.org')")
    log = layout_of(home).log_file.read_text()
    assert "duplicate key" in log
    assert "ada@" not in log


def test_a_foreign_environment_changes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PGPORT": "6543",
        "PGHOST": "127.0.0.1",
        "PGDATA": "/nowhere",
        "PGUSER": "eve",
    }.items():
        monkeypatch.setenv(name, value)
    assert ask(quickly(home), "select current_user") == "postgres"
    assert ask(quickly(home), "show port") == "5432"


# ---------------------------------------------------------------- settings


def test_a_test_server_gives_up_durability_and_takes_extra_settings(home: Path) -> None:
    cluster = quickly(home, extra_settings={"work_mem": "7MB", "shared_buffers": "16MB"})
    names = ("fsync", "full_page_writes", "synchronous_commit", "work_mem", "shared_buffers")
    assert [ask(cluster, f"show {name}") for name in names] == ["off", "off", "off", "7MB", "16MB"]


def test_a_setting_the_server_refuses_is_named_at_once(home: Path) -> None:
    with pytest.raises(Problem, match="wal_compression") as refused:
        quickly(home, wait_s=3600, extra_settings={"wal_compression": "lz4"})
    assert refused.value.code == "unavailable"
    quickly(home)


def test_a_malformed_setting_is_refused_before_anything_is_made(home: Path) -> None:
    with pytest.raises(Problem, match="not the name") as refused:
        quickly(home, extra_settings={"jit; rm": "on"})
    assert refused.value.code == "validation_failed"
    assert not home.exists()


# ---------------------------------------------------------------- paths


@pytest.mark.parametrize("name", ["two words", 'it\'s $HOME "quoted" `x` \\ %p', "a,b", "ünï-文", "-D"])
def test_a_home_may_have_any_name(home: Path, name: str) -> None:
    strange = home / name
    assert ask(quickly(strange), "select 1") == 1
    service.stop(strange)
    assert ask(quickly(strange), "select 1") == 1


def test_a_name_with_a_control_character_is_refused(home: Path) -> None:
    with pytest.raises(Problem, match="control character"):
        quickly(home / "two\nlines")
    assert not home.exists()


def test_a_relative_home_is_the_same_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = quickly(home)
    monkeypatch.chdir(home.parent)
    assert quickly(Path(home.name)) == cluster


def test_a_socket_path_over_the_limit_moves_to_a_short_private_folder(home: Path) -> None:
    deep = home / ("d" * 60) / ("e" * 60)
    cluster = quickly(deep)
    assert len(os.fsencode(socket_of(cluster.socket_dir))) <= 107
    assert home not in cluster.socket_dir.parents
    assert cluster.socket_dir.stat().st_mode & 0o777 == 0o700
    assert ask(cluster, "select 1") == 1
    service.stop(deep)
    assert not cluster.socket_dir.exists()
    assert quickly(deep).socket_dir == cluster.socket_dir


def test_the_longest_socket_path_that_fits_stays_in_the_home(home: Path) -> None:
    room = 107 - len(os.fsencode(socket_of(layout_of(home).home / "x" / "sock-12345678"))) + 1
    fits = home / ("x" * room)
    cluster = quickly(fits)
    assert cluster.socket_dir.parent == layout_of(fits).home
    assert len(os.fsencode(socket_of(cluster.socket_dir))) == 107
    assert ask(cluster, "select 1") == 1


def test_a_lost_socket_is_made_again(home: Path) -> None:
    cluster = quickly(home)
    socket_of(cluster.socket_dir).unlink()
    assert service.status(home).state == "starting"
    assert ask(quickly(home), "select 1") == 1
