"""Something in the rooms of the workbench, through the public doors: runs, a model, a promotion, data, an app."""

import math
import urllib.request
from dataclasses import dataclass
from typing import Any, Final

from .server import Server

RUNS: Final = 6
STEPS: Final = 30
NAME: Final = "<img src=x onerror=alert(1)> \u05e9\u05dc\u05d5\u05dd"
"""A name as a stranger would give it: markup, and letters that run from right to left."""
HOSTILE: Final = f"{NAME}\u202egnp.exe"
"""A text of a stranger: a mark that turns what follows around, too."""
MODEL: Final = b"""
class Model:
    def predict(self, rows):
        return [7] * len(rows)

def load(folder):
    return Model()
"""
"""A model that says seven to each row."""
_MLFLOW: Final = "/mlflow/api/2.0/mlflow"
"""Through this door names may be anything."""


@dataclass
class Bench:
    """What was laid down, by id."""

    server: Server
    experiment: str
    runs: list[str]
    promotion: str
    dataset: str
    branch: str
    app: str


def laid(server: Server) -> Bench:
    """Lay all of it down as the owner."""
    owner = server.owner()
    owner.call("POST", "/v1/repos", {"name": "bench"})
    made = owner.call("POST", f"{_MLFLOW}/experiments/create", {"name": f"nets {NAME}"})
    experiment = str(made["experiment_id"])
    runs = [_run(server, experiment, n) for n in range(RUNS)]
    put(server, experiment, runs[0], "model/weights.txt", b"1 2 3\n")
    put(server, experiment, runs[0], "model/model.py", MODEL)
    put(server, experiment, runs[0], "notes/onerror=alert(1).html", b"<script>alert(1)</script>\n")
    owner.call("POST", "/v1/models", {"name": "nets", "description": HOSTILE})
    for _ in range(2):
        source = {"source": f"runs:/{runs[0]}/model", "run_id": runs[0]}
        owner.call("POST", "/v1/models/nets/versions", source)
    owner.call("POST", "/v1/models/nets/versions/1/stage", {"stage": "staged"})
    promotion = owner.call("POST", "/v1/promotions", {
        "kind": "stage_to_prod", "from": {"name": "nets", "version": 1}, "reason": "It is better",
    })["id"]  # fmt: skip
    box = server.client().call("POST", "/sandbox/init", {"mode": "branch", "repo_name": "bench"})
    here = {"repo_name": "bench", "branch": box["branch"]}
    server.client(box["reuse_token"]).call("POST", "/commit_and_log_output", {
        **here, "files": [{"path": "data/rows.csv", "content": "x,y\n1,2\n3,4\n"}], "message": "Rows",
    })  # fmt: skip
    made = owner.call("POST", "/v1/datasets", {**here, "name": "rows", "paths": ["data/rows.csv"]})
    app = owner.call("POST", "/v1/apps", {
        "name": "site", "type": "static", "source": {**here, "path": "data"}, "secrets": ["SALT"],
    })["id"]  # fmt: skip
    return Bench(server, experiment, runs, promotion, made["id"], box["branch"], app)


def _run(server: Server, experiment: str, n: int) -> str:
    """A run with a curve; the first holds what is no number."""
    owner = server.owner()
    name = f"run {n}" if n != 1 else f"{NAME} 1"
    params = {"lr": str(0.1 / (n + 1)), "layers": "2", "note": HOSTILE if n == 1 else "plain"}
    made = owner.call("POST", f"{_MLFLOW}/runs/create", {"experiment_id": experiment, "run_name": name})
    run = str(made["run"]["info"]["run_id"])
    points: list[dict[str, Any]] = [
        {"key": "loss", "value": math.exp(-step / (5 + n)), "step": step, "at_ms": 1_700_000_000_000 + step * 1000}
        for step in range(STEPS)
    ]  # fmt: skip
    points += [{"key": "acc", "value": 0.5 + n / 20, "step": 1}]
    if n == 0:
        odd = ("NaN", "Infinity", "-Infinity", 1e308, -1e308)
        points += [{"key": "odd", "value": value, "step": step} for step, value in enumerate(odd)]
    logged = {"metrics": points, "params": params, "tags": {"team": HOSTILE}}
    owner.call("POST", f"/v1/experiment-runs/{run}/log", logged)
    owner.call("POST", f"/v1/experiment-runs/{run}/end", {"status": "failed" if n == 1 else "finished"})
    return run


def put(server: Server, experiment: str, run: str, path: str, data: bytes) -> None:
    """Keep a file of a run, as MLflow's clients do."""
    quoted = urllib.request.quote(path)  # type: ignore[attr-defined]
    url = f"{server.url}/mlflow/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/{quoted}"
    headers = {"Authorization": f"Bearer {server.owner_token}"}
    request = urllib.request.Request(url, data=data, headers=headers, method="PUT")
    with urllib.request.urlopen(request) as reply:
        assert reply.status == 200
