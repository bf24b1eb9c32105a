"""The door of jails, before a world that is served in the test's process; endpoints whose models are doubles."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import sqlalchemy as sa
import uvicorn
from uvicorn.lifespan.on import LifespanOn

from builderos.core.unit import Unit, as_system
from builderos.execution.serving.lines import Reply
from builderos.interfaces.http import invocations, inward
from builderos.workloads.endpoints.model import endpoints
from builderos.workloads.endpoints.schema import CreateIn

from .world import World


@contextmanager
def open_inward(world: World) -> Iterator[None]:
    """While it is open, commands in jails may ask this world. Endpoints answer with the id of their deployment."""

    async def ask(_door: Any, deployment_id: str, _body: bytes, _accept: str) -> Reply:
        return Reply(200, {}, json.dumps({"predictions": [deployment_id]}).encode())

    config = uvicorn.Config(world.asgi, log_config=None)
    server = uvicorn.Server(config)
    server.lifespan = LifespanOn(config)
    sock = inward.listen(world.home)

    async def begin() -> object:
        return await inward.serve(server, world.asgi, sock)

    door = world.portal.call(begin)
    try:
        with mock.patch.object(invocations.Door, "_ask", ask):
            yield
    finally:
        world.portal.call(door.close)  # type: ignore[attr-defined]
        inward.leave(world.home)


def doubled_endpoint(world: World, name: str) -> None:
    """An endpoint `enp_NAME` whose deployment is `mdp_NAME`."""

    said = CreateIn(name=name, model_version="m@1").model_dump()
    usual = {column.name: said[column.name] for column in endpoints.c if column.name in said}

    def insert(unit: Unit) -> None:
        unit.execute(sa.insert(endpoints).values(usual | {
            "id": f"enp_{name}", "org_id": unit.org_id, "state": "active", "traffic": {f"mdp_{name}": 100},
            "numbers": 1, "machine": "here", "created_by": "act", "created_at": unit.now, "updated_at": unit.now,
        }))  # fmt: skip

    as_system(world.context, world.org_id, insert)
