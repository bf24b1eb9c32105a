"""Budgets: held before, settled after, overrun by one request at most, whatever happens in between."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from builderos.core.problems import Problem
from builderos.core.unit import as_system
from builderos.execution.gateway import reserving
from builderos.execution.gateway.counting import NOT_TEXT, input_bound, output_bound
from builderos.execution.gateway.model import ai_usage
from builderos.execution.gateway.schema import About, ChatIn
from tests.support.gateways import Models
from tests.support.upstreams import Reply
from tests.support.world import make_repository


def budget(models: Models, **body: Any) -> None:
    models.world.ok(models.world.as_owner("POST", "/v1/ai/budgets", json=body))


def test_a_request_is_refused_once_nothing_is_left(models: Models) -> None:
    budget(models, subject="org", period="day", meter="tokens", amount=10)
    models.complete("hello dear model")  # 3 + 3
    models.complete("hello dear model")  # 12: one request more than the budget
    with pytest.raises(Problem, match="used up") as refused:
        models.complete("hello dear model")
    assert refused.value.code == "budget_exceeded"
    assert (refused.value.extra["limit"], refused.value.extra["used"]) == (10, 12)
    assert len(models.upstream.requests) == 2
    (counter,) = models.counters()
    assert (counter.tokens, counter.held_tokens, counter.held_cost) == (12, 0, 0)


def test_however_many_arrive_at_once_one_key_overruns_by_one_request(models: Models) -> None:
    budget(models, subject="each-key", period="month", meter="cost", amount=0.00001)

    async def many() -> list[Any]:
        asked = ChatIn(messages=[{"role": "user", "content": "hello dear model"}])
        calls = (models.gateway.complete(models.call, asked) for _ in range(20))
        return await asyncio.gather(*calls, return_exceptions=True)

    found = asyncio.run(many())
    served = [out for out in found if not isinstance(out, BaseException)]
    assert all(
        isinstance(out, Problem) and out.code == "budget_exceeded" for out in found if out not in served
    )
    spent = [sum(out.cost for out in served[:n]) for n in range(len(served))]
    assert all(before < 0.00001 for before in spent)  # each was let through while something was left
    (counter,) = models.counters()
    assert counter.cost == sum(round(out.cost * 10**9) for out in served)


def test_what_was_used_before_there_was_a_budget_counts(models: Models) -> None:
    models.complete("hello dear model")
    budget(models, subject="org", period="total", meter="tokens", amount=6)
    with pytest.raises(Problem, match="used up"):
        models.complete()
    models.world.ok(
        models.world.as_owner("POST", "/v1/ai/budgets", json={"period": "total", "meter": "tokens"})
    )
    models.complete()


def test_a_run_and_an_agent_have_budgets_of_their_own(models: Models) -> None:
    budget(models, subject="each-run", period="total", meter="tokens", amount=1)
    budget(models, subject="agent:planner", period="day", meter="tokens", amount=1000)
    asked = ChatIn(messages=[{"role": "user", "content": "hi"}])

    def ask(run: str) -> None:
        asyncio.run(models.gateway.complete(models.call, asked, About(run_id=run, agent="planner")))

    ask("run_a")
    ask("run_b")
    with pytest.raises(Problem, match="each-run"):
        ask("run_a")
    shown = models.world.ok(models.world.as_owner("GET", "/v1/ai/budgets"))["items"]
    uses = {(one["subject"], use["of"]): use["used"] for one in shown for use in one["uses"]}
    assert uses == {
        ("agent:planner", "agent:planner"): 8,
        ("each-run", "run:run_a"): 4,
        ("each-run", "run:run_b"): 4,
    }


def test_a_project_has_a_budget_of_tokens_and_another_one_does_not_pay_for_it(models: Models) -> None:
    world = models.world
    make_repository(world.home / "spender", {"a.txt": "a"})
    world.import_repo(world.home / "spender", "spender")
    opened = world.as_owner("POST", "/sandbox/init", json={"mode": "branch", "repo_name": "spender"})
    headers = {"Authorization": f"Bearer {world.ok(opened)['reuse_token']}"}
    ask = {"model": "up/small", "messages": [{"role": "user", "content": "hello dear model"}]}

    def asked() -> Any:
        return world.http.post("/openai/v1/chat/completions", json=ask, headers=headers)

    def project(amount: int | None) -> list[Any]:
        body = {"repo_name": "spender", "meter": "tokens", "period": "month", "amount": amount}
        return list(world.ok(world.as_owner("PUT", "/v1/budgets", json=body))["items"])

    assert asked().status_code == 200  # 6 tokens that count, though there is no budget yet
    models.rows()
    assert [one["used"] for one in project(13)] == [6]
    with ThreadPoolExecutor(4) as many:
        replies = list(many.map(lambda _: asked(), range(4)))
    served = [reply for reply in replies if reply.status_code == 200]
    assert 1 <= len(served) <= 2, "what is under way holds the most that it can cost"
    while asked().status_code == 200:  # what was held is given back where an answer was short
        served.append(None)
    models.rows()
    (shown,) = world.ok(world.as_owner("GET", "/v1/budgets", params={"repo_name": "spender"}))["items"]
    assert (shown["used"], shown["level"]) == (6 + 6 * len(served), "exceeded")
    refused = asked().json()["error"]
    assert "spender has used up its budget of 13 tokens per month" in refused["message"]
    models.complete("hello dear model")  # of no project
    assert [one["amount"] for one in project(1000)] == [1000]
    assert asked().status_code == 200
    assert project(None) == []


def test_nobody_makes_a_reservation_smaller() -> None:
    assert output_bound({}, 500) == 500
    assert output_bound({"max_tokens": 10}, 500) == 10
    assert output_bound({"max_tokens": 10, "max_completion_tokens": 90}, 500) == 90
    assert output_bound({"max_tokens": 10, "n": 7}, 500) == 70
    for body in (
        {"max_tokens": -1},
        {"n": 0},
        {"n": -3},
        {"max_tokens": "9"},
        {"max_tokens": True},
        {"max_tokens": 1.5},
    ):
        with pytest.raises(Problem, match="positive"):
            output_bound(body, 500)
    picture = {
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]}
        ]
    }
    assert input_bound(picture, 120) == 120 + NOT_TEXT


def test_n_answers_are_held_and_counted(models: Models) -> None:
    models.complete(n=3, max_tokens=10)
    (row,) = models.rows()
    assert row.output_tokens == 9
    assert row.held_tokens >= 30


def test_what_nobody_settles_is_settled_at_the_most_that_it_can_have_cost(models: Models) -> None:
    budget(models, subject="org", period="day", meter="tokens", amount=10**6)
    job = models.gateway.prepare(
        models.call, "chat", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 50}
    )
    (row,) = models.rows_now()
    assert row.state == "reserved"

    def late(unit: Any) -> int:
        assert reserving.sweep(unit) == 0  # not overdue yet
        unit.execute(sa.update(ai_usage).values(expires_at=unit.now - timedelta(seconds=1)))
        return reserving.sweep(unit)

    assert as_system(models.world.context, models.world.org_id, late) == 1
    (row,) = models.rows()
    assert (row.state, row.estimated, row.cost) == ("expired", True, job.reservation.cost)
    assert row.input_tokens + row.output_tokens == row.held_tokens == job.reservation.input + 50
    (counter,) = models.counters()
    assert (counter.tokens, counter.held_tokens) == (row.held_tokens, 0)


def test_a_row_is_settled_once(models: Models) -> None:
    models.upstream.replies.append(Reply())
    models.complete()
    (row,) = models.rows()
    again = {"id": row.id, "provider": "x", "model": "x", "label": "live", "state": "failed", "code": "",
             "estimated": True, "input_tokens": 99, "cached_tokens": 0, "output_tokens": 99, "cost": 99,
             "attempts": 1}  # fmt: skip
    assert (
        as_system(models.world.context, models.world.org_id, lambda unit: reserving.settle(unit, [again]))
        == 0
    )
    assert models.rows() == [row]


def test_a_budget_is_for_what_the_organisation_has(
    models: Models, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def tried(subject: str) -> Any:
        body = {"subject": subject, "period": "day", "meter": "tokens", "amount": 5}
        return models.world.as_owner("POST", "/v1/ai/budgets", json=body)

    folder = tmp_path_factory.mktemp("masons") / "masons"
    models.world.import_repo(make_repository(folder, {"agents/mason.yaml": "name: mason\n"}), "masons")
    body = {"slug": "acme", "name": "Acme", "owner_email": "ann@acme.example"}
    invite = models.world.ok(models.world.as_owner("POST", "/v1/orgs", json=body))["invite_token"]
    joined = {"invite_token": invite, "name": "Ann"}
    ann = models.world.ok(models.world.http.post("/v1/invites/accept", json=joined))["access_token"]
    me = models.world.http.get("/v1/me", headers={"Authorization": f"Bearer {ann}"})
    foreign = models.world.ok(me)["credential_id"]
    for subject in (
        "key:crd_nope",
        f"key:{foreign}",
        "run:run_x",
        "agent:nobody",
        "agent:..",
        "agent:mason@1",
    ):
        models.world.problem(tried(subject), "not_found")
    assert models.world.ok(models.world.as_owner("GET", "/v1/ai/budgets"))["items"] == []
    own = models.world.ok(models.world.as_owner("GET", "/v1/me"))["credential_id"]
    for subject in (f"key:{own}", "agent:mason", "agent:builder"):
        models.world.ok(tried(subject))
    gone = models.world.ok(
        models.world.as_owner("POST", "/v1/api-keys", json={"label": "x", "scopes": ["read"]})
    )
    models.world.ok(models.world.as_owner("DELETE", f"/v1/api-keys/{gone['id']}"))
    models.world.problem(tried(f"key:{gone['id']}"), "not_found")
