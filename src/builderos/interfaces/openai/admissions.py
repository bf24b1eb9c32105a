"""Requests of one credential that arrive together are let through together: one look at it, one transaction.

A busy program costs a fraction of what its requests would cost one by one, and none of them waits for more than the
ones before it: whoever comes while a group is being let through belongs to the next group.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import anyio
import anyio.to_thread
import orjson

from builderos.core.application import Application
from builderos.core.problems import Problem
from builderos.core.unit import Call
from builderos.execution.gateway.schema import Kind
from builderos.execution.gateway.service import Gateway, Job
from builderos.interfaces.http import records
from builderos.interfaces.http.serve import Incoming, admit
from builderos.trust.identity.service import Found
from builderos.trust.policy import service as policy

AT_ONCE: Final = 64
GATHER_S: Final = 0.001
NEEDED: Final = {"chat": "messages", "embeddings": "input", "responses": "input"}


@dataclass(slots=True)
class _Waiting:
    kind: Kind
    raw: bytes
    incoming: Incoming
    done: "asyncio.Future[Job]"


@dataclass(slots=True)
class _Queue:
    items: list[_Waiting] = field(default_factory=list[_Waiting])
    busy: bool = False


class Admissions:
    """Those of one server. Belongs to its event loop."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._queues: dict[str, _Queue] = defaultdict(_Queue)
        self._tasks: set[asyncio.Task[None]] = set()

    async def admit(self, kind: Kind, raw: bytes, incoming: Incoming) -> Job:
        """Let a request through. Raises what `admitted` and `Gateway.prepare` raise."""
        key = incoming.bearer or ""
        queue = self._queues[key]
        done: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        queue.items.append(_Waiting(kind, raw, incoming, done))
        if not queue.busy:
            queue.busy = True
            task = asyncio.ensure_future(self._work(key, queue))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await done

    async def _work(self, key: str, queue: _Queue) -> None:
        limiter = self._app.context.get(anyio.CapacityLimiter)
        together = 0
        while queue.items:
            if together > 1:  # there are many: a moment later there are more to share the next transaction
                await asyncio.sleep(GATHER_S)
            taken, queue.items = queue.items[:AT_ONCE], queue.items[AT_ONCE:]
            try:
                found: Sequence[Job | BaseException] = await anyio.to_thread.run_sync(
                    self._let_through, taken, limiter=limiter
                )
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - each of them is told
                found = [error] * len(taken)
            together = len(taken)
            for item, one in zip(taken, found, strict=True):
                self._answer(item, one)
        queue.busy = False
        del self._queues[key]

    def _answer(self, item: _Waiting, found: Job | BaseException) -> None:
        if item.done.done():  # who asked is gone
            if isinstance(found, Job):
                self._app.context.get(Gateway).abandon(found)
        elif isinstance(found, BaseException):
            item.done.set_exception(found)
        else:
            item.done.set_result(found)

    def _let_through(self, taken: Sequence[_Waiting]) -> "list[Job | BaseException]":
        """In a worker thread."""
        known: dict[str, Found] = {}
        found: dict[int, Job | BaseException] = {}
        groups: dict[Kind, list[tuple[int, Call, dict[str, Any]]]] = defaultdict(list)
        for number, item in enumerate(taken):
            try:
                call = admitted(self._app, item.incoming, f"openai_{item.kind}@1", known)
                groups[item.kind].append((number, call, read(item.raw, item.kind)))
            except Problem as problem:
                found[number] = problem
        for kind, group in groups.items():
            calls = [call for _, call, _ in group]
            try:
                jobs = self._app.context.get(Gateway).prepare_all(calls, kind, [body for _, _, body in group])
            except Exception as error:  # noqa: BLE001 - each of them is told
                found |= dict.fromkeys((number for number, _, _ in group), error)
                continue
            for (number, call, _), job in zip(group, jobs, strict=True):
                if isinstance(job, policy.Refused):
                    records.note_refusal(self._app.context, call, job)
                found[number] = job
        return [found[number] for number in range(len(taken))]


def admitted(app: Application, incoming: Incoming, tool: str, known: dict[str, Found] | None = None) -> Call:
    """Who asks. Raises `unauthenticated`, `token_invalid`, `token_expired`, `rate_limited`, `budget_exceeded`."""
    if incoming.bearer is None:
        raise Problem(
            "unauthenticated", "this needs an API key of this server",
            hint="Give the client a credential of BuilderOS as its api_key.",
        )  # fmt: skip
    return admit(app, incoming, tool, known)


def read(raw: bytes, kind: Kind) -> dict[str, Any]:
    """The body of a request. Raises `validation_failed`."""
    try:
        found: Any = orjson.loads(raw)
    except ValueError:
        raise Problem("validation_failed", "the body is not valid JSON", hint="Check the document.") from None
    if not isinstance(found, dict) or not cast(dict[str, Any], found).get(NEEDED[kind]):
        needed = NEEDED[kind]
        raise Problem(
            "validation_failed", f"{needed} is missing", hint="See OpenAI's reference.", param=needed
        )
    return found  # pyright: ignore[reportUnknownVariableType]
