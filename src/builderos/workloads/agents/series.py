"""Several sessions in one step, one after the other: those of the journal are gone through again, then new ones."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from builderos.core.context import Context
from builderos.core.steps import Done, Work
from builderos.core.unit import Unit, perform
from builderos.engine.durable import Durable

from . import journal
from .journal import Entry, Session
from .steps import carry_on, done_of, spec_of
from .telling import told_by_model, told_by_tool


class Series:
    """The sessions of one step. The same questions have to be asked of it in the same order after a crash."""

    def __init__(
        self, context: Context, work: Work, known: Sequence[Session], say: Callable[[str], None]
    ) -> None:
        self._context = context
        self._attempt = work.attempt
        self._known = list(known)
        self._say = say
        self._at = 0
        self._fresh = False
        self.usage: dict[str, float] = {}
        self._made: list[Mapping[str, Any]] = []

    @property
    def is_stale(self) -> bool:
        """Whether everything so far is what an earlier attempt of the step had come to."""
        last = self._known[self._at - 1] if self._at else None
        return not self._fresh and last is not None and last.attempt != self._attempt

    async def next(self, work: Work, answer: Mapping[str, Any] | None = None) -> Done:
        """What the next session comes to; `work` and `answer` say what is wanted of it, as in `steps.spec_of`."""
        if self._at < len(self._known):
            session = self._known[self._at]
        else:
            session = await self._context.get(Durable).unit(functools.partial(self._begin, work, answer))
            self._known.append(session)
        self._at += 1
        if session.state == "ended":
            done = await self._told_again(work, session)
        else:
            self._fresh = True
            done = await carry_on(self._context, work, session, self._say)
        made = done.result.get("made_with")
        if made and made not in self._made:
            self._made.append(made)
        for name, used in done.usage.items():
            self.usage[name] = self.usage.get(name, 0) + used
        return done

    def whole(self, done: Done) -> Done:
        """What the step came to, with what all of its sessions used, and which agents, models and prompts they were."""
        return replace(
            done, usage=dict(self.usage), result={**done.result, "made_by": [dict(m) for m in self._made]}
        )

    def _begin(self, work: Work, answer: Mapping[str, Any] | None) -> Session:
        def begin(unit: Unit) -> Session:
            spec = spec_of(unit, work, answer)
            name = str(spec["agent"]["name"])
            return journal.begin(unit, work, name, spec, len(self._known) + 1)

        return perform(self._context, work.call, begin, durable=False)

    async def _told_again(self, work: Work, session: Session) -> Done:
        """The log of the attempt is written from its beginning after a crash, so what is over is told again."""

        def read(unit: Unit) -> list[Entry]:
            return journal.entries(unit, session)

        found = await self._context.get(Durable).unit(
            lambda: perform(self._context, work.call, read, durable=False)
        )
        for line in _lines(found):
            self._say(line)
        return done_of(session.outcome or {})


def _lines(entries: Sequence[Entry]) -> Iterator[str]:
    turn = 0
    for entry in entries:
        if entry.kind == "model":
            turn += 1
            yield told_by_model(turn, entry.response or {})
        else:
            yield told_by_tool(entry)


def known_of(context: Context, work: Work) -> list[Session]:
    """The sessions that the step has had. Blocks."""
    return perform(context, work.call, lambda unit: journal.all_of(unit, work.step_id), durable=False)


def waits(done: Done) -> bool:
    """Whether a session has not ended but waits for somebody: so does its step."""
    return done.question is not None or (done.reason == "policy" and "approval_id" in done.result)
