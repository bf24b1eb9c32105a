"""Real marimo behind the door: what it needs of it, and when it counts as idle."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import aiohttp
import pytest

from builderos.core.clock import utcnow
from builderos.workloads.sessions import life
from tests.support.notebooks import Desk, approve, bearer

NOTEBOOK = """import marimo

app = marimo.App()


@app.cell
def _():
    import pathlib
    import time
    pathlib.Path("began").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.05)
    return
"""


@asynccontextmanager
async def opened(desk: Desk, id_: str) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """A program at the notebook, as its page is: with the line of a session, and the server's word against forgery."""
    base = f"{desk.at}/s/{id_}/"
    async with aiohttp.ClientSession(headers=bearer(desk.token(id_))) as http:
        async with http.get(f"{base}?file=work.py") as reply:
            page = await reply.text()
        word = re.search(r'"serverToken": "([^"]+)"', page)
        assert word is not None, page[:2000]
        http.headers.update({"Marimo-Session-Id": "s_work01", "Marimo-Server-Token": word[1]})
        async with http.ws_connect(f"{base}ws?session_id=s_work01&file=work.py", max_msg_size=0) as line:
            first = json.loads((await line.receive(timeout=300)).data)
            assert first["op"] == "kernel-ready", first
            yield http, base


@pytest.mark.skipif("BUILDEROS_TRY_MARIMO" not in os.environ, reason="takes a minute and a download of 30 MB")
def test_a_notebook_of_marimo_runs_behind_the_door_and_is_idle_once_its_cells_are_done(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    approve(desk.ship.world.home, brings="marimo")
    desk.ship.box.commit({"work.py": NOTEBOOK})
    made = desk.start(editor="marimo", idle_timeout=1800)
    assert made["editor"] == "marimo"
    files = next(desk.ship.world.home.glob(f"projects/*/*/sessions/{made['id']}/files"))
    looks = 0

    def clock() -> datetime:
        """Each look is an hour after the one before."""
        nonlocal looks
        looks += 1
        return utcnow() + timedelta(hours=looks)

    async def seen() -> None:
        async with opened(desk, made["id"]) as (http, base):
            reply = await http.post(
                f"{base}api/kernel/instantiate", json={"objectIds": [], "values": [], "autoRun": True}
            )
            assert reply.status == 200, await reply.text()
            while not (files / "began").exists():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        monkeypatch.setattr(life, "utcnow", clock)  # the page is closed, its cell goes on
        while looks < 10:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert desk.get(f"/v1/sessions/{made['id']}")["status"] == "running"
        (files / "go").touch()

    asyncio.run(seen())
    assert desk.until(made["id"], "stopped")["reason"] == "idle"
    assert desk.file("began") == ""
