"""What a server does before it is loaded: it begins once, and whoever cannot serve leaves nothing behind."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from builderos.core.problems import Problem
from builderos.core.settings import load_settings
from builderos.early import Starting
from builderos.integrations.embedded_postgres import service as embedded_postgres


def run(home: Path, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The server's program over `home`, until it ends by itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BUILDEROS_")}
    return subprocess.run(
        [sys.executable, "-m", "builderos.app", *argv], capture_output=True, text=True, timeout=120, check=False,
        env={**kept, "BUILDEROS_HOME": str(home), "PORT": "0", **environment},
    )  # fmt: skip


def test_a_setting_that_cannot_be_is_named_before_anything_is_made(tmp_path: Path) -> None:
    ended = run(tmp_path / "home", PORT="70000")
    assert ended.returncode == 2
    assert ended.stderr.startswith("setting PORT:")
    assert not (tmp_path / "home").exists()


def test_a_server_without_an_address_starts_no_database(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = run(tmp_path / "home", PORT=str(taken.getsockname()[1]))
    assert ended.returncode == 1
    assert "cannot listen" in ended.stderr
    assert embedded_postgres.status(tmp_path / "home").state == "absent"


def test_a_worker_starts_no_database_of_its_own(tmp_path: Path) -> None:
    ended = run(tmp_path / "home", "worker")
    assert ended.returncode == 1
    assert "BUILDEROS_DATABASE_URL" in ended.stderr
    assert embedded_postgres.status(tmp_path / "home").state == "absent"


def test_what_the_start_of_the_database_raises_is_raised_where_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_home: Path) -> None:
        raise Problem("storage_full", "no room")

    monkeypatch.setattr(embedded_postgres, "start", refuse)
    starting = Starting(load_settings(home=tmp_path), wanted=True)
    with pytest.raises(Problem, match="no room"):
        starting.wait()
    starting.call_off()


def test_a_database_that_nobody_will_use_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(embedded_postgres, "start", lambda _home: done.append("started"))
    monkeypatch.setattr(embedded_postgres, "stop", lambda _home: done.append("stopped"))
    Starting(load_settings(home=tmp_path), wanted=True).call_off()
    assert done == ["started", "stopped"]
    elsewhere = load_settings(home=tmp_path, database_url="postgresql://somewhere/db")
    for starting in (Starting(elsewhere, wanted=True), Starting(load_settings(home=tmp_path), wanted=False)):
        starting.wait()
        starting.call_off()
    assert done == ["started", "stopped"]
