"""Delivery tasks of a branch."""

from typing import Any

import click

from builderos.client.http import Json

from .caller import Caller
from .commands import Noun
from .options import fields, on_branch, paged
from .output import facts

STATES = ["backlog", "ready", "in_progress", "blocked", "done", "failed"]
COLUMNS = (
    ("id", "TASK"),
    ("status", "STATUS"),
    ("assigned_pod", "ASSIGNED"),
    ("phase", "PHASE"),
    ("title", "TITLE"),
)


@click.group("task", cls=Noun)
def command() -> None:
    """Create, start, complete and hand over tasks."""


def _lifecycle(caller: Caller, repo: str | None, branch: str | None, **body: Any) -> int:
    client, place = caller.place(repo, branch)
    reply = client.call("POST", "/tasks/lifecycle", place | fields(**body), once=True)
    return caller.tell(reply, *_TOLD)


_TOLD = ("task.id", "task.status", "task.title", "next_task.id", "commit_sha")


@command.command()
@click.argument("task_id")
@click.option("--title", required=True, help="What is to be done.")
@click.option("--phase", help="Phase of the project it belongs to.")
@click.option("--assign", "assigned_pod", metavar="WHO", help="Agent or person who does it.")
@click.option(
    "--input", "inputs", multiple=True, metavar="PATH", help="File it starts from; repeat for more."
)
@click.option(
    "--output", "outputs", multiple=True, metavar="PATH", help="File it must make; repeat for more."
)
@click.option(
    "--after", "depends_on", multiple=True, metavar="TASK", help="Task that comes first; repeat for more."
)
@click.option("--prompt", help="Prompt it is done with, e.g. parser@1.0.0.")
@click.option("--check", metavar="NAME", help="Check that must pass when it is done.")
@on_branch
@click.pass_obj
def create(
    caller: Caller, task_id: str, title: str, phase: str | None, assigned_pod: str | None, inputs: tuple[str, ...],
    outputs: tuple[str, ...], depends_on: tuple[str, ...], prompt: str | None, check: str | None, repo: str | None,
    branch: str | None,
) -> int:  # fmt: skip
    """Write a new task into project/task.yaml."""
    return _lifecycle(
        caller, repo, branch, action="create", task_id=task_id, title=title, phase=phase, assigned_pod=assigned_pod,
        inputs=list(inputs), outputs=list(outputs), depends_on=list(depends_on), prompt=prompt,
        check=check,
    )  # fmt: skip


def _move(action: str, text: str) -> click.Command:
    @click.argument("task_id")
    @click.option("--reason", help="Why.")
    @on_branch
    @click.pass_obj
    def verb(caller: Caller, task_id: str, reason: str | None, repo: str | None, branch: str | None) -> int:
        return _lifecycle(caller, repo, branch, action=action, task_id=task_id, reason=reason)

    verb.__doc__ = text
    return command.command(action)(verb)


activate = _move("activate", "Move a task from the backlog to ready.")
start = _move("start", "Begin a task.")
block = _move("block", "Say that a task cannot go on.")
fail = _move("fail", "Say that a task's check failed.")
reopen = _move("reopen", "Take a finished or failed task up again.")


@command.command()
@click.argument("task_id")
@click.argument("new_id")
@on_branch
@click.pass_obj
def clone(caller: Caller, task_id: str, new_id: str, repo: str | None, branch: str | None) -> int:
    """Copy a task under a new id."""
    return _lifecycle(caller, repo, branch, action="clone", task_id=task_id, new_task_id=new_id)


@command.command("next")
@click.option("--assign", "assigned_pod", metavar="WHO", help="Only tasks of this agent or person.")
@on_branch
@click.pass_obj
def next_(caller: Caller, assigned_pod: str | None, repo: str | None, branch: str | None) -> int:
    """Say which task can be done next."""
    return _lifecycle(caller, repo, branch, action="next", assigned_pod=assigned_pod)


@command.command()
@click.argument("task_id")
@click.option("--reasoning", required=True, help="How it was done and why this way.")
@click.option(
    "--output", "outputs", multiple=True, metavar="PATH", help="File that was made; repeat for more."
)
@click.option("--note", "handoff_note", help="What the next one must know.")
@on_branch
@click.pass_obj
def complete(
    caller: Caller, task_id: str, reasoning: str, outputs: tuple[str, ...], handoff_note: str | None, repo: str | None,
    branch: str | None,
) -> int:  # fmt: skip
    """Finish a task whose outputs are on the branch."""
    client, body = caller.place(repo, branch)
    body |= {"task_id": task_id, "reasoning": reasoning} | fields(
        outputs=list(outputs), handoff_note=handoff_note
    )
    return caller.tell(client.call("POST", "/tasks/complete", body, once=True), *_TOLD)


@command.command()
@click.argument("task_id")
@click.option("--to", help="Who goes on; without it the notes so far are shown.")
@click.option("--reason", help="Why it is handed over.")
@click.option("--prompt", "next_prompt", help="What the next one is to do.")
@click.option(
    "--file", "reference_files", multiple=True, metavar="PATH", help="File to look at; repeat for more."
)
@on_branch
@click.pass_obj
def handoff(
    caller: Caller, task_id: str, to: str | None, reason: str | None, next_prompt: str | None,
    reference_files: tuple[str, ...], repo: str | None, branch: str | None,
) -> int:  # fmt: skip
    """Hand a task over with a note, or read the notes."""
    client, body = caller.place(repo, branch)
    body |= {"action": "append" if to else "fetch", "task_id": task_id}
    body |= fields(to=to, reason=reason, next_prompt=next_prompt, reference_files=list(reference_files))
    reply = client.call("POST", "/tasks/handoff", body, once=to is not None)
    return caller.show(reply, [str(reply.get("message", "")), *_notes(reply["handoffs"])])


def _notes(notes: list[Json]) -> list[str]:
    """Every note, one block each."""
    return [line for note in notes for line in ("", *facts(note, note))]


@command.command("log")
@click.argument("task_id")
@click.argument("text")
@click.option("--kind", type=click.Choice(["thought", "decision", "issue", "lesson", "question"]), default="thought",
              show_default=True)  # fmt: skip
@click.option("--tag", "tags", multiple=True, help="Tag; repeat for more.")
@on_branch
@click.pass_obj
def log_(
    caller: Caller,
    task_id: str,
    text: str,
    kind: str,
    tags: tuple[str, ...],
    repo: str | None,
    branch: str | None,
) -> int:
    """Write a thought, decision, issue, lesson or question into a task's reasoning."""
    client, body = caller.place(repo, branch)
    body |= {"task_id": task_id, "kind": kind, "text": text} | fields(tags=list(tags))
    return caller.tell(client.call("POST", "/tasks/log_reasoning", body, once=True), "task_id", "commit_sha")


@command.command("list")
@click.option("--status", type=click.Choice(STATES), help="Only these.")
@click.option("--assign", "assigned_pod", metavar="WHO", help="Only tasks of this agent or person.")
@on_branch
@paged
@click.pass_obj
def list_(
    caller: Caller, status: str | None, assigned_pod: str | None, repo: str | None, branch: str | None, limit: int,
    cursor: str | None,
) -> int:  # fmt: skip
    """List the tasks of a branch."""
    client, body = caller.place(repo, branch)
    query = {"mode": "list"} | fields(status=status, assigned_pod=assigned_pod, limit=limit, cursor=cursor)
    return caller.listing(client.call("POST", "/tasks/query", body | query), COLUMNS, "There are no tasks")


@command.command()
@click.argument("task_id")
@on_branch
@click.pass_obj
def show(caller: Caller, task_id: str, repo: str | None, branch: str | None) -> int:
    """Show one task."""
    client, body = caller.place(repo, branch)
    reply = client.call("POST", "/tasks/query", body | {"mode": "get", "task_id": task_id})
    task: Json = reply["items"][0]
    return caller.show(reply, [*facts(task, task), *_notes(reply["notes"])])


@command.command()
@on_branch
@click.pass_obj
def graph(caller: Caller, repo: str | None, branch: str | None) -> int:
    """Show which task waits for which."""
    client, body = caller.place(repo, branch)
    reply = client.call("POST", "/tasks/query", body | {"mode": "graph"})
    edges: list[list[str]] = reply["graph"]["edges"]
    lines = [f"  {one} -> {other}" for one, other in edges]
    return caller.show(reply, [str(reply["message"]), *lines, *facts(reply["graph"], ("ready", "cycles"))])
