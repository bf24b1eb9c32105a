"""Usage, budgets, rates and tokens in too many hands, through the doors."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from builderos.core.clock import utcnow
from builderos.core.unit import as_system
from builderos.trust.quotas import service as quotas
from tests.support.databases import Databases
from tests.support.lab import Lab, Org, lab_in_temp
from tests.support.receivers import NETWORKS, receiver, work
from tests.support.world import Json

from .conftest import tick

FIELD = re.compile(r'"(\w+)";q=(\d+);w=(\d+)')
LEFT = re.compile(r'"(\w+)";r=(\d+);t=(\d+)')


@pytest.fixture(scope="module")
def site(databases: Databases) -> Iterator[Lab]:
    with lab_in_temp(databases, webhook_networks=NETWORKS, proxies=1, token_callers=3) as made:
        yield made


@pytest.fixture
def strict(databases: Databases) -> Iterator[Lab]:
    with lab_in_temp(databases, rate_per_token=3, rate_per_org=50, rate_anonymous_inits=2) as made:
        yield made


def used(lab: Lab, **filters: Any) -> Json:
    return lab.ok(lab.as_owner("GET", "/v1/usage", params=filters))


# ---- rates on the wire


def test_every_reply_to_a_credential_says_where_it_stands(strict: Lab) -> None:
    box = strict.open_sandbox()
    reply = box.try_post("/git/log")
    assert FIELD.findall(reply.headers["ratelimit-policy"]) == [("per_token", "3", "60")]
    [(name, left, wait)] = LEFT.findall(reply.headers["ratelimit"])
    assert (name, left) == ("per_token", "2")
    assert 55 <= int(wait) <= 60
    refused = box.try_post("/git/diff", against="nothing-there")
    assert LEFT.findall(refused.headers["ratelimit"])[0][1] == "1", "a failed call counts and tells, too"
    owner = strict.as_owner("GET", "/v1/repos")
    assert [name for name, _, _ in FIELD.findall(owner.headers["ratelimit-policy"])] == [
        "per_token",
        "per_org",
    ]
    assert "ratelimit" not in strict.world.http.get("/healthz").headers


def test_a_full_rate_says_when_to_come_back_and_raises_one_alert(strict: Lab) -> None:
    box = strict.open_sandbox()
    for _ in range(3):
        box.post("/git/log")
    for _ in range(2):
        reply = box.try_post("/git/log")
        problem = strict.problem(reply, "rate_limited")
    assert (problem["limit"], problem["used"], problem["name"]) == (3, 3, "per_token")
    assert 1 <= int(reply.headers["retry-after"]) <= 60
    assert LEFT.findall(reply.headers["ratelimit"])[0][1] == "0"
    told = strict.sql("select object, count from ops.alerts where rule = 'rate_limited'")
    assert told == [(strict.sandbox_id(box), 2)]


def test_openings_of_strangers_tell_their_limit_and_nothing_of_the_stranger(strict: Lab) -> None:
    replies = [strict.init() for _ in range(3)]
    assert [r.status_code for r in replies] == [200, 200, 429]
    assert [LEFT.findall(r.headers["ratelimit"])[0][:2] for r in replies] == [
        ("anonymous_inits", "1"), ("anonymous_inits", "0"), ("anonymous_inits", "0"),
    ]  # fmt: skip
    told = strict.sql("select object, detail::text from ops.alerts where rule = 'rate_limited'")
    assert told == [("anonymous openings", '{"limit": "anonymous_inits"}')]


# ---- usage


def test_calls_and_acts_are_counted_per_day_and_per_actor(fresh: Lab) -> None:
    began = utcnow().date()
    box = fresh.open_sandbox()
    for number in range(3):
        box.commit({"a.txt": f"{number}\n"})
    fresh.problem(box.try_post("/git/diff", against="nowhere"), "validation_failed")
    other = {"branch": "main", "file_path": "x", "content": "x", "message": "x"}
    fresh.problem(box.try_post("/commit_and_log_output", **other), "protected_branch")
    before = used(fresh)["totals"]
    assert before["requests"] >= 6, "what is only in memory counts, too"
    tick(fresh)
    whole = used(fresh, by="day")
    assert whole["items"]
    assert {row["day"] for row in whole["items"]} <= {str(began), str(utcnow().date())}
    [(actor,)] = fresh.sql("select actor from ops.ledger where type = 'commit' limit 1")
    [mine] = used(fresh, by="actor", actor=actor)["items"]
    assert (mine["requests"], mine["writes"], mine["refused"], mine["failed"], mine["commits"]) == (
        5,
        4,
        1,
        1,
        3,
    )
    assert whole["totals"]["sandboxes"] == 1
    ranked = used(fresh, by="actor")["items"]
    assert [r["requests"] for r in ranked] == sorted((r["requests"] for r in ranked), reverse=True)


def test_nothing_is_counted_twice_however_often_it_is_looked_at(fresh: Lab) -> None:
    box = fresh.open_sandbox()
    box.commit({"a.txt": "1\n"})
    for _ in range(3):
        tick(fresh)
    sums = fresh.sql("select sum(commits)::int, sum(sandboxes)::int from ops.usage")
    assert sums == [(1, 1)]
    requests = fresh.sql("select sum(requests)::int from ops.usage")
    tick(fresh)
    assert fresh.sql("select sum(requests)::int from ops.usage") == requests


def test_counts_that_cannot_be_written_wait(fresh: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from builderos.core.problems import Problem

    fresh.open_sandbox().post("/git/log")

    def down(*_: object) -> None:
        raise Problem("unavailable", "the database did not answer")

    monkeypatch.setattr(quotas.metering, "_write", down)
    with pytest.raises(Problem):
        quotas.metering.flush(fresh.world.context)
    monkeypatch.undo()
    before = used(fresh)["totals"]["requests"]
    quotas.metering.flush(fresh.world.context)
    stored = fresh.sql("select sum(requests)::int from ops.usage")[0][0]
    assert stored == before + 1  # the question itself


def test_usage_is_filtered_by_time_and_paged(fresh: Lab) -> None:
    fresh.open_sandbox()
    tick(fresh)
    fresh.sql("insert into ops.usage (org_id, day, actor, requests) "
              "select %s, d::date, 'act_old', 7 from generate_series('2026-01-01'::date, '2026-01-05', '1 day') d",
              fresh.world.org_id)  # fmt: skip
    range_ = {"from": "2026-01-02", "to": "2026-01-04", "limit": 2}
    page = used(fresh, **range_)
    assert ([row["day"] for row in page["items"]], page["totals"]["requests"]) == (
        ["2026-01-04", "2026-01-03"],
        21,
    )
    rest = used(fresh, **range_, cursor=page["next_cursor"])
    assert ([row["day"] for row in rest["items"]], rest["next_cursor"]) == (["2026-01-02"], None)
    for bad in (
        {"from": "2026-02-01", "to": "2026-01-01"},
        {"from": "2020-01-01"},
        {"by": "x"},
        {"cursor": "x"},
    ):
        fresh.problem(fresh.as_owner("GET", "/v1/usage", params=bad), "validation_failed")


def test_a_day_is_closed_once_with_an_event(site: Lab) -> None:
    with receiver() as there:
        body = {"url": there.url, "events": ["usage.*"]}
        site.ok(site.as_owner("POST", "/v1/webhooks", json=body), 201)
        yesterday = utcnow().date() - timedelta(days=1)
        site.sql("insert into ops.usage (org_id, day, actor, requests) values (%s, %s, 'act_x', 5)",
                 site.world.org_id, yesterday)  # fmt: skip
        for _ in range(2):
            as_system(site.world.context, site.world.org_id, quotas.usage.close_periods)
        work(site)
        [(_, sent)] = there.got
    assert f'"day":"{yesterday}"' in sent.decode()
    assert '"requests":5' in sent.decode()


def test_usage_of_one_organisation_is_not_anothers(site: Lab) -> None:
    other: Org = site.second_org("usage-of-others")
    shown = site.ok(site.world.http.get("/v1/usage", headers=other.owner))
    assert shown["totals"]["requests"] == 0


# ---- tokens in too many hands


def call_from(lab: Lab, address: str, headers: dict[str, str]) -> Any:
    return lab.world.http.get("/v1/repos", headers={**headers, "x-forwarded-for": address})


def test_a_token_that_many_callers_use_at_once_is_suspended_until_an_admin_lifts_it(site: Lab) -> None:
    key = site.key("read")
    for number in range(3):
        assert call_from(site, f"198.51.100.{number}", key).status_code == 200
    refused = site.problem(call_from(site, "198.51.100.9", key), "token_invalid")
    assert "suspended" in refused["detail"]
    site.problem(call_from(site, "198.51.100.0", key), "token_invalid")
    [alert] = [a for a in site.alerts("token_abuse") if a["detail"].get("suspended")]
    assert alert["severity"] == "critical"
    assert alert["detail"]["callers"] == 4
    assert "198.51" not in str(site.sql("select * from ops.alerts")) + str(
        site.sql("select body from ops.ledger")
    )
    path = f"/v1/credentials/{alert['object']}/lift"
    site.problem(site.world.http.post(path, json={}, headers=site.key("read")), "policy_denied")
    lifted = site.ok(site.as_owner("POST", path, json={}))
    assert lifted["kind"] == "api_key"
    assert call_from(site, "198.51.100.0", key).status_code == 200
    site.problem(site.as_owner("POST", path, json={}), "not_found")
    assert [e["type"] for e in site.events(object=alert["object"])][:2] == [
        "credential.lifted",
        "credential.suspended",
    ]


def test_the_owner_is_told_of_and_never_locked_out(site: Lab) -> None:
    for number in range(6):
        assert call_from(site, f"203.0.113.{number}", site.world.owner).status_code == 200
    assert [a["detail"]["suspended"] for a in site.alerts("token_abuse") if "suspended" in a["detail"]].count(
        False
    ) == 1


def test_callers_of_a_minute_ago_do_not_count() -> None:
    now = [0.0]
    crowds = quotas.Crowds(2, lambda: now[0])
    assert [crowds.seen("c", caller) for caller in ("a", "b", "a")] == [None, None, None]
    now[0] = 61
    assert crowds.seen("c", "d") is None
    assert crowds.seen("c", "e") is None
    assert crowds.seen("c", "f") == 3
    crowds.forget("c")
    assert crowds.seen("c", "g") is None


# ---- what is too large, and who sees all of it


def test_what_is_too_large_is_refused_told_and_found_by_its_file(fresh: Lab) -> None:
    box = fresh.open_sandbox()
    many = [{"path": f"f{n}.txt", "content": "x"} for n in range(101)]
    fresh.problem(box.try_post("/commit_and_log_output", files=many, message="m"), "payload_too_large")
    [alert] = fresh.alerts("quota_exceeded")
    assert (alert["object"], alert["detail"]["limit"]) == (fresh.sandbox_id(box), 100)
    found = fresh.events(code="payload_too_large", path="f7.txt")
    assert [event["type"] for event in found] == ["call.failed"]
    assert fresh.events(code="payload_too_large", path="elsewhere.txt") == []


def test_the_owner_of_the_server_sees_all_organisations_in_numbers(site: Lab) -> None:
    other = site.second_org("overview-org")
    tick(site)
    shown = site.ok(site.as_owner("GET", "/v1/admin/overview", params={"days": 3}))
    orgs = {org["slug"]: org for org in shown["orgs"]}
    assert {"local", "overview-org"} <= set(orgs)
    assert orgs["local"]["repositories"] == 1
    assert shown["totals"]["orgs"] == len(orgs)
    assert "listRepos" in {tool["tool"] for tool in shown["tools"]}
    assert all(tool["calls"] >= tool["failed"] >= 0 for tool in shown["tools"])
    assert orgs["overview-org"]["org_id"] == other.id
    site.problem(site.as_owner("GET", "/v1/repos/repo_nothing"), "not_found")
    tick(site)
    errors = site.ok(site.as_owner("GET", "/v1/admin/overview"))["errors"]
    assert next(e["calls"] for e in errors if e["code"] == "not_found") >= 1
    for headers in (site.key("admin", "read"), site.open_sandbox().headers):
        refused = site.world.http.get("/v1/admin/overview", headers=headers)
        assert refused.json()["code"] == "policy_denied"


def test_what_was_refused_is_found_by_its_file_and_its_code(fresh: Lab) -> None:
    box = fresh.open_sandbox()
    change = {"branch": "main", "file_path": "src/secret.py", "content": "x", "message": "m"}
    fresh.problem(box.try_post("/commit_and_log_output", **change), "protected_branch")
    [line] = fresh.events(code="protected_branch", path="src/secret.py")
    assert (line["type"], line["payload"]["action"]) == ("refused", "files.write")
    assert fresh.events(code="protected_branch", path="src/other.py") == []
    fresh.problem(box.try_post("/system/fetch_files", path="../../etc/passwd"), "invalid_path")
    assert [e["type"] for e in fresh.events(code="invalid_path")] == ["call.failed"]


def test_numbers_of_more_than_a_year_ago_are_forgotten(fresh: Lab) -> None:
    for days in (10, 500):
        fresh.sql("insert into ops.usage (org_id, day, actor) values (%s, current_date - %s, 'act_x')",
                  fresh.world.org_id, days)  # fmt: skip
    as_system(fresh.world.context, fresh.world.org_id, quotas.metering.sweep)
    assert fresh.sql("select count(*) from ops.usage where actor = 'act_x'") == [(1,)]
