"""Lines of the log: one per record whatever a caller sent, in a form that programs or people read."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from builderos.core import logs
from builderos.core.settings import Settings, load_settings

EVIL = (
    'x\n{"at":"2026-01-01T00:00:00Z","level":"info","logger":"builderos.app","message":"forged"}',
    "x\r\nforged line",
    "x\x1b[2J\x1b[31mred",
    "x\u2028forged\u2029line\x85line",
    "x\u202egnp.exe",
    "x\x00\x07\x7f",
    'quote " backslash \\ brace }',
    "lone \ud800 surrogate",
    "%s %d %(name)s {0}",
)


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """What `configure` changes is put back."""
    root, ours = logging.getLogger(), logging.getLogger("builderos")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level, ours.level = before[0], before[1], before[2]
    logging.getLogger("builderos").setLevel(before[2])


def configured(stream: io.StringIO | None = None, **settings: Any) -> io.StringIO:
    """Logs go there from now on."""
    out = stream or io.StringIO()
    logs.configure(load_settings(**settings), out)
    return out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("text", EVIL)
def test_text_of_a_caller_stays_inside_its_json_line(text: str) -> None:
    out = configured(log_level="info")
    log = logging.getLogger("builderos.test")
    log.info("said: %s", text, extra={logs.FIELDS: {"branch": text}})
    log.info("next")
    first, second = out.getvalue().splitlines()
    assert json.loads(first)["message"] == f"said: {text}"
    assert json.loads(first)["branch"] == text
    assert json.loads(second)["message"] == "next"
    assert first.isascii()
    assert first.isprintable()


@pytest.mark.parametrize("text", EVIL)
def test_text_of_a_caller_neither_ends_a_plain_line_nor_commands_the_terminal(text: str) -> None:
    out = configured(log_level="info", log_format="text")
    log = logging.getLogger("builderos.test")
    log.info("said: %s", text, extra={logs.FIELDS: {"branch": text}})
    log.info("next")
    lines = out.getvalue().split("\n")
    assert len(lines) == 3
    assert lines[1].endswith("next")
    assert lines[0].isprintable()
    assert lines[0].encode()


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exception_with_text_of_a_caller_forges_no_line(form: str) -> None:
    out = configured(log_format=form)
    try:
        raise ValueError("bad\n12:00:00 INFO    builderos.app: forged\x1b[2J")
    except ValueError:
        logging.getLogger("builderos.test").exception("it failed")
    lines = out.getvalue().rstrip("\n").split("\n")
    if form == "json":
        assert len(lines) == 1
        assert "ValueError" in json.loads(lines[0])["exception"]
    else:
        assert len(lines) > 1
        assert all(line.startswith("    ") for line in lines[1:])
    assert "\x1b" not in out.getvalue()


def test_a_line_names_its_request() -> None:
    out = configured()
    token = logs.request_id.set("req_x")
    try:
        logging.getLogger("builderos.test").warning("hm")
    finally:
        logs.request_id.reset(token)
    logging.getLogger("builderos.test").warning("hm")
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert first["request_id"] == "req_x"
    assert "request_id" not in second
    assert set(second) == {"at", "level", "logger", "message"}


def test_the_level_is_for_us_and_libraries_are_heard_only_when_something_is_wrong() -> None:
    out = configured(log_level="debug")
    logging.getLogger("builderos.test").debug("ours")
    logging.getLogger("library").info("theirs")
    logging.getLogger("library").warning("broken")
    assert [json.loads(line)["message"] for line in out.getvalue().splitlines()] == ["ours", "broken"]
    out = configured(log_level="error")
    logging.getLogger("builderos.test").warning("ours")
    assert out.getvalue() == ""


def test_a_terminal_gets_plain_lines_and_a_file_gets_json() -> None:
    terminal = configured(Terminal())
    logging.getLogger("builderos.test").warning("hm", extra={logs.FIELDS: {"status": 500, "actor": None}})
    assert terminal.getvalue().rstrip().endswith("WARNING builderos.test: hm status=500")
    file = configured()
    logging.getLogger("builderos.test").warning("hm")
    assert json.loads(file.getvalue())["message"] == "hm"
    both = configured(Terminal(), log_format="json")
    logging.getLogger("builderos.test").warning("hm")
    assert json.loads(both.getvalue())["message"] == "hm"


def test_a_level_that_does_not_exist_is_no_setting() -> None:
    with pytest.raises(ValueError):
        Settings(log_level="loud")
