"""One valid body for every operation on experiments; see `examples`."""

from typing import Any, Final

_ID: Final = "01JD3W6Q8Z5V2N7X4K9T0M1R3B"
_KEY: Final[dict[str, Any]] = {"idempotency_key": "9c1f6f0e-2a51-4a8e-9d57-0a4f7b6f5c11"}
EXPERIMENTS: Final[dict[str, dict[str, Any]]] = {
    "listExperiments": {"limit": 20},
    "createExperiment": {**_KEY, "name": "iris", "tags": {"team": "green"}},
    "getExperiment": {"id": f"exp_{_ID}"},
    "changeExperiment": {**_KEY, "id": f"exp_{_ID}", "name": "iris, cleaned"},
    "searchExperimentRuns": {
        "id": f"exp_{_ID}",
        "filter": "metrics.acc > 0.9 AND params.model = 'forest'",
        "order_by": "metrics.acc DESC",
    },
    "compareExperimentRuns": {"id": f"exp_{_ID}", "runs": f"xrn_{_ID},xrn_{_ID[:-1]}C", "series": "acc,loss"},
    "exportExperiment": {"id": f"exp_{_ID}"},
    "importExperiment": {**_KEY, "artifact_id": f"art_{_ID}", "name": "iris, from elsewhere"},
    "submitExperimentRun": {
        **_KEY,
        "id": f"exp_{_ID}",
        "repo_name": "ai-builder-lab",
        "branch": "sandbox-golden-otter",
        "params": {"depth": 3},
        "dataset_ref": "iris@1",
        "code_sha": "sandbox-golden-otter",
        "runtime": "py311",
        "command": "python train.py",
    },
    "startExperimentSweep": {
        **_KEY,
        "id": f"exp_{_ID}",
        "repo_name": "ai-builder-lab",
        "branch": "sandbox-golden-otter",
        "space": {"depth": [2, 3, 5], "rate": {"min": 0.001, "max": 0.1, "log": True}},
        "method": "random",
        "trials": 12,
        "seed": 7,
        "parallel": 2,
        "goal": {"metric": "acc", "mode": "max"},
        "stop": {"rule": "median", "after": 5},
        "dataset_ref": "iris@1",
        "code_sha": "sandbox-golden-otter",
        "runtime": "py311",
        "command": "python train.py",
    },
    "getExperimentSweep": {"id": f"xrn_{_ID}"},
    "cancelExperimentRun": {**_KEY, "id": f"xrn_{_ID}", "reason": "The other one is better."},
    "openExperimentRun": {**_KEY, "id": f"exp_{_ID}", "name": "forest", "params": {"depth": "3"}},
    "getExperimentRun": {"id": f"xrn_{_ID}"},
    "logExperimentRun": {
        "id": f"xrn_{_ID}",
        "metrics": [{"key": "acc", "value": 0.93, "step": 1}],
        "params": {"depth": "3"},
    },
    "endExperimentRun": {**_KEY, "id": f"xrn_{_ID}", "status": "finished"},
    "getExperimentSeries": {"id": f"xrn_{_ID}", "key": "acc"},
    "listExperimentFiles": {"id": f"xrn_{_ID}", "path": "plots"},
}
