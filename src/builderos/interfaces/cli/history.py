"""History of a branch: `log`, `diff`, `rollback`, `reset`."""

from typing import Any

import click

from .caller import Caller
from .commands import Verb
from .options import fields, on_branch, on_repo, paged
from .sandbox import find


@click.command(cls=Verb)
@on_branch
@click.option("--path", help="Only commits that changed this file or folder.")
@paged
@click.pass_obj
def log(
    caller: Caller, repo: str | None, branch: str | None, path: str | None, limit: int, cursor: str | None
) -> int:
    """Show what was done on a branch, newest first."""
    client, body = caller.place(repo, branch)
    reply = client.call("POST", "/git/log", body | fields(path=path, limit=limit, cursor=cursor))
    items: list[dict[str, Any]] = reply["items"]
    rows = [
        {**item, "sha": item["sha"][:10], "message": item["message"].partition("\n")[0]} for item in items
    ]
    columns = (("sha", "COMMIT"), ("at", "TIME"), ("committed_by", "BY"), ("message", "MESSAGE"))
    return caller.listing(reply, columns, "There are no commits to show", rows)


@click.command(cls=Verb)
@on_branch
@click.option("--from", "old", metavar="REF", help="Old side: a commit or branch.")
@click.option("--to", "new", metavar="REF", help="New side; by default your branch.")
@click.option("--against", metavar="BRANCH", help="Compare with what this branch and yours have in common.")
@click.option("--path", help="Only this file or folder.")
@click.option("--stat", is_flag=True, help="Only the files and how many lines changed.")
@click.pass_obj
def diff(
    caller: Caller, repo: str | None, branch: str | None, old: str | None, new: str | None, against: str | None,
    path: str | None, stat: bool,
) -> int:  # fmt: skip
    """Show what changed: since your branch began, against main, or between two commits."""
    client, body = caller.place(repo, branch)
    query = body | fields(to=new, against=against, path=path) | ({"from": old} if old else {})
    reply = client.call("POST", "/git/diff", query)
    lines = [f"{f['status']:<9} +{f['added']} -{f['deleted']}  {f['path']}" for f in reply["files"]]
    code = caller.show(reply, lines if stat else str(reply["diff"]).rstrip("\n"))
    caller.say(str(reply["message"]))
    if reply["truncated"]:
        caller.say("The diff is cut here; narrow it with --path")
    return code


@click.command(cls=Verb)
@click.argument("commit")
@click.argument("paths", nargs=-1)
@click.option("--reason", required=True, help="Why; it is kept with the undo.")
@on_branch
@click.pass_obj
def rollback(
    caller: Caller, commit: str, paths: tuple[str, ...], reason: str, repo: str | None, branch: str | None
) -> int:
    """Undo COMMIT with a new commit, in all of its files or only in PATHS.

    Nothing is lost: the undo can be undone the same way.
    """
    client, body = caller.place(repo, branch)
    body |= {"commit_sha": commit, "reason": reason} | fields(paths=list(paths))
    reply = client.call("POST", "/git/rollback_commit", body, once=True)
    return caller.tell(reply, "new_sha", "reverted_sha", "reverted_files", "skipped", "diff_stat")


@click.command(cls=Verb)
@click.argument("name", required=False, metavar="[BRANCH|ID]")
@click.option("--to", "target", required=True, help="main, a commit, or a backup's id.")
@click.option("--reason", help="Why.")
@on_repo
@click.pass_obj
def reset(caller: Caller, name: str | None, target: str, reason: str | None, repo: str | None) -> int:
    """Make a workspace equal to main, a commit or a backup again, with a new commit."""
    client, id_ = find(caller, name, repo)
    body = {"to": target} | fields(reason=reason)
    reply = client.call("POST", f"/v1/sandboxes/{id_}/reset", body, once=True)
    return caller.tell(reply, "commit_sha", "diff_stat")
