"""The memory of a branch: what each file is, and who knows."""

from typing import Any

import click

from .caller import Caller
from .commands import Noun
from .options import fields, on_branch, paged
from .output import facts

COLUMNS = (("path", "FILE"), ("owner", "OWNER"), ("tags", "TAGS"), ("description", "DESCRIPTION"))


@click.group("memory", cls=Noun)
def command() -> None:
    """Search and keep the memory of a branch, and what is remembered."""


def _filtered(function: Any) -> Any:
    for option in (
        click.option("--type", "file_type", help="Only files of this type, e.g. py."),
        click.option("--owner", help="Only files of this owner."),
        click.option("--tag", help="Only files with this tag."),
    ):
        function = option(function)
    return function


def _query(caller: Caller, repo: str | None, branch: str | None, **query: Any) -> int:
    client, body = caller.place(repo, branch)
    reply = client.call("POST", "/memory/query", body | fields(**query))
    return caller.listing(reply, COLUMNS, "The memory holds nothing that fits")


@command.command()
@click.argument("query")
@_filtered
@on_branch
@paged
@click.pass_obj
def search(
    caller: Caller, query: str, tag: str | None, owner: str | None, file_type: str | None, repo: str | None,
    branch: str | None, limit: int, cursor: str | None,
) -> int:  # fmt: skip
    """Find files by what they are for."""
    paging = {"limit": limit, "cursor": cursor}
    return _query(
        caller, repo, branch, mode="search", query=query, tag=tag, owner=owner, file_type=file_type, **paging
    )


@command.command("list")
@_filtered
@on_branch
@paged
@click.pass_obj
def list_(
    caller: Caller, tag: str | None, owner: str | None, file_type: str | None, repo: str | None, branch: str | None,
    limit: int, cursor: str | None,
) -> int:  # fmt: skip
    """List what the memory knows of every file."""
    return _query(
        caller,
        repo,
        branch,
        mode="list",
        tag=tag,
        owner=owner,
        file_type=file_type,
        limit=limit,
        cursor=cursor,
    )


@command.command()
@on_branch
@click.pass_obj
def stats(caller: Caller, repo: str | None, branch: str | None) -> int:
    """Count what the memory holds."""
    client, body = caller.place(repo, branch)
    reply = client.call("POST", "/memory/query", body | {"mode": "stats"})
    found: dict[str, Any] = reply["stats"]
    return caller.show(reply, [str(reply.get("message", "")), *facts(found, found)])


def _described(function: Any) -> Any:
    for option in (
        click.option("--owner", help="Who looks after it."),
        click.option("--tag", "tags", multiple=True, help="Tag; repeat for more."),
        click.option("-d", "--description", help="What it is for."),
    ):
        function = option(function)
    return function


def _manage(caller: Caller, repo: str | None, branch: str | None, action: str, **entry: Any) -> int:
    client, body = caller.place(repo, branch)
    reply = client.call("POST", "/memory/manage", body | {"action": action} | fields(**entry), once=True)
    caller.show(reply, [str(reply["message"]), *facts(reply, ("changed", "missing", "stale", "gone", "commit_sha")),
                        *map(_fault, reply["faults"])])  # fmt: skip
    return 1 if action == "validate" and any(fault["level"] == "error" for fault in reply["faults"]) else 0


def _fault(fault: dict[str, Any]) -> str:
    return f"  {fault['path']}:{fault['line']}: {fault['level']}: {fault['message']}"


def _entry_verb(action: str, text: str) -> click.Command:
    @click.argument("path")
    @_described
    @on_branch
    @click.pass_obj
    def verb(
        caller: Caller, path: str, description: str | None, tags: tuple[str, ...], owner: str | None, repo: str | None,
        branch: str | None,
    ) -> int:  # fmt: skip
        return _manage(
            caller, repo, branch, action, path=path, description=description, tags=list(tags), owner=owner
        )

    verb.__doc__ = text
    return command.command(action)(verb)


def _path_verb(action: str, text: str) -> click.Command:
    @click.argument("path")
    @on_branch
    @click.pass_obj
    def verb(caller: Caller, path: str, repo: str | None, branch: str | None) -> int:
        which = {"ids": [path]} if path.startswith("mem_") else {"path": path}
        return _manage(caller, repo, branch, action, **which)

    verb.__doc__ = text
    return command.command(action)(verb)


def _plain_verb(action: str, text: str) -> click.Command:
    @on_branch
    @click.pass_obj
    def verb(caller: Caller, repo: str | None, branch: str | None) -> int:
        return _manage(caller, repo, branch, action)

    verb.__doc__ = text
    return command.command(action)(verb)


add = _entry_verb("add", "Say what a file is for.")
change = _entry_verb("update", "Change what the memory says of a file.")
remove = _path_verb("remove", "Forget a file, or what has this id.")
pin = _path_verb("pin", "Keep an entry whatever is tidied.")
unpin = _path_verb("unpin", "Let an entry be tidied again.")
index = _plain_verb("index", "Bring the memory up to what is on the branch.")
diff = _plain_verb("diff", "Say where memory and branch differ.")
validate = _plain_verb("validate", "Check the memory files; exit code 1 when one is wrong.")
