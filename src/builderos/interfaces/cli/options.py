"""Options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def on_repo(function: F) -> F:
    """`--repo`: the repository, where the token or the current folder does not say it."""
    return click.option(
        "-r", "--repo", metavar="NAME", help="Repository; by default your token's or this folder's."
    )(function)


def on_branch(function: F) -> F:
    """`--repo` and `--branch`."""
    with_branch = click.option("-b", "--branch", metavar="NAME", help="Branch; by default your token's own.")(
        function
    )
    return on_repo(with_branch)


def paged(function: F) -> F:
    """`--limit` and `--cursor` of a list."""
    with_cursor = click.option("--cursor", help="Continue where the page before ended.")(function)
    return click.option(
        "--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="Rows per page."
    )(with_cursor)


def fields(**values: Any) -> dict[str, Any]:
    """The values that were given: no None, no empty list."""
    return {name: value for name, value in values.items() if value is not None and value not in ((), [])}
