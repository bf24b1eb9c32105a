"""What is left of a run: execute it again from its records, show its receipt, verify one offline."""

import json
import sys
from typing import Final

import click

from builderos.client.following import Said, follow
from builderos.client.http import Json

from . import verify_receipt as offline
from .caller import Caller
from .commands import Verb
from .faults import FAILED
from .options import fields, on_repo
from .output import table
from .run_follow import path_of

COLUMNS: Final = (("name", "STEP"), ("verdict", "VERDICT"), ("why", "WHY"))


@click.command(cls=Verb)
@click.argument("run_id", metavar="RUN")
@click.option("--against", metavar="WHAT",
              help="Change one thing: param.goal=x, env.MODE=b, pipeline@1.1.0, planner@2.0.0.")  # fmt: skip
@click.option("--no-wait", is_flag=True, help="Only start it.")
@on_repo
@click.pass_obj
def replay(caller: Caller, run_id: str, against: str | None, no_wait: bool, repo: str | None) -> int:
    """Execute a run again from its records, without the network and without any effect.

    Exit code 0: it came to the same trees and artifacts; 1: it did not, and the first divergence is shown.
    """
    client = caller.client(repo or caller.repo_here())
    started = client.call("POST", path_of(run_id, "/replay"), fields(against=against), once=True)
    id_ = str(started["run_id"])
    if no_wait:
        return caller.tell(started, "run_id", "of")
    caller.say(str(started["message"]))
    for _ in follow(client, path_of(id_, "/events"), over=_over):
        continue
    found = client.call("GET", path_of(id_, "/replay"))
    caller.show(found, _page(found))
    return 0 if found["reproduced"] else FAILED


def _over(said: Said) -> bool:
    return said.type == "run.ended"


def _page(found: Json) -> list[str]:
    lines = [table(found["steps"], COLUMNS), "", str(found["message"])]
    first = found["first_divergence"]
    if first is not None:
        at = f" in {first['path']}" if first["path"] else f": {', '.join(first['differs'])}"
        lines += ["", f"First divergence: {first['step']}{at}"]
        if first["diff"] is not None:
            lines += first["diff"]["text"].splitlines()
    return lines


@click.command(cls=Verb)
@click.argument("run_id", metavar="RUN")
@click.option("--page", is_flag=True, help="As one page of Markdown instead of the signed JSON.")
@on_repo
@click.pass_obj
def receipt(caller: Caller, run_id: str, page: bool, repo: str | None) -> int:
    """Print the signed receipt of a run that has ended: `builderos receipt RUN > receipt.json`."""
    client = caller.client(repo or caller.repo_here())
    if page:
        client.save("GET", path_of(run_id, "/receipt/page"), None, sys.stdout.buffer)
        return 0
    found = client.call("GET", path_of(run_id, "/receipt"))
    return caller.show(found, json.dumps(found))


@click.command("verify-receipt", cls=Verb)
@click.argument("file", type=click.Path(dir_okay=False, exists=True))
@click.option("--key", metavar="BASE64", help="The server's public key, noted when it was set up.")
@click.option("--artifact", "artifacts", multiple=True, type=click.Path(dir_okay=False, exists=True),
              help="A file that must be among what the run made. Repeat for more.")  # fmt: skip
def verify_receipt(file: str, key: str | None, artifacts: tuple[str, ...]) -> int:
    """Verify a receipt without any server; exit code 1 where it is not what was signed."""
    arguments = [file, *(["--key", key] if key else [])]
    for artifact in artifacts:
        arguments += ["--artifact", artifact]
    return offline.main(arguments)
