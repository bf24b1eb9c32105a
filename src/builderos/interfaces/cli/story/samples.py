"""Small repositories that come along, each as one text: the path of a file between arrows, then what it holds."""

import re
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).with_name("sample")
_FILE: Final = re.compile(r"^==> (.+) <==\n", re.MULTILINE)


def files_of(name: str) -> dict[str, str]:
    """The files of one: path → text."""
    _, *parts = _FILE.split((FOLDER / name).read_text("utf-8"))
    return dict(zip(parts[::2], parts[1::2], strict=True))


def lay_out(files: dict[str, str], folder: Path) -> None:
    """Write them into a folder."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, "utf-8")
