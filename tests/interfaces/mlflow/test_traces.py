"""Traces of the unmodified client: logged, searched, read again with their spans; and what is refused."""

import base64
import gzip
import json
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanOf

from tests.support.world import World

from .conftest import Api

ID, OTHER = "tr-" + "a1" * 16, "tr-" + "b2" * 16
SCRIPT = """
import time
mlflow.set_experiment("traced")

@mlflow.trace(name="answer", attributes={"kind": "test"})
def answer(question):
    with mlflow.start_span("look up") as span:
        span.set_inputs({"q": question})
        span.set_outputs([1, 2])
    return question.upper()

@mlflow.trace
def broken():
    raise ValueError("no such luck")

answer("why")
first = mlflow.get_last_active_trace_id()
with mlflow.start_run() as run:
    answer("in a run")
try:
    broken()
except ValueError:
    pass
mlflow.flush_trace_async_logging()
client = MlflowClient()
trace = mlflow.get_trace(first)
out["state"] = [str(trace.info.state), trace.info.request_preview, trace.info.response_preview]
out["spans"] = sorted(span.name for span in trace.data.spans)
out["outputs"] = [span.outputs for span in trace.data.spans if span.name == "look up"]
found = lambda **more: [t.info.trace_id for t in mlflow.search_traces(return_type="list", **more)]
out["all"] = len(found())
out["failed"] = len(found(filter_string="attributes.status = 'ERROR'"))
out["run"] = len(found(run_id=run.info.run_id))
client.set_trace_tag(first, "checked", "yes")
out["tagged"] = found(filter_string="tags.checked = 'yes'") == [first]
client.delete_trace_tag(first, "checked")
out["untagged"] = found(filter_string="tags.checked = 'yes'")
named = lambda name: client.get_trace(first).search_assessments(name, all=True)
noted = mlflow.log_feedback(trace_id=first, name="fair", value=True, rationale="it is", metadata={"by": "me"})
score = mlflow.log_feedback(trace_id=first, name="score", value=0.75)
mlflow.log_expectation(trace_id=first, name="wanted", value={"words": ["WHY"]})
mlflow.update_assessment(first, noted.assessment_id, mlflow.entities.Feedback(name="fair", value=False))
again = mlflow.get_assessment(first, noted.assessment_id)
out["fair"] = [again.value, again.rationale, again.metadata, again.source.source_type]
other = mlflow.override_feedback(trace_id=first, assessment_id=score.assessment_id, value=0.25)
out["scores"] = [[one.value, one.valid] for one in named("score")]
wanted = ["feedback.fair = 'false'", "feedback.fair = 'true'", "feedback.score < 0.5", "feedback.score > 0.8",
          "expectation.wanted LIKE '%WHY%'", "feedback.none IS NULL AND feedback.fair IS NOT NULL"]
out["thought"] = [len(found(filter_string=text)) for text in wanted]
mlflow.delete_assessment(first, other.assessment_id)
out["restored"] = [[one.value, one.valid] for one in named("score")]
out["no assessment"] = refused(mlflow.get_assessment, first, "a-" + "0" * 32)
out["deleted"] = client.delete_traces(experiment_id=trace.info.experiment_id, trace_ids=[first])
out["left"] = len(found())
out["gone"] = refused(client.get_trace, first)
out["filter"] = refused(found, filter_string="metrics.a > 1")
out["no prompt"] = refused(mlflow.genai.load_prompt, "prompts:/none/1")
"""


def test_traces_are_logged_searched_and_read_again(client: Any) -> None:
    out = client(SCRIPT)
    assert out.pop("state") == ["OK", '{"question": "why"}', '"WHY"']
    assert out.pop("spans") == ["answer", "look up"]
    assert out.pop("outputs") == [[1, 2]]
    assert (out.pop("all"), out.pop("failed"), out.pop("run"), out.pop("tagged")) == (3, 1, 1, True)
    assert out.pop("untagged") == []
    assert out.pop("fair") == [False, "it is", {"by": "me"}, "CODE"]
    assert out.pop("scores") == [[0.75, False], [0.25, True]]
    assert out.pop("thought") == [1, 0, 1, 0, 1, 1]
    assert out.pop("restored") == [[0.75, True]]
    assert out.pop("no assessment")[0] == "RESOURCE_DOES_NOT_EXIST"
    assert out.pop("no prompt")[0] == "RESOURCE_DOES_NOT_EXIST"
    assert (out.pop("deleted"), out.pop("left")) == (1, 2)
    assert out.pop("gone")[0] in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
    assert out.pop("filter")[0] == "INVALID_PARAMETER_VALUE"
    assert not out


def told(experiment_id: str, **more: Any) -> dict[str, Any]:
    """A trace as clients send it."""
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}}
    info = {
        "trace_id": ID,
        "trace_location": where,
        "request_time": "2026-01-02T03:04:05.678Z",
        "state": "OK",
    }
    return {"trace": {"trace_info": info | more}}


def post(world: World, path: str, body: Any, token: str | None = None) -> Any:
    """A request of the third version of the interface."""
    headers = {"Authorization": f"Bearer {token or world.owner_token}"}
    return world.http.post(f"/mlflow/api/3.0/mlflow/{path}", json=body, headers=headers)


@pytest.fixture(scope="module")
def home(api: Api) -> str:
    return api.experiment("nothing is here")


@pytest.mark.parametrize(
    "wrong",
    [
        {"trace_id": "tr-../../x"}, {"trace_id": 5}, {"request_time": "yesterday"},
        {"request_time": "2026-01-02T03:04:05"}, {"request_time": "9999-12-31T23:59:59.9999999Z"},
        {"request_time": "1950-01-01T00:00:00Z"}, {"execution_duration": "nans"}, {"execution_duration": "-1s"},
        {"state": "FINE"}, {"tags": {"a/../b": "x"}}, {"tags": {"a": 1}}, {"tags": {"a": "x" * 8001}},
        {"tags": {f"t{number}": "" for number in range(101)}}, {"trace_metadata": [1]},
        {"request_preview": "x" * 10_001}, {"response_preview": "a\u0000b"}, {"trace_location": {}},
    ],
    ids=lambda wrong: next(iter(wrong)),
)  # fmt: skip
def test_what_is_no_trace_is_refused_and_changes_nothing(
    world: World, home: str, wrong: dict[str, Any]
) -> None:
    reply = post(world, "traces", told(home, **wrong))
    assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), reply.text
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": home}}
    assert post(world, "traces/search", {"locations": [place]}).json()["traces"] == []


def test_a_trace_told_twice_is_one_and_stays_in_its_experiment(world: World, api: Api) -> None:
    home, other = api.experiment("told twice"), api.experiment("elsewhere")
    for state in ("IN_PROGRESS", "OK"):
        info = post(world, "traces", told(home, state=state, execution_duration="1.25s")).json()["trace"][
            "trace_info"
        ]
    assert (info["state"], info["execution_duration"]) == ("OK", "1.250s")
    assert info["request_time"] == "2026-01-02T03:04:05.678Z"
    assert info["tags"]["mlflow.artifactLocation"] == f"mlflow-artifacts:/{home}/traces/{ID}/artifacts"
    assert post(world, "traces", told(other)).status_code == 409
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": home}}
    asked = {"locations": [place], "order_by": ["timestamp_ms DESC"], "filter": f"trace.trace_id = '{ID}'"}
    assert len(post(world, "traces/search", asked).json()["traces"]) == 1
    for wrong in ({"order_by": ["tags.a"]}, {"filter": "status ="}, {"filter": "bogus"}, {"locations": []}):
        assert post(world, "traces/search", asked | wrong).status_code == 400, wrong


def test_whoever_may_not_write_logs_no_trace(world: World, api: Api) -> None:
    home = api.experiment("kept from readers")
    body = {"label": "reads", "scopes": ["read"]}
    token = world.ok(world.as_owner("POST", "/v1/api-keys", json=body), 201)["api_key"]
    assert post(world, "traces", told(home), token).status_code == 403
    assert post(world, "traces", told("exp_" + "0" * 26)).status_code == 404
    spans = world.http.post("/mlflow/v1/traces", content=b"x", headers={"Authorization": "Bearer nobody"})
    assert spans.status_code == 401


def sent(span: Any, **more: Any) -> bytes:
    """A span as an exporter of OpenTelemetry sends it."""
    span.trace_id, span.span_id = bytes.fromhex(OTHER[3:]), b"\1" * 8
    span.name, span.start_time_unix_nano, span.end_time_unix_nano = "work", 2 * 10**18, 2 * 10**18 + 5 * 10**6
    for name, value in more.items():
        setattr(span, name, value)
    resource = ResourceSpans(scope_spans=[ScopeSpans(spans=[span])])
    return ExportTraceServiceRequest(resource_spans=[resource]).SerializeToString()


def spans(world: World, body: bytes, home: str, kind: str = "application/x-protobuf", **headers: str) -> Any:
    """A request of an exporter."""
    said = {
        "x-mlflow-experiment-id": home,
        "content-type": kind,
        "Authorization": f"Bearer {world.owner_token}",
    }
    return world.http.post("/mlflow/v1/traces", content=body, headers=said | headers)


def read(world: World, *ids: str) -> Any:
    """Traces with their spans."""
    headers = {"Authorization": f"Bearer {world.owner_token}"}
    return world.http.get(
        "/mlflow/api/3.0/mlflow/traces/batchGet", params={"trace_ids": list(ids)}, headers=headers
    )


def test_spans_that_come_one_by_one_are_a_trace_and_read_back_as_they_were(world: World, api: Api) -> None:
    home, other = api.experiment("spans"), api.experiment("other spans")
    child = SpanOf(kind=SpanOf.SPAN_KIND_SERVER, trace_state="a=b", flags=257)
    for key, value in {"text": "é", "whole": -5, "part": float("nan"), "on": True, "raw": b"\0\1"}.items():
        name = {str: "string_value", int: "int_value", float: "double_value", bool: "bool_value"}
        child.attributes.add(key=key, value=AnyValue(**{name.get(type(value), "bytes_value"): value}))
    listed = AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="in", value=AnyValue(int_value=2**62))]))
    child.attributes.add(key="deep", value=AnyValue(array_value=ArrayValue(values=[listed])))
    child.events.add(name="seen", time_unix_nano=2 * 10**18, dropped_attributes_count=1)
    child.links.add(trace_id=b"\2" * 16, span_id=b"\3" * 8)
    packed = gzip.compress(sent(child, parent_span_id=b"\4" * 8))
    assert spans(world, packed, home, **{"content-encoding": "gzip"}).status_code == 200
    [early] = read(world, OTHER).json()["traces"]
    assert early["trace_info"]["state"] == "IN_PROGRESS"
    root = SpanOf(status=Status(code=Status.STATUS_CODE_ERROR, message="no"))
    root.attributes.add(key="input.value", value=AnyValue(string_value="why?"))
    for _ in range(2):
        assert spans(world, sent(root, span_id=b"\4" * 8), home).status_code == 200
    [trace] = read(world, OTHER).json()["traces"]
    info = trace["trace_info"]
    assert (info["state"], info["request_preview"], info["execution_duration"]) == ("ERROR", "why?", "0.005s")
    assert (info["tags"]["mlflow.traceName"], info["tags"]["mlflow.trace.spansLocation"]) == (
        "work",
        "TRACKING_STORE",
    )
    kept = [json_format.ParseDict(span, SpanOf()) for span in trace["spans"]]
    assert [str(one) for one in kept] == [str(child), str(root)]
    assert spans(world, sent(root), other).status_code == 409
    assert read(world, OTHER, "tr-" + "0" * 32).status_code == 404


def test_spans_in_json_are_the_same_and_a_file_of_a_trace_counts_for_more(world: World, api: Api) -> None:
    home, id_ = api.experiment("json"), "tr-" + "c3" * 16
    span = {
        "traceId": id_[3:],
        "spanId": "0102030405060708",
        "name": "j",
        "startTimeUnixNano": str(2 * 10**18),
        "endTimeUnixNano": 2 * 10**18,
        "attributes": [{"key": "n", "value": {"intValue": 3}}],
        "unknown": 1,
    }
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    assert spans(world, body, home, "application/json; charset=utf-8").json() == {}
    [trace] = read(world, id_).json()["traces"]
    assert trace["spans"][0]["traceId"] == base64.b64encode(bytes.fromhex(id_[3:])).decode()
    assert trace["spans"][0]["attributes"] == [{"key": "n", "value": {"intValue": "3"}}]
    many = {"trace_id": id_, "trace_metadata": {"mlflow.trace.sizeStats": '{"num_spans": 2}'}}
    info = post(world, "traces", told(home, **many)).json()["trace"]["trace_info"]
    assert "mlflow.trace.spansLocation" not in info["tags"], "one of two has come: the client sends a file"


@pytest.mark.parametrize(
    ("body", "kind", "encoding"),
    [
        (b"\x0a\xff", "application/x-protobuf", ""), (b"", "application/x-protobuf", ""),
        (b"\xff" * 20, "application/x-protobuf", ""), (b"\x0a\x02\x12", "application/x-protobuf", ""),
        (b"[]", "application/json", ""), (b'{"resourceSpans": {}}', "application/json", ""), (b"{}", "text/plain", ""),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz"}]}]}]}', "application/json", ""),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"no ids"}]}]}]}', "application/json", ""),
        (b"\x1f\x8bno", "application/x-protobuf", "gzip"), (b"x", "application/x-protobuf", "br"),
        (gzip.compress(bytes(65 * 1024**2)), "application/x-protobuf", "gzip"),
        (sent(SpanOf(), trace_id=bytes(16)), "application/x-protobuf", ""),
        (sent(SpanOf(), start_time_unix_nano=2**64 - 1), "application/x-protobuf", ""),
        (sent(SpanOf(), name="x" * 10_001), "application/x-protobuf", ""),
    ],
)  # fmt: skip
def test_what_is_no_span_is_refused(world: World, home: str, body: bytes, kind: str, encoding: str) -> None:
    reply = spans(world, body, home, kind, **({"content-encoding": encoding} if encoding else {}))
    assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), reply.text


def test_values_that_lie_too_deep_are_refused(world: World, home: str) -> None:
    value = AnyValue(int_value=1)
    for _ in range(40):
        value = AnyValue(array_value=ArrayValue(values=[value]))
    reply = spans(world, sent(SpanOf(attributes=[KeyValue(key="deep", value=value)])), home)
    assert reply.status_code == 400
    assert "deep" in reply.json()["message"]


@pytest.fixture(scope="module")
def assessed(world: World, api: Api) -> str:
    id_ = "tr-" + "d4" * 16
    assert post(world, "traces", told(api.experiment("assessed"), trace_id=id_)).status_code == 200
    return id_


@pytest.mark.parametrize(
    "wrong",
    [
        {}, {"feedback": {"value": 1}}, {"assessment_name": "a", "source": {"source_type": "CODE"}},
        {"assessment_name": "a", "source": {"source_type": "CODE"}, "feedback": {}, "expectation": {}},
        {"assessment_name": "a", "feedback": {"value": 1}},
        {"assessment_name": "a" * 251, "source": {"source_type": "CODE"}, "feedback": {"value": 1}},
        {"assessment_name": "a", "source": {"source_type": "CODE"}, "feedback": {"value": "x" * 70_000}},
        {"assessment_name": "a", "source": {"source_type": "CODE"}, "feedback": {"value": "a\u0000b"}},
        {"assessment_name": "a", "source": {"source_type": "C" * 251}, "feedback": {"value": 1}},
    ],
)  # fmt: skip
def test_what_is_no_assessment_is_refused(world: World, assessed: str, wrong: dict[str, Any]) -> None:
    reply = post(world, f"traces/{assessed}/assessments", {"assessment": wrong})
    assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), reply.text
