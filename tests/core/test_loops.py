"""The event loop that rooms look after things on."""

import asyncio
import logging
import threading

import pytest

from builderos.core.loops import Loop
from builderos.core.problems import Problem
from tests.support.servers import until


async def nothing() -> None:
    """Leave at once."""


def test_what_a_work_raises_is_logged_and_ends_no_other(caplog: pytest.LogCaptureFixture) -> None:
    loop, done = Loop("loops-test"), threading.Event()

    async def fail() -> None:
        raise ValueError("no such luck")

    async def refuse() -> None:
        raise Problem("conflict", "somebody was first", hint="Wait.", conflicts=[])

    async def well() -> None:
        loop.spawn(asyncio.sleep(0))
        done.set()

    with caplog.at_level(logging.WARNING, "builderos.loops"):
        for work in (fail, refuse, well):
            loop.soon(work)
        until(lambda: done.is_set() and len(caplog.records) == 2)
    assert [(record.levelname, record.exc_info is not None) for record in caplog.records] == [
        ("ERROR", True),
        ("WARNING", False),
    ]
    assert "somebody was first" in caplog.text
    loop.close(nothing)


def test_at_its_close_it_waits_for_what_was_told_to_leave_and_takes_nothing_on_any_more() -> None:
    loop, told, left = Loop("loops-test"), asyncio.Event(), list[str]()

    async def work() -> None:
        await told.wait()
        await asyncio.to_thread(left.append, threading.current_thread().name)

    async def leave() -> None:
        told.set()

    assert loop.run(asyncio.sleep(0, "an answer"), 300) == "an answer"
    loop.soon(work)
    loop.close(leave)
    loop.close(leave)
    assert left == ["loops-test"]
    loop.soon(work)
    with pytest.raises(Problem) as refused:
        loop.run(asyncio.sleep(0), 300)
    assert refused.value.code == "unavailable"
    assert "loops-test" not in {thread.name for thread in threading.enumerate()}


def test_one_that_was_given_nothing_has_no_thread_and_closes() -> None:
    loop = Loop("loops-unused")
    loop.close(nothing)
    assert "loops-unused" not in {thread.name for thread in threading.enumerate()}
