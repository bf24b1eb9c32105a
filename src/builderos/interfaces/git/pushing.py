"""One push: commands, then the pack into quarantine, then the rules, then the branch."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final

import anyio

from builderos.assets.repositories.service import (
    PackGauge,
    Publication,
    Quarantine,
    RepositoryStore,
    index_fault,
    quarantine,
    seal,
)
from builderos.assets.workspaces.service import Command, View, accept, check, refusal
from builderos.core.cleaning import cleaned
from builderos.core.context import Context
from builderos.core.metrics import Metrics
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Call, perform
from builderos.interfaces.http.failures import note_push
from builderos.interfaces.http.records import note_refusal
from builderos.trust.policy import service as policy

from . import wire
from .bodies import Body
from .processes import Place, last_words, pour, running

ARRIVE_S: Final = 900.0  # for the whole pack to arrive and be indexed
INDEX_S: Final = 120.0  # for the indexer after the last byte


class BadPack(Exception):
    """The pack itself is at fault, whatever it was meant for."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class Pushing:
    """Answers one push for one caller. Refs other than the own branch are refused one by one, or all with `atomic`."""

    def __init__(
        self, context: Context, call: Call, view: View, threads: anyio.CapacityLimiter, place: Place
    ) -> None:
        self._context = context
        self._call = call
        self._view = view
        self._threads = threads
        self._place = place

    async def answer(self, updates: wire.Updates, body: Body) -> bytes:
        """The report, whatever happens: a refusal is an answer."""
        refused = self._refused(updates)
        pushes = self._context.get(Metrics).pushes
        mine = [item for item in updates.items if item.ref not in refused]
        if not mine or (refused and "atomic" in updates.capabilities):
            others = {item.ref: "atomic push failed" for item in mine}
            pushes.labels("refused").inc()
            await self._note(refused)
            return wire.report(updates, "ok", others | _reasons(refused), _words(refused.values()))
        try:
            async with self._place:
                said = await self._receive(mine[0], body)
        except BadPack as fault:
            pushes.labels("bad_pack").inc()
            await self._note({**refused, mine[0].ref: fault.problem})
            every = {item.ref: "unpacker error" for item in updates.items}
            return wire.report(updates, _reason(fault.problem), every, _words([fault.problem]))
        except Problem as problem:
            pushes.labels("refused").inc()
            refused[mine[0].ref] = problem
            await self._note(refused)
            return wire.report(updates, "ok", _reasons(refused), _words(refused.values()))
        pushes.labels("accepted").inc()
        await self._note(refused)
        return wire.report(updates, "ok", _reasons(refused), f"{said}\n{_words(refused.values())}")

    async def _note(self, refused: Mapping[str, Problem]) -> None:
        """What was refused leaves its lines, as any failed call does."""
        arguments = (self._context, self._call, self._view.repo.name, dict(refused))
        if refused:
            await anyio.to_thread.run_sync(note_push, *arguments, limiter=self._threads)

    def _refused(self, updates: wire.Updates) -> dict[str, Problem]:
        commands = [Command(item.old, item.new, item.ref) for item in updates.items]
        found = {command.ref: refusal(self._view, command) for command in commands}
        return {ref: problem for ref, problem in found.items() if problem is not None}

    async def _receive(self, update: wire.Update, body: Body) -> str:
        """Take the pack in and move the branch; returns what to tell the person."""
        with quarantine(self._context.get(RepositoryStore), self._view.folder) as room:
            try:
                async with asyncio.timeout(ARRIVE_S):
                    await self._index(room, body)
            except TimeoutError:
                raise BadPack(_too_slow()) from None
            return await anyio.to_thread.run_sync(self._let_in, room, update, limiter=self._threads)

    async def _index(self, room: Quarantine, body: Body) -> None:
        limit = self._context.get(Settings).max_push
        async with running(room.index_pack(limit)) as process:
            listening = asyncio.create_task(last_words(process))
            try:
                await pour(process, _measured(body, limit))
                async with asyncio.timeout(INDEX_S):
                    status, said = await process.wait(), await listening
            except Problem as problem:
                raise BadPack(problem) from problem
            finally:
                listening.cancel()
        if status != 0:
            raise BadPack(index_fault(said))

    def _let_in(self, room: Quarantine, update: wire.Update) -> str:
        """In a worker thread: the rules first, then one transaction."""
        own = self._view.own
        assert own is not None, "refusal() lets nothing through where there is no own branch"
        checked = check(self._context, self._view, own, self._call.actor, room, update.new)
        seal(room, checked.arrival)
        publication = Publication(room, own.ref, update.new)
        try:
            return perform(self._context, self._call, lambda unit: accept(unit, own, checked, publication))
        except policy.Refused as refused:
            note_refusal(self._context, self._call, refused)
            raise


async def _measured(body: Body, limit: int) -> AsyncIterator[bytes]:
    gauge = PackGauge(limit)
    async for chunk in body.rest():
        gauge.feed(chunk)
        yield chunk


def _too_slow() -> Problem:
    return Problem("payload_too_large", "the push took too long", hint="Push fewer commits at a time.")


def _reasons(refused: Mapping[str, Problem]) -> dict[str, str]:
    return {ref: _reason(problem) for ref, problem in refused.items()}


def _reason(problem: Problem) -> str:
    """What stands behind a ref: git's own words where it has some, else our code and what happened."""
    own: str | None = problem.extra.get("reason")
    return own or wire.one_line([f"{problem.code}:", cleaned(problem.detail)])


def _words(problems: Iterable[Problem]) -> str:
    """What a person reads, each thing once."""
    lines = [cleaned(line) for problem in problems for line in (f"{problem.detail}.", problem.hint) if line]
    return "\n".join(dict.fromkeys(lines))
