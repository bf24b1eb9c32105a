"""What a person keeps on this machine for one server: a JSON file that nobody else reads, changed by one at a time."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class Kept:
    """One such file. Raises `OSError` where it cannot be used, `ValueError` where it was damaged."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> Json:
        """What is kept; nothing where there is no file yet."""
        try:
            return json.loads(self.file.read_text("utf-8"))
        except FileNotFoundError:
            return {}

    def change(self, change: Callable[[Json], Any]) -> None:
        """Let `change` work on what is kept, and keep that; others wait meanwhile."""
        import fcntl

        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.file.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = self.read()
            change(kept)
            self._write(json.dumps(kept, indent=2))

    def _write(self, text: str) -> None:
        draft = self.file.with_suffix(".new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text + "\n")
        draft.replace(self.file)
