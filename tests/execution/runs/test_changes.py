"""What a run changed, page by page; and logs with their colours, for pages that show them."""

from collections.abc import Iterator

import pytest

from tests.support.databases import Databases
from tests.support.runs import Ship, ship_in_temp
from tests.support.world import Json

STEPS = """steps:
  - {id: some, run: "mkdir d; for i in 1 2 3; do seq 2 > d/f$i; done"}
  - {id: more, needs: [some], run: "echo new > d/f4; printf '\\\\033[31mred\\\\033[0m\\\\033[2J end'"}
"""


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        yield made


@pytest.fixture(scope="module")
def run(ship: Ship) -> Json:
    return ship.done(STEPS)


def _diff(ship: Ship, run: Json, **query: str | int) -> Json:
    got = ship.world.http.get(f"/v1/runs/{run['id']}/diff", params=query, headers=ship.box.headers)
    return ship.world.ok(got)


def test_all_pages_together_are_every_file_once(ship: Ship, run: Json) -> None:
    paths: list[str] = []
    cursor = ""
    while True:
        page = _diff(ship, run, limit=3, **({"cursor": cursor} if cursor else {}))
        assert page["files_total"] == 4
        paths += [file["path"] for file in page["files"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert paths == ["d/f1", "d/f2", "d/f3", "d/f4"]
    assert "+2\n" in page["files"][-1]["text"] or "+new\n" in page["files"][-1]["text"]


def test_a_step_shows_only_what_it_changed_itself(ship: Ship, run: Json) -> None:
    assert [file["path"] for file in _diff(ship, run, step="more")["files"]] == ["d/f4"]
    missing = ship.world.http.get(
        f"/v1/runs/{run['id']}/diff", params={"step": "no"}, headers=ship.box.headers
    )
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


def test_of_commands_to_terminals_colours_stay_where_they_are_asked_for(ship: Ship, run: Json) -> None:
    path = f"/v1/steps/{ship.steps(run)['more']['id']}/logs"
    plain = ship.world.ok(ship.world.http.get(path, headers=ship.box.headers))
    assert plain["text"] == "red end"
    coloured = ship.world.ok(ship.world.http.get(path, params={"colours": "true"}, headers=ship.box.headers))
    assert coloured["text"] == "\x1b[31mred\x1b[0m end"
