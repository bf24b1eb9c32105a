"""The real command line as a program, against a real server."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import nursery
from tests.support.server import ROOT, Server, running_server  # noqa: F401
from tests.support.world import git, make_repository

PROGRAM = [sys.executable, str(ROOT / "scripts/builderos")]


@dataclass
class Answer:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


@dataclass
class Line:
    """A command line: the program with the environment of one person in one folder.

    It is forked off a process that has imported the command line already; with `started` it is started as people do.
    """

    env: dict[str, str]
    folder: Path
    token: str | None = None
    program: list[str] = field(default_factory=lambda: list(PROGRAM))
    started: bool = False

    def __call__(self, *words: str, stdin: str = "", **env: str) -> Answer:
        """Run it to its end."""
        tokens = {"BUILDEROS_TOKEN": self.token} if self.token else {}
        whole, given = {**self.env, **tokens, **env}, stdin.encode()
        if not self.started and self.program == PROGRAM:
            ended = nursery().run(words, cwd=self.folder, env=whole, stdin=given, timeout_s=180)
            return Answer(ended.code, ended.out.decode(), ended.err.decode())
        done = subprocess.run(
            [*self.program, *words], cwd=self.folder, env=whole, input=given, capture_output=True, check=False,
            timeout=180,
        )  # fmt: skip
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())

    def json(self, *words: str, **env: str) -> Any:
        """Run it with --json, which must succeed, and read what it printed."""
        answer = self(*words, "--json", **env)
        assert answer.code == 0, (words, answer)
        return answer.json

    def ok(self, *words: str, **env: str) -> str:
        """Run it, which must succeed, and return what it printed."""
        answer = self(*words, **env)
        assert answer.code == 0, (words, answer)
        return answer.out

    def write(self, path: str, content: str | bytes) -> Path:
        """A local file."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        return target


@pytest.fixture
def person(running_server: Server, tmp_path: Path) -> Line:  # noqa: F811
    """Somebody on the server's machine, with a checkout of a repository that is not yet known to it."""
    return person_in(running_server, tmp_path)


def person_in(server: Server, desk: Path) -> Line:
    """Somebody with a checkout on an empty desk."""
    folder = make_repository(desk / f"lab-{uuid.uuid4().hex[:8]}")
    return Line(server.env | {"XDG_CONFIG_HOME": str(desk / "config"), "HOME": str(desk)}, folder)


@pytest.fixture
def builder(person: Line) -> Line:
    """The same person with an open workspace, whose token is saved."""
    return begun(person)


def begun(person: Line) -> Line:
    """Open a workspace and save its token."""
    person.ok("init")
    person.ok("sandbox", "create", "--save")
    return person


@pytest.fixture
def stranger(running_server: Server, builder: Line, tmp_path: Path) -> Iterator[Line]:  # noqa: F811
    """Somebody on another machine: only the address of the server is known there."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    env = builder.env | {
        "BUILDEROS_URL": running_server.url, "BUILDEROS_HOME": str(tmp_path / "nothing"),
        "XDG_CONFIG_HOME": str(tmp_path / "config2"),
    }  # fmt: skip
    yield Line(env, folder)
    assert not (tmp_path / "nothing").exists(), "a command for a remote server started a local one"


__all__ = ["Answer", "Line", "git", "os"]
