"""What MLflow's interface says to requests that are wrong, strange or hostile."""

import itertools
from typing import Any

import pytest

from tests.support.world import World

from .conftest import Api

numbers = itertools.count()
NAMES = [f"p{n}" for n in range(10_000)]


@pytest.fixture
def run(api: Api) -> str:
    return api.run(api.experiment(f"wire {next(numbers)}"))


def shown(api: Api, run: str) -> dict[str, Any]:
    return api.ok("GET", "runs/get", run_id=run)["run"]


def test_sentences_are_those_that_clients_look_for(api: Api, run: str) -> None:
    api.experiment("taken")
    assert api.refused("GET", "experiments/get", experiment_id="999")[1:] == (
        "RESOURCE_DOES_NOT_EXIST", "No Experiment with id=999 exists",
    )  # fmt: skip
    assert (
        api.refused("GET", "experiments/get-by-name", experiment_name="zz")[2]
        == "Could not find experiment with name 'zz'"
    )
    assert api.refused("GET", "runs/get", run_id="zz") == (
        404,
        "RESOURCE_DOES_NOT_EXIST",
        "Run with id=zz not found",
    )
    assert api.refused("POST", "experiments/create", name="taken") == (
        400, "RESOURCE_ALREADY_EXISTS", "Experiment(name=taken) already exists.",
    )  # fmt: skip
    assert api.refused("POST", "experiments/create")[2].startswith(
        "Missing value for required parameter 'name'."
    )
    api.ok("POST", "runs/log-parameter", run_id=run, key="p", value="1")
    status, code, message = api.refused("POST", "runs/log-parameter", run_id=run, key="p", value="2")
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
    assert message.startswith(
        "Changing param values is not allowed. Param with key='p' was already logged with value='1'"
    )
    assert api.refused("POST", "nothing/here")[:2] == (404, "ENDPOINT_NOT_FOUND")


def test_who_is_nobody_or_may_only_read_is_refused_in_mlflows_shape(world: World, api: Api) -> None:
    reply = world.http.get("/mlflow/api/2.0/mlflow/experiments/get", params={"experiment_id": "0"})
    assert (reply.status_code, reply.json()["error_code"]) == (401, "UNAUTHENTICATED")
    assert Api(world, "bos_ak_" + "0" * 43).refused("POST", "experiments/create", name="x")[:2] == (
        401,
        "UNAUTHENTICATED",
    )
    key = world.ok(world.as_owner("POST", "/v1/api-keys", json={"label": "r", "scopes": ["read"]}), 201)
    reader = Api(world, key["api_key"])
    assert reader.refused("POST", "experiments/create", name="x")[:2] == (403, "PERMISSION_DENIED")
    api.experiment("readable")
    assert (
        reader.ok("GET", "experiments/get-by-name", experiment_name="readable")["experiment"]["name"]
        == "readable"
    )


def test_the_same_point_sent_twice_is_kept_once_and_clocks_may_run_backwards(api: Api, run: str) -> None:
    for at, step in ((300, 2), (100, 3), (100, 3), (200, 1)):
        api.ok("POST", "runs/log-metric", run_id=run, key="loss", value=step / 10, timestamp=at, step=step)
    found = api.ok("GET", "metrics/get-history", run_id=run, metric_key="loss")["metrics"]
    assert [(p["timestamp"], p["step"]) for p in found] == [(100, 3), (200, 1), (300, 2)]
    (latest,) = shown(api, run)["data"]["metrics"]
    assert (latest["step"], latest["value"]) == (3, 0.3)
    api.ok("POST", "runs/update", run_id=run, status="FINISHED", end_time=-5)
    api.ok("POST", "runs/update", run_id=run, status="FAILED", end_time=7)
    info = shown(api, run)["info"]
    assert (info["status"], info["end_time"]) == ("FAILED", 7)


def test_of_a_long_series_so_many_points_are_given_as_are_asked_for(api: Api, run: str) -> None:
    points = [{"key": "long", "value": n, "timestamp": n, "step": n} for n in range(1000)]
    api.ok("POST", "runs/log-batch", run_id=run, metrics=points)

    def steps(**more: Any) -> list[int]:
        path = "metrics/get-history-bulk-interval"
        found = api.ok("GET", path, run_ids=[run], metric_key="long", **more).get("metrics", [])
        assert {point["run_id"] for point in found} <= {run}
        return [point["step"] for point in found]

    ten = steps(max_results=10)
    assert (len(ten), ten[0], ten[-1]) == (10, 0, 999)
    assert {after - before for before, after in itertools.pairwise(ten)} == {111}
    assert (steps(max_results=1), len(steps())) == ([999], 1000)
    assert steps(start_step=5, end_step=7) == [5, 6, 7]
    assert steps(start_step=5000, end_step=6000) == []
    for wrong in ({"max_results": 0}, {"start_step": 1}, {"start_step": 2, "end_step": 1}):
        said = api.refused(
            "GET", "metrics/get-history-bulk-interval", run_ids=[run], metric_key="long", **wrong
        )
        assert said[:2] == (400, "INVALID_PARAMETER_VALUE"), wrong


def test_numbers_that_json_does_not_know_come_back_as_words(api: Api, run: str) -> None:
    for key, value in (("a", "NaN"), ("b", "Infinity"), ("c", "-Infinity"), ("d", 1e308)):
        api.ok("POST", "runs/log-metric", run_id=run, key=key, value=value, timestamp=1)
    assert [p["value"] for p in shown(api, run)["data"]["metrics"]] == ["NaN", "Infinity", "-Infinity", 1e308]


def test_ten_thousand_params_fit_and_too_many_at_once_change_nothing(api: Api, run: str) -> None:
    for first in range(0, len(NAMES), 100):
        part = [{"key": name, "value": name} for name in NAMES[first : first + 100]]
        api.ok("POST", "runs/log-batch", run_id=run, params=part)
    assert len(shown(api, run)["data"]["params"]) == 10_000
    many = [{"key": f"m{n}", "value": n, "timestamp": 1} for n in range(1001)]
    assert api.refused("POST", "runs/log-batch", run_id=run, metrics=many)[:2] == (
        400,
        "INVALID_PARAMETER_VALUE",
    )
    mixed = {
        "metrics": [{"key": "m", "value": 1, "timestamp": 1}],
        "params": [{"key": "p0", "value": "other"}],
    }
    assert api.refused("POST", "runs/log-batch", run_id=run, **mixed)[1] == "INVALID_PARAMETER_VALUE"
    assert "metrics" not in shown(api, run)["data"]
    assert api.ok("POST", "runs/log-batch", run_id=run) == {}


@pytest.mark.parametrize("key", ["../a", "/a", "a\x00b", "x" * 251, "a//b", "ü*"])
def test_names_that_lead_elsewhere_are_refused(api: Api, run: str, key: str) -> None:
    assert api.refused("POST", "runs/log-metric", run_id=run, key=key, value=1, timestamp=1)[0] == 400


PLACE = "/mlflow/api/2.0/mlflow-artifacts/artifacts"


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "%2e%2e/%2e%2e/x", "a%252e%252e%252f..%252fb", "a%23b", "%2Fetc%2Fpasswd", "file:x",
             "..%5c..%5cx", "a%00b", "a/%2e/b", "~/x"],
)  # fmt: skip
def test_a_hostile_path_is_refused_and_nothing_is_read(world: World, api: Api, run: str, path: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        reply = world.http.request(method, f"{PLACE}/0/{run}/artifacts/{path}", headers=world.owner)
        assert reply.status_code == 400, (method, reply.text)
        assert reply.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    listed = world.http.get(PLACE, params={"path": f"0/{run}/artifacts/{path}"}, headers=world.owner)
    assert listed.status_code in (200, 400)
    assert not listed.json().get("files")


def test_a_file_is_kept_replaced_and_taken_away(world: World, api: Api, run: str) -> None:
    def ask(method: str, name: str, content: bytes | None = None) -> Any:
        headers = world.owner | {"Content-Type": "text/plain"}
        return world.http.request(
            method, f"{PLACE}/0/{run}/artifacts/{name}", content=content, headers=headers
        )

    assert ask("PUT", "a/b.txt", b"one").status_code == 200
    assert ask("PUT", "a/b.txt", b"two").status_code == 200
    assert ask("PUT", "a", b"x").status_code == 400
    assert ask("GET", "a/b.txt").content == b"two"
    assert api.ok("GET", "artifacts/list", run_id=run)["files"] == [{"path": "a", "is_dir": True}]
    assert ask("DELETE", "a").status_code == 200
    assert ask("GET", "a/b.txt").status_code == 404


def test_a_deleted_run_takes_nothing_more_until_it_is_back(api: Api, run: str) -> None:
    api.ok("POST", "runs/delete", run_id=run)
    assert (
        "must be in the 'active' state"
        in api.refused("POST", "runs/set-tag", run_id=run, key="a", value="b")[2]
    )
    api.ok("POST", "runs/restore", run_id=run)
    api.ok("POST", "runs/set-tag", run_id=run, key="a", value="b")
    assert {"key": "a", "value": "b"} in shown(api, run)["data"]["tags"]
