"""A server whose models are answered by a double, with short ways to ask them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from builderos.core.actor import Actor
from builderos.core.unit import Call, as_system
from builderos.execution.gateway import service as gateway
from builderos.execution.gateway.model import ai_counters, ai_usage
from builderos.execution.gateway.schema import ChatIn

from .databases import Databases
from .servers import until
from .upstreams import ModelServer, model_server, provider_file
from .world import World, world_in_temp

FILE = """
version: 1
default: up/small
aliases: {{quick: up/small}}
providers:
  up:
    kind: openai
    base_url: {url}
    keys: [env:UP_KEY_ONE, env:UP_KEY_TWO]
    models:
      small: {{input: 1, output: 2, max_output: 100}}
      "*": {{}}
  bare: {{kind: openai, base_url: "{url}", retries: 1}}
fallbacks: {{up/fragile: [bare/other]}}
"""


class Models:
    """The world, the double, and short ways to ask."""

    def __init__(self, world: World, upstream: ModelServer) -> None:
        self.world, self.upstream = world, upstream
        self.gateway = world.context.get(gateway.Gateway)
        self.gateway._attempts.backoff_s = 0.001
        owner = Actor("owner", "act_owner", "owner", world.org_id, "full")
        self.call = Call(owner, "valid", "req_test", "test@1")

    def file(self, text: str = FILE) -> None:
        provider_file(self.world.home, text.format(url=self.upstream.url))

    def complete(self, text: str = "hi", **more: Any) -> Any:
        messages = [{"role": "user", "content": text}]
        return asyncio.run(self.gateway.complete(self.call, ChatIn(messages=messages, **more)))

    def stream(self, text: str = "hi", **more: Any) -> list[Any]:
        async def collect() -> list[Any]:
            asked = ChatIn(messages=[{"role": "user", "content": text}], **more)
            return [event async for event in self.gateway.stream(self.call, asked)]

        return asyncio.run(collect())

    def rows(self) -> list[Any]:
        """Every row, once all of them are settled: a client may know the end of a stream before the server does."""
        until(lambda: all(row.state != "reserved" for row in self.rows_now()))
        return self.rows_now()

    def rows_now(self) -> list[Any]:
        """Every row as it stands."""
        return self._read(sa.select(ai_usage).order_by(ai_usage.c.id))

    def counters(self) -> list[Any]:
        """How far the budgets are used."""
        self.rows()
        return self._read(sa.select(ai_counters).order_by(ai_counters.c.subject, ai_counters.c.period))

    def _read(self, wanted: Any) -> list[Any]:
        self.gateway.flush()
        found = as_system(
            self.world.context, self.world.org_id, lambda u: u.execute(wanted).all(), read_only=True
        )
        return list(found)

    def reset(self) -> None:
        """An ordinary file and nothing to remember."""
        self.file()
        for remembered in (self.upstream.replies, self.upstream.requests, self.upstream.headers):
            remembered.clear()
        self.gateway._keys._resting.clear()
        self.gateway.flush()

        def clean(unit: Any) -> None:
            for table in ("ai_usage", "ai_budgets", "ai_counters"):
                unit.execute(sa.text(f"delete from ops.{table}"))

        as_system(self.world.context, self.world.org_id, clean)


@contextmanager
def models_in_temp(databases: Databases, **settings: Any) -> Iterator[Models]:
    """A world with its double."""
    with pytest.MonkeyPatch.context() as patch, model_server() as upstream, databases.fresh() as database:
        patch.setenv("UP_KEY_ONE", "sk-first-key-of-the-test")
        patch.setenv("UP_KEY_TWO", "sk-second-key-of-the-test")
        with world_in_temp(database, **settings) as world:
            yield Models(world, upstream)
