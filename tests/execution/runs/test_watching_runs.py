"""What people see of a run: its events as they come, its logs while they grow, its page in one reply."""

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from builderos.core.home import project_state
from builderos.execution.runs.logs import Sink
from tests.support.databases import Databases
from tests.support.live import served
from tests.support.runs import Ship, ship_in_temp
from tests.support.sse import Said, listening

CHAIN = """
steps:
  - {id: plan, run: "echo planned; seq 1 300; printf '\\\\033[31mred\\\\033[0m\\\\n'"}
  - {id: make, needs: [plan], run: "echo made > made.txt; echo done"}
"""
SLOW = """
steps:
  - {id: slow, run: "echo begun; while [ ! -e go ]; do sleep 0.05; done; echo gone"}
"""


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        yield made


@pytest.fixture(scope="module")
def url(ship: Ship) -> Iterator[str]:
    with served(ship.world) as address:
        yield address


@pytest.fixture(scope="module")
def chain(ship: Ship) -> dict[str, str]:
    """A run that is over: its id and those of its steps by name."""
    run = ship.done(CHAIN)
    assert run["status"] == "succeeded", run
    return {"run": run["id"], **{name: step["id"] for name, step in ship.steps(run).items()}}


def _heard(url: str, ship: Ship, run_id: str, last: str | None = None) -> list[Said]:
    with listening(url, f"/v1/runs/{run_id}/events", ship.box.token, last) as ear:
        return list(ear)


def test_a_run_tells_what_happens_in_order_and_the_stream_ends_with_it(
    ship: Ship, url: str, chain: dict[str, str]
) -> None:
    heard = _heard(url, ship, chain["run"])
    assert [said.id for said in heard] == [str(n + 1) for n in range(len(heard))]
    assert [said.type for said in heard] == [
        "run.created", "step.started", "run.started", "step.ended", "step.started", "step.ended", "run.ended",
    ]  # fmt: skip
    assert heard[-1].data["payload"]["status"] == "succeeded"
    assert all(said.data["run_id"] == chain["run"] for said in heard)


def test_who_comes_back_gets_every_event_once(ship: Ship, url: str, chain: dict[str, str]) -> None:
    whole = _heard(url, ship, chain["run"])
    for last in range(len(whole) + 1):
        assert _heard(url, ship, chain["run"], str(last)) == whole[last:]
    page = ship.world.ok(
        ship.world.http.get(f"/v1/runs/{chain['run']}/events?stream=false&limit=4", headers=ship.box.headers)
    )
    rest = ship.world.ok(
        ship.world.http.get(
            f"/v1/runs/{chain['run']}/events?stream=false&cursor={page['next_cursor']}",
            headers=ship.box.headers,
        )
    )
    assert [e["seq"] for e in page["items"] + rest["items"]] == [int(said.id) for said in whole]
    assert rest["next_cursor"] is None


def test_events_and_logs_arrive_while_the_run_goes_on(ship: Ship, url: str) -> None:
    run_id = ship.start(ship.pipeline(SLOW))
    events: list[Said] = []
    texts: list[str] = []
    begun = threading.Event()

    def follow_logs() -> None:
        with listening(url, f"/v1/runs/{run_id}/logs", ship.box.token, follow="true") as ear:
            for said in ear:
                texts.append(said.data.get("text", ""))
                if "begun" in "".join(texts):
                    begun.set()

    def follow_events() -> None:
        with listening(url, f"/v1/runs/{run_id}/events", ship.box.token) as ear:
            events.extend(ear)

    threads = [threading.Thread(target=work, daemon=True) for work in (follow_logs, follow_events)]
    for thread in threads:
        thread.start()
    assert begun.wait(120), texts
    assert all(thread.is_alive() for thread in threads)
    ship.let_go(run_id, "slow")
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert "".join(texts) == "begun\ngone\n"
    assert events[-1].type == "run.ended"


def test_two_hundred_followers_hear_the_same(ship: Ship, url: str) -> None:
    run_id = ship.start(ship.pipeline(SLOW))
    heard: list[list[str]] = []

    def follow() -> None:
        with listening(url, f"/v1/runs/{run_id}/events", ship.box.token) as ear:
            heard.append([said.id for said in ear])

    threads = [threading.Thread(target=follow, daemon=True) for _ in range(200)]
    for thread in threads:
        thread.start()
    ship.let_go(run_id, "slow")
    for thread in threads:
        thread.join(120)
    assert len(heard) == 200
    assert all(ids == heard[0] for ids in heard)
    assert heard[0] == [str(n + 1) for n in range(len(heard[0]))]


def _log(ship: Ship, step_id: str, **query: object) -> dict[str, object]:
    return ship.world.ok(
        ship.world.http.get(f"/v1/steps/{step_id}/logs", params=query, headers=ship.box.headers)  # type: ignore[arg-type]
    )


def test_a_log_is_read_by_offset_by_line_and_from_its_end(ship: Ship, chain: dict[str, str]) -> None:
    whole = _log(ship, chain["plan"])
    text = str(whole["text"])
    assert text.startswith("planned\n1\n2\n")
    assert whole["ended"] is True
    assert whole["line"] == 1
    assert "\x1b" not in text
    assert "red\n" in text
    tail = _log(ship, chain["plan"], tail=3)
    assert str(tail["text"]).splitlines() == text.splitlines()[-3:]
    assert _log(ship, chain["plan"], line=101, limit=4)["text"] == "100\n"
    pieces, offset = "", 0
    while offset < int(str(whole["size"])):
        piece = _log(ship, chain["plan"], offset=offset, limit=100)
        pieces += str(piece["text"])
        offset = int(str(piece["next_offset"]))
    assert pieces == text
    raw = ship.world.http.get(f"/v1/steps/{chain['plan']}/logs?raw=true", headers=ship.box.headers)
    assert b"\x1b[31mred\x1b[0m\n" in raw.content
    assert len(raw.content) == whole["size"]


def test_followed_logs_go_on_behind_the_last_event(ship: Ship, url: str, chain: dict[str, str]) -> None:
    for path in (f"/v1/steps/{chain['plan']}/logs", f"/v1/runs/{chain['run']}/logs"):
        with listening(url, path, ship.box.token, follow="true") as ear:
            whole = list(ear)
        assert whole[-1].type == "end"
        assert "planned" in "".join(said.data.get("text", "") for said in whole)
        for n, said in enumerate(whole):
            with listening(url, path, ship.box.token, said.id, follow="true") as ear:
                assert [s.data.get("text") for s in ear if s.type == "log"] == [
                    s.data.get("text") for s in whole[n + 1 :] if s.type == "log"
                ]


def test_the_logs_of_a_run_come_step_by_step_in_pages(ship: Ship, chain: dict[str, str]) -> None:
    texts: dict[str, str] = {}
    cursor = None
    for _ in range(100):
        query = {"limit": 400} | ({"cursor": cursor} if cursor else {})
        page = ship.world.ok(
            ship.world.http.get(f"/v1/runs/{chain['run']}/logs", params=query, headers=ship.box.headers)
        )
        for item in page["items"]:
            texts[item["name"]] = texts.get(item["name"], "") + item["text"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert texts == {"plan": _log(ship, chain["plan"])["text"], "make": "done\n"}


def test_nobody_else_sees_a_run_its_logs_or_its_events(ship: Ship, chain: dict[str, str]) -> None:
    other = ship.world.open_sandbox()
    for path in (
        f"/v1/runs/{chain['run']}/view", f"/v1/runs/{chain['run']}/events", f"/v1/runs/{chain['run']}/logs",
        f"/v1/steps/{chain['plan']}/logs", f"/v1/steps/{chain['plan']}/logs?follow=true",
    ):  # fmt: skip
        ship.world.problem(ship.world.http.get(path, headers=other.headers), "not_found")
        ship.world.problem(ship.world.http.get(path), "unauthenticated")
    unknown = "stp_" + "0" * 26
    ship.world.problem(ship.world.as_owner("GET", f"/v1/steps/{unknown}/logs"), "not_found")


def test_bad_places_are_refused(ship: Ship, chain: dict[str, str]) -> None:
    get, headers = ship.world.http.get, ship.box.headers
    for query in ("offset=0&tail=3", "tail=5001", "offset=-1", "raw=true&follow=true", "limit=0"):
        ship.world.problem(
            get(f"/v1/steps/{chain['plan']}/logs?{query}", headers=headers), "validation_failed"
        )
    ship.world.problem(get(f"/v1/steps/{chain['plan']}/logs?attempt=2", headers=headers), "not_found")
    for path, last in (
        (f"/v1/runs/{chain['run']}/events", "x"), (f"/v1/runs/{chain['run']}/logs?follow=true", "1;x:"),
        (f"/v1/steps/{chain['plan']}/logs?follow=true", "-1"), (f"/v1/runs/{chain['run']}/events", "9" * 19),
    ):  # fmt: skip
        refused = get(path, headers={**headers, "Last-Event-ID": last})
        ship.world.problem(refused, "validation_failed")


def test_one_reply_shows_the_page_of_a_run(ship: Ship, chain: dict[str, str]) -> None:
    view = ship.world.ok(ship.world.http.get(f"/v1/runs/{chain['run']}/view", headers=ship.box.headers))
    assert [step["name"] for step in view["timeline"]["items"]] == ["plan", "make"]
    assert (view["timeline"]["total"], view["timeline"]["open"]) == (2, 0)
    diff = view["diff"]
    assert [(f["path"], f["status"], f["added"]) for f in diff["files"]] == [("made.txt", "added", 1)]
    assert "+made\n" in diff["text"]
    assert view["provenance"]["base_sha"]
    assert view["provenance"]["ledger"]["from_seq"] < view["provenance"]["ledger"]["to_seq"]
    assert view["gates"] == []
    assert view["failed"] == []
    assert view["last_event"] == 7
    first = ship.world.ok(
        ship.world.http.get(f"/v1/runs/{chain['run']}/view?limit=1", headers=ship.box.headers)
    )
    second = ship.world.ok(
        ship.world.http.get(
            f"/v1/runs/{chain['run']}/view?limit=1&cursor={first['timeline']['next_cursor']}",
            headers=ship.box.headers,
        )
    )
    assert [step["name"] for step in second["timeline"]["items"]] == ["make"]
    assert second["diff"] is None


def test_a_failed_step_stands_on_the_page(ship: Ship) -> None:
    run = ship.done('steps:\n  - {id: bad, run: "echo no; exit 3", retries: {max: 0}}\n')
    view = ship.world.ok(ship.world.http.get(f"/v1/runs/{run['id']}/view", headers=ship.box.headers))
    assert [(step["name"], step["reason"]) for step in view["failed"]] == [("bad", "exit")]


def test_a_log_whose_writer_died_is_read_to_its_end(ship: Ship, url: str, chain: dict[str, str]) -> None:
    state = project_state(ship.world.home, ship.world.org_id, ship.run(chain["run"])["project_id"])
    path = state / f"logs/{chain['run']}/make.1.log"
    before = path.read_bytes()
    Sink(path, again=True).write(before + b"half")  # never closed, and the attempt is over
    with listening(url, f"/v1/steps/{chain['make']}/logs", ship.box.token, follow="true") as ear:
        said = list(ear)
    assert said[-1].type == "end"
    path.with_name(path.name + ".end").touch()


def test_nothing_secret_is_in_a_log_however_it_was_printed(ship: Ship) -> None:
    value = "correct-horse-battery-42"
    body = {"key_name": "PASSPHRASE", "value": value}
    ship.world.ok(ship.world.as_owner("POST", "/v1/secrets", json=body), 201)
    run = ship.done(
        f"steps:\n  - id: leak\n    run: \"printf 'one {value[:9]}'; sleep 0.3; printf '{value[9:]} two '; "
        "printf 'bos_rt_'; sleep 0.3; printf '%043d' 7; echo; echo " + f"'{value}' | base64\"\n"
    )  # fmt: skip
    assert run["status"] == "succeeded", run
    text = str(_log(ship, ship.steps(run)["leak"]["id"])["text"])
    assert text.startswith("one [secret removed] two [BuilderOS token removed]\n")
    assert "Y29ycmVjdC1ob3JzZS" not in text
    files = [
        path for path in ship.world.home.glob("projects/**/*") if path.is_file() and run["id"] in str(path)
    ]
    assert files
    assert not any(value.encode() in path.read_bytes() for path in files if "/logs/" in str(path))


def test_a_listener_that_was_cut_off_misses_nothing(ship: Ship, url: str) -> None:
    run_id = ship.start(ship.pipeline(SLOW))
    with listening(url, f"/v1/runs/{run_id}/events", ship.box.token) as ear:
        events = iter(ear)
        heard = [next(events)]
        with psycopg.connect(ship.database.superuser_conninfo, autocommit=True) as conn:
            until = time.monotonic() + 120
            while not conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = 'builderos-listening' and datname = current_database()"
            ).fetchall():
                assert time.monotonic() < until
        ship.let_go(run_id, "slow")
        heard += list(events)
    assert [said.id for said in heard] == [str(n + 1) for n in range(len(heard))]
    assert heard[-1].type == "run.ended"


def test_a_page_tells_what_a_run_waits_for(ship: Ship) -> None:
    run_id = ship.start(
        ship.pipeline("steps:\n  - {id: ask, question: {message: Which colour?, choices: [red, blue]}}\n")
    )
    ship.until(run_id, "waiting_input")
    view = ship.world.ok(ship.world.http.get(f"/v1/runs/{run_id}/view", headers=ship.box.headers))
    gate = view["gates"][0]
    assert (gate["kind"], gate["name"], gate["state"]) == ("question", "ask", "waiting")
    assert gate["question"]["message"] == "Which colour?"
    assert [step["name"] for step in view["now"]] == ["ask"]
    answer = {"answer": "blue"}
    ship.world.ok(ship.world.http.post(f"/v1/runs/{run_id}/answer", json=answer, headers=ship.box.headers))
    assert ship.until(run_id)["status"] == "succeeded"
    view = ship.world.ok(ship.world.http.get(f"/v1/runs/{run_id}/view", headers=ship.box.headers))
    assert view["gates"] == []
