"""Help: one page, the same from the fast path and the real thing; every command explains itself; starting is cheap."""

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from builderos.interfaces.cli.catalogue import ENTRIES, page
from builderos.interfaces.cli.commands import CONTEXT, Noun, Verb
from builderos.interfaces.cli.main import root

from .conftest import PROGRAM, ROOT

HEAVY = {
    "builderos.app", "builderos.core.settings", "builderos.core.schema", "fastapi", "starlette", "sqlalchemy", "dbos",
    "pydantic", "psycopg", "pygit2", "cedarpy", "mcp", "yaml", "cryptography", "uvicorn", "alembic",
}  # fmt: skip


def commands(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        yield f"{context.command_path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, click.Context(command, info_name=name, parent=context))


ALL = dict(commands(root, click.Context(root, info_name="builderos")))


REPORT = """
import sys
from builderos.interfaces.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules, file=sys.stderr)
"""


EACH = """
import sys
from builderos.interfaces.cli.main import main
assert [main([name, "--help"]) for name in sys.argv[1:]] == [0] * (len(sys.argv) - 1)
print(*sys.modules, file=sys.stderr)
"""


def modules(*words: str, report: str = REPORT) -> set[str]:
    """What is loaded once this command line has run."""
    done = subprocess.run([sys.executable, "-c", report, *words], capture_output=True, text=True, check=False)
    return set(done.stderr.splitlines()[-1].split())


def test_the_page_that_is_printed_at_once_is_the_real_help() -> None:
    kept = (ROOT / "src/builderos/interfaces/cli/help.txt").read_text("utf-8")
    real = subprocess.run(
        [sys.executable, "-m", "builderos.interfaces.cli.main", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert kept == real == page(), (
        "write it anew: python -m builderos.interfaces.cli.main --help > …/help.txt"
    )


@pytest.mark.parametrize("words", [(), ("-h",), ("--help",), ("help",)])
def test_every_way_to_ask_for_it_gives_the_page(words: tuple[str, ...]) -> None:
    for program in (PROGRAM, [sys.executable, "-m", "builderos.interfaces.cli.main"]):
        done = subprocess.run([*program, *words], capture_output=True, text=True, check=True)
        assert done.stdout == page()


def test_the_page_fits_a_terminal() -> None:
    assert max(map(len, page().splitlines())) <= 80


def test_the_page_says_of_each_command_what_the_command_says_of_itself() -> None:
    for name, entry in ENTRIES.items():
        command = root.get_command(click.Context(root), name)
        assert command is not None
        assert command.name == name, f"{entry.module} calls itself {command.name}"
        assert command.help
        assert not entry.summary.endswith(".")


@pytest.mark.parametrize("path", [p for p, c in ALL.items() if not isinstance(c, click.Group)])
def test_a_verb_explains_itself_and_each_of_its_options(path: str) -> None:
    command = ALL[path]
    assert command.help
    assert command.help.strip()[0].isupper()
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help or option.name == "kind" or isinstance(option.type, click.Choice), (
                f"{path} {option.name}"
            )


def test_every_verb_takes_the_options_that_work_everywhere() -> None:
    for path, command in ALL.items():
        if path != "builderos demo":
            assert isinstance(command, Verb | Noun), path
            names = {name for option in command.params for name in option.opts}
            assert {"--json", "--token", "--as", "--url", "--verbose"} <= names, path


def test_no_option_is_declared_twice() -> None:
    for path, command in ALL.items():
        names = [
            name for option in command.params if isinstance(option, click.Option) for name in option.opts
        ]
        assert len(names) == len(set(names)), path


def test_an_ordinary_command_imports_nothing_heavy() -> None:
    found = modules("log", "--help")
    assert "builderos.interfaces.cli.history" in found
    assert not HEAVY & found
    assert not {
        name
        for name in found
        if name.startswith("builderos.") and name.split(".")[1] not in ("client", "core", "interfaces")
    }


def test_no_command_needs_the_server_side() -> None:
    """One process asks every command for its help: what none of them loads, each does without."""
    names = [name for name, entry in ENTRIES.items() if entry.module != "demo"]
    found = modules(*names, report=EACH)
    assert {f"builderos.interfaces.cli.{ENTRIES[name].module}" for name in names} <= found
    assert not HEAVY & found


def test_a_command_imports_only_its_own_module() -> None:
    found = modules("alert", "--help")
    ours = {name.rpartition(".")[2] for name in found if name.startswith("builderos.interfaces.cli.")}
    assert not ours & ({e.module for e in ENTRIES.values()} - {"alert"})


def test_help_explains_commands_and_topics() -> None:
    for words, expected in (
        (("help", "exit-codes"), "4  waiting for an approval"),
        (("help", "environment"), "BUILDEROS_TOKEN"),
        (("help", "problems"), "write_not_verified"),
        (("help", "sandbox", "token", "rotate"), "the old one stops working"),
        (("help", "commit"), "--message"),
    ):
        done = subprocess.run([*PROGRAM, *words], capture_output=True, text=True, check=True)
        assert expected in done.stdout


def test_a_near_miss_is_named() -> None:
    done = subprocess.run([*PROGRAM, "sandbx"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "did you mean sandbox" in done.stderr


def test_the_width_of_help_does_not_depend_on_where_it_is_asked(tmp_path: Path) -> None:
    assert CONTEXT["max_content_width"] <= 100
    narrow = subprocess.run(
        [*PROGRAM, "help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "20", "PATH": ""},
        cwd=tmp_path,
    )
    assert narrow.stdout == page()


def test_the_version_is_that_of_the_package() -> None:
    done = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"builderos {importlib.metadata.version('builderos')}\n"
