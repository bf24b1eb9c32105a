"""The kinds of commands: the lazy root, groups of verbs, verbs. All of them take the options that work everywhere."""

import importlib
from typing import Any

import click
from click.shell_completion import CompletionItem

from .caller import Caller
from .catalogue import ALIASES, ENTRIES, page

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _note(name: str) -> Any:
    def callback(context: click.Context, _option: click.Parameter, value: Any) -> None:
        if value:  # given here or nearer to the root, whichever was said
            setattr(context.find_object(Caller) or context.ensure_object(Caller), name, value)

    return callback


def _everywhere() -> list[click.Parameter]:
    def option(*words: str, note: str, **more: Any) -> click.Option:
        return click.Option([*words], expose_value=False, is_eager=True, callback=_note(note), **more)

    return [
        option("--json", "as_json", note="json", is_flag=True, help="Print JSON only."),
        option("--token", note="token", metavar="TOKEN", help="Act with it; @FILE, or - for stdin."),
        option("--as", "as_role", note="role", type=click.Choice(["owner"]), help="Act as the local owner."),
        option("--url", note="url", help="Server to use."),
        option("-v", "--verbose", note="verbose", is_flag=True, help="Show request ids."),
    ]


class Verb(click.Command):
    """A command. Its own options come first in its help, those of every command after them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", CONTEXT)
        super().__init__(*args, **kwargs)
        self.everywhere = _everywhere()
        self.params.extend(self.everywhere)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write both lists of options."""
        options = [option for option in self.get_params(ctx) if isinstance(option, click.Option)]
        records = [(option, option.get_help_record(ctx)) for option in options]
        own = [record for option, record in records if record and option not in self.everywhere]
        common = [record for option, record in records if record and option in self.everywhere]
        for title, rows in (("Options", own), ("Everywhere", common)):
            with formatter.section(title):
                formatter.write_dl(rows)


class Noun(click.Group):
    """A group of verbs."""

    command_class = Verb
    group_class = type  # groups within are of this kind, too

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", CONTEXT)
        super().__init__(*args, **kwargs)
        self.params.extend(_everywhere())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs alone: the options of every command stand in the help of a verb."""
        self.format_commands(ctx, formatter)


class Root(Noun):
    """All commands; each is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the page of help."""
        del ctx  # click hands it over; this list does not depend on it
        return list(ENTRIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        del ctx
        entry = ENTRIES.get(ALIASES.get(cmd_name, cmd_name))
        if entry is None:
            return None
        module = importlib.import_module(f"{__package__}.{entry.module}")
        return getattr(module, entry.attribute or "command")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a near miss is named."""
        if args and args[0] not in ENTRIES and args[0] not in ALIASES and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], ENTRIES, 3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            ctx.fail(f"there is no command {args[0]}{hint}")
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: click.Context) -> str:
        """The page of the catalogue."""
        del ctx
        return page().rstrip("\n")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name without importing any."""
        found = [
            CompletionItem(e.name, help=e.summary) for e in ENTRIES.values() if e.name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)
