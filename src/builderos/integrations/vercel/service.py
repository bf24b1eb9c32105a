"""The provider `vercel`: each command in a sandbox of its own, a small machine that Vercel starts for it.

The sandbox carries the execution's name, so that another server finds it. It is destroyed with everything in it when
the execution is forgotten, and ends by itself some time after the command had to.
"""

# The SDK is used through its public names alone; its classes are generic over transports.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import contextlib
import io
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from builderos.core.problems import Problem
from builderos.execution.compute.schema import Probe, Spec, Use, host_rule
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

_ARCHIVE: Final = "builderos-workspace.tar"
_SECRETS_ARCHIVE: Final = "builderos-secrets.tar"
_BACK: Final = "builderos-back.tar"
_MARK: Final = "builderos"
_AFTERWARDS_S: Final = 900  # for fetching what it made
_CHUNK: Final = 1 << 16
_TLS: Final = 443
# As root, in the folder that belongs to the account of commands: everything laid out at its place.
_LAY_OUT: Final = (
    f"mkdir -p {WORKSPACE} {SECRETS} {HOME} && tar -x -o -f {_ARCHIVE} -C {WORKSPACE} && "
    f"tar -x -o -f {_SECRETS_ARCHIVE} -C {SECRETS} && rm {_ARCHIVE} {_SECRETS_ARCHIVE} && "
    f'chown -R "$(stat -c %u .)" {SECRETS} {HOME} && [ "$0" = read ] || chown -R "$(stat -c %u .)" {WORKSPACE}'
)
_RUN: Final = 'exec 2>&1; cd "$0" || exit 126; exec "$@"'
_STATUS_MISSING: Final = 404
_STATUS_TAKEN: Final = 409


class VercelMachine:
    """See `Machine`. `options` of ssot/providers/vercel/sandbox.yaml: `team` and `project` by id, `api` for another
    address of the API. `token` is asked for whenever one is needed."""

    def __init__(self, options: Mapping[str, str], token: Callable[[], str | None]) -> None:
        try:
            from vercel.sandbox import sync  # an extra: builderos[vercel]
        except ImportError as error:
            raise Problem(
                "unavailable", "the Vercel SDK is not installed", hint="pip install 'builderos[vercel]'"
            ) from error
        if not options.get("team") or not options.get("project"):
            raise Problem(
                "validation_failed",
                "the provider's file names no `team` and `project`",
                hint="Both are ids of Vercel.",
            )
        self.name = "vercel"
        self.holds_hosts = True
        self._sdk: Any = sync
        self._broken: Any = (
            sync.SandboxError.__base__
        )  # of all errors of the SDK, that it was closed among them
        self._options, self._token = options, token
        settings = self._sdk.SandboxServiceOptions(
            base_url=options.get("api"), credentials_factory=self._credentials
        )
        self._client: Any = self._sdk.SyncSandboxClient.create(options=settings)

    def probe(self) -> Probe:
        """See `Machine`."""
        with self._asked():
            next(iter(self._client.query_sandboxes()), None)
        return Probe(self.name, "remote", limits=("cpu", "memory"))

    def make(self, spec: Spec, fingerprint: str) -> None:
        """See `Machine`."""
        for host in spec.hosts:
            if host_rule(host)[1] != _TLS:
                raise Problem(
                    "policy_denied",
                    f"vercel lets nothing out but to port {_TLS}",
                    policy_rule="remote-network",
                )
        policy = self._sdk.NetworkPolicy
        files = [(secret.name, secret.value.encode()) for secret in spec.secrets]
        with packed_workspace(spec, ".") as archive, self._asked():
            sandbox = self._client.create_sandbox(
                name=short_name(spec.id), image=spec.image, persistent=False, destroy=False,
                execution_time_limit=timedelta(seconds=spec.limits.wall_s + spec.limits.grace_s + _AFTERWARDS_S),
                resources=self._sdk.SandboxResources(vcpus=math.ceil(spec.limits.cpu)), tags={_MARK: fingerprint},
                network_policy=policy.custom(dict.fromkeys(spec.hosts, ())) if spec.hosts else policy.deny_all(),
            )  # fmt: skip
            try:
                sandbox.fs.write_bytes(_ARCHIVE, archive.read())
                sandbox.fs.write_bytes(_SECRETS_ARCHIVE, packed_files(files, ACCOUNT), mode=0o600)
                self._as_root(sandbox, _LAY_OUT, "write" if spec.writable else "read")
                folder = f"{WORKSPACE}/{spec.cwd}".rstrip("/")
                sandbox.create_process(
                    "/bin/sh", ["-c", _RUN, folder, *command_of(spec)], env=environment_of(spec),
                    kill_after=spec.limits.wall_s + spec.limits.grace_s,
                )  # fmt: skip
            except BaseException:
                sandbox.destroy()
                raise

    def look(self, name: str) -> Seen:
        """See `Machine`."""
        with self._asked():
            sandbox = self._sandbox(name)
            mark = (sandbox.tags or {}).get(_MARK, "")
            process = self._process(sandbox)
            if process is None:
                return Seen(mark, half_made=True)
            code = process.refresh().returncode
        if code is None:
            return Seen(mark)
        seconds = max(0.0, time.time() - _instant(process.started_at))
        cores = sandbox.vcpus or 1
        return Seen(mark, code, None, "", seconds, use=Use(cpu_s=round(seconds * cores, 4)))

    def follow(self, name: str) -> Iterator[bytes]:
        """What the API gives is text, line by line: bytes that are none arrive as U+FFFD."""
        with self._asked():
            process = self._process(self._sandbox(name))
            if process is None:
                return
            while text := process.stdout.readline():
                yield text.encode()

    def use(self, name: str) -> Use:
        """Nothing is counted while it runs: what was reserved is what was used, and `look` says it at the end."""
        del name
        return Use()

    def end(self, name: str, grace_s: float) -> None:
        """See `Machine`."""
        with self._asked():
            process = self._process(self._sandbox(name))
            if process is None:
                return
            process.kill() if grace_s <= 0 else process.terminate()
        if grace_s > 0:
            later = threading.Timer(grace_s, self._kill, (process,))
            later.daemon = True
            later.start()

    def _kill(self, process: Any) -> None:
        with contextlib.suppress(Problem), self._asked():  # it ended in time, or is gone
            process.kill()

    def fetch(self, name: str, spec: Spec) -> None:
        """See `Machine`."""
        if not spec.writable:
            return
        with self._asked():
            sandbox = self._sandbox(name)
            self._as_root(sandbox, f"tar -c -f {_BACK} -C {WORKSPACE} . && chmod 644 {_BACK}", "fetch")
            data = sandbox.fs.read_bytes(_BACK)
        unpacked(io.BytesIO(data), Path(spec.workspace), limit=spec.limits.disk)

    def remove(self, name: str) -> None:
        """See `Machine`."""
        with self._asked():
            self._sandbox(name).destroy()

    def close(self) -> None:
        """See `Machine`."""
        self._client.close()

    # ------------------------------------------------------------ inside

    def _credentials(self) -> Any:
        token = self._token()
        if not token:
            raise Problem(
                "unavailable",
                "there is no credential for Vercel",
                hint="Set BUILDEROS_VERCEL_TOKEN for the server.",
            )
        return self._sdk.SandboxCredentials(
            token=token, team_id=self._options["team"], project_id=self._options["project"]
        )

    def _sandbox(self, name: str) -> Any:
        return self._client.get_sandbox(name=short_name(name))

    def _process(self, sandbox: Any) -> Any:
        """The command's own process, with a reader of its log; None where it was never started."""
        for process in sandbox.query_processes():
            if list(process.args)[:2] == ["-c", _RUN]:
                return sandbox.get_process(process.id)
        return None

    def _as_root(self, sandbox: Any, script: str, word: str) -> None:
        done = sandbox.run_process("/bin/sh", ["-c", script, word], sudo=True, capture_output=True)
        if done.returncode:
            raise Problem(
                "unavailable",
                f"the workspace could not be carried: {done.stderr[-300:]}",
                hint="See what stands in it.",
            )

    @contextlib.contextmanager
    def _asked(self) -> Generator[None]:
        """The SDK's errors in our words."""
        import httpx2

        try:
            yield
        except self._sdk.SandboxApiError as error:
            raise _problem(error.status_code, str(error)) from None
        except (self._broken, httpx2.HTTPError, OSError) as error:
            raise Problem(
                "unavailable", f"Vercel does not answer: {str(error)[:300]}", hint="See its status page."
            ) from None


def _instant(at: Any) -> float:
    return at.timestamp() if isinstance(at, datetime) else at / 1000


def _problem(status: int, words: str) -> Problem:
    if status == _STATUS_MISSING:
        return Problem("not_found", f"Vercel: {words[:300]}", hint="Start it.")
    if status == _STATUS_TAKEN:
        return Problem("conflict", f"Vercel: {words[:300]}", hint="Count the attempt up.", conflicts=[])
    return Problem("unavailable", f"Vercel refuses: {words[:300]}", hint="See the project's dashboard.")


def provider(options: Mapping[str, str], state: Path, token: Callable[[], str | None]) -> RemoteSandboxes:
    """The provider `vercel` of a server. Raises `unavailable` where the SDK is missing, `validation_failed` where the
    file lacks what it needs."""
    return RemoteSandboxes(VercelMachine(options, token), state)
