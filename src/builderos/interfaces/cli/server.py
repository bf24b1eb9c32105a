"""The local server: `up`, `self`, and the MCP server on stdin and stdout."""

import os
import signal
import sys
from typing import Any, NoReturn

import click

from builderos.client import local
from builderos.client.errors import ClientError
from builderos.client.http import Client
from builderos.core.home import configured_home

from .caller import Caller
from .commands import Noun, Verb


@click.command(cls=Verb)
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port; 0 picks a free one.  [default: $PORT or 8420]"
)
@click.option("--host", help="Address to bind.  [default: 127.0.0.1]")
@click.option("--detach", is_flag=True, help="Serve in the background and return when it answers.")
@click.pass_obj
def up(caller: Caller, port: int | None, host: str | None, detach: bool) -> int:
    """Serve at a printed address until Ctrl-C.

    The state lies in BUILDEROS_HOME, by default the platform's state folder. One server runs per home: a second start
    says where the first one answers.
    """
    _only_here(caller)
    if port is not None:
        os.environ["PORT"] = str(port)
    if host is not None:
        os.environ["BUILDEROS_HOST"] = host
    home = configured_home()
    if detach:
        return _show(caller, local.ensure(home))
    return _attended(caller) if caller.json else become(local.command(), local.environment(home))


@click.command(cls=Verb)
@click.option("--queues", metavar="NAMES", help="Queues to take from, with commas.  [default: steps]")
@click.option("--slots", type=click.IntRange(1, 1024), help="Commands to have run at once.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port of /healthz and /readyz.  [default: a free one]"
)
@click.pass_obj
def worker(caller: Caller, queues: str | None, slots: int | None, port: int | None) -> NoReturn:
    """Carry out runs that servers on other machines have started, until Ctrl-C.

    It needs the environment of those servers (BUILDEROS_DATABASE_URL, BUILDEROS_ARTIFACT_URL, BUILDEROS_SECRET_KEY),
    and a state folder of its own (BUILDEROS_HOME).
    """
    _only_here(caller)
    os.environ["PORT"] = str(port or 0)
    if queues is not None:
        os.environ["BUILDEROS_QUEUES"] = queues
    if slots is not None:
        os.environ["BUILDEROS_RUN_SLOTS"] = str(slots)
    become([*local.command(), "worker"], local.environment(configured_home()))


def become(words: list[str], environment: dict[str, str]) -> NoReturn:
    """Go on as another program, with this process's number, signals and streams."""
    sys.stdout.flush()
    os.execve(words[0], words, environment)  # noqa: S606 - a list of words, no shell


def _attended(caller: Caller) -> int:
    """Serve in the foreground, with one JSON document on stdout once it answers."""
    import subprocess

    home = configured_home()
    running = local.find(home)
    if running is not None:
        return _show(caller, running)
    server = subprocess.Popen(local.command(), env=local.environment(home), stdout=subprocess.DEVNULL)

    def hand_on(_number: int, _frame: object) -> None:
        server.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hand_on)
    try:
        _show(caller, local.await_ready(home, server, None))
    except BaseException:
        server.terminate()
        raise
    return server.wait()


def _show(caller: Caller, running: local.Running) -> int:
    word = "is serving" if running.started else "is already serving"
    return caller.show(_facts(running), f"BuilderOS {word} at {running.url}")


def _facts(running: local.Running) -> dict[str, Any]:
    return {
        "running": True, "url": running.url, "pid": running.pid, "version": running.version,
        "started_at": running.started_at, "home": str(running.home),
    }  # fmt: skip


def _only_here(caller: Caller) -> None:
    if caller.url:
        raise click.UsageError("this is about the server of this machine; leave --url out")


@click.group("self", cls=Noun)
def self_() -> None:
    """Look at or stop the local server."""


@self_.command()
@click.pass_obj
def status(caller: Caller) -> int:
    """Say whether the local server answers, and where; exit code 1 when it does not."""
    _only_here(caller)
    home = configured_home()
    running = local.find(home)
    if running is None:
        caller.show({"running": False, "home": str(home)}, f"No server answers for {home}")
        return 1
    facts = {**_facts(running), "ready": _ready(running.url)}
    caller.show(facts, [f"{name.replace('_', ' '):<11} {value}" for name, value in facts.items()])
    return 0 if facts["ready"] else 1


def _ready(url: str) -> bool:
    try:
        return Client(url, timeout_s=5).call("GET", "/readyz").get("status") == "ready"
    except ClientError:
        return False


@self_.command()
@click.pass_obj
def stop(caller: Caller) -> int:
    """Let the local server finish what it does, and end it."""
    _only_here(caller)
    stopped = local.stop(configured_home())
    return caller.show({"stopped": stopped}, "Stopped" if stopped else "No server was running")


@click.command(cls=Verb, context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def mcp(caller: Caller, words: tuple[str, ...]) -> None:
    """Serve the tools over MCP on stdin and stdout, for an editor or a desktop chat.

    The tools work in the workspace of BUILDEROS_TOKEN, or of the token that was saved for the current folder; else as
    whoever signed in with `builderos login`.
    """
    environment = dict(os.environ)
    repo = caller.repo_here()
    token = caller.given_token or (caller.places.token(repo) if repo is not None else None)
    if token is not None:
        environment["BUILDEROS_TOKEN"] = token
    elif caller.places.login() is not None:
        environment["BUILDEROS_LOGIN"] = str(caller.places.file)
    if caller.remote:
        environment["BUILDEROS_URL"] = caller.remote
    become([sys.executable, "-P", "-m", "builderos.interfaces.mcp.stdio", *words], environment)
