"""Effects on the outside world: whatever crashes, each happens once or somebody is told that nobody knows."""

import random
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from builderos.core.actor import system_actor
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.unit import Call, as_system
from builderos.execution.runs.effects import Effect, Found, Handler, Handlers, effects_of, once
from tests.support.databases import Databases
from tests.support.world import World, world_in_temp


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database) as made:
        yield made


class Killed(BaseException):
    """The process dies here."""


class Outside:
    """A host far away that knows nothing of us but the keys it was given; `die` says where our process dies."""

    def __init__(self, *, tells: bool = True) -> None:
        self.happened: list[str] = []
        self.asked = 0
        self.die = ""
        self.fault: Exception | None = None
        self.tells = tells

    def do(self, context: Context, call: Call, effect: Effect) -> Mapping[str, Any]:
        if self.die == "before":
            raise Killed
        if self.fault is not None:
            raise self.fault
        self.happened.append(effect.key)
        if self.die == "after":
            raise Killed
        return {"url": f"https://example.com/{effect.key}"}

    def ask(self, context: Context, call: Call, effect: Effect) -> Found:
        self.asked += 1
        if not self.tells:
            return Found(None)
        found = effect.key in self.happened
        return Found(found, {"url": f"https://example.com/{effect.key}"} if found else None)


class Runner:
    """A run that pushes."""

    def __init__(self, world: World, name: str, **how: Any) -> None:
        self.world = world
        self.outside = Outside(**how)
        self.effect = Effect(name, f"run_{name}.push", f"run_{name}", "stp_1", {"to": "origin", "sha": "abc"})
        self.call = Call(system_actor(world.org_id), request_id="req_x", door="run")
        if Handlers not in world.context:
            world.context.put(Handlers, Handlers())
        world.context.get(Handlers).enrol(name, Handler(self.outside.do, self.outside.ask))

    def once(self, effect: Effect | None = None, die: str = "") -> Mapping[str, Any]:
        self.outside.die = die
        return once(self.world.context, self.call, effect or self.effect)

    def row(self) -> Any:
        world = self.world
        (row,) = as_system(
            world.context, world.org_id, lambda u: effects_of(u, self.effect.run_id), read_only=True
        )
        return row


def test_an_effect_is_done_once_and_its_result_is_remembered(world: World) -> None:
    run = Runner(world, "push")
    first = run.once()
    assert run.once() == first == {"url": "https://example.com/run_push.push"}
    assert (run.outside.happened, run.outside.asked) == (["run_push.push"], 0)
    assert (run.row().state, run.row().tries) == ("done", 1)


def test_who_dies_before_the_effect_has_it_done_by_the_next(world: World) -> None:
    run = Runner(world, "early")
    with pytest.raises(Killed):
        run.once(die="before")
    assert run.row().state == "claimed"
    run.once()
    assert (len(run.outside.happened), run.outside.asked, run.row().tries) == (1, 1, 2)


def test_who_dies_after_the_effect_does_not_have_it_done_again(world: World) -> None:
    run = Runner(world, "late")
    with pytest.raises(Killed):
        run.once(die="after")
    assert run.once() == {"url": "https://example.com/run_late.push"}
    assert (len(run.outside.happened), run.outside.asked, run.row().state) == (1, 1, "done")


def test_what_nobody_can_tell_is_never_done_again(world: World) -> None:
    run = Runner(world, "mute", tells=False)
    with pytest.raises(Killed):
        run.once(die="after")
    for _ in range(3):
        with pytest.raises(Problem) as raised:
            run.once()
        assert raised.value.code == "upstream_failed"
    assert (len(run.outside.happened), run.row().state) == (1, "unsure")


@pytest.mark.parametrize(
    ("fault", "state", "asked"),
    [
        (Problem("policy_denied", "no"), "refused", 0),
        (Problem("upstream_failed", "timed out"), "unsure", 1),
        (ConnectionResetError("gone"), "unsure", 1),
    ],
    ids=["refused", "timed out", "reset"],
)
def test_only_a_plain_refusal_is_tried_again_without_asking(
    world: World, fault: Exception, state: str, asked: int
) -> None:
    run = Runner(world, f"fault-{type(fault).__name__}-{state}")
    run.outside.fault = fault
    with pytest.raises(type(fault)):
        run.once()
    assert run.row().state == state
    run.outside.fault = None
    run.once()
    assert (run.outside.asked, len(run.outside.happened)) == (asked, 1)


def test_the_same_key_with_another_request_is_refused(world: World) -> None:
    run = Runner(world, "other")
    run.once()
    other = Effect("other", run.effect.key, run.effect.run_id, "stp_1", {"to": "origin", "sha": "def"})
    with pytest.raises(Problem) as raised:
        run.once(other)
    assert raised.value.code == "idempotency_conflict"
    assert len(run.outside.happened) == 1


def test_whoever_dies_wherever_each_effect_happens_once(world: World) -> None:
    by = random.Random(7)
    run = Runner(world, "storm")
    keys = [f"run_storm.node{n}" for n in range(15)]
    for key in keys:
        effect = Effect("storm", key, "run_storm", "stp_1", {"n": key})
        while True:
            try:
                run.once(effect, die=by.choice(["", "before", "after"]))
                break
            except Killed:
                continue
    assert sorted(run.outside.happened) == sorted(keys)


def test_an_attempt_whose_time_was_over_is_waited_for(world: World) -> None:
    """Its thread cannot be stopped: who tries again must not ask before it has come to its end."""
    run = Runner(world, "slow")
    reached, go = threading.Event(), threading.Event()
    do = run.outside.do

    def slowly(context: Context, call: Call, effect: Effect) -> Mapping[str, Any]:
        reached.set()
        go.wait(120)
        return do(context, call, effect)

    handlers = Handlers()
    handlers.enrol("slow", Handler(slowly, run.outside.ask))
    before = world.context.get(Handlers)
    world.context.put(Handlers, handlers)
    try:
        threads = [threading.Thread(target=run.once) for _ in range(2)]
        threads[0].start()
        assert reached.wait(120)
        threads[1].start()
        go.set()
        for thread in threads:
            thread.join(120)
    finally:
        world.context.put(Handlers, before)
    assert (run.outside.happened, run.outside.asked) == (["run_slow.push"], 0)


def test_an_effect_nobody_does_here_is_not_claimed(world: World) -> None:
    run = Runner(world, "known")
    with pytest.raises(Problem) as raised:
        run.once(Effect("unknown", "run_known.x", "run_known", "stp_1", {}))
    assert raised.value.code == "not_found"


def test_what_was_done_stands_in_the_ledger(world: World) -> None:
    run = Runner(world, "told")
    run.once()
    lines = world.ok(world.as_owner("GET", "/v1/audit", params={"object": "run_told"}))["items"]
    assert [(line["type"], line["payload"]["kind"]) for line in lines] == [("effect.done", "told")]
