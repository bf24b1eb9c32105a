"""What the console offers to copy is true: each command is one of the command line, each call one of the contract."""

import json
import re

import click

from builderos.interfaces.cli.catalogue import ALIASES
from builderos.interfaces.cli.main import root
from tests.tidy import ROOT

WEB = ROOT / "web/src"
_COMMAND = re.compile(r"""(?:cli: |command=\{?|command: )(["'`])(builderos .+?)\1""")
_CALL = re.compile(r"method: '([A-Z]+)',\s*path: (['`])(/.+?)\2")
_TOOL = re.compile(r"mcp: \{ name: '(\w+)'")
_QUESTION = re.compile(r"(?<!/)\$\{\w+\}\Z")
_FILLED = re.compile(r"\$\{(?:[^{}]|\{[^{}]*\})*\}")


def sources(pattern: re.Pattern[str]) -> list[tuple[str, tuple[str, ...]]]:
    """What matches in the sources of the console, with the file that has it."""
    return [
        (path.name, match.groups())
        for path in sorted(WEB.rglob("*.tsx"))
        for match in pattern.finditer(path.read_text("utf-8"))
    ]


def command_of(text: str) -> click.Command | None:
    """The command that a line of a terminal names; None where there is none."""
    words = _FILLED.sub("x", text).split()[1:]
    context = click.Context(root)
    command: click.Command | None = root.get_command(context, ALIASES.get(words[0], words[0]))
    while isinstance(command, click.Group) and len(words) > 1:
        words = words[1:]
        command = command.get_command(context, words[0])
    options = (
        {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
        if command
        else set()
    )
    named = {word.split("=")[0] for word in words if word.startswith("--")}
    return command if command and not isinstance(command, click.Group) and named <= options else None


def test_every_command_that_is_shown_or_copied_is_one_of_the_command_line() -> None:
    shown = sources(_COMMAND)
    assert len(shown) > 50
    assert [(name, groups[1]) for name, groups in shown if command_of(groups[1]) is None] == []


def test_every_call_that_is_copied_is_one_of_the_contract() -> None:
    contract = json.loads((ROOT / "openapi.json").read_text("utf-8"))["paths"]
    known = {
        (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + r"\Z"))
        for path, methods in contract.items()
        for method in methods
    }
    wrong: list[tuple[str, str]] = []
    calls = sources(_CALL)
    assert len(calls) > 30
    for name, (method, _, path) in calls:
        plain = _FILLED.sub("x", _QUESTION.sub("", path)).partition("?")[0]
        if not any(method == each and pattern.match(plain) for each, pattern in known):
            wrong.append((name, f"{method} {path}"))
    assert wrong == []
    tools = {one["operationId"] for methods in contract.values() for one in methods.values()}
    assert [(name, tool) for name, (tool,) in sources(_TOOL) if tool not in tools] == []
