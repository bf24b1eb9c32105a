"""Spans around what the database is asked; the texts of statements hold no values."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event

from . import tracing
from .exchange import Statement

_SPAN: Final = "builderos.span"


def attributes(statements: Sequence[Statement]) -> dict[str, tracing.Value]:
    """What a span says of a round trip: the texts of its statements, which hold no values."""
    text = "; ".join(statement for statement, _ in statements)
    return {"db.system.name": "postgresql", "db.operation.batch.size": len(statements), "db.query.text": text}


def trace(engine: sa.Engine) -> None:
    """Spans around what SQLAlchemy executes; its texts hold no values either."""

    def before(connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
        span = tracing.span("postgresql", attributes([(statement, ())]))
        span.__enter__()
        connection.info[_SPAN] = span

    def after(connection: sa.Connection, *_: Any) -> None:
        connection.info.pop(_SPAN).__exit__(None, None, None)

    def failed(context: sa.engine.ExceptionContext) -> None:
        span = context.connection.info.pop(_SPAN, None) if context.connection is not None else None
        if span is not None:
            span.__exit__(type(context.original_exception), context.original_exception, None)

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    event.listen(engine, "handle_error", failed)
