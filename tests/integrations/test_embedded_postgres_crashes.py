"""The states a server or its folder can be left in, and the folders the launcher must not touch."""

import fcntl
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from builderos.core.problems import Problem
from builderos.integrations.embedded_postgres import account, binaries, processes, server, service
from builderos.integrations.embedded_postgres.layout import layout_of, socket_of
from tests.support.servers import ask, pid_of, python, quickly, until

needs_namespaces = pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0,
    reason="needs the right to make namespaces",
)

# ---------------------------------------------------------------- crashes


def test_a_killed_server_comes_back_with_every_commit(home: Path) -> None:
    cluster = service.start(home)
    with psycopg.connect(cluster.superuser_conninfo, autocommit=True) as connection:
        connection.execute("create table kept(n int)")
    for number in range(3):
        with psycopg.connect(cluster.superuser_conninfo, autocommit=True) as connection:
            connection.execute("insert into kept values (%s)", (number,))
            os.kill(pid_of(home), signal.SIGKILL)
        assert ask(service.start(home), "select count(*) from kept") == number + 1


def test_a_busy_child_of_a_killed_server_does_not_keep_the_next_one_out(home: Path) -> None:
    """A backend that computes does not notice that its server died."""
    with psycopg.connect(quickly(home).superuser_conninfo, autocommit=True) as connection:
        connection.execute("set statement_timeout = '60s'")

        def compute() -> None:
            with pytest.raises(psycopg.OperationalError):
                connection.execute("do $$ declare i bigint := 0; begin loop i := i + 1; end loop; end $$")

        busy = threading.Thread(target=compute)
        busy.start()
        backend = connection.info.backend_pid
        until(lambda: b" DO" in Path(f"/proc/{backend}/cmdline").read_bytes())
        os.kill(pid_of(home), signal.SIGKILL)
        assert ask(quickly(home, wait_s=120), "select 1") == 1
        busy.join()


def test_a_lock_file_of_a_dead_process_is_stale(home: Path) -> None:
    quickly(home)
    pid_file = layout_of(home).data / "postmaster.pid"
    kept = pid_file.read_text()
    service.stop(home)
    pid_file.write_text(kept)
    assert service.status(home).state == "stopped"
    assert ask(quickly(home), "select 1") == 1


def test_a_lock_file_whose_process_id_was_given_to_something_else_is_stale(home: Path) -> None:
    """After a restart of a container the ids are the same again, and PostgreSQL alone would never start."""
    cluster = quickly(home)
    owner = layout_of(home).data.stat().st_uid
    pid_file, lock_file = (
        layout_of(home).data / "postmaster.pid",
        Path(f"{socket_of(cluster.socket_dir)}.lock"),
    )
    kept, kept_lock, pid = pid_file.read_text(), lock_file.read_text(), str(pid_of(home))
    service.stop(home)
    other = subprocess.Popen(["sleep", "60"], user=owner if os.geteuid() == 0 else None)
    try:
        pid_file.write_text(kept.replace(pid, str(other.pid), 1))
        lock_file.write_text(kept_lock.replace(pid, str(other.pid), 1))
        assert service.status(home).state == "stopped"
        service.stop(home)
        assert ask(quickly(home, wait_s=120), "select 1") == 1
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_zombie_is_not_a_running_server() -> None:
    zombie = subprocess.Popen(["true"])
    stat = Path(f"/proc/{zombie.pid}/stat")
    until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z")
    try:
        assert not processes.is_running(zombie.pid, "builderos-")
    finally:
        zombie.wait()


@needs_namespaces
def test_a_data_folder_in_use_in_another_container_is_not_opened_twice(home: Path) -> None:
    """Neither the process ids nor the shared memory of the other one are seen there, only the lock on the folder."""
    cluster = quickly(home)
    socket = socket_of(cluster.socket_dir)
    socket.rename(home / "away")  # or it would be joined
    container = ["unshare", "--mount", "--pid", "--ipc", "--fork", "--mount-proc"]
    # Its time is up as soon as it has tried once, however long that took.
    once = (
        "from builderos.integrations.embedded_postgres import server; tried = server._try_to_run\n"
        "def try_once(launch, *rest):\n"
        "    said = tried(launch, *rest)\n"
        "    object.__setattr__(launch, 'deadline', 0.0)\n"
        "    return said\n"
        "server._try_to_run = try_once\n"
        "service.start(home, wait_s=600)"
    )
    second = python(home, once, within=container, stderr=subprocess.PIPE)
    _, complaint = second.communicate(timeout=120)
    (home / "away").rename(socket)
    assert second.returncode != 0
    assert "another server, perhaps in another container, still uses the data folder" in complaint
    assert ask(cluster, "select 1") == 1


def test_a_server_started_by_hand_is_joined_and_stopped(home: Path) -> None:
    quickly(home)
    service.stop(home)
    layout, who = layout_of(home), account.server_account()
    socket_dir = next(layout.home.glob("sock-*"))
    options = f"-c listen_addresses='' -c unix_socket_directories='{socket_dir}'"
    pg_ctl = binaries.programs(layout, who) / "pg_ctl"
    result = who.run([pg_ctl, "-D", layout.data, "-l", layout.log_file, "-w", "-o", options, "start"])
    assert result.returncode == 0, result.stdout
    by_hand = processes.read_pid_file(layout.data)
    assert by_hand is not None
    assert ask(quickly(home), "show cluster_name") == ""
    assert pid_of(home) == by_hand.pid
    service.stop(home)
    assert service.status(home).state == "stopped"
    assert not (layout.data / "postmaster.pid").exists()


def test_a_half_written_initdb_is_done_again(home: Path) -> None:
    service.make_home(home)
    half = layout_of(home).fresh
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    (half / "base").mkdir()
    cluster = quickly(home)
    assert ask(cluster, "select 1") == 1
    assert not half.exists()


def test_a_starter_killed_during_initdb_leaves_nothing_in_the_way(home: Path) -> None:
    starter = python(home, "service.start(home)")
    until((layout_of(home).fresh / "PG_VERSION").exists)
    starter.kill()
    starter.wait()
    assert not layout_of(home).data.exists()
    assert ask(quickly(home), "select 1") == 1


def test_an_initdb_that_fails_says_why_and_leaves_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = account.Account.run

    def with_bad_option(self: account.Account, argv: Any, **options: Any) -> Any:
        extra = ["--wal-segsize=3"] if "--no-instructions" in argv else []
        return real(self, [*argv, *extra], **options)

    monkeypatch.setattr(account.Account, "run", with_bad_option)
    with pytest.raises(Problem, match="wal-segsize") as refused:
        quickly(home)
    assert refused.value.code == "unavailable"
    assert not layout_of(home).fresh.exists()
    monkeypatch.undo()
    assert ask(quickly(home), "select 1") == 1


def delete(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


@pytest.mark.parametrize("lose", [delete, lambda data: data.rename(data.with_name("moved"))])
def test_a_server_that_lost_its_data_folder_cannot_harm_its_successor(
    home: Path, lose: Callable[[Path], None]
) -> None:
    """It writes its control file by the path, at its next checkpoint: into the new folder, which is broken then."""
    quickly(home)
    orphan, label = pid_of(home), server.label_of(layout_of(home))
    lose(layout_of(home).data)
    successor = quickly(home)
    control = layout_of(home).data / "global" / "pg_control"
    before = control.read_bytes()[:8]
    assert not processes.is_running(orphan, label)
    assert processes.end_server(orphan, label, 20)
    assert control.read_bytes()[:8] == before
    assert ask(successor, "select 1") == 1
    service.stop(home)
    assert ask(quickly(home), "select 1") == 1


@needs_namespaces
def test_a_server_at_the_same_path_in_another_container_is_left_alone(home: Path) -> None:
    here, inside = home / "here", home / "inside"
    for folder in (home, here, inside):
        folder.mkdir()
        folder.chmod(0o711)
    container = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount --bind "$0" "$1" && shift && exec "$@"',
        inside,
        here,
    ]
    starter = python(here, "service.start(home, durable=False)", within=container)
    starter.communicate(timeout=120)
    assert starter.returncode == 0
    other, label = pid_of(inside), server.label_of(layout_of(inside))
    layout_of(inside).data.rename(inside / "moved")  # a real container shows another path, too
    assert service.status(here).state == "absent"
    assert ask(quickly(here), "select 1") == 1
    assert pid_of(here) != other
    assert processes.is_running(other, label)
    (inside / "moved").rename(layout_of(inside).data)


# ---------------------------------------------------------------- folders it must not touch


@pytest.mark.parametrize("folder", ["pg18", "pg17", "pg19"])
def test_data_of_another_major_version_is_refused(home: Path, folder: str) -> None:
    service.make_home(home)
    major = "17" if folder == "pg18" else folder.removeprefix("pg")
    (home / folder).mkdir()
    (home / folder / "PG_VERSION").write_text(f"{major}\n")
    with pytest.raises(Problem, match=f"written by PostgreSQL {major}") as refused:
        quickly(home)
    assert refused.value.code == "unavailable"
    assert "backup" in refused.value.hint
    assert sorted(path.name for path in home.iterdir() if path.name != "pg.lock") == [folder]


def test_an_old_version_left_beside_the_present_one_is_no_obstacle(home: Path) -> None:
    quickly(home)
    service.stop(home)
    (home / "pg17").mkdir()
    (home / "pg17" / "PG_VERSION").write_text("17\n")
    assert ask(quickly(home), "select 1") == 1


def test_a_folder_that_is_no_data_folder_is_refused(home: Path) -> None:
    service.make_home(home)
    (home / "pg18").mkdir()
    (home / "pg18" / "diary.txt").write_text("mine")
    with pytest.raises(Problem, match="PG_VERSION is missing"):
        quickly(home)
    assert (home / "pg18" / "diary.txt").read_text() == "mine"


def test_a_data_folder_without_its_password_is_refused(home: Path) -> None:
    quickly(home)
    service.stop(home)
    password = layout_of(home).password_file
    kept = password.read_text()
    for broken in (password.unlink, password.touch):
        broken()
        with pytest.raises(Problem, match="holds the password"):
            quickly(home)
    password.write_text(kept)
    assert ask(quickly(home), "select 1") == 1


def test_a_damaged_data_folder_is_refused_with_a_reason(home: Path) -> None:
    quickly(home)
    service.stop(home)
    (layout_of(home).data / "global" / "pg_control").unlink()
    for verb in (quickly, service.stop):
        with pytest.raises(Problem, match="pg_control is missing"):
            verb(home)


def test_a_file_where_the_home_should_be_is_refused(home: Path) -> None:
    home.write_text("mine")
    with pytest.raises(Problem, match="is not a folder"):
        quickly(home)
    with pytest.raises(Problem, match="is not a folder"):
        quickly(home / "below")
    home.unlink()


def test_a_start_that_waits_for_another_one_gives_up_in_time(home: Path) -> None:
    service.make_home(home)
    with layout_of(home).lock_file.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Problem, match="Another process is starting") as refused:
            quickly(home, wait_s=0.1)
    assert refused.value.retryable
