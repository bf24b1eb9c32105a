"""Exit codes are part of the interface, and --json means JSON and nothing else."""

import json
import socket
import subprocess
from pathlib import Path

import pytest

from builderos.client.errors import ClientError
from builderos.core.problems import STATUS
from builderos.interfaces.cli.faults import exit_code
from builderos.interfaces.cli.helping import EXIT_CODES
from tests.support.server import Server

from .conftest import PROGRAM, Line, begun, person_in


@pytest.fixture(scope="module")
def builder(running_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Line:
    """One for the whole module: nothing here changes the workspace."""
    return begun(person_in(running_server, tmp_path_factory.mktemp("desk")))


def problem(code: str) -> ClientError:
    return ClientError({"code": code, "status": STATUS[code]})


@pytest.mark.parametrize("code", sorted(STATUS))
def test_every_code_of_a_problem_has_an_exit_code(code: str) -> None:
    status = STATUS[code]
    expected = (
        5 if status >= 500 else 3 if status in (401, 402, 403) else 2 if status in (400, 413, 415, 422) else 1
    )
    assert exit_code(problem(code)) == (4 if code == "approval_required" else expected)


def test_help_documents_them_all() -> None:
    documented = [
        line.split()[0] for line in EXIT_CODES.splitlines() if line[:2] == "  " and line[2:3].isdigit()
    ]
    assert documented == ["0", "1", "2", "3", "4", "5"]


def test_0_done(builder: Line) -> None:
    assert builder("log").code == 0


def test_1_the_answer_is_no(builder: Line) -> None:
    answer = builder("repo", "import", str(builder.folder))
    assert answer.code == 1
    assert "exists already" in answer.err
    assert "Hint:" in answer.err


@pytest.mark.parametrize(
    "words",
    [
        ("no-such-command",),
        ("log", "--no-such-option"),
        ("log", "--limit", "0"),
        ("commit", "-m", "nothing"),
        ("commit", "README.md"),
        ("commit", "missing.txt", "-m", "x"),
        ("log", "--url", "nonsense"),
        ("log", "--token", "two words"),
        ("log", "--token", "@/nowhere/token"),
    ],
)
def test_2_wrong_usage(builder: Line, words: tuple[str, ...]) -> None:
    answer = builder(*words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err


def test_2_input_that_the_server_does_not_accept(builder: Line) -> None:
    answer = builder("api", "commit_and_log", "-f", "message=x", "-f", "file_path=../x", "-f", "content=y")
    assert answer.code == 2
    builder.write("a.txt", "x" * (1024 * 1024 + 1))
    assert builder("commit", "a.txt", "-m", "big").code == 2


def test_3_denied(stranger: Line) -> None:
    answer = stranger("log", BUILDEROS_TOKEN="bos_rt_" + "x" * 43)
    assert answer.code == 3
    assert "not valid" in answer.err
    assert stranger("repo", "list").code == 3


def test_3_writing_main_is_denied_to_a_workspace(builder: Line) -> None:
    builder.write("README.md", "# Mine\n")
    assert builder("commit", "README.md", "-b", "main", "-m", "x").code == 3


def test_5_no_server_answers(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        done = subprocess.run(
            [*PROGRAM, "log", "--url", url, "--token", "bos_rt_x", "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 5
    assert json.loads(done.stdout)["code"] == "unavailable"
    assert "no server answers" in done.stderr


def test_5_a_server_that_cannot_start_shows_why(person: Line, tmp_path: Path) -> None:
    answer = person("repo", "list", BUILDEROS_HOME=str(tmp_path / "home"), BUILDEROS_WORKERS="0")
    assert answer.code == 5
    assert "workers" in answer.err
    assert "server.log" in answer.err


def test_a_problem_with_json_is_its_document(builder: Line) -> None:
    answer = builder("log", "-b", "sandbox-nobody-there", "--json")
    assert answer.code == 3
    assert answer.json["code"] == "forbidden_branch"
    assert answer.json["request_id"] not in answer.err


def test_the_request_id_is_shown_when_asked_for(builder: Line) -> None:
    answer = builder("log", "-b", "sandbox-nobody-there", "-v")
    assert "request req_" in answer.err


@pytest.mark.parametrize(
    "words",
    [
        ("init",), ("repo", "list"), ("sandbox", "create"), ("sandbox", "list"), ("sandbox", "show"), ("resume",),
        ("log",), ("diff",), ("fetch", "README.md"), ("backup", "create"), ("backup", "list"), ("pull", "list"),
        ("approvals",), ("alert", "list"), ("key", "list"), ("audit", "list"), ("audit", "verify"), ("api",),
        ("api", "gitLog"), ("version",), ("self", "status"), ("doctor",), ("up", "--detach"),
    ],
)  # fmt: skip
def test_with_json_there_is_one_document_and_nothing_else(builder: Line, words: tuple[str, ...]) -> None:
    answer = builder(*words, "--json")
    assert answer.code == 0, answer
    assert isinstance(answer.json, dict)
    assert answer.err == ""


def test_options_of_every_command_may_stand_anywhere(builder: Line) -> None:
    documents = [
        builder(*words).json
        for words in (
            ("--json", "sandbox", "show"),
            ("sandbox", "--json", "show"),
            ("sandbox", "show", "--json"),
        )
    ]
    assert documents[0]["id"] == documents[1]["id"] == documents[2]["id"]
