"""What a command's Job is like, and what is kept when pods and servers go away."""

import base64
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from builderos.core.problems import Problem
from builderos.execution.compute.schema import Secret
from builderos.integrations.kubernetes import service as kubernetes
from tests.support.clusters import HELPER, Cluster
from tests.support.sandboxes import QUICK, Yard, cluster_yard


@pytest.fixture(scope="module")
def yard() -> Iterator[Yard]:
    with cluster_yard() as made:
        yield made


@pytest.fixture
def cluster(yard: Yard) -> Cluster:
    assert isinstance(yard.engine, Cluster)
    return yard.engine


def another(yard: Yard, cluster: Cluster, name: str) -> kubernetes.RemoteSandboxes:
    options = {"host": cluster.host, "namespace": "steps", "helper": HELPER}
    return kubernetes.provider(options, yard.folder / name)


def test_a_job_is_as_narrow_as_the_spec_and_goes_with_its_secret(yard: Yard, cluster: Cluster) -> None:
    secrets = (Secret("TOKEN", "canary-in-no-spec"), Secret("KEY", "canary-as-file", as_file=True))
    env = (("TRICK", "$(TOKEN) stays $(as) it is"),)
    done = yard.sh('echo "$TOKEN"; cat "$KEY"; echo "$TRICK"', secrets=secrets, env=env)
    assert yard.text(done) == "canary-in-no-spec\ncanary-as-file$(TOKEN) stays $(as) it is\n"
    job = list(cluster.jobs.values())[-1]
    assert "canary" not in json.dumps(job.body)
    kept = cluster.objects["secrets"][job.name]
    assert base64.b64decode(kept["data"]["TOKEN"]) == b"canary-in-no-spec"
    pod = job.body["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    command = pod["containers"][0]
    assert command["image"] == yard.image
    assert command["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert command["resources"]["limits"] == {"cpu": "1000m", "memory": str(QUICK.memory)}
    assert cluster.objects["networkpolicies"][job.name]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    yard.provider.remove(done.id)
    assert job.name not in cluster.jobs
    assert job.name not in cluster.objects["secrets"]
    assert job.name not in cluster.objects["networkpolicies"]


def test_another_server_finds_what_runs_and_brings_it_home(yard: Yard, cluster: Cluster) -> None:
    workspace = yard.workspace()
    script = "trap 'echo made > out; exit 4' TERM; echo up; while :; do sleep 0.02; done"
    spec = yard.spec("sh", "-c", script, workspace=workspace, limits=dataclasses.replace(QUICK, grace_s=15))
    crashed = another(yard, cluster, "crashed")
    crashed.start(spec)
    crashed.close()
    again = another(yard, cluster, "again")
    assert again.start(spec).state == "running"
    again.kill(spec.id)
    done = again.wait(spec.id, 120)
    assert done.result is not None
    assert (done.result.exit_code, done.result.reason) == (4, "killed")
    assert (workspace / "out").read_text() == "made\n"
    assert again.logs(spec.id).data.startswith(b"up\n")
    again.close()


def test_what_vanishes_there_is_lost_and_evicted_ones_say_why(yard: Yard, cluster: Cluster) -> None:
    sandbox = yard.provider.start(yard.spec("sleep", "60"))
    job = list(cluster.jobs.values())[-1]
    del cluster.jobs[job.name]
    job.box.close()
    done = yard.provider.wait(sandbox.id, 120)
    assert done.result is not None
    assert done.result.reason == "lost"
    full = yard.provider.start(yard.spec("sleep", "60"))
    job = list(cluster.jobs.values())[-1]
    job.evicted = True
    job.box.close()
    done = yard.provider.wait(full.id, 120)
    assert done.result is not None
    assert (done.result.reason, done.state) == ("disk", "failed")


def test_running_out_of_memory_is_named(yard: Yard, cluster: Cluster) -> None:
    sandbox = yard.provider.start(yard.spec("sleep", "0.3"))
    list(cluster.jobs.values())[-1].oom = True
    done = yard.provider.wait(sandbox.id, 120)
    assert done.result is not None
    assert done.result.reason == "oom"


def test_more_data_than_a_frame_holds_goes_there_and_back(yard: Yard) -> None:
    workspace = yard.workspace()
    data = bytes(range(256)) * 8192
    (workspace / "in").write_bytes(data)
    done = yard.sh("cat in in > out; rm in; ln -s /etc/passwd link", workspace=workspace)
    assert done.state == "success"
    assert (workspace / "out").read_bytes() == data * 2
    assert not (workspace / "in").exists()
    assert (workspace / "link").is_symlink()


def test_a_helper_without_a_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem) as refusal:
        kubernetes.provider({"host": "http://127.0.0.1:9", "helper": "busybox:latest"}, tmp_path)
    assert refusal.value.code == "validation_failed"


def test_a_cluster_that_is_away_is_named(tmp_path: Path) -> None:
    away = kubernetes.provider({"host": "http://127.0.0.1:9", "helper": HELPER}, tmp_path)
    probe = away.probe()
    assert probe.tier is None
    assert "does not answer" in probe.missing[0]
    away.close()
