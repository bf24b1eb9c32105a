"""Traces as a collector sees them: a small HTTP server that decodes the protocol's own protobufs."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace.export import SpanExportResult

from builderos.core import dialing, tracing
from builderos.core.problems import Problem
from builderos.core.settings import load_settings
from builderos.integrations.otlp.service import OtlpTracer
from tests.support.databases import FreshDatabase
from tests.support.server import start
from tests.support.servers import until
from tests.support.world import World, world_in_temp

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
COMMIT = "/commit_and_log_output"


@dataclass
class Collector:
    """What arrived."""

    url: str
    spans: list[Span] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Span:
        (found,) = self.named(name)
        return found

    def below(self, parent: Span) -> list[Span]:
        return [span for span in self.spans if span.parent_span_id == parent.span_id]


def values(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, str(a.value.WhichOneof("value"))) for a in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                found.resources.append(values(resource.resource.attributes))
                for scope in resource.scope_spans:
                    found.spans.extend(scope.spans)
            found.headers.append({k.lower(): v for k, v in self.headers.items()})
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(f"http://127.0.0.1:{server.server_address[1]}/v1/traces")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def traced(collector: Collector, **settings: Any) -> Iterator[None]:
    """Spans of this process go to the collector, all of them before the block's end is left."""
    tracer = OtlpTracer.configured(load_settings(otlp_endpoint=collector.url, **settings))
    tracing.install(tracer)
    try:
        yield
    finally:
        tracing.install(None)
        assert tracer is not None
        tracer.stop()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


def test_a_commit_is_one_trace_from_the_door_over_the_verb_to_sql_and_git(
    database: FreshDatabase, collector: Collector
) -> None:
    with traced(collector, otlp_headers="x-key=abc, x-other = d"), world_in_temp(database) as world:
        sandbox = world.open_sandbox()
        reply = world.http.post(
            COMMIT, headers={**sandbox.headers, "traceparent": f"00-{TRACE}-{PARENT}-01"},
            json={"repo_name": "lab", "branch": sandbox.branch, "file_path": "canary.txt", "content": "canary\n",
                  "message": "canary"},
        )  # fmt: skip
        assert reply.status_code == 200
    mine = [span for span in collector.spans if span.trace_id.hex() == TRACE]
    door = collector.one(f"POST {COMMIT}")
    assert door in mine
    assert door.parent_span_id.hex() == PARENT
    assert door.kind == Span.SPAN_KIND_SERVER
    said = values(door.attributes)
    assert said["http.response.status_code"] == 200
    assert said["http.route"] == COMMIT
    assert said["builderos.operation"] == "commit_and_log"
    assert said["builderos.request_id"] == reply.headers["x-request-id"]
    assert said["builderos.actor.role"] == "sandbox"
    call = collector.below(door)[0]
    assert call.name == "call commit_and_log"
    below = [span.name for span in mine if span not in (door, call)]
    assert {"postgresql", "git write objects", "git move ref"} <= set(below)
    by_id = {span.span_id: span for span in mine}
    for span in mine:
        above = span  # objects are written while the database commits: below that
        while above not in (door, call):
            above = by_id[above.parent_span_id]
    texts = [values(span.attributes)["db.query.text"] for span in mine if span.name == "postgresql"]
    assert any("ops.move" in text and "commit" in text for text in texts)
    assert all(span.start_time_unix_nano >= door.start_time_unix_nano for span in mine)
    assert all(span.end_time_unix_nano <= door.end_time_unix_nano for span in mine)
    assert collector.headers[0]["x-key"] == "abc"
    assert collector.headers[0]["x-other"] == "d"
    assert collector.resources[0]["service.name"] == "builderos"


def test_nothing_that_a_caller_sent_is_in_a_trace(database: FreshDatabase, collector: Collector) -> None:
    with traced(collector), world_in_temp(database) as world:
        sandbox = world.open_sandbox()
        sandbox.commit({"canary-path.txt": "canary-content\n"}, "canary-message")
        sandbox.try_post(COMMIT, branch="canary-branch", file_path="a", content="b", message="c")
        sandbox.try_post("/system/fetch_files", mode="single", path="canary-missing")
        world.http.get(
            "/v1/canary-address?canary-query=1", headers={"baggage": "canary=1", "user-agent": "canary"}
        )
        world.as_owner("GET", "/v1/audit?actor=canary-actor")
        world.problem(
            world.as_owner("POST", "/v1/repos/import", json={"source": "/canary/source", "name": "canary"}),
            "validation_failed",
        )
    text = "".join(map(str, collector.spans))
    assert "git" in text
    assert "canary" not in text
    assert sandbox.token not in text
    assert world.owner_token not in text
    assert all(len(span.attributes) <= 32 for span in collector.spans)
    assert all(
        len(str(v)) <= tracing.MAX_CHARS for span in collector.spans for v in values(span.attributes).values()
    )


def test_what_failed_is_marked_with_the_code_and_no_words(
    database: FreshDatabase, collector: Collector
) -> None:
    with traced(collector), world_in_temp(database) as world:
        sandbox = world.open_sandbox()
        sandbox.try_post(COMMIT, branch="main", file_path="a", content="b", message="c")
    call = next(s for s in collector.named("call commit_and_log"))
    assert call.status.code == Status.STATUS_CODE_ERROR
    assert call.status.message == ""
    assert values(call.attributes)["error.type"] == "protected_branch"
    assert not call.events
    door = collector.one(f"POST {COMMIT}")
    assert values(door.attributes)["http.response.status_code"] == 403
    assert door.status.code != Status.STATUS_CODE_ERROR  # the caller's fault is no fault of the server


def test_git_programs_have_spans(database: FreshDatabase, collector: Collector) -> None:
    with traced(collector), world_in_temp(database):
        pass  # importing the repository fetches it
    names = {span.name for span in collector.spans}
    assert any(name.startswith("git ") for name in names), names
    assert all(values(s.attributes)["process.exit.code"] == 0 for s in collector.named("git fetch"))


@pytest.mark.parametrize(
    "header",
    ["", "x", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{PARENT}-01",
     f"00-{TRACE.upper()}-{PARENT}-01", f"00-{TRACE}-{PARENT}-01" * 50],
)  # fmt: skip
def test_a_broken_traceparent_begins_a_trace_of_its_own(collector: Collector, header: str) -> None:
    with traced(collector), tracing.door("GET", {"traceparent": header}):
        pass
    span = collector.one("GET")
    assert span.trace_id.hex() != TRACE
    assert not span.parent_span_id


def test_a_caller_who_is_not_sampled_is_not(collector: Collector) -> None:
    with traced(collector), tracing.door("GET", {"traceparent": f"00-{TRACE}-{PARENT}-00"}):
        pass
    assert collector.spans == []


def test_the_share_counts_for_callers_who_want_to_be_traced_too(collector: Collector) -> None:
    with traced(collector, otlp_ratio=0.0), tracing.door("GET", {"traceparent": f"00-{TRACE}-{PARENT}-01"}):
        assert tracing.headers()["traceparent"].endswith("-00")
    assert collector.spans == []


def test_a_call_to_somebody_else_carries_the_trace_on(collector: Collector) -> None:
    with traced(collector):
        assert tracing.headers() == {}
        with tracing.door("GET", {"traceparent": f"00-{TRACE}-{PARENT}-01"}), tracing.span("inner"):
            sent = tracing.headers()
    inner = collector.one("inner")
    assert sent["traceparent"] == f"00-{TRACE}-{inner.span_id.hex()}-01"


def test_a_request_to_somebody_else_stands_below_ours(collector: Collector) -> None:
    with collecting() as other, traced(collector):
        with tracing.door("GET", {"traceparent": f"00-{TRACE}-{PARENT}-01"}):
            dialing.post(other.url, b"", {"a": "b"}, networks=dialing.networks_of("127.0.0.1/32"))
        dialing.post(other.url, b"", {}, networks=dialing.networks_of("127.0.0.1/32"))
    outgoing = collector.named("outgoing POST")[0]
    assert other.headers[0]["traceparent"] == f"00-{TRACE}-{outgoing.span_id.hex()}-01"
    assert other.headers[0]["a"] == "b"
    assert "127.0.0.1" not in str(outgoing)


def test_a_collector_that_is_away_costs_no_request_anything(
    database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for a collector is a thread of its own."""
    waiting: set[str] = set()

    def export(_self: object, _spans: object) -> SpanExportResult:
        waiting.add(threading.current_thread().name)
        return SpanExportResult.FAILURE

    monkeypatch.setattr(OTLPSpanExporter, "export", export)
    with collecting() as gone:
        pass
    with traced(gone), world_in_temp(database) as world:
        sandbox = world.open_sandbox()
        sandbox.commit({"a.txt": "1\n"})
        until(lambda: bool(waiting))
        assert waiting == {"OtelBatchSpanRecordProcessor"}


def test_a_server_sends_its_spans_before_it_ends(run_folder: Any, collector: Collector) -> None:
    from builderos.integrations.embedded_postgres import service as postgres

    server = start(
        run_folder / "otlp" / "home", BUILDEROS_OTLP_ENDPOINT=collector.url, BUILDEROS_ENGINE="false"
    )
    try:
        server.owner().call("GET", "/v1/sandboxes")
    finally:
        assert server.stop() == 0
        postgres.stop(server.home)
    until(lambda: bool(collector.named("GET /v1/sandboxes")))


@pytest.mark.parametrize("endpoint", ["ftp://x", "127.0.0.1:4318", "file:///etc/passwd"])
def test_an_address_that_is_no_http_address_is_told(endpoint: str) -> None:
    with pytest.raises(Problem) as told:
        OtlpTracer.configured(load_settings(otlp_endpoint=endpoint))
    assert "4318" in told.value.hint


def test_without_the_packages_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(Problem) as told:
        OtlpTracer.configured(load_settings(otlp_endpoint="http://127.0.0.1:1/"))
    assert "builderos[otlp]" in told.value.hint


def test_nobody_who_keeps_no_traces_loads_the_packages() -> None:
    import subprocess
    import sys

    code = "import sys, builderos.app; sys.exit(any(m.startswith('opentelemetry.sdk') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_span_is_nothing_while_nobody_keeps_it(world: World) -> None:
    assert not tracing.on()
    assert tracing.span("a") is tracing.span("b")
