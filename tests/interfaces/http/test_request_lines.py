"""One line per request, and the id that leads from a reply to it."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from builderos.core.ids import is_id
from builderos.core.logs import JsonLines
from tests.support.world import World

# The same in every process: tests are told apart by their names.
UUID = "5c3255a8-8460-4fd0-a9e3-6fb0eb2dde1b"
ULID = "01M7YWT03RZ5CHH5GCGY4MXA6F"


class Written(logging.Handler):
    """Keeps the lines as the log would hold them."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))

    def of(self, logger: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["logger"] == logger]


@pytest.fixture
def written() -> Iterator[Written]:
    ours, handler = logging.getLogger("builderos"), Written()
    before = ours.level
    ours.setLevel(logging.INFO)
    ours.addHandler(handler)
    yield handler
    ours.removeHandler(handler)
    ours.setLevel(before)


@pytest.fixture
def lines(written: Written) -> Callable[[], list[dict[str, Any]]]:
    """The request lines so far."""
    return lambda: written.of("builderos.access")


def test_a_request_leaves_one_line_with_what_an_operator_needs_and_no_more(
    shared_world: World, lines: Any
) -> None:
    sandbox = shared_world.open_sandbox()
    reply = sandbox.try_post(
        "/commit_and_log_output",
        file_path="secret-name.txt",
        content="secret content",
        message="secret message",
    )
    line = lines()[-1]
    assert line["request_id"] == reply.headers["x-request-id"]
    assert line["operation"] == "commit_and_log"
    assert line["method"] == "POST"
    assert line["status"] == 200
    assert line["ms"] > 0
    assert line["actor"] == "sandbox"
    text = json.dumps(line)
    for word in (sandbox.token, sandbox.branch, "secret", "lab", "testclient"):
        assert word not in text


def test_the_lines_of_other_callers_name_their_kind(shared_world: World, lines: Any) -> None:
    shared_world.as_owner("GET", "/v1/sandboxes")
    assert lines()[-1]["actor"] == "owner"
    shared_world.http.get("/v1/sandboxes")
    assert lines()[-1]["actor"] is None
    shared_world.open_sandbox()
    assert lines()[-1]["actor"] == "anonymous"


def test_what_was_sent_as_an_address_is_not_logged(shared_world: World, lines: Any) -> None:
    shared_world.http.get("/v1/%0a%0dforged?token=bos_rt_x", headers={"user-agent": "forged"})
    line = lines()[-1]
    assert line["operation"] == "unmatched"
    assert "forged" not in json.dumps(line)
    assert "bos_rt" not in json.dumps(line)


@pytest.mark.parametrize("given", [UUID, UUID.replace("-", ""), f"req_{ULID}"])
def test_an_id_of_the_caller_is_taken_over(shared_world: World, lines: Any, given: str) -> None:
    reply = shared_world.http.get("/v1/sandboxes", headers={"x-request-id": given})
    assert reply.headers["x-request-id"] == reply.json()["request_id"] == lines()[-1]["request_id"] == given


@pytest.mark.parametrize(
    "given",
    ["", "x", "somebody@example.org", "203.0.113.9", "g" * 32, UUID.upper(), UUID.replace("-", "") + "\t",
     "é" * 32, f"org_{ULID}", UUID.replace("-", "") * 2, "' or 1=1 --"],
)  # fmt: skip
def test_what_is_no_id_is_not_taken_over(shared_world: World, given: str) -> None:
    reply = shared_world.http.get("/v1/sandboxes", headers={"x-request-id": given.encode()})
    assert reply.headers["x-request-id"] != given
    assert is_id(reply.headers["x-request-id"], "req")


def test_a_reply_that_failed_on_our_side_is_logged_at_any_level(
    shared_world: World, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    from builderos.interfaces.http import serve

    def broken(*_: Any) -> None:
        raise RuntimeError("boom")

    logging.getLogger("builderos").setLevel(logging.WARNING)
    monkeypatch.setattr(serve, "identify", broken)
    reply = shared_world.as_owner("GET", "/v1/sandboxes")
    assert reply.status_code == 500
    assert [line["status"] for line in written.of("builderos.access")] == [500]
    crash = next(line for line in written.of("builderos.http") if "exception" in line)
    assert crash["request_id"] == reply.headers["x-request-id"]
    assert "boom" in crash["exception"]
    shared_world.http.get("/healthz")
    assert len(written.of("builderos.access")) == 1
