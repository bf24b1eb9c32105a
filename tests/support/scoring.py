"""Models of scikit-learn, trained and served in an environment of their own; a ship that has it as a runtime."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .environments import environment
from .runs import Ship, ship_in_temp
from .servers import until
from .uploads import upload
from .world import Json, World

_TRAIN = """
import pickle, sys
from pathlib import Path
from sklearn.linear_model import LogisticRegression
from skops.io import dump
folder = Path(sys.argv[1])
rows = [[x, y] for x in range(-3, 4) for y in range(-3, 4)]
for name, turn in (("up", 1), ("down", -1)):
    model = LogisticRegression().fit(rows, [int(turn * (x + y) > 0) for x, y in rows])
    (folder / name).mkdir()
    dump(model, folder / name / "model.skops")
    (folder / name / "model.pkl").write_bytes(pickle.dumps(model))
"""
SIGNATURE = json.dumps(
    [{"type": "double", "name": "x", "required": True}, {"type": "double", "name": "y", "required": True}]
)
MLMODEL = f"flavors:\n  sklearn: {{pickled_model: model.skops}}\nsignature:\n  inputs: '{SIGNATURE}'\n"


def train(folder: Path) -> None:
    """Two models: `up` says whether x + y is positive, `down` whether it is negative; as skops and as pickle."""
    python = environment("mlflow") / "bin" / "python"
    subprocess.run([python, "-c", _TRAIN, str(folder)], check=True)


def approve(home: Path, place: Path | None = None, memory: str = "1Gi") -> None:
    """Have a server's own file approve the runtime `ml`: the environment of the tests' client, or another one."""
    folders = [str(place or environment("mlflow")), sys.base_prefix]
    file = home / "ssot" / "workbench" / "runtimes.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({
        "runtimes": [{"name": "ml", "kind": "local", "languages": ["python"], "folders": folders}],
        "profiles": [{"name": "small", "cpu": 1, "memory": memory, "max_seconds": 3600, "price": 1}],
    }))  # fmt: skip


class Rack:
    """A ship with models, and what stands on it."""

    def __init__(self, ship: Ship, folder: Path) -> None:
        self.ship = ship
        self.world: World = ship.world
        self.models = folder

    def call(self, method: str, path: str, **body: Any) -> Json:
        """A call of the owner that succeeds."""
        wire = {"json": body} if method not in ("GET", "DELETE") else {"params": body}
        return self.world.ok(self.world.as_owner(method, path, **wire))

    def key(self, *scopes: str) -> Json:
        """The headers of an API key."""
        made = self.call("POST", "/v1/api-keys", label="-".join(scopes), scopes=list(scopes))
        secret = next(value for value in made.values() if str(value).startswith("bos_ak_"))
        return {"Authorization": f"Bearer {secret}"}

    def register(self, name: str, *files: dict[str, bytes]) -> None:
        """A model with a version for each set of files."""
        self.call("POST", "/v1/models", name=name)
        for one in files:
            ids = [upload(self.world, data, path)["id"] for path, data in one.items()]
            self.call("POST", f"/v1/models/{name}/versions", artifacts=ids)

    def trained(self, which: str, file: str = "model.skops") -> dict[str, bytes]:
        """The files of a model."""
        return {"MLmodel": MLMODEL.encode(), file: (self.models / which / file).read_bytes()}

    def serve(self, name: str, ref: str, **body: Any) -> Json:
        """An endpoint that answers."""
        made = self.call(
            "POST", "/v1/endpoints", name=name, model_version=ref, runtime="ml", profile="small", **body
        )
        return self.settled(made["id"])

    def settled(self, id_: str) -> Json:
        """An endpoint once none of its deployments is about to start."""
        seen: list[Json] = []

        def there() -> bool:
            seen.append(self.call("GET", f"/v1/endpoints/{id_}"))
            return all(one["status"] != "starting" for one in seen[-1]["deployments"])

        until(there)
        return seen[-1]

    def ask(self, id_: str, body: Json, headers: Json | None = None) -> Any:
        """What a call is answered with."""
        return self.world.http.post(
            f"/v1/endpoints/{id_}/invoke", json=body, headers=headers or self.world.owner
        )


@contextmanager
def rack_in_temp(database: Any, folder: Path) -> Iterator[Rack]:
    """A rack with everything of its own."""
    train(folder)
    with ship_in_temp(database) as ship:
        approve(ship.world.home)
        yield Rack(ship, folder)
