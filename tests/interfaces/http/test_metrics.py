"""`/metrics`: what it counts, who may read it, and that nothing of a caller becomes a label."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from builderos.core.database import Database
from builderos.core.metrics import Metrics
from builderos.core.problems import STATUS
from builderos.interfaces.http.metrics import KEPT_S, Surroundings
from tests.support.databases import Databases, FreshDatabase
from tests.support.ports import live
from tests.support.world import World, world_in_temp

HERE = ("127.0.0.1", 50000)
TOKEN = "a token of the metrics"


@dataclass
class Numbers:
    """One reading."""

    text: str

    def get(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name with these labels."""
        found = [
            sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(found)

    def labels(self) -> set[tuple[str, str]]:
        """Every label with every value."""
        return {
            pair
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
            for pair in sample.labels.items()
        }


def scraper(world: World, peer: tuple[str, int] = HERE) -> TestClient:
    """A client at an address of its own, in the world's event loop."""
    client = TestClient(world.asgi, base_url="http://127.0.0.1", raise_server_exceptions=False, client=peer)
    client.portal = world.http.portal
    return client


def read(world: World) -> Numbers:
    """What stands at `/metrics` now."""
    response = scraper(world).get("/metrics")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return Numbers(response.text)


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database) as made:
        yield made


def test_a_commit_is_counted_as_request_as_call_and_as_move_of_a_branch(world: World) -> None:
    before = read(world)
    sandbox = world.open_sandbox()
    sandbox.commit({"a.txt": "1\n"})
    sandbox.commit({"a.txt": "2\n"})
    after = read(world)

    def grown(name: str, **labels: str) -> float:
        return after.get(name, **labels) - before.get(name, **labels)

    assert grown("builderos_http_requests_total", operation="commit_and_log", status="200") == 2
    assert grown("builderos_http_request_seconds_count", operation="commit_and_log") == 2
    assert 0 < grown("builderos_http_request_seconds_sum", operation="commit_and_log") < 60
    assert grown("builderos_calls_total", operation="commit_and_log", door="http", outcome="ok") == 2
    assert grown("builderos_branch_moves_total", branch="sandbox") == 2
    assert grown("builderos_ledger_lines") in (0, 3)  # the database is asked once in a while
    assert after.get("builderos_http_requests_in_progress") == 1  # this reading itself


def test_a_refused_call_is_counted_under_its_code(world: World) -> None:
    sandbox = world.open_sandbox()
    before = read(world)
    world.problem(sandbox.try_post("/commit_and_log_output", branch="main", file_path="a", content="b", message="m"),
                  "protected_branch")  # fmt: skip
    after = read(world)
    assert after.get("builderos_calls_total", outcome="protected_branch") == 1 + before.get(
        "builderos_calls_total", outcome="protected_branch"
    )


def test_calls_over_mcp_are_counted_at_their_door(world: World) -> None:
    headers = {**world.owner, "accept": "application/json, text/event-stream"}
    body = {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "listActions", "arguments": {}},
    }  # fmt: skip
    with live(world.asgi) as url:
        assert httpx.post(f"{url}/mcp", json=body, headers=headers).status_code == 200
    assert read(world).get("builderos_calls_total", operation="listActions", door="mcp", outcome="ok") == 1


def test_a_breached_limit_is_counted_by_its_name(database: FreshDatabase) -> None:
    with world_in_temp(database, rate_per_token=3) as world:
        sandbox = world.open_sandbox()
        for _ in range(5):
            sandbox.try_post("/git/log")
        git = scraper(world).get("/git/lab.git/info/refs?service=git-upload-pack", headers=sandbox.headers)
        assert git.status_code == 429
        numbers = read(world)
        assert numbers.get("builderos_limit_refusals_total", limit="per_token") == 3
        assert numbers.get("builderos_http_requests_total", operation="git-refs", status="429") == 1


def test_what_the_database_counts_is_there(database: FreshDatabase) -> None:
    with world_in_temp(database) as world:
        world.open_sandbox().commit({"a.txt": "1\n"})
        world.open_sandbox()
        numbers = read(world)
    assert numbers.get("builderos_database_up") == 1
    assert numbers.get("builderos_sandboxes", state="active") == 2
    assert numbers.get("builderos_repositories") == 1
    assert numbers.get("builderos_organisations") >= 1
    assert numbers.get("builderos_journal_rows") >= 1
    assert 0 <= numbers.get("builderos_journal_age_seconds") < 600
    assert numbers.get("builderos_ledger_lines") == numbers.get("builderos_ledger_unsigned_lines") > 3
    assert numbers.get("builderos_ledger_unsigned_seconds") > 0
    assert numbers.get("builderos_disk_bytes", state="free") > 0
    assert numbers.get("builderos_database_connections") > 0
    assert numbers.get("builderos_database_connections_limit") > 0
    assert numbers.get("process_resident_memory_bytes") > 0
    assert numbers.get("builderos_build_info") == 1


def test_messages_that_wait_and_how_long_are_there(database: FreshDatabase) -> None:
    import psycopg

    with world_in_temp(database) as world:
        with psycopg.connect(database.superuser_conninfo) as connection:
            connection.execute(
                "insert into ops.outbox (org_id, kind, key, payload, created_at, next_at, attempts) values"
                " (%(org)s, 'x', 'a', '{}', now(), now() - interval '90 s', 0),"
                " (%(org)s, 'x', 'b', '{}', now(), now() + interval '90 s', 2)",
                {"org": world.org_id},
            )
        numbers = read(world)
    assert numbers.get("builderos_outbox_messages", state="due") == 1
    assert numbers.get("builderos_outbox_messages", state="failing") == 1
    assert 90 <= numbers.get("builderos_outbox_lag_seconds") < 600


def test_no_label_holds_anything_that_a_caller_chose(world: World) -> None:
    sandbox = world.open_sandbox()
    sandbox.commit({"canary-file.txt": "1\n"})
    client = scraper(world)
    for path in (
        "/canary-path",
        "/v1/sandboxes/canary-name",
        "/git/canary-repo.git/info/refs",
        "/v1/%0acanary",
    ):
        client.get(path, headers={"x-request-id": "canary-request", "user-agent": "canary-agent"})
    client.request("CANARY", "/git/log")
    client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                              "params": {"name": "canary-tool", "arguments": {}}}, headers=world.owner)  # fmt: skip
    numbers = read(world)
    assert numbers.get("builderos_http_requests_total", operation="unmatched", status="404") >= 1
    for name, value in numbers.labels():
        assert "canary" not in value.lower()
        assert not re.search(r"(?:sandbox-\w+-|bos_|_[0-9A-Z]{26}|[0-9a-f]{40})", value), (name, value)
        if name == "status":
            assert int(value) in {200, 201, 202, 204, 302, 303, *STATUS.values()}
    assert len(numbers.labels()) < 400


def test_the_number_of_named_limits_is_bounded() -> None:
    from builderos.core.problems import Problem

    metrics = Metrics()
    for number in range(200):
        metrics.refused(Problem("quota_exceeded", "x", name=f"limit {number}"))
    assert metrics.exposition().count(b"builderos_limit_refusals_total{") <= 51


def test_a_caller_on_this_machine_may_read_without_a_token(world: World) -> None:
    assert scraper(world).get("/metrics").status_code == 200
    assert scraper(world, ("::1", 1)).get("/metrics").status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_a_caller_behind_a_proxy_on_this_machine_may_not(world: World, header: str) -> None:
    world.problem(scraper(world).get("/metrics", headers={header: "198.51.100.7"}), "not_found")


def test_a_caller_from_elsewhere_may_not(world: World) -> None:
    client = scraper(world, ("198.51.100.7", 1))
    world.problem(client.get("/metrics"), "not_found")
    world.problem(client.get("/metrics", headers=world.owner), "not_found")


@pytest.mark.parametrize("settings", [{"proxies": 1}, {"public_url": "https://build.example"}])
def test_where_a_proxy_is_configured_nobody_may_without_a_token(
    database: FreshDatabase, settings: dict
) -> None:
    with world_in_temp(database, **settings) as world:
        world.problem(scraper(world).get("/metrics"), "not_found")


def test_with_a_token_nobody_may_without_it(database: FreshDatabase) -> None:
    with world_in_temp(database, metrics_token=TOKEN, rate_invalid_tokens=3) as world:
        client = scraper(world)
        world.problem(client.get("/metrics"), "unauthenticated")
        world.problem(client.get("/metrics", headers=world.owner), "token_invalid")
        world.problem(
            client.get("/metrics", headers={"Authorization": "Bearer w\u00f6rong".encode()}), "token_invalid"
        )
        far = scraper(world, ("198.51.100.7", 1))
        assert far.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        for _ in range(3):
            last = client.get("/metrics", headers=world.owner)
        world.problem(last, "rate_limited")


def test_without_the_database_the_rest_is_still_there(
    database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    from builderos.core.problems import Problem

    def away(*_: object) -> None:
        raise Problem("unavailable", "the database did not answer")

    with world_in_temp(database) as world:
        monkeypatch.setattr(Database, "connection", away)
        numbers = read(world)
    assert "builderos_database_up 0.0" in numbers.text
    assert numbers.get("builderos_http_requests_total") > 0
    assert numbers.get("builderos_disk_bytes", state="free") > 0


def test_many_readers_ask_the_database_once(database: FreshDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    from builderos.interfaces.http import metrics as door

    asked: list[int] = []
    real = door.numbers
    monkeypatch.setattr(door, "numbers", lambda found: asked.append(1) or real(found))
    with world_in_temp(database) as world:
        surroundings = Surroundings(world.context)
        for _ in range(5):
            list(surroundings.collect())
        assert len(asked) == 1
        surroundings._read_at -= KEPT_S
        list(surroundings.collect())
        assert len(asked) == 2
