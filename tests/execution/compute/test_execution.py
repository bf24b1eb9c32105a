"""A step's command from order to outcome: what runs, what is written down, what survives."""

import asyncio
import dataclasses
import json
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.execution.compute import execution
from builderos.execution.compute.model import sandbox_runs
from builderos.execution.compute.ports import SandboxProvider
from builderos.execution.compute.service import (
    Outcome,
    SandboxProviders,
    execute,
)
from builderos.integrations.bwrap.service import LocalSandboxes
from builderos.trust.quotas.service import metering
from tests.support.databases import Databases
from tests.support.sandboxes import needs_strong, until
from tests.support.steps import Lines, order, rows, run
from tests.support.world import World, world_in_temp


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database) as made:
        needs_strong(made.context.get(SandboxProviders).provider("local").probe())
        yield made


@pytest.fixture
def workspace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bos-step-") as name:
        yield Path(name)


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


def test_a_server_that_died_before_it_wrote_the_end_down_finds_it(
    world: World, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, log = order(world, workspace, "echo x >> count; echo said"), Lines()

    def died(*_: object) -> None:
        raise ConnectionError("as if the process had ended here")

    with monkeypatch.context() as patch:
        patch.setattr(execution, "close_row", died)
        with pytest.raises(ConnectionError):
            run(world, asked)
    assert rows(world, asked)[0]["status"] == "running"
    outcome = run(world, asked, log)
    assert (outcome.status, outcome.exit_code) == ("success", 0)
    assert (workspace / "count").read_text() == "x\n", "it was not run again"
    assert log.data == b"said\n", "and its log is whole"


def test_a_keeper_that_is_killed_loses_the_attempt_and_not_the_next(world: World, workspace: Path) -> None:
    asked = order(world, workspace, "echo up > up; sleep 300")
    provider = world.context.get(SandboxProviders).provider("local")

    async def scene() -> Outcome:
        task = asyncio.create_task(execute(world.context, asked))
        await asyncio.to_thread(until, (workspace / "up").exists)
        os.kill(_keeper(provider), signal.SIGKILL)
        return await task

    lost = asyncio.run(scene())
    assert (lost.status, lost.reason) == ("failed", "lost")
    assert run(world, dataclasses.replace(asked, script="true", attempt=2)).status == "success"


def _keeper(provider: SandboxProvider) -> int:
    assert isinstance(provider, LocalSandboxes)
    claim = next(
        (provider.folder / name / "claim.json") for name in os.listdir(provider.folder) if name != "stage"
    )
    return int(json.loads(claim.read_text())["pid"])


def test_an_attempt_on_a_machine_that_is_gone_is_lost(world: World, workspace: Path) -> None:
    asked = order(world, workspace, "true")
    elsewhere = {"place": "another machine", "status": "running", "sandbox_id": asked.name, "id": new_id("sbr"),
                 "name": asked.name, "run_id": asked.run_id, "step_id": "build", "attempt": 1, "provider": "local",
                 "runtime": "local", "runtime_digest": "", "profile": "small", "created_by": "act_owner"}  # fmt: skip

    def add(unit: Unit) -> None:
        unit.add(sandbox_runs, org_id=unit.org_id, started_at=unit.now, **elsewhere)

    as_system(world.context, world.org_id, add)
    outcome = run(world, asked)
    assert (outcome.status, outcome.reason, outcome.detail) == (
        "failed",
        "lost",
        "the machine that ran it is gone",
    )
    assert rows(world, asked)[0]["finished_at"] is not None


def test_names_with_odd_characters_stay_apart(world: World, workspace: Path) -> None:
    names = {
        order(world, workspace, "", step_id=step).name.split(".", 1)[1]
        for step in ("a[1]", "a[2]", "a 1", "ä")
    }
    assert len(names) == 4
    assert run(world, order(world, workspace, "true", step_id="test[py=3.12/os]")).status == "success"


def test_nothing_is_left_of_ended_executions(world: World, workspace: Path) -> None:
    run(world, order(world, workspace, "true"))
    folders = [
        path for path in (world.home / "executions" / "local").iterdir() if path.name.startswith("run_")
    ]
    assert folders == []


def test_processor_time_is_metered_and_bounded_by_a_budget(world: World, workspace: Path) -> None:
    before = world.ok(world.as_owner("GET", "/v1/usage"))["totals"]
    run(world, order(world, workspace, "python3 -c 'while __import__(\"time\").process_time() < 0.2: pass'"))
    after = world.ok(world.as_owner("GET", "/v1/usage"))["totals"]
    assert after["commands"] == before["commands"] + 1
    assert after["cpu_ms"] >= before["cpu_ms"] + 200
    budget = {"meter": "cpu_seconds", "period": "month"}
    with as_system_cpu(world, 10_000):
        world.ok(world.as_owner("PUT", "/v1/budgets", json=budget | {"amount": 10}))
        with pytest.raises(Problem) as refusal:
            run(world, order(world, workspace, "true"))
        assert refusal.value.code == "budget_exceeded"
        world.ok(world.as_owner("PUT", "/v1/budgets", json=budget | {"amount": 1_000_000}))
        assert run(world, order(world, workspace, "true")).status == "success"
    world.ok(world.as_owner("PUT", "/v1/budgets", json=budget))


@contextmanager
def as_system_cpu(world: World, ms: int) -> Iterator[None]:
    """More processor time on the organisation's account."""

    def add(sign: int) -> None:
        as_system(
            world.context, world.org_id,
            lambda unit: metering.count_command(unit, "act_test", cpu_s=sign * ms / 1000),
        )  # fmt: skip

    add(1)
    yield
    add(-1)
