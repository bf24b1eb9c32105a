"""Calls of models and tools through the journal and the gate: each is made once, allowed, limited and recorded."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final, TypeVar

from builderos.assets.repositories import service as repositories
from builderos.core import tracing
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.steps import Question, Work
from builderos.core.unit import Call, Unit, perform
from builderos.engine.durable import Durable
from builderos.execution.runs import service as runs
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.vault import service as vault

from . import gate, journal, outcomes
from .definition import Agent
from .files import Files
from .journal import Entry, Session, Status
from .limits import Meter, Parked, Reached
from .ports import Models, Turn
from .telling import credited, end_chat, event_of, span_of, told_by_model, told_by_tool, tools_of, usage_of
from .tools import ASK, At, Result, Tool, unknown

T = TypeVar("T")
ASKED: Final = "asked"
INTERRUPT: Final = "interrupt"
LOOK_S: Final = 0.5  # whoever interrupts a session has its task cut off, too


class Calls:
    """The calls of one session, from its first on. Not shared between tasks: one call at a time."""

    def __init__(
        self, context: Context, work: Work, session: Session, agent: Agent, tools: Mapping[str, Tool],
        entries: Sequence[Entry], below: str | None, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.context = context
        self.work = work
        self.session = session
        self.agent = agent
        self.tools = tools
        self.tree = session.tree or repositories.EMPTY_TREE.hex()
        self.heard: dict[int, list[str]] = {}  # turn → what people had said before it
        self.meter = Meter(agent.limits)
        self.events: list[dict[str, Any]] = []
        self.turns = 0
        self.reply: Mapping[str, Any] = {}  # the latest one
        self.misfit = ""  # what was wrong with the last call in it
        self.model = ""  # all that answered, the first one first
        self._models: dict[str, None] = {}
        self._known = {entry.n: entry for entry in entries}
        self._n = 0
        self.below = below
        self.facts: dict[str, Any] = {}  # of the latest tool call, e.g. an exit code
        self._say = say
        self._durable = context.get(Durable)
        self._call: Call | None = None
        self._looked = 0.0
        self._left = 0  # tools that the latest reply still asks for
        self._next: Entry | None = None  # the next call of a model, begun with the last of them

    # ---------------------------------------------------------------- models

    async def ask_model(self, make: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """A model's reply. `make` gives the request once it is known what people have said (`heard`).

        Raises `limits.Reached`, `Parked`, what the gateway raises.
        """
        self._n += 1
        self.turns += 1
        n, turn = self._n, self.turns
        entry = self._at(n, "model")
        if entry is None and self._next is not None and self._next.n == n:
            entry = self._known[n] = self._next
        elif entry is None:
            entry = await self._unit(functools.partial(self._begin_model, n), self.agent.model)
            self._known[n] = entry
        elif not entry.is_over:  # it was cut off: what was said since then is heard, too
            entry = await self._unit(functools.partial(self._again, entry), self.agent.model)
        self.heard[turn] = list(entry.request.get("heard", ()))
        reply = entry.response
        if reply is None:
            reply = await self._asked(entry, make())
        self.reply, self.misfit = reply, ""
        self._left = tools_of(reply)
        self.meter.count_model(reply)
        self._models[credited(reply, self.agent.model)] = None
        self.model = " + ".join(self._models)
        self._say(told_by_model(turn, reply))
        return reply

    def _begin_model(self, n: int, unit: Unit) -> Entry:
        self._call, self._looked = unit.call, time.monotonic()
        found = journal.standing(unit, self.session)
        heard: list[str] = []
        if found.interrupted_by is not None:
            self._look_up(unit, n)
        self.meter.check((found.tokens, found.cost))
        if found.unheard or found.interrupted_by is not None:
            heard = journal.hear(unit, self.session, n)
        return self._note_model(unit, n, self.turns, heard)

    def _note_model(self, unit: Unit, n: int, turn: int, heard: list[str]) -> Entry:
        digest = journal.digest_of(self.agent.model, {"turn": turn})
        entry = Entry(n, "model", self.agent.model, digest, {"heard": heard}, "begun")
        journal.note(unit, self.session, entry)
        return entry

    def _begin_next(self, unit: Unit) -> None:
        """Behind the last tool that the model asked for it is asked again: that begins in the unit of the tool, unless
        somebody wants to be heard first, or a limit is reached."""
        if self._left != 0 or self._n + 1 in self._known:
            return
        found = journal.standing(unit, self.session)
        if found.interrupted_by is not None or found.unheard:
            return
        try:
            self.meter.check((found.tokens, found.cost))
        except Reached:
            return  # said when it is asked
        entry = self._note_model(unit, self._n + 1, self.turns + 1, [])
        call = replace(unit.call, tool=f"{self.agent.model}@1")

        def begun() -> None:
            self._next, self._call, self._looked = entry, call, time.monotonic()

        unit.after_commit(begun)

    def _again(self, entry: Entry, unit: Unit) -> Entry:
        self._look_up(unit, entry.n)
        more = journal.hear(unit, self.session, entry.n)
        if not more:
            return entry
        heard = [*entry.request.get("heard", ()), *more]
        return journal.ask_again(unit, self.session, replace(entry, request={"heard": heard}))

    async def _asked(self, entry: Entry, request: Mapping[str, Any]) -> Mapping[str, Any]:
        prompt: Mapping[str, Any] = self.session.spec["prompt"]
        ref, work = f"{prompt['ref']}#{prompt['sha256']}", self.work
        turn = Turn(work.run_id, work.step_id, self.agent.name, ref, self.turns)
        call = self._call or await self._durable.unit(
            functools.partial(gate.call_of, self.context, self.work, self.agent, "model")
        )
        with self._span("chat", self.agent.model, {"gen_ai.request.model": self.agent.model}) as span:
            reply = await self.context.get(Models).complete(self.context, call, request, turn)  # type: ignore[type-abstract]
            reply = journal.storable(reply)
            usage = usage_of(reply)
            end_chat(span, reply, usage)
        done = replace(entry, status="done", response=reply, usage=usage)
        await self._unit(lambda unit: journal.change(unit, self.session, done), self.agent.model)
        return reply

    # ---------------------------------------------------------------- tools

    async def use_tool(self, name: str, args: Mapping[str, Any]) -> str:
        """What a tool says. Refusals and faults are told to the model as text; only what stops the agent is raised:
        `limits.Reached`, `Parked`."""
        self._n += 1
        self._left -= 1
        n, name, args = self._n, journal.storable(name), journal.storable(args)
        digest = journal.digest_of(name, args)
        entry = self._at(n, "tool", digest)
        if entry is None or not entry.is_over:
            word = name if name in self.tools else "unknown"  # what a model makes up is not among our words
            with self._span("execute_tool", word, {"gen_ai.tool.name": word}) as span:
                entry = await self._used(n, name, dict(args), digest, entry)
                span.set("builderos.policy.decision", "deny" if entry.status == "refused" else "allow")
                if entry.status != "done":
                    span.fail(str((entry.response or {}).get("code", entry.status)))
        self._known[n] = entry
        self.tree = entry.tree or self.tree
        self.facts = dict(entry.response or {})
        self.meter.count_tool(digest, self.tree)
        self.events += event_of(entry)
        self._say(told_by_tool(entry))
        return str((entry.response or {}).get("text", ""))

    async def refuse(self, name: str, said: str, problem: Problem) -> None:
        """Write down a call that is not made, since nobody can tell what it would be: there is no such tool, or its
        arguments (`said`) do not fit. It counts like any other. Raises `limits.Reached`."""
        self._n += 1
        self._left -= 1
        self.misfit = problem.detail
        refused = outcomes.misfit(self._n, name, said, problem)
        entry = self._at(self._n, "tool", refused.digest)
        if entry is None:
            self.meter.check_tool(refused.digest, self.tree)
            word = name if name in self.tools else "unknown"
            entry = await self._unit(functools.partial(self._write_cleaned, refused), word)
            self._known[entry.n] = entry
        self.meter.count_tool(refused.digest, self.tree)
        self._say(told_by_tool(entry))

    def _write_cleaned(self, entry: Entry, unit: Unit) -> Entry:
        """What nobody has looked at may hold anything."""
        clean = {"name": entry.name, "request": dict(entry.request), "response": dict(entry.response or {})}
        return self._write(unit, replace(entry, **vault.clean(unit, clean)), noted=False)

    async def _used(self, n: int, name: str, args: dict[str, Any], digest: str, was: Entry | None) -> Entry:
        self.meter.check_tool(digest, self.tree)
        tool = self.tools.get(name)
        entry = was or Entry(n, "tool", name, digest, args, "begun")
        if tool is None:
            return await self._close(entry, unknown(name), noted=was is not None)
        if tool.name == ASK.name:
            return await self._question(entry, noted=was is not None)
        if tool.once and was is not None and was.status == "begun":
            return await self._close(entry, outcomes.lost(name), noted=True)
        verb = self._inside if tool.inside is not None else self._begin_tool
        try:
            begun = await self._unit(functools.partial(verb, tool, entry, was is not None), name)
        except Problem as problem:
            return await self._close(entry, problem, noted=was is not None)
        if begun.status == "waiting":
            raise Parked("a yes", approval_id=str(begun.decision["approval_id"]))
        if begun.is_over:
            return begun
        assert tool.outside is not None
        try:
            result = await tool.outside(self._place(n), args)
        except Problem as problem:
            if problem.code == "approval_required" and "approval_id" in problem.extra:
                raise Parked("a yes", approval_id=str(problem.extra["approval_id"])) from problem
            return await self._close(begun, problem, noted=True)
        return await self._unit(functools.partial(self._end_tool, tool, begun, result), name)

    def _inside(self, tool: Tool, entry: Entry, noted: bool, unit: Unit) -> Entry:
        """The whole call in one unit, unless it has to wait."""
        verdict = self._judged(unit, tool, entry)
        if verdict.approval_id is not None:
            return self._waiting(unit, entry, verdict, noted)
        assert tool.inside is not None
        try:
            result = tool.inside(unit, self._place(entry.n), entry.request)
        except Problem as problem:
            if tool.rolls_back or problem.code in outcomes.PASSING:
                raise
            return self._write(unit, outcomes.failed(entry, problem, verdict.rules), noted)
        done = self._done(unit, entry, result, verdict.rules)
        self._begin_next(unit)
        return self._write(unit, done, noted)

    def _begin_tool(self, tool: Tool, entry: Entry, noted: bool, unit: Unit) -> Entry:
        verdict = self._judged(unit, tool, entry)
        if verdict.approval_id is not None:
            return self._waiting(unit, entry, verdict, noted)
        begun = replace(entry, status="begun", decision={"rules": list(verdict.rules)})
        if noted:
            journal.change(unit, self.session, begun)
        else:
            journal.note(unit, self.session, begun)
        return begun

    def _end_tool(self, tool: Tool, entry: Entry, result: Result, unit: Unit) -> Entry:
        del tool
        rules = tuple(entry.decision.get("rules", ()))
        done = self._done(unit, entry, result, rules)
        self._begin_next(unit)
        return self._write(unit, done, noted=True)

    def _judged(self, unit: Unit, tool: Tool, entry: Entry) -> gate.Verdict:
        if time.monotonic() - self._looked > LOOK_S:
            self._looked = time.monotonic()
            self._look_up(unit, entry.n)
        prompt: Mapping[str, Any] = self.session.spec["prompt"]
        asked = tool.asked(entry.request)
        return gate.judge(unit, self.work, self.agent, asked, self.tree, prompt["ref"])

    def _waiting(self, unit: Unit, entry: Entry, verdict: gate.Verdict, noted: bool) -> Entry:
        """Somebody was asked: that stands in this unit. The call is not made."""
        waiting = replace(entry, status="waiting", decision={"approval_id": verdict.approval_id})
        if noted:
            journal.change(unit, self.session, waiting)
        else:
            journal.note(unit, self.session, waiting)
        return waiting

    async def _question(self, entry: Entry, *, noted: bool) -> Entry:
        said = self.work.said
        if noted and said.get(ASKED) == f"{self.session.number}.{entry.n}" and "answer" in said:
            result = Result(str(said["answer"]), facts={"by": said.get("answered_by")})
            return await self._unit(functools.partial(self._end_tool, ASK, entry, result), ASK.name)
        if not noted:
            waiting = replace(entry, status="waiting")
            try:
                await self._unit(functools.partial(self._ask, waiting), ASK.name)
            except Problem as problem:
                return await self._close(entry, problem, noted=False)
        choices = tuple(str(choice) for choice in entry.request.get("choices") or ())
        question = Question(str(entry.request["question"])[:2_000], choices)
        raise Parked("an answer", question=question, about=f"{self.session.number}.{entry.n}")

    def _ask(self, entry: Entry, unit: Unit) -> None:
        self._look_up(unit, entry.n)
        decision = policy.require(unit, "tool.use", gate.resource_of(unit, self.work))
        gate.check(self.agent, ASK.asked(entry.request))
        journal.note(unit, self.session, replace(entry, decision={"rules": list(decision.rules)}))

    def say(self, text: str) -> None:
        """Write to the log of the attempt."""
        self._say(text)

    # ---------------------------------------------------------------- writing down

    async def _close(self, entry: Entry, problem: Problem, *, noted: bool) -> Entry:
        """Write down that it was refused, or went wrong: the model is told. Raises what passes by itself."""
        if problem.code in outcomes.PASSING:
            raise problem
        no = isinstance(problem, policy.Refused | gate.Forbidden) or problem.code == "tool_not_allowed"
        status: Status = "refused" if no else "failed"
        failed = replace(outcomes.failed(entry, problem, outcomes.rules_of(problem)), status=status)
        return await self._unit(lambda unit: self._write(unit, failed, noted), entry.name)

    def _done(self, unit: Unit, entry: Entry, result: Result, rules: Sequence[str]) -> Entry:
        text = journal.storable(vault.clean_text(unit, result.text))
        response = {"text": text, **result.facts}
        return replace(
            entry, status="done", response=response, tree=result.tree, decision={"rules": list(rules)}
        )

    def _write(self, unit: Unit, entry: Entry, noted: bool) -> Entry:
        """The result, and the line in the ledger: in one transaction with what the tool did."""
        if noted:
            journal.change(unit, self.session, entry)
        else:
            journal.note(unit, self.session, entry)
        tool = self.tools.get(entry.name)
        payload: dict[str, Any] = {
            "run_id": self.work.run_id, "step": self.work.name, "agent": self.agent.ref, "tool": entry.name,
            "call": entry.n, "session": self.session.number, "digest": entry.digest, "outcome": entry.status,
        }  # fmt: skip
        if tool is not None and entry.status != "refused":
            payload["paths"] = list(outcomes.paths_of(tool, entry.request))
        if code := (entry.response or {}).get("code"):
            payload["code"] = code
        if self.work.repo_name:
            payload |= {"repo": self.work.repo_name, "branch": self.work.branch}
        type_ = "tool.refused" if entry.status == "refused" else "tool.used"
        ledger.record(unit, type_, self.work.step_id, payload, rules=entry.decision.get("rules", ()))
        return entry

    def _span(
        self, operation: str, what: str, more: Mapping[str, tracing.Value]
    ) -> AbstractContextManager[tracing.Span]:
        return span_of(self.work, self.agent, str(self.session.spec["prompt"]["ref"]), operation, what, more)

    def span(self) -> AbstractContextManager[tracing.Span]:
        """The span of the whole session."""
        return self._span("invoke_agent", self.agent.name, {"gen_ai.agent.version": self.agent.version})

    # ---------------------------------------------------------------- inside

    def _at(self, n: int, kind: str, digest: str | None = None) -> Entry | None:
        """What the journal has under this number. Raises `conflict` where it was another call."""
        entry = self._known.get(n)
        if entry is None:
            return None
        if entry.kind != kind or (digest is not None and entry.digest != digest):
            raise Problem(
                "conflict", f"call {n} of {self.session.name} was another one: {entry.kind} {entry.name}",
                hint="The server was changed meanwhile. Run the step again.",
            )  # fmt: skip
        return entry

    def _place(self, n: int) -> At:
        scratch = runs.workspace.scratch_of(self.context, self.work, self.below)
        number = f"{self.session.number}-{n}"
        return At(self.context, self.work, self.agent, Files(scratch, self.tree), number)

    def _look_up(self, unit: Unit, n: int) -> None:
        """Whether somebody wants the agent to stop here and listen."""
        if journal.interrupted(unit, self.session) is None:
            return
        mark = f"{INTERRUPT}.{self.session.number}.{n}"
        if self.work.said.get(ASKED) == mark and "answer" in self.work.said:
            journal.go_on(unit, self.session)
            journal.say(unit, self.work.step_id, self.work.run_id, str(self.work.said["answer"]))
            return
        question = Question(f"{self.agent.role} was interrupted in {self.work.name}. What shall it do?")
        raise Parked("somebody who interrupted it", question=question, about=mark)

    async def _unit(self, verb: Callable[[Unit], T], tool: str) -> T:
        """A unit under the agent's name, on a thread."""

        def work() -> T:
            call = gate.call_of(self.context, self.work, self.agent, tool)
            return perform(self.context, call, verb, durable=False)

        await self._durable.assured()
        return await self._durable.unit(work)
