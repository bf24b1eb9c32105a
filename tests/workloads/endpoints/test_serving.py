"""Models behind endpoints: real ones, in the sandbox; what fits them, who may call, traffic and the way back."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import pytest

from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, open_unit
from builderos.execution.compute.service import SandboxProviders
from builderos.workloads.endpoints import calling, choosing, life, standing
from builderos.workloads.endpoints.service import Counts, Keeper, erase
from tests.support.databases import Databases
from tests.support.sandboxes import needs_strong
from tests.support.scoring import Rack, rack_in_temp
from tests.support.servers import until
from tests.support.world import World

ROW = {"dataframe_split": {"columns": ["x", "y"], "data": [[2, 2], [-2, -2]]}}
V2 = {"id": "7", "inputs": [{"name": "in", "shape": [2, 2], "datatype": "FP64", "data": [2, 2, -2, -2]}]}


@pytest.fixture(scope="module")
def rack(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    with (
        mock.patch.object(life, "DRIFT_S", 0.2),
        databases.fresh() as database,
        rack_in_temp(database, tmp_path_factory.mktemp("models")) as made,
    ):
        needs_strong(made.ship.context.get(SandboxProviders).probe("local"))
        baseline = {
            "baseline.json": json.dumps({"x": [*range(-3, 4)] * 3, "y": [*range(-3, 4)] * 3}).encode()
        }
        made.register("signs", made.trained("up") | baseline, made.trained("down", "model.pkl"))
        yield made


@pytest.fixture(scope="module")
def served(rack: Rack) -> str:
    made = rack.serve("signs", "signs@1")
    assert made["deployments"][0]["status"] == "ready", made
    return made["id"]


def test_a_model_answers_in_mlflows_words_and_in_those_of_the_open_protocol(rack: Rack, served: str) -> None:
    for body in (
        ROW,
        {"instances": [[2, 2], [-2, -2]]},
        {"dataframe_records": [{"y": 2, "x": 2}, {"x": -2, "y": -2}]},
    ):
        assert rack.ask(served, body).json() == {"predictions": [1, 0]}
    answer = rack.ask("signs", V2).json()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("7", "signs", "1")
    assert answer["outputs"] == [{"name": "predict", "shape": [2], "datatype": "INT64", "data": [1, 0]}]


@pytest.mark.parametrize(
    ("body", "why", "status"),
    [
        ({"dataframe_split": {"columns": ["x"], "data": [[1]]}}, "missing: y", 422),
        ({"dataframe_records": [{"x": 1}]}, "missing: y", 422),
        ({"instances": [[1, 2, 3]]}, "each row needs 2 values", 422),
        ({"dataframe_split": {"columns": ["x", "y"], "data": [[1, "two"]]}}, "y has to be a number", 422),
        ({"rows": [[1, 2]]}, "instances or inputs", 400),
        ({"inputs": [{"name": "in", "shape": [3, 2], "datatype": "FP64", "data": [1, 2]}]}, "reshape", 400),
    ],
    ids=["a column", "a member", "too wide", "a text", "other words", "another shape"],
)
def test_what_does_not_fit_the_model_is_the_callers_fault_and_says_why(
    rack: Rack, served: str, body: dict[str, object], why: str, status: int
) -> None:
    reply = rack.ask(served, body)
    assert reply.status_code == status
    assert why in reply.json()["message"]


def test_a_call_is_an_access_counted_with_its_latency_and_lineage_leads_to_the_model(
    rack: Rack, served: str
) -> None:
    rack.ask(served, ROW)
    rack.ask(served, {"instances": [[1]]})
    rows = rack.call("GET", "/v1/audit/access", object=served, action="endpoint.invoke")["items"]
    assert rows
    rack.ship.context.get(Keeper).tally.write(rack.ship.context)
    told = rack.call("GET", f"/v1/endpoints/{served}/metrics")["total"]
    assert told["calls"] >= 2
    assert told["refused"] >= 1
    assert told["errors"] == 0
    assert 0 < told["p50_ms"] <= told["p95_ms"]
    graph = rack.call("GET", f"/v1/lineage/{served}", direction="up")
    assert {"model", "artifact", "endpoint"} == {node["kind"] for node in graph["nodes"]}


def _compared(rack: Rack, endpoint: str, deployment: str) -> tuple[int, int]:
    rack.ship.context.get(Keeper).tally.write(rack.ship.context)
    told = rack.call("GET", f"/v1/endpoints/{endpoint}/metrics")["deployments"]
    return next(
        ((one["compared"], one["differed"]) for one in told if one["deployment_id"] == deployment), (0, 0)
    )


def test_rows_that_are_not_as_those_it_was_made_for_are_told_of(rack: Rack, served: str) -> None:
    rows = [[9, number % 7 - 3] for number in range(50)]
    for _ in range(3):
        assert rack.ask(served, {"instances": rows}).status_code == 200

    def drift() -> dict[str, str]:
        shown = rack.call("GET", f"/v1/endpoints/{served}")["deployments"][-1]["drift"]
        return {column["column"]: column["level"] for column in shown}

    until(lambda: drift() == {"x": "shifted", "y": "stable"})


def test_another_version_takes_over_when_it_answers_and_a_rollback_is_instant(
    rack: Rack, served: str
) -> None:
    rack.call("POST", f"/v1/endpoints/{served}/deploy", model_version="signs@2", share=0)
    both = rack.settled(served)
    new, old = both["deployments"]
    assert (new["share"], old["share"]) == (0, 100)
    told = rack.call("POST", f"/v1/endpoints/{served}/traffic", shares={old["id"]: 100}, shadow=new["id"])
    assert told["shadow"] == new["id"]
    reply = rack.ask(served, ROW)
    assert (reply.json(), reply.headers["x-model-deployment"]) == ({"predictions": [1, 0]}, old["id"])
    until(lambda: _compared(rack, served, new["id"]) == (1, 1))
    same = rack.world.as_owner(
        "POST", f"/v1/endpoints/{served}/traffic", json={"shares": {old["id"]: 100}, "shadow": old["id"]}
    )
    World.problem(same, "validation_failed")
    told = rack.call("POST", f"/v1/endpoints/{served}/traffic", shares={new["id"]: 100})
    assert told["shadow"] is None
    assert rack.ask(served, ROW).json() == {"predictions": [0, 1]}
    rack.call("POST", f"/v1/endpoints/{served}/rollback")
    assert rack.ask(served, ROW).json() == {"predictions": [1, 0]}
    rack.call("POST", f"/v1/endpoints/{served}/traffic", shares={new["id"]: 50, old["id"]: 50})
    answers = {rack.ask(served, ROW).headers["x-model-deployment"] for _ in range(40)}
    assert answers == {new["id"], old["id"]}
    wrong = rack.world.as_owner("POST", f"/v1/endpoints/{served}/traffic", json={"shares": {new["id"]: 99}})
    World.problem(wrong, "validation_failed")
    absent = rack.world.as_owner(
        "POST", f"/v1/endpoints/{served}/traffic", json={"shares": {"mdp_none": 100}}
    )
    World.problem(absent, "conflict")
    rack.call("POST", f"/v1/endpoints/{served}/rollback")


def test_a_pickle_that_executes_code_on_load_is_contained_and_reported(rack: Rack, tmp_path: Path) -> None:
    mark = tmp_path / "pwned"
    bomb = f"cposix\nsystem\n(S'touch {mark}'\ntR.".encode()
    rack.register("bomb", {"model.pkl": bomb})
    made = rack.serve("bomb", "bomb@1")["deployments"][0]
    assert made["status"] == "failed"
    assert "posix.system" in made["detail"]
    assert not mark.exists()


REACHES_OUT = """
import socket, pathlib, os
class Model:
    def predict(self, rows):
        seen = []
        try:
            socket.create_connection(("192.0.2.1", 80), 0.2)
            seen.append("network")
        except OSError:
            pass
        if list(pathlib.Path(HOME).glob("*")) if pathlib.Path(HOME).exists() else []:
            seen.append("home")
        if any("TOKEN" in name or "SECRET" in name for name in os.environ):
            seen.append("secrets")
        return [seen] * len(rows)
def load(folder):
    return Model()
"""
TALKS = """
class Model:
    def predict(self, rows):
        return rows
    def predict_stream(self, rows):
        yield from rows[0].split()
def load(folder):
    return Model()
"""


def test_a_model_that_talks_piece_by_piece_is_heard_so(rack: Rack) -> None:
    rack.register("talks", {"model.py": TALKS.encode()})
    made = rack.serve("talks", "talks@1")
    headers = {**rack.world.owner, "Accept": "text/event-stream"}
    reply = rack.ask(made["id"], {"text_input": "one two"}, headers)
    assert reply.headers["content-type"] == "text/event-stream"
    events = [json.loads(line.removeprefix("data: ")) for line in reply.text.split("\n\n") if line]
    assert [event["text_output"] for event in events] == ["one", "two"]
    rack.ship.context.get(Keeper).tally.write(rack.ship.context)
    assert rack.call("GET", f"/v1/endpoints/{made['id']}/metrics")["total"]["calls"] == 1
    rack.call("POST", f"/v1/endpoints/{made['id']}/stop")


def test_a_python_model_runs_and_finds_neither_network_nor_home_nor_secrets(rack: Rack) -> None:
    code = f"HOME = {str(rack.world.home)!r}\n{REACHES_OUT}"
    rack.register("nosy", {"model.py": code.encode()})
    made = rack.serve("nosy", "nosy@1")
    assert rack.ask(made["id"], {"instances": [[1]]}).json() == {"predictions": [[]]}
    rack.call("POST", f"/v1/endpoints/{made['id']}/stop")
    World.problem(rack.ask(made["id"], ROW), "unavailable")


def test_no_answer_leaves_before_its_access_is_written_down(rack: Rack, served: str) -> None:
    def forgets(context: Context, call: Call, verb: Callable[[Unit], object], **_: bool) -> None:
        with open_unit(context, call, read_only=True) as unit:
            verb(unit)
        raise Problem("unavailable", "the database went away", hint="Repeat the call.")

    with mock.patch.object(calling, "perform", forgets), mock.patch.object(standing, "perform", forgets):
        World.problem(rack.ask(served, ROW), "unavailable")
    assert rack.ask(served, ROW).json() == {"predictions": [1, 0]}


def test_who_may_call_is_narrowed_by_the_endpoints_own_policy_and_rate(rack: Rack, served: str) -> None:
    reader = rack.key("read")
    assert rack.ask(served, ROW, reader).status_code == 200
    World.problem(rack.ask(served, ROW, rack.key("write")), "policy_denied")
    World.problem(rack.ask(served, ROW, {"Accept": "*/*"}), "unauthenticated")
    policy = {"roles": ["owner"], "per_minute": 1}
    body = {"name": "narrow", "model_version": "signs@1", "runtime": "ml", "policy": policy}
    made = rack.call("POST", "/v1/endpoints", **body)
    rack.call("POST", f"/v1/endpoints/{made['id']}/stop")
    World.problem(rack.ask(made["id"], ROW, reader), "policy_denied")
    counts = Counts()
    with mock.patch.object(choosing, "utcnow", return_value=datetime(2026, 1, 1, tzinfo=UTC)):
        counts.spend("enp_a", 1)
        with pytest.raises(Problem) as refused:
            counts.spend("enp_a", 1)
    assert refused.value.code == "rate_limited"


SLOW = """
import sys, time
class Model:
    def predict(self, rows):
        print("asked with token-of-a-neighbour", file=sys.stderr, flush=True)
        time.sleep(0.2)
        return rows
def load(folder):
    return Model()
"""


def test_processes_come_with_the_calls_and_go_when_it_is_quiet_and_their_logs_and_samples_tell_no_secret(
    rack: Rack,
) -> None:
    rack.register("slow", {"model.py": SLOW.encode()})
    rack.call("POST", "/v1/secrets", key_name="NEIGHBOUR", value="token-of-a-neighbour")
    made = rack.serve("slow", "slow@1", scaling={"max_replicas": 2, "target": 1, "quiet_s": 1})
    id_, asked = made["id"], {"instances": [["token-of-a-neighbour"]]}
    path = f"/v1/endpoints/{id_}"

    def count() -> int:
        return int(rack.call("GET", path)["deployments"][0]["replicas"])

    def busy() -> bool:
        with ThreadPoolExecutor(4) as pool:
            assert {reply.status_code for reply in pool.map(lambda _: rack.ask(id_, asked), range(4))} == {
                200
            }
        return count() == 2

    until(busy)
    until(lambda: count() == 1)
    rack.call("POST", f"{path}/settings", scaling={"min_replicas": 0, "quiet_s": 1}, payloads={"rate": 1})
    until(lambda: count() == 0)
    assert rack.ask(id_, asked).status_code == 200  # it wakes
    lines = rack.call("GET", "/v1/audit", type="endpoint.scaled")["items"]
    assert {(line["payload"]["from"], line["payload"]["to"]) for line in lines} >= {
        (1, 2),
        (2, 1),
        (1, 0),
        (0, 1),
    }
    until(lambda: "asked with" in rack.call("GET", f"{path}/logs")["text"])
    assert "token-of-a-neighbour" not in rack.call("GET", f"{path}/logs", start=1)["text"]
    rack.ship.context.get(Keeper).samples.write(rack.ship.context)
    (kept,) = rack.call("GET", f"{path}/payloads")["items"]
    assert kept["input"].startswith('{"instances":[["')
    assert "token-of-a-neighbour" not in kept["input"] + kept["output"]
    assert rack.call("GET", "/v1/audit/access", object=id_, action="endpoint.payloads")["items"]
    World.problem(rack.world.http.get(f"{path}/payloads", headers=rack.key("read")), "policy_denied")
    rack.call("POST", f"{path}/stop")


def test_whoever_loses_the_right_to_call_gets_no_answer_from_that_moment_on(rack: Rack, served: str) -> None:
    made = rack.call("POST", "/v1/api-keys", label="short", scopes=["read"])
    secret = next(value for value in made.values() if str(value).startswith("bos_ak_"))
    headers = {"Authorization": f"Bearer {secret}"}
    for _ in range(3):  # from the second call on it is known
        assert rack.ask(served, ROW, headers).status_code == 200
    rack.call("POST", f"/v1/endpoints/{served}/settings", policy={"roles": ["owner"]})
    World.problem(rack.ask(served, ROW, headers), "policy_denied")
    rack.call("POST", f"/v1/endpoints/{served}/settings", policy={})
    for _ in range(2):
        assert rack.ask(served, ROW, headers).status_code == 200
    with rack.ship.context.get(Database).transaction(
        rack.world.org_id
    ) as transaction:  # as another process would
        transaction.send("update ops.credentials set revoked_at = now() where id = %s", (made["id"],))
        transaction.commit()
    World.problem(rack.ask(served, ROW, headers), "token_invalid")


def test_production_takes_what_was_promoted_alone(rack: Rack) -> None:
    body = {"name": "prod", "model_version": "signs@1", "env": "prod", "runtime": "ml"}
    World.problem(rack.world.as_owner("POST", "/v1/endpoints", json=body), "illegal_transition")


def test_with_its_organisation_all_that_answers_ends(rack: Rack, served: str) -> None:
    assert rack.ask(served, ROW).status_code == 200
    erase(rack.ship.context, rack.world.org_id)
    until(lambda: rack.ask(served, ROW).status_code == 503)
