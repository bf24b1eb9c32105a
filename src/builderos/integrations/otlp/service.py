"""Hands traces to any collector that takes OTLP over HTTP. An optional part: `pip install builderos[otlp]`.

Spans leave in batches from a thread of their own; when the collector is away or slow they are dropped, and no request
waits. Nothing is taken from the environment's OTEL_* variables: what is sent where stands in the settings.
"""

import logging
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from builderos import VERSION
from builderos.core import tracing
from builderos.core.problems import Problem
from builderos.core.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import Span

EXPORT_S: Final = 5
QUEUE: Final = 4096
BATCH: Final = 512
DELAY_MS: Final = 2000
_PARENT: Final = ("traceparent", "tracestate")  # no baggage: what others put there is none of our business


class OtlpTracer:
    """Keeps spans for a collector; `stop` hands on what is left."""

    def __init__(self, provider: "TracerProvider", processor: "SpanProcessor") -> None:
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._processor = processor
        self._tracer = provider.get_tracer("builderos", VERSION)
        self._scope = InstrumentationScope("builderos", VERSION)
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def configured(cls, settings: Settings) -> "OtlpTracer | None":
        """The tracer that the settings ask for; None where they ask for none.

        Raises `Problem("unavailable")` where the optional packages are missing or the address is none.
        """
        if settings.otlp_endpoint is None:
            return None
        if urlsplit(settings.otlp_endpoint).scheme not in ("http", "https"):
            raise Problem(
                "unavailable", "BUILDEROS_OTLP_ENDPOINT is no HTTP address",
                hint="For example http://127.0.0.1:4318/v1/traces.",
            )  # fmt: skip
        try:
            return cls(*_provider(settings, settings.otlp_endpoint))
        except ImportError as error:
            raise Problem(
                "unavailable", f"traces need packages that are not installed: {error.name}",
                hint="pip install 'builderos[otlp]', or unset BUILDEROS_OTLP_ENDPOINT.",
            ) from error  # fmt: skip

    def span(
        self, name: str, attributes: Mapping[str, tracing.Value]
    ) -> AbstractContextManager[tracing.Span]:
        """A span below the current one."""
        return self._started(name, attributes, None, server=False)

    def door(self, name: str, headers: Mapping[str, str]) -> AbstractContextManager[tracing.Span]:
        """A span for something that came in."""
        carrier = {each: headers[each] for each in _PARENT if each in headers}
        return self._started(name, {}, self._propagator.extract(carrier), server=True)

    def below(
        self, traceparent: str, name: str, attributes: Mapping[str, tracing.Value]
    ) -> AbstractContextManager[tracing.Span]:
        """A span below one of another process."""
        parent = self._propagator.extract({"traceparent": traceparent})
        return self._started(name, attributes, parent, server=False)

    def ended(self, span: tracing.Ended) -> None:
        """Keep a span that is over, under the ids that it says; of the share of traces that is kept."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, StatusCode, TraceFlags
        from opentelemetry.trace.status import Status

        trace_id = int(span.trace_id, 16)
        if not self._provider.sampler.should_sample(None, trace_id, span.name).decision.is_sampled():
            return
        kept = TraceFlags(TraceFlags.SAMPLED)
        own = SpanContext(trace_id, int(span.span_id, 16), is_remote=False, trace_flags=kept)
        above = None
        if span.parent_id is not None:
            above = SpanContext(trace_id, int(span.parent_id, 16), is_remote=True, trace_flags=kept)
        attributes = {name: _cut(value) for name, value in span.attributes.items()}
        if span.failed is not None:
            attributes["error.type"] = _cut(span.failed)
        failed = Status(StatusCode.ERROR if span.failed is not None else StatusCode.UNSET)
        self._processor.on_end(
            ReadableSpan(
                span.name, own, above, self._provider.resource, attributes, status=failed,
                start_time=_nanoseconds(span.start), end_time=_nanoseconds(span.end), instrumentation_scope=self._scope,
            )
        )  # fmt: skip

    @contextmanager
    def _started(
        self, name: str, attributes: Mapping[str, tracing.Value], parent: "Context | None", *, server: bool
    ) -> Generator[tracing.Span]:
        from opentelemetry.trace import SpanKind

        kind = SpanKind.SERVER if server else SpanKind.INTERNAL
        with self._tracer.start_as_current_span(
            name, parent, kind, {k: _cut(v) for k, v in attributes.items()}, record_exception=False,
            set_status_on_exception=False,
        ) as found:  # fmt: skip
            span = _Kept(found)
            try:
                yield span
            except BaseException as error:
                span.fail(type(error).__name__)  # its words may hold what a caller sent
                raise

    def headers(self) -> dict[str, str]:
        """`traceparent` of the current span."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier

    def stop(self) -> None:
        """Hand on what is left, for at most some seconds."""
        self._provider.force_flush(EXPORT_S * 1000)
        self._provider.shutdown()


class _Kept:
    """One span of the SDK, as rooms see it."""

    def __init__(self, span: "Span") -> None:
        self._span = span
        self._failed = False

    def rename(self, name: str) -> None:
        """What it turned out to be."""
        self._span.update_name(name[: tracing.MAX_CHARS])

    def set(self, name: str, value: tracing.Value) -> None:
        """An attribute."""
        self._span.set_attribute(name, _cut(value))

    def fail(self, code: str) -> None:
        """It failed; the first reason stays."""
        from opentelemetry.trace import StatusCode

        if not self._failed:
            self._failed = True
            self._span.set_attribute("error.type", _cut(code))
            self._span.set_status(StatusCode.ERROR)


def _cut(value: tracing.Value) -> tracing.Value:
    return value[: tracing.MAX_CHARS] if isinstance(value, str) else value


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000


def _provider(settings: Settings, endpoint: str) -> "tuple[TracerProvider, SpanProcessor]":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    logging.getLogger("opentelemetry").setLevel(
        logging.ERROR
    )  # a collector that is away is said once per batch
    exporter = OTLPSpanExporter(endpoint, headers=_headers(settings), timeout=EXPORT_S)
    provider = TracerProvider(
        _sampler(settings.otlp_ratio), Resource({"service.name": "builderos", "service.version": VERSION}),
        shutdown_on_exit=False, span_limits=SpanLimits(max_span_attributes=32, max_events=0, max_links=0),
    )  # fmt: skip
    processor = BatchSpanProcessor(
        exporter, max_queue_size=QUEUE, schedule_delay_millis=DELAY_MS, max_export_batch_size=BATCH,
        export_timeout_millis=EXPORT_S * 1000,
    )  # fmt: skip
    provider.add_span_processor(processor)
    return provider, processor


def _sampler(ratio: float) -> "Sampler":
    """Our ratio counts for callers, too: nobody has all requests traced by saying so. Their no counts."""
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    ours = TraceIdRatioBased(ratio)
    return ParentBased(root=ours, remote_parent_sampled=ours)


def _headers(settings: Settings) -> dict[str, str]:
    text = settings.otlp_headers.get_secret_value() if settings.otlp_headers else ""
    pairs = (part.partition("=") for part in text.split(",") if "=" in part)
    return {name.strip(): value.strip() for name, _, value in pairs}
