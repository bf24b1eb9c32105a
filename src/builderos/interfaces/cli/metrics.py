"""Numbers of a repository or branch, and the whole trace behind them."""

import sys
from typing import Any

import click

from .caller import Caller
from .commands import Verb
from .options import fields, on_branch
from .output import facts

_SUMMARY = ("repo_name", "branch", "commits", "files", "rollbacks", "failed_calls", "tasks", "tokens")


@click.command("metrics", cls=Verb)
@on_branch
@click.option("--from", "since", metavar="TIME", help="From this time on.")
@click.option("--to", "until", metavar="TIME", help="Up to this time.")
@click.option(
    "--export", "format_", type=click.Choice(["json", "csv", "zip"]), help="The full trace in this format."
)
@click.option("-o", "--out", type=click.File("wb", lazy=True), help="File for the export.  [default: stdout]")
@click.pass_obj
def command(
    caller: Caller, repo: str | None, branch: str | None, since: str | None, until: str | None, format_: str | None,
    out: Any,
) -> int:  # fmt: skip
    """Count commits, files, rollbacks, failed calls and tasks; or export the trace."""
    client, body = caller.place(repo, branch)
    body |= fields(to=until) | ({"from": since} if since else {})
    if format_ is None:
        reply = client.call("POST", "/system/metrics", body | {"mode": "summary"})
        return caller.show(reply, [str(reply.get("message", "")), *facts(reply, _SUMMARY)])
    if caller.json and format_ != "json" and out is None:
        raise click.UsageError(f"with --json an export as {format_} goes into a file: --out FILE")
    client.save(
        "POST", "/system/metrics", body | {"mode": "export", "format": format_}, out or sys.stdout.buffer
    )
    sys.stdout.flush()
    return 0
