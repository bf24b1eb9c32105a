"""Whatever the rows say is live is served: after a start, after a switch back, after a fault.

The rows are the truth. Each look at a place brings what is served in line with them, and may be done again.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.actor import system_actor
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Call, Unit, as_system, perform
from builderos.execution.compute.service import SandboxProviders
from builderos.trust.ledger import service as ledger
from builderos.trust.notices import service as notices
from builderos.trust.policy import service as policy

from . import releasing, rows
from .manifest import Manifest
from .model import deployments, places
from .opening import BACK
from .ports import Deployer, Deployers, Health

log = logging.getLogger("builderos.deployments")
_THREADS: Final = 4
_LOOK_S: Final = 0.1
_RECENT: Final = 20
_FREE: Final = frozenset({"preview", "dev"})  # environments in which what is unwell is switched back unasked


@dataclass(slots=True)
class _Alone:
    lock: threading.Lock
    users: int = 0


class Care:
    """The deployments that this process serves."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="deployments")
        self._guard = threading.Lock()
        self._alone: dict[str, _Alone] = {}
        self._orgs: dict[str, str] = {}
        self._watched: set[str] = set()
        self._resumed = False
        self._closing = threading.Event()

    def provider(self, name: str) -> Deployer:
        """The provider of this name, watched."""
        provider = self._context.get(Deployers).provider(name)
        with self._guard:
            if name not in self._watched:
                self._watched.add(name)
                provider.watch(self._told_health)
        return provider

    def close(self) -> None:
        """End what is served here; the rows stay as they are."""
        self._closing.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._context.get(Deployers).close()

    # ---------------------------------------------------------------- what is told

    def look(self, context: Context) -> None:
        """For the engine: at its first call, serve again what was live when this machine stopped."""
        if self._resumed:
            return
        with context.get(Database).as_server() as connection:
            here = context.get(SandboxProviders).place
            found = connection.execute("select * from ops.places_to_serve(%s)", (here,)).fetchall()
        self._resumed = True
        for org_id, place_id in found:
            self._soon(lambda o=str(org_id), p=str(place_id): self.settle(o, p))

    def heard(self, about: str) -> None:
        """Another deployment of a place is live now: `<organisation> <place>`. Without a place: the organisation is
        erased.
        """
        org_id, _, place_id = about.partition(" ")
        self._soon(lambda: self.settle(org_id, place_id) if place_id else self.forget(org_id))

    def forget(self, org_id: str) -> None:
        """End all that this process serves of an organisation."""
        for ref in [ref for ref, org in list(self._orgs.items()) if org == org_id]:
            for name in list(self._watched):
                self.provider(name).stop(ref)
            self._orgs.pop(ref, None)

    def _told_health(self, ref: str, health: Health) -> None:
        self._soon(lambda: self.note_health(ref, health))

    def _soon(self, work: Callable[[], object]) -> None:
        def done() -> None:
            try:
                work()
            except Exception:  # one place must not keep the others from being served
                if not self._closing.is_set():
                    log.exception("a deployment could not be looked after")

        if not self._closing.is_set():
            self._pool.submit(done)

    # ---------------------------------------------------------------- switching

    def switch_to(self, call: Call, row: rows.Row) -> rows.Row:
        """Serve a version that is ready from now on, and write that down. Blocks.

        A later one that was faster stays. Raises what `promote` raises.
        """
        with self._place(row.place_id):
            if not perform(self._context, call, lambda unit: rows.may_go_live(unit, row.id)):
                self.provider(row.provider).stop(row.id)
                return perform(self._context, call, lambda unit: rows.find(unit, row.id), read_only=True)
            provider = self.provider(row.provider)
            self._orgs[row.id] = row.org_id
            standing = provider.promote(row.id)
            health = provider.health(row.id).as_json()
            live = perform(self._context, call, lambda unit: rows.go_live(unit, row.id, standing.url, health))
            _, _, gone = perform(
                self._context, call, lambda unit: _look_up(unit, row.place_id), read_only=True
            )
            self._stop(provider, gone)
            return live

    def settle(self, org_id: str, place_id: str) -> None:
        """Bring what a place serves in line with its row. Blocks until that is so, or cannot be."""
        with self._place(place_id):
            place, current, gone = as_system(
                self._context, org_id, lambda unit: _look_up(unit, place_id), read_only=True
            )
            if place.machine != self._context.get(SandboxProviders).place:
                return
            provider = self.provider(place.provider)
            if current is not None:
                self._orgs[current.id] = org_id
                self._serve(provider, place, current)
            self._stop(provider, gone)

    def _stop(self, provider: Deployer, gone: list[str]) -> None:
        for id_ in gone:
            provider.stop(id_)
            self._orgs.pop(id_, None)

    def _serve(self, provider: Deployer, place: rows.Row, current: rows.Row) -> None:
        call = Call(
            actor=system_actor(place.org_id),
            presented="valid",
            request_id=new_id("req"),
            tool="server",
            door="engine",
        )
        try:
            if _stage(provider, current.id) not in ("ready", "live"):
                provider.deploy(releasing.release_of(self._context, call, current.id))
            while _stage(provider, current.id) == "building":
                if self._closing.wait(_LOOK_S):
                    return
            standing = provider.promote(current.id)
        except Problem as problem:
            detail = f"it could not be served again: {problem.detail}"
            if _stage(provider, current.id) == "failed":
                detail = f"it could not be served again: {provider.status(current.id).detail}"
            self._mark(current, Health(well=False, detail=detail))
            return
        if standing.url != place.url:
            perform(self._context, call, lambda unit: _moved(unit, place.id, current.id, standing.url))

    @contextmanager
    def _place(self, place_id: str) -> Any:
        """Be the only one of this process at a place."""
        with self._guard:
            alone = self._alone.setdefault(place_id, _Alone(threading.Lock()))
            alone.users += 1
        try:
            with alone.lock:
                yield
        finally:
            with self._guard:
                alone.users -= 1
                if not alone.users:
                    del self._alone[place_id]

    # ---------------------------------------------------------------- health

    def note_health(self, ref: str, health: Health) -> None:
        """A version that is served is unwell, or well again: write it down, tell somebody, switch back where that was
        said beforehand.
        """
        org_id = self._orgs.get(ref)
        if org_id is None or self._closing.is_set():
            return
        as_system(self._context, org_id, lambda unit: _note(unit, ref, health))

    def _mark(self, row: rows.Row, health: Health) -> None:
        as_system(self._context, row.org_id, lambda unit: _note(unit, row.id, health))


def _look_up(unit: Unit, place_id: str) -> tuple[rows.Row, rows.Row | None, list[str]]:
    """The place, what is live there, and what should not run there any more."""
    place = rows.place_of(unit, place_id)
    current = rows.find(unit, place.current_id) if place.current_id is not None else None
    c = deployments.c
    wanted = (
        sa.select(c.id, c.status, c.reason)
        .where(c.place_id == place_id)
        .order_by(c.number.desc())
        .limit(_RECENT)
    )
    gone = [
        row.id for row in unit.execute(wanted)
        if row.status in ("rolled_back", "failed") or (row.status == "superseded" and (current is None or row.reason))
    ]  # fmt: skip
    return place, current, gone


def _moved(unit: Unit, place_id: str, id_: str, url: str) -> None:
    unit.execute(sa.update(places).where(places.c.id == place_id).values(url=url))
    rows.change(unit, id_, url=url)


def _stage(provider: Deployer, ref: str) -> str:
    try:
        return provider.status(ref).stage
    except Problem as problem:
        if problem.code != "not_found":
            raise
        return ""


def _note(unit: Unit, ref: str, health: Health) -> None:
    row = rows.find(unit, ref, lock=True)
    rows.change(unit, ref, health=health.as_json())
    if row.status != "live":
        return
    if health.well:
        ledger.record(unit, "deployment.recovered", ref, rows.payload_of(row))
        return
    detail = {"env": row.env, "branch": row.branch, "repo": row.repo_name, "detail": health.detail[:500]}
    may, said_so = _pre_approved(unit, row)
    last = rows.before(unit, row) if may else None
    notices.raise_alert(
        unit, rows.UNHEALTHY, ref, detail | ({"rolled_back_to": last.id} if last is not None else {})
    )
    if last is not None:
        rows.roll_back(unit, ref, f"unhealthy: {health.detail}", rules=said_so)
    else:
        ledger.record(unit, "deployment.unhealthy", ref, rows.payload_of(row, detail=health.detail[:500]))


def _pre_approved(unit: Unit, row: rows.Row) -> tuple[bool, tuple[str, ...]]:
    """Whether the server may switch back by itself, and which rules say so.

    The branch has to ask for it (`on_unhealthy: rollback`). For stage and production the organisation's policy file has
    to name the act among the tools of the agent `builderos`, too (SPEC §14).
    """
    if not Manifest.from_json(row.manifest).roll_back:
        return False, ()
    action, resource = BACK[row.env], rows.resource_of(unit, row)
    if row.env in _FREE:
        decision = policy.decide(unit, action, resource)
        return decision.verdict == "allow", decision.rules
    rules = policy.named_by_file(unit, action, resource)
    return bool(rules), rules
