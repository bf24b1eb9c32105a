"""Running the examples of a Markdown page as its reader would: one shell per page, block after block.

A `sh` block is run. A `text` or `json` block right behind it is what it must print: of a text every line in this order,
of a JSON document these members; `…` stands for anything. A `yaml` block names the delivery file that it shows, and a
`sh make` block holds commands that are checked to exist, because they run for minutes.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from . import commands
from .databases import SECRET, FreshDatabase
from .world import GIT_ENV, make_repository

ROOT: Final = Path(__file__).parents[2]
PRINTED_URL: Final = "http://127.0.0.1:8420"
_FENCE: Final = re.compile(r"^```(\w+)?[ ]*(.*?)\n(.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
_SERVER_READY_S: Final = 120


@dataclass(frozen=True)
class Block:
    """A fenced block: `info` is what follows the language."""

    language: str
    info: str
    text: str
    line: int


@dataclass(frozen=True)
class Example:
    """A block to run and what it must print (None: whatever it prints)."""

    block: Block
    expected: Block | None


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page."""
    text = page.read_text("utf-8")
    return [
        Block(m[1] or "", m[2].strip(), m[3], text.count("\n", 0, m.start()) + 1)
        for m in _FENCE.finditer(text)
    ]


def examples(page: Path) -> list[Example]:
    """The blocks to run, each with what it must print. An expectation without a command raises `ValueError`."""
    found: list[Example] = []
    previous: Block | None = None
    for block in blocks(page):
        if block.language == "sh" and not block.info:
            found.append(Example(block, None))
        elif block.language in ("json", "text") and not block.info:
            if previous is None or previous.language != "sh":
                raise ValueError(f"{page.name}:{block.line}: this output belongs to no command")
            found[-1] = Example(found[-1].block, block)
        previous = block
    return found


def run(page: Path, folder: Path, url: str, environment: dict[str, str]) -> None:
    """Run a page in `folder`; AssertionError names the line whose command failed or printed something else."""
    wanted = examples(page)
    script = ["set -eu"]
    for number, example in enumerate(wanted):
        script.append(
            f"{{\n{example.block.text.replace(PRINTED_URL, url)}\n}} > {folder.parent}/out.{number} 2>&1"
        )
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    for number, example in enumerate(wanted):
        out = folder.parent / f"out.{number}"
        printed = out.read_text("utf-8").replace(url, PRINTED_URL) if out.exists() else ""
        last = not (folder.parent / f"out.{number + 1}").exists()
        where = f"{page.relative_to(ROOT)}:{example.block.line}"
        assert out.exists(), f"{where} was not reached: {done.stderr}"
        assert done.returncode == 0 or not last, (
            f"{where} ended with {done.returncode}:\n{printed}{done.stderr}"
        )
        fault = mismatch(example.expected, printed) if example.expected else None
        assert fault is None, f"{where}: {fault}\nprinted:\n{printed}"


def mismatch(expected: Block, printed: str) -> str | None:
    """What is missing in the output; None if nothing is."""
    if expected.language == "text":
        return _missing_line(expected.text, printed)
    documents = list(_documents(printed))
    if not documents:
        return "no JSON was printed"
    return _differs(json.loads(expected.text), documents[-1], "")


def _missing_line(expected: str, printed: str) -> str | None:
    rest = " ".join(printed.split())
    for line in filter(None, (" ".join(line.split()) for line in expected.splitlines())):
        found = re.search(".*?".join(map(re.escape, line.split("…"))), rest)
        if found is None:
            return f"{line!r} is missing"
        rest = rest[found.end() :]
    return None


def _documents(printed: str) -> Iterator[Any]:
    """The JSON objects and lists in an output; what stands between them is passed over."""
    decoder, at = json.JSONDecoder(), 0
    while (start := re.compile(r"[\[{]").search(printed, at)) is not None:
        try:
            document, at = decoder.raw_decode(printed, start.start())
            yield document
        except ValueError:
            at = start.end()


def _differs(expected: Any, found: Any, where: str) -> str | None:
    if expected == "…":
        return None
    if isinstance(expected, dict) and isinstance(found, dict):
        lacking = expected.keys() - found.keys()
        if lacking:
            return f"{where}: no member {', '.join(sorted(lacking))}"
        parts = [(f"{where}.{key}", value, found[key]) for key, value in expected.items()]
    elif isinstance(expected, list) and isinstance(found, list):
        more = expected[-1:] == ["…"]
        wanted = expected[:-1] if more else expected
        if len(found) < len(wanted) or (len(found) > len(wanted) and not more):
            return f"{where}: {len(found)} items instead of {len(wanted)}"
        parts = [(f"{where}[{i}]", value, found[i]) for i, value in enumerate(wanted)]
    elif isinstance(expected, str) and isinstance(found, str):
        fits = re.fullmatch(".*".join(map(re.escape, expected.split("…"))), found, re.DOTALL)
        return None if fits else f"{where}: {found!r} instead of {expected!r}"
    else:
        return None if expected == found else f"{where}: {found!r} instead of {expected!r}"
    return next((fault for part in parts if (fault := _differs(part[1], part[2], part[0]))), None)


@dataclass(frozen=True)
class Served:
    """A server in a process of its own."""

    url: str
    home: Path

    def reader(self, folder: Path, *, curl: Path | None = None, started: bool = False) -> dict[str, str]:
        """The environment of somebody who follows the pages in `folder`, an empty one: made a small repository.

        `builderos` is forked (`commands.py`); with `started` it is the real program.
        """
        make_repository(folder / "project")
        stand_in = [str(curl)] if curl else []
        stand_in += [] if started else [str(commands.stand_in(folder / "stand-in"))]
        return {
            **GIT_ENV, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config"), "URL": self.url,
            "PATH": os.pathsep.join([*stand_in, str(Path(sys.executable).parent), os.environ["PATH"]]),
            "BUILDEROS_HOME": str(self.home), "JSON": "Content-Type: application/json", "LC_ALL": "C.UTF-8",
        }  # fmt: skip


@contextlib.contextmanager
def served(home: Path, database: FreshDatabase, **settings: str) -> Iterator[Served]:
    """A server over a fresh database; ends with the block."""
    home.mkdir(parents=True)
    environment = {
        **os.environ, "BUILDEROS_HOME": str(home), "PORT": "0", "BUILDEROS_DATABASE_URL": database.superuser_conninfo,
        "BUILDEROS_SECRET_KEY": SECRET.decode(), "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **settings,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "builderos.app"], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("BuilderOS is serving at "), line
        yield Served(line.split()[-1], home)
    finally:
        process.terminate()
        process.wait(_SERVER_READY_S)
