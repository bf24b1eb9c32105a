"""Logged models and inputs of runs, as MLflow's clients ask for them."""

from typing import Any, Final

from builderos.core.unit import Unit
from builderos.workloads.experiments.service import keeping, logged

from . import shapes
from .words import Body, invalid

Reply = dict[str, Any]
_STATUS: Final = {"pending": "LOGGED_MODEL_PENDING", "ready": "LOGGED_MODEL_READY",
                  "failed": "LOGGED_MODEL_UPLOAD_FAILED"}  # fmt: skip
_OURS: Final = {name: ours for ours, name in _STATUS.items()} | {1: "pending", 2: "ready", 3: "failed"}
_MOST: Final = 1000


def create(unit: Unit, body: Body) -> Reply:
    """`logged-models`."""
    row = logged.create(
        unit, body.text("experiment_id", "0"), body.any_text("name") or "model",
        type_=body.any_text("model_type") or None, run_id=body.any_text("source_run_id") or None,
        params=body.pairs("params"), tags=body.pairs("tags"),
    )  # fmt: skip
    return {"model": _model(row)}


def get(unit: Unit, body: Body) -> Reply:
    """`logged-models/{model_id}`."""
    deleted = body.members.get("allow_deleted") in (True, "true", "True")
    return {"model": _model(logged.show(unit, body.text("model_id"), deleted=deleted))}


def finish(unit: Unit, body: Body) -> Reply:
    """PATCH `logged-models/{model_id}`."""
    said: Any = body.members.get("status")
    status = _OURS.get(said) if isinstance(said, str | int) else None
    if status is None:
        raise invalid(f"Invalid model status {str(said)[:50]!r}")
    return {"model": _model(logged.finish(unit, body.text("model_id"), status))}


def delete(unit: Unit, body: Body) -> Reply:
    """DELETE `logged-models/{model_id}`."""
    logged.remove(unit, body.text("model_id"))
    return {}


def set_tags(unit: Unit, body: Body) -> Reply:
    """PATCH `logged-models/{model_id}/tags`."""
    return {"model": _model(logged.set_tags(unit, body.text("model_id"), body.pairs("tags")))}


def delete_tag(unit: Unit, body: Body) -> Reply:
    """DELETE `logged-models/{model_id}/tags/{tag_key}`."""
    logged.drop_tag(unit, body.text("model_id"), body.text("tag_key"))
    return {}


def log_params(unit: Unit, body: Body) -> Reply:
    """`logged-models/{model_id}/params`."""
    logged.log_params(unit, body.text("model_id"), body.pairs("params"))
    return {}


def search(unit: Unit, body: Body) -> Reply:
    """`logged-models/search`."""
    ids = [row.id for row in keeping.those(unit, body.texts("experiment_ids"))]
    orders = [
        (one.text("field_name"), bool(one.members.get("ascending", True))) for one in body.bodies("order_by")
    ]
    limit = body.integer("max_results", 100)
    if not 1 <= limit <= _MOST:
        raise invalid(
            f"Invalid value {limit} for parameter 'max_results' supplied: It must be at most {_MOST}"
        )
    rows, token = logged.search(
        unit, ids, filter_=body.any_text("filter"), order_by=orders, limit=limit,
        token=body.any_text("page_token") or None,
    )  # fmt: skip
    return ({"models": [_model(row) for row in rows]} if rows else {}) | (
        {"next_page_token": token} if token else {}
    )


def log_inputs(unit: Unit, body: Body) -> Reply:
    """`runs/log-inputs`."""
    datasets: list[tuple[dict[str, str], dict[str, str]]] = []
    for one in body.bodies("datasets"):
        named = one.body("dataset")
        told = {
            key: named.any_text(key)
            for key in ("source_type", "source", "schema", "profile")
            if named.has(key)
        }
        datasets.append(
            ({"name": named.text("name"), "digest": named.text("digest"), **told}, one.pairs("tags"))
        )
    used = [one.text("model_id") for one in body.bodies("models")]
    logged.log_inputs(unit, body.text("run_id"), datasets, used)
    return {}


def log_outputs(unit: Unit, body: Body) -> Reply:
    """`runs/outputs`."""
    made = [(one.text("model_id"), one.integer("step", 0)) for one in body.bodies("models")]
    logged.log_outputs(unit, body.text("run_id"), made)
    return {}


def _model(row: Any) -> Reply:
    info: Reply = {
        "model_id": row.id, "experiment_id": row.experiment_id, "name": row.name,
        "creation_timestamp_ms": int(row.created_at.timestamp() * 1000),
        "last_updated_timestamp_ms": int(row.updated_at.timestamp() * 1000),
        "artifact_uri": f"mlflow-artifacts:/{row.experiment_id}/models/{row.id}/artifacts",
        "status": _STATUS[row.status],
    }  # fmt: skip
    if row.type:
        info["model_type"] = row.type
    if row.run_id:
        info["source_run_id"] = row.run_id
    if row.tags:
        info["tags"] = shapes.pairs(sorted(row.tags.items()))
    data: Reply = {}
    if row.params:
        data["params"] = shapes.pairs(sorted(row.params.items()))
    if row.metrics:
        data["metrics"] = [_measured(row.id, one) for one in row.metrics]
    return {"info": info, "data": data}


def _measured(model_id: str, one: dict[str, Any]) -> Reply:
    dataset = {key: one[key] for key in ("dataset_name", "dataset_digest") if one[key]}
    return {
        "key": one["key"], "value": shapes.number(float(one["value"])), "timestamp": one["at"], "step": one["step"],
        "model_id": model_id, "run_id": one["run_id"], **dataset,
    }  # fmt: skip
