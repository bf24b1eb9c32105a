"""Questions of runs come to whoever may answer them, and to nobody else."""

from collections.abc import Iterator

import pytest

from tests.support.databases import Databases
from tests.support.runs import Ship, ship_in_temp

ASK = """
steps:
  - {id: ask, question: {message: %s, choices: [red, blue]}}
"""


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        yield made


def inbox(ship: Ship, token: str, query: str = "") -> list[dict[str, object]]:
    reply = ship.world.http.get(f"/v1/inbox{query}", headers={"authorization": f"Bearer {token}"})
    return list(ship.world.ok(reply)["items"])


def asked(ship: Ship, message: str) -> str:
    run_id = ship.start(ship.pipeline(ASK % message))
    ship.until(run_id, "waiting_input")
    return run_id


def test_a_question_stands_in_the_inbox_until_it_is_answered(ship: Ship) -> None:
    run_id = asked(ship, "Which colour?")
    owner = ship.world.owner_token
    (item,) = [one for one in inbox(ship, owner, "?kind=question") if one["object"] == run_id]
    assert (item["title"], item["kind"], item["read"]) == ("Which colour?", "question", False)
    assert item in inbox(ship, owner)
    assert item not in inbox(ship, owner, "?kind=approval")
    ship.world.ok(ship.world.as_owner("POST", "/v1/inbox/read", json={"items": [item["id"]]}))
    assert run_id not in [one["object"] for one in inbox(ship, owner, "?unread=true")]
    ship.world.ok(ship.world.as_owner("POST", f"/v1/runs/{run_id}/answer", json={"answer": "red"}))
    assert run_id not in [one["object"] for one in inbox(ship, owner)]
    refused = ship.world.as_owner("POST", "/v1/inbox/read", json={"items": [item["id"]]})
    ship.world.problem(refused, "not_found")


def test_questions_come_page_by_page_newest_first(ship: Ship) -> None:
    runs = [asked(ship, f"Question {number}?") for number in range(3)]
    owner = ship.world.owner_token
    seen: list[object] = []
    cursor = ""
    for _ in range(len(runs)):
        reply = ship.world.ok(ship.world.as_owner("GET", f"/v1/inbox?kind=question&limit=1{cursor}"))
        seen += [one["object"] for one in reply["items"]]
        cursor = f"&cursor={reply['next_cursor']}"
    assert seen == runs[::-1]
    assert [one["object"] for one in inbox(ship, owner, "?kind=question")][:3] == runs[::-1]


def test_who_may_not_answer_is_not_asked(ship: Ship) -> None:
    run_id = asked(ship, "Only for some?")
    created = ship.world.as_owner("POST", "/v1/api-keys", json={"label": "reader", "scopes": ["read"]})
    reader = ship.world.ok(created)["api_key"]
    reply = ship.world.http.get("/v1/inbox", headers={"authorization": f"Bearer {reader}"})
    assert reply.status_code == 403 or run_id not in [one["object"] for one in reply.json()["items"]]
