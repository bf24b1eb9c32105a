"""Asking models: let through by policy and budget, sent without secrets, tried again, passed on, settled."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

import anyio
import anyio.to_thread
import orjson

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Call, RetryAfter, Unit, perform

from . import admitting, faults
from .attempting import Attempts, Elsewhere
from .files import AiFiles, Provider
from .keys import Keys
from .ports import ModelProvider
from .relaying import Job, Relay, end_span, settlement_of, span_of
from .routing import Candidate
from .schema import DEFAULT, NANO, About, ChatIn, ChatOut, Counts, Event, Json, Kind, Vectors
from .settling import Settlement, Settler
from .telling import told

T = TypeVar("T")
Build = Callable[[str, Provider], ModelProvider]


class Gateway:
    """The one way to a model. `backoff_s`: before the second attempt; twice as long before each further one."""

    def __init__(
        self, context: Context, files: AiFiles, build: Build, keys: Keys | None = None, backoff_s: float = 0.5
    ) -> None:
        self.files = files
        self._context = context
        self._build = build
        self._keys = keys or Keys()
        self._settler = Settler(context)
        self._providers: dict[str, tuple[Provider, ModelProvider]] = {}
        self._attempts = Attempts(self._keys, self._settle, backoff_s)
        self._keeping: asyncio.AbstractEventLoop | None = None

    async def complete(self, call: Call, chat: ChatIn, about: About | None = None) -> ChatOut:
        """One completion, whole; its usage stands in the ledger when this returns.

        Raises what `prepare` raises, `upstream_failed`, `rate_limited`, `validation_failed`.
        """
        body = chat.as_body()
        body.pop("stream", None)
        relay = await self.open(call, "chat", body, about)
        text = await relay.whole()
        try:
            found = ChatOut.model_validate_json(text)
            if not found.choices:
                raise ValueError("no choices")
        except ValueError as error:
            raise faults.broken(relay.candidate.provider, "answered with what is no completion") from error
        finally:
            await self._in_thread(self._settler.flush)
        counts = relay.counts
        usage = {
            "prompt_tokens": counts.input, "completion_tokens": counts.output, "cached_tokens": counts.cached,
            "total_tokens": counts.input + counts.output, "estimated": counts.estimated,
        }  # fmt: skip
        return found.model_copy(
            update={
                "usage": found.usage.model_copy(update=usage), "provider": relay.candidate.provider,
                "usage_id": relay.id, "cost": relay.cost / NANO, "label": relay.label,
                "model": found.model or relay.candidate.model,
            }
        )  # fmt: skip

    async def stream(self, call: Call, chat: ChatIn, about: About | None = None) -> AsyncGenerator[Event]:
        """A completion as it comes. Close the iterator to stop the upstream. Raises like `complete` before it begins;
        what goes wrong later is an `error` event.
        """
        job = await self._prepared(call, "chat", {**chat.as_body(), "stream": True}, about)
        async with aclosing(self.events(job)) as events:
            async for event in events:
                yield event

    async def events(self, job: Job) -> AsyncGenerator[Event]:
        """The events of a request that was let through. Raises what `begin` raises."""
        relay = await self.begin(job)
        try:
            async for event in told(relay):
                yield event
        finally:
            relay.close()

    async def embed(
        self, call: Call, texts: Sequence[str], model: str = DEFAULT, about: About | None = None
    ) -> Vectors:
        """A vector for each text. Raises like `complete`."""
        relay = await self.open(call, "embeddings", {"model": model, "input": list(texts)}, about)
        text = await relay.whole()
        await self._in_thread(self._settler.flush)
        try:
            rows = sorted(orjson.loads(text)["data"], key=lambda row: row["index"])
            vectors = [[float(number) for number in row["embedding"]] for row in rows]
            if len(vectors) != len(texts):
                raise ValueError("not as many")
        except (ValueError, KeyError, TypeError) as error:
            raise faults.broken(relay.candidate.provider, "answered with what are no embeddings") from error
        at = relay.candidate
        return Vectors(vectors, at.model, at.provider, relay.counts, relay.id, relay.cost / NANO)

    async def open(self, call: Call, kind: Kind, body: Json, about: About | None = None) -> Relay:
        """Let through and begun, with OpenAI's JSON. Raises like `complete`."""
        return await self.begin(await self._prepared(call, kind, body, about))

    def prepare(self, call: Call, kind: Kind, body: Json, about: About | None = None) -> Job:
        """Let a request through: the model, the policy, secrets taken out, the most that it can cost held. Blocks.

        Raises `not_found`, `validation_failed`, `policy_denied`, `budget_exceeded`.
        """
        return perform(self._context, call, lambda unit: self.admit(unit, kind, body, about or About()))

    def prepare_all(self, calls: Sequence[Call], kind: Kind, bodies: Sequence[Json]) -> list[Job | Problem]:
        """Likewise, many requests of one actor in one transaction; one that is refused is no matter to the others."""
        file = self.files.current()
        # The rows outlive this process, and the database's: what a power loss forgets, it forgets with the answers.
        return perform(
            self._context,
            calls[0],
            lambda u: self._caught_up(u, admitting.admit_all(u, file, calls, kind, bodies)),
            durable=False,
        )

    def admit(self, unit: Unit, kind: Kind, body: Json, about: About) -> Job:
        """The part of `prepare` that stands in a unit: with its commit the request is let through."""
        try:
            return admitting.admit(unit, self.files.current(), kind, body, about)
        except Problem as problem:
            self._caught_up(unit, [problem])
            raise

    def abandon(self, job: Job) -> None:
        """Settle a request that was let through and that nobody will begin."""
        self._failed(job, asyncio.CancelledError())

    async def begin(self, job: Job) -> Relay:
        """Ask one after the other until an answer begins. Raises `upstream_failed`, `rate_limited`, `not_found`,
        `validation_failed`, `unavailable`; then the request is settled.
        """
        job.span = span_of(job)
        last = Problem("upstream_failed", "nobody answered", hint="Repeat the call.")
        try:
            for candidate in job.found:
                try:
                    provider = self.provider(candidate.provider, candidate.entry)
                    keys = await self._keys_of(job, candidate)
                except Problem as problem:  # it is set up badly, or has no credential
                    last = problem
                    continue
                try:
                    return await self._attempts.relay(job, candidate, provider, keys)
                except Elsewhere as elsewhere:
                    last = elsewhere.problem
            raise last
        except BaseException as error:
            self._failed(job, error)
            raise

    def keep(self) -> None:
        """From now on the running event loop keeps connections to providers."""
        self._keeping = asyncio.get_running_loop()

    async def let_go(self) -> None:
        """End the kept connections; in the loop that called `keep`."""
        self._keeping = None
        for _, provider in list(self._providers.values()):
            await provider.close()

    def flush(self) -> None:
        """Write down what has ended: for whoever reads the usage."""
        self._settler.flush()

    def close(self) -> None:
        """Write down what has ended, and end."""
        self._settler.close()

    def provider(self, name: str, entry: Provider) -> ModelProvider:
        """The adapter for an entry of the file, built when it is first needed."""
        known = self._providers.get(name)
        if known is None or known[0] != entry:
            known = self._providers[name] = (entry, self._build(name, entry))
        if self._keeping is not None and self._keeping is asyncio.get_running_loop():
            known[1].keep()
        return known[1]

    def _caught_up(self, unit: Unit, found: list[Job | Problem]) -> list[Job | Problem]:
        """The same, unless a budget has nothing left only because it still holds what has ended: what did end is
        written down first then, and the unit starts over, once.
        """
        over = any(isinstance(one, Problem) and one.code == "budget_exceeded" for one in found)
        if over and unit.attempt == 0 and self._settler.behind:
            raise RetryAfter(self._settler.flush)
        return found

    async def _prepared(self, call: Call, kind: Kind, body: Json, about: About | None) -> Job:
        made: list[Job] = []
        try:
            await self._in_thread(lambda: made.append(self.prepare(call, kind, body, about)))
        except BaseException as error:
            for job in made:  # who asked left at this moment
                self._failed(job, error)
            raise
        return made[0]

    async def _keys_of(self, job: Job, candidate: Candidate) -> list[str | None]:
        org_id = job.reservation.org_id
        found = self._keys.at_hand(org_id, candidate.provider, candidate.entry)
        if found is None:
            return await self._in_thread(
                lambda: self._keys.of(self._context, org_id, candidate.provider, candidate.entry)
            )
        return found

    def _failed(self, job: Job, error: BaseException) -> None:
        """Settle a request without an answer: nothing was paid for unless it was broken off in the middle."""
        problem = error if isinstance(error, Problem) else None
        held = job.reservation
        unknown = job.spent or (problem is None and job.attempts > 0)
        counts = Counts(held.input, held.output, 0, estimated=True) if unknown else Counts()
        cost = held.cost if counts.estimated else 0
        state = "failed" if problem is not None else "aborted"
        code = problem.code if problem is not None else ""
        first = job.found[0]
        self._settle(job, settlement_of(job, first, state, code, counts, cost, first.entry.label, None))

    def _settle(self, job: Job, settlement: Settlement) -> None:
        job.settled = True
        self._settler.settle(settlement)
        end_span(job, settlement)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        own = self._keeping is not None and self._keeping is asyncio.get_running_loop()
        limiter = self._context.get(anyio.CapacityLimiter) if own else None  # it belongs to the server's loop
        return await anyio.to_thread.run_sync(work, limiter=limiter)
