"""How many processes a deployment is to have, decided without any."""

import pytest

from builderos.workloads.endpoints.scaling import Bounds, Pace


class Clock:
    """A time that is set."""

    now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.mark.parametrize(
    ("running", "in_flight", "wanted"), [(1, 0, 1), (1, 4, 1), (1, 5, 2), (1, 100, 4), (3, 9, 3), (0, 0, 1), (6, 0, 4)]
)  # fmt: skip
def test_there_are_as_many_at_once_as_the_calls_in_flight_need(
    running: int, in_flight: int, wanted: int
) -> None:
    assert Pace(Bounds(1, 4, 4, 60), Clock()).wanted(running, in_flight) == wanted


def test_there_is_one_fewer_after_each_quiet_while_and_none_where_none_is_needed() -> None:
    clock = Clock()
    pace = Pace(Bounds(0, 4, 1, 60), clock)
    assert pace.wanted(1, 3) == 3
    clock.now = 59
    assert pace.wanted(3, 1) == 3
    clock.now = 60
    assert pace.wanted(3, 1) == 2
    assert pace.wanted(2, 1) == 2
    clock.now = 100
    assert pace.wanted(2, 2) == 2  # it is needed again: the quiet while begins anew
    clock.now = 159
    assert pace.wanted(2, 0) == 2
    clock.now = 160
    assert pace.wanted(2, 0) == 1
    clock.now = 220
    assert pace.wanted(1, 0) == 0
    assert pace.wanted(0, 1) == 1
