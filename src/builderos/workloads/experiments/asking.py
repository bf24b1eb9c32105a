"""Searches as statements: conditions, orders and pages that indexes answer.

A page goes on behind the last run of the one before it, whatever is written meanwhile. In the order of a metric, runs
with a number come first, then those where it is NaN, then those without it: each of these is one walk of an index.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import psycopg.errors
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError

from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit

from .grammar import Clause, Order, read_filter, read_order
from .model import inputs, latest, params, runs, tags
from .operators import OPERATORS

View = Literal["active", "deleted", "all"]
Row = sa.Row[Any]
MOST: Final = 50_000
LIKE_MS: Final = 5_000
"""What a search may take that no index answers."""
PROBED: Final = 2_000
MOST_PROBED: Final = 20_000
FIRST_VALUES: Final = 4  # for each run of a page
BRIEF: Final = 200
NAN: Final = float("nan")
_COLUMNS: Final[dict[str, sa.ColumnElement[Any]]] = {
    "run_id": runs.c.id, "run_name": runs.c.name, "status": runs.c.status, "user_id": runs.c.user_name,
    "start_time": runs.c.started_at, "end_time": runs.c.ended_at,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A search. `experiment_ids` are known to exist and to be the actor's to read."""

    experiment_ids: tuple[str, ...]
    filter: str = ""
    order_by: tuple[str, ...] = ()
    view: View = "active"
    limit: int = 1000
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One page."""

    rows: list[Row]
    token: str | None


def ask(unit: Unit, asked: Asked) -> Found:
    """The runs that match, in order. Raises `validation_failed`, also where it takes too long to find out."""
    clauses, orders = read_filter(asked.filter), read_order(asked.order_by)
    if not asked.experiment_ids:
        return Found([], None)
    if any(clause.operator in ("LIKE", "ILIKE") for clause in clauses) or len(orders) > 1:
        unit.execute(sa.select(sa.func.set_config("statement_timeout", str(LIKE_MS), True)))
    try:
        return _Search(unit, asked, clauses, orders).page()
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg.errors.QueryCanceled):
            raise
        raise Problem(
            "validation_failed", f"this search was given up after {LIKE_MS // 1000} seconds: no index answers it",
            hint="Name one experiment, and ask for a parameter, tag or metric by = or a range beside LIKE.",
        ) from None  # fmt: skip


def condition(clause: Clause, ahead: Any = None) -> sa.ColumnElement[bool]:
    """What a run must fulfil. `ahead`: the columns of runs that are asked one after the other, instead of beginning
    with whatever fulfils it.
    """
    entity, key, operator, value = clause.entity, clause.key, clause.operator, clause.value
    of = runs.c if ahead is None else ahead
    if entity == "attribute":
        return _attribute(key, operator, value)
    if entity == "dataset":
        return _dataset(key, operator, value, of)
    table = {"metric": latest, "param": params, "tag": tags}[entity]
    c = table.c
    # Asked of one run, it is looked up by the run alone; else by what the experiment's runs have.
    own = (
        c.run_id == of.id,
        c.key == key,
        *([] if ahead is not None else [c.experiment_id == of.experiment_id]),
    )
    if operator == "IS NULL":
        return ~sa.exists().where(*own).correlate(of.id.table)
    if entity == "metric":
        own += tuple(_number(c.value, operator, float(str(value))))
    elif operator != "IS NOT NULL":
        own += tuple(_word(table, operator, str(value)))
    if ahead is None:  # the order may join the same table: only the run is the one outside
        return sa.exists().where(*own).correlate(runs)
    # Its limit keeps it what it is: no join is made of it.
    return sa.select(sa.literal(1)).where(*own).limit(1).correlate(of.id.table).scalar_subquery().is_not(None)


def _number(column: sa.ColumnElement[Any], operator: str, value: float) -> list[sa.ColumnElement[bool]]:
    """NaN is like no number, as everywhere but in PostgreSQL, where it is greater than all."""
    found = [OPERATORS[operator](column, value)]
    return found if operator in ("=", "<", "<=") else [*found, column != NAN] if operator != "!=" else found


def _word(table: sa.Table, operator: str, value: str) -> list[sa.ColumnElement[bool]]:
    whole = OPERATORS[operator](table.c.value, value)
    if operator == "=":  # the index holds the beginning
        return [table.c.brief == value[:BRIEF], *([whole] if len(value) >= BRIEF else [])]
    return [whole]


def _attribute(key: str, operator: str, value: Any) -> sa.ColumnElement[bool]:
    if key == "artifact_uri":
        column: sa.ColumnElement[Any] = sa.func.concat(
            "mlflow-artifacts:/", runs.c.experiment_id, "/", runs.c.id, "/artifacts"
        )
        return OPERATORS[operator](column, value)
    column = _COLUMNS[key]
    if key == "status":
        column = sa.func.upper(column) if operator in ("LIKE", "ILIKE") else column
        if operator not in ("LIKE", "ILIKE"):
            value = value.lower() if isinstance(value, str) else [one.lower() for one in value]
    if key in ("start_time", "end_time"):
        value = _whole(value)
    return OPERATORS[operator](column, value)


def _whole(value: float) -> int:
    return max(-(2**63), min(2**63 - 1, round(value))) if math.isfinite(value) else 2**63 - 1


def _dataset(key: str, operator: str, value: Any, of: Any) -> sa.ColumnElement[bool]:
    c = inputs.c
    column = c.tags["mlflow.data.context"].astext if key == "context" else c[key]
    return sa.exists().where(c.run_id == of.id, OPERATORS[operator](column, value))


class _Search:
    """One search on its way to one page."""

    def __init__(self, unit: Unit, asked: Asked, clauses: Sequence[Clause], orders: Sequence[Order]) -> None:
        self._unit, self._asked = unit, asked
        self._orders = tuple(orders)
        self._key = list_key(
            "experiment_runs", ids=asked.experiment_ids, filter=asked.filter, order=asked.order_by, view=asked.view
        )  # fmt: skip
        # One experiment is named as a value: then an index that begins with it is in the order that is wanted.
        ids = asked.experiment_ids
        self._where = [runs.c.experiment_id == ids[0] if len(ids) == 1 else runs.c.experiment_id.in_(ids)]
        if asked.view != "all":
            self._where.append(runs.c.active == (asked.view == "active"))
        self._scope = list(self._where)
        self._where += [condition(clause) for clause in clauses]
        self._clauses = tuple(clauses)

    def page(self) -> Found:
        """The page that was asked for."""
        if not self._orders or self._is("start_time"):
            return self._by_time()
        if len(self._orders) == 1 and self._orders[0].entity == "metric":
            return self._by_metric()
        return self._by_any()

    def _is(self, attribute: str) -> bool:
        first = self._orders[0]
        return len(self._orders) == 1 and first.entity == "attribute" and first.key == attribute

    def _by_time(self) -> Found:
        """In the order of their beginnings, by default the newest first.

        Where much matches, the first page lies among the first runs, whatever else there is: so these are looked at one
        by one. Where little does, the whole is asked, which begins with what matches.
        """
        newest = not self._orders or self._orders[0].descending
        c, last = runs.c, decode_cursor(self._key, self._asked.token, 2)
        order = (c.started_at.desc() if newest else c.started_at.asc(), c.id)
        behind = [] if last is None else [_behind(c.started_at, int(last[0]), str(last[1]), newest)]
        limit = self._asked.limit + 1
        probed = [clause for clause in self._clauses if clause.entity != "attribute"]
        rows = self._probed(probed, behind, newest, limit) if probed else None
        if rows is None:
            whole = sa.select(runs).where(*self._where, *behind).order_by(*order).limit(limit)
            rows = list(self._unit.execute(whole))
        return self._cut(rows, lambda row: [row.started_at, row.id])

    def _probed(
        self,
        probed: Sequence[Clause],
        behind: Sequence[sa.ColumnElement[bool]],
        newest: bool,
        limit: int,
    ) -> list[Row] | None:
        """The page, where it is found among the first ones; None where too few of them match."""
        plain = [condition(clause) for clause in self._clauses if clause.entity == "attribute"]
        order = (runs.c.started_at.desc() if newest else runs.c.started_at.asc(), runs.c.id)
        many = PROBED
        for _ in range(2):
            ahead = (
                sa.select(runs)
                .where(*self._scope, *plain, *behind)
                .order_by(*order)
                .limit(many)
                .subquery("ahead")
            )
            c = ahead.c
            again = (c.started_at.desc() if newest else c.started_at.asc(), c.id)
            matching = sa.select(ahead).where(*[condition(clause, c) for clause in probed])
            rows = list(self._unit.execute(matching.order_by(*again).limit(limit)))
            if len(rows) >= limit:
                return rows
            many = PROBED * limit * 3 // (2 * len(rows)) if rows else MOST_PROBED + 1
            if many > MOST_PROBED:
                return None
        return None

    def _by_metric(self) -> Found:
        """In the order of a metric: numbers, NaN, none."""
        order, limit = self._orders[0], self._asked.limit + 1
        last = decode_cursor(self._key, self._asked.token, 4)
        phase = int(last[0]) if last is not None else 0
        found: list[tuple[int, Row]] = []
        while phase <= 2 and len(found) < limit:
            wanted = self._phase(order, phase, last, limit - len(found))
            rows = self._ahead(order, last) if phase == 0 else None
            if rows is None:
                rows = list(self._unit.execute(wanted))
            found += [(phase, row) for row in rows]
            phase, last = phase + 1, None
        more = len(found) == limit
        kept = found[: self._asked.limit]
        token = None
        if more and kept:
            at, row = kept[-1]
            token = encode_cursor(
                self._key, [at, repr(row.metric_value) if at == 0 else "", row.started_at, row.id]
            )
        return Found([row for _, row in kept], token)

    def _ahead(self, order: Order, last: Sequence[Any] | None) -> list[Row] | None:
        """The page, where it lies among the runs with the first values; None where too few of them match.

        The index has the values in their order: so what it costs does not hang on what the database believes of how
        many there are.
        """
        m, ids, limit = latest.c, self._asked.experiment_ids, self._asked.limit + 1
        if len(ids) != 1:
            return None
        first = sa.select(m.run_id, m.value).where(
            m.experiment_id == ids[0], m.key == order.key, m.value < NAN
        )
        if last is not None:
            first = first.where(m.value <= float(last[1]) if order.descending else m.value >= float(last[1]))
        many = FIRST_VALUES * limit
        ordered = first.order_by(m.value.desc() if order.descending else m.value.asc()).limit(many)
        values = self._unit.execute(ordered).all()
        whole = len(values) < many
        if not whole:  # of those that are alike at the end, some may not be there
            values = [row for row in values if row.value != values[-1].value]
        rows = list(self._unit.execute(self._among(values, order, last).limit(limit)))
        return rows if whole or len(rows) >= limit else None

    def _among(self, values: Sequence[Row], order: Order, last: Sequence[Any] | None) -> sa.Select[Any]:
        """Those of these runs that match, in their order. They are found by their ids, by nothing else."""
        c = runs.c
        columns = (
            sa.literal([row.run_id for row in values], ARRAY(sa.Text)),
            sa.literal([row.value for row in values], ARRAY(sa.Double)),
        )
        listed = (
            sa.func.unnest(*columns)
            .table_valued(sa.column("run_id", sa.Text), sa.column("value", sa.Double), name="listed")
            .render_derived()
        )
        v = listed.c
        wanted = (
            sa.select(runs, v.value.label("metric_value"))
            .join_from(listed, runs, c.id == v.run_id)
            .where(*[condition(clause, c) for clause in self._clauses])
            .order_by(v.value.desc() if order.descending else v.value.asc(), c.started_at.desc(), c.id)
        )
        if self._asked.view != "all":
            wanted = wanted.where(c.active == (self._asked.view == "active"))
        if last is not None:
            value = float(last[1])
            beyond = v.value < value if order.descending else v.value > value
            same = sa.and_(v.value == value, _behind(c.started_at, int(last[2]), str(last[3]), True))
            wanted = wanted.where(sa.or_(beyond, same))
        return wanted

    def _phase(self, order: Order, phase: int, last: Sequence[Any] | None, limit: int) -> sa.Select[Any]:
        c, m = runs.c, latest.c
        tail = (c.started_at.desc(), c.id)
        own = sa.and_(m.run_id == c.id, m.key == order.key, m.experiment_id == c.experiment_id)
        if phase == 2:
            wanted = sa.select(runs, sa.literal(None).label("metric_value")).where(
                *self._where, ~sa.exists().where(own)
            )
            if last is not None:
                wanted = wanted.where(_behind(c.started_at, int(last[2]), str(last[3]), True))
            return wanted.order_by(*tail).limit(limit)
        ids = self._asked.experiment_ids
        whole = m.experiment_id == ids[0] if len(ids) == 1 else m.experiment_id.in_(ids)
        wanted = (
            sa.select(runs, m.value.label("metric_value"))
            .join_from(latest, runs, own)
            .where(whole, m.key == order.key, *self._where)
        )
        if phase == 1:
            wanted = wanted.where(m.value == NAN).order_by(*tail)
            return (
                wanted.where(_behind(c.started_at, int(last[2]), str(last[3]), True))
                if last is not None
                else wanted
            ).limit(limit)
        direction = m.value.desc() if order.descending else m.value.asc()
        wanted = wanted.where(m.value != NAN, m.value < NAN).order_by(direction, *tail).limit(limit)
        if last is not None:
            value = float(last[1])
            beyond = m.value < value if order.descending else m.value > value
            reached = m.value <= value if order.descending else m.value >= value
            same = sa.and_(m.value == value, _behind(c.started_at, int(last[2]), str(last[3]), True))
            wanted = wanted.where(reached, sa.or_(beyond, same))
        return wanted

    def _by_any(self) -> Found:
        """In any other order: all that match are sorted, and a page is counted from the beginning."""
        last = decode_cursor(self._key, self._asked.token, 1)
        skipped = int(last[0]) if last is not None else 0
        wanted, keys = sa.select(runs), list[Any]()
        for number, order in enumerate(self._orders):
            wanted, column = _joined(wanted, order, number)
            if order.entity == "metric":
                keys.append(sa.case((column.is_(None), 2), (column == NAN, 1), else_=0))
            keys.append(sa.nulls_last(column.desc() if order.descending else column.asc()))
        page = wanted.where(*self._where).order_by(*keys, runs.c.started_at.desc(), runs.c.id)
        rows = list(self._unit.execute(page.offset(skipped).limit(self._asked.limit + 1)))
        return self._cut(rows, lambda _row: [skipped + self._asked.limit])

    def _cut(self, rows: list[Row], last: Callable[[Row], list[str | int]]) -> Found:
        kept = rows[: self._asked.limit]
        return Found(
            kept, encode_cursor(self._key, last(kept[-1])) if len(rows) > len(kept) and kept else None
        )


def _behind(column: sa.ColumnElement[Any], value: int, id_: str, newest: bool) -> sa.ColumnElement[bool]:
    """What comes behind a run in the order of a column and then of the ids."""
    beyond = column < value if newest else column > value
    reached = column <= value if newest else column >= value
    return sa.and_(reached, sa.or_(beyond, runs.c.id > id_))


def _joined(wanted: sa.Select[Any], order: Order, number: int) -> tuple[sa.Select[Any], Any]:
    if order.entity == "attribute":
        return wanted, _COLUMNS.get(order.key, runs.c.id)
    table = {"metric": latest, "param": params, "tag": tags}[order.entity].alias(f"o{number}")
    on = sa.and_(table.c.run_id == runs.c.id, table.c.key == order.key)
    return wanted.join(table, on, isouter=True), table.c.value
