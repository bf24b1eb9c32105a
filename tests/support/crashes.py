"""Processes that die at a chosen point of a commit, as if killed there: with status 9, in the midst of a call."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from builderos.assets.repositories import journal, store
from builderos.assets.workspaces import writing
from builderos.core.database import DatabaseKeys

from .databases import FreshDatabase
from .forks import Forked
from .world import Sandbox, World

ROOT = Path(__file__).parents[2]
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
    with tempfile.TemporaryFile() as said, Path(os.devnull).open("rb") as nothing:
        streams = (nothing.fileno(), said.fileno(), said.fileno())
        process = Forked(main, {"home": str(home), "database": fields, **config}, streams=streams, cwd=ROOT)
        code = process.wait(120)
        said.seek(0)
        assert code == 9, f"{config['point']}: {code}\n{said.read()[-3000:].decode()}"


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
