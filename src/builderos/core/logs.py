"""Logs on standard error: one JSON object per line, or for a person at a terminal one plain line.

Whatever a caller sent cannot end a line, forge another one or move a terminal's cursor: control characters are escaped
in both forms. Messages hold no credential and no address; that is the duty of whoever logs, and what slips through
nevertheless is taken out (`cleaning`).
"""

import json
import logging
import re
import sys
from contextvars import ContextVar
from typing import Any, Final, TextIO

from .cleaning import cleaned
from .clock import rfc3339, utcnow
from .settings import Settings

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The request that is being served; worker threads inherit it, and every line of theirs names it."""

FIELDS: Final = "fields"
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
# Controls of both ASCII and Unicode, line separators, and what reverses the direction of text.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream` (standard error), from the level of the settings on."""
    out = stream if stream is not None else sys.stderr
    handler = logging.StreamHandler(out)
    form = settings.log_format
    plain = form == "text" or (form == "auto" and out.isatty())
    handler.setFormatter(PlainLines() if plain else JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    level = _LEVELS[settings.log_level]
    root.setLevel(max(level, logging.WARNING))  # libraries are only heard when something is wrong
    logging.getLogger("builderos").setLevel(level)


class JsonLines(logging.Formatter):
    """`{"at", "level", "logger", "message", "request_id"?, …fields, "exception"?}`, ASCII, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        body: dict[str, Any] = {
            "at": rfc3339(utcnow()), "level": record.levelname.lower(), "logger": record.name,
            "message": record.getMessage(),
        }  # fmt: skip
        current = request_id.get()
        if current:
            body["request_id"] = current
        body |= getattr(record, FIELDS, {})
        if record.exc_info:
            body["exception"] = self.formatException(record.exc_info)
        return json.dumps(cleaned(body), default=lambda value: cleaned(str(value)))


class PlainLines(logging.Formatter):
    """`12:30:01 WARNING builderos.app: message name=value`; the lines of an exception stand indented below."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        fields: dict[str, Any] = getattr(record, FIELDS, {})
        words = [f"{name}={value}" for name, value in fields.items() if value is not None]
        if request_id.get():
            words.append(f"request_id={request_id.get()}")
        head = f"{utcnow():%H:%M:%S} {record.levelname:<7} {record.name}: {record.getMessage()}"
        line = one_line(cleaned(" ".join([head, *words])))
        if not record.exc_info:
            return line
        below = cleaned(self.formatException(record.exc_info)).split("\n")
        return "\n".join([line, *(f"    {one_line(each)}" for each in below)])


def one_line(text: str) -> str:
    r"""`text` with everything that could end a line or command a terminal as `\xNN` or `\uNNNN`."""
    return _UNSAFE.sub(lambda m: m[0].encode("unicode_escape", "surrogatepass").decode(), text)
