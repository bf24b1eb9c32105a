"""A server whose engine runs, and pipelines on a real branch of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builderos import app as root
from builderos.core.context import Context
from builderos.engine.service import Engine

from .databases import FreshDatabase
from .servers import PATIENCE_S, pause, until
from .world import Json, Sandbox, World, world_in_temp

OVER = frozenset({"succeeded", "failed", "denied", "cancelled", "timed_out"})


@dataclass
class Ship:
    """A world with a running engine and one open sandbox."""

    world: World
    database: FreshDatabase
    engine: Engine
    box: Sandbox
    count: int = field(default=0)

    @property
    def context(self) -> Context:
        """The server's adapters and stores."""
        return self.world.context

    def pipeline(self, text: str, files: dict[str, str] | None = None) -> str:
        """Commit a pipeline to the sandbox; returns its name."""
        self.count += 1
        name = f"p{self.count}"
        self.box.commit({f"ship/{name}/pipeline.yaml": f"name: {name}\n{text}", **(files or {})})
        return name

    def start(self, pipeline: str, **body: Any) -> str:
        """Start a run on the sandbox's branch; returns its id."""
        body = {"pipeline": pipeline, "repo_name": self.box.repo_name, "branch": self.box.branch, **body}
        reply = self.world.ok(self.world.http.post("/v1/runs", json=body, headers=self.box.headers), 202)
        return str(reply["run_id"])

    def run(self, id_: str) -> Json:
        """The run as the door shows it."""
        return self.world.ok(self.world.http.get(f"/v1/runs/{id_}", headers=self.box.headers))

    def until(self, id_: str, *statuses: str, within_s: float = PATIENCE_S) -> Json:
        """The run once it has one of these statuses, or is over."""
        wanted = frozenset(statuses) or OVER
        begun = time.monotonic()
        while True:
            found = self.run(id_)
            if found["status"] in wanted or (found["status"] in OVER and not wanted & OVER):
                return found
            assert time.monotonic() < begun + within_s, found
            pause(begun)

    def let_go(self, run_id: str, step: str) -> None:
        """Let the command of a step end that waits for a file `go` beside a `README.md`. Asks no server for it."""
        places: list[Path] = []

        def there() -> bool:
            places.extend(self.world.home.glob(f"projects/*/*/work/{run_id}/{step}.1/README.md"))
            return bool(places)

        until(there)
        (places[0].parent / "go").touch()

    def steps(self, run: Json) -> dict[str, Json]:
        """Steps by name."""
        return {step["name"]: step for step in run["steps"]}

    def statuses(self, run: Json) -> dict[str, str]:
        """Statuses of steps by name."""
        return {step["name"]: step["status"] for step in run["steps"]}

    def done(self, text: str, files: dict[str, str] | None = None, **body: Any) -> Json:
        """Commit a pipeline, run it, and return it once it is over."""
        return self.until(self.start(self.pipeline(text, files), **body))


@contextmanager
def ship_in_temp(database: FreshDatabase, **settings: Any) -> Iterator[Ship]:
    """A ship with everything of its own; the engine is stopped afterwards."""
    with world_in_temp(database, **settings) as world:
        engine = root.build_engine(root.Started(world.app, database.engine_url))
        engine.start()
        ship = Ship(world, database, engine, world.open_sandbox())
        try:
            assert engine.wait(120)
            yield ship
        finally:
            ship.engine.stop(5)  # a test may have put another one in its place
