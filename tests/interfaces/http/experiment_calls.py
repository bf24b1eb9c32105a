"""Valid calls of the operations on experiments."""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.support.world import Json

if TYPE_CHECKING:
    from .scenes import Scene

numbers = itertools.count()

EXPERIMENT_CALLS: "dict[str, Callable[[Scene], Json]]" = {
    "listExperiments": lambda s: {"limit": 1},
    "createExperiment": lambda s: {"name": f"an experiment {next(numbers)}"},
    "getExperiment": lambda s: {"id": s.experiment_id},
    "changeExperiment": lambda s: {"id": s.experiment_id, "name": f"an experiment {next(numbers)}"},
    "searchExperimentRuns": lambda s: {"id": s.experiment_id},
    "compareExperimentRuns": lambda s: {"id": s.experiment_id, "runs": s.experiment_run_id},
    "exportExperiment": lambda s: {"id": s.experiment_id},
    "importExperiment": lambda s: {"artifact_id": s.archive_id, "name": f"an experiment {next(numbers)}"},
    "submitExperimentRun": lambda s: {"id": s.experiment_id, **s.submission, "params": {}},
    "startExperimentSweep": lambda s: {
        "id": s.experiment_id,
        **s.submission,
        "space": {"a": [1]},
        "goal": {"metric": "acc"},
    },
    "getExperimentSweep": lambda s: {"id": s.sweep_id},
    "cancelExperimentRun": lambda s: {"id": s.fresh_trial()},
    "openExperimentRun": lambda s: {"id": s.experiment_id},
    "getExperimentRun": lambda s: {"id": s.experiment_run_id},
    "logExperimentRun": lambda s: {"id": s.experiment_run_id, "metrics": [{"key": "acc", "value": 1}]},
    "endExperimentRun": lambda s: {"id": s.experiment_run_id},
    "getExperimentSeries": lambda s: {"id": s.experiment_run_id, "key": "acc"},
    "listExperimentFiles": lambda s: {"id": s.experiment_run_id},
}
