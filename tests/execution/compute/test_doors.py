"""The doors of compute: what may run, who runs it, what was run."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from builderos.core.actor import Actor
from builderos.core.unit import Call
from builderos.execution.compute.service import Order, SandboxProviders, execute
from tests.support.databases import Databases
from tests.support.sandboxes import needs_strong
from tests.support.world import World, world_in_temp


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database) as made:
        needs_strong(made.context.get(SandboxProviders).provider("local").probe())
        yield made


def test_what_may_run_is_listed_with_its_sizes(world: World) -> None:
    reply = world.ok(world.as_owner("GET", "/v1/runtimes"))
    assert [(item["name"], item["provider"]) for item in reply["items"]] == [("local", "local")]
    assert reply["profiles"][0] | {"name": "small", "cpu": 1, "memory": 1 << 30} == reply["profiles"][0]
    same = world.ok(world.as_owner("GET", "/v1/runtimes?repo_name=lab"))
    assert same["items"] == reply["items"]
    world.problem(world.as_owner("GET", "/v1/runtimes?repo_name=nowhere"), "not_found")


def test_providers_say_how_firmly_they_hold(world: World) -> None:
    items = {item["name"]: item for item in world.ok(world.as_owner("GET", "/v1/providers"))["items"]}
    local = items["local"]
    assert (local["enabled"], local["remote"], local["tier"], local["allowed"]) == (
        True,
        False,
        "strong",
        None,
    )
    assert local["digest"].startswith("sha256:")


def test_a_provider_that_is_not_in_the_servers_files_is_off(world: World) -> None:
    folder = world.home / "ssot" / "providers" / "local"
    folder.mkdir(parents=True)
    (folder / "sandbox.yaml").write_text("provider: local\nenabled: false\n")
    (item,) = [i for i in world.ok(world.as_owner("GET", "/v1/providers"))["items"] if i["name"] == "local"]
    assert (item["enabled"], item["tier"]) == (False, None)
    (runtime,) = world.ok(world.as_owner("GET", "/v1/runtimes"))["items"]
    assert runtime["provider"] is None
    assert "as configured" in _doctor(world)["detail"]
    (folder / "sandbox.yaml").unlink()


def _doctor(world: World) -> dict[str, object]:
    checks = world.ok(world.as_owner("POST", "/v1/admin/doctor", json={}))["checks"]
    return next(check for check in checks if check["name"] == "commands")


def test_the_doctor_says_the_tier(world: World) -> None:
    check = _doctor(world)
    assert check["ok"] is True
    assert str(check["detail"]).startswith("strong: bubblewrap")


def test_executions_are_listed_newest_first_and_by_run(world: World, tmp_path: Path) -> None:
    owner = Actor("owner", "act_owner", "owner", world.org_id, "full")
    call = Call(owner, "valid", "req_test", "startRun@1", door="run")
    tmp_path.chmod(0o755)
    for number, script in enumerate(("true", "exit 3"), 1):
        order = Order(call, f"run_{number}", "build", 1, str(tmp_path), script=script)
        asyncio.run(execute(world.context, order))
    listed = world.ok(world.as_owner("GET", "/v1/sandbox-runs"))["items"]
    assert [(item["run_id"], item["status"]) for item in listed[:2]] == [
        ("run_2", "failed"),
        ("run_1", "success"),
    ]
    (failed,) = world.ok(world.as_owner("GET", "/v1/sandbox-runs?status=failed"))["items"]
    assert (failed["reason"], failed["exit_code"], failed["tier"]) == ("exit", 3, "strong")
    assert failed["runtime_digest"].startswith("sha256:")
    page = world.ok(world.as_owner("GET", "/v1/sandbox-runs?limit=1"))
    assert [item["run_id"] for item in page["items"]] == ["run_2"]
    rest = world.ok(world.as_owner("GET", f"/v1/sandbox-runs?limit=1&cursor={page['next_cursor']}"))
    assert [item["run_id"] for item in rest["items"]] == ["run_1"]
    assert world.ok(world.as_owner("GET", "/v1/sandbox-runs?run_id=run_1"))["items"][0]["run_id"] == "run_1"


@pytest.mark.parametrize("path", ["/v1/runtimes", "/v1/providers", "/v1/sandbox-runs"])
def test_a_workspace_token_sees_none_of_it(world: World, path: str) -> None:
    sandbox = world.open_sandbox()
    world.problem(world.http.get(path, headers=sandbox.headers), "policy_denied")
    world.problem(world.http.get(path), "unauthenticated")
