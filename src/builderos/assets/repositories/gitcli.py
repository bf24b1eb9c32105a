"""The git command line, for what libgit2 does not do: fetching, packing, serving clients. Always in a clean
environment.
"""

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from builderos.core import tracing
from builderos.core.problems import Problem

_QUIET: Final = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C.UTF-8",
}


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """PATH and HOME-less git: no configuration, prompt, hook or credential of the machine takes part."""
    base = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent", **_QUIET}
    for name in ("SSL_CERT_FILE", "GIT_SSL_CAINFO"):
        if name in os.environ:
            base[name] = os.environ[name]
    return base | dict(extra or {})


@dataclass(frozen=True)
class GitCommand:
    """A git process for the edge to run with pipes: everything that decides what it may do is in here."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


def git_command(
    args: Sequence[str], *, config: Iterable[tuple[str, str]] = (), env: Mapping[str, str] | None = None
) -> GitCommand:
    """`git args…` with `config` on top of the repository's own; names may repeat, the order counts."""
    pairs = [("core.hooksPath", os.devnull), ("core.fsmonitor", "false"), *config]
    settings = {"GIT_CONFIG_COUNT": str(len(pairs)), "GIT_NO_REPLACE_OBJECTS": "1"}
    for number, (key, value) in enumerate(pairs):
        settings |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return GitCommand(("git", *args), environment(settings | dict(env or {})))


def verb_of(args: Sequence[str]) -> str:
    """What git is asked to do, e.g. `repack`: the first word that is neither an option nor the value of one."""
    values = {index + 1 for index, word in enumerate(args) if word in ("-c", "-C")}
    words = (word for index, word in enumerate(args) if index not in values and not word.startswith("-"))
    return next(words, "")


def run_git(
    args: Sequence[str], *, cwd: Path | str | None = None, timeout_s: float = 600, env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
    """Run `git args…` without a shell; the caller looks at the return code.

    Raises `Problem("unavailable")` where git is missing, `Problem("upstream_failed")` when it takes too long.
    """
    argv = ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", *args]
    try:
        with tracing.span(f"git {verb_of(args)}") as span:
            done = subprocess.run(
                argv, cwd=cwd, env=environment(env), input=stdin,
                stdin=None if stdin is not None else subprocess.DEVNULL, capture_output=True, timeout=timeout_s,
                check=False,
            )  # fmt: skip
            span.set("process.exit.code", done.returncode)
            return done
    except FileNotFoundError:
        raise Problem(
            "unavailable", "git is not installed on the server", hint="Install git 2.39 or newer."
        ) from None
    except subprocess.TimeoutExpired:
        raise Problem(
            "upstream_failed", f"git took longer than {timeout_s:.0f} s", hint="Try again later."
        ) from None
