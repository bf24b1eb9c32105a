"""Requests that arrive together: let through in one go, each judged for itself."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import anyio

from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.interfaces.http.serve import Incoming
from builderos.interfaces.openai.admissions import Admissions
from tests.support.gateways import Models


def body(**more: Any) -> bytes:
    return json.dumps({"model": "quick", "messages": [{"role": "user", "content": "hi"}], **more}).encode()


def together(models: Models, *bodies: bytes, bearer: str | None = "") -> list[Any]:
    """Let all of them through at once; jobs are abandoned."""
    context = models.world.context
    token = models.world.owner_token if bearer == "" else bearer
    served = context.get(anyio.CapacityLimiter)

    async def run() -> list[Any]:
        context.put(anyio.CapacityLimiter, anyio.CapacityLimiter(4))
        admissions = Admissions(models.world.app)
        asked = (admissions.admit("chat", raw, Incoming(new_id("req"), token, "c")) for raw in bodies)
        return await asyncio.gather(*asked, return_exceptions=True)

    try:
        found = asyncio.run(run())
    finally:
        context.put(anyio.CapacityLimiter, served)
    for job in found:
        if not isinstance(job, BaseException):
            models.gateway.abandon(job)
    return found


def codes(found: list[Any]) -> list[str]:
    return [one.code if isinstance(one, Problem) else "ok" for one in found]


def test_one_bad_request_is_no_matter_to_the_others(models: Models) -> None:
    deep = b'{"model":"quick","messages":' + b"[" * 900 + b"]" * 900 + b"}"
    bad = [
        b"{",
        body(max_tokens=-1),
        body(messages=[]),
        b"[1]",
        body(model="up/\0"),
        body(n=10**9),
        deep,
        body(model=7),
    ]
    found = together(models, body(), body(model="nobody/knows"), *bad, body())
    assert codes(found) == ["ok", "not_found", *["validation_failed"] * len(bad), "ok"]
    rows = models.rows()
    assert [(row.state, row.cost) for row in rows] == [("aborted", 0)] * 2
    assert len({row.request_id for row in rows}) == 2


def test_a_budget_lets_one_of_many_through_when_little_is_left(models: Models) -> None:
    budget = {"subject": "each-key", "period": "day", "meter": "tokens", "amount": 1}
    models.world.ok(models.world.as_owner("POST", "/v1/ai/budgets", json=budget))
    found = together(models, *[body()] * 5)
    assert sorted(codes(found)) == [*["budget_exceeded"] * 4, "ok"]
    assert len(models.rows()) == 1


def test_a_credential_that_is_none_lets_nobody_through(models: Models) -> None:
    assert codes(together(models, body(), body(), bearer="bos_key_nothing")) == ["token_invalid"] * 2
    assert codes(together(models, body(), bearer=None)) == ["unauthenticated"]
    assert models.rows() == []


def test_who_leaves_while_waiting_leaves_no_row_open(models: Models) -> None:
    context, served = models.world.context, models.world.context.get(anyio.CapacityLimiter)

    async def run() -> None:
        context.put(anyio.CapacityLimiter, anyio.CapacityLimiter(4))
        admissions = Admissions(models.world.app)
        incoming = Incoming(new_id("req"), models.world.owner_token, "c")
        waiting = asyncio.ensure_future(admissions.admit("chat", body(), incoming))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting, *admissions._tasks])

    try:
        asyncio.run(run())
    finally:
        context.put(anyio.CapacityLimiter, served)
    assert [row.state for row in models.rows()] == ["aborted"]


def test_every_door_of_openai_says_what_is_wrong_in_its_own_shape(models: Models) -> None:
    ask: Callable[..., Any] = models.world.as_owner
    for method, path, status in (
        ("GET", "/openai/v1/chat/completions", 405), ("POST", "/openai/v1/models", 405),
        ("POST", "/openai/v1/audio/speech", 404), ("GET", "/openai/v1/models/nobody/knows", 404),
    ):  # fmt: skip
        reply = ask(method, path, **({"json": {}} if method == "POST" else {}))
        assert reply.status_code == status
        error = reply.json()["error"]
        assert {"message", "type", "code", "param"} <= error.keys()
