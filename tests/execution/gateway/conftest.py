"""A server whose models are answered by a double, which speaks as somebody else's server does."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from builderos.core.actor import Actor
from builderos.core.unit import Call, as_system
from builderos.execution.gateway import service as gateway
from builderos.execution.gateway.model import ai_counters, ai_usage
from builderos.execution.gateway.schema import ChatIn
from tests.support.databases import Databases
from tests.support.models import ModelServer, model_server, provider_file
from tests.support.world import World, world_in_temp
import sqlalchemy as sa

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
        self.gateway._backoff_s = 0.001
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
        self.gateway.flush()
        wanted = sa.select(ai_usage).order_by(ai_usage.c.id)
        return as_system(self.world.context, self.world.org_id, lambda unit: unit.execute(wanted).all(), read_only=True)

    def counters(self) -> list[Any]:
        self.gateway.flush()
        wanted = sa.select(ai_counters).order_by(ai_counters.c.subject)
        return as_system(self.world.context, self.world.org_id, lambda unit: unit.execute(wanted).all(), read_only=True)


@pytest.fixture(scope="module")
def served(databases: Databases) -> Iterator[Models]:
    with pytest.MonkeyPatch.context() as patch, model_server() as upstream, databases.fresh() as database:
        patch.setenv("UP_KEY_ONE", "sk-first-key-of-the-test")
        patch.setenv("UP_KEY_TWO", "sk-second-key-of-the-test")
        with world_in_temp(database) as world:
            yield Models(world, upstream)


@pytest.fixture
def models(served: Models) -> Models:
    """The shared server with an ordinary file and nothing to remember."""
    served.file()
    served.upstream.replies.clear()
    served.upstream.requests.clear()
    served.upstream.headers.clear()
    served.gateway._keys._resting.clear()

    def clean(unit: Any) -> None:
        for table in ("ai_usage", "ai_budgets", "ai_counters"):
            unit.execute(sa.text(f"delete from ops.{table}"))

    served.gateway.flush()
    as_system(served.world.context, served.world.org_id, clean)
    return served
