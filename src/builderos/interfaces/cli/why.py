"""Where things come from: `why`, `provenance`."""

import json
import re
from typing import Any

import click

from .caller import Caller
from .commands import Verb
from .options import fields, on_branch

_PLACE = re.compile(r"(?P<path>.+):(?P<line>[0-9]{1,8})")


@click.command(cls=Verb)
@click.argument("place", metavar="PATH:LINE")
@on_branch
@click.pass_obj
def why(caller: Caller, place: str, repo: str | None, branch: str | None) -> int:
    """Tell why a line is there: its commit, who made it with which tool, and who approved it."""
    found = _PLACE.fullmatch(place)
    if found is None:
        raise click.UsageError("name a line as PATH:LINE, e.g. src/a.py:12")
    client, body = caller.place(repo, branch)
    reply = client.call("GET", "/v1/why", fields(**body, path=found["path"], line=int(found["line"])))
    told = [f"{reply['path']}:{reply['line']}  {reply['text'].strip()}", ""]
    return caller.show(reply, [*told, *(f"- {sentence}" for sentence in reply["story"])])


@click.command(cls=Verb)
@click.argument("id_", metavar="ID")
@click.option("-r", "--repo", metavar="NAME", help="Act with the token saved for this repository.")
@click.option("--attest", is_flag=True, help="Print the commit's signed in-toto statement (DSSE) instead.")
@click.option("--trace", is_flag=True,
              help="Print who wrote which lines of the commit (Agent Trace) instead.")  # fmt: skip
@click.pass_obj
def provenance(caller: Caller, id_: str, repo: str | None, attest: bool, trace: bool) -> int:
    """Show where a commit, a promotion or an approval comes from."""
    client, _ = caller.place(repo, None)
    if trace:
        record = client.call("GET", f"/v1/provenance/{id_}/trace")
        return caller.show(record, json.dumps(record))
    if attest:
        envelope = client.call("GET", f"/v1/provenance/{id_}/attestation")
        return caller.show(envelope, json.dumps(envelope))
    reply = client.call("GET", f"/v1/provenance/{id_}")
    edges: list[dict[str, Any]] = reply["edges"]
    width = max((len(edge["subject"]) for edge in edges), default=0)
    lines = [f"{e['subject']:<{width}}  {e['relation'].replace('_', ' '):<12}  {e['object']}" for e in edges]
    return caller.show(reply, lines or ["Nothing more is known"])
