"""Alerts through HTTP: listed, filtered, acknowledged, one open alert per rule and object."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from builderos.core.unit import Unit, as_system
from builderos.trust.notices import service as notices
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp

GARBAGE = "bos_rt_" + "0" * 43


@pytest.fixture(scope="module")
def strict(databases: Databases) -> Iterator[Lab]:
    """A server that takes three invalid tokens and two openings of strangers."""
    with lab_in_temp(databases, rate_invalid_tokens=3, rate_anonymous_inits=2, rate_per_token=5) as made:
        yield made


def ring(lab: Lab, object_: str, rule: str = "large_diff") -> None:
    def verb(unit: Unit) -> None:
        notices.raise_alert(unit, rule, object_, {"n": 1})  # type: ignore[arg-type]

    as_system(lab.world.context, lab.world.org_id, verb)


def named(lab: Lab, object_: str) -> list[dict[str, object]]:
    return [a for a in lab.alerts("large_diff") if a["object"] == object_]


def test_events_of_one_object_count_up_instead_of_piling_up(lab: Lab) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ring(lab, "many"), range(12)))
    assert [(a["state"], a["count"]) for a in named(lab, "many")] == [("open", 12)]


def test_a_resolved_alert_opens_anew(lab: Lab) -> None:
    ring(lab, "again")
    path = f"/v1/alerts/{named(lab, 'again')[0]['id']}/ack"
    lab.ok(lab.as_owner("POST", path, json={"resolve": True}))
    ring(lab, "again")
    assert sorted(str(a["state"]) for a in named(lab, "again")) == ["open", "resolved"]
    lab.problem(lab.as_owner("POST", path, json={}), "not_found")
    assert lab.events(type="alert.resolved")


def test_alerts_are_filtered_and_paged(lab: Lab) -> None:
    for number in range(3):
        ring(lab, f"page {number}")
    page = lab.ok(lab.as_owner("GET", "/v1/alerts", params={"limit": 2, "state": "open"}))
    assert len(page["items"]) == 2
    more = {"limit": 2, "state": "open", "cursor": page["next_cursor"]}
    rest = lab.ok(lab.as_owner("GET", "/v1/alerts", params=more))["items"]
    assert not {a["id"] for a in rest} & {a["id"] for a in page["items"]}
    bad = ({**more, "state": "acked"}, {"state": "x"}, {"limit": 0}, {"cursor": "x"})
    for params in bad:
        lab.problem(lab.as_owner("GET", "/v1/alerts", params=params), "validation_failed")
    assert lab.ok(lab.as_owner("GET", "/v1/alerts", params={"rule": "none"}))["items"] == []


def test_alerts_are_for_administrators(lab: Lab) -> None:
    ring(lab, "secret")
    box, path = lab.open_sandbox(), f"/v1/alerts/{named(lab, 'secret')[0]['id']}/ack"
    for headers in (box.headers, lab.key("read", "write")):
        lab.problem(lab.world.http.get("/v1/alerts", headers=headers), "policy_denied")
        lab.problem(lab.world.http.post(path, json={}, headers=headers), "policy_denied")
    other = lab.second_org("alerts-of-others")
    lab.problem(lab.world.http.post(path, json={}, headers=other.owner), "not_found")


def test_a_burst_of_invalid_tokens_is_stopped_and_told_without_the_caller(strict: Lab) -> None:
    for _ in range(3):
        strict.problem(strict.world.http.post("/git/log", json={"reuse_token": GARBAGE}), "token_invalid")
    problem = strict.problem(
        strict.world.http.post("/git/log", json={"reuse_token": GARBAGE}), "rate_limited"
    )
    assert (problem["limit"], problem["used"]) == (3, 3)
    assert problem["resets_at"].endswith("Z")
    told = strict.sql("select object, detail::text from ops.alerts where rule = 'token_abuse'")
    assert told == [("invalid tokens", "{}")]


def test_openings_of_strangers_and_calls_of_one_token_have_limits(databases: Databases) -> None:
    with lab_in_temp(databases, rate_anonymous_inits=2, rate_per_token=5) as lab:
        box = lab.open_sandbox()
        lab.open_sandbox()
        problem = lab.problem(lab.init(), "rate_limited")
        assert (problem["limit"], problem["retryable"]) == (2, True)
        for _ in range(5):
            box.post("/git/log")
        problem = lab.problem(box.try_post("/git/log"), "rate_limited")
        assert [problem[k] for k in ("limit", "used")] == [5, 5]
        rows = lab.sql("select object from ops.alerts where rule = 'rate_limited' order by id")
        assert rows == [
            ("anonymous openings",),
            ("sbx_" + lab.sql("select id from ops.branches where name = %s", box.branch)[0][0][3:],),
        ]


def test_the_same_alert_can_be_raised_any_number_of_times(lab: Lab) -> None:
    """PostgreSQL plans a prepared statement anew after a few runs: it must still find the partial index."""
    sandbox = lab.open_sandbox()
    for n in range(15):
        sandbox.commit({f"large-{n}.txt": "line\n" * 500})
    assert (
        max(alert["count"] for alert in lab.alerts("large_diff") if alert["object"] == sandbox.branch) == 15
    )
