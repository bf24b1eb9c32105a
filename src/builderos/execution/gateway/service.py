"""What other rooms use of the gateway."""

from collections.abc import AsyncIterator, Sequence

from builderos.core.context import Context
from builderos.core.unit import Call

from .files import AiFile, AiFiles, Model, Provider
from .gateway import Gateway
from .keys import Keys
from .relaying import Job, Relay
from .reserving import forget, sweep
from .responding import response_events, response_of
from .responses import chat_of
from .routing import allowed, candidates, listed
from .schema import DEFAULT, About, ChatIn, ChatOut, Event, Vectors
from .settling import Settlement
from .views import usable

__all__ = [
    "AiFile",
    "AiFiles",
    "Gateway",
    "Job",
    "Keys",
    "Model",
    "Provider",
    "Relay",
    "Settlement",
    "allowed",
    "candidates",
    "chat_of",
    "complete",
    "embed",
    "forget",
    "listed",
    "response_events",
    "response_of",
    "stream",
    "sweep",
    "usable",
]


async def complete(context: Context, call: Call, chat: ChatIn, about: About | None = None) -> ChatOut:
    """One completion, by whatever model the request names. See `Gateway.complete`."""
    return await context.get(Gateway).complete(call, chat, about)


def stream(context: Context, call: Call, chat: ChatIn, about: About | None = None) -> AsyncIterator[Event]:
    """A completion as it comes. See `Gateway.stream`."""
    return context.get(Gateway).stream(call, chat, about)


async def embed(
    context: Context, call: Call, texts: Sequence[str], model: str = DEFAULT, about: About | None = None
) -> Vectors:
    """A vector for each text. See `Gateway.embed`."""
    return await context.get(Gateway).embed(call, texts, model, about)
