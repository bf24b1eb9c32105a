"""Completion scripts are valid, and what they ask for is answered without loading the product."""

import shutil
import subprocess
from pathlib import Path

import pytest

from builderos.interfaces.cli.catalogue import ENTRIES

from .conftest import PROGRAM
from .test_help import HEAVY, modules


def script(shell: str) -> str:
    return subprocess.run([*PROGRAM, "completion", shell], capture_output=True, text=True, check=True).stdout


def complete(*words: str) -> list[str]:
    env = {
        "_BUILDEROS_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "PATH": "",
    }
    done = subprocess.run(PROGRAM, capture_output=True, text=True, check=True, env=env)
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_names_the_command_and_asks_the_program(shell: str) -> None:
    text = script(shell)
    assert f"_BUILDEROS_COMPLETE={shell}_complete" in text
    assert "builderos" in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_valid(shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    file = tmp_path / "script"
    file.write_text(script(shell))
    subprocess.run([program, "-n", str(file)], check=True)


def test_the_script_of_bash_completes_in_a_real_bash(tmp_path: Path) -> None:
    launcher = tmp_path / "builderos"
    launcher.write_text(f'#!/bin/sh\nexec {PROGRAM[0]} {PROGRAM[1]} "$@"\n')
    launcher.chmod(0o755)
    ask = (
        f'PATH={tmp_path}:$PATH; eval "$(builderos completion bash)"; COMP_WORDS=(builderos sandbox ren); COMP_CWORD=2;'
        "_builderos_completion builderos; COMP_WORDS=(builderos sandbox token ro); COMP_CWORD=3;"
        '_builderos_completion builderos; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["rotate"]


def test_commands_verbs_and_options_are_completed() -> None:
    assert complete("builderos", "") == list(ENTRIES)
    assert complete("builderos", "san") == ["sandbox"]
    assert complete("builderos", "sandbox", "token", "ro") == ["rotate"]
    assert "--against" in complete("builderos", "diff", "--a")
    assert complete("builderos", "completion", "z") == ["zsh"]


def test_completing_a_command_loads_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_BUILDEROS_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "builderos sa")
    monkeypatch.setenv("COMP_CWORD", "1")
    found = modules()
    assert "builderos.interfaces.cli.main" in found
    assert "builderos.interfaces.cli.sandbox" not in found
    assert not HEAVY & found
