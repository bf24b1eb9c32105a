"""Looking for processes that should not be there."""

import os
from pathlib import Path


def with_word(word: str) -> list[int]:
    """Processes whose command line has this word."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it is gone meanwhile
        if word.encode() in line.split(b"\0") and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found
