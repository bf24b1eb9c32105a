"""Asking one provider: with one key after the other, again where it may help, until an answer begins."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from builderos.core.problems import Problem

from . import faults
from .admitting import LONGEST_WAIT_S
from .keys import Keys
from .ports import Answer, Ask, Damaged, ModelProvider, NoAnswer, Unfit
from .relaying import Job, Relay, end, first_of, looks_like_events
from .routing import Candidate

MAX_ERROR: Final = 64 * 1024
_FINE: Final = 300


class Elsewhere(Exception):
    """Another provider may do better."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why an attempt failed. `again`: another one may help, after `wait_s` where the provider said so."""

    problem: Problem
    again: bool
    wait_s: float | None = None
    of_key: bool = False


@dataclass(slots=True)
class Attempts:
    """How often, and with what. `backoff_s`: before the second attempt; twice as long before each further one."""

    keys: Keys
    settle: Callable[..., Any]
    backoff_s: float

    async def relay(
        self, job: Job, candidate: Candidate, provider: ModelProvider, keys: list[str | None]
    ) -> Relay:
        """An answer that has begun. Raises `Elsewhere` where another provider may do better, `Problem` where none will.

        Nothing is tried again once an answer has begun: it may have been paid for.
        """
        tries = candidate.entry.retries + len(keys)
        for number in range(tries):
            key = keys[number % len(keys)]
            found = await self._once(job, candidate, provider, key, keys)
            if isinstance(found, Relay):
                return found
            if found.of_key:
                self.keys.rest(candidate.provider, key, found.wait_s)
                if number + 1 < len(keys):
                    continue
            if not found.again or number + 1 == tries:
                raise _final(found)
            await self._pause(number, found)
        raise Elsewhere(faults.broken(candidate.provider, "was not asked"))

    async def _once(
        self,
        job: Job,
        candidate: Candidate,
        provider: ModelProvider,
        key: str | None,
        keys: Sequence[str | None],
    ) -> Relay | _Refusal:
        entry = candidate.entry
        body = {**job.body, "model": candidate.model}
        job.attempts += 1
        try:
            answer = await provider.send(
                Ask(job.kind, body, job.stream, key, job.about, entry.first_s, entry.idle_s)
            )
        except Unfit as error:
            raise Elsewhere(_unfit(candidate, str(error))) from error
        except Damaged as error:
            raise Elsewhere(_damaged(candidate, str(error))) from error
        except NoAnswer as error:
            job.spent = job.spent or error.sent
            return _Refusal(faults.broken(candidate.provider, str(error)), again=not error.sent)
        if answer.status < _FINE:
            return await self._begun(job, candidate, answer, keys)
        problem = await _refused(candidate, answer, keys)
        of_key = answer.status in faults.CREDENTIAL or problem.code == "rate_limited"
        return _Refusal(problem, answer.status in faults.TRANSIENT, answer.retry_after_s, of_key)

    async def _begun(
        self, job: Job, candidate: Candidate, answer: Answer, keys: Sequence[str | None]
    ) -> Relay:
        coming = answer.chunks()
        try:
            first = await first_of(coming)
            if job.stream and not looks_like_events(first):
                raise NoAnswer("answered with what is no stream of events")
        except BaseException as error:
            answer.close()
            await end(coming)
            job.spent = True
            if isinstance(error, NoAnswer):
                raise faults.broken(candidate.provider, str(error)) from error
            raise
        return Relay(job, candidate, answer, coming, first, self.settle, keys)

    async def _pause(self, number: int, refusal: _Refusal) -> None:
        pause = self.backoff_s * 2**number if refusal.wait_s is None else refusal.wait_s
        if pause > LONGEST_WAIT_S:
            raise Elsewhere(refusal.problem)
        await asyncio.sleep(pause)


def _final(refusal: _Refusal) -> Exception:
    """What a request does not fit fits nowhere else; a provider that fails has others beside it."""
    elsewhere = refusal.again or refusal.of_key or refusal.problem.code == "upstream_failed"
    return Elsewhere(refusal.problem) if elsewhere else refusal.problem


async def _refused(candidate: Candidate, answer: Answer, keys: Sequence[str | None]) -> Problem:
    body, coming = b"", answer.chunks()
    with suppress(NoAnswer):
        body = await _start_of(coming)
    answer.close()
    await end(coming)
    return faults.refusal(candidate.provider, answer.status, body, answer.retry_after_s, keys)


async def _start_of(coming: AsyncIterator[bytes]) -> bytes:
    body = b""
    async for chunk in coming:
        body += chunk
        if len(body) > MAX_ERROR:
            break
    return body


def _damaged(candidate: Candidate, why: str) -> Problem:
    return Problem(
        "upstream_failed", f"{candidate.name}: {why}"[:1000],
        hint="The server's owner has to mend this file.", provider=candidate.provider,
    )  # fmt: skip


def _unfit(candidate: Candidate, why: str) -> Problem:
    return Problem(
        "validation_failed", f"{candidate.name}: {why}"[:1000], hint="Choose another model, or change the request.",
        provider=candidate.provider,
    )  # fmt: skip
