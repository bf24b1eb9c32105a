"""What an app calls of the server that it runs on: with a token of its own, what its manifest names, nothing else."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
import sqlalchemy as sa

from builderos.core.unit import as_system
from builderos.execution.serving.service import badges
from builderos.trust.identity.model import credentials
from builderos.workloads.endpoints.model import endpoints
from tests.support.gateways import FILE
from tests.support.hosting import Answer, Dock
from tests.support.inward import doubled_endpoint, open_inward
from tests.support.servers import until
from tests.support.upstreams import model_server, provider_file
from tests.support.world import Json

CALLS = """
import json, os, urllib.error, urllib.request
def app(environ, start):
    asked = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or b"{}")
    if not asked:
        start("200 OK", [])
        return [b"{}"]
    base, token = os.environ.get("BUILDEROS_CALL_URL", ""), os.environ.get("BUILDEROS_CALL_TOKEN", "")
    if asked.get("openai"):
        base, token = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
    body = json.dumps(asked["body"]).encode() if "body" in asked else None
    request = urllib.request.Request(base + asked["path"], body, {"Content-Type": "application/json"})
    request.add_header("Authorization", "Bearer " + (asked.get("token") or token))
    said = {"token": token}
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            said |= {"status": reply.status, "body": reply.read().decode()}
    except urllib.error.HTTPError as error:
        said |= {"status": error.code, "body": error.read().decode()}
    except OSError as error:
        said |= {"status": 0, "body": str(error)}
    start("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(said).encode()]
"""
ROW = {"instances": [[1, 2]]}
OPEN = ("/v1/apps", "/v1/me")


@pytest.fixture(scope="module", autouse=True)
def around(dock: Dock) -> Iterator[None]:
    """Endpoints whose models are doubles, a model behind the gateway, and the door of jails."""

    for name in ("iris", "other"):
        doubled_endpoint(dock.world, name)
    dock.commit({"app.py": CALLS})
    with (
        open_inward(dock.world), model_server() as upstream,
        pytest.MonkeyPatch.context() as patch,
    ):  # fmt: skip
        patch.setenv("UP_KEY_ONE", "sk-first-key-of-the-test")
        provider_file(dock.world.home, FILE.format(url=upstream.url))
        yield


@pytest.fixture(scope="module")
def app(dock: Dock) -> Json:
    made = dock.make(name="flowers", endpoints=["iris"], models=["quick"])
    dock.release(made["id"])
    return dock.call("GET", f"/v1/apps/{made['id']}")


def _ask(dock: Dock, app: Json, path: str, body: Any = ROW, **more: Any) -> Json:
    """What the app heard when it asked the server."""
    asked = {"path": path, **({} if body is None else {"body": body}), **more}
    answer: Answer = dock.ask(app, "/", "POST", token=dock.token(app["id"]), data=json.dumps(asked).encode())
    return answer.json


def _badges(dock: Dock, app: Json) -> list[Any]:
    wanted = (
        sa.select(credentials).where(credentials.c.actor_id == app["id"]).order_by(credentials.c.created_at)
    )
    return as_system(dock.world.context, dock.world.org_id, lambda u: u.execute(wanted).all(), read_only=True)  # type: ignore[return-value]


def test_an_app_calls_the_endpoint_that_its_manifest_names_and_the_audit_names_the_app(
    dock: Dock, app: Json
) -> None:
    heard = _ask(dock, app, "/v1/endpoints/iris/invoke")
    assert (heard["status"], json.loads(heard["body"])) == (200, {"predictions": ["mdp_iris"]})
    read = dock.call("GET", "/v1/audit/access", object="enp_iris", action="endpoint.invoke")["items"][0]
    assert (read["actor"], read["actor_name"]) == (app["id"], "app-flowers")
    graph = dock.call("GET", f"/v1/lineage/{app['id']}", direction="up")
    assert ("endpoint", "enp_iris") in {(node["kind"], node["id"]) for node in graph["nodes"]}


def test_an_app_asks_the_model_that_its_manifest_names_as_any_client_of_openai_does(
    dock: Dock, app: Json
) -> None:
    said = {"messages": [{"role": "user", "content": "hi"}]}
    heard = _ask(dock, app, "/chat/completions", {"model": "quick", **said}, openai=True)
    assert heard["status"] == 200, heard
    assert json.loads(heard["body"])["choices"]
    refused = _ask(dock, app, "/chat/completions", {"model": "up/small", **said}, openai=True)
    assert (refused["status"], "does not name" in refused["body"]) == (403, True)
    listed = _ask(dock, app, "/models", None, openai=True)
    assert [one["id"] for one in json.loads(listed["body"])["data"]] == ["quick"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/endpoints/other/invoke", 403),
        ("/v1/endpoints/none/invoke", 404),
        ("/v1/apps", 404),
        ("/sandbox/init", 404),
        ("/v1/endpoints/iris/invoke/../stop", 404),
        ("/healthz", 404),
    ],
)
def test_nothing_else_of_the_server_is_there_for_it(dock: Dock, app: Json, path: str, status: int) -> None:
    assert _ask(dock, app, path)["status"] == status


def test_its_token_is_good_at_the_door_of_jails_alone_and_no_guess_is_good_there(
    dock: Dock, app: Json
) -> None:
    token = _ask(dock, app, "/v1/endpoints/iris/invoke")["token"]
    headers = {"Authorization": f"Bearer {token}"}
    outside = dock.world.http.post("/v1/endpoints/iris/invoke", json=ROW, headers=headers)
    assert [outside.status_code] + [
        dock.world.http.get(path, headers=headers).status_code for path in OPEN
    ] == [401] * 3
    assert _ask(dock, app, "/v1/endpoints/iris/invoke", token="bos_wl_" + "x" * 43)["status"] == 401
    told = dock.call("GET", f"/v1/apps/{app['id']}/logs")["text"]
    assert token not in told


def test_its_token_is_made_longer_while_it_runs_and_ends_with_it(dock: Dock) -> None:
    with mock.patch.object(badges, "EVERY_S", 0.05), mock.patch.object(badges, "LIFE", timedelta(seconds=30)):
        made = dock.make(endpoints=["iris"])
        dock.release(made["id"])
        first = _badges(dock, made)[0].expires_at
        until(lambda: _badges(dock, made)[0].expires_at > first)
        made = dock.call("GET", f"/v1/apps/{made['id']}")
        assert _ask(dock, made, "/v1/endpoints/iris/invoke")["status"] == 200
        dock.call("POST", f"/v1/apps/{made['id']}/stop")
    assert all(one.revoked_at is not None for one in _badges(dock, made))


def test_what_the_manifest_or_the_policy_takes_away_is_gone_at_once(dock: Dock) -> None:
    made = dock.make(endpoints=["iris", "other"])
    dock.release(made["id"])
    made = dock.call("GET", f"/v1/apps/{made['id']}")
    assert _ask(dock, made, "/v1/endpoints/other/invoke")["status"] == 200
    dock.call("POST", f"/v1/apps/{made['id']}", endpoints=["iris"])
    assert _ask(dock, made, "/v1/endpoints/other/invoke")["status"] == 403
    assert _ask(dock, made, "/v1/endpoints/iris/invoke")["status"] == 200

    def only(*who: str) -> None:
        own = {"roles": [], "actors": list(who), "per_minute": None}
        changed = sa.update(endpoints).where(endpoints.c.name == "iris")
        as_system(dock.world.context, dock.world.org_id,
                  lambda unit: unit.execute(changed.values(policy=own, updated_at=unit.now)))  # fmt: skip

    only("somebody else")
    assert _ask(dock, made, "/v1/endpoints/iris/invoke")["status"] == 403
    only(made["id"])
    assert _ask(dock, made, "/v1/endpoints/iris/invoke")["status"] == 200
    dock.call("POST", f"/v1/apps/{made['id']}", endpoints=[])
    assert _ask(dock, made, "/v1/endpoints/iris/invoke")["status"] == 401


def test_nobody_hands_on_what_they_may_not_call_themselves(dock: Dock) -> None:
    key = dock.call("POST", "/v1/api-keys", label="w", scopes=["write"])["api_key"]
    box = dock.ship.box
    body = {"name": "sly", "type": "flask", "runtime": "py", "profile": "small", "endpoints": ["iris"],
            "source": {"repo_name": box.repo_name, "branch": box.branch, "path": "app.py"}}  # fmt: skip
    reply = dock.world.http.post("/v1/apps", json=body, headers={"Authorization": f"Bearer {key}"})
    dock.world.problem(reply, "policy_denied")
    dock.world.problem(dock.try_call("POST", "/v1/apps", **(body | {"endpoints": ["none"]})), "not_found")
    taken = {"env": {"BUILDEROS_CALL_TOKEN": "mine"}, "endpoints": []}
    dock.world.problem(dock.try_call("POST", "/v1/apps", **(body | taken)), "validation_failed")


def test_an_app_that_names_nothing_has_no_way_to_the_server(dock: Dock) -> None:
    made = dock.make()
    dock.release(made["id"])
    made = dock.call("GET", f"/v1/apps/{made['id']}")
    heard = _ask(dock, made, "http://127.0.0.1:3129/v1/endpoints/iris/invoke")
    assert (heard["status"], heard["token"]) == (0, "")
    assert _badges(dock, made) == []
