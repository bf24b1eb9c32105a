"""`/git/<repo>.git` and `/git/<owner>/<repo>.git`: what `git clone`, `git fetch` and `git push` call."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from builderos.assets.repositories.service import RepositoryStore, upload_pack
from builderos.assets.workspaces.service import Address, Reading, View, look, read
from builderos.core.application import Application
from builderos.core.metrics import Metrics
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Call, Unit, perform
from builderos.interfaces.http.records import note_refusal
from builderos.trust.policy import service as policy

from . import wire
from .bodies import Body
from .callers import call_of
from .processes import GitReply, Slots
from .pushing import Pushing
from .replies import fetch_error, plain, result

UPLOAD: Final = "git-upload-pack"
RECEIVE: Final = "git-receive-pack"
_AT_ONCE: Final = 64
_FETCHES_EACH: Final = 8
_PUSHES_EACH: Final = 2
_CHECKS: Final = 2  # of what was pushed: long and busy, so they have threads of their own
Endpoint = Callable[[Request], Awaitable[Response]]


def add_git(api: FastAPI, app: Application) -> None:
    """Add the git door. Its replies are git's own format, so it is no part of the OpenAPI document."""
    door = Door(app)
    endpoints: dict[str, tuple[str, Endpoint]] = {
        "info/refs": ("GET", door.open), UPLOAD: ("POST", door.fetch), RECEIVE: ("POST", door.push),
    }  # fmt: skip
    for prefix in ("/git/{repo}.git", "/git/{owner}/{repo}.git"):
        for path, (method, endpoint) in endpoints.items():
            name = path if path.startswith("git-") else "git-refs"
            answering = _in_text(name, endpoint)
            api.add_route(f"{prefix}/{path}", answering, methods=[method], include_in_schema=False)


def _in_text(name: str, endpoint: Endpoint) -> Endpoint:
    """Git shows text and nothing else. `name` is what logs and metrics call the endpoint."""

    @functools.wraps(endpoint)
    async def answered(request: Request) -> Response:
        request.state.incoming.seen.operation = name
        try:
            return await endpoint(request)
        except Problem as problem:
            return plain(problem)
        except ClientDisconnect:
            return Response(status_code=400)

    return answered


class Door:
    """The three requests of smart HTTP. Whatever touches database or disk runs in a worker thread."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._settings = app.context.get(Settings)
        self._threads = anyio.CapacityLimiter(self._settings.workers)
        self._checks = anyio.CapacityLimiter(_CHECKS)
        self._fetches = Slots(_AT_ONCE, _FETCHES_EACH)
        self._pushes = Slots(_AT_ONCE, _PUSHES_EACH)

    @property
    def _store(self) -> RepositoryStore:
        return self._app.context.get(RepositoryStore)  # not yet there when only the contract is wanted

    async def open(self, request: Request) -> Response:
        """The list of refs that a fetch or a push begins with."""
        service = request.query_params.get("service", "")
        if service not in (UPLOAD, RECEIVE):
            raise Problem(
                "policy_denied", "only git's smart protocol is served, for fetching and pushing",
                hint="Use git clone, git fetch or git push.", policy_rule="git-services",
            )  # fmt: skip
        version = wire.version_of(request.headers.get("git-protocol"))
        call = await self._call(request, "git fetch" if service == UPLOAD else "git push")
        address = _address(request)
        if service == RECEIVE:
            view = await self._look(call, address)
            refs = wire.receive_advertisement(view.refs, version)
            return result(RECEIVE, wire.opening(RECEIVE, 0) + refs, "advertisement")
        reading = await self._read(call, address, [])
        return self._reply(call, reading, b"", version, advertise=True)

    async def fetch(self, request: Request) -> Response:
        """One exchange of a clone or fetch."""
        _require_type(request, UPLOAD)
        call = await self._call(request, "git fetch")
        body = await Body(request, self._settings.max_body).whole()
        wants = wire.wants_of(body)
        try:
            reading = await self._read(call, _address(request), wants)
        except Problem as problem:
            return fetch_error(problem)
        if reading.refused is not None:
            return result(UPLOAD, wire.error(f"upload-pack: not our ref {reading.refused}"))
        version = wire.version_of(request.headers.get("git-protocol"))
        return self._reply(call, reading, body, version, advertise=False)

    async def push(self, request: Request) -> Response:
        """Commands and a pack; the answer tells for each ref what became of it."""
        _require_type(request, RECEIVE)
        call = await self._call(request, "git push")
        view = await self._look(call, _address(request))
        body = Body(request, self._settings.max_push * 2)
        updates = await wire.read_updates(body)
        if not updates.items:
            return result(RECEIVE, b"")
        pushing = Pushing(self._app.context, call, view, self._checks, self._pushes.take(call.actor.id))
        return result(RECEIVE, await pushing.answer(updates, body))

    async def _call(self, request: Request, tool: str) -> Call:
        try:
            return await self._thread(call_of, self._app, request, tool)
        except Problem as problem:
            self._app.context.get(Metrics).refused(problem)
            raise

    async def _look(self, call: Call, address: Address) -> View:
        verb = functools.partial(look, address=address, action="git.push")
        return await self._ask(call, verb)

    async def _read(self, call: Call, address: Address, wants: list[str]) -> Reading:
        verb = functools.partial(read, address=address, wants=wants)
        return await self._ask(call, verb)

    async def _ask(self, call: Call, verb: Callable[[Unit], Any]) -> Any:
        """A reading verb; what the policy refuses leaves its line in the record."""
        try:
            return await self._thread(perform, self._app.context, call, verb, read_only=True, settled=True)
        except policy.Refused as refused:
            await self._thread(note_refusal, self._app.context, call, refused)
            raise

    def _reply(self, call: Call, reading: Reading, body: bytes, version: int, *, advertise: bool) -> Response:
        view = reading.view
        command = upload_pack(self._store, view.folder, view.patterns, version=version, advertise=advertise)
        kind, excuse = ("advertisement", plain) if advertise else ("result", fetch_error)
        prefix = wire.opening(UPLOAD, version) if advertise else b""
        place = self._fetches.take(call.actor.id)
        return GitReply(command, body, f"application/x-{UPLOAD}-{kind}", prefix, place, excuse)

    async def _thread(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return await anyio.to_thread.run_sync(
            functools.partial(function, *args, **options), limiter=self._threads
        )


def _address(request: Request) -> Address:
    names = request.path_params
    return Address(names["repo"], names.get("owner"))


def _require_type(request: Request, service: str) -> None:
    wanted = f"application/x-{service}-request"
    if request.headers.get("content-type", "").partition(";")[0].strip() != wanted:
        raise Problem("unsupported_media_type", f"the body must be {wanted}", hint="Use a git client.")
