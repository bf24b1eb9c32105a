"""A step's command from order to outcome: what runs, what is written down, what survives."""

import asyncio
import dataclasses
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from builderos.core.actor import Actor
from builderos.core.problems import Problem
from builderos.core.unit import Call, as_system
from builderos.execution.compute.model import sandbox_runs
from builderos.execution.compute.service import Order, Outcome, SandboxProviders, execute
from tests.support.databases import Databases
from tests.support.sandboxes import until
from tests.support.world import World, world_in_temp

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database) as made:
        probe = made.context.get(SandboxProviders).provider("local").probe()
        if probe.tier != "strong":
            pytest.skip(f"no strong sandbox on this machine: {' '.join(probe.missing)}")
        yield made


@pytest.fixture
def workspace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bos-step-") as name:
        yield Path(name)


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


def test_a_step_runs_in_its_workspace_and_one_row_says_so(world: World, workspace: Path) -> None:
    log = Lines()
    asked = order(world, workspace, "echo said; echo made > out.txt", logs_ref="logs/run/build.log")
    outcome = run(world, asked, log)
    assert (outcome.status, outcome.reason, outcome.exit_code, outcome.tier) == ("success", None, 0, "strong")
    assert (workspace / "out.txt").read_text() == "made\n"
    assert log.data == b"said\n"
    (row,) = rows(world, asked)
    assert row["id"] == outcome.sandbox_run_id
    assert (row["status"], row["provider"], row["name"]) == ("success", "local", f"{asked.run_id}.build.1")
    assert (row["logs_ref"], row["created_by"]) == ("logs/run/build.log", "act_owner")
    assert row["finished_at"] >= row["started_at"]
    assert row["memory_peak"] > 0
    assert outcome.usage.output == row["output_bytes"] == 5


def test_a_step_that_fails_says_why(world: World, workspace: Path) -> None:
    failed = run(world, order(world, workspace, "exit 7"))
    assert (failed.status, failed.reason, failed.exit_code) == ("failed", "exit", 7)
    late = run(world, order(world, workspace, "sleep 60", timeout_s=0.2))
    assert (late.status, late.reason) == ("timeout", "timeout")


def test_a_finished_attempt_is_not_repeated(world: World, workspace: Path) -> None:
    asked = order(world, workspace, "echo x >> count")
    first, again = run(world, asked), run(world, asked)
    assert again == first
    assert (workspace / "count").read_text() == "x\n"
    second = run(world, dataclasses.replace(asked, attempt=2))
    assert second.sandbox_run_id != first.sandbox_run_id
    assert (workspace / "count").read_text() == "x\nx\n"


def test_two_that_ask_at_once_run_it_once(world: World, workspace: Path) -> None:
    asked = order(world, workspace, "echo x >> count; sleep 0.2")

    async def both() -> tuple[Outcome, Outcome]:
        one, two = await asyncio.gather(execute(world.context, asked), execute(world.context, asked))
        return one, two

    one, two = asyncio.run(both())
    assert one == two
    assert (workspace / "count").read_text() == "x\n"


def test_a_cancelled_step_ends_with_all_its_processes(world: World, workspace: Path) -> None:
    asked = order(world, workspace, "echo up > up; (sleep 300 & ) ; sleep 300")

    async def scene() -> None:
        task = asyncio.create_task(execute(world.context, asked))
        await asyncio.to_thread(until, (workspace / "up").exists)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
    (row,) = rows(world, asked)
    assert (row["status"], row["reason"]) == ("failed", "killed")
    assert run(world, asked).reason == "lost", "it did not come to an end of its own"


def test_what_cannot_start_leaves_no_row_and_may_be_tried_again(world: World, workspace: Path) -> None:
    asked = order(world, workspace / "nowhere", "true")
    with pytest.raises(Problem) as refusal:
        run(world, asked)
    assert refusal.value.code == "unavailable"
    assert rows(world, asked) == []
    (workspace / "nowhere").mkdir()
    assert run(world, asked).status == "success"


def test_names_with_odd_characters_stay_apart(world: World, workspace: Path) -> None:
    names = {
        order(world, workspace, "", step_id=step).name.split(".", 1)[1]
        for step in ("a[1]", "a[2]", "a 1", "ä")
    }
    assert len(names) == 4
    assert run(world, order(world, workspace, "true", step_id="test[py=3.12/os]")).status == "success"


def test_nothing_is_left_of_ended_executions(world: World, workspace: Path) -> None:
    run(world, order(world, workspace, "true"))
    folders = [path for path in (world.home / "executions").iterdir() if path.name.startswith("run_")]
    assert folders == []
