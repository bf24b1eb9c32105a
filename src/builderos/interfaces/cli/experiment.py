"""Experiments: make one, search its runs, lay them side by side."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from builderos.client.artifacts import put
from builderos.client.http import Json

from .caller import Caller
from .commands import Noun
from .options import fields, on_branch, paged
from .output import facts, table

COLUMNS = (("id", "EXPERIMENT"), ("name", "NAME"), ("state", "STATE"), ("created_at", "AT"))
RUNS = (("id", "RUN"), ("name", "NAME"), ("status", "STATUS"), ("metrics", "METRICS"), ("params", "PARAMS"))
TRIALS = (("id", "RUN"), ("name", "NAME"), ("status", "STATUS"), ("value", "VALUE"), ("params", "PARAMS"))
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


def submitted(function: Any) -> Any:
    """What every submission has to name, and may."""
    for option in reversed((
        click.argument("experiment"),
        click.option("--data", "dataset_ref", required=True, metavar="NAME@VERSION", help="Dataset it reads."),
        click.option("--runtime", required=True, help="An approved runtime."),
        click.option("--command", "script", required=True, help='What is run, e.g. "python train.py".'),
        click.option("--code", "code_sha", metavar="SHA", help="Commit; where the branch stands without."),
        click.option("-p", "--param", "given", multiple=True, metavar="NAME=VALUE", help="A parameter."),
        click.option("--name", help="What people call it."),
        click.option("--profile", help="How much it may use; the first that is approved without."),
        click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="Longer it does not run."),
        on_branch,
    )):  # fmt: skip
        function = option(function)
    return function


@command.command()
@submitted
@click.pass_obj
def submit(caller: Caller, experiment: str, repo: str | None, branch: str | None, **words: Any) -> int:
    """Have a command of a branch run in its sandbox, as a run of an experiment."""
    client, body = _submission(caller, repo, branch, words)
    reply = client.call("POST", f"/v1/experiments/{quote(experiment, safe='')}/runs", body, once=True)
    return caller.show(reply, f"{reply['id']} is {reply['status']}, as {reply['run_id']}")


@command.command()
@submitted
@click.option("--space", required=True, metavar="JSON", help='E.g. {"lr": [0.1, 0.3], "depth": {"min": 1, "max": 9, '
              '"whole": true}}.')  # fmt: skip
@click.option("--goal", "metric", required=True, metavar="METRIC", help="What is to be best.")
@click.option("--least", is_flag=True, help="The least value is the best one.")
@click.option("--method", type=click.Choice(["grid", "random"]), default="grid", show_default=True)
@click.option("--trials", type=int, metavar="N", help="How many, by chance.")
@click.option("--seed", type=int, default=0, help="The same seed draws the same.")
@click.option("--parallel", type=int, default=2, show_default=True, help="At once, at most.")
@click.option(
    "--stop", type=click.Choice(["median", "halving"]), help="Give up what falls behind, by this rule."
)
@click.pass_obj
def sweep(
    caller: Caller, experiment: str, repo: str | None, branch: str | None, space: str, metric: str, least: bool,
    stop: str | None, method: str, trials: int | None, seed: int, parallel: int, **words: Any,
) -> int:  # fmt: skip
    """Search parameters: the same command with many of them, a run each."""
    client, body = _submission(caller, repo, branch, words)
    body |= {
        "space": _json(space, "--space"), "goal": {"metric": metric, "mode": "min" if least else "max"},
        **fields(method=method, trials=trials, seed=seed, parallel=parallel, stop={"rule": stop} if stop else None),
    }  # fmt: skip
    reply = client.call("POST", f"/v1/experiments/{quote(experiment, safe='')}/sweeps", body, once=True)
    return caller.show(
        reply, f"{reply['id']} is {reply['status']}; see builderos experiment trials {reply['id']}"
    )


@command.command()
@click.argument("run")
@click.pass_obj
def trials(caller: Caller, run: str) -> int:
    """Show how a search stands, the best trial first."""
    reply = caller.client().call("GET", f"/v1/experiment-runs/{quote(run, safe='')}/sweep")
    rows = [
        {**one, "params": " ".join(f"{k}={v}" for k, v in one["params"].items())} for one in reply["trials"]
    ]
    counts = ", ".join(f"{count} {status}" for status, count in reply["counts"].items())
    goal = f"{reply['goal']['mode']} {reply['goal']['metric']}"
    return caller.show(reply, [f"{reply['run']['name']}: {goal}; {counts}", "", table(rows, TRIALS)])


@command.command()
@click.argument("run")
@click.option("--reason", default="", help="Why.")
@click.pass_obj
def cancel(caller: Caller, run: str, reason: str) -> int:
    """Cancel a run that was submitted, or a search, or one of its trials."""
    path = f"/v1/experiment-runs/{quote(run, safe='')}/cancel"
    reply = caller.client().call("POST", path, {"reason": reason}, once=True)
    return caller.show(reply, f"{reply['id']} is given up")


@command.command("export")
@click.argument("experiment")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--runs", default="", metavar="IDS", help="Only these, separated by commas.")
@click.pass_obj
def export_(caller: Caller, experiment: str, file: Path, runs: str) -> int:
    """Write an experiment with all its runs into one file."""
    path = f"/v1/experiments/{quote(experiment, safe='')}/export"
    with file.open("wb") as out:
        size = caller.client().save("GET", path, fields(runs=runs or None), out)
    return caller.show({"file": str(file), "size": size}, f"{file}: {size} bytes")


@command.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="Another name than it had.")
@click.option("--project", "project_id", metavar="PROJECT", help="Project that it is to lie in, by id.")
@click.pass_obj
def import_(caller: Caller, file: Path, name: str | None, project_id: str | None) -> int:
    """Make an experiment of a file that an export wrote."""
    client = caller.client()
    kept = put(client, file, f"imports/{file.name}", "experiment")
    body = fields(artifact_id=kept["id"], name=name, project_id=project_id)
    reply = client.call("POST", "/v1/experiments/import", body, once=True)
    made = reply["experiment"]
    return caller.show(
        reply, f"{made['id']}: {made['name']}, {len(reply['runs'])} runs, {reply['files']} files"
    )


def _submission(caller: Caller, repo: str | None, branch: str | None, words: Json) -> tuple[Any, Json]:
    client, place = caller.place(repo, branch)
    given = dict(_pair(one) for one in words.pop("given"))
    code, command_ = words.pop("code_sha") or branch, words.pop("script")
    if code is None:
        raise click.UsageError("name the branch with --branch, or the commit with --code")
    return client, {**place, **fields(**words), "code_sha": code, "command": command_, "params": given}


def _pair(text: str) -> tuple[str, Any]:
    """A parameter: a number, true, false and null as what they are, anything else as text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"{text}: write NAME=VALUE")
    try:
        found = json.loads(value)
    except ValueError:
        return name, value
    return name, found if not isinstance(found, dict | list) else value


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{what} is no JSON: {error}") from error


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
