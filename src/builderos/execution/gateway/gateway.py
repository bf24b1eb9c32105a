"""Asking models: let through by policy and budget, sent without secrets, tried again, passed on, settled."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar, cast

import anyio
import anyio.to_thread
import orjson

from builderos.core.actor import is_anonymous
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, perform
from builderos.trust.vault import service as vault

from . import counting, faults, reserving, routing
from .files import AiFiles, Provider
from .keys import Keys
from .ports import Answer, Ask, ModelProvider, NoAnswer, Unfit
from .relaying import Job, Relay, end, first_of, looks_like_events, settlement_of, span_of
from .routing import Candidate
from .schema import DEFAULT, NANO, About, ChatIn, ChatOut, Counts, Event, Json, Kind, Vectors
from .settling import Settlement, Settler
from .telling import told

T = TypeVar("T")
MAX_ERROR: Final = 64 * 1024
LONGEST_WAIT_S: Final = 20.0
_FINE: Final = 300
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
        self._backoff_s = backoff_s
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

    async def stream(self, call: Call, chat: ChatIn, about: About | None = None) -> AsyncIterator[Event]:
        """A completion as it comes. Close the iterator to stop the upstream. Raises like `complete` before it begins;
        what goes wrong later is an `error` event.
        """
        job = await self._prepared(call, "chat", {**chat.as_body(), "stream": True}, about)
        async for event in self.events(job):
            yield event

    async def events(self, job: Job) -> AsyncIterator[Event]:
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
        return perform(self._context, calls[0], lambda unit: self._admit_all(unit, calls, kind, bodies))

    def admit(self, unit: Unit, kind: Kind, body: Json, about: About) -> Job:
        """The part of `prepare` that stands in a unit: with its commit the request is let through."""
        (found,) = self._reserved(unit, [self._considered(unit, unit.call, kind, body, about)])
        if isinstance(found, Problem):
            raise found
        return found

    def _admit_all(
        self, unit: Unit, calls: Sequence[Call], kind: Kind, bodies: Sequence[Json]
    ) -> list[Job | Problem]:
        found: list[_Draft | Problem] = []
        for call, body in zip(calls, bodies, strict=True):
            try:
                found.append(self._considered(unit, call, kind, body, About()))
            except Problem as problem:
                found.append(problem)
        made = iter(self._reserved(unit, [draft for draft in found if not isinstance(draft, Problem)]))
        return [draft if isinstance(draft, Problem) else next(made) for draft in found]

    def _considered(self, unit: Unit, call: Call, kind: Kind, body: Json, about: About) -> "_Draft":
        """What would be sent to whom, and the most that it can cost."""
        began = time.monotonic()
        asked = body.get("model", DEFAULT)
        if not isinstance(asked, str) or not asked:
            raise Problem(
                "validation_failed", "model must be a name", hint="See GET /openai/v1/models.", param="model"
            )
        self._refuse_strangers(unit)
        found = routing.allowed(unit, routing.candidates(self.files.current(), asked))
        body = unit.get(vault.Known).of(unit).json(body)
        stream = body.get("stream") is True
        hide = _ask_for_usage(body) if stream and kind == "chat" else False
        sent = counting.input_bound(body, len(orjson.dumps(body)))
        made = 0
        if kind != "embeddings":
            made = max(counting.output_bound(body, one.facts.max_output) for one in found)
        cost = max(one.facts.cost(sent, made) for one in found)
        seconds = sum((one.entry.total_s + LONGEST_WAIT_S) * (1 + one.entry.retries) for one in found)
        wanted = reserving.Wanted(
            kind,
            asked,
            found[0].provider,
            found[0].model,
            about,
            sent,
            made,
            cost,
            timedelta(seconds=seconds),
            call,
        )
        return _Draft(wanted, lambda held: Job(kind, body, stream, about, found, held, began, hide))

    def _reserved(self, unit: Unit, drafts: "Sequence[_Draft]") -> list[Job | Problem]:
        if not drafts:
            return []
        held = reserving.reserve(unit, [draft.wanted for draft in drafts])
        return [
            one if isinstance(one, Problem) else draft.job(one)
            for draft, one in zip(drafts, held, strict=True)
        ]

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
                    return await self._asked(job, candidate)
                except _Next as following:
                    last = following.problem
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

    async def _prepared(self, call: Call, kind: Kind, body: Json, about: About | None) -> Job:
        made: list[Job] = []
        try:
            await self._in_thread(lambda: made.append(self.prepare(call, kind, body, about)))
        except BaseException as error:
            for job in made:  # who asked left at this moment
                self._failed(job, error)
            raise
        return made[0]

    async def _asked(self, job: Job, candidate: Candidate) -> Relay:
        """An answer of one provider. Raises `_Next` where another one may do better, `Problem` where none will."""
        entry = candidate.entry
        try:
            provider = self.provider(candidate.provider, entry)
            keys = await self._keys_of(job, candidate)
        except Problem as problem:
            raise _Next(problem) from problem
        tries = entry.retries + len(keys)
        problem = faults.broken(candidate.provider, "did not answer")
        for number in range(tries):
            key = keys[number % len(keys)]
            ask = Ask(
                job.kind,
                {**job.body, "model": candidate.model},
                job.stream,
                key,
                job.about,
                entry.first_s,
                entry.idle_s,
            )
            job.attempts += 1
            try:
                answer = await provider.send(ask)
            except Unfit as error:
                raise _Next(_unfit(candidate, str(error))) from error
            except NoAnswer as error:
                problem, wait, again = faults.broken(candidate.provider, str(error)), None, not error.sent
                job.spent = job.spent or error.sent
            else:
                if answer.status < _FINE:
                    return await self._begun(job, candidate, answer)
                problem = await _refused(candidate, answer)
                wait, again = answer.retry_after_s, answer.status in faults.TRANSIENT
                if answer.status in faults.CREDENTIAL or problem.code == "rate_limited":
                    self._keys.rest(candidate.provider, key, wait)
                    if number + 1 < len(keys):
                        continue
                if answer.status in faults.CREDENTIAL:
                    raise _Next(problem)
            if not again:
                raise _Next(problem) if problem.code == "upstream_failed" else problem
            if number + 1 < tries:
                await self._pause(number, wait, problem)
        raise _Next(problem)

    async def _begun(self, job: Job, candidate: Candidate, answer: Answer) -> Relay:
        coming = answer.chunks()
        try:
            first = await first_of(coming)
            if job.stream and not looks_like_events(first):
                raise NoAnswer("answered with what is no stream of events")
        except BaseException as error:
            answer.close()
            await end(coming)
            job.spent = True
            if isinstance(error, NoAnswer):  # it may have been paid for: nobody asks a second time
                raise faults.broken(candidate.provider, str(error)) from error
            raise
        return Relay(job, candidate, answer, coming, first, self._settle)

    async def _keys_of(self, job: Job, candidate: Candidate) -> list[str | None]:
        org_id = job.reservation.org_id
        found = self._keys.at_hand(org_id, candidate.provider, candidate.entry)
        if found is None:
            return await self._in_thread(
                lambda: self._keys.of(self._context, org_id, candidate.provider, candidate.entry)
            )
        return found

    async def _pause(self, number: int, wait_s: float | None, problem: Problem) -> None:
        pause = self._backoff_s * 2**number if wait_s is None else wait_s
        if pause > LONGEST_WAIT_S:
            raise _Next(problem)
        await asyncio.sleep(pause)

    def _failed(self, job: Job, error: BaseException) -> None:
        """Settle a request without an answer: nothing was paid for unless it was broken off in the middle."""
        problem = error if isinstance(error, Problem) else None
        held = job.reservation
        unknown = job.spent or (problem is None and job.attempts > 0)
        counts = Counts(held.input, held.output, 0, estimated=True) if unknown else Counts()
        cost = held.cost if counts.estimated else 0
        state = "failed" if problem is not None else "aborted"
        code = problem.code if problem is not None else ""
        self._settle(job, settlement_of(job, job.found[0], state, code, counts, cost, "live", None))

    def _settle(self, job: Job, settlement: Settlement) -> None:
        job.settled = True
        self._settler.settle(settlement)
        if job.span is not None:
            entered, span = job.span
            span.set("gen_ai.response.model", settlement.model)
            span.set("gen_ai.usage.input_tokens", settlement.counts.input)
            span.set("gen_ai.usage.output_tokens", settlement.counts.output)
            if settlement.code:
                span.fail(settlement.code)
            entered.__exit__(None, None, None)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        own = self._keeping is not None and self._keeping is asyncio.get_running_loop()
        limiter = self._context.get(anyio.CapacityLimiter) if own else None  # it belongs to the server's loop
        return await anyio.to_thread.run_sync(work, limiter=limiter)

    def _refuse_strangers(self, unit: Unit) -> None:
        if is_anonymous(unit.actor) and not unit.settings.ai_anonymous:
            raise Problem(
                "policy_denied", "models are for people who signed in",
                hint="Sign in, use an API key, or ask the server's owner for BUILDEROS_AI_ANONYMOUS.",
                policy_rule="known-people-use-models",
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Draft:
    """A request that may be let through, once what it can cost is held."""

    wanted: reserving.Wanted
    job: Callable[[reserving.Reservation], Job]


class _Next(Exception):
    """Another provider may do better."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


async def _refused(candidate: Candidate, answer: Answer) -> Problem:
    body, coming = b"", answer.chunks()
    with suppress(NoAnswer):
        async for chunk in coming:
            body += chunk
            if len(body) > MAX_ERROR:
                break
    answer.close()
    await end(coming)
    return faults.refusal(candidate.provider, answer.status, body, answer.retry_after_s)


def _unfit(candidate: Candidate, why: str) -> Problem:
    return Problem(
        "validation_failed", f"{candidate.name}: {why}"[:1000], hint="Choose another model, or change the request.",
        provider=candidate.provider,
    )  # fmt: skip


def _ask_for_usage(body: Json) -> bool:
    """Have a stream tell its usage at the end; whether that has to be hidden from who did not ask for it."""
    options: Any = body.get("stream_options")
    given = cast(Json, options) if isinstance(options, dict) else {}
    body["stream_options"] = {**given, "include_usage": True}
    return given.get("include_usage") is not True
