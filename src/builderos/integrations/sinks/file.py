"""Files in the server's own state folder, for log shippers to follow."""

import json
import os
from pathlib import Path
from typing import Any, Final

from builderos.core.settings import Settings
from builderos.trust.audit.ports import Batch, NotTaken

FOLDER: Final = "audit"
_MB: Final = 1024 * 1024


class FileCarrier:
    """Appends rows to `audit/<organisation>/<sink>.jsonl` and the signature to `….signatures.jsonl`, both synced.

    At its size a file is set aside under the number of its last row. What a crash left half written is cut off.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def fit(self, _config: dict[str, Any], /) -> dict[str, str]:
        """The caller chooses no path, so there is nothing to check."""
        return {}

    def carry(self, config: dict[str, Any], _secrets: dict[str, str], batch: Batch, /) -> None:
        """Return when both are on the disk."""
        folder = self._settings.home_dir / FOLDER / batch.org_id
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if batch.stream == "test":
                (folder / f"{batch.sink_id}.test").write_bytes(batch.data)
                return
            file = folder / f"{batch.sink_id}.jsonl"
            if file.exists() and file.stat().st_size >= config["max_mb"] * _MB:
                file.rename(folder / f"{batch.sink_id}-{batch.first - 1:012}.jsonl")
            _append(file, batch.data)
            _append(folder / f"{batch.sink_id}.signatures.jsonl", json.dumps(batch.envelope).encode() + b"\n")
        except OSError as error:
            raise NotTaken(f"the file cannot be written: {error.strerror}") from error


def _append(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "r+b") as file:
        end = _end_of_last_line(file.seek(0, os.SEEK_END), fd)
        file.truncate(end)
        file.seek(end)
        file.write(data)
        file.flush()
        os.fsync(fd)


def _end_of_last_line(size: int, fd: int) -> int:
    """Where the last whole line ends."""
    at = size
    while at > 0:
        start = max(0, at - 65_536)
        found = os.pread(fd, at - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        at = start
    return 0
