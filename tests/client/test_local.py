"""The local server: started when none answers, once however many ask, and stopped by its number."""

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from builderos.client import local
from builderos.client.errors import ClientError
from builderos.client.http import Client
from builderos.core.home import configured_home, default_home
from builderos.core.settings import Settings
from tests.support.server import SETTINGS, prepare


@pytest.fixture
def own_home(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder of this test alone; a server in it is stopped afterwards."""
    for name, value in (SETTINGS | {"BUILDEROS_ENGINE": "false"}).items():  # no schedules here
        monkeypatch.setenv(name, value)
    folder = run_folder / f"l{uuid.uuid4().hex[:8]}"
    yield folder
    local.stop(folder)


@pytest.fixture
def left_home(own_home: Path) -> Path:
    """The same, as a server left it that was stopped."""
    prepare(own_home)
    return own_home


def ask(home: Path) -> subprocess.Popen[str]:
    """Another process that wants the local server."""
    code = (
        "import sys; from pathlib import Path; from builderos.client import local;"
        "r = local.ensure(Path(sys.argv[1])); print(r.pid, r.started)"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, text=True)


def test_where_none_answers_one_is_started_and_the_next_finds_it(left_home: Path) -> None:
    assert local.find(left_home) is None
    first = local.ensure(left_home)
    again = local.ensure(left_home)
    assert (first.started, again.started) == (True, False)
    assert first.pid == again.pid
    owner = Client(first.url, first.owner_token())
    assert owner.call("GET", "/v1/alerts")["items"] == []


def test_commands_that_start_at_once_get_one_server(own_home: Path) -> None:
    askers = [ask(own_home) for _ in range(5)]
    said = [asker.communicate(timeout=120)[0].split() for asker in askers]
    assert len({pid for pid, _ in said}) == 1
    assert [started for _, started in said].count("True") == 1


def test_a_server_that_was_killed_is_replaced(left_home: Path) -> None:
    first = local.ensure(left_home)
    os.kill(first.pid, signal.SIGKILL)
    assert (left_home / "server.json").exists()
    second = local.ensure(left_home)
    assert second.pid != first.pid
    assert second.started


def test_stopping_waits_until_it_is_gone(left_home: Path) -> None:
    running = local.ensure(left_home)
    assert local.stop(left_home)
    with pytest.raises(ClientError):
        Client(running.url).call("GET", "/healthz")
    assert local.find(left_home) is None
    assert not local.stop(left_home)


def test_a_number_that_now_belongs_to_somebody_else_is_not_told_to_stop(left_home: Path) -> None:
    """The announcement of a killed server may name a process that is none of ours, and a port that answers."""
    running = local.ensure(left_home)
    other_home = left_home.with_name(left_home.name + "x")
    other_home.mkdir()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        info = json.loads((left_home / "server.json").read_text()) | {"pid": bystander.pid}
        (other_home / "server.json").write_text(json.dumps(info))
        assert not local.stop(other_home)
        assert bystander.poll() is None
        assert local.find(left_home) == running.__class__(**{**vars(running), "started": False})
    finally:
        bystander.kill()
        bystander.wait()


def test_a_start_that_fails_shows_the_last_words_of_the_log(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDEROS_WORKERS", "0")
    with pytest.raises(ClientError) as caught:
        local.ensure(own_home)
    assert caught.value.status == 503
    assert any("workers" in line for line in caught.value.problem["log"])
    assert str(own_home / "server.log") in caught.value.hint


def test_only_the_words_of_this_start_are_shown(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_home.mkdir()
    (own_home / "server.log").write_text("an old story\n")
    monkeypatch.setenv("BUILDEROS_WORKERS", "0")
    with pytest.raises(ClientError) as caught:
        local.ensure(own_home)
    assert "an old story" not in caught.value.problem["log"]


def test_a_home_that_cannot_be_made_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ClientError) as caught:
        local.ensure(tmp_path / "file" / "home")
    assert "BUILDEROS_HOME" in caught.value.hint


def test_the_usual_port_is_given_up_when_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORT", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(local, "DEFAULT_PORT", taken.getsockname()[1])
        assert local._port() == "0"
    assert local._port() is None
    monkeypatch.setenv("PORT", "7777")
    assert local._port() is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"pid": "1", "url": "x"}', '{"pid": 1}'])
def test_a_damaged_announcement_is_no_server(tmp_path: Path, text: str) -> None:
    (tmp_path / "server.json").write_text(text)
    assert local.find(tmp_path) is None


def test_the_home_of_a_command_is_the_home_of_its_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BUILDEROS_HOME", str(tmp_path / "h"))
    assert configured_home() == Settings().home_dir == tmp_path / "h"
    monkeypatch.setenv("BUILDEROS_HOME", "~/h")
    assert configured_home() == Settings().home_dir == Path.home() / "h"
    monkeypatch.delenv("BUILDEROS_HOME")
    assert configured_home() == Settings().home_dir == default_home()


def test_many_threads_find_the_same_server(left_home: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len({r.pid for r in pool.map(lambda _: local.ensure(left_home), range(8))}) == 1
