"""What a command's container is like, and what is kept when daemons and servers go away."""

import dataclasses
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builderos.core.problems import Problem
from builderos.execution.compute.schema import Secret
from builderos.execution.compute.service import unpacked
from builderos.integrations.docker import service as docker
from tests.support.dockers import IMAGE, Docker
from tests.support.sandboxes import QUICK, Yard, docker_yard
from tests.support.servers import until


@pytest.fixture(scope="module")
def yard() -> Iterator[Yard]:
    with docker_yard() as made:
        yield made


@pytest.fixture
def daemon(yard: Yard) -> Docker:
    assert isinstance(yard.engine, Docker)
    return yard.engine


def test_a_container_is_as_narrow_as_the_spec(yard: Yard, daemon: Docker) -> None:
    secrets = (Secret("TOKEN", "canary-in-no-description"), Secret("KEY", "canary-as-file", as_file=True))
    done = yard.sh('echo "$TOKEN"; cat "$KEY"', secrets=secrets)
    assert (done.state, yard.text(done)) == ("success", "canary-in-no-description\ncanary-as-file")
    config = list(daemon.containers.values())[-1].config
    assert "canary" not in json.dumps(config)
    host = config["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert (host["Memory"], host["MemorySwap"]) == (QUICK.memory, QUICK.memory)
    assert (host["NanoCpus"], host["PidsLimit"]) == (int(QUICK.cpu * 1e9), QUICK.pids)
    assert config["User"] == "1000:1000"
    assert config["Image"] == IMAGE
    assert daemon.pulled == [IMAGE], "pulled once, by its digest"


def test_another_server_finds_what_runs_and_brings_it_home(yard: Yard, daemon: Docker) -> None:
    workspace = yard.workspace()
    script = "trap 'echo made > out; exit 4' TERM; echo up; while :; do sleep 0.02; done"
    spec = yard.spec("sh", "-c", script, workspace=workspace, limits=dataclasses.replace(QUICK, grace_s=15))
    crashed = docker.provider({"host": daemon.host}, yard.folder / "crashed")
    crashed.start(spec)
    crashed.close()
    assert yard.provider.attach(spec.id).state == "running"
    again = docker.provider({"host": daemon.host}, yard.folder / "again")
    assert again.start(spec).state == "running", "the same name and command is the same execution"
    until(lambda: b"up" in again.logs(spec.id).data)  # before that it may not have heard of TERM
    again.kill(spec.id)
    done = again.wait(spec.id, 120)
    assert done.result is not None
    assert done.result.exit_code == 4
    assert (workspace / "out").read_text() == "made\n"
    assert again.logs(spec.id).data.startswith(b"up\n")
    with pytest.raises(Problem) as refusal:
        again.start(dataclasses.replace(spec, argv=("true",)))
    assert refusal.value.code == "conflict"
    again.close()


def test_what_was_made_and_never_started_is_made_anew(yard: Yard, daemon: Docker) -> None:
    spec = yard.spec("true")
    machine = docker.DockerMachine({"host": daemon.host})
    yard.provider.start(spec)
    yard.provider.wait(spec.id, 120)
    container = list(daemon.containers.values())[-1]
    container.status = "created"
    other = docker.provider({"host": daemon.host}, yard.folder / "other")
    other.start(spec)
    assert other.wait(spec.id, 120).state == "success"
    assert container.id not in daemon.containers
    other.close()
    machine.close()


def test_what_vanishes_there_is_lost(yard: Yard, daemon: Docker) -> None:
    sandbox = yard.provider.start(yard.spec("sleep", "60"))
    name = docker.short_name(sandbox.id)
    container = daemon.find(name)
    del daemon.containers[container.id]
    container.box.close()
    done = yard.provider.wait(sandbox.id, 120)
    assert done.result is not None
    assert done.result.reason == "lost"


def test_running_out_of_memory_is_named(yard: Yard, daemon: Docker) -> None:
    daemon.oom = True
    done = yard.sh("exit 137")
    daemon.oom = False
    assert done.result is not None
    assert (done.result.reason, done.state) == ("oom", "failed")


def test_a_list_of_hosts_is_refused_rather_than_not_kept(yard: Yard) -> None:
    with pytest.raises(Problem) as refusal:
        yard.provider.start(yard.spec("true", hosts=("api.example.com",)))
    assert refusal.value.code == "policy_denied"


def test_a_daemon_that_is_away_is_named(tmp_path: Path) -> None:
    away = docker.provider({"host": "tcp://127.0.0.1:9"}, tmp_path)
    probe = away.probe()
    assert probe.tier is None
    assert "does not answer" in probe.missing[0]
    away.close()


def test_what_comes_back_lands_in_the_workspace_alone(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (inside / ".git").mkdir()
    (inside / ".git" / "config").write_text("ours")
    (inside / "old").write_text("old")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, kind, link in (
            ("w/link", tarfile.SYMTYPE, str(outside)), ("w/link/escaped", tarfile.REGTYPE, ""),
            ("w/../climbed", tarfile.REGTYPE, ""), ("/w/../../climbed", tarfile.REGTYPE, ""),
            ("w/.git/config", tarfile.REGTYPE, ""), ("w/a/.git/hooks/x", tarfile.REGTYPE, ""),
            ("w/device", tarfile.CHRTYPE, ""), ("w/pipe", tarfile.FIFOTYPE, ""),
            ("w/hard", tarfile.LNKTYPE, "/etc/passwd"), ("w/deep/er/file", tarfile.REGTYPE, ""),
            ("w/deep", tarfile.SYMTYPE, "/etc"),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = kind, link, 0o755
            tar.addfile(member, io.BytesIO())
    data.seek(0)
    unpacked(data, inside, limit=1000)
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "climbed").exists()
    assert (inside / ".git" / "config").read_text() == "ours"
    assert sorted(str(p.relative_to(inside)) for p in inside.rglob("*") if ".git" not in p.parts) == [
        "deep", "deep/er", "deep/er/file", "link",
    ]  # fmt: skip
    assert (inside / "link").is_symlink()


def test_more_than_the_workspace_may_hold_is_refused(tmp_path: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        member = tarfile.TarInfo("w/big")
        member.size = 5000
        tar.addfile(member, io.BytesIO(bytes(5000)))
    data.seek(0)
    with pytest.raises(Problem) as refusal:
        unpacked(data, tmp_path, limit=1000)
    assert refusal.value.code == "unavailable"
    with pytest.raises(Problem):
        unpacked(io.BytesIO(b"no tar at all" * 100), tmp_path, limit=1000)
