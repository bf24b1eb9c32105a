"""A small web service that comes along, with scripts of what models say, written by hand for exactly its files."""

import re
from pathlib import Path
from typing import Final

NAME: Final = "teashop"
MODEL: Final = f"scripted/{NAME}"
_SAMPLE: Final = Path(__file__).with_name("sample")
_FILE: Final = re.compile(r"^==> (.+) <==\n", re.MULTILINE)


def repository() -> dict[str, str]:
    """The files of its repository: path → text."""
    _, *parts = _FILE.split((_SAMPLE / "repository.txt").read_text("utf-8"))
    return dict(zip(parts[::2], parts[1::2], strict=True))


def provider_file() -> str:
    """A provider file with which every model follows the scripts; each of its answers carries the label `scripted`."""
    folder = str(_SAMPLE / "scripts").replace("'", "''")
    return (
        f"version: 1\ndefault: {MODEL}\n"
        f"providers:\n  scripted: {{kind: recorded, mode: scripted, folder: '{folder}'}}\n"
    )
