"""Comments on lines that a run changed reach its agent, all together and each once."""

from typing import Any

from tests.support.models import Json, Scripted, say, use
from tests.support.runs import Ship
from tests.support.servers import until

ONE = """
steps:
  - {id: build, agent: builder, title: Work}
"""
ITEMS = [
    {"path": "src/a.py", "line": 3, "snippet": "x = eval(text)", "body": "Parse it instead."},
    {"path": "src/b.py", "side": "old", "line": 1, "body": "Why was this taken out?"},
]


def _comment(ship: Ship, run_id: str, items: list[Json]) -> Json:
    path = f"/v1/runs/{run_id}/comments"
    return ship.world.ok(ship.world.http.post(path, json={"items": items}, headers=ship.box.headers))


def _comments(ship: Ship, run_id: str, **query: Any) -> Json:
    path = f"/v1/runs/{run_id}/comments"
    return ship.world.ok(ship.world.http.get(path, params=query, headers=ship.box.headers))


def _told(request: Json) -> list[str]:
    """What people said, of all that the model was sent."""
    return [m["content"] for m in request["messages"] if m["role"] == "user"][1:]


def test_a_working_agent_hears_all_comments_in_one_message(ship: Ship, model: Scripted) -> None:
    commented: list[bool] = []
    model.held = lambda turn: turn.number != 1 or bool(commented)
    model.lines["builder"] = [use(("list_files", {})), say("Done.")]
    run_id = ship.start(ship.pipeline(ONE))
    until(lambda: bool(model.asked))
    said = _comment(ship, run_id, ITEMS)
    commented.append(True)
    assert said["step_id"] == model.asked[0][0].step_id
    assert ship.until(run_id)["status"] == "succeeded"
    first, second = model.requests("builder")
    assert _told(first) == []
    (told,) = _told(second)
    assert told.startswith("Comments on lines of what this run changed (2).")
    assert "src/a.py:3, " in told
    assert "\n> x = eval(text)\nParse it instead." in told
    assert "src/b.py:1 (as it was before), " in told
    assert {one["step_id"] for one in _comments(ship, run_id)["items"]} == {said["step_id"]}


def test_without_an_agent_at_work_the_one_that_does_it_again_hears_them(ship: Ship, model: Scripted) -> None:
    model.held = lambda turn: True
    model.lines["builder"] = [say("Done."), say("Done again."), say("And again.")]
    run_id = ship.start(ship.pipeline(ONE))
    assert ship.until(run_id)["status"] == "succeeded"
    said = _comment(ship, run_id, ITEMS)
    assert said["step_id"] is None
    assert [one["told_at"] for one in said["items"]] == [None, None]
    page = _comments(ship, run_id, limit=1)
    rest = _comments(ship, run_id, limit=1, cursor=page["next_cursor"])
    assert [one["path"] for one in page["items"] + rest["items"]] == ["src/a.py", "src/b.py"]
    for times in (1, 0):  # who does it once more has nothing new to hear
        again = ship.world.http.post(f"/v1/runs/{run_id}/rerun", json={}, headers=ship.box.headers)
        next_id = ship.world.ok(again, 202)["run_id"]
        assert ship.until(next_id)["status"] == "succeeded"
        assert len(_told(model.requests("builder")[-1])) == times
    assert all(one["told_at"] for one in _comments(ship, run_id)["items"])


def test_a_neighbour_neither_comments_nor_reads(ship: Ship, model: Scripted) -> None:
    model.held = lambda turn: True
    model.lines["builder"] = [say("Done.")]
    run_id = ship.start(ship.pipeline(ONE))
    assert ship.until(run_id)["status"] == "succeeded"
    other = ship.world.open_sandbox()
    path = f"/v1/runs/{run_id}/comments"
    ship.world.problem(ship.world.http.get(path, headers=other.headers), "not_found")
    ship.world.problem(ship.world.http.post(path, json={"items": ITEMS}, headers=other.headers), "not_found")
    assert _comments(ship, run_id)["items"] == []
