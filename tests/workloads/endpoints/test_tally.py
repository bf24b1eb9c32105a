"""What endpoints did is counted in memory, and lost by no organisation when another one's cannot be written down."""

from datetime import UTC, datetime
from unittest import mock

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from builderos.core.unit import Unit, as_system
from builderos.workloads.endpoints import tally
from builderos.workloads.endpoints.model import calls
from builderos.workloads.endpoints.tally import Tally
from tests.support.world import World

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _written(world: World, endpoint_id: str) -> int:
    def read(unit: Unit) -> int:
        counted = sa.select(sa.func.sum(calls.c.calls)).where(calls.c.endpoint_id == endpoint_id)
        return int(unit.execute(counted).scalar_one() or 0)

    return as_system(world.app.context, world.org_id, read, read_only=True)


def test_what_cannot_be_written_for_one_organisation_takes_nothing_from_another(world: World) -> None:
    counts, context = Tally(), world.app.context
    for _ in range(3):
        counts.count("org_0", "enp_a", "mdp_a", AT, 200, 1.0)  # there is no such organisation
        counts.count(world.org_id, "enp_b", "mdp_b", AT, 200, 1.0)
    with pytest.raises(IntegrityError):
        counts.write(context)
    assert _written(world, "enp_b") == 3
    with pytest.raises(IntegrityError):
        counts.write(context)
    assert _written(world, "enp_b") == 3, "once"
    counts.drop("org_0")
    counts.write(context)


def test_what_a_broken_off_writing_had_not_come_to_is_written_the_next_time(world: World) -> None:
    counts, context = Tally(), world.app.context
    counts.count("org_0", "enp_c", "mdp_c", AT, 200, 1.0)
    counts.count(world.org_id, "enp_d", "mdp_d", AT, 200, 1.0)
    with (
        mock.patch.object(tally, "as_system", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        counts.write(context)
    counts.drop("org_0")
    counts.write(context)
    assert _written(world, "enp_d") == 1
