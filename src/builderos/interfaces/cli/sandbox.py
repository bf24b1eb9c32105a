"""Workspaces: open them, come back to them, look after them."""

import sys
from pathlib import Path
from urllib.parse import quote

import click

from builderos.client.http import Client, Json

from .caller import Caller, read_token
from .commands import Noun, Verb
from .options import fields, on_branch, on_repo, paged

COLUMNS = (
    ("branch", "BRANCH"),
    ("state", "STATE"),
    ("expires_at", "EXPIRES"),
    ("id", "ID"),
)
_NAME = click.argument("name", required=False, metavar="[BRANCH|ID]")


@click.group("sandbox", cls=Noun)
def command() -> None:
    """Open, list, share, renew and archive workspaces."""


@command.command()
@on_repo
@click.option("--save", is_flag=True, help="Keep the token on this machine for later commands.")
@click.pass_obj
def create(caller: Caller, repo: str | None, save: bool) -> int:
    """Open a new workspace: a branch of your own and the token that opens it.

    The token is shown once and nobody can look it up again.
    """
    name = repo or caller.repo_here()
    client = caller.client()
    reply = client.call(
        "POST", "/sandbox/init", {"mode": "branch", "repo_name": name, "force_new": True}, once=True
    )
    return _opened(caller, reply, str(reply["reuse_token"]), save)


@click.command(cls=Verb)
@click.argument("token_argument", required=False, metavar="[TOKEN]")
@click.option("--token-file", type=click.Path(dir_okay=False), help="File that holds the token.")
@click.option("--save", is_flag=True, help="Keep the token on this machine for later commands.")
@click.pass_obj
def resume(caller: Caller, token_argument: str | None, token_file: str | None, save: bool) -> int:
    """Come back to a workspace with its token.

    Better than on the command line, where others can see it, the token comes from a file, from BUILDEROS_TOKEN, or from
    stdin: `builderos resume - < token.txt`. A token that is no longer valid opens nothing (exit code 3).
    """
    token = _token_to_resume(caller, token_argument, token_file)
    client = caller.bearer(token)
    client.call(
        "POST", "/actions/list", {}
    )  # 401 here; `init` would open a new workspace for a token that is not valid
    reply = client.call("POST", "/sandbox/init", {"mode": "branch"}, once=True)
    return _opened(caller, reply, token, save)


def _token_to_resume(caller: Caller, argument: str | None, file: str | None) -> str:
    if argument is not None and file is not None:
        raise click.UsageError("say the token once: as a word or with --token-file")
    if file is not None:
        return read_token(f"@{file}")
    if argument is not None:
        return read_token(argument)
    if caller.given_token is not None:
        return caller.given_token
    repo = caller.repo_here()
    saved = caller.places.token(repo) if repo is not None else None
    if saved is None:
        if sys.stdin.isatty():
            return click.prompt("Token", hide_input=True, err=True)
        return read_token("-")
    return saved


def _opened(caller: Caller, reply: Json, token: str, save: bool) -> int:
    if save:
        caller.places.save_token(str(reply["repo_name"]), str(reply["branch"]), token)
        caller.say(f"The token is saved for {reply['repo_name']} in {caller.places.file}")
    return caller.tell(reply, "branch", "repo_name", "reuse_token", "expires_at", "restore_from")


@command.command()
@click.argument("project_name")
@on_branch
@click.option("--description", default="", help="What it is for.")
@click.option("--goal", "goals", multiple=True, help="What it should reach; repeat for more.")
@click.option("--template", help="Template to start from.")
@click.pass_obj
def scaffold(
    caller: Caller, project_name: str, repo: str | None, branch: str | None, description: str, goals: tuple[str, ...],
    template: str | None,
) -> int:  # fmt: skip
    """Lay out a project in your workspace: tasks, memory, changelog, goals. Files you edited are kept."""
    client, body = caller.place(repo, branch or _own_branch(caller, repo))
    body |= {
        "mode": "project",
        "project_name": project_name,
        "project_description": description or project_name,
    }
    reply = client.call(
        "POST", "/sandbox/init", body | fields(goals=list(goals), template=template), once=True
    )
    return caller.tell(reply, "created", "kept", "commit_sha")


def _own_branch(caller: Caller, repo: str | None) -> str | None:
    name = repo or caller.repo_here()
    return caller.places.branch(name) if name is not None and caller.given_token is None else None


@command.command("list")
@on_repo
@click.option(
    "--state", type=click.Choice(["active", "idle", "expired", "archived", "deleted"]), help="Only these."
)
@paged
@click.pass_obj
def list_(caller: Caller, repo: str | None, state: str | None, limit: int, cursor: str | None) -> int:
    """List workspaces, newest first."""
    query = fields(repo_name=repo, state=state, limit=limit, cursor=cursor)
    reply = caller.client().call("GET", "/v1/sandboxes", query)
    return caller.listing(reply, COLUMNS, "There is no workspace yet: builderos sandbox create")


@command.command()
@_NAME
@on_repo
@click.pass_obj
def show(caller: Caller, name: str | None, repo: str | None) -> int:
    """Show one workspace; without a name your own."""
    client, id_ = find(caller, name, repo)
    reply = client.call("GET", f"/v1/sandboxes/{id_}")
    return caller.show(reply, [f"{key.replace('_', ' '):<14} {value}" for key, value in reply.items()])


@command.command()
@_NAME
@on_repo
@click.pass_obj
def archive(caller: Caller, name: str | None, repo: str | None) -> int:
    """Put a workspace away; it can be renewed for 30 days."""
    client, id_ = find(caller, name, repo)
    return caller.tell(client.call("POST", f"/v1/sandboxes/{id_}/archive", {}, once=True), "branch", "state")


@command.command()
@_NAME
@on_repo
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(caller: Caller, name: str | None, repo: str | None, yes: bool) -> int:
    """Delete a workspace's branch; a backup is kept."""
    client, id_ = find(caller, name, repo)
    if not yes:
        click.confirm(f"Delete the workspace {name or id_}?", abort=True, err=True)
    return caller.tell(
        client.call("DELETE", f"/v1/sandboxes/{id_}", once=True), "branch", "state", "backup_id"
    )


@command.command()
@_NAME
@on_repo
@click.option("--until", metavar="TIME", help="When the link ends, e.g. 2027-01-31T12:00:00Z.")
@click.pass_obj
def share(caller: Caller, name: str | None, repo: str | None, until: str | None) -> int:
    """Make a link with which somebody can read this workspace and nothing else."""
    client, id_ = find(caller, name, repo)
    reply = client.call("POST", f"/v1/sandboxes/{id_}/share", fields(expires_at=until), once=True)
    return caller.tell(reply, "share_id", "link", "share_token")


@command.command()
@click.argument("share_id")
@on_repo
@click.pass_obj
def unshare(caller: Caller, share_id: str, repo: str | None) -> int:
    """Take a read-only link back."""
    where = repo or (None if caller.given_token else caller.repo_here())
    return caller.tell(caller.client(where).call("DELETE", f"/v1/shares/{quote(share_id, safe='')}"))


@command.command()
@_NAME
@on_repo
@click.option(
    "--resolve", "settled", multiple=True, metavar="PATH=FILE", help="Settle a conflict with this local file."
)
@click.option(
    "--drop", "dropped", multiple=True, metavar="PATH", help="Settle a conflict by deleting the file."
)
@click.pass_obj
def update(
    caller: Caller, name: str | None, repo: str | None, settled: tuple[str, ...], dropped: tuple[str, ...]
) -> int:
    """Bring what main has got since into a workspace, with a new commit."""
    resolutions = [_resolution(text) for text in settled] + [
        {"path": path, "content": None} for path in dropped
    ]
    client, id_ = find(caller, name, repo)
    reply = client.call("POST", f"/v1/sandboxes/{id_}/update", {"resolutions": resolutions}, once=True)
    return caller.tell(reply, "commit_sha")


def _resolution(text: str) -> Json:
    path, _, file = text.partition("=")
    try:
        return {"path": path, "content": Path(file or path).read_text("utf-8")}
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read {file or path}: {error}") from error


@command.command()
@click.argument("share_token", default="-")
@click.pass_obj
def shared(caller: Caller, share_token: str) -> int:
    """Look at a workspace through its read-only link's token; - reads it from stdin."""
    reply = caller.bearer(None).call("GET", f"/v1/shared/{quote(read_token(share_token), safe='')}")
    return caller.show(reply, [str(reply["message"]), *(f"  {path}" for path in reply["files"])])


@command.group()
def token() -> None:
    """Rotate, revoke or renew the token of a workspace."""


def _token_verb(action: str, text: str) -> click.Command:
    @click.pass_obj
    def verb(caller: Caller, name: str | None, repo: str | None) -> int:
        client, id_ = find(caller, name, repo)
        reply = client.call("POST", f"/v1/sandboxes/{id_}/token", {"action": action}, once=True)
        _keep_saved_token(caller, reply, action)
        return caller.tell(reply, "branch", "state", "reuse_token", "expires_at")

    verb.__doc__ = text
    return token.command(action)(_NAME(on_repo(verb)))


rotate = _token_verb("rotate", "Replace the token; the old one stops working.")
revoke = _token_verb("revoke", "Make the token useless.")
renew = _token_verb("renew", "Give an expired or archived workspace its time back (owner).")


def _keep_saved_token(caller: Caller, reply: Json, action: str) -> None:
    """A token that was saved on this machine follows its workspace."""
    branch = str(reply["branch"])
    for repo in caller.places.repos_of(branch):
        if action == "revoke":
            caller.places.forget_token(repo)
        elif reply.get("reuse_token"):
            caller.places.save_token(repo, branch, str(reply["reuse_token"]))


def find(caller: Caller, name: str | None, repo: str | None) -> tuple[Client, str]:
    """A client, and the id or branch of the workspace that is called `name`; without a name the caller's own.

    Raises `UsageError` when there is no own one.
    """
    where = repo or (None if caller.given_token else caller.repo_here())
    client = caller.client(where)
    wanted = name or (caller.places.branch(where) if where is not None else None)
    if wanted is None and caller.given_token is not None:
        wanted = client.call("POST", "/actions/list", {})["branch"]
    if wanted is None:
        raise click.UsageError("which workspace? Name its branch or id; see: builderos sandbox list")
    return client, quote(wanted, safe="")
