"""A provider with workspaces, for tests that run commands in it."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from builderos.core import folders
from builderos.execution.compute.ports import SandboxProvider
from builderos.execution.compute.schema import Limits, Probe, Sandbox, Spec, Tier
from builderos.integrations.bwrap.service import LocalSandboxes
from builderos.integrations.docker import service as docker
from builderos.integrations.kubernetes import service as kubernetes
from builderos.integrations.vercel import service as vercel

from . import boxes
from .clusters import HELPER, cluster_in
from .dockers import IMAGE, docker_in
from .servers import until
from .vercels import PROJECT, TEAM, TOKEN, vercel_in

QUICK = Limits(wall_s=120, grace_s=0.2)


class Yard:
    """One provider under a closed folder, as a server has it; every run gets a workspace of its own."""

    def __init__(
        self, folder: Path, tier: Tier, networks: str = "", provider: SandboxProvider | None = None, image: str = "",
        engine: object = None,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.tier: Tier = tier
        self.image = image
        self.engine = engine  # the double behind a remote provider
        self.provider: SandboxProvider = provider or LocalSandboxes(
            folder / "state", tier=tier, networks=networks
        )
        self._numbers = itertools.count(1)

    def needed(self) -> "Yard":
        """Itself; skips the test, and says why, on a machine that lends no such tier."""
        probe = self.provider.probe()
        if probe.tier != self.tier:
            pytest.skip(f"no {self.tier} sandbox on this machine: {' '.join(probe.missing)}")
        return self

    def workspace(self) -> Path:
        """An empty folder."""
        path = self.folder / f"w{next(self._numbers)}"
        path.mkdir()
        return path

    def spec(self, *argv: str, **given: Any) -> Spec:
        """A command in a fresh workspace, unless one is given."""
        given.setdefault("workspace", "")
        place = str(given.pop("workspace") or self.workspace())
        name = given.pop("id", f"run_1.node.{next(self._numbers)}")
        given.setdefault("limits", QUICK)
        given.setdefault("tier", self.tier)
        given.setdefault("image", self.image)
        return Spec(name, argv, place, **given)

    def run(self, *argv: str, **given: Any) -> Sandbox:
        """Start and wait."""
        sandbox = self.provider.start(self.spec(*argv, **given))
        ended = self.provider.wait(sandbox.id, 240)
        assert ended.result is not None, "it did not end within four minutes"
        return ended

    def sh(self, script: str, **given: Any) -> Sandbox:
        """Run a shell script."""
        return self.run("sh", "-c", script, **given)

    def text(self, sandbox: Sandbox) -> str:
        """All that it printed."""
        return self.provider.logs(sandbox.id, 0, 1 << 24).data.decode("utf-8", "replace")

    def until_printed(self, sandbox: Sandbox, mark: str) -> None:
        """Wait until it says so."""
        until(lambda: mark in self.text(sandbox))


@contextmanager
def yard_in_temp(tier: Tier, networks: str = "") -> Iterator[Yard]:
    """A yard in a folder that only its owner may enter."""
    folder = Path(tempfile.mkdtemp(prefix="bos-yard-"))
    yard = Yard(folder, tier, networks)
    try:
        yield yard
    finally:
        yard.provider.close()
        folders.remove(folder)  # a test may have made it deeper than a recursion goes


@contextmanager
def docker_yard() -> Iterator[Yard]:
    """A yard whose commands run in containers of a daemon on loopback."""
    boxes.needed()
    with _walkable() as folder, docker_in(folder / "containers") as daemon:
        provider = docker.provider({"host": daemon.host}, folder / "state")
        yield Yard(folder, "remote", provider=provider, image=IMAGE, engine=daemon)
        provider.close()
        assert daemon.faults == [], "requests that the API does not know"


@contextmanager
def cluster_yard() -> Iterator[Yard]:
    """A yard whose commands run as Jobs of a cluster on loopback."""
    boxes.needed()
    with _walkable() as folder, cluster_in(folder / "pods") as cluster:
        options = {"host": cluster.host, "namespace": "steps", "helper": HELPER}
        provider = kubernetes.provider(options, folder / "state")
        yield Yard(folder, "remote", provider=provider, image=IMAGE, engine=cluster)
        provider.close()
        assert cluster.faults == [], "requests that the API does not know"


@contextmanager
def vercel_yard() -> Iterator[Yard]:
    """A yard whose commands run in sandboxes of a project on loopback."""
    boxes.needed()
    with _walkable() as folder, vercel_in(folder / "machines") as project:
        options = {"api": project.url, "team": TEAM, "project": PROJECT}
        provider = vercel.provider(options, folder / "state", lambda: TOKEN)
        yield Yard(folder, "remote", provider=provider, image=IMAGE, engine=project)
        provider.close()
        assert project.faults == [], "requests that the SDK does not make"


@contextmanager
def _walkable() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="bos-yard-"))
    folder.chmod(0o755)
    (folder / "state").mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def needs_strong(probe: Probe) -> None:
    """Skips the test, and says why, on a machine that lends no strong sandbox."""
    if probe.tier != "strong":
        pytest.skip(f"no strong sandbox on this machine: {' '.join(probe.missing)}")
