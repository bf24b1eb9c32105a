"""Who may open an app, what changes on the way, and what never passes."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from yarl import URL

from builderos.interfaces.proxy import apps as door
from builderos.workloads.apps.service import Keeper, erase
from tests.support.hosting import WSGI, Dock, host_of
from tests.support.servers import until
from tests.support.world import Json


@pytest.fixture(scope="module")
def app(dock: Dock) -> Json:
    dock.commit(
        {"app.py": WSGI.format(word="one"), "site/index.html": "<p>hi</p>", "site/.env": "x", "top.txt": "no"}
    )
    made = dock.make()
    dock.release(made["id"])
    return dock.call("GET", f"/v1/apps/{made['id']}")


@pytest.fixture(scope="module")
def site(dock: Dock, app: Json) -> Json:
    """A folder of files, open to everybody."""
    assert app
    made = dock.make("static", "site", policy={"open": "public"}, base_path="/docs")
    dock.release(made["id"])
    return dock.call("GET", f"/v1/apps/{made['id']}")


@pytest.fixture
def cookie(dock: Dock, app: Json) -> str:
    """What a browser holds that has followed a link."""
    link = URL(dock.call("POST", f"/v1/apps/{app['id']}/token", path="/deep?a=1")["url"])
    followed = dock.ask(app, link.raw_path_qs)
    assert (followed.status, followed.headers["Location"]) == (303, f"{app['url']}deep?a=1")
    again = dock.ask(app, link.raw_path_qs)
    assert (again.status, again.json["code"]) == (401, "token_expired")
    said = followed.headers["Set-Cookie"]
    assert said.startswith("__Host-bos_app=bos_ap_")
    assert {"Path=/", "HttpOnly", "Secure", "SameSite=None", "Partitioned"} <= {
        p.strip() for p in said.split(";")
    }
    assert "Domain" not in said
    return said.partition(";")[0]


def test_without_a_token_a_program_is_told_and_a_person_is_sent_to_the_console(dock: Dock, app: Json) -> None:
    assert dock.ask(app).json["code"] == "unauthenticated"
    sent = dock.ask(app, "/x?y=1", Accept="text/html", Sec_Fetch_Mode="navigate")
    assert sent.status == 303
    assert sent.headers["Location"].endswith(f"/apps/{app['id']}/open?path=%2Fx%3Fy%3D1")
    for wrong in ("bos_ap_" + "x" * 43, dock.world.owner_token, dock.ship.box.token):
        refused = dock.ask(app, token=wrong)
        assert (refused.status, refused.json["code"]) == (401, "token_invalid")


def test_a_token_of_another_app_and_another_name_for_the_door_are_refused(
    dock: Dock, app: Json, site: Json
) -> None:
    other = dock.ask(app, token=dock.token(site["id"]))
    assert (other.status, other.json["code"]) == (403, "policy_denied")
    token, port = dock.token(app["id"]), URL(dock.at).port
    for host in (
        "evil.example",
        f"app-none.localhost:{port}",
        f"{host_of(app)}.evil.example",
        f"127.0.0.1:{port}",
    ):
        assert dock.ask(app, host=host, token=token).status in (404, 421)


def test_a_browser_gets_in_by_cookie_and_only_pages_of_the_app_may_use_it(
    dock: Dock, app: Json, cookie: str
) -> None:
    told = dock.ask(app, "/", Cookie=f"own=1; {cookie}; __Host-bos=console; bos_session=s; x=2")
    assert told.status == 200
    assert told.json["headers"]["COOKIE"].replace(" ", "") == "own=1;x=2"
    assert told.headers["Content-Security-Policy"].startswith("frame-ancestors 'self' http://127.0.0.1")
    own = f"http://{host_of(app)}"
    assert dock.ask(app, "/", "POST", Cookie=cookie, Origin=own, Sec_Fetch_Site="same-origin").status == 200
    for method, headers in (
        ("POST", {"Origin": "https://evil.example"}), ("POST", {}), ("DELETE", {"Origin": "null"}),
        ("GET", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}), ("GET", {"Upgrade": "websocket"}),
    ):  # fmt: skip
        refused = dock.ask(app, "/", method, Cookie=cookie, **headers)
        assert (refused.status, refused.json["code"]) == (403, "policy_denied"), (method, headers)


def test_an_app_learns_who_asks_from_the_door_alone_and_sets_no_cookie_of_ours(dock: Dock, app: Json) -> None:
    token = dock.token(app["id"])
    told = dock.ask(
        app, "/", token=token, X_BuilderOS_Actor="usr_forged", X_BuilderOS_Role="forged", X_Forwarded_For="6.6.6.6",
        X_Forwarded_Host="evil", Forwarded="for=6.6.6.6", Connection="keep-alive, X-Secret", X_Secret="hop", X_Kept="k",
    )  # fmt: skip
    seen = told.json["headers"]
    assert (seen["X_BUILDEROS_ROLE"], seen["X_KEPT"]) == ("owner", "k")
    assert seen["X_BUILDEROS_ACTOR"] != "usr_forged"
    assert (seen["X_FORWARDED_FOR"], seen["X_FORWARDED_HOST"]) == ("127.0.0.1", host_of(app))
    assert not {"AUTHORIZATION", "X_SECRET", "FORWARDED", "COOKIE"} & set(seen)
    assert told.headers.getall("Set-Cookie") == ["own=1; Path=/"]
    assert told.headers.getall("X-BuilderOS-Release") == [app["current"]["id"]]


def test_an_app_open_to_all_asks_nobody_and_gives_no_file_outside_of_its_folder(
    dock: Dock, site: Json
) -> None:
    assert (dock.ask(site, "/docs/").body, dock.ask(site, "/docs/").status) == (b"<p>hi</p>", 200)
    assert dock.ask(site, "/docs/", Cookie="__Host-bos_app=bos_ap_old").status == 200
    for path in (
        "/docs/../top.txt", "/docs/%2e%2e/top.txt", "/docs/..%2ftop.txt", "/docs/.env", "/docs/%2eenv",
        "/docs//etc/passwd", "/docs/..%5c..%5ctop.txt", "/docs/index.html%00", "/top.txt", "/docs/.builderos/x",
    ):  # fmt: skip
        assert dock.ask(site, path).status == 404, path
    assert dock.ask(site, "/docs/", "POST", data=b"x").status == 405


@pytest.mark.parametrize(
    "body",
    [
        {"source": {"path": "../app.py"}}, {"source": {"path": "/etc/passwd"}}, {"source": {"path": ".git/config"}},
        {"source": {"path": "a/../../b"}}, {"base_path": "/../x"}, {"base_path": "//evil.example"}, {"base_path": "x"},
        {"base_path": "/a b"}, {"base_path": "/.hidden"}, {"env": {"PATH": "/tmp"}}, {"env": {"A B": "x"}},
        {"network": ["http://x"]}, {"env": {"KEY": "x"}, "secrets": ["KEY"]}, {"health": {"path": "x"}},
        {"name": "../x"},
        {"command": "exec x", "type": "static"}, {"type": "custom"},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_what_could_never_be_served_is_refused_and_makes_nothing(dock: Dock, body: dict[str, Any]) -> None:
    box = dock.ship.box
    source = {"repo_name": box.repo_name, "branch": box.branch, "path": "app.py", **body.get("source", {})}
    asked = (
        {"name": "refused", "type": "flask", "runtime": "py", "profile": "small"} | body | {"source": source}
    )
    dock.world.problem(dock.try_call("POST", "/v1/apps", **asked), "validation_failed")
    dock.world.problem(dock.try_call("GET", "/v1/apps/refused"), "not_found")


def test_smuggled_requests_and_bodies_without_end_do_not_reach_the_app(
    dock: Dock, app: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = dock.token(app["id"])
    head = f"POST /smuggled HTTP/1.1\r\nHost: {host_of(app)}\r\nAuthorization: Bearer {token}\r\n"
    both = raw(
        dock,
        f"{head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /second HTTP/1.1\r\n\r\n",
    )
    assert both.split(b" ")[1] == b"400"
    assert raw(dock, f"{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab").split(b" ")[1] == b"400"
    monkeypatch.setattr(door, "MOST_BODY", 1000)
    declared = dock.ask(app, "/", "POST", token=token, data=b"x" * 1001)
    assert (declared.status, declared.json["code"]) == (413, "payload_too_large")
    piece = "3e8\r\n" + "x" * 1000 + "\r\n"
    endless = raw(dock, f"{head}Transfer-Encoding: chunked\r\n\r\n{piece}{piece}0\r\n\r\n")
    assert endless.split(b" ")[1] == b"413"


def raw(dock: Dock, text: str) -> bytes:
    """The first bytes that a text is answered with."""
    at = URL(dock.at)
    assert at.host is not None
    with socket.create_connection((at.host, at.port or 0), 60) as line:
        line.sendall(text.encode())
        return line.recv(200)


@pytest.fixture
def narrowed(dock: Dock, app: Json) -> Iterator[str]:
    """The app, open to reviewers alone, with a token from before."""
    token = dock.token(app["id"])
    dock.call("POST", f"/v1/apps/{app['id']}", policy={"open": "org", "roles": ["reviewer"]})
    yield token
    dock.call("POST", f"/v1/apps/{app['id']}", policy={"open": "org"})


def test_a_change_of_the_policy_counts_at_once_for_those_who_ask_and_ends_the_ways_in(
    dock: Dock, app: Json, narrowed: str
) -> None:
    dock.world.problem(dock.try_call("POST", f"/v1/apps/{app['id']}/token"), "policy_denied")
    refused = dock.ask(app, token=narrowed)
    assert (refused.status, refused.json["code"]) == (401, "token_invalid")


def test_only_who_administers_opens_an_app_to_everybody(dock: Dock, app: Json) -> None:
    made = dock.call("POST", "/v1/api-keys", label="w", scopes=["write", "read"])
    key = next(value for value in made.values() if str(value).startswith("bos_ak_"))
    path, headers = f"/v1/apps/{app['id']}", {"Authorization": f"Bearer {key}"}
    asked = dock.world.http.post(path, json={"policy": {"open": "public"}}, headers=headers)
    dock.world.problem(asked, "policy_denied")
    assert dock.world.http.post(path, json={"idle_timeout": 1800}, headers=headers).status_code == 200
    stranger = dock.world.open_sandbox()
    dock.world.problem(dock.world.http.get(path, headers=stranger.headers), "policy_denied")


def test_an_organisation_that_goes_takes_its_apps_along(dock: Dock, app: Json) -> None:
    token = dock.token(app["id"])
    assert dock.ask(app, token=token).status == 200
    erase(dock.ship.context, dock.world.org_id)
    keeper = dock.ship.context.get(Keeper)
    until(lambda: keeper.enter(app["id"]) is None)
