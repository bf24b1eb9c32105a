"""`doctor`: is this machine fit, and is the server well?"""

import contextlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import click

from builderos.client import local
from builderos.client.errors import ClientError
from builderos.client.http import Client, Json
from builderos.core.home import configured_home

from .caller import Caller
from .commands import Verb
from .places import config_folder

OLDEST_PYTHON: Final = (3, 11)
OLDEST_GIT: Final = (2, 32)
SPACE: Final = 1024**3


class Unfit(Exception):
    """A check that failed: what is wrong, and how to mend it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


@dataclass(frozen=True)
class _Finding:
    name: str
    ok: bool
    detail: str
    remedy: str = ""
    fixed: bool = False


@click.command("doctor", cls=Verb)
@click.option("--fix", is_flag=True, help="Mend what can be mended safely; starts the local server.")
@click.option("--rebuild", is_flag=True, help="Write lost rows again, from the ledger, git and files.")
@click.pass_obj
def command(caller: Caller, fix: bool, rebuild: bool) -> int:
    """Check this machine and its server, and say how to mend what is wrong; exit code 1 when something is.

    Without --fix and --rebuild nothing is started or changed. A running server checks itself, too, when its owner asks.
    """
    if fix and caller.remote is None:
        _close_to_others()
    if (fix or rebuild) and caller.remote is None:
        local.ensure(configured_home())
    checks: tuple[tuple[str, Callable[[], str]], ...] = (
        ("python", _python), ("git", _git), ("state folder", _home), ("disk space", _space),
        ("owner's credential", _owner), ("saved tokens", _saved), ("server", lambda: _server(caller)),
    )  # fmt: skip
    findings = [_run(name, check) for name, check in checks]
    if findings[-1].ok:
        findings += _inside(caller, fix=fix, rebuild=rebuild)
    reply = {"ok": all(f.ok for f in findings), "checks": [vars(f) for f in findings]}
    caller.show(reply, [line for finding in findings for line in _lines(finding)])
    return 0 if reply["ok"] else 1


def _lines(finding: _Finding) -> list[str]:
    word = "fixed " if finding.fixed else "ok    " if finding.ok else "WRONG "
    return [
        f"{word} {finding.name}: {finding.detail}",
        *([f"       {finding.remedy}"] if finding.remedy else []),
    ]


def _run(name: str, check: Callable[[], str]) -> _Finding:
    try:
        return _Finding(name, True, check())
    except Unfit as unfit:
        return _Finding(name, False, unfit.what, unfit.remedy)


def _inside(caller: Caller, *, fix: bool, rebuild: bool) -> list[_Finding]:
    """What the server finds in itself; nothing where none runs or somebody else asks."""
    if caller.remote is None and local.find(configured_home()) is None:
        return []
    try:
        reply = caller.client().call("POST", "/v1/admin/doctor", {"fix": fix, "rebuild": rebuild}, once=True)
    except ClientError as error:
        if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            caller.say("The server's own checks are for its owner")
            return []
        return [_Finding("the server's own checks", False, error.detail, error.hint)]
    found: list[Json] = reply["checks"]
    rows, otherwise = "" if rebuild else "builderos doctor --rebuild", "" if fix else "builderos doctor --fix"
    return [
        _Finding(
            c["name"], c["ok"], c["detail"],
            "" if c["ok"] else rows if c["name"].startswith("projections") else otherwise, c["fixed"],
        )
        for c in found
    ]  # fmt: skip


def _close_to_others() -> None:
    """Secrets that others could read."""
    for path in (configured_home() / "owner.token", *(config_folder() / "servers").glob("*.json")):
        with contextlib.suppress(OSError):  # said by the check of it
            path.chmod(0o600)


def _python() -> str:
    if sys.version_info < OLDEST_PYTHON:
        raise Unfit(f"version {sys.version.split()[0]} is too old", "Install Python 3.11 or newer")
    return sys.version.split()[0]


def _git() -> str:
    try:
        said = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unfit("git cannot be run", "Install git and have it on PATH") from error
    version = said.split()[2]
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_GIT:
        raise Unfit(f"version {version} is too old", "Install git 2.32 or newer")
    return version


def _home() -> str:
    home = configured_home()
    nearest = next(folder for folder in (home, *home.parents) if folder.exists())
    if not os.access(nearest, os.W_OK):
        raise Unfit(f"{home} cannot be written", "Choose another folder with BUILDEROS_HOME")
    return str(home) if nearest == home else f"{home} (made at the first start)"


def _space() -> str:
    home = configured_home()
    free = shutil.disk_usage(next(folder for folder in (home, *home.parents) if folder.exists())).free
    if free < SPACE:
        raise Unfit(f"{free // 1024**2} MiB are free", "Free at least 1 GiB where the state folder lies")
    return f"{free / 1024**3:.1f} GiB free"


def _owner() -> str:
    return _private(configured_home() / "owner.token", "made at the first start")


def _saved() -> str:
    kept = sorted((config_folder() / "servers").glob("*.json"))
    for path in kept:
        _private(path, "")
    return f"{len(kept)} servers" if kept else "none"


def _private(path: Path, absent: str) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return absent
    except OSError as error:
        raise Unfit(f"{path}: {error.strerror}", "Run this as the user who runs the server") from error
    if mode & 0o077:
        raise Unfit(f"{path} can be read by others (mode {mode:o})", f"chmod 600 {path}")
    return "readable by its owner alone"


def _server(caller: Caller) -> str:
    address = caller.remote
    if address is None:
        running = local.find(configured_home())
        if running is None:
            return "not running; it is started when a command needs it"
        address = running.url
    try:
        Client(address).call("GET", "/readyz")
    except ValueError as error:
        raise Unfit(str(error), "Mend BUILDEROS_URL") from error
    except ClientError as error:
        log = configured_home() / "server.log"
        raise Unfit(
            f"{address}: {error.detail}", error.hint if caller.remote else f"Look at {log}"
        ) from error
    return f"ready at {address}"
