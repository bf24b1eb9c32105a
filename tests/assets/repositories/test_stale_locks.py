"""A ref's lock that nobody holds any more is broken; one that somebody holds is not, whatever the clock does."""

import os
import time
from pathlib import Path

import pytest

from builderos.assets.repositories import store


@pytest.fixture
def lock(tmp_path: Path) -> str:
    path = tmp_path / "main.lock"
    path.write_text("")
    return str(path)


def stale(lock: str) -> bool:
    return store._is_stale(lock, os.stat(lock))


def aged(lock: str, seconds: float) -> None:
    os.utime(lock, (time.time() - seconds, time.time() - seconds))


def test_a_young_lock_is_somebody_s_and_an_old_one_is_nobody_s(lock: str) -> None:
    assert not stale(lock)
    aged(lock, store.STALE_LOCK_S + 1)
    assert stale(lock)


def test_a_lock_from_before_this_process_is_nobody_s(lock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_started", time.time() + 5)
    assert stale(lock)


@pytest.mark.parametrize("hours", [1, -1])
def test_after_a_jump_of_the_clock_only_watching_tells(
    lock: str, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    monkeypatch.setattr(store, "_offset", store._offset - hours * 3600)  # as if the clock had jumped by that
    aged(lock, 3600)
    assert not stale(lock)
    ticks = time.monotonic()
    monkeypatch.setattr(store.time, "monotonic", lambda: ticks + store.STALE_LOCK_S / 2)
    assert not stale(lock)
    Path(lock).unlink()
    Path(lock).write_text("")  # another one's
    aged(lock, 1800)
    monkeypatch.setattr(store.time, "monotonic", lambda: ticks + store.STALE_LOCK_S + 1)
    assert not stale(lock)
    monkeypatch.setattr(store.time, "monotonic", lambda: ticks + 2 * store.STALE_LOCK_S + 3)
    assert stale(lock)


def test_a_process_that_was_forked_off_begins_when_it_does() -> None:
    before = store._started
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, repr(store._started).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert float(os.read(reading, 64)) > before
    for end in (reading, writing):
        os.close(end)
