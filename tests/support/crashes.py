"""Processes that die at a chosen point of a commit, as if killed there.

`python -m tests.support.crashes CONFIG` makes one commit through the HTTP door and ends with status 9 at the point.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from builderos.assets.repositories import journal, store
from builderos.assets.workspaces import writing
from builderos.core.database import DatabaseKeys

from .databases import FreshDatabase
from .world import Sandbox, World

POINTS = (
    "before the objects",
    "between the objects",
    "before the commit object",
    "before the ref",
    "after the ref",
)


def commit_and_die(
    home: Path, database: FreshDatabase, sandbox: Sandbox, files: dict[str, str], point: str
) -> None:
    """In another process: commit, and die at `point`: one of `POINTS`, all behind the commit point, or
    `in the middle of the store`, which the first commit of a sandbox makes before that.
    """
    _run(home, database, point=point, branch=sandbox.branch, token=sandbox.token, files=files)


def _run(home: Path, database: FreshDatabase, **config: Any) -> None:
    fields = asdict(database)
    fields["keys"]["unit_key"] = database.keys.unit_key.hex()
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.crashes", json.dumps({"home": str(home), "database": fields, **config})],
        cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 9, f"{config['point']}: {done.returncode}\n{done.stderr[-3000:]}"


def _die(*_args: Any, **_options: Any) -> Any:
    os._exit(9)


def _die_at_object(number: int) -> Callable[..., None]:
    real, seen = journal.write_loose, iter(range(number))

    def write(*args: Any, **options: Any) -> None:
        if next(seen, None) is None:
            os._exit(9)
        real(*args, **options)

    return write


def _arm(point: str) -> None:
    """Put the end of the process at the point."""
    if point == "before the ref":
        store.RepositoryStore.swap_ref = _die  # type: ignore[method-assign]
    elif point == "after the ref":
        writing._reads_back = _die
    elif point == "in the middle of the store":
        _arm_second_file()
    elif point == "before the commit object":
        _arm_last_object()
    else:
        journal.write_loose = _die_at_object({"before the objects": 0, "between the objects": 3}[point])


def _arm_second_file() -> None:
    real, seen = store._write_new, iter(range(1))

    def write(path: str, data: bytes) -> None:
        if next(seen, None) is None:
            os._exit(9)
        real(path, data)

    store._write_new = write


def _arm_last_object() -> None:
    real = journal.write_objects

    def write(store_: Any, folder: str, new: str, objects: bytes, **options: Any) -> None:
        count = len(list(journal.Batch.unpack(objects)))
        journal.write_loose = _die_at_object(count - 1)
        real(store_, folder, new, objects, **options)

    journal.write_objects = write


def main(config: dict[str, Any]) -> None:
    """One commit."""
    fields = config["database"]
    keys = DatabaseKeys(fields["keys"]["url"], bytes.fromhex(fields["keys"]["unit_key"]))
    world = World(Path(config["home"]), FreshDatabase(**{**fields, "keys": keys}))
    _arm(config["point"])
    Sandbox(world, "lab", config["branch"], config["token"]).commit(config["files"], "Burst")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
