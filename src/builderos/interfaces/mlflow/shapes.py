"""MLflow's shapes for experiments, runs, files and faults. Lists that are empty are left out, as its server does."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from builderos.core.problems import Problem
from builderos.workloads.experiments.service import runs

VERSION: Final = "3.17.2"
"""The version of MLflow that this door is compatible with; clients ask for it and decide by it."""
STATUS: Final = {"running": "RUNNING", "scheduled": "SCHEDULED", "finished": "FINISHED", "failed": "FAILED",
                 "killed": "KILLED"}  # fmt: skip
_CODES: Final[Mapping[str, tuple[int, str]]] = {
    "not_found": (404, "RESOURCE_DOES_NOT_EXIST"),
    "method_not_allowed": (405, "BAD_REQUEST"),
    "unsupported_media_type": (400, "BAD_REQUEST"),
    "payload_too_large": (413, "INVALID_PARAMETER_VALUE"),
    "range_not_satisfiable": (416, "INVALID_PARAMETER_VALUE"),
    "rate_limited": (429, "REQUEST_LIMIT_EXCEEDED"),
    "quota_exceeded": (403, "RESOURCE_LIMIT_EXCEEDED"),
    "budget_exceeded": (403, "RESOURCE_LIMIT_EXCEEDED"),
    "storage_full": (507, "RESOURCE_EXHAUSTED"),
    "busy": (503, "TEMPORARILY_UNAVAILABLE"),
    "unavailable": (503, "TEMPORARILY_UNAVAILABLE"),
    "upstream_failed": (503, "TEMPORARILY_UNAVAILABLE"),
    "version_exists": (400, "RESOURCE_ALREADY_EXISTS"),
}
_BY_STATUS: Final = {400: (400, "INVALID_PARAMETER_VALUE"), 401: (401, "UNAUTHENTICATED"),
                     403: (403, "PERMISSION_DENIED"), 409: (409, "RESOURCE_CONFLICT"),
                     422: (400, "INVALID_PARAMETER_VALUE")}  # fmt: skip
_FAULT: Final = 500
# Their clients and the code of their users look for these very sentences, and for nothing behind them.
_SENTENCES: Final = frozenset({"experiment", "run", "tag", "file", "param", "model"})
_TAKEN: Final = frozenset({"experiment", "model"})


class NoEndpoint(Problem):
    """A part of MLflow that is not here: clients fall back on what they did before it existed."""

    def __init__(self, path: str) -> None:
        super().__init__("not_found", f"{path[:200]} is not here", hint="")


def as_error(problem: Problem, request_id: str) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Status, body and headers. `builderos_code` is our word for it."""
    what: str | None = problem.extra.get("what")
    status, code = _CODES.get(problem.code) or _BY_STATUS.get(problem.status, (_FAULT, "INTERNAL_ERROR"))
    class_ = "RESOURCE_NOT_FOUND" if status == 404 else code
    if isinstance(problem, NoEndpoint):
        code = class_ = "ENDPOINT_NOT_FOUND"
    elif problem.code == "conflict" and what in _TAKEN:
        status, code = 400, "RESOURCE_ALREADY_EXISTS"
    elif problem.code == "conflict" and what == "param":
        status, code = 400, "INVALID_PARAMETER_VALUE"
    message = problem.detail if what in _SENTENCES else problem.told
    body = {
        "error_code": code, "message": message, "sqlstate": "KAM00", "error_class": class_,
        "builderos_code": problem.code, "request_id": request_id,
    }  # fmt: skip
    headers: list[tuple[bytes, bytes]] = []
    if problem.retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(problem.retry_after_s))).encode()))
    return status, orjson.dumps(body), headers


def dumped(document: Mapping[str, Any]) -> bytes:
    """A document for the wire."""
    return orjson.dumps(document)


def number(value: float) -> float | str:
    """A number; JSON has none of these three, so they are words."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def pairs(items: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Tags and parameters."""
    return [{"key": key, "value": value} for key, value in items]


def experiment(row: Any) -> dict[str, Any]:
    """An experiment."""
    found = {
        "experiment_id": row.id, "name": row.name, "artifact_location": f"mlflow-artifacts:/{row.id}",
        "lifecycle_stage": "active" if row.active else "deleted",
        "last_update_time": _ms(row.updated_at), "creation_time": _ms(row.created_at),
    }  # fmt: skip
    return found | ({"tags": pairs(sorted(row.tags.items()))} if row.tags else {})


def info(row: Any) -> dict[str, Any]:
    """What a run is."""
    found = {
        "run_uuid": row.id, "run_id": row.id, "experiment_id": row.experiment_id, "run_name": row.name,
        "user_id": row.user_name, "status": STATUS[row.status], "start_time": row.started_at,
        "artifact_uri": f"mlflow-artifacts:/{row.experiment_id}/{row.id}/artifacts",
        "lifecycle_stage": "active" if row.active else "deleted",
    }  # fmt: skip
    return found | ({"end_time": row.ended_at} if row.ended_at is not None else {})


def point(row: Any) -> dict[str, Any]:
    """A point of a series."""
    return {"key": row.key, "value": number(row.value), "timestamp": row.at, "step": row.step}


def run(shown: runs.Shown) -> dict[str, Any]:
    """A run with what was logged to it; its parts are JSON already."""
    parts = {name: orjson.Fragment(text) for name, text in shown.parts.items()}
    data = {name: parts[name] for name in ("metrics", "params", "tags") if name in parts}
    named = (("dataset_inputs", "inputs"), ("model_inputs", "input"))
    inputs = {name: parts[part] for name, part in named if part in parts}
    outputs = {"model_outputs": parts["output"]} if "output" in parts else {}
    return {"info": info(shown.row), "data": data, "inputs": inputs, "outputs": outputs}


def _ms(at: Any) -> int:
    return int(at.timestamp() * 1000)
