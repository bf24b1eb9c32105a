"""What exporters of OpenTelemetry send (OTLP over HTTP): protobuf, or JSON, as the JSON that protobuf makes of it.

The messages are those of opentelemetry-proto 1.x, `trace/v1/trace.proto`; what they do not name is left out. Nothing
else of protobuf is needed here, so no library for it is.
"""

import base64
import binascii
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import orjson

from builderos.workloads.experiments.service import spans

from .shapes import number
from .words import invalid

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
MAX_DEPTH: Final = 32
MAX_UNPACKED: Final = 64 * 1024**2
PREVIEW: Final = 1000
# What is told of a trace without its spans, under the names of MLflow, OpenInference and OpenTelemetry.
_REQUEST: Final = ("mlflow.spanInputs", "input.value", "gen_ai.input.messages")
_RESPONSE: Final = ("mlflow.spanOutputs", "output.value", "gen_ai.output.messages")
_ERROR: Final = 2
Message = dict[str, Any]
Field = tuple[str, str]  # name and kind; a kind with a * is repeated
_KEYS: Final[dict[int, Field]] = {1: ("key", "text"), 2: ("value", "any")}
SCHEMA: Final[Mapping[str, Mapping[int, Field]]] = {
    "request": {1: ("resourceSpans", "of_resource*")},
    "of_resource": {2: ("scopeSpans", "of_scope*")},
    "of_scope": {2: ("spans", "span*")},
    "span": {
        1: ("traceId", "bytes"), 2: ("spanId", "bytes"), 3: ("traceState", "text"), 4: ("parentSpanId", "bytes"),
        5: ("name", "text"), 6: ("kind", "int"), 7: ("startTimeUnixNano", "fixed64"), 8: ("endTimeUnixNano", "fixed64"),
        9: ("attributes", "pair*"), 10: ("droppedAttributesCount", "int"), 11: ("events", "event*"),
        12: ("droppedEventsCount", "int"), 13: ("links", "link*"), 14: ("droppedLinksCount", "int"),
        15: ("status", "status"), 16: ("flags", "fixed32"),
    },
    "event": {1: ("timeUnixNano", "fixed64"), 2: ("name", "text"), 3: ("attributes", "pair*"),
              4: ("droppedAttributesCount", "int")},
    "link": {1: ("traceId", "bytes"), 2: ("spanId", "bytes"), 3: ("traceState", "text"), 4: ("attributes", "pair*"),
             5: ("droppedAttributesCount", "int"), 6: ("flags", "fixed32")},
    "status": {2: ("message", "text"), 3: ("code", "int")},
    "pair": _KEYS,
    "any": {1: ("stringValue", "text"), 2: ("boolValue", "bool"), 3: ("intValue", "int64"),
            4: ("doubleValue", "double"), 5: ("arrayValue", "array"), 6: ("kvlistValue", "kvlist"),
            7: ("bytesValue", "bytes")},
    "array": {1: ("values", "any*")},
    "kvlist": {1: ("values", "pair*")},
}  # fmt: skip
_WIRES: Final = {"fixed64": 1, "double": 1, "fixed32": 5, "int": 0, "int64": 0, "bool": 0}
_HEX: Final = frozenset({"traceId", "spanId", "parentSpanId"})


def read(body: bytes, kind: str, encoding: str) -> list[spans.Span]:
    """The spans of a request. Raises `validation_failed` for what is none."""
    if encoding not in ("", "identity", "gzip", "deflate"):
        raise invalid(f"Unsupported Content-Encoding: {encoding[:50]}")
    data = body if encoding in ("", "identity") else _unpacked(body)
    if kind == PROTOBUF:
        request = _message(memoryview(data), "request", 0)
    elif kind == JSON:
        try:
            document: Any = orjson.loads(data)
        except ValueError:
            raise invalid("Invalid OpenTelemetry format") from None
        request = _checked(document, "request", 0)
    else:
        raise invalid(f"Invalid Content-Type: {kind[:100]}. Expected: {PROTOBUF} or {JSON}")
    found = [
        _span(one)
        for resource in request.get("resourceSpans", ())
        for scope in resource.get("scopeSpans", ())
        for one in scope.get("spans", ())
    ]
    if not found:
        raise invalid("Invalid OpenTelemetry format - no spans found")
    return found


def _unpacked(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=47)  # with the head of either
    try:
        data = unpacker.decompress(body, MAX_UNPACKED)
    except zlib.error:
        raise invalid("the body is not packed as its Content-Encoding says") from None
    if unpacker.unconsumed_tail:
        raise invalid(f"unpacked, the body has more than {MAX_UNPACKED // 1024**2} MiB")
    return data


def _span(one: Message) -> spans.Span:
    trace_id, id_ = (base64.b64decode(one.get(name, "")).hex() for name in ("traceId", "spanId"))
    if len(id_) != 16 or len(trace_id) != 32 or not trace_id.strip("0"):
        raise invalid("a span needs a trace id of 16 bytes and an id of 8 bytes")
    root, attributes = not one.get("parentSpanId"), one.get("attributes", ())
    return spans.Span(
        trace_id=f"tr-{trace_id}", id=id_, name=one.get("name", ""), root=root,
        started_ns=int(one.get("startTimeUnixNano", 0)), ended_ns=int(one.get("endTimeUnixNano", 0)),
        state="ERROR" if one.get("status", {}).get("code") == _ERROR else "OK", document=orjson.dumps(one).decode(),
        request=_told(attributes, _REQUEST) if root else None, response=_told(attributes, _RESPONSE) if root else None,
    )  # fmt: skip


def _told(attributes: Sequence[Message], names: Sequence[str]) -> str | None:
    """The beginning of the first attribute with one of these names."""
    for name in names:
        value = next((pair.get("value", {}) for pair in attributes if pair.get("key") == name), None)
        if value is not None:
            plain = _plain(value)
            text = plain if isinstance(plain, str) else orjson.dumps(plain).decode()
            return text.replace("\x00", " ")[:PREVIEW]
    return None


def _plain(value: Message) -> Any:
    """A value without the names of its kinds."""
    if "arrayValue" in value:
        return [_plain(one) for one in value["arrayValue"].get("values", ())]
    if "kvlistValue" in value:
        return {
            pair.get("key", ""): _plain(pair.get("value", {}))
            for pair in value["kvlistValue"].get("values", ())
        }
    return next(iter(value.values()), None)


def _message(data: memoryview, name: str, depth: int) -> Message:
    """A message of protobuf. Raises `validation_failed`."""
    if depth > MAX_DEPTH:
        raise invalid(f"values may lie {MAX_DEPTH} deep")
    fields, found = SCHEMA[name], Message()
    for key, wire, value in _parts(data):
        known = fields.get(key)
        if known is None:
            continue
        label, kind = known[0], known[1].removesuffix("*")
        if wire != _WIRES.get(kind, 2):
            raise invalid(f"Invalid OpenTelemetry format: {label}")
        read_ = _message(value, kind, depth + 1) if kind in SCHEMA else _scalar(value, kind)
        if known[1].endswith("*"):
            found.setdefault(label, []).append(read_)
        else:
            found[label] = read_
    return found


def _parts(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type and value of each field of a message."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield tag >> 3, wire, value
            continue
        size = 8 if wire == 1 else 4 if wire == 5 else -1
        if wire == 2:
            size, at = _varint(data, at)
        if size < 0 or at + size > end:
            raise invalid("Invalid OpenTelemetry format")
        yield tag >> 3, wire, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if at >= len(data):
            break
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise invalid("Invalid OpenTelemetry format")


def _scalar(value: Any, kind: str) -> Any:
    if kind == "text":
        return bytes(value).decode("utf-8", "replace")
    if kind == "bytes":
        return base64.b64encode(value).decode()
    if kind == "double":
        return number(struct.unpack("<d", value)[0])
    if kind == "fixed64":
        return str(struct.unpack("<Q", value)[0])
    if kind == "fixed32":
        return struct.unpack("<I", value)[0]
    if kind == "int64":
        return str(value - 2**64 if value >= 2**63 else value)
    return bool(value) if kind == "bool" else value & 0x7FFFFFFF


def _checked(document: Any, name: str, depth: int) -> Message:
    """The same of a JSON document, where ids are hexadecimal digits. Raises `validation_failed`."""
    if not isinstance(document, dict) or depth > MAX_DEPTH:
        raise invalid("Invalid OpenTelemetry format")
    given, found = cast("Message", document), Message()
    for label, whole in SCHEMA[name].values():
        value, kind = given.get(label), whole.removesuffix("*")
        if value is None:
            continue
        if not whole.endswith("*"):
            found[label] = _one(value, label, kind, depth)
        elif isinstance(value, list):
            found[label] = [_one(each, label, kind, depth) for each in cast("list[Any]", value)]
        else:
            raise invalid(f"Invalid OpenTelemetry format: {label}")
    return found


def _one(value: Any, label: str, kind: str, depth: int) -> Any:
    if kind in SCHEMA:
        return _checked(value, kind, depth + 1)
    try:
        if kind == "bytes" and isinstance(value, str):
            raw = bytes.fromhex(value) if label in _HEX else base64.b64decode(value, validate=True)
            return base64.b64encode(raw).decode()
        if kind in ("fixed64", "int64") and isinstance(value, int | str) and len(str(value)) <= 20:
            return str(int(value))
        if kind == "double" and isinstance(value, int | float | str):
            return number(float(value))
    except (ValueError, binascii.Error):
        raise invalid(f"Invalid OpenTelemetry format: {label}") from None
    wanted = {"text": str, "bool": bool, "int": int, "fixed32": int}.get(kind)
    if wanted is None or not isinstance(value, wanted) or (wanted is int and not 0 <= int(value) < 2**31):
        raise invalid(f"Invalid OpenTelemetry format: {label}")
    return value
