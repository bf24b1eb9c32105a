"""Runs of pipelines: start, look, steer, answer."""

import json
from collections.abc import Iterator
from typing import Any

import click

from builderos.client.following import follow
from builderos.client.http import Json

from .caller import Caller
from .commands import Noun, Verb
from .faults import INTERRUPTED
from .options import fields, on_branch, on_repo, paged
from .output import facts, plain, table
from .run_follow import closing, code_of, follow_run, path_of, went_wrong

COLUMNS = (("id", "RUN"), ("status", "STATUS"), ("pipeline_id", "PIPELINE"), ("branch", "BRANCH"),
           ("created_at", "STARTED"), ("ended_at", "ENDED"))  # fmt: skip
STEPS = (("name", "STEP"), ("status", "STATUS"), ("reason", "REASON"), ("lane", "LANE"), ("attempt", "ATTEMPT"),
         ("start", "START"), ("end", "END"), ("id", "ID"))  # fmt: skip
DECISIONS = (("kind", "KIND"), ("name", "STEP"), ("by", "BY"), ("said", "SAID"), ("why", "WHY"))
FACTS = ("status", "detail", "repo_name", "branch", "started_at", "ended_at")
STATUSES = ["queued", "running", "waiting_approval", "waiting_input", "paused", "succeeded", "failed", "denied",
            "cancelled", "timed_out"]  # fmt: skip
_STARTS = frozenset(
    {"-f", "--follow", "-p", "--param", "-b", "--branch", "-r", "--repo", "--wait", "--priority"}
)


class _Runs(Noun):
    """`run NAME` means `run start NAME`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `start` in front of what is no verb."""
        if (
            args
            and args[0] not in self.commands
            and (not args[0].startswith("-") or args[0].partition("=")[0] in _STARTS)
        ):
            args = ["start", *args]
        return super().parse_args(ctx, args)


@click.group("run", cls=_Runs)
def command() -> None:
    """Start a pipeline (`builderos run PIPELINE`), and look after its runs."""


@command.command()
@click.argument("pipeline")
@click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE",
              help="A parameter; NAME:=JSON for numbers, lists, true and false. Repeat for more.")  # fmt: skip
@click.option("--priority", type=click.IntRange(1, 9), help="1 runs first, 9 last.")
@click.option(
    "-f",
    "--follow",
    "following",
    is_flag=True,
    help="Show what happens until it ends; Ctrl-C leaves it running.",
)
@click.option("--wait", is_flag=True, help="Follow, also while it waits for somebody.")
@on_branch
@click.pass_obj
def start(
    caller: Caller, pipeline: str, params: tuple[str, ...], priority: int | None, following: bool, wait: bool,
    repo: str | None, branch: str | None,
) -> int:  # fmt: skip
    """Start a pipeline on a branch.

    Followed, the exit code says how it ended: 0 succeeded, 1 failed, 3 denied, 4 it waits for somebody.
    """
    client, place = caller.place(repo, branch)
    body = place | fields(pipeline=pipeline, priority=priority) | {"params": dict(map(_param, params))}
    reply = client.call("POST", "/v1/runs", body, once=True)
    if not (following or wait):
        return caller.tell(reply, "run_id", "status")
    caller.say(str(reply.get("message", "")))
    return follow_run(caller, client, str(reply["run_id"]), wait=wait)


def _param(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or not name.rstrip(":"):
        raise click.UsageError(f"--param wants NAME=VALUE or NAME:=JSON, not {text!r}")
    if not name.endswith(":"):
        return name, value
    try:
        return name[:-1], json.loads(value)
    except ValueError as error:
        raise click.UsageError(
            f"--param {name}=: {value!r} is no JSON; texts are given as NAME=VALUE"
        ) from error


@command.command("list")
@click.option("--pipeline", help="Only runs of this pipeline.")
@click.option("--status", type=click.Choice(STATUSES), help="Only these.")
@on_branch
@paged
@click.pass_obj
def list_(
    caller: Caller, pipeline: str | None, status: str | None, repo: str | None, branch: str | None, limit: int,
    cursor: str | None,
) -> int:  # fmt: skip
    """List runs, newest first."""
    client, place = caller.place(repo, branch)
    query = place | fields(pipeline=pipeline, status=status, limit=limit, cursor=cursor)
    return caller.listing(client.call("GET", "/v1/runs", query), COLUMNS, "There are no runs")


@command.command()
@click.argument("run_id", metavar="RUN")
@click.option("--diff", is_flag=True, help="Print what it changed, too.")
@on_repo
@click.pass_obj
def show(caller: Caller, run_id: str, diff: bool, repo: str | None) -> int:
    """Show a run: its steps, what it waits for, what it changed and made."""
    client = caller.client(repo or caller.repo_here())
    view = client.call("GET", path_of(run_id, "/view"), {"limit": 200})
    return caller.show(view, _page(view, diff=diff))


@command.command()
@click.argument("run_id", metavar="RUN")
@on_repo
@click.pass_obj
def context(caller: Caller, run_id: str, repo: str | None) -> int:
    """Show what the steps of a run share: decisions, open questions, artifacts."""
    reply = caller.client(repo or caller.repo_here()).call("GET", path_of(run_id, "/context"))
    decided: list[Json] = reply["decisions"]
    lines = [table(decided, DECISIONS) if decided else "Nothing was decided yet"]
    made = [f"artifact: {item['id']}  {item['path']}" for item in reply["artifacts"]["items"]]
    return caller.show(reply, [*lines, *_gates(reply["open_questions"]), *made])


def _gates(gates: list[Json]) -> Iterator[str]:
    """What a run waits for, or has waited for."""
    for gate in gates:
        asked: Json = gate["question"] or {}
        what = (
            f"approval {gate['approval_id']}"
            if gate["kind"] == "approval"
            else f"asks: {asked.get('message')}"
        )
        yield f"{gate['state']}: {gate['name'] or ''} {what}"


def _page(view: Json, *, diff: bool) -> list[str]:
    run: Json = view["run"]
    timeline: Json = view["timeline"]
    lines = [f"{run['id']}  {run['pipeline_id']}", *facts(run, FACTS), "", table(timeline["items"], STEPS)]
    if timeline.get("next_cursor"):
        lines.append(f"… {timeline['total']} steps in all")
    lines += went_wrong(view.get("failed") or [])
    lines += _gates(view.get("gates") or [])
    changed: Json | None = view.get("diff")
    if changed:
        lines += ["", f"Changed files: {changed['files_total']}"]
        lines += [f"  {f['status']:<8} {f['path']}  +{f['added']} -{f['deleted']}" for f in changed["files"]]
        lines += ["", changed["text"]] if diff else []
    artifacts: Json = view.get("artifacts") or {}
    made: list[Json] = artifacts.get("items") or []
    listed = [f"  {item['id']}  {item['path']}  {item['size']} bytes" for item in made]
    return [*lines, "", "Artifacts:", *listed] if listed else lines


@command.command("follow")
@click.argument("run_id", metavar="RUN")
@click.option("--wait", is_flag=True, help="Also while it waits for somebody.")
@on_repo
@click.pass_obj
def follow_(caller: Caller, run_id: str, wait: bool, repo: str | None) -> int:
    """Show what happens in a run until it ends; the exit code says how."""
    return follow_run(caller, caller.client(repo or caller.repo_here()), run_id, wait=wait)


@command.command()
@click.argument("run_id", metavar="RUN")
@click.option("--after", type=click.IntRange(0), help="Behind this number.")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the run has ended.")
@on_repo
@paged
@click.pass_obj
def events(
    caller: Caller,
    run_id: str,
    after: int | None,
    following: bool,
    repo: str | None,
    limit: int,
    cursor: str | None,
) -> int:
    """List what happened in a run; followed, one event per line as it comes."""
    client = caller.client(repo or caller.repo_here())
    path = path_of(run_id, "/events")
    if not following:
        reply = client.call("GET", path, fields(stream=False, limit=limit, cursor=cursor))
        return caller.listing(
            reply, (("seq", "SEQ"), ("at", "AT"), ("type", "TYPE"), ("payload", "WHAT")), "Nothing yet"
        )
    try:
        last = str(after) if after is not None else None
        for said in follow(client, path, over=lambda said: said.type == "run.ended", last=last):
            text = (
                json.dumps(said.data, ensure_ascii=False)
                if caller.json
                else f"{said.id}  {said.type}  {said.data.get('payload')}"
            )
            click.echo(plain(text))
    except KeyboardInterrupt:
        click.echo("\nYou left; the run goes on", err=True)
        return INTERRUPTED
    return 0


def _steer(verb: str, text: str) -> click.Command:
    @click.argument("run_id", metavar="RUN")
    @click.option("--reason", help="Why; kept with the run.")
    @on_repo
    @click.pass_obj
    def steered(caller: Caller, run_id: str, reason: str | None, repo: str | None) -> int:
        client = caller.client(repo or caller.repo_here())
        reply = client.call("POST", path_of(run_id, f"/{verb}"), fields(reason=reason), once=True)
        return caller.show(reply, closing(reply))

    steered.__doc__ = text
    return command.command(verb)(steered)


cancel = _steer("cancel", "End a run: what runs is stopped with all its processes.")
pause = _steer("pause", "Begin nothing new in a run; what runs comes to its end.")
resume = _steer("resume", "Go on with a paused run, or ask again what nobody answered in time.")


@command.command()
@click.argument("run_id", metavar="RUN")
@click.option("--from", "from_step", metavar="STEP", help="First step to run again; all of them by default.")
@click.option("-f", "--follow", "following", is_flag=True, help="Show what happens until it ends.")
@click.option("--wait", is_flag=True, help="Follow, also while it waits for somebody.")
@on_repo
@click.pass_obj
def rerun(
    caller: Caller, run_id: str, from_step: str | None, following: bool, wait: bool, repo: str | None
) -> int:
    """Run again, from a step on: what came before is taken over as it is."""
    client = caller.client(repo or caller.repo_here())
    reply = client.call("POST", path_of(run_id, "/rerun"), fields(from_step=from_step), once=True)
    if not (following or wait):
        return caller.tell(reply, "run_id", "status")
    return follow_run(caller, client, str(reply["run_id"]), wait=wait)


def _answered(caller: Caller, run_id: str, text: str, step: str | None, repo: str | None) -> int:
    client = caller.client(repo or caller.repo_here())
    body = fields(answer=text, step=step)
    reply = client.call("POST", path_of(run_id, "/answer"), body, once=True)
    return caller.show(reply, closing(reply) if "steps" in reply else [str(reply.get("message", "Answered"))])


def _answering(function: Any) -> Any:
    for option in (
        click.pass_obj, on_repo,
        click.option("--step", metavar="NAME", help="Step that asks, where several do."),
        click.argument("text"), click.argument("run_id", metavar="RUN"),
    ):  # fmt: skip
        function = option(function)
    return function


@command.command("answer")
@_answering
def answer_run(caller: Caller, run_id: str, text: str, step: str | None, repo: str | None) -> int:
    """Answer what a run asks; it goes on at once."""
    return _answered(caller, run_id, text, step, repo)


@click.command("answer", cls=Verb)
@_answering
def answer(caller: Caller, run_id: str, text: str, step: str | None, repo: str | None) -> int:
    """Answer what a run asks; it goes on at once."""
    return _answered(caller, run_id, text, step, repo)


@command.command()
@click.argument("run_id", metavar="RUN")
@on_repo
@click.pass_obj
def status(caller: Caller, run_id: str, repo: str | None) -> int:
    """Say in a few words how a run stands; the exit code says it, too."""
    reply = caller.client(repo or caller.repo_here()).call("GET", path_of(run_id))
    caller.show(reply, closing(reply))
    standing = str(reply.get("status"))
    return 0 if standing in ("queued", "running", "paused") else code_of(standing)
