"""Experiments: make one, search its runs, lay them side by side."""

from typing import Any
from urllib.parse import quote

import click

from .caller import Caller
from .commands import Noun
from .options import fields, paged
from .output import facts, table

COLUMNS = (("id", "EXPERIMENT"), ("name", "NAME"), ("state", "STATE"), ("created_at", "AT"))
RUNS = (("id", "RUN"), ("name", "NAME"), ("status", "STATUS"), ("metrics", "METRICS"), ("params", "PARAMS"))
FACTS = ("id", "name", "experiment_id", "status", "external", "dataset_ref", "code_sha", "runtime",
         "created_by", "created_at")  # fmt: skip
_SHOWN = 5


@click.group("experiment", cls=Noun)
def command() -> None:
    """Search what was tried, and compare what came of it."""


@command.command()
@click.argument("name")
@click.option("--project", "project_id", metavar="PROJECT", help="Project that it lies in, by id.")
@click.pass_obj
def create(caller: Caller, name: str, project_id: str | None) -> int:
    """Make an experiment."""
    reply = caller.client().call(
        "POST", "/v1/experiments", fields(name=name, project_id=project_id), once=True
    )
    return caller.show(reply, f"{reply['id']}: {reply['name']}")


@command.command("list")
@click.option("-q", "q", metavar="TEXT", help="Only with this in the name.")
@paged
@click.pass_obj
def list_(caller: Caller, q: str | None, limit: int, cursor: str | None) -> int:
    """List experiments, newest first."""
    reply = caller.client().call("GET", "/v1/experiments", fields(q=q, limit=limit, cursor=cursor))
    return caller.listing(reply, COLUMNS, "There are no experiments.")


@command.command()
@click.argument("experiment")
@click.option(
    "--filter", "filter_", metavar="SEARCH", help="E.g. \"metrics.acc > 0.9 AND params.model = 'net'\"."
)
@click.option("--order", "order_by", metavar="KEYS", help='E.g. "metrics.acc DESC"; newest first without.')
@paged
@click.pass_obj
def runs(
    caller: Caller, experiment: str, filter_: str | None, order_by: str | None, limit: int, cursor: str | None
) -> int:
    """Search the runs of an experiment."""
    query = fields(filter=filter_, order_by=order_by, limit=limit, cursor=cursor)
    reply = caller.client().call("GET", f"/v1/experiments/{quote(experiment, safe='')}/runs", query)
    shown = {**reply, "items": [{**one, **_brief(one)} for one in reply["items"]]}
    return caller.show(reply, table(shown["items"], RUNS) if shown["items"] else "There are no such runs.")


@command.command()
@click.argument("run")
@click.pass_obj
def show(caller: Caller, run: str) -> int:
    """Show one run with all that was logged to it."""
    reply = caller.client().call("GET", f"/v1/experiment-runs/{quote(run, safe='')}")
    logged = [
        {"kind": kind, "key": key, "value": value}
        for kind in ("metrics", "params", "tags")
        for key, value in reply[kind].items()
    ]
    rows = table(logged, (("kind", "KIND"), ("key", "KEY"), ("value", "VALUE")))
    return caller.show(reply, [*facts(reply, FACTS), "", rows])


@command.command()
@click.argument("experiment")
@click.argument("runs", nargs=-1, required=True)
@click.option("--all", "every", is_flag=True, help="Parameters, too, that are the same in all runs.")
@click.pass_obj
def compare(caller: Caller, experiment: str, runs: tuple[str, ...], every: bool) -> int:
    """Lay runs side by side: parameters that differ, and metrics."""
    path = f"/v1/experiments/{quote(experiment, safe='')}/compare"
    reply = caller.client().call("GET", path, {"runs": ",".join(runs)})
    rows: list[dict[str, Any]] = [
        {"kind": "param", "key": one["key"], **_columns(one["values"])}
        for one in reply["params"]
        if every or one["differs"]
    ]
    rows += [{"kind": "metric", "key": one["key"], **_columns(one["values"])} for one in reply["metrics"]]
    heads = [(str(at), str(run["name"])) for at, run in enumerate(reply["runs"])]
    return caller.show(reply, table(rows, (("kind", "KIND"), ("key", "KEY"), *heads)))


def _columns(values: list[Any]) -> dict[str, Any]:
    return {str(at): value for at, value in enumerate(values)}


def _brief(run: dict[str, Any]) -> dict[str, str]:
    """The first few metrics and parameters."""
    found: dict[str, str] = {}
    for kind in ("metrics", "params"):
        items = list(run[kind].items())
        more = " …" if len(items) > _SHOWN else ""
        found[kind] = " ".join(f"{key}={value}" for key, value in items[:_SHOWN]) + more
    return found
