"""Moving windows of rates."""

import threading

from builderos.trust.quotas.windows import Windows


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_window_takes_its_size_and_no_more():
    windows = Windows(3, 60, Clock())
    assert [windows.hit("a") for _ in range(4)] == [True, True, True, False]
    assert windows.used("a") == 3


def test_one_event_may_meet_a_smaller_window_and_waits_until_all_that_is_too_much_has_left():
    clock = Clock()
    windows = Windows(3, 60, clock)
    for _ in range(3):
        assert windows.hit("a")
        clock.now += 10
    assert not windows.hit("a", 1)
    assert windows.wait("a", 1) == 50
    assert windows.wait("a", 2) == 40
    assert windows.wait("a", 99) == windows.wait("a") == 30
    clock.now += 49
    assert not windows.hit("a", 1)
    clock.now += 1
    assert windows.hit("a", 1)
    assert not windows.hit("a", 1)
    assert windows.hit("a", 99)


def test_names_do_not_share_a_window():
    windows = Windows(1, 60, Clock())
    assert windows.hit("a")
    assert windows.hit("b")


def test_room_comes_back_as_events_leave_the_window_one_by_one():
    clock = Clock()
    windows = Windows(2, 60, clock)
    windows.hit("a")
    clock.now += 20
    windows.hit("a")
    assert windows.wait("a") == 40
    clock.now += 40
    assert windows.wait("a") == 0
    assert windows.hit("a")
    assert not windows.hit("a")
    assert windows.wait("a") == 20


def test_a_refused_event_does_not_count():
    clock = Clock()
    windows = Windows(1, 60, clock)
    windows.hit("a")
    clock.now += 59
    assert not windows.hit("a")
    clock.now += 1
    assert windows.hit("a")


def test_a_window_of_size_zero_takes_nothing():
    windows = Windows(0, 60, Clock())
    assert not windows.hit("a")
    assert windows.wait("a") == 0


def test_idle_names_are_forgotten():
    clock = Clock()
    windows = Windows(5, 60, clock)
    for number in range(1000):
        windows.hit(f"caller {number}")
    clock.now += 61
    windows.hit("somebody else")
    assert len(windows._events) == 1


def test_threads_together_get_no_more_than_the_size():
    windows = Windows(500, 3600)
    counted: list[int] = []
    threads = [
        threading.Thread(target=lambda: counted.append(sum(windows.hit("a") for _ in range(200))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counted) == 500
