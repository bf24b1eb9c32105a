"""Traces, as MLflow's clients log and read them. Their spans come one by one, or as a file of each,
`…/traces/<id>/artifacts/traces.json`.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

import orjson

from builderos.core.clock import rfc3339
from builderos.core.unit import Unit
from builderos.workloads.experiments.service import assessments, spans, traces

from .words import Body, invalid

Reply = dict[str, Any]
SPANS: Final = "v1/traces"
_MOST: Final = 500
_FILES: Final = "mlflow.artifactLocation"
_SPANS: Final = "mlflow.trace.spansLocation"
_SIZE: Final = "mlflow.trace.sizeStats"
_OURS: Final = frozenset({_FILES, _SPANS})


def start(unit: Unit, body: Body) -> Reply:
    """`3.0/mlflow/traces`, which clients ask for when a trace is over."""
    said = body.body("trace").body("trace_info")
    told = traces.Told(
        id=said.text("trace_id"), experiment_id=_place(said.body("trace_location")),
        state=said.text("state", "STATE_UNSPECIFIED"), started_at=_moment(said.text("request_time")),
        duration_ms=_duration(said.any_text("execution_duration")), request=said.any_text("request_preview") or None,
        response=said.any_text("response_preview") or None, client_id=said.any_text("client_request_id") or None,
        metadata=_texts(said, "trace_metadata"),
        tags={name: text for name, text in _texts(said, "tags").items() if name not in _OURS},
    )  # fmt: skip
    row = traces.log(unit, told)
    if not assessments.of_traces(unit, [row.id]):  # else it is told again
        for one in said.bodies("assessments"):
            assessments.create(unit, row.id, _assessment(one))
    wanted = _size(told.metadata)
    return {"trace": {"trace_info": _infos(unit, [row], lambda many: many >= wanted)[0]}}


def get(unit: Unit, body: Body) -> Reply:
    """GET `traces/{trace_id}`."""
    return {"trace": {"trace_info": _infos(unit, [traces.show(unit, body.text("trace_id"))])[0]}}


def whole(unit: Unit, body: Body) -> Reply:
    """`3.0/mlflow/traces/get`: with its spans."""
    return {"trace": _whole(unit, [body.text("trace_id")])[0]}


def several(unit: Unit, body: Body) -> Reply:
    """`3.0/mlflow/traces/batchGet`."""
    return {"traces": _whole(unit, body.texts("trace_ids"))}


def several_infos(unit: Unit, body: Body) -> Reply:
    """`3.0/mlflow/traces/batchGetInfos`."""
    return {"trace_infos": [one["trace_info"] for one in _whole(unit, body.texts("trace_ids"))]}


def search(unit: Unit, body: Body) -> Reply:
    """`3.0/mlflow/traces/search`."""
    places = [_place(place) for place in body.bodies("locations")]
    if not places:
        raise invalid("Missing value for required parameter 'locations'.")
    found, token = traces.search(
        unit, places, body.any_text("filter"), body.texts("order_by"),
        max(1, min(body.integer("max_results", 100), _MOST)), body.any_text("page_token") or None,
    )  # fmt: skip
    more = {} if token is None else {"next_page_token": token}
    return {"traces": _infos(unit, found), **more}


def set_tag(unit: Unit, body: Body) -> Reply:
    """PATCH `traces/{trace_id}/tags`."""
    traces.set_tag(unit, body.text("trace_id"), body.text("key"), body.any_text("value"))
    return {}


def delete_tag(unit: Unit, body: Body) -> Reply:
    """DELETE `traces/{trace_id}/tags`."""
    traces.set_tag(unit, body.text("trace_id"), body.text("key"), None)
    return {}


def delete(unit: Unit, body: Body) -> Reply:
    """`traces/delete-traces`."""
    ids = body.texts("request_ids") or body.texts("trace_ids")
    before = body.integer("max_timestamp_millis") if body.has("max_timestamp_millis") else None
    if not ids and before is None:
        raise invalid("Either `max_timestamp_millis` or `request_ids` must be specified.")
    most = max(1, body.integer("max_traces", len(ids) or traces.MAX_DELETED))
    return {"traces_deleted": traces.remove(unit, body.text("experiment_id"), ids, before, most)}


def assess(unit: Unit, body: Body) -> Reply:
    """POST `traces/{trace_id}/assessments`."""
    row = assessments.create(unit, body.text("trace_id"), _assessment(body.body("assessment")))
    return {"assessment": _assessed(row)}


def get_assessment(unit: Unit, body: Body) -> Reply:
    """GET `traces/{trace_id}/assessments/{assessment_id}`."""
    return {
        "assessment": _assessed(assessments.show(unit, body.text("trace_id"), body.text("assessment_id")))
    }


def change_assessment(unit: Unit, body: Body) -> Reply:
    """PATCH `traces/{trace_id}/assessments/{assessment_id}`: what its mask names."""
    said = body.body("assessment")
    named = {name.strip().replace("_", "").lower() for name in body.any_text("update_mask").split(",")}
    kind = next((kind for kind in assessments.KINDS if kind in named), None)
    row = assessments.change(
        unit, body.text("trace_id"), body.text("assessment_id"),
        name=said.text("assessment_name") if "assessmentname" in named else None, kind=kind,
        value=said.body(kind).members if kind is not None else None,
        rationale=said.any_text("rationale") if "rationale" in named else None,
        metadata=_texts(said, "metadata") if "metadata" in named else None,
    )  # fmt: skip
    return {"assessment": _assessed(row)}


def drop_assessment(unit: Unit, body: Body) -> Reply:
    """DELETE `traces/{trace_id}/assessments/{assessment_id}`."""
    assessments.remove(unit, body.text("trace_id"), body.text("assessment_id"))
    return {}


def _assessment(said: Body) -> assessments.Told:
    kinds = [kind for kind in assessments.KINDS if said.has(kind)]
    if len(kinds) != 1:
        raise invalid("Exactly one of `expectation`, `feedback`, or `issue` should be specified.")
    source = said.body("source")
    return assessments.Told(
        kind=kinds[0], name=said.text("assessment_name"), value=said.body(kinds[0]).members,
        source={"source_type": source.text("source_type"), "source_id": source.any_text("source_id")},
        rationale=said.any_text("rationale") or None, metadata=_texts(said, "metadata"),
        span_id=said.any_text("span_id") or None, overrides=said.any_text("overrides") or None,
    )  # fmt: skip


def _assessed(row: Any) -> Reply:
    told: Reply = {
        "assessment_id": row.id, "assessment_name": row.name, "trace_id": row.trace_id, "source": row.source,
        row.kind: row.value, "create_time": rfc3339(row.created_at), "last_update_time": rfc3339(row.updated_at),
        "valid": row.valid,
    }  # fmt: skip
    optional = {name: getattr(row, name) for name in ("rationale", "metadata", "span_id", "overrides")}
    return told | {name: value for name, value in optional.items() if value}


def _whole(unit: Unit, ids: Sequence[str]) -> list[Reply]:
    """Traces with their spans, which are JSON already."""
    found = spans.of_traces(unit, ids)
    infos = _infos(unit, [traces.find(unit, id_, "experiment.read") for id_ in found])
    return [
        {"trace_info": info, "spans": [orjson.Fragment(text) for text in found[info["trace_id"]]]}
        for info in infos
    ]


def _size(metadata: Mapping[str, str]) -> int:
    """How many spans a trace has, as its client says: at least one."""
    try:
        return max(1, int(json.loads(metadata.get(_SIZE, "{}")).get("num_spans", 1)))
    except (ValueError, TypeError, AttributeError):
        return 1


def _place(place: Body) -> str:
    return place.body("mlflow_experiment").text("experiment_id")


def _infos(unit: Unit, rows: Sequence[Any], all_there: Callable[[int], bool] = bool) -> list[Reply]:
    """Traces without their spans. `all_there`: whether so many spans are all that it has; else they become a file."""
    ids = [row.id for row in rows]
    thought, many = assessments.of_traces(unit, ids), traces.rows_of(unit, ids)
    told: list[Reply] = []
    for row in rows:
        info = _info(row)
        if row.id in many and all_there(many[row.id]):
            info["tags"][_SPANS] = "TRACKING_STORE"
        if row.id in thought:
            info["assessments"] = [_assessed(one) for one in thought[row.id]]
        told.append(info)
    return told


def _info(row: Any) -> Reply:
    told: Reply = {
        "trace_id": row.id,
        "trace_location": {
            "type": "MLFLOW_EXPERIMENT",
            "mlflow_experiment": {"experiment_id": row.experiment_id},
        },
        "request_time": rfc3339(datetime.fromtimestamp(row.started_at / 1000, UTC)),
        "state": row.state,
        "trace_metadata": row.metadata,
        "tags": {**row.tags, _FILES: f"mlflow-artifacts:/{row.experiment_id}/traces/{row.id}/artifacts"},
    }
    optional = {
        "execution_duration": None if row.duration_ms is None else f"{row.duration_ms / 1000:.3f}s",
        "request_preview": row.request, "response_preview": row.response, "client_request_id": row.client_id,
    }  # fmt: skip
    return told | {name: value for name, value in optional.items() if value is not None}


def _moment(text: str) -> int:
    """Milliseconds of a time as protobuf's JSON has it."""
    try:
        moment = datetime.fromisoformat(text)
        return round(moment.timestamp() * 1000) if moment.tzinfo is not None else -1
    except (ValueError, OverflowError):
        raise invalid(f"Invalid value {text[:60]} for parameter 'request_time' supplied") from None


def _duration(text: str) -> int | None:
    """Milliseconds of `1.5s`."""
    if not text:
        return None
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < 1e12:
        raise invalid(f"Invalid value {text[:60]} for parameter 'execution_duration' supplied")
    return round(seconds * 1000)


def _texts(body: Body, name: str) -> dict[str, str]:
    """A document of texts."""
    members = body.body(name).members
    if any(not isinstance(value, str) for value in members.values()):
        raise invalid(f"Invalid value for parameter '{name}' supplied: it holds something else than texts")
    return dict(cast("dict[str, str]", members))
