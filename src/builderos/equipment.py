"""A part of the assembly: who answers for models, and what the rooms of the workbench hold."""

import asyncio
import functools
from collections.abc import Sequence

from builderos.assets.memory.ports import Asked, Embedding, NGrams
from builderos.assets.repositories import service as repositories
from builderos.assets.workspaces import service as workspaces
from builderos.core.context import Context
from builderos.core.dialing import networks_of
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Call, Unit
from builderos.execution.gateway import service as gateway
from builderos.execution.gateway.ports import Limited, ModelProvider
from builderos.execution.runs import service as execution
from builderos.execution.serving import service as serving
from builderos.integrations.anthropic.service import AnthropicProvider
from builderos.integrations.openai.service import OpenAIProvider
from builderos.integrations.recorded.service import RecordedProvider
from builderos.trust.orgs.ports import Elsewhere
from builderos.workloads.agents import service as agents
from builderos.workloads.apps import service as apps
from builderos.workloads.apps.ports import Addresses
from builderos.workloads.datasets import service as datasets
from builderos.workloads.endpoints import service as endpoints
from builderos.workloads.sessions import service as sessions
from builderos.workloads.sessions.ports import Address

_EMBED_S = 30.0


def put_models(context: Context, settings: Settings) -> None:
    """Who answers for models. Nothing is built, and no library loaded, before the first request."""
    networks = networks_of(settings.ai_networks)
    files = gateway.AiFiles(settings.ssot or settings.home_dir, settings.ai_model)

    def source_of(entry: gateway.Provider) -> ModelProvider:
        name = entry.source or ""
        return context.get(gateway.Gateway).provider(name, files.current().providers[name])

    def build(_name: str, entry: gateway.Provider) -> ModelProvider:
        if entry.kind == "recorded":
            return RecordedProvider(entry, files.folder, functools.partial(source_of, entry))
        return (
            AnthropicProvider(entry, networks)
            if entry.kind == "anthropic"
            else OpenAIProvider(entry, networks)
        )

    context.put(gateway.Gateway, gateway.Gateway(context, files, build))
    context.put(Limited, Limited(_is_run, _is_agent))


def _is_run(unit: Unit, run_id: str) -> bool:
    try:
        execution.subject(unit, run_id)
    except Problem:
        return False
    return True


def _is_agent(unit: Unit, name: str) -> bool:
    """Whether an agent ships, or lies on a branch that all share."""
    if name in agents.packs.shipped_names():
        return True
    shared = (
        branch
        for repo_id in repositories.repository_ids(unit)
        for branch in repositories.list_branches(unit, repo_id, shared=True)
        if branch.kind in ("main", "base") and branch.state != "deleted"
    )
    return any(workspaces.file_at(unit, one, agents.packs.file_of(name)) is not None for one in shared)


def embedding(settings: Settings) -> Embedding:
    """Who makes the vectors of the memory: a model of the gateway where the server names one."""
    model = settings.embedding_model
    if model is None:
        return Embedding(NGrams())

    def ask(context: Context, call: Call, texts: Sequence[str]) -> list[list[float]]:
        async def answered() -> list[list[float]]:
            async with asyncio.timeout(_EMBED_S):
                return (await gateway.embed(context, call, texts, model)).vectors

        try:
            return asyncio.run(answered())
        except TimeoutError as error:
            raise Problem(
                "unavailable", "the model for vectors did not answer in time", hint="Repeat the call."
            ) from error

    return Embedding(Asked(model, ask))


def put_workbench(context: Context) -> None:
    """What sessions, datasets, endpoints and apps of one process hold."""
    context.put(Address, Address())
    context.put(sessions.Keeper, sessions.Keeper(context))
    context.put(datasets.Arrivals, datasets.Arrivals())
    context.put(endpoints.Keeper, endpoints.Keeper(context))
    context.put(endpoints.Counts, endpoints.Counts())
    context.put(serving.Endpoints, serving.Endpoints(endpoints.callable_by))
    context.put(Addresses, Addresses(context.get(Address).origin_of))
    context.put(apps.Keeper, apps.Keeper(context))
    context.get(Elsewhere).enrol("apps", apps.erase)
