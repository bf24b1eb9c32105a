"""Traces, as MLflow's clients log and read them; their spans are files, `…/traces/<id>/artifacts/traces.json`."""

import math
from datetime import UTC, datetime
from typing import Any, Final, cast

from builderos.core.clock import rfc3339
from builderos.core.unit import Unit
from builderos.workloads.experiments.service import traces

from .words import Body, invalid

Reply = dict[str, Any]
SPANS: Final = "v1/traces"
NO_SPANS: Final = {
    # Clients look for this very sentence, and then send whole traces.
    "error_code": "NOT_IMPLEMENTED", "message": "REST OTLP span logging is not supported", "sqlstate": "KAM00",
    "error_class": "NOT_IMPLEMENTED",
}  # fmt: skip
_MOST: Final = 500
_FILES: Final = "mlflow.artifactLocation"


def start(unit: Unit, body: Body) -> Reply:
    """`3.0/mlflow/traces`, which clients ask for when a trace is over."""
    said = body.body("trace").body("trace_info")
    told = traces.Told(
        id=said.text("trace_id"), experiment_id=_place(said.body("trace_location")),
        state=said.text("state", "STATE_UNSPECIFIED"), started_at=_moment(said.text("request_time")),
        duration_ms=_duration(said.any_text("execution_duration")), request=said.any_text("request_preview") or None,
        response=said.any_text("response_preview") or None, client_id=said.any_text("client_request_id") or None,
        metadata=_texts(said, "trace_metadata"),
        tags={name: text for name, text in _texts(said, "tags").items() if name != _FILES},
    )  # fmt: skip
    return {"trace": {"trace_info": _info(traces.log(unit, told))}}


def get(unit: Unit, body: Body) -> Reply:
    """GET `traces/{trace_id}`."""
    return {"trace": {"trace_info": _info(traces.show(unit, body.text("trace_id")))}}


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
    return {"traces": [_info(row) for row in found], **more}


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


def _place(place: Body) -> str:
    return place.body("mlflow_experiment").text("experiment_id")


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
