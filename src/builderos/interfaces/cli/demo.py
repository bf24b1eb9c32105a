"""`builderos demo`: the main job on a real repository, through the public doors, every statement checked."""

import os
import subprocess
import time
from pathlib import Path

import click

from .story.stage import Failed, Stage, complain, stage, this_project

_AGENTS, _WORKBENCH = 3, 4
_OWN = (_AGENTS, _WORKBENCH)  # they bring their own repositories


@click.command("demo")
@click.option("--repo", metavar="PATH|URL", help="Repository to work on; by default this project's own.")
@click.option(
    "--act", type=click.IntRange(1, _WORKBENCH), help="Which part of the story; all of them when left out."
)
@click.option(
    "--model", metavar="NAME", help="Live model for act 3, e.g. openai/NAME; else scripted replies."
)
@click.option(
    "--sample", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
    help="Play nothing: lay out the repository of act 3 in a new folder, and tell how to run its pipelines.",
)  # fmt: skip
def demo(repo: str | None, act: int | None, model: str | None, sample: Path | None) -> int:
    """Run the main job on a real repository and verify it."""
    if sample is not None:
        return _sample(sample)
    source = repo or this_project()
    if act in _OWN and repo is not None:
        complain(f"act {act} brings its own repository: leave --repo out")
        return 2
    if source is None and act not in _OWN:
        complain("say which repository to use: builderos demo --repo PATH|URL")
        return 2
    if source and "://" not in source and os.path.exists(source):
        source = os.path.abspath(source)
    try:
        for one in (act,) if act else range(1, _WORKBENCH + 1):
            _perform(one, source or "", model)
    except Failed as failure:
        complain(f"\n✗ {failure}")
        return 1
    return 0


def _sample(folder: Path) -> int:
    if folder.exists() and any(folder.iterdir()):
        complain(f"{folder} is not empty: name a new folder")
        return 2
    from .story.teashop import sample

    try:
        click.echo(sample(folder.absolute()))
    except (OSError, subprocess.CalledProcessError) as failure:
        complain(f"{folder} cannot be filled: {failure}")
        return 1
    return 0


def _perform(act: int, source: str, model: str | None) -> None:
    started = time.monotonic()
    with stage() as made:
        _play(act, made, source, model)
        took = time.monotonic() - started
        print(f"\nAct {act}: {made.checked} statements checked in {took:.0f} s, all true", flush=True)


def _play(act: int, made: Stage, source: str, model: str | None) -> None:
    if act == _AGENTS:
        from .story.team import Team

        Team(made, model).play()
    elif act == _WORKBENCH:
        from .story.workbench import Workbench

        Workbench(made).play()
    elif act == 1:
        from .story.delivery import Delivery

        Delivery(made, source).play()
    else:
        from .story.shipping import Shipping

        Shipping(made, source).play()
