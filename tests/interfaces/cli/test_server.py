"""`up`, `self`, and the server that a command starts for itself."""

import json
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from builderos.client import local
from builderos.client.http import Client
from builderos.integrations.embedded_postgres import service as postgres
from tests.support.server import environment, prepare

from .conftest import PROGRAM, Line


@pytest.fixture
def alone(run_folder: Path, tmp_path: Path) -> Iterator[Line]:
    """Somebody whose server never ran."""
    line = line_of(run_folder, tmp_path)
    yield line
    local.stop(home_of(line))


@pytest.fixture
def returned(alone: Line) -> Line:
    """Somebody whose server ran before, and does not run now."""
    prepare(home_of(alone))
    return alone


@dataclass(frozen=True)
class Detached:
    """A server that a command started and left behind, with the process of that command."""

    line: Line
    starter: int
    pid: int
    url: str


@pytest.fixture(scope="module")
def detached(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Detached]:
    """Started in a terminal of its own, from a folder with modules named like those that it needs."""
    line = line_of(run_folder, tmp_path_factory.mktemp("detached"))
    prepare(home_of(line))
    line.write("builderos.py", "raise SystemExit('taken over')")
    line.write("json.py", "raise SystemExit('taken over')")
    starter = subprocess.Popen(
        [*PROGRAM, "up", "--detach", "--json"], cwd=line.folder, env=line.env, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    said = starter.communicate(timeout=120)[0]  # it ends with the command, not with the server
    assert starter.returncode == 0
    started = json.loads(said)
    yield Detached(line, starter.pid, started["pid"], started["url"])
    local.stop(home_of(line))


def line_of(run_folder: Path, folder: Path) -> Line:
    env = environment(run_folder / f"u{uuid.uuid4().hex[:8]}", BUILDEROS_ENGINE="false")  # no schedules here
    return Line(env | {"XDG_CONFIG_HOME": str(folder / "config")}, folder, started=True)


def home_of(line: Line) -> Path:
    return Path(line.env["BUILDEROS_HOME"])


def test_a_command_starts_the_server_it_needs_and_says_so(alone: Line) -> None:
    assert alone("self", "status").code == 1
    answer = alone("repo", "list")
    assert answer.code == 0
    assert "Started the local server at http://127.0.0.1:" in answer.err
    assert "Started" not in alone("repo", "list").err
    facts = alone.json("self", "status")
    assert (facts["running"], facts["ready"]) == (True, True)


def test_commands_at_the_same_time_share_one_server(alone: Line) -> None:
    started = [
        subprocess.Popen(
            [*PROGRAM, "up", "--detach", "--json"], env=alone.env, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    pids = {json.loads(process.communicate(timeout=120)[0])["pid"] for process in started}
    assert len(pids) == 1


def test_stop_ends_it_and_a_second_stop_says_so(returned: Line) -> None:
    returned.ok("up", "--detach")
    assert returned.json("self", "stop") == {"stopped": True}
    assert returned.json("self", "stop") == {"stopped": False}
    assert returned("self", "status").code == 1


def test_a_command_survives_the_death_of_the_server(returned: Line) -> None:
    pid = returned.json("up", "--detach")["pid"]
    os.kill(pid, signal.SIGKILL)
    assert returned("repo", "list").code == 0
    assert returned.json("self", "status")["pid"] != pid


def test_up_serves_in_the_foreground_at_a_printed_address_until_it_is_told_to_stop(returned: Line) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "up", "--port", "0"], env=returned.env, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    url = line.split()[-1]
    assert Client(url).call("GET", "/healthz")["status"] == "ok"
    assert json.loads((home_of(returned) / "server.json").read_text())["pid"] == process.pid
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0


def test_up_with_json_prints_one_document_and_serves_on(returned: Line) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "up", "--json"], env=returned.env, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    text = ""
    while True:
        text += process.stdout.readline()
        try:
            found = json.loads(text)
            break
        except ValueError:
            assert process.poll() is None
    assert Client(found["url"]).call("GET", "/healthz")["status"] == "ok"
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=120)
    assert (rest, process.returncode) == ("", 0)
    assert local.find(home_of(returned)) is None


def test_up_again_says_where_the_first_one_answers(detached: Detached) -> None:
    for words in (("up",), ("up", "--detach")):
        assert f"already serving at {detached.url}" in detached.line.ok(*words)
    assert detached.line.json("up")["pid"] == detached.pid


def test_a_server_started_by_a_command_outlives_the_terminal(detached: Detached) -> None:
    """Closing a terminal ends the process group of what was started in it."""
    assert os.getpgid(detached.pid) != detached.starter
    assert os.getsid(detached.pid) != detached.starter


def test_the_server_that_a_command_started_needs_no_open_stdout(returned: Line) -> None:
    """A pipe that waits for the end of the output gets it when the command ends, not the server."""
    done = subprocess.run(
        [*PROGRAM, "repo", "list"], env=returned.env, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0
    assert local.find(home_of(returned)) is not None


def test_the_log_of_the_server_is_its_owners_alone(detached: Detached) -> None:
    assert (home_of(detached.line) / "server.log").stat().st_mode & 0o077 == 0


def test_a_module_in_the_current_folder_does_not_become_part_of_the_server(detached: Detached) -> None:
    assert (detached.line.folder / "builderos.py").exists()
    server = local.find(home_of(detached.line))
    assert server is not None
    assert server.pid == detached.pid


def test_up_is_about_this_machine(alone: Line) -> None:
    assert alone("up", "--url", "http://example.com").code == 2
    assert alone("self", "stop", "--url", "http://example.com").code == 2


def test_doctor_is_content_with_a_fresh_machine_and_starts_nothing(alone: Line) -> None:
    answer = alone("doctor")
    assert answer.code == 0, answer
    assert "not running" in answer.out
    assert not home_of(alone).exists()


def test_doctor_names_what_is_wrong_and_the_remedy(detached: Detached) -> None:
    line = detached.line
    assert line("doctor").code == 0
    (home_of(line) / "owner.token").chmod(0o644)
    answer = line("doctor")
    assert answer.code == 1
    assert f"chmod 600 {home_of(line) / 'owner.token'}" in answer.out
    assert [c["name"] for c in json.loads(line("doctor", "--json").out)["checks"] if not c["ok"]] == [
        "owner's credential", "secrets",
    ]  # fmt: skip
    assert line("doctor", PATH="/nowhere").code == 1
    assert line("doctor", "--fix").code == 0
    assert (home_of(line) / "owner.token").stat().st_mode & 0o777 == 0o600


def test_doctor_asks_a_running_server_about_itself(detached: Detached) -> None:
    line = detached.line
    names = [check["name"] for check in line.json("doctor")["checks"]]
    assert len(names) > 10
    server = local.find(home_of(line))
    assert server is not None
    nobody = line("doctor", BUILDEROS_URL=server.url, BUILDEROS_TOKEN="bos_rt_" + "x" * 43)
    assert nobody.code == 0
    assert "for its owner" in nobody.err


def test_doctor_mends(alone: Line) -> None:
    answer = alone("doctor", "--fix")
    assert answer.code == 0, answer
    assert alone.json("self", "status")["running"]


def test_doctor_names_lost_rows_and_writes_them_again(returned: Line) -> None:
    returned.ok("up", "--detach")
    returned.ok("repo", "create", "lab")
    with psycopg.connect(postgres.start(home_of(returned)).superuser_conninfo, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute("delete from ops.repositories")
    answer = returned("doctor")
    assert answer.code == 1
    assert "builderos doctor --rebuild" in answer.out
    assert returned("doctor", "--fix").code == 1  # only who asks for it gets rows written
    answer = returned("doctor", "--rebuild")
    assert answer.code == 0, answer
    assert "fixed  projections" in answer.out
    assert [repo["repo_name"] for repo in returned.json("repo", "list")["items"]] == ["lab"]
