"""Deployments: bring a branch into an environment, look after what is there, take it back."""

import click

from builderos.client.http import Json

from .caller import Caller
from .commands import Noun
from .options import fields, on_branch, on_repo, paged
from .output import facts
from .run_follow import follow_run

ENVIRONMENTS = ["preview", "dev", "stage", "prod"]
STATUSES = ["queued", "building", "live", "failed", "superseded", "rolled_back"]
COLUMNS = (("id", "DEPLOYMENT"), ("env", "ENV"), ("status", "STATUS"), ("url", "URL"), ("branch", "BRANCH"),
           ("number", "NO"), ("created_at", "CREATED"))  # fmt: skip
FACTS = ("env", "status", "reason", "detail", "url", "repo_name", "branch", "commit_sha", "number", "run_id",
         "replaces", "created_at", "live_at", "ended_at")  # fmt: skip
STARTS = frozenset({"-f", "--follow", "-b", "--branch", "-r", "--repo", "--wait"})
_PIECE = 262_144


class _Deployments(Noun):
    """`deploy ENV` means `deploy start ENV`, and `deploy` alone a preview."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `start` in front of an environment, or of options of starting."""
        if args and (args[0] in ENVIRONMENTS or args[0].partition("=")[0] in STARTS):
            args = ["start", *args]
        return super().parse_args(ctx, args)


@click.group("deploy", cls=_Deployments)
def command() -> None:
    """Deploy a branch (`builderos deploy preview`), and look after what is deployed."""


@command.command()
@click.argument("env", type=click.Choice(ENVIRONMENTS), default="preview")
@click.option("-f", "--follow", "following", is_flag=True, help="Show what happens until it is live.")
@click.option("--wait", is_flag=True, help="Follow, also while it waits for an approval.")
@on_branch
@click.pass_obj
def start(
    caller: Caller, env: str, following: bool, wait: bool, repo: str | None, branch: str | None
) -> int:  # fmt: skip
    """Deploy a branch that has a deploy.yaml, and verify that it answers.

    Followed, the exit code says how it ended: 0 live, 1 failed, 3 denied, 4 it waits for somebody.
    """
    client, place = caller.place(repo, branch)
    reply = client.call("POST", "/v1/deployments", place | {"env": env}, once=True)
    if not (following or wait):
        return caller.tell(reply, "run_id", "env")
    caller.say(str(reply.get("message", "")))
    return follow_run(caller, client, str(reply["run_id"]), wait=wait)


@command.command("list")
@click.option("--env", type=click.Choice(ENVIRONMENTS), help="Only this environment.")
@click.option("--status", type=click.Choice(STATUSES), help="Only these.")
@click.option("--run", "run_id", metavar="RUN", help="Only those of a run.")
@on_branch
@paged
@click.pass_obj
def list_(
    caller: Caller, env: str | None, status: str | None, run_id: str | None, repo: str | None, branch: str | None,
    limit: int, cursor: str | None,
) -> int:  # fmt: skip
    """List deployments, newest first."""
    client, place = caller.place(repo, branch)
    query = place | fields(env=env, status=status, run_id=run_id, limit=limit, cursor=cursor)
    return caller.listing(client.call("GET", "/v1/deployments", query), COLUMNS, "There are no deployments")


@command.command()
@click.argument("deployment", metavar="DEPLOYMENT")
@on_repo
@click.pass_obj
def show(caller: Caller, deployment: str, repo: str | None) -> int:
    """Show one deployment."""
    reply = caller.client(repo or caller.repo_here()).call("GET", f"/v1/deployments/{deployment}")
    return caller.show(reply, [str(reply["id"]), *facts(reply, FACTS)])


@command.command()
@click.argument("deployment", metavar="DEPLOYMENT")
@on_repo
@click.pass_obj
def health(caller: Caller, deployment: str, repo: str | None) -> int:
    """Tell how a deployment was when it was looked at last; ends with 1 where it was not well."""
    reply = caller.client(repo or caller.repo_here()).call("GET", f"/v1/deployments/{deployment}/health")
    names = ("status", "well", "http_status", "latency_ms", "detail", "checked_at")
    code = caller.show(reply, [str(reply["id"]), *facts(reply, names)])
    return code or int(reply["well"] is False)


@command.command()
@click.argument("deployment", metavar="DEPLOYMENT")
@on_repo
@click.pass_obj
def logs(caller: Caller, deployment: str, repo: str | None) -> int:
    """Print what a deployment printed, its build included."""
    client = caller.client(repo or caller.repo_here())
    pieces: list[str] = []
    offset, more = 0, True
    while more:
        query = {"offset": offset, "limit": _PIECE}
        reply: Json = client.call("GET", f"/v1/deployments/{deployment}/logs", query)
        pieces.append(str(reply["text"]))
        more = offset < int(reply["next_offset"]) < int(reply["size"])
        offset = int(reply["next_offset"])
    text = "".join(pieces)
    return caller.show({"id": deployment, "text": text, "size": offset}, text.rstrip("\n"))


@command.command()
@click.argument("deployment", metavar="DEPLOYMENT")
@click.option("--reason", default="", help="Why; kept with the deployment.")
@on_repo
@click.pass_obj
def rollback(caller: Caller, deployment: str, reason: str, repo: str | None) -> int:
    """Have the deployment before this one live again."""
    client = caller.client(repo or caller.repo_here())
    body = fields(reason=reason or None)
    reply = client.call("POST", f"/v1/deployments/{deployment}/rollback", body, once=True)
    return caller.show(reply, [f"{reply['id']} is live again", *facts(reply, ("env", "url", "commit_sha"))])


@command.command()
@click.argument("deployment", metavar="DEPLOYMENT")
@click.option("--reason", default="", help="Why; kept with the deployment.")
@on_repo
@click.pass_obj
def stop(caller: Caller, deployment: str, reason: str, repo: str | None) -> int:
    """Take a live deployment away, and put nothing in its place."""
    client = caller.client(repo or caller.repo_here())
    body = fields(reason=reason or None)
    reply = client.call("POST", f"/v1/deployments/{deployment}/stop", body, once=True)
    return caller.show(reply, [f"{reply['id']} is stopped"])
