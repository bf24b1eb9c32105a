"""Logging from scripts: with a server, without one, and what is sent later."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import builderos
from tests.support.databases import Databases
from tests.support.live import served
from tests.support.sandboxes import until
from tests.support.world import World, world_in_temp


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database, rate_logged=10**6) as made:
        yield made


@pytest.fixture(scope="module")
def address(world: World) -> Iterator[str]:
    with served(world) as url:
        yield url


def runs_of(world: World, name: str) -> list[dict[str, Any]]:
    found = world.ok(world.as_owner("GET", "/v1/experiments", params={"q": name}))["items"]
    return [
        run
        for one in found
        for run in world.ok(world.as_owner("GET", f"/v1/experiments/{one['id']}/runs"))["items"]
    ]


def test_a_script_logs_while_it_runs_and_leaves_no_file(world: World, address: str, tmp_path: Path) -> None:
    with builderos.start_run("live", "one", url=address, token=world.owner_token, folder=tmp_path) as run:
        run.log_params({"lr": 0.1, "depth": 3})
        run.log_metrics({"loss": 0.5, "bad": float("nan")}, step=1)
        run.log_metric("loss", 0.25, step=2)
        run.set_tag("team", "green")
        (tmp_path / "plots").mkdir()
        (tmp_path / "plots" / "a b.txt").write_text("drawn")
        run.log_artifact(tmp_path / "plots", "all")
        shutil.rmtree(tmp_path / "plots")
        until(lambda: runs_of(world, "live") and "team" in runs_of(world, "live")[0]["tags"])
        run.end()
        until(lambda: not list(tmp_path.iterdir()))
    (shown,) = runs_of(world, "live")
    assert (shown["name"], shown["status"], shown["external"]) == ("one", "finished", True)
    assert shown["metrics"] == {"loss": 0.25, "bad": "NaN"}
    assert shown["params"] == {"lr": "0.1", "depth": "3"}
    assert shown["tags"]["team"] == "green"
    files = world.ok(
        world.as_owner("GET", f"/v1/experiment-runs/{shown['id']}/files", params={"path": "all/plots"})
    )["items"]
    assert [(file["path"], file["size"]) for file in files] == [("all/plots/a b.txt", 5)]


def fail_after(steps: int, folder: Path) -> None:
    """A script that breaks off."""
    with builderos.start_run("later", folder=folder, offline=True) as run:
        for step in range(steps):
            run.log_metric("loss", 1 / (step + 1), step)
        raise ZeroDivisionError


def test_without_a_server_it_is_written_down_and_sent_later_once(
    world: World, address: str, tmp_path: Path
) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_after(1200, tmp_path)
    (file,) = tmp_path.iterdir()
    kept = file.read_bytes()
    assert builderos.sync(tmp_path, url=address, token=world.owner_token) == 1
    assert not list(tmp_path.iterdir())
    file.write_bytes(kept)  # as after a crash between the last answer and the removal
    assert builderos.sync(tmp_path, url=address, token=world.owner_token) == 1
    (shown,) = runs_of(world, "later")
    assert shown["status"] == "failed"
    path = f"/v1/experiment-runs/{shown['id']}/metrics"
    found = world.ok(world.as_owner("GET", path, params={"key": "loss", "limit": 5000}))["items"]
    assert [point["step"] for point in found].count(0) == 1
    assert len(found) == 1200


def test_a_server_that_is_away_costs_a_script_nothing_but_the_file(tmp_path: Path) -> None:
    with builderos.start_run("away", url="http://127.0.0.1:1", token="bos_none", folder=tmp_path) as run:
        run.log_metric("loss", 1)
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(RuntimeError):
        run.log_metric("loss", 2)


def test_processor_and_memory_are_logged_where_that_is_asked_for(tmp_path: Path) -> None:
    with builderos.start_run("meter", folder=tmp_path, offline=True, system_metrics=True):
        pass
    (file,) = tmp_path.iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    found = {line["key"]: line["value"] for line in lines if line["what"] == "metric"}
    assert found["system/system_memory_usage_megabytes"] > 1
    assert found["system/cpu_utilization_percentage"] >= 0


def test_without_a_sandbox_there_are_no_params_and_no_dataset() -> None:
    assert builderos.params() == {}
    with pytest.raises(RuntimeError):
        builderos.dataset()
