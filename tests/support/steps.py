"""Steps of runs for tests: orders, their outcomes, and the rows that tell of them."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from builderos.core.actor import Actor
from builderos.core.problems import Problem
from builderos.core.unit import Call, as_system
from builderos.execution.compute.model import sandbox_runs
from builderos.execution.compute.service import Order, Outcome, execute

from .world import World

_numbers = itertools.count(1)


class Lines:
    """A log in memory."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


def order(world: World, workspace: Path, script: str, **more: Any) -> Order:
    """A step of a run of the server's owner."""
    owner = Actor("owner", "act_owner", "owner", world.org_id, "full")
    given = {"step_id": "build", "attempt": 1} | more
    return Order(
        Call(owner, "valid", "req_test", "startRun@1", door="run"), f"run_{next(_numbers)}",
        workspace=str(workspace), script=script, **given,
    )  # fmt: skip


def run(world: World, asked: Order, sink: Lines | None = None) -> Outcome:
    return asyncio.run(execute(world.context, asked, sink))


def rows(world: World, asked: Order) -> list[dict[str, Any]]:
    wanted = sa.select(sandbox_runs).where(sandbox_runs.c.run_id == asked.run_id)
    found = as_system(world.context, world.org_id, lambda unit: unit.execute(wanted).all(), read_only=True)
    return [dict(row._mapping) for row in found]  # pyright: ignore[reportPrivateUsage]


def write(folder: Path, path: str, text: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)


def refused(world: World, asked: Order) -> Problem:
    with pytest.raises(Problem) as refusal:
        run(world, asked)
    assert rows(world, asked) == []
    return refusal.value
