"""How sessions end: by idleness of their kernels, by their limits, with their server; and what stays."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta

import aiohttp
import pytest

from builderos.core.clock import utcnow
from builderos.core.settings import Settings
from builderos.core.unit import as_system
from builderos.execution.compute import budgeting
from builderos.execution.runs import service as runs
from builderos.workloads.sessions import life
from builderos.workloads.sessions.service import Keeper
from tests.support.notebooks import QUICK, Desk, bearer, cell, kernel_at
from tests.support.servers import until
from tests.support.world import Json


def events(desk: Desk, id_: str) -> list[str]:
    """What happened in a session."""
    world = desk.ship.world
    found = as_system(world.context, world.org_id, lambda unit: runs.events.read(unit, id_), read_only=True)
    return [event.type for event in found]


class Clock:
    """The clock of those who look for idleness, and how often they did."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self.looks = 0

    def __call__(self) -> datetime:
        self.looks += 1
        return utcnow() + self.ahead

    def later(self) -> None:
        """An hour later, once it was looked at a few times."""
        self.ahead += timedelta(hours=1)
        seen = self.looks
        until(lambda: self.looks > seen + 5)


def test_a_busy_kernel_without_a_browser_goes_on_and_an_idle_one_with_an_open_page_is_stopped(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(life, "utcnow", clock := Clock())
    made = desk.start(idle_timeout=1800)
    files = next(desk.ship.world.home.glob(f"projects/*/*/sessions/{made['id']}/files"))
    wait = "import os, time\nopen('busy', 'w').close()\nwhile not os.path.exists('go'): time.sleep(0.05)"

    async def begin() -> None:
        async with aiohttp.ClientSession(headers=bearer(desk.token(made["id"]))) as http:
            kernel = await kernel_at(http, f"{desk.at}/s/{made['id']}/")
            await kernel.send(wait)
            until((files / "busy").exists)

    asyncio.run(begin())  # the browser is closed now
    clock.later()
    clock.later()
    assert desk.get(f"/v1/sessions/{made['id']}")["status"] == "running"

    async def watch() -> None:
        async with aiohttp.ClientSession(headers=bearer(desk.token(made["id"]))) as http:
            base = f"{desk.at}/s/{made['id']}/"
            async with http.get(f"{base}api/kernels") as reply:
                id_ = (await reply.json())[0]["id"]
            async with http.ws_connect(f"{base}api/kernels/{id_}/channels", max_msg_size=0) as line:
                (files / "go").touch()
                async with http.get(f"{base}api/kernels") as reply:
                    while (await reply.json())[0]["execution_state"] == "busy":
                        reply = await http.get(f"{base}api/kernels")  # noqa: PLW2901
                clock.ahead += timedelta(hours=1)
                while (await line.receive(timeout=300)).type is aiohttp.WSMsgType.TEXT:
                    pass  # the open page ends with the session

    asyncio.run(watch())
    assert desk.until(made["id"], "stopped")["reason"] == "idle"
    told = events(desk, made["id"])
    assert told[:2] == ["session.starting", "session.running"]
    assert told[-3:] == ["session.stopping", "session.checkpoint", "session.stopped"]


def test_a_command_in_a_shell_is_work_however_silent_and_a_shell_at_its_prompt_is_not(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = desk.start(kind="shell", idle_timeout=1800)
    files = next(desk.ship.world.home.glob(f"projects/*/*/sessions/{made['id']}/files"))

    async def type_in(text: str, name: str | None) -> str:
        async with aiohttp.ClientSession(headers=bearer(desk.token(made["id"]))) as http:
            base = f"{desk.at}/s/{made['id']}/"
            if name is None:
                async with http.post(f"{base}api/terminals") as reply:
                    name = str((await reply.json())["name"])
            async with http.ws_connect(f"{base}terminals/websocket/{name}") as line:
                await line.send_json(["stdin", text])
                if "touch" in text:
                    until((files / "begun").exists)
        return name

    shell = asyncio.run(type_in("stty -echo; touch begun; sleep 86400\n", None))
    until(lambda: (desk.get(f"/v1/sessions/{made['id']}")["resources"] or {}).get("processes", 0) > 2)
    used = desk.get(f"/v1/sessions/{made['id']}")["resources"]
    assert 0 < used["memory"] < used["memory_limit"] == 1 << 30
    assert used["cpu_s"] > 0
    monkeypatch.setattr(life, "utcnow", clock := Clock())
    clock.later()
    clock.later()
    assert desk.get(f"/v1/sessions/{made['id']}")["status"] == "running"
    asyncio.run(type_in("\x1a", shell))  # Ctrl-Z: what is stopped does no work

    def is_over() -> bool:
        clock.ahead += timedelta(hours=1)
        return bool(desk.get(f"/v1/sessions/{made['id']}")["ended_at"])

    until(is_over)
    ended = desk.get(f"/v1/sessions/{made['id']}")
    assert (ended["reason"], ended["resources"]) == ("idle", None)
    assert desk.file("begun") == ""


def test_what_others_commit_meanwhile_is_there_at_the_next_start_and_conflicts_stay_in_the_folder(
    desk: Desk,
) -> None:
    desk.ship.box.commit({"shared.txt": "one\n", "mine.txt": "one\n"})
    made = desk.start()
    cell(
        desk,
        made["id"],
        "open('mine.txt', 'w').write('by the session')\nopen('big', 'wb').write(b'x' * 2_000_000)",
    )
    desk.ship.box.commit({"shared.txt": "two\n", "mine.txt": "by somebody else\n", "fresh/new.txt": "new\n"})
    desk.post(f"/v1/sessions/{made['id']}/stop")
    ended = desk.until(made["id"], "stopped")
    assert ended["checkpoint"]["conflicts"] == ["mine.txt"]
    assert ended["checkpoint"]["large"] == ["big"]
    kept = desk.get(f"/v1/artifacts?run_id={made['id']}")["items"]
    assert [(item["path"], item["size"]) for item in kept] == [("big", 2_000_000)]
    desk.post(f"/v1/sessions/{made['id']}/restart", 202)
    desk.until(made["id"], "running", "idle")
    look = "for p in ('shared.txt', 'mine.txt', 'fresh/new.txt', 'big'): print(open(p).read()[:20].strip())"
    assert cell(desk, made["id"], look).split("\n")[:3] == ["two", "by the session", "new"]
    desk.post(f"/v1/sessions/{made['id']}/stop")
    desk.until(made["id"], "stopped")


def test_a_notebook_that_fills_its_disk_is_ended_and_says_so(desk: Desk) -> None:
    made = desk.start()
    fill = "import os\nfor n in range(40):\n    fd = os.open(f'f{n}', os.O_CREAT | os.O_WRONLY)\n"
    fill += "    os.posix_fallocate(fd, 0, 100 << 20)\n"
    try:
        cell(desk, made["id"], fill)
    except (TypeError, AssertionError, aiohttp.ClientError):
        pass  # the line ended with the session
    ended = desk.until(made["id"], "failed", "running", "idle")
    if ended["status"] != "failed":
        ended = desk.until(made["id"], "failed")
    assert ended["reason"] == "disk"
    assert "disk" in ended["detail"] or "filled" in ended["detail"]


def test_forks_without_end_are_held_and_what_a_killed_server_ran_is_failed_with_its_files_kept(
    desk: Desk,
) -> None:
    made = desk.start()
    bomb = "import os, time\nopen('kept.txt', 'w').write('kept')\nn = 0\ntry:\n    while True:\n"
    bomb += "        if os.fork() == 0:\n            time.sleep(600)\n        n += 1\n"
    bomb += "except OSError as e:\n    print(type(e).__name__, n < 1000)"
    with suppress(aiohttp.ClientError):  # nor may the server of its notebook begin anything
        assert cell(desk, made["id"], bomb) == "BlockingIOError True\n"
    # Its server is killed, too: the next process writes down how it ended.
    old = desk.ship.context.get(Keeper)
    desk.ship.context.put(Keeper, fresh := Keeper(desk.ship.context, QUICK))
    fresh.look(desk.ship.context)  # as the next process would, while nothing was written down
    ended = desk.until(made["id"], "failed")
    assert (ended["reason"], ended["checkpoint"]["files"]) == ("lost", 1)
    assert desk.file("kept.txt") == "kept"
    old.close()
    assert desk.get(f"/v1/sessions/{made['id']}")["status"] == "failed"
    desk.post(f"/v1/sessions/{made['id']}/restart", 202)
    desk.until(made["id"], "running", "idle")
    fresh.close()
    ended = desk.until(made["id"], "stopped")
    assert ended["reason"] == "server"
    desk.ship.context.put(Keeper, Keeper(desk.ship.context, QUICK))


def test_a_session_that_passes_the_budget_of_its_project_is_stopped_with_its_files_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgeting, "LOOK_S", (0.05, 0.2))
    world = desk.ship.world

    def budget(amount: float | None) -> list[Json]:
        body = {"repo_name": "lab", "meter": "memory_hours", "period": "day", "amount": amount}
        return list(world.ok(world.as_owner("PUT", "/v1/budgets", json=body))["items"])

    made = desk.start()
    assert cell(desk, made["id"], "print(open('paid.txt', 'w').write('kept'))") == "4\n"
    (shown,) = budget(1000)
    budget(shown["used"] + 3 / 3600)  # a GiB is left for three seconds, less those that were not counted yet
    ended = desk.until(made["id"], "stopped")
    assert (ended["reason"], ended["status"]) == ("budget", "stopped")
    assert "the project lab had used up its budget of" in ended["detail"]
    assert desk.file("paid.txt") == "kept"
    refused = world.problem(desk.try_post(f"/v1/sessions/{made['id']}/restart"), "budget_exceeded")
    assert (refused["repo_name"], refused["name"]) == ("lab", "memory_hours of lab per day")
    world.problem(desk.try_post("/v1/sessions", runtime="py"), "budget_exceeded")
    budget(1000)
    desk.post(f"/v1/sessions/{made['id']}/restart", 202)
    desk.until(made["id"], "running", "idle")
    assert cell(desk, made["id"], "print(open('paid.txt').read())") == "kept\n"
    desk.post(f"/v1/sessions/{made['id']}/stop")
    desk.until(made["id"], "stopped")
    assert budget(None) == []


def test_no_more_sessions_run_at_once_than_may(desk: Desk) -> None:
    world, settings = desk.ship.world, desk.ship.world.settings
    desk.ship.context.put(Settings, settings.model_copy(update={"max_sessions": 1}))
    try:
        with ThreadPoolExecutor(2) as two:
            replies = list(two.map(lambda _: desk.try_post("/v1/sessions", runtime="py"), range(2)))
        (made,) = [reply.json() for reply in replies if reply.status_code == 202]
        (refused,) = [world.problem(reply, "quota_exceeded") for reply in replies if reply.status_code != 202]
        assert (refused["status"], refused["limit"], refused["used"], refused["resets_at"]) == (
            403,
            1,
            1,
            None,
        )
        assert refused["detail"] == "1 sessions run; the limit is 1"
        assert "builderos session stop" in refused["hint"]
        desk.post(f"/v1/sessions/{made['id']}/stop")
        desk.until(made["id"], "stopped")
        again = desk.post("/v1/sessions", 202, runtime="py")
        world.problem(desk.try_post(f"/v1/sessions/{made['id']}/restart"), "quota_exceeded")
        desk.post(f"/v1/sessions/{again['id']}/stop")
        desk.until(again["id"], "stopped")
    finally:
        desk.ship.context.put(Settings, settings)


def test_what_is_not_approved_or_no_kind_of_session_is_refused(desk: Desk) -> None:
    world = desk.ship.world
    world.problem(desk.try_post("/v1/sessions", runtime="other"), "runtime_not_approved")
    world.problem(desk.try_post("/v1/sessions", kind="desktop"), "validation_failed")
    world.problem(desk.try_post("/v1/sessions", runtime="py", project_id="prj_" + "0" * 26), "not_found")
