"""The daily work: a workspace, commits, history, undo, backups."""

import os
import stat
from pathlib import Path

import pytest

from .conftest import Line, git


def test_init_brings_the_current_repository_in_and_prints_five_next_steps(person: Line) -> None:
    said = person.ok("init")
    assert f"{person.folder.name} is ready" in said
    assert [line.split()[0] for line in said.splitlines() if line.startswith("  ")] == [
        "1.",
        "2.",
        "3.",
        "4.",
        "5.",
    ]
    assert git("status", "--porcelain", cwd=person.folder) == ""


def test_init_again_changes_nothing(person: Line) -> None:
    first = person.json("init")
    again = person.json("init")
    assert (first["created"], again["created"]) == (True, False)
    assert first["repo_name"] == again["repo_name"] == person.folder.name


def test_init_works_from_a_folder_below_the_top(person: Line) -> None:
    below = Line(person.env, person.folder / "src")
    assert below.json("init")["repo_name"] == person.folder.name


def test_init_outside_of_a_repository_says_what_to_do(person: Line, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    answer = Line(person.env, empty)("init")
    assert answer.code == 2
    assert "builderos init REPO" in answer.err


def test_a_name_that_is_taken_by_another_folder_is_refused(person: Line, tmp_path: Path) -> None:
    person.ok("init")
    other = tmp_path / "other" / person.folder.name
    other.mkdir(parents=True)
    git("clone", "-q", str(person.folder), str(other))
    answer = Line(person.env, other)("init")
    assert answer.code == 1
    assert "exists already" in answer.err
    assert Line(person.env, other).json("init", "--name", f"{person.folder.name}-2")["created"]


def test_the_five_steps_lead_to_a_commit_without_any_approval(person: Line) -> None:
    """The steps are run exactly as `init` prints them."""
    steps = [step["command"] for step in person.json("init")["next_steps"]]
    person.write("README.md", "# Better\n")
    for step in steps:
        import shlex

        words = shlex.split(step)
        assert words[0] == "builderos"
        person.ok(*words[1:])
    assert person.ok("fetch", "README.md") == "# Better\n"
    assert "goals" in person.ok("fetch", "project/goals.md").lower()


def test_a_saved_token_is_readable_by_its_owner_alone(builder: Line) -> None:
    kept = list(Path(builder.env["XDG_CONFIG_HOME"]).rglob("*.json"))
    assert len(kept) == 1
    assert "bos_rt_" in kept[0].read_text()
    assert stat.S_IMODE(kept[0].stat().st_mode) == 0o600


def test_without_save_no_token_stays_on_the_machine(person: Line) -> None:
    person.ok("init")
    token = person.json("sandbox", "create")["reuse_token"]
    texts = [p.read_text() for p in Path(person.env["XDG_CONFIG_HOME"]).rglob("*") if p.is_file()]
    assert all(token not in text for text in texts)


def test_commit_sends_text_and_bytes_and_folders(builder: Line) -> None:
    builder.write("src/new.py", "print(2)\n")
    builder.write("src/deep/picture.bin", b"\x00\xff\x01")
    builder.write("src/ignored.log", "noise")
    builder.write(".gitignore", "*.log\n")
    reply = builder.json("commit", "src", "-m", "Add a picture")
    assert reply["changelog_entry"]["paths"] == ["src/app.py", "src/deep/picture.bin", "src/new.py"]
    answer = builder("fetch", "src/deep/picture.bin", "src/ignored.log", "--json")
    assert answer.code == 1
    fetched = answer.json
    assert fetched["files"][0]["encoding"] == "base64"
    assert fetched["missing"] == ["src/ignored.log"]


def test_a_dry_run_lists_and_sends_nothing(builder: Line) -> None:
    before = builder.json("log")["items"][0]["sha"]
    builder.write("a.txt", "a")
    said = builder.ok("commit", "a.txt", "-d", "README.md", "-m", "x", "--dry-run")
    assert said.splitlines() == ["write  a.txt", "delete README.md"]
    assert builder.json("log")["items"][0]["sha"] == before


def test_commit_deletes(builder: Line) -> None:
    builder.ok("commit", "-d", "src/app.py", "-m", "Remove")
    answer = builder("fetch", "src/app.py")
    assert answer.code == 1
    assert "no file src/app.py" in answer.err


@pytest.mark.parametrize("where", ["file", "folder"])
def test_a_symbolic_link_is_never_followed_out_of_the_repository(
    builder: Line, tmp_path: Path, where: str
) -> None:
    secret = tmp_path / "outside"
    secret.mkdir()
    (secret / "key").write_text("secret")
    if where == "file":
        os.symlink(secret / "key", builder.folder / "key")
        answer = builder("commit", "key", "-m", "x")
    else:
        os.symlink(secret, builder.folder / "linked")
        answer = builder("commit", "linked/key", "-m", "x")
    assert answer.code == 2
    assert "symbolic link" in answer.err


def test_a_file_outside_of_the_checkout_needs_a_root(builder: Line, tmp_path: Path) -> None:
    outside = tmp_path / "notes" / "a.txt"
    outside.parent.mkdir()
    outside.write_text("a")
    answer = builder("commit", str(outside), "-m", "x")
    assert answer.code == 2
    assert "--root" in answer.err
    reply = builder.json("commit", str(outside), "-m", "x", "--root", str(outside.parent))
    assert reply["changelog_entry"]["paths"] == ["a.txt"]


def test_fetch_writes_below_its_folder(builder: Line, tmp_path: Path) -> None:
    builder.ok("fetch", "README.md", "src/app.py", "-o", str(tmp_path / "out"))
    assert (tmp_path / "out/src/app.py").read_text() == "print(1)\n"


def test_diff_shows_the_change_and_the_log_names_the_branch(builder: Line) -> None:
    builder.write("README.md", "# Changed\n")
    builder.ok("commit", "README.md", "-m", "Say it better\n\nWith a reason.")
    assert "+# Changed" in builder.ok("diff", "--path", "README.md")
    assert "README.md" in builder.ok("diff", "--stat")
    first = builder.ok("log", "--limit", "1").splitlines()[1]
    assert "Say it better" in first
    assert "With a reason" not in first
    assert builder.json("diff", "--against", "main")["files"]


def test_log_goes_on_at_its_cursor(builder: Line) -> None:
    builder.write("a.txt", "a")
    builder.ok("commit", "a.txt", "-m", "Second")
    answer = builder("log", "--limit", "1")
    cursor = answer.err.rpartition("--cursor ")[2].strip()
    assert "first" in builder.ok("log", "--limit", "1", "--cursor", cursor)


def test_rollback_and_its_rollback(builder: Line) -> None:
    builder.write("README.md", "# Wrong\n")
    wrong = builder.json("commit", "README.md", "-m", "Wrong")["commit_sha"]
    undo = builder.json("rollback", wrong, "--reason", "it was wrong")
    assert undo["reverted_sha"] == wrong
    assert builder.ok("fetch", "README.md") == "# Lab\n"
    builder.ok("rollback", undo["new_sha"], "--reason", "it was right")
    assert builder.ok("fetch", "README.md") == "# Wrong\n"


def test_a_backup_brings_a_lost_file_back(builder: Line) -> None:
    made = builder.json("backup", "create")["backup_id"]
    builder.ok("commit", "-d", "README.md", "-m", "Lose it")
    assert made in builder.ok("backup", "list")
    builder.ok("backup", "restore", made)
    assert builder.ok("fetch", "README.md") == "# Lab\n"


def test_reset_makes_the_branch_equal_to_main_again(builder: Line) -> None:
    builder.write("README.md", "# Mess\n")
    builder.ok("commit", "README.md", "-m", "Mess")
    builder.ok("reset", "--to", "main", "--reason", "start over")
    assert builder.ok("fetch", "README.md") == "# Lab\n"


def test_text_of_others_cannot_steer_the_terminal(builder: Line) -> None:
    builder.write("a.txt", "\x1b]0;owned\x07\x1b[2J")
    builder.ok("commit", "a.txt", "-m", "plain")
    assert "\x1b" not in builder.ok("diff")
    assert "\\x1b[2J" in builder.ok("diff")
