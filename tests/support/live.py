"""A world on a real port, and real git clients that talk to it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .ports import live
from .world import GIT_ENV, Sandbox, World


@dataclass(frozen=True)
class Done:
    """What a git command did."""

    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.code == 0


def run(*args: str, cwd: Path | None = None, stdin: bytes | None = None, **env: str) -> Done:
    """Run the real git to its end, whatever comes of it."""
    done = subprocess.run(
        ["git", *args], cwd=cwd, env={**GIT_ENV, "GIT_ASKPASS": os.devnull, **env}, input=stdin, capture_output=True,
        check=False, timeout=120,
    )  # fmt: skip
    return Done(
        done.returncode, done.stdout.decode(errors="replace").strip(), done.stderr.decode(errors="replace")
    )


@contextmanager
def served(world: World) -> Iterator[str]:
    """The world on a real port; gives its address."""
    with live(world.asgi) as url:
        yield url


def address(
    url: str, sandbox: Sandbox | None = None, repo_name: str = "lab", token: str | None = None
) -> str:
    """The git address of a repository, with the sandbox's token as password."""
    secret = token if token is not None else sandbox.token if sandbox else ""
    name = repo_name if sandbox is None else sandbox.repo_name
    scheme, _, rest = url.partition("://")
    login = f"token:{secret}@" if secret else ""
    return f"{scheme}://{login}{rest}/git/{name}.git"


@dataclass(frozen=True)
class Clone:
    """A clone on a person's machine."""

    folder: Path

    def git(self, *args: str, **env: str) -> Done:
        """Run git in it."""
        return run(*args, cwd=self.folder, **env)

    def must(self, *args: str) -> str:
        """Run git in it, which must succeed; its output."""
        done = self.git(*args)
        assert done.ok, f"git {' '.join(args)}: {done.err}"
        return done.out

    @property
    def head(self) -> str:
        """The commit that is checked out."""
        return self.must("rev-parse", "HEAD")

    def commit(self, files: dict[str, str | bytes | None], message: str = "Change") -> str:
        """Commit files (None deletes); the new commit."""
        for path, content in files.items():
            target = self.folder / path
            if content is None:
                target.unlink()
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.must("add", "-A")
        self.must("commit", "-q", "-m", message)
        return self.head

    def push(self, *args: str) -> Done:
        """Push, by default the current branch to where it came from."""
        return self.git("push", *(args or ("origin", "HEAD")))


def clone(url: str, sandbox: Sandbox, folder: Path, *options: str) -> Clone:
    """Clone the sandbox's branch with its token."""
    done = run("clone", "-q", *options, "--branch", sandbox.branch, address(url, sandbox), str(folder))
    assert done.ok, done.err
    return Clone(folder)
