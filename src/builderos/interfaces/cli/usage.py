"""What was used, budgets, and the owner's look at the whole server."""

import sys
from pathlib import Path
from urllib.parse import quote

import click

from builderos.client import local
from builderos.core.home import configured_home

from .caller import Caller
from .commands import Noun, Verb
from .options import fields, paged
from .output import facts, table
from .server import become

NUMBERS = (("requests", "REQUESTS"), ("writes", "WRITES"), ("refused", "REFUSED"), ("failed", "FAILED"),
           ("commits", "COMMITS"), ("merges", "MERGES"), ("sandboxes", "WORKSPACES"),
           ("commands", "COMMANDS"), ("cpu_ms", "CPU MS"))  # fmt: skip
BUDGETS = (("repo_name", "PROJECT"), ("meter", "METER"), ("period", "PERIOD"), ("used", "USED"), ("amount", "BUDGET"),
           ("percent", "PER CENT"), ("level", "STANDS"), ("resets_at", "RESETS"))  # fmt: skip
ORGS = (("slug", "ORGANISATION"), ("members", "MEMBERS"), ("repositories", "REPOSITORIES"), ("sandboxes", "WORKSPACES"),
        ("requests", "REQUESTS"), ("failed", "FAILED"), ("refused", "REFUSED"), ("alerts", "ALERTS"))  # fmt: skip
TOOLS = (("tool", "TOOL"), ("calls", "CALLS"), ("failed", "FAILED"), ("mean_ms", "MS"))
ERRORS = (("code", "ERROR"), ("calls", "CALLS"))
METER = click.Choice(
    ["requests", "writes", "commits", "sandboxes", "cpu_seconds", "memory_hours", "gpu_hours", "tokens"]
)
PERIOD = click.Choice(["day", "month"])


@click.command(cls=Verb)
@click.option(
    "--by", type=click.Choice(["day", "actor"]), default="day", show_default=True, help="One row per."
)
@click.option("--from", "first", metavar="DAY", help="First day, e.g. 2026-11-01; 30 days ago by default.")
@click.option("--to", "last", metavar="DAY", help="Last day; today by default.")
@click.option("--actor", help="Only this actor, by id.")
@paged
@click.pass_obj
def usage(caller: Caller, by: str, first: str | None, last: str | None, actor: str | None, limit: int,
          cursor: str | None) -> int:  # fmt: skip
    """Show what your organisation used, per day or per actor."""
    query = fields(by=by, to=last, actor=actor, limit=limit, cursor=cursor) | (
        {"from": first} if first else {}
    )
    reply = caller.client().call("GET", "/v1/usage", query)
    return caller.listing(reply, ((by, by.upper()), *NUMBERS), "Nothing was used in this time")


@click.group("budget", cls=Noun)
def budget() -> None:
    """Look at budgets, set and remove them."""


PROJECT = click.option("--project", metavar="REPOSITORY", help="The project that it is for.")


@budget.command("list")
@click.option("--project", metavar="REPOSITORY", help="Only those of this project.")
@click.pass_obj
def list_(caller: Caller, project: str | None) -> int:
    """List the budgets of your organisation and its projects, and where they stand."""
    reply = caller.client().call("GET", "/v1/budgets", fields(repo_name=project))
    return caller.listing(reply, BUDGETS, "There are no budgets")


@budget.command("set")
@click.argument("meter", type=METER)
@click.argument("period", type=PERIOD)
@click.argument("amount", type=click.FloatRange(0, min_open=True))
@PROJECT
@click.pass_obj
def set_(caller: Caller, meter: str, period: str, amount: float, project: str | None) -> int:
    """Set a budget: told at 80 %, refused and stopped at 100 %. Hours of memory are those of a GiB that is held."""
    return _put(caller, meter, period, project, amount)


@budget.command()
@click.argument("meter", type=METER)
@click.argument("period", type=PERIOD)
@PROJECT
@click.pass_obj
def remove(caller: Caller, meter: str, period: str, project: str | None) -> int:
    """Remove a budget."""
    return _put(caller, meter, period, project, None)


@click.group("admin", cls=Noun)
def admin() -> None:
    """Look after the whole server."""


@admin.command()
@click.option(
    "--days", type=click.IntRange(1, 400), default=7, show_default=True, help="Days of use to sum up."
)
@click.pass_obj
def overview(caller: Caller, days: int) -> int:
    """Show all organisations in numbers: members, workspaces, tools, errors, use. For the owner of the server."""
    reply = caller.client().call("GET", "/v1/admin/overview", {"days": days})
    shown = [table(reply["orgs"], ORGS), "", table(reply["tools"], TOOLS), "", table(reply["errors"], ERRORS)]
    return caller.show(reply, shown)


@admin.command()
@click.option(
    "--database", metavar="URL", required=True, help="An administrator's URL of an empty PostgreSQL database."
)
@click.option(
    "--artifacts", metavar="URL", required=True, help="s3://bucket/prefix?region=…, or file:///folder."
)
@click.pass_obj
def move(caller: Caller, database: str, artifacts: str) -> None:
    """Move the stopped server of this machine to an external PostgreSQL and a store that many machines reach.

    Everything is copied and verified there; the old one stays as it is. @FILE reads a URL from a file.
    """
    if caller.url:
        raise click.UsageError("this is about the server of this machine; leave --url out")
    urls = [
        Path(url[1:]).read_text("utf-8").strip() if url.startswith("@") else url
        for url in (database, artifacts)
    ]
    words = [sys.executable, "-P", "-m", "builderos.moving"]
    become(words, local.environment(configured_home(), MOVE_DATABASE=urls[0], MOVE_ARTIFACTS=urls[1]))


@admin.command()
@click.argument("id", metavar="CREDENTIAL")
@click.pass_obj
def lift(caller: Caller, id: str) -> int:
    """Let a token work again that was suspended for abuse; its id stands in the alert."""
    reply = caller.client().call("POST", f"/v1/credentials/{quote(id, safe='')}/lift", {})
    return caller.show(reply, [str(reply["message"]), *facts(reply, ("id", "kind"))])


def _put(caller: Caller, meter: str, period: str, project: str | None, amount: float | None) -> int:
    body = {"meter": meter, "period": period, "amount": amount} | fields(repo_name=project)
    reply = caller.client().call("PUT", "/v1/budgets", body, once=True)
    return caller.listing(reply, BUDGETS, "There are no budgets")
