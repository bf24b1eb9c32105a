"""One reply for all that happens: whoever may see it gets it once, and in whatever order transactions end."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from builderos.core.actor import system_actor
from builderos.core.unit import Unit, as_system
from builderos.execution.runs import events
from builderos.workloads.stream import hub, reading, topics
from tests.support.databases import Databases
from tests.support.live import served
from tests.support.servers import until
from tests.support.sse import Said, listening
from tests.support.world import Json, Sandbox, World, world_in_temp


@pytest.fixture(scope="module")
def database(databases: Databases) -> Iterator[Any]:
    with databases.fresh() as made:
        yield made


@pytest.fixture(scope="module")
def world(database: Any) -> Iterator[World]:
    with world_in_temp(database) as made:
        yield made


@pytest.fixture(scope="module")
def url(world: World) -> Iterator[str]:
    with served(world) as address:
        yield address


@pytest.fixture(scope="module")
def box(world: World) -> Sandbox:
    return world.open_sandbox()


@dataclass
class Listener:
    """A client that keeps what it is told."""

    said: list[Said] = field(default_factory=list[Said])
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def items(self) -> list[Json]:
        return [item for said in self.said if said.type == "events" for item in said.data["items"]]

    @property
    def last(self) -> str:
        return self.said[-1].id

    def until(self, *types: str) -> list[Json]:
        """All items, once these types are among them."""
        until(lambda: set(types) <= {item["type"] for item in self.items})
        return self.items


@contextmanager
def following(url: str, token: str, topics: str, last: str | None = None) -> Iterator[Listener]:
    listener = Listener()
    with ExitStack() as stack:
        ear = stack.enter_context(listening(url, "/v1/stream", token, last, topics=topics))

        def hear() -> None:
            try:
                for said in ear:
                    listener.said.append(said)
            except (OSError, ValueError, AttributeError):
                return  # this end hung up
            finally:
                listener.ended.set()

        threading.Thread(target=hear, daemon=True).start()
        until(lambda: bool(listener.said))
        assert listener.said[0].type == "ready"
        yield listener
        if ear.connection.sock is not None:
            ear.connection.sock.shutdown(2)


def _page(world: World, headers: Json, topics: str, cursor: str | None = None) -> Json:
    query = {"topics": topics, "stream": False} | ({"cursor": cursor} if cursor else {})
    return world.ok(world.http.get("/v1/stream", params=query, headers=headers))


def _add(world: World, run_id: str, type_: str = "run.started") -> None:
    as_system(
        world.context, world.org_id, lambda unit: events.add(unit, run_id, type_, {"status": "running"})
    )


def test_what_happens_is_told_with_topic_object_and_version(world: World, url: str, box: Sandbox) -> None:
    with following(url, world.owner_token, "commits,audit,run:run_x") as heard:
        # A run that nobody knows is no topic for anybody.
        assert heard.said[0].data == {
            "topics": ["commits", "audit"],
            "refused": ["run:run_x"],
            "resumed": False,
        }
        sha = box.commit({"told.txt": "1\n"})["commit_sha"]
        items = heard.until("commit")
    told = [item for item in items if item["object"] == sha]
    assert [item["topic"] for item in told] == ["commits", "audit"]
    assert {(item["type"], item["repo"], item["branch"]) for item in told} == {("commit", "lab", box.branch)}
    line = world.ok(world.as_owner("GET", "/v1/audit", params={"object": sha}))["items"][0]
    assert {item["version"] for item in told} == {line["seq"]}


def test_the_rooms_of_the_workbench_have_topics_of_their_own_and_a_sign_in_is_no_session(
    world: World, box: Sandbox
) -> None:
    rooms = "experiments,models,datasets,endpoints,sessions,apps"
    start = _page(world, world.owner, rooms)["next_cursor"]
    made = world.ok(world.as_owner("POST", "/v1/experiments", json={"name": "told"}))["id"]
    world.ok(world.as_owner("POST", "/v1/models", json={"name": "told"}))
    _add(world, "nbs_x", "session.idle")
    _add(world, "app_x", "app.live")
    items = _page(world, world.owner, rooms, start)["items"]
    told = [(item["topic"], item["type"]) for item in items]
    assert sorted(told) == [
        ("apps", "app.live"), ("experiments", "experiment.created"), ("models", "model.registered"),
        ("sessions", "session.idle"),
    ]  # fmt: skip
    assert made in {item["object"] for item in items}
    assert {item["data"] for item in items} == {None}
    signed_in = {"type": "session.ended", "object": "ses_x", "at": "", "payload": {}}
    happened = topics.of_line(world.org_id, 1, signed_in)
    assert happened is not None
    assert happened.topics == {"audit"}
    refused = world.http.get("/v1/stream", params={"topics": rooms, "stream": False}, headers=box.headers)
    world.problem(refused, "policy_denied")


def test_who_comes_back_gets_every_act_once_wherever_it_was_cut_off(
    world: World, url: str, box: Sandbox
) -> None:
    with following(url, world.owner_token, "commits,runs") as heard:
        shas = []
        for n in range(6):
            shas.append(box.commit({"cut.txt": f"{n}\n"})["commit_sha"])
            _add(world, f"run_cut{n}")
            until(lambda: len(heard.items) >= 2 * len(shas))
        whole = list(heard.said)
    ids = [item["id"] for item in heard.items]
    assert [i["object"] for i in heard.items if i["topic"] == "commits"] == shas
    for at, said in enumerate(whole):
        missed = [
            item["id"] for later in whole[at + 1 :] if later.type == "events" for item in later.data["items"]
        ]
        with following(url, world.owner_token, "commits,runs", said.id) as again:
            assert again.said[0].data["resumed"] is True
            expected = sorted(missed)
            until(lambda wanted=expected, heard=again: sorted(i["id"] for i in heard.items) == wanted)
    assert len(ids) == len(set(ids)) == 12


def test_events_whose_transactions_end_out_of_order_are_neither_lost_nor_doubled(
    world: World, database: Any
) -> None:
    """The younger transaction ends first, is told, and the older one is told behind it."""
    begun, go = threading.Event(), threading.Event()

    def slow(unit: Unit) -> None:
        events.add(unit, "run_slow", "run.started", {})
        unit.ask("pg_current_xact_id")  # what was sent is done by now
        begun.set()
        assert go.wait(60)

    older = threading.Thread(target=lambda: as_system(world.context, world.org_id, slow), daemon=True)
    start = _page(world, world.owner, "runs")["next_cursor"]
    older.start()
    assert begun.wait(60)
    _add(world, "run_quick")
    first = _page(world, world.owner, "runs", start)
    assert [item["object"] for item in first["items"]] == ["run_quick"]
    go.set()
    older.join(60)
    second = _page(world, world.owner, "runs", first["next_cursor"])
    assert [item["object"] for item in second["items"]] == ["run_slow"]
    assert _page(world, world.owner, "runs", second["next_cursor"])["items"] == []


def test_a_workspace_gets_events_of_its_own_branch_alone(world: World, url: str, box: Sandbox) -> None:
    other = world.open_sandbox()
    with following(url, box.token, "commits,sandboxes,alerts,audit,prompts") as heard:
        assert heard.said[0].data["refused"] == ["alerts", "audit"]
        other.commit({"theirs.txt": "1\n"})
        mine = box.commit({"mine.txt": "1\n"})["commit_sha"]
        items = heard.until("commit")
    assert [item["object"] for item in items] == [mine]


def test_what_nobody_may_see_is_refused_and_what_there_is_not_is_named(world: World, box: Sandbox) -> None:
    get = world.http.get
    world.problem(get("/v1/stream", params={"topics": "alerts,audit"}, headers=box.headers), "policy_denied")
    wrong = get("/v1/stream", params={"topics": "runs,nonsense"}, headers=world.owner)
    assert "approvals" in world.problem(wrong, "validation_failed")["hint"]
    for place in ("1", "1.2", "1.9:3:", "1.1:5:4,4", "1.1:5:7", "1.0:5:", "x", "1.1:5:2; drop table"):
        query = {"topics": "runs", "stream": False, "cursor": place}
        world.problem(get("/v1/stream", params=query, headers=world.owner), "validation_failed")


def test_a_place_that_the_server_was_never_at_means_look_again(world: World, url: str) -> None:
    with following(url, world.owner_token, "runs,commits", "999999999.1:99999999999:") as heard:
        until(lambda: len(heard.said) >= 2)
    assert heard.said[0].data["resumed"] is False
    assert (heard.said[1].type, heard.said[1].data["topics"]) == ("refetch", ["runs", "commits"])


def test_more_than_anybody_is_told_one_by_one_means_look_again(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST", 3)
    with following(url, world.owner_token, "runs") as heard:

        def many(unit: Unit) -> None:
            for n in range(5):
                events.add(unit, f"run_many{n}", "run.started", {})

        as_system(world.context, world.org_id, many)
        until(lambda: heard.said[-1].type == "refetch")
        _add(world, "run_behind")
        assert [item["object"] for item in heard.until("run.started")] == ["run_behind"]


def test_a_revoked_credential_is_cut_and_others_go_on(world: World, url: str) -> None:
    made = world.ok(world.as_owner("POST", "/v1/api-keys", json={"label": "r", "scopes": ["read"]}), 201)
    with (
        following(url, made["api_key"], "commits") as cut,
        following(url, world.owner_token, "commits") as stays,
    ):
        world.ok(world.as_owner("DELETE", f"/v1/api-keys/{made['id']}"))
        assert cut.ended.wait(60)
        assert not stays.ended.is_set()
        world.open_sandbox().commit({"after.txt": "1\n"})
        stays.until("commit")
    assert cut.items == []


def test_a_slow_client_is_told_to_look_again_instead_of_being_remembered_for(world: World) -> None:
    place = hub.Place(1, "1:2:")
    client = hub.Client(system_actor(world.org_id), None, hub.View((), None), [], None)
    for _ in range(200):
        client.give(b"id: 1\n\n", place)
    assert len(client.out) < 100
    assert any(b"event: refetch" in frame for frame in client.out)


def test_what_nobody_tells_of_is_found_all_the_same(
    world: World, url: str, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word may be lost with the process that was to say it: the reader looks from time to time."""
    monkeypatch.setattr(hub, "_LOOK_S", 0.05)
    with following(url, world.owner_token, "runs") as heard:
        with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
            connection.execute(
                "insert into ops.run_events values (%s, 'run_elsewhere', 1, now(), 'run.started', '{}')",
                (world.org_id,),
            )
        assert [item["object"] for item in heard.until("run.started")] == ["run_elsewhere"]
