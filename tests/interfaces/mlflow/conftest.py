"""One server on a real port, and the real client's environment, for the tests of a module."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import mlflow_client
from tests.support.databases import Databases
from tests.support.live import served
from tests.support.world import World, world_in_temp


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database, rate_logged=10**6) as made:
        yield made


@pytest.fixture(scope="module")
def address(world: World) -> Iterator[str]:
    with served(world) as url:
        yield url


class Api:
    """Requests of MLflow's interface in this process, as the owner unless said otherwise."""

    def __init__(self, world: World, token: str | None = None) -> None:
        self._world = world
        self._headers = {"Authorization": f"Bearer {token or world.owner_token}"}

    def __call__(self, method: str, path: str, **body: Any) -> Any:
        """The reply to a request; a GET sends its members in the query."""
        sent: dict[str, Any] = {"params": body} if method == "GET" else {"json": body}
        return self._world.http.request(
            method, f"/mlflow/api/2.0/mlflow/{path}", headers=self._headers, **sent
        )

    def ok(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """What a request that succeeds says."""
        reply = self(method, path, **body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def refused(self, method: str, path: str, **body: Any) -> tuple[int, str, str]:
        """Status, code and message of one that does not."""
        reply = self(method, path, **body)
        said = reply.json()
        assert reply.status_code >= 400, reply.text
        return reply.status_code, said["error_code"], said["message"]

    def experiment(self, name: str) -> str:
        """A new experiment."""
        return self.ok("POST", "experiments/create", name=name)["experiment_id"]

    def run(self, experiment_id: str, **more: Any) -> str:
        """A new run."""
        return self.ok("POST", "runs/create", experiment_id=experiment_id, **more)["run"]["info"]["run_id"]


@pytest.fixture(scope="module")
def api(world: World) -> Api:
    return Api(world)


@pytest.fixture
def client(world: World, address: str, tmp_path: Path) -> Any:
    """Runs a script of a user with the unmodified client."""

    def run(script: str, token: str | None = None, **named: str) -> dict[str, Any]:
        return mlflow_client.run(script, address, token or world.owner_token, tmp_path, **named)

    return run
