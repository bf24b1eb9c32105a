"""Following a run to its end, to where it waits for somebody, or until Ctrl-C, which leaves it running."""

import contextlib
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

import click

from builderos.client.following import Said, follow
from builderos.client.http import Client, Json

from .caller import Caller
from .faults import DENIED, FAILED, INTERRUPTED, WAITING
from .output import plain
from .run_lanes import Screen, Standing, plain_line

_ENDED: Final = "run.ended"
_CODES: Final = {"succeeded": 0, "denied": DENIED, "waiting_approval": WAITING, "waiting_input": WAITING}
_WAITS: Final = frozenset({"waiting_approval", "waiting_input"})


def path_of(run_id: str, rest: str = "") -> str:
    """The address of a run."""
    return f"/v1/runs/{quote(run_id, safe='')}{rest}"


def code_of(status: str) -> int:
    """The exit code that a run's state means."""
    return _CODES.get(status, FAILED)


def follow_run(caller: Caller, client: Client, run_id: str, *, wait: bool, last: str | None = None) -> int:
    """Show what happens, in place on a terminal, else line by line; the exit code is how the run stands then.

    Unless `wait`, it ends where the run waits for somebody and nobody sits at the terminal.
    """
    lively = sys.stdout.isatty() and not caller.json
    leave = frozenset[str]() if wait or lively else _WAITS
    try:
        with _shown(caller, run_id, lively=lively) as show:
            status = _watch(client, run_id, _events(client, run_id, leave, last), show)
    except KeyboardInterrupt:
        click.echo(f"\nYou left; the run goes on. Come back: builderos run follow {run_id}", err=True)
        return INTERRUPTED
    run = client.call("GET", path_of(run_id))
    caller.show(run, closing(run))
    return code_of(str(run.get("status", status)))


def _watch(client: Client, run_id: str, events: Iterator[Said], show: Callable[[str, Json], None]) -> str:
    """Show events as they come; returns how the run stands after the last."""
    status = ""
    for said in events:
        payload: Json = said.data.get("payload", {})
        show(said.type, payload)
        if said.type.startswith("run."):
            status = str(payload.get("status", status))
        if said.type == "run.waiting":
            show("", {"text": "\n".join(_hints(client, run_id))})
    return status


def _events(client: Client, run_id: str, leave: frozenset[str], last: str | None) -> Iterator[Said]:
    def over(said: Said) -> bool:
        status = said.data.get("payload", {}).get("status")
        return said.type == _ENDED or (said.type == "run.waiting" and status in leave)

    return follow(client, path_of(run_id, "/events"), over=over, last=last)


@contextmanager
def _shown(caller: Caller, run_id: str, *, lively: bool) -> Generator[Callable[[str, Json], None]]:
    """How events are shown: an empty type is a text that stays."""
    if lively:
        with Screen(Standing(run_id), colour="NO_COLOR" not in os.environ) as screen:

            def draw(type_: str, payload: Json) -> None:
                if type_:
                    screen.take(type_, payload)
                else:
                    screen.say(str(payload["text"]))

            yield draw
        return

    def write(type_: str, payload: Json) -> None:
        line = plain_line(type_, payload) if type_ else str(payload["text"])
        if line:
            click.echo(plain(line), err=caller.json)

    yield write


def _hints(client: Client, run_id: str) -> list[str]:
    """What somebody can do about what the run waits for. The events still come over the client's own connection."""
    with contextlib.closing(client.beside()) as other:
        view = other.call("GET", path_of(run_id, "/view"), {"limit": 1})
    gates: list[Json] = view.get("gates") or []
    lines: list[str] = []
    for gate in gates:
        if gate["state"] != "waiting":
            continue
        if gate["kind"] == "approval":
            lines.append(f"{gate['name']} waits for an approval: builderos approve {gate['approval_id']}")
        else:
            question: Json = gate["question"] or {}
            lines.append(
                f"{gate['name']} asks: {question.get('text') or question.get('question') or question}"
            )
            lines.append(f"  builderos answer {run_id} TEXT")
    return lines


def closing(run: Json) -> list[str]:
    """The last words about a run: how it ended, and where to read on about what went wrong."""
    lines = [f"{run.get('id')} {str(run.get('status')).replace('_', ' ')}{_why(run)}"]
    lines += went_wrong(run.get("steps", []))
    provenance: Json = run.get("provenance") or {}
    commits: list[str] = provenance.get("commits") or []
    lines += [f"  commit {sha}" for sha in commits[-5:]]
    return lines


def went_wrong(steps: list[Json]) -> Iterator[str]:
    """Why steps failed, and where to read on; of a run's steps, or of the brief ones of its view."""
    for step in steps:
        if step.get("status") in ("failed", "timed_out", "denied"):
            why = step.get("reason") or step.get("status")
            yield f"  {step.get('name')}: {why} {step.get('error') or ''}".rstrip()
            if step.get("attempt"):
                yield f"    builderos logs {step.get('id') or step.get('step_id')}"


def _why(run: Json) -> str:
    words = " ".join(str(run[name]) for name in ("detail",) if run.get(name))
    return f": {words}" if words else ""
