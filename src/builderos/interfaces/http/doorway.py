"""What the doors share that come before any operation: signing in, and letting programs in."""

from collections.abc import Callable
from typing import Any, TypeVar

import anyio
from fastapi import Request
from fastapi.responses import Response

from builderos.core.actor import Actor
from builderos.core.application import Application
from builderos.core.database import Database
from builderos.core.settings import Settings
from builderos.core.unit import Call, Unit, perform
from builderos.trust.identity import service as identity
from builderos.trust.quotas.service import Rates

from .challenge import base_url
from .cookies import Cookies
from .serve import Incoming

T = TypeVar("T")


class Doorway:
    """Calls that find their organisation by themselves, in worker threads."""

    def __init__(self, app: Application) -> None:
        # whose adapters are there once the server runs, not while the contract is written
        self._context = app.context

    @property
    def _cookies(self) -> Cookies:
        return self._context.get(Cookies)

    @property
    def _rates(self) -> Rates:
        return self._context.get(Rates)

    @property
    def _database(self) -> Database:
        return self._context.get(Database)

    @property
    def _hasher(self) -> identity.Hasher:
        return self._context.get(identity.Hasher)

    @property
    def _settings(self) -> Settings:
        return self._context.get(Settings)

    def _base(self, request: Request) -> str:
        """The address of this server, as the caller knows it."""
        return base_url(self._settings, request.scope, request.headers)

    def _signed_in(self, request: Request) -> tuple[str, Actor] | None:
        """The secret of this browser's session and its member."""
        secret = self._cookies.session(request.headers)
        found = identity.authenticate(self._database, self._hasher, secret) if secret else None
        return (secret, found.actor) if secret and found is not None and found.actor is not None else None

    def _suspect(self, request: Request) -> None:
        """Count a secret that was none. Raises `rate_limited`."""
        self._rates.hit("invalid_tokens", incoming(request).caller)

    def _perform(self, request: Request, org_id: str, verb: Callable[[Unit], T]) -> T:
        """Run a verb for somebody who is not known yet."""
        return self._as(request, identity.anonymous_actor(org_id), verb, "signIn@1")

    def _as(self, request: Request, actor: Actor, verb: Callable[[Unit], T], tool: str) -> T:
        call = Call(actor, request_id=incoming(request).request_id, tool=tool)
        return perform(self._context, call, verb)

    async def _in_thread(
        self, work: Callable[[Request, Any], Response], request: Request, body: Any
    ) -> Response:
        limiter = self._context.get(anyio.CapacityLimiter)
        return await anyio.to_thread.run_sync(work, request, body, limiter=limiter)


def incoming(request: Request) -> Incoming:
    """What the edge knows of the request."""
    return request.state.incoming
