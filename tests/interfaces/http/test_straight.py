"""Calls that go past the framework: which do, and that nobody can tell by what is answered."""

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from builderos.interfaces.http import straight as door
from builderos.interfaces.http.edge import Edge
from builderos.interfaces.http.serve import Incoming
from builderos.interfaces.http.straight import Straight
from tests.support.inprocess import InProcess
from tests.support.world import World

JSON = {"content-type": "application/json"}
UNFIT = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a number": b"5",
    "half a document": b'{"repo_name": ',
    "not UTF-8": b'{"repo_name": "\xff"}',
    "a member twice": b'{"repo_name": "lab", "repo_name": "lab"}',
    "not a number": b'{"repo_name": NaN}',
    "another type": b'{"repo_name": 5}',
    "an unknown member": b'{"repo_name": "lab", "repo": "lab"}',
    "too deep": b'{"repo_name": ' + b"[" * 100_000,
}


@pytest.fixture
def framework(world: World) -> InProcess:
    """The same server, all of whose calls go through the framework."""
    return InProcess(Edge(straight_of(world)._app, world.context), world.http.portal, "http://127.0.0.1")


def straight_of(world: World) -> Straight:
    app: Any = world.asgi
    while not isinstance(app, Straight):
        app = app._app
    return app


@pytest.mark.parametrize("what", UNFIT)
def test_what_is_refused_is_refused_in_the_framework_s_words(
    world: World, framework: InProcess, what: str
) -> None:
    replies = [
        http.post("/sandbox/init", content=UNFIT[what], headers=JSON) for http in (world.http, framework)
    ]
    told = [{**reply.json(), "request_id": ""} for reply in replies]
    assert told[0] == told[1]
    assert replies[0].status_code == replies[1].status_code == told[0]["status"]
    assert told[0]["code"] == "validation_failed"


def test_what_fits_does_not_reach_the_framework(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError(scope["path"])

    monkeypatch.setattr(straight_of(world), "_app", nobody)
    opened = world.http.post("/sandbox/init", json={"repo_name": "lab"})
    assert opened.status_code == 200
    assert opened.headers["content-type"] == "application/json"
    assert "deprecation" not in opened.headers
    refused = world.http.post("/git/log", json={"repo_name": "lab", "branch": "main"})
    assert world.problem(refused, "unauthenticated")["request_id"] == refused.headers["x-request-id"]


def test_an_older_path_says_so_on_either_way(world: World, framework: InProcess) -> None:
    older = [op.path for op in world.app.operations() if op.deprecated and op.method == "POST"]
    assert older
    body = {"repo_name": "lab"}
    said = [
        http.post("/sandbox/init_branch", json=body).headers.get("deprecation")
        for http in (world.http, framework)
    ]
    assert said == ["true", "true"]


def test_an_error_that_nobody_expected_is_told_without_what_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(door, "serve", broken)
    told = world.http.post("/sandbox/init", json={"repo_name": "lab"})
    assert world.problem(told, "internal")["request_id"] == told.headers["x-request-id"]
    assert "secret" not in told.text


def test_a_client_that_hangs_up_in_the_middle_of_its_body_calls_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = [
        {"type": "http.request", "body": b'{"repo_name": "lab"}', "more_body": True},
        {"type": "http.disconnect"},
    ]
    passed_on: list[Any] = []
    waiting = iter(sent)

    async def receive() -> Any:
        return next(waiting)

    async def below(_scope: Scope, again: Receive, _send: Send) -> None:
        passed_on.extend([await again(), await again()])

    async def send(_message: Any) -> None:
        raise AssertionError("nobody is there to hear it")

    straight = straight_of(world)
    monkeypatch.setattr(straight, "_app", below)
    incoming = Incoming("req_1", None, "somebody")
    scope = {"type": "http", "method": "POST", "path": "/sandbox/init", "state": {"incoming": incoming}}
    world.http.portal.call(straight, scope, receive, send)
    assert passed_on == sent
