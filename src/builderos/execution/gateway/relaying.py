"""One answer on its way: passed on as it comes, bounded, counted, and settled however it ends."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson

from builderos.core import tracing
from builderos.core.problems import Problem

from . import counting, faults
from .framing import LAST, parted, sound, whole_events
from .ports import Answer, NoAnswer
from .reserving import Reservation
from .routing import Candidate
from .schema import NANO, About, Counts, Json, Kind, State
from .settling import Settlement

_FOLD: Final = 1024 * 1024
_BEGINS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
_OVER: Final = re.compile(
    rb'\[DONE\]|"finish_reason"\s*:\s*"|"type"\s*:\s*"(?:response\.(?:completed|incomplete|failed))"|"error"'
)
_NO_CHOICE: Final = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_USAGE: Final = re.compile(rb'"usage"\s*:\s*\{')
_TAIL: Final = 16 * 1024
_LAST_CHUNKS: Final = 16
_ENDS_S: Final = 1.0
"""How long a connection may take to end behind the last event; afterwards it is closed."""


@dataclass(slots=True)
class Job:
    """A request that was let through: what is sent, who may answer, what is held for it."""

    kind: Kind
    body: Json
    stream: bool
    about: About
    found: list[Candidate]
    reservation: Reservation
    began: float
    hide_usage: bool = False
    attempts: int = 0
    spent: bool = False  # somebody may have worked on it, and nobody knows how much
    settled: bool = False
    span: Any = None
    request_id: str = ""


class Relay:
    """The bytes of one answer, as OpenAI has them. Iterate `chunks`, then `close`: both settle, once.

    `keys`: the server's credentials there, which no word of the provider may tell anybody.
    """

    def __init__(
        self, job: Job, candidate: Candidate, answer: Answer, coming: AsyncIterator[bytes], first: bytes,
        settle: Callable[..., Any], keys: Sequence[str | None] = (),
    ) -> None:  # fmt: skip
        self.job = job
        self.candidate = candidate
        self.label = answer.label
        self.counts = Counts()
        self.cost = 0
        self._answer = answer
        self._coming = coming
        self._first = first
        self._settle = settle
        self._keys = keys
        self._seen: list[bytes] = [first]
        self._size = len(first)
        self._kept = len(first)
        self._folded = 0
        self._told: Counts | None = None
        self._first_ms = round((time.monotonic() - job.began) * 1000)

    @property
    def id(self) -> str:
        """Of the row in the ledger of usage."""
        return self.job.reservation.id

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The stream. What goes wrong on the way becomes its last event: the status has been sent long since."""
        try:
            async with aclosing(self.parts()) as parts:
                async for part in parts:
                    yield part
        except Problem as problem:
            yield error_event(problem, self.job.request_id)

    async def parts(self) -> AsyncGenerator[bytes]:
        """The stream in whole events. Raises `upstream_failed` where it breaks off, or is none."""
        state: State = "aborted"
        code = ""
        try:
            async with aclosing(self._to_its_end()) as events:
                async for data in events:
                    yield data
            if not self._has_end():
                raise NoAnswer("the stream ended in the middle")
            state = "done"
        except NoAnswer as error:
            problem = self._broken(error)
            state, code = "failed", problem.code
            raise problem from error
        finally:
            self._end(state, code)

    async def whole(self) -> bytes:
        """The whole body of an answer that is no stream. Raises `upstream_failed` where it is none."""
        state: State = "aborted"
        code = ""
        try:
            parts = [chunk async for chunk in self._bounded()]
            body = b"".join(parts)
            self._check(body)
            self._seen = [body]
            state = "done"
            return body
        except NoAnswer as error:
            problem = self._broken(error)
            state, code = "failed", problem.code
            raise problem from error
        finally:
            self._end(state, code)

    def close(self) -> None:
        """Let go of an answer that nobody reads to its end."""
        self._end("aborted", "")

    def fail(self, code: str) -> None:
        """Let go of an answer that cannot be understood."""
        self._end("failed", code)

    async def _bounded(self) -> AsyncGenerator[bytes]:
        entry = self.candidate.entry
        until = self.job.began + entry.total_s
        if self._first:
            yield self._first
        async for chunk in self._coming:
            self._size += len(chunk)
            self._kept += len(chunk)
            self._seen.append(chunk)
            if self._kept > _FOLD:
                self._fold()
            yield chunk
            if self._size > entry.max_bytes:
                raise NoAnswer(f"sent more than {entry.max_bytes} bytes and was cut off")
            if time.monotonic() > until:
                raise NoAnswer(f"took more than {entry.total_s:.0f} s and was cut off")

    async def _events(self) -> AsyncGenerator[bytes]:
        """Whole events, as far as they are sound; without the one that tells the usage where nobody asked for it."""
        async with aclosing(self._bounded()) as bounded:
            async for data in whole_events(bounded):
                good, fault = sound(data)
                if self.job.hide_usage and _NO_CHOICE.search(good):
                    good = _without_usage(good)
                if good:
                    yield good
                if fault:
                    raise NoAnswer(fault)

    async def _to_its_end(self) -> AsyncGenerator[bytes]:
        """The events, up to the one that says that nothing follows."""
        async with aclosing(self._events()) as events:
            async for data in events:
                said, last = parted(data, self.job.kind)
                if said:
                    yield said
                if last:
                    self._note("done", "")  # before it is passed on: who has read it may ask again at once
                    yield last
                    await self._run_out()
                    return

    async def _run_out(self) -> None:
        """Let the connection end, so that it can serve again; what is said behind the end is not listened to."""
        with contextlib.suppress(NoAnswer, TimeoutError):
            async with asyncio.timeout(_ENDS_S):
                async for _ in self._coming:
                    return

    def _broken(self, error: NoAnswer) -> Problem:
        return faults.broken(self.candidate.provider, faults.without(self._keys, str(error)))

    def _fold(self) -> None:
        """Count the older part of a long answer, and let its bytes go."""
        data = b"".join(self._seen)
        cut = data.rfind(b"\n\n", 0, len(data) - _TAIL) + 2
        if not self.job.stream or cut < 2:
            return
        self._folded += counting.relayed([data[:cut]])
        self._seen = [data[cut:]]
        self._kept = len(data) - cut

    def _has_end(self) -> bool:
        return _OVER.search(b"".join(self._seen)[-_TAIL:]) is not None

    def _check(self, body: bytes) -> None:
        try:
            found: Any = orjson.loads(body)
        except ValueError:
            raise NoAnswer("answered with what is no JSON") from None
        wanted = {"chat": "choices", "embeddings": "data", "responses": "output"}[self.job.kind]
        if not isinstance(found, dict) or wanted not in found:
            raise NoAnswer(f"answered without `{wanted}`")
        self._told = counting.counts_of(cast(Json, found).get("usage"))

    def _end(self, state: State, code: str) -> None:
        """Let go, and settle, once; never waits and never raises."""
        self._answer.close()
        self._note(state, code)

    def _note(self, state: State, code: str) -> None:
        if self.job.settled:
            return
        if state == "aborted" and self.job.stream and LAST in b"".join(self._seen[-_LAST_CHUNKS:]):
            state = "done"  # whoever has read the end of a stream may leave before its connection ends
        self.counts = self._counted(state)
        counts = self.counts
        self.cost = self.candidate.facts.cost(counts.input, counts.output, counts.cached)
        settlement = settlement_of(
            self.job, self.candidate, state, code, counts, self.cost, self.label, self._first_ms
        )
        self._settle(self.job, settlement)

    def _counted(self, state: State) -> Counts:
        held = self.job.reservation
        told = counting.usage_in(self._seen) if self.job.stream else self._told
        if told is not None and state == "done":
            return told
        if not self.job.stream and state != "done":
            # It may have been worked out to its end, and nobody saw how long it was.
            return Counts(held.input, held.output, 0, estimated=True)
        passed = self._folded + counting.relayed(self._seen) if self.job.stream else held.output
        if told is None:
            return Counts(held.input, passed, 0, estimated=True)
        return Counts(told.input or held.input, max(told.output, passed), told.cached, estimated=True)


def settlement_of(
    job: Job,
    candidate: Candidate,
    state: State,
    code: str,
    counts: Counts,
    cost: int,
    label: Any,
    first_ms: int | None,
) -> Settlement:
    """How a request ended, for its row."""
    return Settlement(
        job.reservation.id, job.reservation.org_id, candidate.provider, candidate.model, label, state, code, counts,
        cost, job.attempts, first_ms, round((time.monotonic() - job.began) * 1000),
    )  # fmt: skip


def looks_like_events(first: bytes) -> bool:
    """Whether an answer begins as Server-Sent Events do."""
    head = first.lstrip(b"\xef\xbb\xbf\r\n ")
    return any(head.startswith(begin) or begin.startswith(head) for begin in _BEGINS)


def error_event(problem: Problem, request_id: str) -> bytes:
    """How OpenAI's clients are told of what went wrong within a stream."""
    error = {"message": problem.detail, "type": "api_error", "param": None, "code": problem.code,
             "request_id": request_id}  # fmt: skip
    return f"data: {json.dumps({'error': error})}\n\n".encode()


def _without_usage(data: bytes) -> bytes:
    separator = b"\r\n\r\n" if b"\r\n\r\n" in data else b"\n\n"
    kept = [
        event for event in data.split(separator) if not (_NO_CHOICE.search(event) and _USAGE.search(event))
    ]
    return separator.join(kept)


async def first_of(coming: AsyncIterator[bytes]) -> bytes:
    """The first bytes of an answer. Raises `NoAnswer` where there are none."""
    async for chunk in coming:
        return chunk
    raise NoAnswer("answered with nothing")


async def end(coming: AsyncIterator[bytes]) -> None:
    """Close an iterator that is not read to its end."""
    close = getattr(coming, "aclose", None)
    if close is not None:
        with contextlib.suppress(asyncio.CancelledError, NoAnswer):
            await close()


def span_of(job: Job) -> Any:
    """The span of a request to a model, entered; it holds nothing of what was said.

    Where an agent asks, its own span is the `chat` (workloads/agents/calls.py): two of them would have whoever adds
    tokens up count each one twice.
    """
    if not tracing.on():
        return None
    first, told = job.found[0], _is_told(job)
    operation = "embeddings" if job.kind == "embeddings" else "chat"
    named: dict[str, tracing.Value | None] = {
        "gen_ai.operation.name": None if told else operation,
        "gen_ai.provider.name": first.provider, "gen_ai.request.model": first.model,
        "builderos.usage.id": job.reservation.id, "builderos.run.id": job.about.run_id,
        "builderos.prompt.ref": job.about.prompt, "gen_ai.agent.name": job.about.agent,
    }  # fmt: skip
    name = f"gateway {job.kind}" if told else f"{operation} {first.model}"
    entered = tracing.span(name, {key: value for key, value in named.items() if value is not None})
    return entered, entered.__enter__()


def end_span(job: Job, ended: Settlement) -> None:
    """How it ended: by whom, with which tokens, at what price."""
    if job.span is None:
        return
    entered, span = job.span
    span.set("gen_ai.provider.name", ended.provider)
    span.set("gen_ai.response.model", ended.model)
    span.set("builderos.label", ended.label)
    if not _is_told(job):
        span.set("gen_ai.usage.input_tokens", ended.counts.input)
        span.set("gen_ai.usage.output_tokens", ended.counts.output)
        span.set("builderos.cost", ended.cost / NANO)
    if ended.code:
        span.fail(ended.code)
    entered.__exit__(None, None, None)


def _is_told(job: Job) -> bool:
    """Whether who asks tells of it by a span of its own."""
    return job.about.turn > 0
