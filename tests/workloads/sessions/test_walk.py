"""A notebook from its start to its end: a cell through the door, files on the branch, a second start."""

import asyncio
import json
from typing import Any

from builderos.execution.runs import service as runs
from builderos.workloads.sessions import following
from builderos.workloads.sessions.service import Keeper
from tests.support.notebooks import Desk, cell
from tests.support.servers import until


def told(text: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Number, type and data of the events of a stream."""
    found: list[tuple[str, str, dict[str, Any]]] = []
    for block in text.split("\n\n"):
        members = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "data" in members:
            found.append((members.get("id", ""), members["event"], json.loads(members["data"])))
    return found


def stream(desk: Desk, path: str, **headers: str) -> list[tuple[str, str, dict[str, Any]]]:
    """All of a stream that ends by itself."""
    reply = desk.ship.world.http.get(path, headers=desk.ship.box.headers | headers)
    assert reply.headers["content-type"].startswith("text/event-stream"), reply.text
    return told(reply.text)


def test_a_notebook_runs_a_cell_through_the_door_and_its_files_come_to_the_branch(desk: Desk) -> None:
    desk.ship.box.commit({"data.txt": "42\n"})
    made = desk.start()
    assert made["kind"] == "notebook"
    assert made["url"]
    assert made["starts"] == 1
    code = "text = open('data.txt').read()\nopen('made.txt', 'w').write('made of ' + text)\nprint(text)"
    assert cell(desk, made["id"], code) == "42\n\n"
    desk.post(f"/v1/sessions/{made['id']}/stop")
    ended = desk.until(made["id"], "stopped")
    assert (ended["reason"], ended["url"]) == ("asked", None)
    assert ended["checkpoint"]["files"] == 1
    assert ended["usage"]["cpu_s"] > 0
    assert desk.file("made.txt") == "made of 42\n"
    desk.post(f"/v1/sessions/{made['id']}/restart", 202)
    again = desk.until(made["id"], "running", "idle")
    assert again["starts"] == 2
    assert cell(desk, made["id"], "print(open('made.txt').read())") == "made of 42\n\n"
    desk.post(f"/v1/sessions/{made['id']}/stop")
    desk.until(made["id"], "stopped")
    where = f"/v1/sessions/{made['id']}"
    happened = stream(desk, f"{where}/events")
    assert [type_ for _, type_, _ in happened[:2]] == ["session.starting", "session.running"]
    assert happened[-1][1:] == ("session.stopped", happened[-1][2])
    assert happened[-1][2]["session_id"] == made["id"]
    assert [int(number) for number, _, _ in happened] == list(range(1, len(happened) + 1))
    behind = {"Last-Event-ID": happened[-2][0]}
    assert stream(desk, f"{where}/events", **behind) == happened[-1:]
    page = desk.get(f"{where}/events?stream=false&limit=2")
    assert [item["seq"] for item in page["items"]] == [1, 2]
    assert page["next_cursor"]
    printed = stream(desk, f"{where}/logs?follow=true")
    assert "".join(data.get("text", "") for _, _, data in printed) == desk.log(made["id"])
    assert printed[-1][1] == "end"
    wrong = desk.ship.world.http.get(
        f"{where}/events", headers=desk.ship.box.headers | {"Last-Event-ID": "x"}
    )
    desk.ship.world.problem(wrong, "validation_failed")


def test_who_follows_a_session_is_told_what_it_uses_and_that_it_ends(desk: Desk) -> None:
    made = desk.start(kind="shell")
    context, org_id = desk.ship.context, desk.ship.world.org_id
    until(lambda: context.get(Keeper).meter(made["id"]) is not None)

    async def followed() -> list[tuple[str, str, dict[str, Any]]]:
        found: list[tuple[str, str, dict[str, Any]]] = []
        frames = following.frames(
            runs.Followers(context), context.get(Keeper), org_id, made["id"], 0, over=False
        )
        async for frame in frames:
            if not found:
                await asyncio.to_thread(desk.post, f"/v1/sessions/{made['id']}/stop")
            found += told(frame.decode())
        return found

    found = asyncio.run(followed())
    number, first, used = found[0]
    assert (number, first) == ("", "session.resources")
    assert 0 < used["memory"] < used["memory_limit"]
    assert used["processes"] > 0
    assert found[-1][1] == "session.stopped"
