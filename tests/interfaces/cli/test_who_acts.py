"""Who acts: the owner, a given token, a saved token; and where a token may come from."""

import json
import subprocess
from pathlib import Path

import pytest

from .conftest import Line


def test_a_saved_token_acts_in_its_folder(builder: Line) -> None:
    builder.write("a.txt", "a")
    reply = builder.json("commit", "a.txt", "-m", "Mine")
    assert reply["committed_by"] == reply["branch"] != "owner"


def test_the_owner_acts_when_told_to(builder: Line) -> None:
    answer = builder("log", "--as", "owner")
    assert answer.code == 2
    assert "branch" in answer.err
    assert builder.json("log", "--as", "owner", "-b", "main")["items"]


def test_another_persons_workspace_is_closed(builder: Line) -> None:
    other = builder.json("sandbox", "create")
    answer = builder("log", "-b", other["branch"])
    assert answer.code == 3
    assert builder("log", "-b", other["branch"], "--token", other["reuse_token"]).code == 0


def test_of_another_workspace_not_even_the_name_is_told(builder: Line) -> None:
    other = builder.json("sandbox", "create")["branch"]
    there = builder("sandbox", "show", other)
    missing = builder("sandbox", "show", "sandbox-nobody-there")
    assert (there.code, there.err) == (missing.code, missing.err) == (1, missing.err)


@pytest.mark.parametrize("way", ["word", "file", "stdin", "environment", "option-file", "option-stdin"])
def test_a_token_opens_its_workspace_from_anywhere(
    builder: Line, stranger: Line, tmp_path: Path, way: str
) -> None:
    opened = builder.json("sandbox", "create")
    token, file = opened["reuse_token"], tmp_path / "token"
    file.write_text(token + "\n")
    answer = {
        "word": lambda: stranger("resume", token, "--json"),
        "file": lambda: stranger("resume", "--token-file", str(file), "--json"),
        "stdin": lambda: stranger("resume", "-", "--json", stdin=token + "\n"),
        "environment": lambda: stranger("resume", "--json", BUILDEROS_TOKEN=token),
        "option-file": lambda: stranger("--token", f"@{file}", "resume", "--json"),
        "option-stdin": lambda: stranger("resume", "--token", "-", "--json", stdin=token),
    }[way]()
    assert answer.code == 0, answer
    assert answer.json["branch"] == opened["branch"]
    assert not answer.json["created"]


def test_a_token_that_is_not_valid_opens_nothing(builder: Line, stranger: Line) -> None:
    before = len(builder.json("sandbox", "list", "--limit", "200", "--as", "owner")["items"])
    answer = stranger("resume", "-", "--json", stdin="bos_rt_" + "x" * 43)
    assert answer.code == 3
    assert answer.json["code"] == "token_invalid"
    assert len(builder.json("sandbox", "list", "--limit", "200", "--as", "owner")["items"]) == before


def test_a_token_twice_is_refused(stranger: Line, tmp_path: Path) -> None:
    assert stranger("resume", "a", "--token-file", str(tmp_path / "t")).code == 2


def test_work_from_another_machine_with_nothing_but_the_token(builder: Line, stranger: Line) -> None:
    token = builder.json("sandbox", "create")["reuse_token"]
    stranger.token = token
    stranger.write("notes.txt", "from afar\n")
    stranger.ok("commit", "notes.txt", "-m", "From afar")
    assert stranger.ok("fetch", "notes.txt") == "from afar\n"
    assert "From afar" in stranger.ok("log")


def test_as_owner_is_for_the_local_server(stranger: Line) -> None:
    answer = stranger("repo", "list", "--as", "owner")
    assert answer.code == 2
    assert "local server" in answer.err


def test_no_token_is_ever_printed_but_by_the_verbs_that_give_it(builder: Line) -> None:
    kept = next(Path(builder.env["XDG_CONFIG_HOME"]).rglob("*.json")).read_text()
    tokens = [place["reuse_token"] for place in json.loads(kept)["tokens"].values()]
    for words in (
        ("log",),
        ("diff",),
        ("sandbox", "show"),
        ("doctor",),
        ("audit", "list"),
        ("sandbox", "list"),
    ):
        answer = builder(*words, "-v")
        assert all(token not in answer.out + answer.err for token in tokens), words


def test_rotating_renews_what_is_saved(builder: Line) -> None:
    builder.ok("sandbox", "token", "rotate")
    assert builder("log").code == 0


def test_revoking_forgets_what_is_saved(builder: Line) -> None:
    name = builder.json("log")["branch"]
    builder.ok("sandbox", "token", "revoke", name)
    kept = next(Path(builder.env["XDG_CONFIG_HOME"]).rglob("*.json")).read_text()
    assert "bos_rt_" not in kept


def test_an_api_key_acts_with_its_scopes(builder: Line, stranger: Line) -> None:
    made = builder.json("key", "create", "ci", "--scope", "read")
    assert made["id"] in builder.ok("key", "list")
    assert made["api_key"] not in builder.ok("key", "list")
    stranger.token = made["api_key"]
    assert stranger("log", "-r", builder.folder.name, "-b", "main").code == 0
    builder.ok("key", "revoke", made["id"])
    assert stranger("log", "-r", builder.folder.name, "-b", "main").code == 3


def test_a_damaged_file_of_tokens_is_an_error_and_stays(builder: Line) -> None:
    kept = next(Path(builder.env["XDG_CONFIG_HOME"]).rglob("*.json"))
    kept.write_text("{")
    answer = builder("log")
    assert answer.code == 1
    assert str(kept) in answer.err
    assert kept.read_text() == "{"


def test_commands_at_the_same_time_lose_no_saved_token(builder: Line) -> None:
    name = builder.folder.name
    names = [
        builder.json("repo", "import", str(builder.folder), "--name", f"{name}-{n}")["repo_name"]
        for n in range(3)
    ]
    quiet = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "cwd": builder.folder,
        "env": builder.env,
    }
    started = [
        subprocess.Popen([*builder.program, "sandbox", "create", "--save", "-r", n], **quiet) for n in names
    ]
    assert [process.wait(120) for process in started] == [0, 0, 0]
    kept = json.loads(next(Path(builder.env["XDG_CONFIG_HOME"]).rglob("*.json")).read_text())
    assert set(names) <= set(kept["tokens"])
