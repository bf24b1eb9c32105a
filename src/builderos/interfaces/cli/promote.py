"""From a branch to main: `promote` proposes, `pull` looks, reviews and merges."""

from typing import Any
from urllib.parse import quote

import click

from builderos.client.http import Json

from .caller import Caller
from .commands import Noun, Verb
from .options import fields, on_branch, paged
from .output import facts

COLUMNS = (("id", "PULL"), ("state", "STATE"), ("branch", "FROM"), ("target", "TO"), ("title", "TITLE"))
FACTS = ("id", "state", "repo_name", "branch", "target", "mode", "version", "head_sha", "diff_stat", "approval_id",
         "merge_sha", "tag", "created_by", "created_at", "merged_at")  # fmt: skip


@click.command(cls=Verb)
@click.option("-t", "--title", required=True, help="What main gets from it.")
@click.option("--target", default="main", show_default=True, help="Branch to promote to.")
@click.option(
    "--release", "version", metavar="VERSION", help="Tag this version with notes instead of merging alone."
)
@on_branch
@click.pass_obj
def promote(
    caller: Caller, title: str, target: str, version: str | None, repo: str | None, branch: str | None
) -> int:
    """Propose your branch for main: opens a pull request with its checks and asks for an approval.

    Exit code 4 while it waits for the approval, 1 when a check failed.
    """
    client, body = caller.place(repo, branch)
    body |= {"title": title, "target": target, "mode": "release" if version else "pr"} | fields(
        version=version
    )
    reply = client.call("POST", "/git/promote", body, once=True)
    if caller.json:
        return caller.show(reply) or _failed(reply)
    code = caller.tell(reply, "promotion_id", "pr_url", "state", "approval_id", "merge_sha")
    caller.say("\n".join(_checks(reply)))
    return code or _failed(reply)


def _failed(reply: Json) -> int:
    """1 when a check says that this cannot be merged."""
    return 0 if all(check["ok"] for check in reply.get("checks", [])) else 1


def _checks(reply: Json) -> list[str]:
    checks: list[dict[str, Any]] = reply.get("checks", [])
    return [
        f"  {'ok    ' if check['ok'] else 'FAILED'} {check['name']}  {check['detail']}".rstrip()
        for check in checks
    ]


@click.group("pull", cls=Noun)
def pull() -> None:
    """List, show, review and merge proposals."""


@pull.command("list")
@on_branch
@click.option("--state", type=click.Choice(["open", "merged", "closed"]), help="Only these.")
@paged
@click.pass_obj
def list_(
    caller: Caller, repo: str | None, branch: str | None, state: str | None, limit: int, cursor: str | None
) -> int:
    """List proposals, newest first."""
    query = fields(repo_name=repo, branch=branch, state=state, limit=limit, cursor=cursor)
    reply = caller.client(repo).call("GET", "/v1/pulls", query)
    return caller.listing(reply, COLUMNS, "There are no proposals")


@pull.command()
@click.argument("id", metavar="PULL")
@click.option("--no-diff", is_flag=True, help="Leave the diff out.")
@click.pass_obj
def show(caller: Caller, id: str, no_diff: bool) -> int:
    """Show one proposal with its checks and its diff."""
    reply = caller.client().call("GET", f"/v1/pulls/{quote(id, safe='')}")
    return caller.show(reply, _lines(reply) + ([] if no_diff else ["", str(reply.get("diff", ""))]))


def _lines(reply: Json) -> list[str]:
    return [str(reply.get("title", "")), *facts(reply, FACTS), *_checks(reply)]


@pull.command()
@click.argument("id", metavar="PULL")
@click.argument("verdict", type=click.Choice(["approve", "deny", "comment"]))
@click.option("-m", "--comment", default="", help="What you want to say.")
@click.pass_obj
def review(caller: Caller, id: str, verdict: str, comment: str) -> int:
    """Approve or deny a proposal, or comment on it."""
    body = {"verdict": verdict, "comment": comment}
    reply = caller.client().call("POST", f"/v1/pulls/{quote(id, safe='')}/reviews", body, once=True)
    return caller.show(reply, _lines(reply))


@pull.command()
@click.argument("id", metavar="PULL")
@click.pass_obj
def merge(caller: Caller, id: str) -> int:
    """Merge a proposal whose checks are green and which is approved where it must be."""
    reply = caller.client().call("POST", f"/v1/pulls/{quote(id, safe='')}/merge", {}, once=True)
    return caller.show(reply, _lines(reply))
