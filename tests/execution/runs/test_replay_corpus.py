"""Generated pipelines, and one that comes along, come to the same hashes when they are executed again."""

import pytest

from bench.corpus import generated
from builderos.execution.compute.service import SandboxProviders
from tests.support.databases import Databases
from tests.support.runs import ship_in_temp


def test_pipelines_are_reproduced(databases: Databases) -> None:
    executed = served = 0
    with databases.fresh() as database, ship_in_temp(database) as ship:
        probe = ship.context.get(SandboxProviders).provider("local").probe()
        if probe.tier != "strong":
            pytest.skip(f"no strong sandbox on this machine: {' '.join(probe.missing)}")
        names = [ship.pipeline(generated(number)) for number in (1, 5, 9, 13)]
        ship.box.commit({"data/raw/a.csv": "Name,Age\nAda,36\nBob,41\nAda,36\n"})
        names.append("data_pipeline")
        runs = [ship.until(ship.start(name)) for name in names]
        for run in runs:
            assert run["status"] == "succeeded", run
            http, headers = ship.world.http, ship.box.headers
            begun = ship.world.ok(http.post(f"/v1/runs/{run['id']}/replay", json={}, headers=headers), 202)
            ship.until(begun["run_id"])
            found = ship.world.ok(http.get(f"/v1/runs/{begun['run_id']}/replay", headers=headers))
            assert found["reproduced"], found["first_divergence"]
            executed += found["executed"]
            served += found["served"]
    assert executed >= 4 * served
