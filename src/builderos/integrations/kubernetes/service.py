"""The provider `kubernetes`: each command as a Job with an idempotent name.

The workspace travels through `exec` of the pod's helpers, so that the cluster needs no way to this server and no
storage of its own.
"""

# The client has no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import contextlib
import io
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

from builderos.core.problems import Problem
from builderos.execution.compute.schema import Probe, Reason, Spec, Use
from builderos.execution.compute.service import (
    WORKSPACE,
    RemoteSandboxes,
    Seen,
    packed_workspace,
    short_name,
    unpacked,
)

from . import manifest

_TIMEOUT_S: Final = 30
_READY_S: Final = 300.0
_POLL_S: Final = 0.2
_CHUNK: Final = 256 * 1024
_STDOUT: Final = 1
_TERM: Final = "kill -TERM -1"
_KILL: Final = "kill -KILL -1"
_REASONS: Final[dict[str, Reason]] = {"OOMKilled": "oom", "Evicted": "disk", "DeadlineExceeded": "timeout"}
_TAKEN: Final = 409
_MISSING: Final = 404


class KubernetesMachine:
    """See `Machine`. `options` of ssot/providers/kubernetes/sandbox.yaml: `namespace`, `helper` (an image with sh and
    tar, pinned by its digest), and `context` of the kubeconfig or `host` of an API without credentials; inside a
    cluster neither is needed.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        try:
            from kubernetes import client, stream  # an extra: builderos[kubernetes]
            from kubernetes.client import rest
        except ImportError as error:
            raise Problem(
                "unavailable",
                "the Kubernetes client is not installed",
                hint="pip install 'builderos[kubernetes]'",
            ) from error
        self.name = "kubernetes"
        self.holds_hosts = False
        self._helper = options.get("helper", "")
        if "@sha256:" not in self._helper:
            raise Problem(
                "validation_failed", "the provider's file names no `helper` image pinned by its digest",
                hint="Any image with sh and tar will do, e.g. busybox.",
            )  # fmt: skip
        self._namespace = options.get("namespace", "default")
        self._refused: Any = client.ApiException
        transport: Any = rest
        self._broken: tuple[Any, ...] = (transport.urllib3.exceptions.HTTPError,)
        self._stream: Any = stream.stream
        self._options = options
        self._make: Any = client
        self._api: Any = _api(options)
        self._jobs: Any = client.BatchV1Api(self._api)
        self._core: Any = client.CoreV1Api(self._api)
        self._networks: Any = client.NetworkingV1Api(self._api)

    def probe(self) -> Probe:
        """See `Machine`."""
        with self._asked():
            self._jobs.list_namespaced_job(self._namespace, limit=1, _request_timeout=_TIMEOUT_S)
        return Probe(self.name, "remote", limits=("cpu", "memory"))

    def make(self, spec: Spec, fingerprint: str) -> None:
        """See `Machine`."""
        body = manifest.job(spec, fingerprint, self._helper)
        with packed_workspace(spec, ".") as archive, self._asked():
            made = self._jobs.create_namespaced_job(self._namespace, body, _request_timeout=_TIMEOUT_S)
            try:
                owner = made.metadata.uid
                self._networks.create_namespaced_network_policy(self._namespace, manifest.policy(spec, owner))
                if spec.secrets:
                    self._core.create_namespaced_secret(self._namespace, manifest.secret(spec, owner))
                pod = self._pod_that(spec.id, _receives)
                self._send(pod, archive)
            except BaseException:
                self._delete(spec.id)
                raise

    def look(self, name: str) -> Seen:
        """See `Machine`."""
        with self._asked():
            job = self._jobs.read_namespaced_job(
                short_name(name), self._namespace, _request_timeout=_TIMEOUT_S
            )
            mark = (job.metadata.annotations or {}).get(manifest.MARK, "")
            pod = self._pod(name)
        if pod is None:
            over = [
                c.reason for c in job.status.conditions or [] if c.type == "Failed" and c.status == "True"
            ]
            return (
                Seen(mark, -1, _REASONS.get(over[0], "lost"), over[0]) if over else Seen(mark, half_made=True)
            )
        ended = _terminated(pod)
        if ended is None:
            if pod.status.phase == "Failed":  # evicted, or its time was over before it began
                return Seen(mark, -1, _REASONS.get(pod.status.reason, "lost"), str(pod.status.message or ""))
            return Seen(mark, half_made=_receives(pod))
        seconds = _seconds(ended.started_at, ended.finished_at)
        cores = _cores(pod)
        return Seen(
            mark,
            ended.exit_code,
            _REASONS.get(ended.reason),
            "",
            seconds,
            use=Use(cpu_s=round(seconds * cores, 4)),
        )

    def follow(self, name: str) -> Iterator[bytes]:
        """See `Machine`."""
        with self._asked():
            pod = self._pod_that(name, _has_begun)
            reply = self._core.read_namespaced_pod_log(
                pod.metadata.name,
                self._namespace,
                container=manifest.COMMAND,
                follow=True,
                _preload_content=False,
            )
            try:
                yield from iter(lambda: reply.read1(_CHUNK), b"")
            finally:
                reply.release_conn()

    def use(self, name: str) -> Use:
        """Nothing is counted while it runs: what was reserved is what was used, and `look` says it at the end."""
        del name
        return Use()

    def end(self, name: str, grace_s: float) -> None:
        """See `Machine`."""
        with self._asked():
            pod = self._pod(name)
            if pod is None:
                return
            self._run(pod, manifest.COMMAND, _KILL if grace_s <= 0 else _TERM)
        if grace_s > 0:
            later = threading.Timer(grace_s, self._kill, (pod,))
            later.daemon = True
            later.start()

    def _kill(self, pod: Any) -> None:
        with contextlib.suppress(Problem), self._asked():  # it ended in time, or is gone
            self._run(pod, manifest.COMMAND, _KILL)

    def fetch(self, name: str, spec: Spec) -> None:
        """See `Machine`."""
        with self._asked():
            pod = self._pod(name)
            if pod is None or not spec.writable or _terminated(pod) is None:
                return
            with tempfile.TemporaryFile() as file:
                self._receive(pod, file, spec.limits.disk)
                file.seek(0)
                unpacked(file, Path(spec.workspace), limit=spec.limits.disk)

    def remove(self, name: str) -> None:
        """See `Machine`."""
        with self._asked():
            self._delete(name)

    def close(self) -> None:
        """See `Machine`."""
        self._api.close()

    # ------------------------------------------------------------ inside

    def _delete(self, name: str) -> None:
        """The Job, and with it all that it owns."""
        with contextlib.suppress(Problem), self._asked():
            self._jobs.delete_namespaced_job(
                short_name(name), self._namespace, propagation_policy="Background", grace_period_seconds=0,
                _request_timeout=_TIMEOUT_S,
            )  # fmt: skip

    def _pod(self, name: str) -> Any:
        found = self._core.list_namespaced_pod(
            self._namespace,
            label_selector=f"{manifest.LABEL}={short_name(name)}",
            _request_timeout=_TIMEOUT_S,
        )
        return found.items[0] if found.items else None

    def _pod_that(self, name: str, fits: Any) -> Any:
        """The pod once `fits` holds of it, or it is over. Raises `unavailable` where the cluster has no room for it."""
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            pod = self._pod(name)
            if pod is not None and (fits(pod) or pod.status.phase in ("Failed", "Succeeded")):
                return pod
            if pod is None:  # not yet, or not any more: without its Job this raises
                self._jobs.read_namespaced_job(short_name(name), self._namespace, _request_timeout=_TIMEOUT_S)
            time.sleep(_POLL_S)
        raise Problem(
            "unavailable",
            f"the cluster did not start the pod within {_READY_S:.0f} s",
            hint="See the Job's events.",
        )

    def _run(self, pod: Any, container: str, script: str) -> None:
        """Run a script in a container and wait for its end."""
        self._exec(pod, container, script, stdin=False).run_forever(timeout=_TIMEOUT_S)

    def _exec(self, pod: Any, container: str, script: str, *, stdin: bool) -> Any:
        # `stream` replaces the client's way to make requests while it is at work: hence a client of its own.
        core = self._make.CoreV1Api(_api(self._options))
        return self._stream(
            core.connect_get_namespaced_pod_exec, pod.metadata.name, self._namespace, container=container,
            command=["/bin/sh", "-c", script], stdin=stdin, stdout=True, stderr=True, tty=False, binary=True,
            _preload_content=False, _request_timeout=_TIMEOUT_S,
        )  # fmt: skip

    def _send(self, pod: Any, archive: IO[bytes]) -> None:
        size = archive.seek(0, io.SEEK_END)
        archive.seek(0)
        script = f"head -c {size} | tar -x -o -f - -C {WORKSPACE} && touch /control/ready"
        channel = self._exec(pod, manifest.RECEIVE, script, stdin=True)
        while data := archive.read(_CHUNK):
            channel.write_stdin(data)
        channel.run_forever(timeout=_READY_S)
        if channel.returncode != 0:
            raise Problem(
                "unavailable",
                "the workspace could not be sent to the pod",
                hint="See that the helper has sh and tar.",
            )

    def _receive(self, pod: Any, file: IO[bytes], limit: int) -> None:
        channel = self._exec(pod, manifest.KEEPER, f"tar -c -f - -C {WORKSPACE} .", stdin=False)
        left = 2 * limit + (64 << 20)  # names and padding count, too
        while channel.is_open():
            channel.update(timeout=1)
            if data := channel.read_channel(_STDOUT):
                file.write(data)
                left -= len(data)
            if left < 0:
                channel.close()
                raise Problem(
                    "unavailable", "the workspace that came back is too large", hint="Write less into it."
                )
        file.write(channel.read_channel(_STDOUT))

    @contextlib.contextmanager
    def _asked(self) -> Generator[None]:
        """The client's errors in our words."""
        try:
            yield
        except self._refused as error:
            raise _problem(error.status, str(error.body or error.reason)) from None
        except (*self._broken, OSError) as error:
            raise Problem(
                "unavailable", f"the cluster does not answer: {str(error)[:300]}",
                hint="See that the provider's file leads to it.",
            ) from None  # fmt: skip


def _api(options: Mapping[str, str]) -> Any:
    from kubernetes import client, config

    made: Any = client
    if host := options.get("host"):
        return made.ApiClient(made.Configuration(host=host))
    loader: Any = config
    if "context" not in options:
        with contextlib.suppress(loader.ConfigException):
            found = made.Configuration()
            loader.load_incluster_config(client_configuration=found)
            return made.ApiClient(found)
    return loader.new_client_from_config(context=options.get("context"))


def _status(pod: Any, name: str, *, first: bool = False) -> Any:
    listed = (pod.status.init_container_statuses if first else pod.status.container_statuses) or []
    return next((status.state for status in listed if status.name == name), None)


def _receives(pod: Any) -> bool:
    state = _status(pod, manifest.RECEIVE, first=True)
    return state is not None and state.running is not None


def _has_begun(pod: Any) -> bool:
    state = _status(pod, manifest.COMMAND)
    return state is not None and (state.running is not None or state.terminated is not None)


def _terminated(pod: Any) -> Any:
    state = _status(pod, manifest.COMMAND)
    return state.terminated if state is not None else None


def _cores(pod: Any) -> float:
    text: str = next(c.resources.limits["cpu"] for c in pod.spec.containers if c.name == manifest.COMMAND)
    return int(text[:-1]) / 1000 if text.endswith("m") else float(text)


def _seconds(began: datetime | None, ended: datetime | None) -> float:
    """The cluster tells whole seconds: one that was begun counts."""
    return max(1.0, (ended - began).total_seconds()) if began and ended else 0.0


def _problem(status: int | None, words: str) -> Problem:
    if status == _MISSING:
        return Problem("not_found", f"Kubernetes: {words[:300]}", hint="Start it.")
    if status == _TAKEN:
        return Problem("conflict", f"Kubernetes: {words[:300]}", hint="Count the attempt up.", conflicts=[])
    return Problem("unavailable", f"Kubernetes refuses: {words[:300]}", hint="See the cluster's events.")


def provider(options: Mapping[str, str], state: Path) -> RemoteSandboxes:
    """The provider `kubernetes` of a server. Raises `unavailable` where the client is missing, `validation_failed`
    where the file lacks what it needs."""
    return RemoteSandboxes(KubernetesMachine(options), state)
