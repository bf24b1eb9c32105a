"""What a command says by name, for later steps to read as `steps.<id>.outputs.<name>`.

It writes JSON objects, one a line, into the file that `BUILDEROS_OUTPUT` names. The file lies in the step's folder,
because that is all that the command shares with us everywhere, and is gone before the folder becomes a tree.
"""

import errno
import functools
import json
import re
from pathlib import Path
from typing import Any, Final

from builderos.core import folders
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.steps import Work
from builderos.core.unit import Unit, perform
from builderos.execution.compute import service as compute
from builderos.trust.vault import service as vault

VARIABLE: Final = "BUILDEROS_OUTPUT"
FILE: Final = ".builderos-output"
KEY: Final = "outputs"  # of a step's result: what else stands there is the server's word
MAX_BYTES: Final = 64 * 1024
MAX_NAMES: Final = 100
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}\Z")


def script_of(run: str) -> str:
    """A step's script that knows where to write, whatever its folder is called there; lines keep their numbers."""
    return f'export {VARIABLE}="$PWD/{FILE}"; {run}'


def taken(context: Context, work: Work, folder: Path) -> dict[str, Any]:
    """What the command has said, without secrets; then its file is gone. Raises `validation_failed`."""
    try:
        with compute.Beneath(folder) as beneath:
            text = beneath.read(FILE, MAX_BYTES).decode()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        too_large = isinstance(error, OSError) and error.errno == errno.EFBIG
        raise _refused(f"more than {MAX_BYTES} bytes" if too_large else "no text") from error
    finally:
        _remove(folder / FILE)
    said = _read(text)
    return perform(context, work.call, functools.partial(_clean, said), durable=False) if said else {}


def _read(text: str) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for line in filter(str.strip, text.splitlines()):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _refused("a line that is no JSON") from error
        if not isinstance(found, dict):
            raise _refused("a line that is no JSON object")
        said.update(found)  # pyright: ignore[reportUnknownArgumentType]
    if len(said) > MAX_NAMES or not all(map(_NAME.match, said)):
        raise _refused(f"more than {MAX_NAMES} names, or one that is none")
    return said


def _clean(said: dict[str, Any], unit: Unit) -> dict[str, Any]:
    return vault.clean(unit, said)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        folders.remove(path)
    else:
        path.unlink(missing_ok=True)


def _refused(what: str) -> Problem:
    return Problem(
        "validation_failed", f"the step wrote {what} into {VARIABLE}",
        hint='Write JSON objects, one a line: echo \'{"name": "value"}\' >> "$BUILDEROS_OUTPUT".',
    )  # fmt: skip
