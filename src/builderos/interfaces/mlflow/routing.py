"""Which path of MLflow's interface asks for what."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from builderos.core.unit import Unit

from . import artifacts, models, registry, traces, tracking
from .words import Body

Handler = Callable[[Unit, Body], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Act:
    """What one endpoint does. `reads`: it changes nothing."""

    name: str
    method: str
    handler: Handler
    reads: bool


def _acts(*rows: tuple[str, str, Handler, bool]) -> dict[tuple[str, str], Act]:
    return {
        (method, path): Act(re.sub(r"^\d\.\d/mlflow/", "", path).replace("/", "-"), method, handler, reads)
        for method, path, handler, reads in rows
    }


_V2: Final = "2.0/mlflow/"
_V3: Final = "3.0/mlflow/"
ROUTES: Final[Mapping[tuple[str, str], Act]] = _acts(
    ("POST", f"{_V2}experiments/create", tracking.create_experiment, False),
    ("POST", f"{_V2}experiments/search", tracking.search_experiments, True),
    ("GET", f"{_V2}experiments/search", tracking.search_experiments, True),
    ("GET", f"{_V2}experiments/get", tracking.get_experiment, True),
    ("GET", f"{_V2}experiments/get-by-name", tracking.get_by_name, True),
    ("POST", f"{_V2}experiments/update", tracking.update_experiment, False),
    ("POST", f"{_V2}experiments/delete", tracking.delete_experiment, False),
    ("POST", f"{_V2}experiments/restore", tracking.restore_experiment, False),
    ("POST", f"{_V2}experiments/set-experiment-tag", tracking.tag_experiment, False),
    ("POST", f"{_V2}experiments/delete-experiment-tag", tracking.untag_experiment, False),
    ("POST", f"{_V2}runs/create", tracking.create_run, False),
    ("GET", f"{_V2}runs/get", tracking.get_run, True),
    ("POST", f"{_V2}runs/update", tracking.update_run, False),
    ("POST", f"{_V2}runs/delete", tracking.delete_run, False),
    ("POST", f"{_V2}runs/restore", tracking.restore_run, False),
    ("POST", f"{_V2}runs/search", tracking.search_runs, True),
    ("POST", f"{_V2}runs/log-metric", tracking.log_metric, False),
    ("POST", f"{_V2}runs/log-parameter", tracking.log_parameter, False),
    ("POST", f"{_V2}runs/log-batch", tracking.log_batch, False),
    ("POST", f"{_V2}runs/set-tag", tracking.set_tag, False),
    ("POST", f"{_V2}runs/delete-tag", tracking.delete_tag, False),
    ("GET", f"{_V2}metrics/get-history", tracking.history, True),
    ("GET", f"{_V2}metrics/get-history-bulk-interval", tracking.histories, True),
    ("GET", f"{_V2}artifacts/list", artifacts.list_of_run, True),
    ("POST", f"{_V2}runs/log-inputs", models.log_inputs, False),
    ("POST", f"{_V2}runs/outputs", models.log_outputs, False),
    ("POST", f"{_V2}logged-models", models.create, False),
    ("POST", f"{_V2}logged-models/search", models.search, True),
    ("POST", f"{_V2}registered-models/create", registry.create_model, False),
    ("GET", f"{_V2}registered-models/get", registry.get_model, True),
    ("POST", f"{_V2}registered-models/rename", registry.rename_model, False),
    ("PATCH", f"{_V2}registered-models/update", registry.update_model, False),
    ("DELETE", f"{_V2}registered-models/delete", registry.delete_model, False),
    ("GET", f"{_V2}registered-models/search", registry.search_models, True),
    ("GET", f"{_V2}registered-models/get-latest-versions", registry.latest_versions, True),
    ("POST", f"{_V2}registered-models/get-latest-versions", registry.latest_versions, True),
    ("POST", f"{_V2}registered-models/set-tag", registry.tag_model, False),
    ("DELETE", f"{_V2}registered-models/delete-tag", registry.untag_model, False),
    ("POST", f"{_V2}registered-models/alias", registry.set_alias, False),
    ("DELETE", f"{_V2}registered-models/alias", registry.delete_alias, False),
    ("GET", f"{_V2}registered-models/alias", registry.by_alias, True),
    ("POST", f"{_V2}model-versions/create", registry.create_version, False),
    ("GET", f"{_V2}model-versions/get", registry.get_version, True),
    ("GET", f"{_V2}model-versions/get-download-uri", registry.download_uri, True),
    ("GET", f"{_V2}model-versions/search", registry.search_versions, True),
    ("PATCH", f"{_V2}model-versions/update", registry.update_version, False),
    ("DELETE", f"{_V2}model-versions/delete", registry.delete_version, False),
    ("POST", f"{_V2}model-versions/transition-stage", registry.transition, False),
    ("POST", f"{_V2}model-versions/set-tag", registry.tag_model, False),
    ("DELETE", f"{_V2}model-versions/delete-tag", registry.untag_model, False),
    ("POST", f"{_V3}traces", traces.start, False),
    ("POST", f"{_V3}traces/search", traces.search, True),
    ("GET", f"{_V3}traces/get", traces.whole, True),
    ("GET", f"{_V3}traces/batchGet", traces.several, True),
    ("GET", f"{_V3}traces/batchGetInfos", traces.several_infos, True),
    ("POST", f"{_V2}traces/delete-traces", traces.delete, False),
    ("POST", f"{_V3}traces/delete-traces", traces.delete, False),
)
# Paths with an id in them.
_TRACE: Final = r"traces/(?P<trace_id>tr-[0-9a-f]{1,64})"
_ASSESSMENT: Final = _TRACE + r"/assessments/(?P<assessment_id>a-[0-9a-f]{32})"
_PATTERNS: Final = tuple(
    (method, re.compile(r"[23]\.0/mlflow/" + pattern + r"\Z"), Act(name, method, handler, reads))
    for method, pattern, name, handler, reads in (
        ("GET", _TRACE, "traces-get", traces.get, True),
        ("POST", _TRACE + "/assessments", "traces-assess", traces.assess, False),
        ("GET", _ASSESSMENT, "assessments-get", traces.get_assessment, True),
        ("PATCH", _ASSESSMENT, "assessments-change", traces.change_assessment, False),
        ("DELETE", _ASSESSMENT, "assessments-drop", traces.drop_assessment, False),
        ("PATCH", _TRACE + "/tags", "traces-tag", traces.set_tag, False),
        ("DELETE", _TRACE + "/tags", "traces-untag", traces.delete_tag, False),
        ("GET", r"logged-models/(?P<model_id>[^/]+)", "logged-models-get", models.get, True),
        ("PATCH", r"logged-models/(?P<model_id>[^/]+)", "logged-models-finish", models.finish, False),
        ("DELETE", r"logged-models/(?P<model_id>[^/]+)", "logged-models-delete", models.delete, False),
        ("PATCH", r"logged-models/(?P<model_id>[^/]+)/tags", "logged-models-tag", models.set_tags, False),
        (
            "DELETE",
            r"logged-models/(?P<model_id>[^/]+)/tags/(?P<tag_key>.+)",
            "logged-models-untag",
            models.delete_tag,
            False,
        ),
        (
            "POST",
            r"logged-models/(?P<model_id>[^/]+)/params",
            "logged-models-params",
            models.log_params,
            False,
        ),
    )
)


def found(method: str, path: str) -> tuple[Act | None, dict[str, str]]:
    """What a request asks for, and the members that its path holds."""
    act = ROUTES.get((method, path))
    if act is not None:
        return act, {}
    for wanted, pattern, one in _PATTERNS:
        match = pattern.match(path) if wanted == method else None
        if match is not None:
            return one, match.groupdict()
    return None, {}
