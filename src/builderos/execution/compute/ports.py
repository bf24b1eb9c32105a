"""What every provider of rooms for commands does, here or far away."""

from collections.abc import Callable
from typing import Protocol

from .schema import LogChunk, Probe, Sandbox, Spec


class LogSink(Protocol):
    """Takes what a command prints."""

    def write(self, data: bytes, /) -> object:
        """The next bytes, raw."""
        ...


class SandboxProvider(Protocol):
    """Runs one command at a time per name. Every method may be called again with the same words.

    Methods block; call them from a thread. All raise `not_found` for a name that was never started here.
    """

    @property
    def name(self) -> str:
        """As in ssot/providers/<name>/sandbox.yaml."""
        ...

    @property
    def remote(self) -> bool:
        """Whether what it runs is found from every machine and goes on while no server of ours runs."""
        ...

    def probe(self) -> Probe:
        """What can be had on this machine, and what it is known not to hold back."""
        ...

    def start(self, spec: Spec) -> Sandbox:
        """Begin; where that name already began with the same spec, say how it stands instead.

        Raises `validation_failed`, `conflict` (another spec under that name), `policy_denied` (the tier that is
        demanded cannot be had) or `unavailable`; then nothing runs.
        """
        ...

    def attach(self, sandbox_id: str) -> Sandbox:
        """Find it again after a crash of the caller: running, ended, or `lost`. Never starts anything."""
        ...

    def poll(self, sandbox_id: str) -> Sandbox:
        """How it stands now."""
        ...

    def wait(self, sandbox_id: str, timeout_s: float | None = None) -> Sandbox:
        """How it stands once it ended, or after `timeout_s` seconds."""
        ...

    def when_ended(self, sandbox_id: str, tell: Callable[[Sandbox], None]) -> None:
        """Call `tell` once, from any thread, when it ended; at once where it has. It must not block."""
        ...

    def kill(self, sandbox_id: str, grace_s: float | None = None) -> None:
        """Ask all its processes to end, kill the rest after `grace_s` (else the spec's). Does not wait for it."""
        ...

    def logs(self, sandbox_id: str, offset: int = 0, limit: int = 65536) -> LogChunk:
        """What it printed, both streams in order, raw; at most `limit` bytes from byte `offset`."""
        ...

    def remove(self, sandbox_id: str) -> None:
        """Forget an ended one with its log. Raises `busy` while it runs."""
        ...

    def close(self) -> None:
        """End everything that runs."""
        ...
