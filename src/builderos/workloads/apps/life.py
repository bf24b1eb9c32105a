"""One app while this process serves it: releases come up beside what is live, take over once they are well, and what
was live drains. What crashes is started again, what nobody asks for sleeps.

The rows say what is live; what answers follows them.
"""

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

from builderos.core.actor import system_actor
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, as_system
from builderos.execution.compute.service import SandboxProviders
from builderos.execution.runs import service as runs
from builderos.trust.identity import service as identity

from . import files, rows
from .files import Recipe
from .instance import Instance
from .pace import Pace
from .standing import Stand

T = TypeVar("T")
log = logging.getLogger("builderos.apps")
_LOOP_AT: Final = 3  # crashes in a row that make an alert


class Life:
    """Lives on the loop of its keeper; `stand` is asked by the door."""

    def __init__(
        self, context: Context, org_id: str, app_id: str, pace: Pace, spawn: Callable[..., None]
    ) -> None:  # fmt: skip
        self.org_id = org_id
        self.id = app_id
        self.stand = Stand()
        self.trouble = ""
        self._context = context
        self._pace = pace
        self._spawn = spawn
        self._switching = asyncio.Lock()
        self._bringing: set[str] = set()
        self._up: set[Instance] = set()
        self._before: tuple[Instance, asyncio.Event] | None = None
        self._reviving: asyncio.Task[None] | None = None
        self._crashes = 0
        self._idle_s: int | None = None
        self._closed = False

    # ---------------------------------------------------------------- releases

    async def bring(self, release_id: str) -> None:
        """Have a release take over once it is well; where it is not, what is live stays. Never raises."""
        if release_id in self._bringing or self._closed:
            return
        self._bringing.add(release_id)
        try:
            await self._bring(release_id)
        except Problem as problem:
            await self._failed(release_id, "refused" if problem.status < 500 else "unavailable", problem.told)
        except Exception as error:
            log.exception("the release %s failed", release_id)
            await self._failed(release_id, "problem", f"{type(error).__name__}: {error}"[:500])
        finally:
            self._bringing.discard(release_id)

    async def _bring(self, release_id: str) -> None:
        if not await self._unit(functools.partial(rows.is_under_way, id_=release_id)):
            return
        instance = self._warm(release_id) or await self._come_up(release_id)
        if instance is not None:
            async with self._switching:
                await self._go_live(instance)

    async def _come_up(self, release_id: str) -> Instance | None:
        """It is built and well; None where it never is, or nobody wants it any more."""
        recipe = await asyncio.to_thread(files.in_org, self._context, self.org_id, release_id)
        call = await self._unit(functools.partial(_call_of, id_=release_id))
        await asyncio.to_thread(files.lay_out, self._context, recipe)
        if why := await files.build(self._context, recipe, call):
            await self._failed(release_id, "build", why)
            return None
        if not await self._unit(functools.partial(rows.starting, id_=release_id)):
            return None
        instance = await self._started(recipe, call)
        if why := await instance.up():
            self._up.discard(instance)
            await self._failed(release_id, "unhealthy", why)
            return None
        return instance

    async def _go_live(self, instance: Instance) -> None:
        """Have it answer, and write that down; where that cannot be, what was before answers again."""
        old = self.stand.point_to(instance)
        live = False
        try:
            live = not self._closed and await self._unit(
                functools.partial(rows.go_live, id_=instance.recipe.id)
            )
        finally:
            if live:
                self._switched(instance, old, self._pace.warm_s)
            else:
                self.stand.point_to(old)
                self._retire(instance, 0.0)
                if old is not None and not old.tended:
                    self._spawn(self._tend(old))

    async def _failed(self, release_id: str, reason: str, detail: str) -> None:
        if self._closed:  # it was ended with this process, and begins again with the next
            return
        await self._unit(functools.partial(rows.fail, id_=release_id, reason=reason, detail=detail))

    async def _started(self, recipe: Recipe, call: Call) -> Instance:
        """An instance that is about to come up."""
        number = await self._unit(functools.partial(rows.started, id_=recipe.id))
        instance = Instance(self._context, recipe, number, call)
        self._up.add(instance)
        return instance

    def _warm(self, release_id: str) -> Instance | None:
        """What was live just now, where that is what is wanted again; it is not ended then."""
        if self._before is None or self._before[0].recipe.id != release_id or self._before[0].over:
            return None
        instance, wanted = self._before
        self._before = None
        wanted.set()
        return instance

    def _switched(self, instance: Instance, old: Instance | None, warm_s: float) -> None:
        """It answers now; what was before drains."""
        reviving, self._reviving = self._reviving, None
        if reviving is not None and reviving is not asyncio.current_task():
            reviving.cancel()
        self.trouble, self._crashes, instance.since = "", 0, time.monotonic()
        if old is not None and old is not instance:
            self._retire(old, warm_s)
        self._spawn(self._tend(instance))

    def _retire(self, instance: Instance, warm_s: float) -> None:
        """End it: at once nothing new, after a while nothing at all."""
        wanted = asyncio.Event()
        if warm_s:
            earlier, self._before = self._before, (instance, wanted)
            if earlier is not None:
                self._retire(earlier[0], 0.0)
                earlier[1].set()
        self._spawn(self._drained(instance, wanted, warm_s))

    async def _drained(self, instance: Instance, wanted: asyncio.Event, warm_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(wanted.wait(), warm_s)
            return  # it is live again, or somebody else ends it
        if self._before is not None and self._before[0] is instance:
            self._before = None
        until = time.monotonic() + self._pace.drain_s
        while not self.stand.is_empty(instance) and time.monotonic() < until and not self._closed:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await self._down(instance)

    async def _down(self, instance: Instance) -> None:
        await instance.down()
        self._up.discard(instance)

    # ---------------------------------------------------------------- what is live

    async def wake(self) -> None:
        """Wait until it answers. Raises `unavailable` where it does not in time, or does not come up."""
        if self.stand.current is not None:
            return
        self.revive()
        until = time.monotonic() + self._pace.wait_s
        while self.stand.current is None:
            given_up = self._reviving is None or self._reviving.done()
            loops = bool(self.trouble) and self._crashes >= _LOOP_AT
            if loops or self._closed or given_up or time.monotonic() > until:
                raise Problem(
                    "unavailable", "this app does not answer now", hint="Its owner finds the reason in its logs.",
                    retry_after_s=5,
                )  # fmt: skip
            await asyncio.sleep(0.02)

    def revive(self) -> None:
        """Have what the rows say is live answer again, in the background."""
        if self._closed or self.stand.current is not None:
            return
        if self._reviving is None or self._reviving.done():
            self._reviving = asyncio.get_running_loop().create_task(self._revive())
            self._reviving.add_done_callback(_look_at)

    async def _revive(self) -> None:
        """Try until it answers, or something else does."""
        while not self._closed and self.stand.current is None:
            if self._crashes >= self._pace.give_up:
                return await self._given_up()
            if self._crashes:
                await asyncio.sleep(self._pace.again_s[min(self._crashes, len(self._pace.again_s)) - 1])
            release_id = await self._unit(functools.partial(_current, app_id=self.id))
            if release_id is None:
                return None
            try:
                why = await self._revived(release_id)
            except Problem as problem:
                why = problem.told
            if why:
                await self._crashed(release_id, why)
        return None

    async def _given_up(self) -> None:
        """It ends again and again: its release has failed, until it is started or another one is released."""
        told = functools.partial(rows.give_up, app_id=self.id, detail=self.trouble)
        with contextlib.suppress(Problem):  # the database is away: it is said when somebody asks for it again
            await self._unit(told)

    async def _revived(self, release_id: str) -> str:
        """Have the release that is live answer again; why it does not."""
        recipe = await asyncio.to_thread(files.in_org, self._context, self.org_id, release_id)
        instance = await self._started(recipe, self._own_call())
        try:
            why = await instance.up()
        except asyncio.CancelledError:
            self._up.discard(instance)
            raise
        if why:
            self._up.discard(instance)
            return why
        async with self._switching:
            if self.stand.current is not None or self._closed:  # a release was faster
                self._retire(instance, 0.0)
                return ""
            crashes = self._crashes
            self._switched(instance, self.stand.point_to(instance), 0.0)
            self._crashes = crashes  # it has to stay up for a while first
            await self._unit(functools.partial(rows.slept, app_id=self.id, asleep=False))
        return ""

    async def _crashed(self, release_id: str, why: str) -> None:
        self.trouble, self._crashes = why, self._crashes + 1
        told = functools.partial(
            rows.crashed, id_=release_id, detail=why, in_a_row=self._crashes, loop_at=_LOOP_AT
        )  # fmt: skip
        with contextlib.suppress(Problem):  # the database is away: it is started again all the same
            await self._unit(told)

    async def _tend(self, instance: Instance) -> None:
        """Look after what is live until something else is."""
        instance.tended = True
        try:
            await self._tended(instance)
        finally:
            instance.tended = False

    async def _tended(self, instance: Instance) -> None:
        looked, bad = time.monotonic(), 0
        renew_s = instance.recipe.max_seconds * 0.9
        while self.stand.current is instance and not self._closed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(instance.ended(), self._pace.look_s)
            now = time.monotonic()
            if instance.over:
                return await self._ended(instance)
            if now - instance.since > self._pace.calm_s:
                self._crashes = 0
            if not instance.recipe.static and await self._slept(instance):
                return None
            if now - instance.since > renew_s and not instance.recipe.static:
                return await self._renewed(instance)
            if now - looked >= self._pace.health_s:
                looked, bad = now, await self._healthy(instance, bad)
                if bad >= self._pace.bad_looks and instance.hangs:
                    return await self._ended(
                        instance, f"it hung: {instance.recipe.health_path} does not answer"
                    )
        return None

    async def _ended(self, instance: Instance, why: str = "") -> None:
        """Its process ended by itself, or is to end, which is `why`: the next one comes up after a pause."""
        if not self.stand.drop(instance) or self._closed:
            return
        why = why or await instance.last_words()
        await self._down(instance)
        if not instance.expired:
            await self._crashed(instance.recipe.id, why)
        self.revive()

    async def _slept(self, instance: Instance) -> bool:
        if self._idle_s is None:
            self._idle_s = await self._unit(functools.partial(_idle_timeout, app_id=self.id))
        idle_s = self._idle_s
        if not idle_s or time.monotonic() - self.stand.used < idle_s:
            return False
        async with self._switching:
            if not self.stand.rest(instance, idle_s):
                return False
            await self._unit(functools.partial(rows.slept, app_id=self.id, asleep=True))
        await self._down(instance)
        return True

    async def _renewed(self, instance: Instance) -> None:
        """Its profile's time is nearly over: another one takes over before."""
        recipe = await asyncio.to_thread(files.in_org, self._context, self.org_id, instance.recipe.id)
        fresh = await self._started(recipe, self._own_call())
        if why := await fresh.up():
            self._up.discard(fresh)
            log.warning("the app %s could not be renewed: %s", self.id, why)
            instance.since = time.monotonic()  # then it ends, and is started again
            self._spawn(self._tend(instance))
            return
        async with self._switching:
            if self.stand.current is instance:
                self._switched(fresh, self.stand.point_to(fresh), 0.0)
            else:
                self._retire(fresh, 0.0)

    async def _healthy(self, instance: Instance, bad: int) -> int:
        """Look at it; tell somebody once it is unwell for certain. How often in a row it was."""
        why = await instance.well()
        if not why:
            return 0
        if bad + 1 == self._pace.bad_looks:
            told = functools.partial(rows.unwell, id_=instance.recipe.id, detail=why)
            await self._unit(told)
        return bad + 1

    # ---------------------------------------------------------------- its end, and helpers

    async def close(self) -> None:
        """End all that runs of it."""
        self._closed = True
        if self._reviving is not None:
            self._reviving.cancel()
        self.stand.point_to(None)
        if self._before is not None:
            self._before[1].set()
        await asyncio.gather(*(instance.down() for instance in list(self._up)), return_exceptions=True)

    def changed(self) -> None:
        """What its row says is otherwise now."""
        self._idle_s = None

    def _own_call(self) -> Call:
        """The app is the organisation's: it goes on, whoever released it."""
        actor = system_actor(self.org_id)
        return Call(actor=actor, presented="valid", request_id=self.id, tool="app", door="engine")

    async def _unit(self, verb: Callable[[Unit], T]) -> T:
        return await asyncio.to_thread(as_system, self._context, self.org_id, verb)


def _call_of(unit: Unit, id_: str) -> Call:
    """On whose behalf a release is built and started for the first time. Raises `token_invalid`."""
    actor = runs.actor_of(rows.release(unit, id_).actor)
    if actor.credential_id is not None:
        found = identity.still(unit, actor)
        if found is None:
            raise Problem(
                "token_invalid",
                "whoever released this may act no more",
                hint="Release it with a valid credential.",
            )
        actor = found
    return Call(actor=actor, presented="valid", request_id=id_, tool="app", door="app")


def _current(unit: Unit, app_id: str) -> str | None:
    """The release that is to answer here; None where none is."""
    try:
        row = rows.find(unit, app_id)
    except Problem:  # it was deleted meanwhile
        return None
    here = row.machine == unit.get(SandboxProviders).place
    if row.state != "active" or not here or row.current_id is None:
        return None
    return str(row.current_id) if rows.release(unit, row.current_id).status == "live" else None


def _idle_timeout(unit: Unit, app_id: str) -> int:
    return int(rows.find(unit, app_id).idle_timeout)


def _look_at(done: "asyncio.Task[None]") -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None:
        log.error("an app could not be started again", exc_info=error)
