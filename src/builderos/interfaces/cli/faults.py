"""How errors end a command: words on stderr, a code that scripts can branch on."""

import json
from typing import Any, Final

import click

from builderos.client.errors import ClientError

from .caller import Caller
from .output import plain, word

FAILED, USAGE, DENIED, WAITING, REMOTE, INTERRUPTED = 1, 2, 3, 4, 5, 130
_BAD_INPUT: Final = frozenset({400, 413, 415, 422})
_REFUSED: Final = frozenset({401, 402, 403})
_SHOWN: Final = ("conflicts", "allowed", "limit", "used", "resets_at", "policy_rule", "retry_after_s")


def exit_code(error: ClientError) -> int:
    """The exit code of a problem; see `builderos help exit-codes`."""
    if error.code == "approval_required":
        return WAITING
    if error.status in _REFUSED:
        return DENIED
    if error.status in _BAD_INPUT:
        return USAGE
    return REMOTE if error.status >= 500 else FAILED


def report(caller: Caller, error: ClientError) -> int:
    """Say what went wrong and what to do next; returns the exit code."""
    if caller.json:
        click.echo(json.dumps(error.problem, ensure_ascii=False, indent=2))
    click.echo(plain("\n".join(_lines(caller, error))), err=True)
    return exit_code(error)


def _lines(caller: Caller, error: ClientError) -> list[str]:
    problem: dict[str, Any] = error.problem
    lines = [f"Error: {error.detail}"]
    lines += [f"  {item.get('field')}: {item.get('problem')}" for item in problem.get("fields", [])]
    lines += [
        f"  {name.replace('_', ' ')}: {word(problem[name])}"
        for name in _SHOWN
        if problem.get(name) is not None
    ]
    lines += [f"  | {line}" for line in problem.get("log", [])]
    if problem.get("approval_id"):
        lines.append(f"  Approve it: builderos approve {problem['approval_id']}")
    if error.hint:
        lines.append(f"Hint: {error.hint}")
    if caller.verbose:
        lines.append(f"({error.code}, status {error.status}, request {problem.get('request_id') or '-'})")
    return lines
