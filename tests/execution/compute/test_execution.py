"""A step's command from order to outcome: what runs, what is written down, what survives."""

import asyncio
import dataclasses
import itertools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from builderos.core.actor import Actor
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, as_system
from builderos.execution.compute import execution
from builderos.execution.compute.model import sandbox_runs
from builderos.execution.compute.ports import SandboxProvider
from builderos.execution.compute.service import (
    Approved,
    Order,
    Outcome,
    SandboxProviders,
    SecretAsked,
    execute,
)
from builderos.integrations.bwrap.gaps import WEAK_GAPS
from builderos.integrations.bwrap.service import LocalSandboxes
from builderos.trust.quotas.service import metering
from tests.support.databases import Databases
from tests.support.sandboxes import needs_strong, until
from tests.support.world import World, make_repository, world_in_temp

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database) as made:
        needs_strong(made.context.get(SandboxProviders).provider("local").probe())
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


@pytest.fixture
def ssot(world: World) -> Iterator[Path]:
    """The folder of the server's files."""
    folder = world.home / "ssot"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def write(folder: Path, path: str, text: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)


def refused(world: World, asked: Order) -> Problem:
    with pytest.raises(Problem) as refusal:
        run(world, asked)
    assert rows(world, asked) == []
    return refusal.value


def test_only_listed_runtimes_run(world: World, workspace: Path, ssot: Path) -> None:
    assert refused(world, order(world, workspace, "true", runtime="py311")).code == "runtime_not_approved"
    write(
        ssot,
        "workbench/runtimes.yaml",
        "runtimes: [{name: py311, kind: local}]\nprofiles: [{name: tiny, memory: 64Mi}]\n",
    )
    assert run(world, order(world, workspace, "true", runtime="py311")).status == "success"
    assert refused(world, order(world, workspace, "true", runtime="local")).code == "runtime_not_approved"
    assert refused(world, order(world, workspace, "true", profile="huge")).code == "validation_failed"
    held = run(world, order(world, workspace, "python3 -c 'x = bytearray(200 << 20)'", profile="tiny"))
    assert held.status == "failed"
    write(ssot, "workbench/runtimes.yaml", "runtimes: [{name: a, image: 'x/y@sha256:" + "0" * 64 + "'}]")
    assert refused(world, order(world, workspace, "true")).code == "runtime_not_approved", (
        "no provider takes images"
    )
    write(ssot, "workbench/runtimes.yaml", "runtimes: [")
    assert refused(world, order(world, workspace, "true")).code == "validation_failed"


def test_a_repository_narrows_what_the_server_approves(world: World, workspace: Path, ssot: Path) -> None:
    source = workspace / "source"
    make_repository(
        source,
        {
            "ssot/workbench/runtimes.yaml": "runtimes: [{name: a, kind: local}]\n"
            "profiles: [{name: small, max_seconds: 7200}]\n",
            "ssot/providers/local/sandbox.yaml": "provider: local\nhosts: [api.example.com]\n",
        },
    )
    repo_id = world.import_repo(source, "narrow")["id"]
    listed = as_system(
        world.context,
        world.org_id,
        lambda unit: world.context.get(Approved).effective(unit, repo_id),
        read_only=True,
    )
    assert listed.runtimes is not None
    assert [r.name for r in listed.runtimes.runtimes] == ["a"]
    assert [(p.name, p.max_seconds) for p in listed.runtimes.profiles] == [("small", 3600)]
    assert listed.providers["local"].hosts == ("api.example.com",)
    write(ssot, "workbench/runtimes.yaml", "runtimes: [{name: b, kind: local}]")
    asked = order(world, workspace, "true", runtime="a", repo_id=repo_id)
    assert refused(world, asked).code == "runtime_not_approved", "the server's file bounds the repository's"


POLICY = """version: 1
rules:
  - id: all
    scope: {org: "*"}
    allow: {tools: ["*"], paths: ["**"], network: [api.example.com], secrets: [DEPLOY_KEY]}
"""


@pytest.fixture
def granting(world: World) -> Iterator[None]:
    """A policy file that grants one host and one secret."""
    yield from _with_policy(world, POLICY)


def _with_policy(world: World, content: str) -> Iterator[None]:
    for text in (content, "version: 1\nrules: []\n"):
        if text != content:
            yield
        asked = world.ok(world.as_owner("PUT", "/v1/policies", json={"content": text, "reason": "Steps"}))
        world.ok(
            world.as_owner("POST", f"/v1/approvals/{asked['approval_id']}", json={"decision": "approve"})
        )


@pytest.mark.usefixtures("granting")
def test_granted_secrets_and_hosts_reach_the_command_and_no_record(
    world: World, workspace: Path, ssot: Path
) -> None:
    secret = "granted-value-of-a-deploy-key"
    world.ok(world.as_owner("POST", "/v1/secrets", json={"key_name": "DEPLOY_KEY", "value": secret}), 201)
    repo_id = world.ok(world.as_owner("GET", "/v1/repos"))["items"][0]["id"]
    asked = order(
        world, workspace, "echo ${#TOKEN} $(wc -c < $KEY); env | grep -c https_proxy", repo_id=repo_id,
        secrets=(SecretAsked("DEPLOY_KEY", "TOKEN"), SecretAsked("DEPLOY_KEY", "KEY", as_file=True)),
        network=("api.example.com", "api.example.com:8443", "other.example.com"),
    )  # fmt: skip
    log = Lines()
    outcome = run(world, asked, log)
    assert log.data == f"{len(secret)} {len(secret)}\n1\n".encode()
    (row,) = rows(world, asked)
    assert row["secrets"] == ["DEPLOY_KEY", "DEPLOY_KEY"]
    assert row["hosts"] == ["api.example.com", "api.example.com:8443"]
    assert secret not in str(row)
    assert [event["decision"] for event in outcome.policy_events] == ["allow", "allow", "deny"]
    write(ssot, "providers/local/sandbox.yaml", "provider: local\nhosts: [other.example.com]\n")
    again = dataclasses.replace(asked, attempt=2)
    assert run(world, again).policy_events[0]["rule"] == "provider-hosts"


def test_hosts_are_those_that_the_policy_grants(world: World, workspace: Path) -> None:
    repo_id = world.ok(world.as_owner("GET", "/v1/repos"))["items"][0]["id"]
    asked = order(
        world, workspace, "env | grep -i proxy || echo none", network=("api.example.com",), repo_id=repo_id
    )
    log = Lines()
    outcome = run(world, asked, log)
    assert log.data == b"none\n", "nothing was granted, so there is no way out"
    (event,) = outcome.policy_events
    assert (event["decision"], event["what"]) == ("deny", "network api.example.com")
    assert rows(world, asked)[0]["hosts"] == []


def test_a_secret_that_the_policy_does_not_list_keeps_the_step_from_starting(
    world: World, workspace: Path
) -> None:
    asked = order(world, workspace, "true", secrets=(SecretAsked("DEPLOY_KEY"),))
    assert refused(world, asked).code == "policy_denied"


@pytest.fixture
def weak(world: World) -> Iterator[LocalSandboxes]:
    """The world's machine, as if it lent no strong sandbox."""
    provider = LocalSandboxes(world.home / "weak", tier="weak")
    if provider.probe().tier != "weak":
        pytest.skip("no weak sandbox on this machine")
    providers = world.context.get(SandboxProviders)
    weaker = SandboxProviders(world.home)
    weaker.enrol("local", lambda: provider)
    world.context.put(SandboxProviders, weaker)
    yield provider
    world.context.put(SandboxProviders, providers)
    weaker.close()


@pytest.mark.usefixtures("weak")
def test_in_the_weak_sandbox_people_decide_about_each_command(
    world: World, workspace: Path, ssot: Path
) -> None:
    asked = order(world, workspace, "echo ran > out")
    waits = refused(world, asked)
    assert waits.code == "approval_required"
    (local,) = [i for i in world.ok(world.as_owner("GET", "/v1/providers"))["items"] if i["name"] == "local"]
    assert local["tier"] == "weak"
    assert {gap["id"] for gap in local["gaps"]} == {gap.id for gap in WEAK_GAPS}
    checks = world.ok(world.as_owner("POST", "/v1/admin/doctor", json={}))["checks"]
    (check,) = [check for check in checks if check["name"] == "commands"]
    assert check["ok"] is False
    assert all(gap.what in check["detail"] for gap in WEAK_GAPS)
    assert "each command needs an approval" in check["detail"]
    approval = world.ok(world.as_owner("GET", f"/v1/approvals/{waits.extra['approval_id']}"))
    assert approval["action"] == "command.run_weak"
    assert "echo ran > out" in approval["diff"]
    assert "can write the workspace's .git" in approval["diff"], "and what this sandbox does not hold back"
    assert refused(world, asked).extra == waits.extra, "asking again is the same request"
    verdict = {"decision": "approve"}
    world.ok(world.as_owner("POST", f"/v1/approvals/{approval['id']}", json=verdict))
    other = dataclasses.replace(asked, script="echo other > out")
    assert refused(world, other).code == "approval_required", "the yes was to another command"
    outcome = run(world, asked)
    assert (outcome.status, outcome.tier) == ("success", "weak")
    write(ssot, "providers/local/sandbox.yaml", "provider: local\ntier: weak\n")
    assert run(world, dataclasses.replace(other, attempt=2)).status == "success", (
        "the owner says that it will do"
    )
    write(ssot, "providers/local/sandbox.yaml", "provider: local\ntier: strong\n")
    no = refused(world, order(world, workspace, "true"))
    assert no.code == "policy_denied"
    assert no.extra["gaps"]
