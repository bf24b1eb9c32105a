"""A ship whose sandbox may train: an approved runtime with Python, a dataset, a script on its branch."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .databases import FreshDatabase
from .runs import Ship, ship_in_temp
from .servers import until
from .uploads import upload
from .world import Json

DATA = b"x,y\n1,2\n2,4\n3,6\n"
SCRIPT = """\
import json, os, pathlib, time, builderos
params, data = builderos.params(), builderos.dataset()
with builderos.start_run() as run:
    rows = (data / "line.csv").read_text().split()[1:]
    run.log_metric("rows", len(rows))
    for step in range(1, params.get("steps", 3) + 1):
        run.log_metrics({"loss": params["lr"] / step, "acc": 1 - params["lr"] / step}, step)
        if params.get("slow"):
            while not os.path.exists(f"go{step}"):
                time.sleep(0.01)
    run.set_tag("team", "green")
    pathlib.Path("outputs").mkdir(exist_ok=True)
    pathlib.Path("outputs/model.json").write_text(json.dumps(params))
    run.log_artifact("outputs/model.json", "copies")
    if params.get("fails"):
        raise SystemExit(3)
"""


def approve(home: Path, *, folders: tuple[str, ...] = (), seconds: int = 3600) -> None:
    """Have a server's own file approve a runtime with Python."""
    file = home / "ssot" / "workbench" / "runtimes.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({
        "runtimes": [{"name": "py", "kind": "local", "languages": ["python"], "folders": [*folders, sys.base_prefix]}],
        "profiles": [{"name": "small", "cpu": 1, "memory": "1Gi", "max_seconds": seconds, "price": 1}],
    }))  # fmt: skip


class Lab:
    """Submits to one experiment, as the owner."""

    def __init__(self, ship: Ship) -> None:
        self.ship = ship
        approve(ship.world.home)
        made = ship.box.commit({"train.py": SCRIPT})
        self.sha = str(made["commit_sha"])
        kept = upload(ship.world, DATA, "line.csv")
        body = {"name": "line", "artifacts": [kept["id"]]}
        self.dataset = str(ship.world.ok(ship.world.as_owner("POST", "/v1/datasets", json=body))["ref"])
        self.experiment = str(self.post("/v1/experiments", name="line")["id"])

    def try_post(self, path: str, /, **body: Any) -> Any:
        """What a door says to the owner."""
        return self.ship.world.as_owner("POST", path, json=body)

    def post(self, path: str, /, **body: Any) -> Json:
        """A call that succeeds."""
        return self.ship.world.ok(self.try_post(path, **body))

    def get(self, path: str, /, **query: Any) -> Json:
        """What a door answers to the owner."""
        return self.ship.world.ok(self.ship.world.as_owner("GET", path, params=query))

    def body(self, **more: Any) -> Json:
        """All that a submission has to name."""
        return {
            "repo_name": self.ship.box.repo_name, "branch": self.ship.box.branch, "dataset_ref": self.dataset,
            "code_sha": self.sha, "runtime": "py", "command": "python3 train.py", "params": {"lr": 0.5}, **more,
        }  # fmt: skip

    def submit(self, **more: Any) -> Json:
        """A run that was submitted."""
        return self.post(f"/v1/experiments/{self.experiment}/runs", **self.body(**more))

    def sweep(self, **more: Any) -> Json:
        """A search that was begun."""
        goal = {"metric": "acc", "mode": "max"}
        body = self.body(**{"params": {}, "goal": goal, "space": {"lr": [0.1, 0.5]}, **more})
        return self.post(f"/v1/experiments/{self.experiment}/sweeps", **body)

    def run(self, id_: str) -> Json:
        """A run with all that was logged to it."""
        return self.get(f"/v1/experiment-runs/{id_}")

    def until(self, id_: str, *statuses: str) -> Json:
        """A run once it stands so, or is over."""
        wanted, seen = statuses or ("finished", "failed", "killed"), list[Json]()

        def there() -> bool:
            seen.append(self.run(id_))
            over = seen[-1]["status"] not in ("scheduled", "running")
            assert not over or seen[-1]["status"] in wanted, self.told(seen[-1])
            return seen[-1]["status"] in wanted

        until(there)
        return seen[-1]

    def told(self, run: Json) -> Any:
        """What is known of a run that did not come out as it should."""
        shown = self.get(f"/v1/runs/{run['run_id']}")
        logs = [self.get(f"/v1/steps/{step['id']}/logs").get("text") for step in shown["steps"][:3]]
        return run, [(step["status"], step["reason"], step["error"]) for step in shown["steps"]], logs

    def folder(self, run: Json, step: str = "train") -> Path:
        """Where the command of a run works, once it does."""
        found: list[Path] = []

        def there() -> bool:
            found.extend(self.ship.world.home.glob(f"projects/*/*/work/{run['run_id']}/{step}.1"))
            return bool(found)

        until(there)
        return found[0]


@contextmanager
def lab_in_temp(database: FreshDatabase, **settings: Any) -> Iterator[Lab]:
    """A lab with everything of its own."""
    with ship_in_temp(database, **settings) as ship:
        yield Lab(ship)
