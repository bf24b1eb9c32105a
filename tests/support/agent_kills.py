"""Processes that carry an agent's step on and are killed at a chosen moment of it."""

import asyncio
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from builderos import app as root
from builderos.core.context import Context
from builderos.core.database import DatabaseKeys
from builderos.core.unit import Call
from builderos.workloads.agents import calls
from builderos.workloads.agents.ports import Models, Turn

from .databases import FreshDatabase
from .forks import Forked
from .world import World

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]


def carry_on(home: Path, database: FreshDatabase, folder: Path, run_id: str, die_at: int) -> bool:
    """Another process goes on with the run, and is killed at the `die_at`-th moment; False where it was over before.

    `folder` holds `lines.json`, what the model says turn by turn, and gets `asked.jsonl`, a line per request.
    """
    fields = asdict(database)
    fields["keys"]["unit_key"] = database.keys.unit_key.hex()
    config = {
        "home": str(home), "database": fields, "folder": str(folder), "run_id": run_id, "die_at": die_at,
    }  # fmt: skip
    with tempfile.TemporaryFile() as said, Path(os.devnull).open("rb") as nothing:
        streams = (nothing.fileno(), said.fileno(), said.fileno())
        process = Forked(main, config, streams=streams, cwd=ROOT)
        code = process.wait(120)
        said.seek(0)
        told = said.read()[-3000:].decode()
    assert code in (0, -signal.SIGKILL), f"{die_at}: {code}\n{told}"
    return code != 0


class Model:
    """Says its lines, and writes down that it was asked before it does."""

    def __init__(self, folder: Path, moment: Callable[[], None]) -> None:
        self._lines: list[Json] = json.loads((folder / "lines.json").read_text())
        self._asked = folder / "asked.jsonl"
        self._moment = moment

    async def complete(self, context: Context, call: Call, request: Mapping[str, Any], turn: Turn) -> Json:
        """The reply of this turn."""
        del context, call
        self._moment()
        with self._asked.open("a") as file:
            file.write(json.dumps({"turn": turn.number, "messages": len(request["messages"])}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        await asyncio.sleep(0)
        self._moment()
        return {
            "model": "scripted-1", "label": "scripted", "choices": [self._lines[turn.number - 1]], "cost": 0.01,
            "usage": {"prompt_tokens": 100, "completion_tokens": 10},
        }  # fmt: skip


def main(config: Json) -> None:
    """Go on with the run until it is over, or until the moment comes."""
    left, lock = [int(config["die_at"])], threading.Lock()

    def moment() -> None:
        with lock:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    real = calls.perform

    def perform(*args: Any, **options: Any) -> Any:
        moment()
        result = real(*args, **options)
        moment()
        return result

    calls.perform = perform  # type: ignore[assignment]
    fields = config["database"]
    keys = DatabaseKeys(fields["keys"]["url"], bytes.fromhex(fields["keys"]["unit_key"]))
    database = FreshDatabase(**{**fields, "keys": keys})
    world = World(Path(config["home"]), database)
    world.context.put(Models, Model(Path(config["folder"]), moment))  # type: ignore[type-abstract]
    engine = root.build_engine(root.Started(world.app, database.engine_url))
    engine.start()
    until = time.monotonic() + 100
    while world.ok(world.as_owner("GET", f"/v1/runs/{config['run_id']}"))["status"] in ("queued", "running"):
        if time.monotonic() > until:
            os._exit(7)
        time.sleep(0.02)
    os._exit(0)
