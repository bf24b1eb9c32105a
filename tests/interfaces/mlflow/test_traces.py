"""Traces of the unmodified client: logged, searched, read again with their spans; and what is refused."""

from typing import Any

import pytest

from tests.support.world import World

from .conftest import Api

ID = "tr-" + "a1" * 16
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
out["deleted"] = client.delete_traces(experiment_id=trace.info.experiment_id, trace_ids=[first])
out["left"] = len(found())
out["gone"] = refused(client.get_trace, first)
out["filter"] = refused(found, filter_string="metrics.a > 1")
"""


def test_traces_are_logged_searched_and_read_again(client: Any) -> None:
    out = client(SCRIPT)
    assert out.pop("state") == ["OK", '{"question": "why"}', '"WHY"']
    assert out.pop("spans") == ["answer", "look up"]
    assert out.pop("outputs") == [[1, 2]]
    assert (out.pop("all"), out.pop("failed"), out.pop("run"), out.pop("tagged")) == (3, 1, 1, True)
    assert out.pop("untagged") == []
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
