"""The provider `docker`: each command in a container of its own, on whatever machine the daemon runs.

The workspace travels there and back as an archive, because the daemon need not share our disk. Secrets travel in the
same way, never in the container's description, which everybody who may ask the daemon can read.
"""

import contextlib
import threading
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, cast

from builderos.core.problems import Problem
from builderos.execution.compute.schema import Probe, Spec, Use
from builderos.execution.compute.service import (
    ACCOUNT,
    HOME,
    SECRETS,
    WORKSPACE,
    RemoteSandboxes,
    Seen,
    command_of,
    environment_of,
    packed_files,
    packed_workspace,
    short_name,
    unpacked,
)

_API: Final = "1.44"  # Docker 25 and later
_TIMEOUT_S: Final = 60
_LABEL: Final = "dev.builderos"
_LIMITS: Final = {"cpu": "CpuCfsQuota", "memory": "MemoryLimit", "pids": "PidsLimit"}
_TAKEN: Final = 409
_MISSING: Final = 404


class _Chunks:
    """An iterator of bytes as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            more = next(self._chunks, b"")
            if not more:
                break
            self._rest += more
        cut = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:cut], self._rest[cut:]
        return data


class DockerMachine:
    """See `Machine`. `options` of ssot/providers/docker/sandbox.yaml: `host`, e.g. tcp://10.0.0.5:2376 or unix:///…;
    the environment's without it."""

    name: str = "docker"
    holds_hosts: bool = False

    def __init__(self, options: Mapping[str, str]) -> None:
        try:
            import docker  # an extra: builderos[docker]
        except ImportError as error:
            raise Problem(
                "unavailable", "the Docker SDK is not installed", hint="pip install 'builderos[docker]'"
            ) from error
        self._errors: Any = docker.errors  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]
        kept: dict[str, Any] = {"version": _API, "timeout": _TIMEOUT_S}
        host = options.get("host")
        with self._asked():
            made: Any = docker.DockerClient(base_url=host, **kept) if host else docker.from_env(**kept)
        self._client = made

    def probe(self) -> Probe:
        """See `Machine`."""
        with self._asked():
            facts = self._client.info()
        return Probe(
            self.name, "remote", limits=tuple(name for name, fact in _LIMITS.items() if facts.get(fact))
        )

    def make(self, spec: Spec, fingerprint: str) -> None:
        """See `Machine`."""
        with packed_workspace(spec, ".") as archive, self._asked():
            self._have_image(spec.image)
            described = self._description(spec, fingerprint)
            container = self._client.containers.create(spec.image, command_of(spec), **described)
            try:
                container.put_archive(WORKSPACE, archive)  # into the volume: the rest is read-only
                if spec.secrets:
                    files = [(secret.name, secret.value.encode()) for secret in spec.secrets]
                    container.put_archive(SECRETS, packed_files(files, ACCOUNT))
                container.start()
            except BaseException:
                container.remove(v=True, force=True)
                raise

    def look(self, name: str) -> Seen:
        """See `Machine`."""
        with self._asked():
            container = self._container(name)
            state = container.attrs["State"]
            mark = container.labels.get(f"{_LABEL}.fingerprint", "")
        if state["Status"] == "created":
            return Seen(mark, half_made=True)
        seconds = _seconds(state["StartedAt"], state["FinishedAt"])
        if state["Status"] not in ("exited", "dead"):
            return Seen(mark)
        cause = "oom" if state["OOMKilled"] else None
        return Seen(mark, state["ExitCode"], cause, str(state.get("Error", "")), seconds)

    def follow(self, name: str) -> Iterator[bytes]:
        """See `Machine`."""
        with self._asked():
            yield from self._container(name).logs(stdout=True, stderr=True, stream=True, follow=True)

    def use(self, name: str) -> Use:
        """See `Machine`."""
        with self._asked():
            stats = self._container(name).stats(stream=False, one_shot=True)
        memory: dict[str, int] = stats.get("memory_stats", {})
        networks: dict[str, dict[str, int]] = stats.get("networks") or {}
        return Use(
            cpu_s=stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
            max_rss=memory.get("max_usage", memory.get("usage", 0)),
            network_sent=sum(card["tx_bytes"] for card in networks.values()),
            network_received=sum(card["rx_bytes"] for card in networks.values()),
        )

    def end(self, name: str, grace_s: float) -> None:
        """See `Machine`."""
        with self._asked():
            container = self._container(name)
            container.kill("SIGKILL" if grace_s <= 0 else "SIGTERM")
        if grace_s > 0:
            later = threading.Timer(grace_s, self._kill, (container,))
            later.daemon = True
            later.start()

    def _kill(self, container: Any) -> None:
        with contextlib.suppress(Problem), self._asked():  # it ended in time, or is gone
            container.kill("SIGKILL")

    def fetch(self, name: str, spec: Spec) -> None:
        """See `Machine`."""
        if not spec.writable:
            return
        with self._asked():
            chunks, _ = self._container(name).get_archive(WORKSPACE)
            unpacked(cast("IO[bytes]", _Chunks(iter(chunks))), Path(spec.workspace), limit=spec.limits.disk)

    def remove(self, name: str) -> None:
        """See `Machine`."""
        with self._asked():
            self._container(name).remove(v=True, force=True)

    def close(self) -> None:
        """See `Machine`."""
        self._client.close()

    # ------------------------------------------------------------ inside

    def _container(self, name: str) -> Any:
        return self._client.containers.get(short_name(name))

    def _have_image(self, image: str) -> None:
        try:
            self._client.images.get(image)
        except self._errors.ImageNotFound:
            self._client.images.pull(image)

    def _description(self, spec: Spec, fingerprint: str) -> dict[str, Any]:
        limits, scratch = spec.limits, f"size={spec.limits.scratch},mode=1777"
        described: dict[str, Any] = {
            "name": short_name(spec.id), "entrypoint": [], "user": f"{ACCOUNT}:{ACCOUNT}",
            "working_dir": f"{WORKSPACE}/{spec.cwd}".rstrip("/"), "environment": environment_of(spec),
            "labels": {f"{_LABEL}.name": spec.id, f"{_LABEL}.fingerprint": fingerprint},
            "network_mode": "none", "read_only": True, "init": True, "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"], "volumes": [WORKSPACE, SECRETS],
            "tmpfs": {"/tmp": scratch, HOME: scratch},  # noqa: S108  in the container
            "mem_limit": limits.memory, "memswap_limit": limits.memory, "nano_cpus": int(limits.cpu * 1e9),
            "pids_limit": limits.pids, "shm_size": limits.scratch,
            "ulimits": [
                {"Name": "nofile", "Soft": limits.files, "Hard": limits.files},
                {"Name": "core", "Soft": 0, "Hard": 0},
            ],
        }  # fmt: skip
        if spec.gpu:
            described["device_requests"] = [{"Count": spec.gpu, "Capabilities": [["gpu"]]}]
        return described

    @contextlib.contextmanager
    def _asked(self) -> Generator[None]:
        """The SDK's errors in our words."""
        try:
            yield
        except self._errors.APIError as error:
            raise _problem(error.status_code, str(error.explanation)) from None
        except (self._errors.DockerException, OSError) as error:
            raise Problem(
                "unavailable", f"the Docker daemon does not answer: {str(error)[:300]}",
                hint="See that it runs and that `host` in the provider's file leads to it.",
            ) from None  # fmt: skip


def _problem(status: int | None, words: str) -> Problem:
    if status == _MISSING:
        return Problem("not_found", f"Docker: {words[:300]}", hint="Start it.")
    if status == _TAKEN:
        return Problem("conflict", f"Docker: {words[:300]}", hint="Count the attempt up.", conflicts=[])
    return Problem("unavailable", f"Docker refuses: {words[:300]}", hint="See the daemon's log.")


def _seconds(began: str, ended: str) -> float:
    """Between two times as Docker writes them; 0 where one of them is not set."""
    from datetime import datetime

    if began.startswith("0001") or ended.startswith("0001"):
        return 0.0
    first, last = (datetime.fromisoformat(text[:26].rstrip("Z")) for text in (began, ended))
    return max(0.0, (last - first).total_seconds())


def provider(options: Mapping[str, str], state: Path) -> RemoteSandboxes:
    """The provider `docker` of a server. Raises `unavailable` where the SDK is missing or no daemon answers."""
    return RemoteSandboxes(DockerMachine(options), state)
