"""What a command prints: kept raw up to a limit, then counted and thrown away, so that it neither fills nor waits."""

import os
from typing import Final

_CHUNK: Final = 1 << 20


class Output:
    """From a pipe into a file."""

    def __init__(self, path: str, limit: int) -> None:
        self._log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._limit = limit
        self.source, self.sink = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.source, False)
        self.total = 0
        self.failed = False
        self._ended = False

    @property
    def truncated(self) -> bool:
        """Whether some of it was thrown away."""
        return self.total > self._limit or self.failed

    def pump(self) -> bool:
        """Take what is there; False once there will be no more."""
        try:
            data = os.read(self.source, _CHUNK)
        except BlockingIOError:
            return True
        if not data:
            return False
        room = max(0, self._limit - self.total)
        self.total += len(data)
        if room and not self.failed:
            self._write(data[:room])
        return True

    def release(self) -> None:
        """The command holds the sink; we no longer do."""
        if self.sink >= 0:
            os.close(self.sink)
            self.sink = -1

    def end(self) -> None:
        """Take the rest, and say so in the log where it is not whole."""
        if self._ended:
            return
        self._ended = True
        self.release()
        kept = min(self.total, self._limit)
        while self.pump() and self._more():
            kept = min(self.total, self._limit)
        if self.truncated:
            self.failed = False
            self._write(f"\n[truncated: {kept} of {self.total} bytes are kept]\n".encode())
        os.close(self.source)
        os.close(self._log)

    def _more(self) -> bool:
        """Whether the pipe holds bytes now: who kept its other end open shall not keep us."""
        import select

        return bool(select.select([self.source], [], [], 0)[0])

    def _write(self, data: bytes) -> None:
        try:
            os.write(self._log, data)
        except OSError:  # the disk is full: the command shall not be blocked by its log
            self.failed = True
