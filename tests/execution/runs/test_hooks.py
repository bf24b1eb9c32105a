"""Webhooks that start runs: signed, each delivery once, on behalf of who switched them on, as data alone."""

import base64
import hashlib
import hmac
import itertools
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from builderos.core.unit import as_system
from builderos.execution.runs.triggers_model import triggers
from tests.support.databases import Databases
from tests.support.lab import Lab
from tests.support.runs import Ship, ship_in_temp
from tests.support.world import Json, make_repository

STEPS = "params: {payload: {type: string}}\nsteps:\n  - {id: only, action: noop}\n"
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        yield made


@pytest.fixture(scope="module")
def lab(ship: Ship) -> Lab:
    return Lab(ship.world, ship.database)


def signature(secret: str, id_: str, stamp: int, body: bytes) -> str:
    """The rule of the specification, written down a second time."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    said = f"{id_}.{stamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()


class Sender:
    """A system outside that holds the secret of one hook."""

    def __init__(self, ship: Ship, on: Json) -> None:
        self.ship, self.on = ship, on
        self.path, self.secret = on["hook"], on["secret"]
        self.now = int(time.time())  # one clock for all deliveries: sent twice, they are equal to the second

    def send(
        self, body: Any = None, *, id_: str | None = None, ago: int = 0, secret: str | None = None,
        path: str | None = None, raw: bytes | None = None, **headers: str,
    ) -> Any:  # fmt: skip
        """One delivery, signed `ago` seconds before the sender was made."""
        sent = raw if raw is not None else json.dumps(body if body is not None else {"ref": "main"}).encode()
        name, stamp = id_ or f"msg_{next(_NUMBERS)}", self.now - ago
        given = {
            "webhook-id": name, "webhook-timestamp": str(stamp), "content-type": "application/json",
            "webhook-signature": signature(secret or self.secret, name, stamp, sent), **headers,
        }  # fmt: skip
        return self.ship.world.http.post(path or self.path, content=sent, headers=given)


def switched_on(ship: Ship, text: str = STEPS, event: str = "push") -> tuple[str, Json]:
    pipeline = ship.pipeline(f"triggers: [{{webhook: {event}}}]\n{text}")
    return pipeline, on_again(ship, pipeline)


def on_again(ship: Ship, pipeline: str) -> Json:
    where = {"repo_name": ship.box.repo_name, "branch": ship.box.branch}
    reply = ship.world.as_owner("POST", f"/v1/pipelines/{pipeline}/triggers", json=where)
    return ship.world.ok(reply)["items"][0]


@pytest.fixture(scope="module")
def shared(ship: Ship, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A pipeline on main of a repository: a key may run it there, too."""
    text = f"name: shared\ntriggers: [{{webhook: push}}]\n{STEPS}"
    folder = make_repository(tmp_path_factory.mktemp("shared") / "r", {"ship/shared/pipeline.yaml": text})
    ship.world.import_repo(folder, "shared")
    return {"repo_name": "shared", "branch": "main"}


def of_shared(ship: Ship, where: dict[str, str], headers: dict[str, str]) -> Json:
    reply = ship.world.http.post("/v1/pipelines/shared/triggers", json=where, headers=headers)
    return ship.world.ok(reply)["items"][0]


def runs(ship: Ship, pipeline: str) -> list[Json]:
    return ship.world.ok(ship.world.as_owner("GET", f"/v1/runs?pipeline={pipeline}"))["items"]


def trigger(ship: Ship, id_: str) -> Json:
    items = ship.world.ok(ship.world.as_owner("GET", "/v1/triggers?limit=200"))["items"]
    return next(item for item in items if item["id"] == id_)


def test_a_signed_delivery_starts_a_run_that_finds_what_it_brings_as_data(ship: Ship) -> None:
    steps = """
params: {payload: {type: string, default: "{}"}}
steps:
  - {id: only, run: 'printf %s "$EVENT" > event.json', env: {EVENT: "${{ params.payload }}"}}
  - {id: save, needs: [only], action: git.commit}
"""
    pipeline, on = switched_on(ship, steps)
    evil = {"ref": "'; touch /tmp/owned; echo $(id) ${{ run.id }} `id` '", "n": 1}

    reply = ship.world.ok(Sender(ship, on).send(evil, id_="evt_1"), 202)

    run = ship.until(reply["run_id"], "succeeded")
    (listed,) = runs(ship, pipeline)
    assert (listed["id"], run["trigger"]["type"], run["trigger"]["event"]) == (run["id"], "webhook", "push")
    assert run["trigger"]["delivery"] == "evt_1"
    kept = ship.box.post("/system/fetch_files", path="event.json")["files"][0]["content"]
    assert json.loads(kept) == evil
    assert trigger(ship, on["id"])["last_run_id"] == run["id"]


def test_a_delivery_needs_no_param_and_the_trigger_s_own_params_stay(ship: Ship) -> None:
    text = "params: {word: {type: string}}\nsteps:\n  - {id: only, action: noop}\n"
    pipeline = ship.pipeline(f"triggers: [{{webhook: push, params: {{word: ours}}}}]\n{text}")
    on = on_again(ship, pipeline)

    reply = ship.world.ok(Sender(ship, on).send({"word": "theirs"}), 202)

    assert ship.run(reply["run_id"])["params"] == {"word": "ours"}


def test_the_secret_is_shown_once_and_kept_sealed(ship: Ship, lab: Lab) -> None:
    pipeline, on = switched_on(ship)
    assert on["secret"].startswith("whsec_")
    assert on["hook"] == f"/v1/hooks/{on['id']}"

    assert "secret" not in trigger(ship, on["id"])
    assert on_again(ship, pipeline)["secret"] is None
    (sealed,) = lab.sql("select secret from ops.triggers where id = %s", on["id"])[0]
    assert base64.b64decode(on["secret"].removeprefix("whsec_")) not in bytes(sealed)
    assert on["secret"].encode() not in bytes(sealed)
    recorded = lab.sql("select body::text from ops.ledger where body::text like %s", f"%{on['secret']}%")
    assert recorded == []


def test_an_address_that_is_not_there_and_a_wrong_signature_are_answered_alike(ship: Ship) -> None:
    pipeline, on = switched_on(ship)
    sender = Sender(ship, on)
    wrong = "whsec_" + base64.b64encode(b"x" * 32).decode()
    nowhere = "/v1/hooks/trg_" + "0" * 26

    replies = [
        sender.send(secret=wrong), sender.send(path=nowhere), sender.send(secret=wrong, path=nowhere),
        sender.send(secret=wrong, ago=4000), sender.send(path=nowhere, ago=4000),
        sender.send(**{"webhook-signature": "v1,AAAA"}), sender.send(path="/v1/hooks/x", raw=b"no JSON"),
    ]  # fmt: skip

    said = [{k: v for k, v in reply.json().items() if k != "request_id"} for reply in replies]
    assert said[0]["code"] == "not_found"
    assert all(one == said[0] for one in said)
    headers = [set(reply.headers) for reply in replies]
    assert all(one == headers[0] for one in headers)
    assert runs(ship, pipeline) == []


@pytest.mark.parametrize(
    ("headers", "kw", "code"),
    [
        ({"webhook-id": "a.b"}, {}, "validation_failed"),
        ({"webhook-timestamp": "soon"}, {}, "validation_failed"),
        ({"webhook-signature": ""}, {}, "validation_failed"),
        ({}, {"ago": 301}, "validation_failed"),
        ({}, {"ago": -400}, "validation_failed"),
        ({}, {"raw": b"[1]"}, "validation_failed"),
        ({}, {"raw": b'{"a": 1, "a": 2}'}, "validation_failed"),
        ({}, {"raw": b'{"a": NaN}'}, "validation_failed"),
        ({}, {"raw": b"{" + b" " * (64 * 1024)}, "payload_too_large"),
        ({"content-type": "application/x-www-form-urlencoded"}, {}, "unsupported_media_type"),
    ],
)
def test_what_does_not_fit_is_refused_and_starts_nothing(
    ship: Ship, headers: dict[str, str], kw: Json, code: str
) -> None:
    pipeline, on = switched_on(ship)

    reply = Sender(ship, on).send(**kw, **headers)

    ship.world.problem(reply, code)
    assert runs(ship, pipeline) == []
    assert trigger(ship, on["id"])["last_at"] is None


def test_a_delivery_starts_one_run_however_often_it_comes(ship: Ship) -> None:
    pipeline, on = switched_on(ship)
    sender = Sender(ship, on)
    first = ship.world.ok(sender.send({"n": 1}, id_="once", ago=20), 202)

    again = ship.world.problem(sender.send({"n": 1}, id_="once", ago=20), "conflict")
    assert again["run_id"] == first["run_id"]
    other = ship.world.problem(sender.send({"n": 2}, id_="once"), "conflict")
    assert other["run_id"] == first["run_id"]
    asked = ship.world.ok(
        sender.send({"n": 1}, id_="once", ago=10), 200
    )  # did not get the answer, signs anew
    assert (asked["run_id"], asked["started"]) == (first["run_id"], False)
    ship.world.problem(sender.send({"n": 1}, id_="once", ago=10), "conflict")

    assert [run["id"] for run in runs(ship, pipeline)] == [first["run_id"]]


def test_of_equal_deliveries_at_once_one_starts_a_run(ship: Ship) -> None:
    pipeline, on = switched_on(ship)
    sender, statuses = Sender(ship, on), list[int]()
    senders = [
        threading.Thread(target=lambda: statuses.append(sender.send(id_="race", ago=5).status_code))
        for _ in range(4)
    ]
    for one in senders:
        one.start()
    for one in senders:
        one.join()

    assert sorted(statuses) == [202, 409, 409, 409]
    assert len(runs(ship, pipeline)) == 1


def test_a_rotated_secret_counts_at_once_and_the_old_one_until_its_time_is_over(ship: Ship, lab: Lab) -> None:
    _, on = switched_on(ship)
    sender = Sender(ship, on)
    path = f"/v1/triggers/{on['id']}/secret"

    new = ship.world.ok(ship.world.as_owner("POST", path, json={"overlap_hours": 1}))
    assert sender.send(secret=new["secret"]).status_code == 202
    assert sender.send().status_code == 202
    with lab.later(hours=2):
        assert sender.send(ago=-7200).status_code == 404
        assert sender.send(secret=new["secret"], ago=-7200).status_code == 202

    last = ship.world.ok(ship.world.as_owner("POST", path, json={"overlap_hours": 0}))
    assert sender.send(secret=new["secret"]).status_code == 404
    assert sender.send(secret=last["secret"]).status_code == 202
    ship.world.problem(ship.world.http.post(path, json={}, headers=ship.box.headers), "policy_denied")


def test_switched_on_again_the_hook_stays_and_remembers_what_came(ship: Ship) -> None:
    pipeline, on = switched_on(ship)
    sender = Sender(ship, on)
    assert sender.send(id_="before", ago=30).status_code == 202

    again = on_again(ship, pipeline)

    assert (again["id"], again["hook"]) == (on["id"], on["hook"])
    ship.world.problem(sender.send(id_="before", ago=30), "conflict")
    assert sender.send().status_code == 202


def test_in_anybody_elses_name_there_is_a_new_address_and_a_new_secret(
    ship: Ship, lab: Lab, shared: dict[str, str]
) -> None:
    on = of_shared(ship, shared, ship.world.owner)
    key = lab.key("read", "write")
    refused = ship.world.http.post(f"/v1/triggers/{on['id']}/secret", json={}, headers=key)
    ship.world.problem(refused, "policy_denied")  # the secret of one who acts is theirs

    other = of_shared(ship, shared, key)

    assert other["id"] != on["id"]
    assert other["secret"] not in (None, on["secret"])
    assert Sender(ship, on).send().status_code == 404
    assert Sender(ship, other).send().status_code == 202


def test_who_lost_the_right_starts_nothing_any_more_and_the_hook_says_why(
    ship: Ship, lab: Lab, shared: dict[str, str]
) -> None:
    key = ship.world.ok(
        ship.world.as_owner("POST", "/v1/api-keys", json={"label": "ci", "scopes": ["read", "write"]})
    )
    before = len(runs(ship, "shared"))
    on = of_shared(ship, shared, {"Authorization": f"Bearer {key['api_key']}"})
    sender = Sender(ship, on)
    assert sender.send().status_code == 202
    ship.world.ok(ship.world.as_owner("DELETE", f"/v1/api-keys/{key['id']}"))

    ship.world.problem(sender.send(), "policy_denied")
    ship.world.problem(sender.send(), "policy_denied")

    stopped = trigger(ship, on["id"])
    assert (stopped["state"], stopped["detail"]) == ("stopped", "who switched it on may not act any more")
    assert len(runs(ship, "shared")) == before + 1
    assert len(lab.events(type="pipeline.trigger_failed", object=on["id"])) == 1


def test_a_run_that_cannot_start_is_told_of_without_its_reason_and_may_be_asked_for_again(ship: Ship) -> None:
    _, on = switched_on(ship)
    sender = Sender(ship, on)
    branch = sa.update(triggers).where(triggers.c.id == on["id"])
    org = ship.world.org_id
    as_system(ship.context, org, lambda unit: unit.execute(branch.values(branch="gone")))

    refused = ship.world.problem(sender.send(id_="patient", ago=5), "not_found")
    assert "gone" not in json.dumps(refused)
    assert trigger(ship, on["id"])["detail"] == "the branch gone is gone"

    as_system(ship.context, org, lambda unit: unit.execute(branch.values(branch=ship.box.branch)))
    assert sender.send(id_="patient").status_code == 202


def test_a_hook_that_is_off_is_as_one_that_never_was(ship: Ship) -> None:
    _, on = switched_on(ship)
    ship.world.ok(ship.world.as_owner("DELETE", f"/v1/triggers/{on['id']}"))

    assert Sender(ship, on).send().json()["code"] == "not_found"


def test_wrong_ones_are_counted_by_their_caller_and_right_ones_by_their_hook(databases: Databases) -> None:
    few = {"rate_invalid_tokens": 2, "rate_per_token": 3, "rate_per_org": 1000}
    with databases.fresh() as database, ship_in_temp(database, **few) as ship:
        ship.engine.stop(5)
        _, on = switched_on(ship)
        sender = Sender(ship, on)
        wrong = "whsec_" + base64.b64encode(b"y" * 32).decode()

        codes = [sender.send(secret=wrong).json()["code"] for _ in range(4)]
        assert codes == ["not_found", "not_found", "rate_limited", "rate_limited"]
        assert sender.send(path="/v1/hooks/x").json()["code"] == "rate_limited"  # alike, here, too
        assert [sender.send().status_code for _ in range(4)] == [202, 202, 202, 429]
        alerts = Lab(ship.world, database).alerts("rate_limited")
        assert [alert["object"] for alert in alerts] == [on["id"]]
