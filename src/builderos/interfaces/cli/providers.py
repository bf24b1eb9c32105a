"""Where commands of runs are executed: providers, approved runtimes, and what was executed."""

import click

from builderos.client.http import Json

from .caller import Caller
from .commands import Verb
from .options import fields, paged
from .output import table

PROVIDERS = (("name", "PROVIDER"), ("enabled", "ENABLED"), ("tier", "TIER"), ("allowed", "WILL DO"),
             ("limits", "ENFORCED"), ("runtimes", "RUNTIMES"))  # fmt: skip
RUNTIMES = (("name", "RUNTIME"), ("provider", "PROVIDER"), ("languages", "LANGUAGES"), ("image", "IMAGE"))
PROFILES = (("name", "PROFILE"), ("cpu", "CORES"), ("memory", "BYTES"), ("gpu", "GPUS"), ("max_seconds", "SECONDS"),
            ("price", "PRICE"))  # fmt: skip
EXECUTIONS = (("started_at", "STARTED"), ("run_id", "RUN"), ("step_id", "STEP"), ("attempt", "ATTEMPT"),
              ("provider", "PROVIDER"), ("tier", "TIER"), ("status", "STATUS"), ("reason", "REASON"),
              ("cpu_s", "CPU S"), ("wall_s", "S"), ("memory_peak", "BYTES"))  # fmt: skip
_REPO = click.option("-r", "--repo", "repo_name", help="What holds for this repository.")


@click.command(cls=Verb)
@_REPO
@click.pass_obj
def providers(caller: Caller, repo_name: str | None) -> int:
    """Show who runs commands, how firmly each holds them, and what it does not hold back."""
    reply = caller.client().call("GET", "/v1/providers", fields(repo_name=repo_name))
    lines = [table(reply["items"], PROVIDERS)]
    for item in reply["items"]:
        lines += _remarks(item)
    return caller.show(reply, lines)


def _remarks(provider: Json) -> list[str]:
    if not provider["enabled"]:
        return []
    lines = [f"{provider['name']} lacks: {text}" for text in provider["missing"]]
    return lines + [f"{provider['name']} does not hold back: {gap['what']}" for gap in provider["gaps"]]


@click.command(cls=Verb)
@_REPO
@click.pass_obj
def runtimes(caller: Caller, repo_name: str | None) -> int:
    """List the runtimes and profiles that commands of runs may have."""
    reply = caller.client().call("GET", "/v1/runtimes", fields(repo_name=repo_name))
    return caller.show(reply, [table(reply["items"], RUNTIMES), "", table(reply["profiles"], PROFILES)])


@click.command(cls=Verb)
@click.option("--run", "run_id", help="Only of this run.")
@click.option("--provider", help="Only there.")
@click.option(
    "--status", type=click.Choice(["queued", "running", "success", "failed", "timeout"]), help="Only these."
)
@paged
@click.pass_obj
def executions(caller: Caller, run_id: str | None, provider: str | None, status: str | None, limit: int,
               cursor: str | None) -> int:  # fmt: skip
    """List commands that were executed: where, how they ended, what they used."""
    query = fields(run_id=run_id, provider=provider, status=status, limit=limit, cursor=cursor)
    reply = caller.client().call("GET", "/v1/sandbox-runs", query)
    return caller.listing(reply, EXECUTIONS, "Nothing was executed that fits")
