"""The policy file of an organisation: what is in force, what would be decided, and a proposal to change it."""

from pathlib import Path

import click

from builderos.client.http import Json

from .caller import Caller
from .commands import Noun
from .options import fields
from .output import facts, table

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
ANSWER = ("verdict", "code", "rules", "decided_by", "hint", "in_scope", "deciding")
CHANGES = (("agent", "AGENT"), ("action", "ACTION"), ("tool", "TOOL"), ("branch", "BRANCH"), ("paths", "PATHS"),
           ("before", "BEFORE"), ("after", "AFTER"))  # fmt: skip
CASES = (("passed", "PASSED"), ("action", "ACTION"), ("verdict", "VERDICT"), ("rules", "RULES"))
_FILE = click.option(
    "-f", "--file", "file", type=FILE, help="Ask about this file instead of the one in force."
)


@click.group("policy", cls=Noun)
def command() -> None:
    """Show, propose, explain and test the rules of your organisation."""


@command.command()
@click.pass_obj
def show(caller: Caller) -> int:
    """Show the policy file in force."""
    reply = caller.client().call("GET", "/v1/policies")
    if not reply["version"]:
        return caller.show(reply, "There is no policy file; the shipped rules decide alone.")
    about = facts(reply, ("version", "digest", "author", "approval_id", "activated_by", "activated_at"))
    return caller.show(reply, [*about, "", str(reply["content"])])


@command.command()
@click.argument("file", type=FILE)
@click.option("-m", "--reason", required=True, help="Why it changes; the approver reads it.")
@click.option("--dry-run", is_flag=True, help="Only check the file and show the change.")
@click.pass_obj
def propose(caller: Caller, file: Path, reason: str, dry_run: bool) -> int:
    """Propose a policy file; it comes into force when an owner or admin approves it."""
    body = {"content": _text(file), "reason": reason, "dry_run": dry_run}
    reply = caller.client().call("PUT", "/v1/policies", body, once=True)
    notes = [f"{file}:{note['line']}: {note['path']}: {note['note']}" for note in reply["notes"]]
    return caller.show(reply, [str(reply["message"]), *notes, "", str(reply["diff"])])


@command.command()
@click.argument("action")
@click.option("--agent", help="Name of who acts.")
@click.option("--role", help="Kind of credential, e.g. sandbox, api_key, owner.")
@click.option("--scope", "scopes", multiple=True, help="A scope of the credential; repeat for more.")
@click.option("--tool", help="Through which tool, e.g. commit_and_log.")
@click.option("--project", help="Repository, by name.")
@click.option("--branch", help="Branch, by name.")
@click.option("--environment", help="Named environment.")
@click.option("--path", "paths", multiple=True, help="A path that is changed; repeat for more.")
@click.option("--host", help="Host that is reached, with network.reach.")
@click.option("--secret", help="Secret that is handed out, by name, with secret.use.")
@_FILE
@click.pass_obj
def explain(caller: Caller, action: str, paths: tuple[str, ...], scopes: tuple[str, ...], file: Path | None,
            **asked: str | None) -> int:  # fmt: skip
    """Say what would be decided about one act, by which rule, and why."""
    body = {"action": action, **fields(paths=list(paths), scopes=list(scopes), content=_text(file), **asked)}
    reply = caller.client().call("POST", "/v1/policies/explain", body)
    return caller.show(reply, facts(reply, ANSWER))


@command.command()
@click.argument("cases", type=FILE)
@_FILE
@click.pass_obj
def test(caller: Caller, cases: Path, file: Path | None) -> int:
    """Run cases (YAML: a list of questions with `expect` and `rule`); ends with 1 when one fails."""
    reply = _simulated(caller, cases, file)
    code = caller.show(reply, table(reply["answers"], CASES))
    unasked = [number for number, found in enumerate(reply["answers"], 1) if found["passed"] is None]
    if unasked:
        raise click.UsageError(f"case {unasked[0]} expects nothing: add expect or rule")
    caller.say(f"{len(reply['answers']) - reply['failed']} of {len(reply['answers'])} cases hold")
    return 1 if reply["failed"] else code


@command.command()
@click.argument("actions", type=FILE)
@_FILE
@click.pass_obj
def simulate(caller: Caller, actions: Path, file: Path | None) -> int:
    """Decide about a list of acts (YAML or JSON); nothing happens."""
    reply = _simulated(caller, actions, file)
    return caller.show(reply, table(reply["answers"], CASES[1:]))


@command.command()
@click.argument("file", type=FILE)
@click.option(
    "--days", type=click.IntRange(1, 90), default=7, show_default=True, help="How far back to look."
)
@click.pass_obj
def diff(caller: Caller, file: Path, days: int) -> int:
    """Show which decisions a new policy file would change."""
    reply = caller.client().call("POST", "/v1/policies/diff", {"content": _text(file), "days": days})
    said = [f"{reply['changed_lines']} of {reply['lines']} recorded acts would be decided differently."]
    said += [table(reply["recorded"], CHANGES)] if reply["recorded"] else []
    said += [f"{reply['changed_cells']} of {reply['cells']} possible acts would be decided differently."]
    said += [table(reply["possible"], CHANGES)] if reply["possible"] else []
    if not reply["complete"]:
        said.append("Not everything was looked at: there is too much of it.")
    return caller.show(reply, said)


def _simulated(caller: Caller, file: Path, policy: Path | None) -> Json:
    body = {"cases": _text(file), **fields(content=_text(policy))}
    return caller.client().call("POST", "/v1/policies/simulate", body)


def _text(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read {file}: {error}") from error
