"""`help`, `version`, `completion`: what needs no server."""

from typing import Final

import click

from builderos.core.problems import STATUS

from .caller import Caller
from .catalogue import page
from .commands import Verb

EXIT_CODES: Final = """\
Exit codes

  0  done
  1  understood, and the answer is no: a check failed, something is missing (404),
     it changed meanwhile or the state forbids it (409, 410), too many requests (429)
  2  wrong usage: an unknown option, or input that the server does not accept
     (400, 413, 415, 422)
  3  denied: no valid credential, or it may not do this (401, 402, 403)
  4  waiting for an approval: somebody has to say `builderos approve ID`
  5  fault elsewhere: no server could be reached or started, or it failed (5xx)

With --json a problem is printed as its JSON document on stdout, and in words on
stderr; the exit code is the same.
"""
ENVIRONMENT: Final = """\
Environment

  BUILDEROS_TOKEN   token to act with: of a workspace, or an API key
  BUILDEROS_URL     server to use; without it the local one, which is started
                    when none answers
  BUILDEROS_HOME    state folder of the local server
  PORT              port of the local server (0 picks a free one)
  NO_COLOR          is honoured: nothing is coloured

Who acts, in this order: --as owner; --token or BUILDEROS_TOKEN; the token that
was saved for the repository of the current folder; whoever signed in with
`builderos login`; the owner of the local server. Saved tokens lie below
~/.config/builderos, readable by you alone.

A token on the command line is visible to other users of the machine. Better:
--token @FILE, --token - (stdin), or BUILDEROS_TOKEN.
"""


def problem_codes() -> str:
    """Every code of a problem with its status."""
    return "Codes of problems\n\n" + "".join(f"  {code:<22} {status}\n" for code, status in STATUS.items())


TOPICS: Final = {
    "exit-codes": lambda: EXIT_CODES,
    "environment": lambda: ENVIRONMENT,
    "problems": problem_codes,
}


@click.command("help", cls=Verb)
@click.argument("words", nargs=-1, metavar="[COMMAND]... | TOPIC")
@click.pass_context
def help_(context: click.Context, words: tuple[str, ...]) -> None:
    """Explain a command, or a topic: exit-codes, environment, problems."""
    if not words:
        click.echo(page(), nl=False)
        return
    if len(words) == 1 and words[0] in TOPICS:
        click.echo(TOPICS[words[0]](), nl=False)
        return
    here = context.find_root()
    for word in words:
        group = here.command
        command = group.get_command(here, word) if isinstance(group, click.Group) else None
        if command is None:
            raise click.UsageError(
                f"there is no command or topic {' '.join(words)}; topics: {', '.join(TOPICS)}"
            )
        here = click.Context(command, info_name=word, parent=here)
    click.echo(here.command.get_help(here))


@click.command(cls=Verb)
@click.pass_obj
def version(caller: Caller) -> int:
    """Print the version of this program."""
    from importlib.metadata import version as installed

    return caller.show({"version": installed("builderos")}, installed("builderos"))


@click.command(cls=Verb)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    bash: builderos completion bash > ~/.local/share/bash-completion/completions/builderos
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(click.get_current_context().find_root().command, {}, "builderos", "_BUILDEROS_COMPLETE")
    click.echo(script.source_template % script.source_vars())
