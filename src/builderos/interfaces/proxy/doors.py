"""Which door a request knocks at: an app's by the name that only that has, else that of sessions."""

from aiohttp import web

from builderos.core.context import Context

from .apps import AppDoor
from .guarding import Guard


class Doors:
    """Live on the loop of the listener."""

    def __init__(self, context: Context, port: int) -> None:
        self._sessions = Guard(context, port)
        self._apps = AppDoor(context)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """What a request gets."""
        app_id = self._apps.app_of(request)
        return await (
            self._sessions.answer(request) if app_id is None else self._apps.answer(request, app_id)
        )

    async def close(self) -> None:
        """Cut all lines."""
        await self._sessions.close()
        await self._apps.close()
