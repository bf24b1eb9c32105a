"""The git command line, for what libgit2 does not do: fetching, packing, serving clients. Always in a clean environment."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

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


def run_git(
    args: Sequence[str], *, cwd: Path | str | None = None, timeout_s: float = 600, env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
    """Run `git args…` without a shell; the caller looks at the return code.

    Raises `Problem("unavailable")` where git is missing, `Problem("upstream_failed")` when it takes too long.
    """
    argv = ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", *args]
    try:
        return subprocess.run(
            argv, cwd=cwd, env=environment(env), input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True, timeout=timeout_s, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise Problem("unavailable", "git is not installed on the server", hint="Install git 2.39 or newer.") from None
    except subprocess.TimeoutExpired:
        raise Problem("upstream_failed", f"git took longer than {timeout_s:.0f} s", hint="Try again later.") from None
