"""Providers that fail, stammer, never end, or refuse: precise problems, bounded, and a row for each."""

import contextlib
import json
import logging

import pytest

from builderos.core.problems import Problem
from tests.support.gateways import FILE, Models
from tests.support.upstreams import Reply

TOO_LONG = json.dumps(
    {
        "error": {
            "message": "This model's maximum context length is 8 tokens.",
            "code": "context_length_exceeded",
        }
    }
).encode()


def problem_of(models: Models, **more: object) -> Problem:
    with pytest.raises(Problem) as found:
        models.complete(**more)
    return found.value


def test_five_hundred_then_too_many_then_garbage(models: Models) -> None:
    models.upstream.replies += [
        Reply(status=500), Reply(status=429, headers={"retry-after": "0"}), Reply(raw=b"<html>no</html>"),
    ]  # fmt: skip
    problem = problem_of(models)
    assert (problem.code, "no JSON" in problem.detail) == ("upstream_failed", True)
    (row,) = models.rows()
    assert (row.state, row.attempts, row.estimated) == (
        "failed",
        3,
        True,
    )  # the last one may have been paid for
    assert len(models.upstream.requests) == 3


def test_transient_faults_are_tried_again_and_cost_nothing(models: Models) -> None:
    models.upstream.replies += [Reply(status=503), Reply(status=500)]
    assert models.complete().text == "Hello there!"
    (row,) = models.rows()
    assert (row.state, row.attempts, row.output_tokens) == ("done", 3, 3)


def test_a_refused_key_rests_and_the_next_one_is_taken(models: Models) -> None:
    models.upstream.replies += [Reply(status=401)]
    models.complete()
    models.complete()
    used = [headers["authorization"] for headers in models.upstream.headers]
    first, second = "Bearer sk-first-key-of-the-test", "Bearer sk-second-key-of-the-test"
    assert used == [first, second, second]


def test_keys_that_are_all_refused_are_the_owners_affair(models: Models) -> None:
    said = b'{"error":{"message":"Incorrect API key provided: sk-second-key-of-the-test"}}'
    models.upstream.replies += [Reply(status=401, raw=said), Reply(status=401, raw=said)]
    problem = problem_of(models)
    assert problem.code == "upstream_failed"
    assert "sk-second-key" not in json.dumps(problem.as_dict("req"))
    assert [row.state for row in models.rows()] == ["failed"]


def test_a_wait_that_is_too_long_is_told_and_not_waited_for(models: Models) -> None:
    models.upstream.replies += [Reply(status=429, headers={"retry-after": "3600"})] * 2
    problem = problem_of(models)
    assert (problem.code, problem.retry_after_s) == ("rate_limited", 3600.0)


def test_a_context_that_is_too_long_is_said_and_not_tried_again(models: Models) -> None:
    models.upstream.replies += [Reply(status=400, raw=TOO_LONG)]
    problem = problem_of(models)
    assert (problem.code, problem.extra["reason"]) == ("validation_failed", "context_length_exceeded")
    (row,) = models.rows()
    assert (row.state, row.cost, row.attempts) == ("failed", 0, 1)


def test_a_fallback_answers_when_a_provider_is_away(models: Models) -> None:
    models.upstream.replies += [Reply(status=500)] * 4
    out = models.complete(model="up/fragile")
    assert (out.provider, out.text) == ("bare", "Hello there!")
    (row,) = models.rows()
    assert (row.asked, row.provider, row.model, row.attempts) == ("up/fragile", "bare", "other", 5)


def test_a_provider_that_is_not_there_is_named(models: Models) -> None:
    models.file(FILE.replace("{url}", "http://127.0.0.1:9/v1"))
    problem = problem_of(models)
    assert problem.code == "upstream_failed"
    assert "refused the connection" in problem.detail
    (row,) = models.rows()
    assert (row.state, row.cost) == ("failed", 0)


def test_a_stream_that_breaks_off_ends_in_an_error(models: Models) -> None:
    models.upstream.replies.append(Reply(words=["a", "b", "c"], cut=2))
    events = models.stream()
    assert [event.type for event in events] == ["token", "token", "error"]
    assert events[-1].data["code"] == "upstream_failed"
    (row,) = models.rows()
    assert (row.state, row.estimated, row.output_tokens) == ("failed", True, 2)


def test_a_stream_without_an_end_is_cut_off(models: Models) -> None:
    models.file(FILE.replace("kind: openai\n", "kind: openai\n    max_bytes: 20000\n", 1))
    models.upstream.replies.append(Reply(endless=True))
    events = models.stream()
    assert events[-1].type == "error"
    assert "cut off" in events[-1].data["detail"]
    assert models.upstream.aborted.acquire(timeout=120)
    (row,) = models.rows()
    assert row.state == "failed"
    assert row.output_tokens >= sum(event.type == "token" for event in events)


def test_a_stream_without_usage_is_counted_at_the_most_it_can_be(models: Models) -> None:
    models.upstream.replies.append(Reply(words=["abc", "de"], usage=False))
    assert [event.type for event in models.stream()] == ["token", "token", "usage", "done"]
    (row,) = models.rows()
    assert (row.state, row.estimated, row.output_tokens) == ("done", True, 5)


@pytest.mark.parametrize(
    "raw",
    [
        b"<html>", b'{"choices":[]}', b"data: {not json}\n\ndata: [DONE]\n\n", b"data: [1]\n\ndata: [DONE]\n\n",
        b'data: {"error":{"message":"overloaded"}}\n\n',
        b'data: {"choices":[{"delta":{"content":7}}]}\n\ndata: [DONE]\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"index":-1}]}}]}\n\ndata: [DONE]\n\n',
    ],
)  # fmt: skip
def test_what_is_no_stream_is_an_error_and_never_a_crash(models: Models, raw: bytes) -> None:
    models.upstream.replies.append(Reply(raw=raw, headers={"content-type": "text/event-stream"}))
    with contextlib.suppress(Problem):  # before anything was passed on
        assert models.stream()[-1].type == "error"
    assert [row.state for row in models.rows()] == ["failed"]


@pytest.mark.parametrize(
    "raw", [b"", b"null", b"[]", b'{"choices":[]}', b'{"choices":[{}]}', b'{"error":"x"}']
)
def test_what_is_no_completion_is_a_problem(models: Models, raw: bytes) -> None:
    models.upstream.replies.append(Reply(raw=raw))
    assert problem_of(models).code == "upstream_failed"


def test_a_redirect_is_not_followed(models: Models) -> None:
    models.upstream.replies += [Reply(status=307, raw=b"{}", headers={"location": "http://169.254.169.254/"})]
    assert "307" in problem_of(models).detail
    assert len(models.upstream.requests) == 1


@pytest.mark.parametrize("url", ["http://10.1.2.3.nip.invalid/v1", "http://metadata.example.com/v1"])
def test_a_name_inside_the_network_is_dialled_only_where_the_owner_listed_it(
    models: Models, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *a, **k: [(2, 1, 6, "", ("169.254.169.254", 80))])
    models.file(FILE.replace("{url}", url))
    problem = problem_of(models)
    assert problem.code == "upstream_failed"
    assert "not a public address" in problem.detail


def test_nothing_that_was_said_is_logged(models: Models, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    models.upstream.replies.append(Reply(status=400))
    problem_of(models, text="whisper-of-the-user")
    models.stream("whisper-of-the-user")
    assert "whisper" not in caplog.text
    assert "sk-first" not in caplog.text
