"""A pipeline from the door to the branch: two lanes of commands beside each other, merged, and committed."""

from collections.abc import Iterator

import pytest

from tests.support.databases import Databases
from tests.support.runs import Ship, ship_in_temp

TWO_LANES = """
steps:
  - {id: plan, run: "echo planned > plan.txt; cat README.md"}
  - {id: api, needs: [plan], lane: a, run: "mkdir -p src; cat plan.txt > src/api.txt; echo api >> src/api.txt"}
  - {id: docs, needs: [plan], lane: b, run: "mkdir -p docs; cat plan.txt > docs/index.txt"}
  - {id: save, needs: [api, docs], action: git.commit, inputs: {message: Build it}}
"""


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        yield made


def test_two_lanes_of_commands_end_in_one_commit_on_the_branch(ship: Ship) -> None:
    run = ship.done(TWO_LANES)
    assert run["status"] == "succeeded", run
    assert ship.statuses(run) == dict.fromkeys(("plan", "api", "docs", "save"), "succeeded")
    save = ship.steps(run)["save"]
    assert run["provenance"]["commits"] == [save["commit_sha"]]
    files = ship.box.post(
        "/system/fetch_files", mode="batch", paths=["plan.txt", "src/api.txt", "docs/index.txt"]
    )
    assert {file["path"]: file["content"] for file in files["files"]} == {
        "plan.txt": "planned\n", "src/api.txt": "planned\napi\n", "docs/index.txt": "planned\n",
    }  # fmt: skip


def test_all_output_that_is_not_kept_is_counted(ship: Ship) -> None:
    kept, printed = 64 * 1024 * 1024, 70_000_000
    run = ship.done(f"steps:\n  - {{id: loud, run: 'head -c {printed} /dev/zero'}}")
    step = ship.steps(run)["loud"]["id"]
    log = ship.world.ok(ship.world.http.get(f"/v1/steps/{step}/logs?tail=1", headers=ship.box.headers))
    assert log["text"].endswith(f"[truncated: {kept} of {printed} bytes are kept]\n")
    assert log["dropped"] == printed - kept


def test_a_list_of_runs_shows_them_in_few_words_and_counts_them(ship: Ship) -> None:
    ship.done(TWO_LANES)
    failed = ship.done("steps:\n  - {id: bad, run: exit 3}")
    asks = ship.start(ship.pipeline("steps:\n  - {id: ask, question: Well?}"))
    ship.until(asks, "waiting_input")
    page = ship.world.ok(
        ship.world.http.get("/v1/runs?brief=true&counts=true&limit=200", headers=ship.box.headers)
    )
    rows = {row["id"]: row for row in page["items"]}
    assert rows[failed["id"]]["steps"] == {"total": 1, "failed": 1, "open": 0}
    assert [span["status"] for span in rows[failed["id"]]["spans"]] == ["failed"]
    assert rows[asks]["steps"]["open"] == 1
    assert page["counts"]["failed"] == sum(row["status"] == "failed" for row in rows.values())
    assert sum(page["counts"].values()) == len(rows)
    still = ship.world.ok(ship.world.http.get("/v1/runs?open=true", headers=ship.box.headers))
    assert ([row["id"] for row in still["items"]], still["counts"]) == ([asks], None)
    assert still["items"][0]["spans"] is None
    may = ship.world.ok(ship.world.as_owner("GET", "/v1/me/permissions", params={"object": asks}))
    assert "run.answer" in {one["action"] for one in may["items"] if one["verdict"] == "allow"}
