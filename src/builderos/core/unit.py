"""The unit of work: one transaction, one actor, one instant. Verbs take it first and never commit."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeVar

import psycopg
import sqlalchemy as sa

from . import texts
from .actor import Actor, system_actor
from .clock import utcnow
from .context import Context
from .database import Database, Retry, Transaction, busy
from .ids import new_id
from .settings import Settings

T = TypeVar("T")
_MAX_ATTEMPTS = 40
Presented = Literal["none", "valid", "expired", "revoked", "invalid"]


@dataclass(frozen=True)
class Call:
    """What the edge knows of one call beside its body."""

    actor: Actor
    presented: Presented = "none"
    request_id: str = ""
    tool: str = ""
    secret: str | None = None  # the credential as sent, for the one reply that echoes it
    door: str = "http"


class RetryAfter(Retry):
    """The verb can win once `first` has been done, when no transaction is open."""

    def __init__(self, first: Callable[[], object]) -> None:
        super().__init__()
        self.first = first


class Unit:
    """A transaction with its actor and its one `now`.

    `keep(write)` runs `write(unit)` whatever becomes of the verb: in this transaction when it succeeds, in one of its
    own when it raises. `meanwhile(work)` runs while the database makes the unit durable, `after_commit(effect)` after
    that and before the reply leaves.
    """

    def __init__(self, transaction: Transaction, context: Context, call: Call, now: datetime) -> None:
        self._transaction = transaction
        self.context = context
        self.call = call
        self.actor = call.actor
        self.now = now
        self.attempt = 0  # counts how often the verb has started over
        self.kept: list[Callable[[Unit], None]] = []
        self.effects: list[Callable[[], None]] = []
        self._works: list[Callable[[], None]] = []

    @property
    def org_id(self) -> str:
        """The organisation whose rows this unit sees."""
        return self.actor.org_id

    @property
    def settings(self) -> Settings:
        """The server's settings."""
        return self.context.get(Settings)

    @property
    def driver(self) -> psycopg.Connection[Any]:
        """The psycopg connection, for what goes around SQLAlchemy (tests, core)."""
        return self._transaction.driver

    def get(self, kind: type[T]) -> T:
        """An adapter or store of the composition root."""
        return self.context.get(kind)

    def execute(self, statement: sa.Executable) -> sa.CursorResult[Any]:
        """Run one SQLAlchemy Core statement."""
        return self._transaction.connection.execute(statement)

    def ask(self, function: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """The rows of one of our functions in the database: `unit.ask("ops.branch", …)`. For hot paths."""
        return self._transaction.ask(*_called(function, arguments))

    def send(self, function: str, *arguments: Any) -> None:
        """Like `ask`, where nobody waits for the answer: it travels with the next statement or the commit."""
        self._transaction.send(*_called(function, arguments))

    def add(self, table: sa.Table, **values: Any) -> None:
        """Insert one row likewise. The unit starts over when another one has taken a unique key of it meanwhile."""
        self._transaction.send(*texts.insertion(table, values))

    def add_new(self, table: sa.Table, **values: Any) -> None:
        """Insert one row likewise, unless there is one with its key."""
        self._transaction.send(*texts.insertion(table, values, new=True))

    def change(self, table: sa.Table, id_: str, **values: Any) -> None:
        """Change columns of the row of this `id` likewise."""
        self._transaction.send(*texts.change(table, id_, values))

    def gather(self, function: str, *head: Any, item: Any) -> None:
        """Like `send`, of a function whose last argument is a list (JSON): this is one more item of it."""
        self._transaction.gather(_called(function, (*head, None))[0], head, item)

    def rows(self, table: sa.Table, *, order: str = "", limit: int = 0, **equal: Any) -> list[Any]:
        """Whole rows whose columns equal these values (a list of texts: one of them), prepared."""
        return texts.rows(
            table, self._transaction.ask(*texts.selection(table, equal, order=order, limit=limit))
        )

    def rows_all(self, *wanted: tuple[sa.Table, dict[str, Any], str]) -> list[list[Any]]:
        """Likewise of several tables in one round trip: table, values, columns that order them."""
        statements = [texts.selection(table, equal, order=order) for table, equal, order in wanted]
        found = self._transaction.ask_all(statements)
        return [texts.rows(table, rows) for (table, _, _), rows in zip(wanted, found, strict=True)]

    def rows_of(self, table: sa.Table, function: str, *arguments: Any) -> list[Any]:
        """Whole rows that one of our functions in the database gives, prepared."""
        return texts.rows(table, self._transaction.ask(*texts.from_function(table, function, arguments)))

    def find(self, table: sa.Table, id_: str, *, lock: bool = False) -> Any:
        """The row of this `id`, or None; `lock`: held until the unit ends."""
        return self.find_all((table, id_, lock))[0]

    def find_all(self, *wanted: tuple[sa.Table, str, bool]) -> list[Any]:
        """Rows of different tables in one round trip, in this order: table, `id`, whether it is locked."""
        statements = [
            texts.selection(table, {"id": id_}, lock="update" if lock else "") for table, id_, lock in wanted
        ]
        found = self._transaction.ask_all(statements)
        return [
            next(iter(texts.rows(table, rows)), None)
            for (table, _, _), rows in zip(wanted, found, strict=True)
        ]

    def keep(self, write: "Callable[[Unit], None]") -> None:
        """Write this whatever happens (a refusal's ledger line, a counter of bad tokens, an approval request)."""
        self.kept.append(write)

    @contextmanager
    def within(self, actor: Actor) -> Generator["Unit"]:
        """The same transaction as `actor` of another organisation; on leaving it is the former one's again.

        For the few verbs that make something in an organisation that is not the caller's own.
        """
        self._transaction.enter(actor.org_id)
        other = Unit(self._transaction, self.context, replace(self.call, actor=actor), self.now)
        yield other
        if other.kept:
            raise RuntimeError("what must survive a refusal belongs to the caller's own organisation")
        self.effects += other.effects
        self._works += other._works
        self._transaction.enter(self.org_id)

    def outlast(self) -> None:
        """Have this unit survive a power loss, too, where it was opened as one that need not."""
        self._transaction.outlast()

    def after_commit(self, effect: Callable[[], None]) -> None:
        """Do this once the transaction is durable (settle a branch, wake a waiter)."""
        self.effects.append(effect)

    def meanwhile(self, work: Callable[[], None]) -> None:
        """Do this while the database commits: what an `after_commit` needs and what is harmless where the commit fails.

        It must not raise: what went wrong is for the effect to find.
        """
        self._works.append(work)

    def commit(self) -> None:
        """For the edge alone: write what is kept, commit durably, then run the effects."""
        for write in self.kept:
            write(self)
        self._transaction.commit(self._work if self._works else None)
        self.kept.clear()
        for effect in self.effects:
            effect()

    def _work(self) -> None:
        for work in self._works:
            work()

    def commit_kept(self, *, settled: bool = False) -> None:
        """For the edge alone, of a unit that only read: write what is kept, in a transaction behind it.

        It travels in the message that ends the reading one: a round trip that is made anyway. `settled`: returns once
        all that the unit has seen is on the disk, as it is behind everything that is written.
        """
        if not self.kept:
            if settled:
                self._transaction.settle()
            return
        kept = list(self.kept)
        self.kept.clear()  # what fails here is not tried a second time
        self._transaction.write_on()
        for write in kept:
            write(self)
        self._transaction.commit()


def _called(function: str, arguments: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    return f"select * from {function}({', '.join(['%s'] * len(arguments))})", arguments  # noqa: S608 - our own name


@contextmanager
def open_unit(
    context: Context, call: Call, *, read_only: bool = False, durable: bool = True
) -> Generator[Unit]:
    """A unit for the edge. Without `commit()` it rolls back on leaving."""
    database = context.get(Database)
    with database.transaction(call.actor.org_id, read_only=read_only, durable=durable) as transaction:
        yield Unit(transaction, context, call, utcnow())


def perform(
    context: Context,
    call: Call,
    verb: Callable[[Unit], T],
    *,
    read_only: bool = False,
    durable: bool = True,
    settled: bool = False,
) -> T:
    """Run `verb` in a unit of its own and commit; on an exception write only what it asked to keep.

    A verb that lost a race (`Retry`) starts over, a bounded number of times. Used by every door and by schedules.
    `durable=False` is for what is worked out anew after a crash of the database, e.g. the state of a step. `settled`,
    of a unit that only reads: what it has seen is on the disk, so that it may be told to somebody outside.
    """
    for number in range(_MAX_ATTEMPTS):
        try:
            return _attempt(
                context, call, verb, number, read_only=read_only, durable=durable, settled=settled
            )
        except Retry as again:
            if isinstance(again, RetryAfter):
                again.first()
    raise busy()


def _attempt(
    context: Context,
    call: Call,
    verb: Callable[[Unit], T],
    number: int,
    *,
    read_only: bool,
    durable: bool,
    settled: bool,
) -> T:
    kept: list[Callable[[Unit], None]] = []
    try:
        with open_unit(context, call, read_only=read_only, durable=durable) as unit:
            unit.attempt, kept = number, unit.kept
            result = verb(unit)
            if read_only:
                unit.commit_kept(settled=settled)
            else:
                unit.commit()
            return result
    except Retry:
        raise
    except BaseException:
        keep_only(context, call, kept)
        raise


def keep_only(context: Context, call: Call, kept: list[Callable[[Unit], None]]) -> None:
    """Write what a verb asked to keep, in a transaction of its own."""
    if not kept:
        return
    with open_unit(context, call) as unit:
        for write in kept:
            write(unit)
        unit.commit()


def as_system(
    context: Context,
    org_id: str,
    verb: Callable[[Unit], T],
    *,
    read_only: bool = False,
    settled: bool = False,
) -> T:
    """Run `verb` as the server itself in one organisation; `settled` as in `perform`."""
    call = Call(
        actor=system_actor(org_id), presented="valid", request_id=new_id("req"), tool="server", door="engine"
    )
    return perform(context, call, verb, read_only=read_only, settled=settled)
