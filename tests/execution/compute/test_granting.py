"""What a step's command may have: listed runtimes, granted hosts and secrets, the tier that will do."""

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builderos.core.unit import as_system
from builderos.execution.compute.service import Approved, SandboxProviders, SecretAsked
from builderos.integrations.bwrap.gaps import WEAK_GAPS
from builderos.integrations.bwrap.service import LocalSandboxes
from builderos.trust.quotas.service import metering
from tests.support.databases import Databases
from tests.support.sandboxes import needs_strong
from tests.support.steps import Lines, order, refused, rows, run, write
from tests.support.world import World, make_repository, world_in_temp


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database) as made:
        needs_strong(made.context.get(SandboxProviders).provider("local").probe())
        yield made


@pytest.fixture
def workspace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bos-step-") as name:
        yield Path(name)


@pytest.fixture
def ssot(world: World) -> Iterator[Path]:
    """The folder of the server's files."""
    folder = world.home / "ssot"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


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


def test_the_policy_file_bounds_processor_time(world: World, workspace: Path) -> None:
    run(world, order(world, workspace, "true"))
    budget = "version: 1\nlimits: {budget: {cpu_seconds: 5}}\n"
    policy = _with_policy(world, budget)
    next(policy)
    assert run(world, order(world, workspace, "true")).status == "success"
    add = {"cpu_s": 6.0}
    as_system(world.context, world.org_id, lambda unit: metering.count_command(unit, "act_test", **add))
    assert refused(world, order(world, workspace, "true")).code == "budget_exceeded"
    assert list(policy) == []
    assert run(world, order(world, workspace, "true")).status == "success"


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
