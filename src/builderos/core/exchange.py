"""Statements to PostgreSQL in one message and one round trip, prepared by their text.

psycopg's own pipeline sends statement by statement, each with a system call that wakes the server, and makes a cursor
for each; a transaction of ours is a handful of small statements, where that costs more than the statements do.
"""

import select
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias, cast

import psycopg
from psycopg import errors, pq
from psycopg.adapt import PyFormat, Transformer

Statement: TypeAlias = tuple[str, Sequence[Any]]
_TEXT: Final = 0
_BINARY: Final = 1
_FAILED: Final = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE)
# The texts are those of our program, some dozens: each stays prepared as long as its connection lives.
_MAX_PREPARED: Final = 500


class Exchange:
    """One connection's prepared statements. Used by one thread at a time, like the connection itself."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._names: dict[str, bytes] = {}
        self._count = 0

    def run(
        self, statements: Sequence[Statement], meanwhile: Callable[[], None] | None = None
    ) -> list[pq.abc.PGresult]:
        """Do all statements in order; `%s` stands for a value. Returns the result of each.

        The first that fails raises psycopg's error for it, and those behind it are not done. Types of the values are
        those that the statement asks for. `meanwhile` runs while PostgreSQL works; it must not raise.
        """
        conn = self._connection.pgconn
        if conn.status != pq.ConnStatus.OK:
            raise psycopg.OperationalError("the connection is lost")
        if len(self._names) > _MAX_PREPARED:
            raise RuntimeError("the texts of statements must not contain values")
        encoded = [(text, values, [self._encoded(value) for value in values]) for text, values in statements]
        try:
            conn.enter_pipeline_mode()
            new: dict[str, bytes] = {}
            prepared = [self._send(conn, new, *statement) for statement in encoded]
            conn.pipeline_sync()
            _flush(conn)
            if meanwhile is not None:
                meanwhile()
            results = _results(conn)
            if conn.status == pq.ConnStatus.OK:
                conn.exit_pipeline_mode()
        except BaseException:  # an interrupt too
            if conn.status == pq.ConnStatus.OK:  # what is under way on it belongs to nobody now
                self._connection.close()
            raise
        try:
            return self._answers(statements, prepared, results)
        except errors.InvalidSqlStatementName:
            # psycopg has dropped all prepared statements, as it does after a ROLLBACK of its own. Where nothing was
            # begun, nothing was done, and the message can be sent anew.
            self._names.clear()
            if conn.transaction_status != pq.TransactionStatus.IDLE:
                raise
        return self.run(statements)  # `meanwhile` has been done

    def rows(self, result: pq.abc.PGresult) -> list[tuple[Any, ...]]:
        """The rows of a result, as psycopg loads them."""
        transformer = Transformer(self._connection)
        transformer.set_pgresult(result)
        return transformer.load_rows(0, result.ntuples, tuple)

    def _send(
        self,
        conn: pq.abc.PGconn,
        new: dict[str, bytes],
        text: str,
        values: Sequence[Any],
        encoded: list[bytes | None],
    ) -> bytes | None:
        """Queue one statement; returns its name where it is prepared on the way, and then adds it to `new`.

        A message may hold the same text a thousand times before any answer to it: the first of them prepares it.
        """
        name = self._names.get(text) or new.get(text)
        made = None
        if name is None:
            self._count += 1
            name = made = new[text] = b"bos_%d" % self._count
            conn.send_prepare(name, _numbered(text))
        if values:
            formats = [_BINARY if isinstance(value, bytes) else _TEXT for value in values]
            conn.send_query_prepared(name, encoded, formats)
        else:
            conn.send_query_prepared(name, None)
        return made

    def _encoded(self, value: Any) -> bytes | None:
        encode = _ENCODERS.get(type(value))  # pyright: ignore[reportUnknownArgumentType]
        if encode is not None:
            return encode(value)
        if isinstance(value, str):
            return _as_text(value)
        if isinstance(value, list) and all(type(part) is str for part in cast("list[Any]", value)):
            return _as_array(cast("list[str]", value))
        dumped = Transformer(self._connection).get_dumper(value, PyFormat.TEXT).dump(value)
        return None if dumped is None else bytes(dumped)

    def _answers(
        self, statements: Sequence[Statement], prepared: list[bytes | None], results: "list[pq.abc.PGresult]"
    ) -> list[pq.abc.PGresult]:
        answers: list[pq.abc.PGresult] = []
        remaining = iter(results)
        for (text, _values), name in zip(statements, prepared, strict=True):
            if name is not None:
                self._checked(next(remaining, None))
                self._names[text] = name
            answers.append(self._checked(next(remaining, None)))
        return answers

    def _checked(self, result: pq.abc.PGresult | None) -> pq.abc.PGresult:
        if result is None:
            raise psycopg.OperationalError("the server closed the connection")
        if result.status in _FAILED:
            raise errors.error_from_result(result)
        return result


def _as_text(value: str) -> bytes:
    if "\0" in value:
        raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return value.encode()


def _as_array(values: list[str]) -> bytes:
    r"""An array of texts as PostgreSQL reads it, each one quoted: `{"a","b \"c\""}`."""
    quoted = [b'"%s"' % _as_text(value).replace(b"\\", b"\\\\").replace(b'"', b'\\"') for value in values]
    return b"{%s}" % b",".join(quoted)


def _as_is(value: Any) -> Any:
    return value


# What almost every value is; whatever else there is (enumerations, lists, JSON) is left to psycopg.
_ENCODERS: Final[dict[type, Callable[[Any], bytes | None]]] = {
    str: _as_text,
    type(None): _as_is,
    bytes: _as_is,
    int: b"%d".__mod__,
    bool: {True: b"t", False: b"f"}.__getitem__,
    datetime: lambda value: value.isoformat().encode(),
}


def _numbered(text: str) -> bytes:
    """`… %s …` as `… $1 …`, which is what the protocol knows."""
    head, *rest = text.split("%s")
    return (head + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))).encode()


def _flush(conn: pq.abc.PGconn) -> None:
    """Send all that is queued, reading meanwhile: both sides would else wait for the other with full buffers."""
    while conn.flush():
        if _wait(conn, select.POLLIN | select.POLLOUT) & select.POLLIN:
            conn.consume_input()


def _results(conn: pq.abc.PGconn) -> list[pq.abc.PGresult]:
    """Results up to the end of the pipeline, or of the connection."""
    results: list[pq.abc.PGresult] = []
    while True:
        while conn.is_busy():
            _wait(conn, select.POLLIN)
            conn.consume_input()
        result = conn.get_result()
        if result is not None and result.status == pq.ExecStatus.PIPELINE_SYNC:
            return results
        if result is not None:
            results.append(result)
        elif conn.status != pq.ConnStatus.OK:
            return results


def _wait(conn: pq.abc.PGconn, events: int) -> int:
    ready = select.poll()  # select.select knows no descriptor beyond 1,023
    ready.register(conn.socket, events)
    found = ready.poll()
    return found[0][1] if found else 0
