"""What a command's sandbox is like, and what is kept when servers and sandboxes go away."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from builderos.core.problems import Problem
from builderos.execution.compute.schema import Secret
from builderos.integrations.vercel import service as vercel
from tests.support.sandboxes import QUICK, Yard, vercel_yard
from tests.support.vercels import PROJECT, TEAM, TOKEN, Vercel


@pytest.fixture(scope="module")
def yard() -> Iterator[Yard]:
    with vercel_yard() as made:
        yield made


@pytest.fixture
def project(yard: Yard) -> Vercel:
    assert isinstance(yard.engine, Vercel)
    return yard.engine


def test_a_sandbox_is_as_narrow_as_the_spec(yard: Yard, project: Vercel) -> None:
    secrets = (Secret("TOKEN", "canary-in-no-request"), Secret("KEY", "canary-as-file", as_file=True))
    done = yard.sh('echo "$TOKEN"; cat "$KEY"', secrets=secrets)
    assert yard.text(done) == "canary-in-no-request\ncanary-as-file"
    sandbox = list(project.sandboxes.values())[-1]
    bodies = json.dumps([sandbox.body, *(command.body for command in sandbox.commands.values())])
    assert "canary" not in bodies
    assert sandbox.body["networkPolicy"] == {"mode": "deny-all"}
    assert sandbox.body["image"] == yard.image
    assert sandbox.body["persistent"] is False
    assert sandbox.body["resources"] == {"vcpus": 1}
    yard.provider.remove(done.id)
    assert sandbox.name not in project.sandboxes


def test_listed_hosts_and_no_others_are_let_through(yard: Yard, project: Vercel) -> None:
    yard.sh("true", hosts=("api.example.com", "*.example.org"))
    policy = list(project.sandboxes.values())[-1].body["networkPolicy"]
    assert policy == {"allow": {"api.example.com": [], "*.example.org": []}}
    with pytest.raises(Problem) as refusal:
        yard.sh("true", hosts=("api.example.com:8443",))
    assert refusal.value.code == "policy_denied"


def test_another_server_finds_what_runs_and_brings_it_home(yard: Yard, project: Vercel) -> None:
    workspace = yard.workspace()
    script = "trap 'echo made > out; exit 4' TERM; echo up; while :; do sleep 0.02; done"
    spec = yard.spec("sh", "-c", script, workspace=workspace, limits=dataclasses.replace(QUICK, grace_s=15))
    options = {"api": project.url, "team": TEAM, "project": PROJECT}
    crashed = vercel.provider(options, yard.folder / "crashed", lambda: TOKEN)
    crashed.start(spec)
    crashed.close()
    again = vercel.provider(options, yard.folder / "again", lambda: TOKEN)
    assert again.start(spec).state == "running"
    again.kill(spec.id)
    done = again.wait(spec.id, 120)
    assert done.result is not None
    assert done.result.exit_code == 4
    assert (workspace / "out").read_text() == "made\n"
    again.close()


def test_what_vanishes_there_is_lost(yard: Yard, project: Vercel) -> None:
    sandbox = yard.provider.start(yard.spec("sleep", "60"))
    gone = project.sandboxes.pop(vercel.short_name(sandbox.id))
    gone.box.close()
    done = yard.provider.wait(sandbox.id, 120)
    assert done.result is not None
    assert done.result.reason == "lost"


def test_without_a_credential_or_an_address_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(Problem) as refusal:
        vercel.provider({"team": TEAM}, tmp_path, lambda: TOKEN)
    assert refusal.value.code == "validation_failed"
    options = {"api": "http://127.0.0.1:9", "team": TEAM, "project": PROJECT}
    poor = vercel.provider(options, tmp_path, lambda: None)
    assert "BUILDEROS_VERCEL_TOKEN" in poor.probe().missing[0]
    poor.close()
    away = vercel.provider(options, tmp_path, lambda: TOKEN)
    assert "does not answer" in away.probe().missing[0]
    away.close()
