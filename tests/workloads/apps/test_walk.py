"""An app from its first release to the one before: what is live answers at its own name, and nothing else does."""

import asyncio
from dataclasses import replace
from typing import Any
from unittest import mock

import aiohttp
import pytest

from builderos.execution.runs import service as runs
from builderos.workloads.apps import instance
from builderos.workloads.apps.service import Keeper
from tests.support.hosting import QUICK, WSGI, Answer, Dock, host_of
from tests.support.servers import until
from tests.support.world import Json

SOCKET = """
import base64, hashlib, http.server, os, socketserver
WORD = {word!r}
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        key = self.headers.get("Sec-WebSocket-Key")
        if key is None:
            body = WORD.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return self.wfile.write(body)
        said = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", said.decode())
        self.end_headers()
        while True:
            head = self.rfile.read(2)
            if len(head) < 2 or head[0] & 15 == 8:
                return
            mask, size = self.rfile.read(4), head[1] & 127
            data = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(size)))
            reply = WORD.encode() + b":" + data
            self.wfile.write(bytes([0x81, len(reply)]) + reply)
            self.wfile.flush()
    def log_message(self, *args): pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def app(dock: Dock) -> Json:
    """An app whose first release says `one`, the second `two`."""
    dock.commit({"app.py": WSGI.format(word="one"), "base.py": WSGI.format(word="below")})
    made = dock.make(env={"WORD": "w"})
    assert (made["standing"], made["current"]) == ("new", None)
    dock.release(made["id"])
    return dock.until(made["id"], lambda one: one["standing"] == "awake")


@pytest.fixture(scope="module")
def token(dock: Dock, app: Json) -> str:
    return dock.token(app["id"])


def test_a_release_of_a_branch_answers_at_the_apps_own_name_for_whom_it_lets_in(
    dock: Dock, app: Json, token: str
) -> None:
    told = dock.ask(app, "/where?a=1", token=token)
    assert told.status == 200, told.body
    assert (told.json["word"], told.json["path"], told.json["query"]) == ("one", "/where", "a=1")
    assert told.headers["X-BuilderOS-Release"] == app["current"]["id"]
    assert told.json["env"] == {"WORD": "w", "BASE_PATH": ""}
    posted = dock.ask(app, "/", "POST", token=token, data=b"x" * 100_000)
    assert (posted.json["method"], posted.json["size"]) == ("POST", 100_000)
    until(lambda: "GET /where" in dock.log(app["id"], app["current"]["id"]))


def test_code_leads_to_the_app_and_who_opened_it_is_written_down(dock: Dock, app: Json, token: str) -> None:
    graph = dock.call("GET", f"/v1/lineage/{app['id']}", direction="up")
    assert [(node["kind"], node["id"]) for node in graph["nodes"]] == [
        ("code", app["current"]["commit_sha"]), ("app", app["id"]),
    ]  # fmt: skip
    assert graph["edges"][0]["relation"] == "served_by"
    assert token
    opened = dock.call("GET", "/v1/audit/access", object=app["id"], action="app.open")["items"]
    assert opened[0]["actor_name"] == "owner"


def test_a_release_takes_over_once_it_is_well_and_a_rollback_brings_back_the_one_before(
    dock: Dock, app: Json, token: str
) -> None:
    first = app["current"]["id"]
    dock.commit({"app.py": WSGI.format(word="two")})
    second = dock.release(app["id"])
    assert second["replaces"] == first
    assert dock.ask(app, token=token).json["word"] == "two"
    back = dock.call("POST", f"/v1/apps/{app['id']}/rollback", reason="wrong totals")
    assert back["id"] == first
    dock.settled(app["id"], first, "live")
    assert dock.ask(app, token=token).json["word"] == "one"
    listed = dock.call("GET", f"/v1/apps/{app['id']}/releases")["items"]
    assert [(one["number"], one["status"]) for one in listed] == [(2, "rolled_back"), (1, "live")]
    assert listed[1]["starts"] == 1  # it was still warm
    forth = dock.call("POST", f"/v1/apps/{app['id']}/rollback", to=second["id"])
    dock.settled(app["id"], forth["id"], "live")
    assert dock.ask(app, token=token).json["word"] == "two"
    nothing = dock.try_call("POST", f"/v1/apps/{app['id']}/rollback", to="apv_none")
    dock.world.problem(nothing, "not_found")


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise SystemExit('no such table: sales')", "no such table: sales"),
        ("def app(environ, start):\n    start('503 Busy', [])\n    return [b'']", "/ answered 503, not 200"),
        ("other = 1", "has no 'app'"),
    ],
    ids=["ends", "is never well", "has no application"],
)
def test_a_release_that_never_gets_well_leaves_what_is_live_and_says_why(
    dock: Dock, app: Json, token: str, code: str, why: str
) -> None:
    before = dock.ask(app, token=token).json["word"]
    dock.commit({"broken.py": code})
    source = {**app["source"], "path": "broken.py"}
    dock.call("POST", f"/v1/apps/{app['id']}", source=source, health={"path": "/", "within_s": 2})
    failed = dock.release(app["id"], "failed")
    assert (failed["reason"], why in failed["detail"]) == ("unhealthy", True), failed
    assert dock.ask(app, token=token).json["word"] == before
    alerts = dock.call("GET", "/v1/alerts", rule="deploy_unhealthy")["items"]
    assert failed["id"] in [alert["object"] for alert in alerts]
    dock.call("POST", f"/v1/apps/{app['id']}", source=app["source"], health={"path": "/", "within_s": 60})


def test_what_the_app_is_made_of_has_to_be_in_the_commit(dock: Dock, app: Json) -> None:
    missing = {**app["source"], "path": "nowhere.py"}
    dock.call("POST", f"/v1/apps/{app['id']}", source=missing)
    refused = dock.try_call("POST", f"/v1/apps/{app['id']}/releases")
    assert "no file nowhere.py" in dock.world.problem(refused, "validation_failed")["detail"]
    dock.call("POST", f"/v1/apps/{app['id']}", source=app["source"])
    for sha in ("0" * 40, blob_of(dock)):
        refused = dock.try_call("POST", f"/v1/apps/{app['id']}/releases", commit_sha=sha)
        dock.world.problem(refused, "not_found")


def blob_of(dock: Dock) -> str:
    """An object of the branch that is no commit."""
    file = dock.ship.box.post("/system/fetch_files", path="app.py")["files"][0]
    return str(file["sha"])


def test_a_base_path_is_where_the_app_begins(dock: Dock, app: Json) -> None:
    assert app
    below = dock.make(path="base.py", base_path="/sales")
    dock.release(below["id"])
    below, token = dock.call("GET", f"/v1/apps/{below['id']}"), dock.token(below["id"])
    assert below["url"].endswith("/sales/")
    told = dock.ask(below, "/sales/x/", token=token)
    assert (told.json["below"], told.json["path"], told.json["env"]["BASE_PATH"]) == (
        "/sales",
        "/x/",
        "/sales",
    )
    top = dock.ask(below, "/", token=token)
    assert (top.status, top.headers["Location"]) == (307, "/sales/")
    assert dock.ask(below, "/salesforce", token=token).status == 404
    dock.call("DELETE", f"/v1/apps/{below['id']}")


def test_sockets_stay_with_the_release_that_took_them_until_their_time_is_over(dock: Dock) -> None:
    dock.commit({"serve.py": SOCKET.format(word="old")})
    made = dock.make("custom", path="serve.py", command="exec python3 serve.py")
    dock.release(made["id"])
    token = dock.token(made["id"])

    async def ran() -> tuple[str, str, int | None]:
        async with dock.client(made, token=token) as http, http.ws_connect(f"{dock.at}/line") as line:
            await line.send_str("a")
            before = (await line.receive(timeout=300)).data
            await asyncio.to_thread(dock.commit, {"serve.py": SOCKET.format(word="new")})
            await asyncio.to_thread(dock.release, made["id"])
            await line.send_str("b")
            after = (await line.receive(timeout=300)).data
            async with http.get(f"{dock.at}/") as reply:
                assert await reply.text() == "new"
            await asyncio.to_thread(retire, dock, made["id"])
            ended = await line.receive(timeout=300)
            assert ended.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
            return before, after, line.close_code

    assert asyncio.run(ran())[:2] == ("old:a", "old:b")
    dock.call("POST", f"/v1/apps/{made['id']}/stop")


def retire(dock: Dock, app_id: str) -> None:
    """Have two more releases: then nobody comes back to the first."""
    dock.release(app_id)


def test_what_crashes_is_started_again_and_what_does_so_in_a_loop_waits_and_raises_an_alert(
    dock: Dock, app: Json
) -> None:
    assert app
    made = dock.make()
    release = dock.release(made["id"])
    token = dock.token(made["id"])
    pid = dock.ask(made, token=token).json["pid"]
    for _ in range(2):
        dock.ask(made, "/die", token=token)
        dock.until(made["id"], lambda one: one["standing"] == "awake")
        until(lambda: dock.ask(made, token=token).status == 200)
    assert dock.ask(made, token=token).json["pid"]
    assert pid
    dock.ask(made, "/die", token=token)
    shown = dock.until(made["id"], lambda one: one["current"]["crashes"] == 3)
    assert shown["standing"] == "failing"
    assert "exit code 3" in shown["current"]["detail"]
    away = dock.ask(made, token=token)
    assert (away.status, away.json["code"], away.json["retryable"]) == (503, "unavailable", True)
    alerts = dock.call("GET", "/v1/alerts", rule="deploy_unhealthy")["items"]
    assert made["id"] in [alert["object"] for alert in alerts]
    assert release["id"] == shown["current"]["id"]
    told = [event.type for event in events_of(dock, made["id"])]
    assert told.count("app.crashed") == 3
    dock.release(made["id"])
    assert dock.ask(made, token=token).status == 200  # a new release is not held up by the old one's pause
    dock.call("DELETE", f"/v1/apps/{made['id']}")


def test_what_ends_again_and_again_has_failed_with_its_logs_until_it_is_started_or_released_anew(
    dock: Dock,
) -> None:
    dock.commit({"loop.py": "import os\nprint('no tables', flush=True)\n" + WSGI.format(word="loop")})
    keeper = dock.ship.context.get(Keeper)
    with mock.patch.object(keeper, "pace", replace(QUICK, again_s=(0.01,), give_up=3)):
        made = dock.make(path="loop.py")
        release = dock.release(made["id"])
    made, token = dock.call("GET", f"/v1/apps/{made['id']}"), dock.token(made["id"])
    for count in range(3):
        until(lambda: dock.ask(made, token=token).status == 200)
        dock.ask(made, "/die", token=token)
        dock.until(made["id"], lambda one, n=count: one["current"]["crashes"] == n + 1)  # type: ignore[misc]
    shown = dock.until(made["id"], lambda one: one["current"]["status"] == "failed")
    assert (shown["standing"], shown["current"]["reason"]) == ("failing", "crashes")
    assert "exit code 3" in shown["current"]["detail"]
    assert "no tables" in dock.log(made["id"], release["id"], start=shown["current"]["starts"])
    assert dock.ask(made, token=token).status == 503
    dock.call("POST", f"/v1/apps/{made['id']}/stop")
    dock.call("POST", f"/v1/apps/{made['id']}/start")
    until(lambda: dock.ask(made, token=dock.token(made["id"])).status == 200)
    dock.call("DELETE", f"/v1/apps/{made['id']}")


def test_what_takes_connections_and_does_not_answer_is_told_of_ended_and_started_again(dock: Dock) -> None:
    hangs = "import os, time\nHERE = '/tmp/hangs'\n" + WSGI.format(word="up") + (
        "inner = app\n"
        "def app(environ, start):\n"
        "    if environ['PATH_INFO'] == '/hang':\n"
        "        open(HERE, 'w').close()\n"
        "    while os.path.exists(HERE):\n"
        "        time.sleep(0.05)\n"
        "    return inner(environ, start)\n"
    )  # fmt: skip
    dock.commit({"hangs.py": hangs})
    made = dock.make(path="hangs.py")
    dock.release(made["id"])
    made, token = dock.call("GET", f"/v1/apps/{made['id']}"), dock.token(made["id"])
    before = dock.ask(made, token=token).json["word"]
    with mock.patch.object(instance, "_LOOK_S", 0.1):
        waited = dock.ask(made, "/hang", token=token)  # it has a deadline: the end of what does not answer
        assert (waited.status, before) == (502, "up")
        shown = dock.until(made["id"], lambda one: one["current"]["crashes"] == 1)
    assert "it hung" in shown["current"]["detail"]
    alerts = dock.call("GET", "/v1/alerts", rule="deploy_unhealthy")["items"]
    assert shown["current"]["id"] in str(alerts) or made["id"] in str(alerts)
    until(lambda: dock.ask(made, token=token).status == 200)
    dock.call("DELETE", f"/v1/apps/{made['id']}")


def events_of(dock: Dock, app_id: str) -> list[Any]:
    """What was told of an app."""
    from builderos.core.unit import as_system

    return as_system(dock.ship.context, dock.world.org_id, lambda unit: runs.events.read(unit, app_id))


def test_an_app_that_nobody_asks_sleeps_and_a_request_wakes_it(dock: Dock, app: Json, token: str) -> None:
    dock.call("POST", f"/v1/apps/{app['id']}", idle_timeout=1)
    asleep = dock.until(app["id"], lambda one: one["standing"] == "asleep")
    starts = asleep["current"]["starts"]
    told = dock.ask(app, "/", "POST", token=token, data=b"awake?")
    assert (told.status, told.json["size"]) == (200, 6)
    dock.call("POST", f"/v1/apps/{app['id']}", idle_timeout=0)
    awake = dock.until(app["id"], lambda one: one["standing"] == "awake")
    assert awake["current"]["starts"] == starts + 1


def test_a_stopped_app_answers_nobody_until_it_is_started(dock: Dock, app: Json) -> None:
    dock.call("POST", f"/v1/apps/{app['id']}/stop")
    keeper = dock.ship.context.get(Keeper)
    until(lambda: keeper.enter(app["id"]) is None)
    dock.world.problem(dock.try_call("POST", f"/v1/apps/{app['id']}/token"), "illegal_transition")
    dock.world.problem(dock.try_call("POST", f"/v1/apps/{app['id']}/releases"), "illegal_transition")
    started = dock.call("POST", f"/v1/apps/{app['id']}/start")
    token = dock.token(started["id"])

    def answers() -> bool:
        reply: Answer = dock.ask(started, token=token)
        return reply.status == 200

    until(answers)
    assert host_of(started) == host_of(app)


def test_a_server_of_node_is_built_and_started_as_next_builds_its_own(dock: Dock) -> None:
    """`output: "standalone"` of Next.js makes a server.js that listens as PORT and HOSTNAME say."""
    server = "require('http').createServer((q, s) => s.end(require('./made.json').word)).listen(env.PORT, env.HOSTNAME)"
    dock.commit({"web/server.js": f"const env = process.env\n{server}\n"})
    made = dock.make("nextjs", "web", build='echo built; echo \'{"word": "made"}\' > web/made.json')
    release = dock.release(made["id"])
    assert dock.ask(made, token=dock.token(made["id"])).body == b"made"
    assert dock.log(made["id"], release["id"], of="build") == "built\n"
    dock.call("POST", f"/v1/apps/{made['id']}", build="echo no such module >&2; exit 4")
    failed = dock.release(made["id"], "failed")
    assert (failed["reason"], "exit code 4" in failed["detail"]) == ("build", True)
    assert "no such module" in dock.log(made["id"], failed["id"], of="build")
    dock.call("DELETE", f"/v1/apps/{made['id']}")


def test_after_the_server_was_killed_apps_are_back_and_releases_under_way_go_on(dock: Dock) -> None:
    made = dock.make()
    first = dock.release(made["id"])
    token, context = dock.token(made["id"]), dock.ship.context
    context.get(Keeper).close()  # whatever ran ends with the process; the rows stay as they are
    second = dock.call("POST", f"/v1/apps/{made['id']}/releases")
    assert (second["status"], dock.call("GET", f"/v1/apps/{made['id']}")["current"]["id"]) == (
        "building",
        first["id"],
    )
    fresh = Keeper(context, QUICK)
    context.put(Keeper, fresh)
    fresh.look(context)
    dock.settled(made["id"], second["id"], "live")
    until(lambda: dock.ask(made, token=token).status == 200)
    assert dock.ask(made, token=token).headers["X-BuilderOS-Release"] == second["id"]


def test_secrets_reach_an_app_as_the_policy_file_says_and_never_its_log(dock: Dock) -> None:
    dock.call("POST", "/v1/secrets", key_name="TOKEN", value="s3cr3t-of-the-warehouse")
    dock.commit({"told.py": "import os\nprint(os.environ['TOKEN'], flush=True)\n" + WSGI.format(word="told")})
    made = dock.make(path="told.py", secrets=["TOKEN"])
    refused = dock.release(made["id"], "failed")
    assert refused["starts"] == 1
    allowing = "version: 1\nrules:\n  - {id: token, allow: {secrets: [TOKEN]}}\n"
    asked = dock.call("PUT", "/v1/policies", content=allowing, reason="An app needs it.")
    dock.call("POST", f"/v1/approvals/{asked['approval_id']}", decision="approve")
    release = dock.release(made["id"])
    told = dock.ask(made, token=dock.token(made["id"])).json
    assert told["env"]["TOKEN"] == "s3cr3t-of-the-warehouse"
    until(lambda: "GET / " in dock.log(made["id"], release["id"]))
    assert "s3cr3t" not in dock.log(made["id"], release["id"])
    assert "s3cr3t" not in str(dock.call("GET", f"/v1/apps/{made['id']}"))
    dock.commit({"told.py": "import os\nraise SystemExit('refused: ' + os.environ['TOKEN'])\n"})
    failed = dock.release(made["id"], "failed")
    assert "it said: refused: " in failed["detail"]
    assert "s3cr3t" not in failed["detail"]
    dock.call("DELETE", f"/v1/apps/{made['id']}")
