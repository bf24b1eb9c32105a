"""Experiments and runs, as MLflow's clients ask for them."""

from typing import Any, Final

from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.unit import Unit
from builderos.workloads.experiments.service import Point, asking, keeping, log, logged, runs

from . import shapes
from .words import Body, invalid

Reply = dict[str, Any]
_VIEWS: Final[dict[Any, asking.View]] = {
    "ACTIVE_ONLY": "active", "DELETED_ONLY": "deleted", "ALL": "all", 1: "active", 2: "deleted", 3: "all",
}  # fmt: skip
_NUMBERED: Final = ("running", "scheduled", "finished", "failed", "killed")
_STATUS: Final[dict[Any, str]] = {name: ours for ours, name in shapes.STATUS.items()} | dict(
    enumerate(_NUMBERED, 1)
)


def create_experiment(unit: Unit, body: Body) -> Reply:
    """`experiments/create`."""
    name = body.text("name")
    return {"experiment_id": keeping.create(unit, name, tags=body.pairs("tags")).id}


def get_experiment(unit: Unit, body: Body) -> Reply:
    """`experiments/get`."""
    return {"experiment": shapes.experiment(keeping.show(unit, body.text("experiment_id")))}


def get_by_name(unit: Unit, body: Body) -> Reply:
    """`experiments/get-by-name`."""
    return {"experiment": shapes.experiment(keeping.by_name(unit, body.text("experiment_name")))}


def update_experiment(unit: Unit, body: Body) -> Reply:
    """`experiments/update`."""
    if body.has("new_name"):
        keeping.rename(unit, body.text("experiment_id"), body.text("new_name"))
    return {}


def delete_experiment(unit: Unit, body: Body) -> Reply:
    """`experiments/delete`."""
    keeping.delete(unit, body.text("experiment_id"))
    return {}


def restore_experiment(unit: Unit, body: Body) -> Reply:
    """`experiments/restore`."""
    keeping.restore(unit, body.text("experiment_id"))
    return {}


def tag_experiment(unit: Unit, body: Body) -> Reply:
    """`experiments/set-experiment-tag`."""
    keeping.set_tag(unit, body.text("experiment_id"), body.text("key"), body.any_text("value"))
    return {}


def untag_experiment(unit: Unit, body: Body) -> Reply:
    """`experiments/delete-experiment-tag`."""
    keeping.set_tag(unit, body.text("experiment_id"), body.text("key"), None)
    return {}


def search_experiments(unit: Unit, body: Body) -> Reply:
    """`experiments/search`."""
    found, token = keeping.search(
        unit, filter_=body.any_text("filter"), order_by=body.texts("order_by"), view=_view(body, "view_type"),
        limit=_limit(body, 1000), token=body.any_text("page_token") or None,
    )  # fmt: skip
    listed = [shapes.experiment(row) for row in found]
    return ({"experiments": listed} if listed else {}) | ({"next_page_token": token} if token else {})


def create_run(unit: Unit, body: Body) -> Reply:
    """`runs/create`."""
    made = runs.start(
        unit, body.text("experiment_id", "0"), name=body.any_text("run_name") or None,
        started_at=body.integer("start_time", int(unit.now.timestamp() * 1000)), given=body.pairs("tags"),
        user_name=body.any_text("user_id"),
    )  # fmt: skip
    return {"run": shapes.run(made)}


def get_run(unit: Unit, body: Body) -> Reply:
    """`runs/get`."""
    return {"run": shapes.run(runs.show(unit, _run_id(body)))}


def update_run(unit: Unit, body: Body) -> Reply:
    """`runs/update`."""
    said = body.members.get("status")
    status = _STATUS.get(said) if isinstance(said, str | int) else None
    if said is not None and status is None:
        raise invalid(f"Invalid run status {str(said)[:50]!r}")
    row = runs.update(
        unit, _run_id(body), status=status, ended_at=body.integer("end_time") if body.has("end_time") else None,
        name=body.any_text("run_name") or None,
    )  # fmt: skip
    return {"run_info": shapes.info(row)}


def delete_run(unit: Unit, body: Body) -> Reply:
    """`runs/delete`."""
    runs.remove(unit, _run_id(body))
    return {}


def restore_run(unit: Unit, body: Body) -> Reply:
    """`runs/restore`."""
    runs.restore(unit, _run_id(body))
    return {}


def log_metric(unit: Unit, body: Body) -> Reply:
    """`runs/log-metric`."""
    run_id = _run_id(body)
    log(unit, run_id, metrics=[_point(body)])
    _measure(unit, run_id, [body])
    return {}


def log_parameter(unit: Unit, body: Body) -> Reply:
    """`runs/log-parameter`."""
    log(unit, _run_id(body), params={body.text("key"): body.any_text("value")})
    return {}


def set_tag(unit: Unit, body: Body) -> Reply:
    """`runs/set-tag`. The name of a run is a tag, too."""
    key, value = body.text("key"), body.any_text("value")
    run_id = _run_id(body)
    if key == "mlflow.runName" and value:
        runs.update(unit, run_id, name=value)
    else:
        log(unit, run_id, tags={key: value})
    return {}


def delete_tag(unit: Unit, body: Body) -> Reply:
    """`runs/delete-tag`."""
    runs.drop_tag(unit, _run_id(body), body.text("key"))
    return {}


def log_batch(unit: Unit, body: Body) -> Reply:
    """`runs/log-batch`: all or nothing."""
    listed = [(one.text("key"), one.any_text("value")) for one in body.bodies("params")]
    given = dict(listed)
    for key, value in listed:
        if given[key] != value:
            raise invalid(f"Duplicate parameter keys have been submitted: {[key]}. Please ensure the request contains "
                          "only one param value per param key.")  # fmt: skip
    run_id, points = _run_id(body), body.bodies("metrics")
    log(unit, run_id, metrics=[_point(one) for one in points], params=given, tags=body.pairs("tags"))
    _measure(unit, run_id, points)
    return {}


def history(unit: Unit, body: Body) -> Reply:
    """`metrics/get-history`."""
    run_id, key = _run_id(body), body.text("metric_key")
    limit = min(body.integer("max_results", runs.MAX_POINTS), runs.MAX_POINTS)
    if limit < 1:
        raise invalid("max_results must be at least 1")
    list_ = list_key("history", run=run_id, key=key)
    last = decode_cursor(list_, body.any_text("page_token") or None, 3)
    after = (int(last[0]), int(last[1]), float(last[2])) if last is not None else None
    rows = runs.history(unit, run_id, key, limit=limit + 1, after=after)
    kept = rows[:limit]
    token = {}
    if len(rows) > limit:
        token = {"next_page_token": encode_cursor(list_, [kept[-1].at, kept[-1].step, repr(kept[-1].value)])}
    return ({"metrics": [shapes.point(row) for row in kept]} if kept else {}) | token


def histories(unit: Unit, body: Body) -> Reply:
    """`metrics/get-history-bulk-interval`: a series of several runs, of each as many points as are shown."""
    run_ids, key = body.texts("run_ids"), body.text("metric_key")
    if not 1 <= len(run_ids) <= runs.MAX_SAMPLED:
        raise invalid(f"GetMetricHistoryBulkInterval request must specify at most {runs.MAX_SAMPLED} run_ids. "
                      f"Received {len(run_ids)} run_ids.")  # fmt: skip
    limit = body.integer("max_results", runs.MAX_SAMPLE)
    if not 1 <= limit <= runs.MAX_SAMPLE:
        raise invalid(f"max_results must be between 1 and {runs.MAX_SAMPLE}.")
    between = None
    if body.has("start_step") != body.has("end_step"):
        raise invalid("If either start step or end step are specified, both must be specified.")
    if body.has("start_step"):
        between = body.integer("start_step"), body.integer("end_step")
        if between[0] > between[1]:
            raise invalid("end_step must be greater than start_step. "
                          f"Found start_step={between[0]} and end_step={between[1]}.")  # fmt: skip
    rows = runs.sampled(unit, run_ids, key, limit=limit, between=between)
    return {"metrics": [{**shapes.point(row), "run_id": row.run_id} for row in rows]} if rows else {}


def search_runs(unit: Unit, body: Body) -> Reply:
    """`runs/search`."""
    ids = body.texts("experiment_ids")
    known = keeping.those(unit, ids)
    asked = asking.Asked(
        tuple(sorted(row.id for row in known)), body.any_text("filter"), tuple(body.texts("order_by")),
        _view(body, "run_view_type"), _limit(body, 1000), body.any_text("page_token") or None,
    )  # fmt: skip
    found = asking.ask(unit, asked)
    listed = [shapes.run(shown) for shown in runs.gathered(unit, found.rows)]
    return ({"runs": listed} if listed else {}) | ({"next_page_token": found.token} if found.token else {})


def _measure(unit: Unit, run_id: str, points: list[Body]) -> None:
    """Log the points that name a model to it, too."""
    by_model: dict[tuple[str, str, str], list[Point]] = {}
    for one in points:
        if one.has("model_id"):
            key = (one.text("model_id"), one.any_text("dataset_name"), one.any_text("dataset_digest"))
            by_model.setdefault(key, []).append(_point(one))
    for (model_id, name, digest), found in sorted(by_model.items()):
        logged.measure(unit, model_id, run_id, found, (name, digest))


def _run_id(body: Body) -> str:
    """The run; old clients call it `run_uuid`."""
    return body.text("run_id", body.any_text("run_uuid") or None)


def _point(body: Body) -> Point:
    return Point(body.text("key"), body.number("value"), body.integer("timestamp"), body.integer("step", 0))


def _view(body: Body, name: str) -> asking.View:
    said = body.members.get(name)
    if said is None or said == "":
        return "active"
    found = _VIEWS.get(int(said) if isinstance(said, str) and said.isdecimal() else said)
    if found is None:
        raise invalid(f"Invalid view type {str(said)[:50]!r}")
    return found


def _limit(body: Body, default: int) -> int:
    limit = body.integer("max_results", default)
    if not 1 <= limit <= asking.MOST:
        raise invalid(
            f"Invalid value {limit} for parameter 'max_results' supplied: It must be from 1 to {asking.MOST}"
        )
    return limit
