"""`builderos`: hand the words to a command, turn what it raises into words and an exit code."""

import sys

import click

from builderos import VERSION
from builderos.client.errors import ClientError

from .caller import Caller
from .commands import Root
from .faults import FAILED, INTERRUPTED, report


@click.group("builderos", cls=Root, invoke_without_command=True)
@click.version_option(VERSION, prog_name="builderos", message="%(prog)s %(version)s")
@click.pass_context
def root(context: click.Context) -> None:
    """A safe place to build in a real Git repository."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(words: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    caller = Caller()
    try:
        result = root.main(words, prog_name="builderos", standalone_mode=False, obj=caller)
    except ClientError as error:
        return report(caller, error)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        _hush()
        return FAILED
    return result if isinstance(result, int) else 0


def _hush() -> None:
    """Whoever read stdout has gone: nothing more is written, not even at exit."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
