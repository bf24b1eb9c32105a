"""The door to the stream."""

from builderos.core.operations import Live, Operations
from builderos.core.unit import Unit

from . import service
from .schema import Page, StreamIn

routes = Operations("stream")


@routes.get("/v1/stream", "followAll", media_types=("text/event-stream",))
def follow_all(unit: Unit, body: StreamIn) -> Live | Page:
    """Follow all that happens in some topics in one reply, as Server-Sent Events.

    First `ready`; then `events`, whose items say topic, type, object and version; `refetch` where too much happened
    to be told one by one. Last-Event-ID goes on where a client was: nothing is left out, nothing comes twice. The reply
    ends after some minutes, and when rights change: then come back.
    """
    return service.follow(unit, body)
