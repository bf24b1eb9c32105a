"""A keeper in which something goes wrong: one room ends for it, nobody else notices, and nothing is left."""

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builderos.integrations.bwrap import room, service, tree
from tests.support.sandboxes import QUICK, Yard, until, yard_in_temp

# Looking at the disk goes wrong, or takes for ever, or a command cannot be ended, where a file of that name lies.
BROKEN = """
import os, sys, time
from pathlib import Path
from builderos.integrations.bwrap import keeper, room

keeper._LEAVE_S, keeper._LOOK_S = 0.5, 0.3
counted, end = room.bytes_in, room.Room.end

def has(folder, name):
    try:
        os.stat(name, dir_fd=folder)
    except OSError:
        return False
    return True

async def bytes_in(folder, enough):
    if has(folder, "broken") or has(folder, "deaf"):
        raise RecursionError("too deep")
    while has(folder, "stuck"):
        pass
    return await counted(folder, enough)

def ended(self, cause, grace_s=None):
    if has(self._workspace, "deaf"):
        raise RuntimeError("it does not end")
    end(self, cause, grace_s)

room.bytes_in, room.Room.end = bytes_in, ended
keeper.main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
"""


@pytest.fixture(params=["strong", "weak"])
def yard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    popen = subprocess.Popen

    def broken(argv: list[str], **given: Any) -> "subprocess.Popen[bytes]":
        if "-m" in argv:
            argv = [sys.executable, "-I", "-c", BROKEN, *argv[-3:]]
        return popen(argv, **given)

    monkeypatch.setattr(service.subprocess, "Popen", broken)
    with yard_in_temp(request.param) as made:
        yield made.needed()


def keeper_of(yard: Yard) -> int:
    keeper = yard.provider._keeper
    assert keeper is not None
    return int(keeper.process.pid)


def test_a_command_that_cannot_be_watched_is_ended_and_has_a_result(yard: Yard) -> None:
    neighbour = yard.provider.start(yard.spec("sleep", "600"))
    done = yard.sh("touch broken; sleep 600")
    assert done.result is not None
    assert (done.result.reason, done.state) == ("lost", "failed")
    assert "RecursionError: too deep" in done.result.detail
    assert yard.provider.poll(neighbour.id).state == "running"
    assert yard.text(yard.sh("echo goes on")) == "goes on\n"
    assert [path.name for path in (yard.folder / "state" / done.id).glob("result.json")] == ["result.json"]


def test_a_command_that_ended_has_a_result_whatever_goes_wrong_afterwards(yard: Yard) -> None:
    workspace = yard.workspace()
    (workspace / "broken").touch()
    done = yard.run("true", workspace=workspace)
    assert done.result is not None
    assert (done.result.reason, done.state) == ("lost", "failed")
    yard.provider.remove(done.id)


@pytest.mark.parametrize("how", ["broken", "deaf", "stuck"])
def test_the_keeper_goes_with_its_server_whatever_is_wrong_in_a_room(yard: Yard, how: str) -> None:
    limits = dataclasses.replace(QUICK, wall_s=3600)  # its time does not end it
    sandbox = yard.provider.start(yard.spec("sh", "-c", "echo up; sleep 3600", limits=limits))
    yard.until_printed(sandbox, "up")
    keeper = keeper_of(yard)
    below = tree.descendants(keeper)
    assert len(below) > 1
    Path(yard.provider.folder.parent / "w1" / how).touch()
    yard.provider._keeper.sock.shutdown(2)  # as the kernel does it for a server that is killed
    until(lambda: not tree.started_at(keeper))
    until(lambda: not [pid for pid in below if tree.started_at(pid)])


def test_a_server_stops_though_its_keeper_does_not_answer(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_CLOSE_S", 0.2)
    sandbox = yard.provider.start(yard.spec("sh", "-c", "echo up; sleep 600"))
    yard.until_printed(sandbox, "up")
    keeper = keeper_of(yard)
    below = tree.descendants(keeper)
    os.kill(keeper, signal.SIGSTOP)
    yard.provider.close()
    until(lambda: not [pid for pid in below if tree.started_at(pid)])


def test_looking_through_many_files_lets_other_rooms_have_their_turn(tmp_path: Path) -> None:
    for number in range(5_000):
        os.close(os.open(tmp_path / str(number), os.O_CREAT | os.O_WRONLY))

    async def scene() -> tuple[int, int]:
        turns, over = 0, asyncio.Event()

        async def other() -> None:
            nonlocal turns
            while not over.is_set():
                turns += 1
                await asyncio.sleep(0)

        running = asyncio.create_task(other())
        folder = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
        held = await room.bytes_in(folder, 1 << 40)
        os.close(folder)
        over.set()
        await running
        return held, turns

    held, turns = asyncio.run(scene())
    assert held == 5_000 * 4096
    assert turns > 2
