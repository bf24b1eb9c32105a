"""What the processes of an endpoint printed."""

import codecs

from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.audit import service as audit
from builderos.trust.policy import service as policy

from . import rows
from .schema import EndpointLogs, EndpointLogsIn


def read(unit: Unit, body: EndpointLogsIn) -> EndpointLogs:
    """A piece of what a process printed. Empty where another machine has it. Raises `not_found`."""
    policy.require(unit, "endpoint.read", policy.org_resource(unit))
    endpoint = rows.find(unit, body.id)
    found = rows.of_endpoint(unit, endpoint.id)
    one = next((row for row in found if body.deployment in (None, row.id)), None)
    if one is None:
        raise Problem("not_found", "there is no such deployment of this endpoint", hint="Show the endpoint.")
    audit.access.note(unit, "endpoint.logs", one.id)
    start = min(body.start or one.starts, one.starts)
    path = rows.log_of(unit, one.id, start)
    data, size = b"", 0
    if path.exists():
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(body.offset)
            data = file.read(body.limit)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    left = len(decoder.getstate()[0])  # the beginning of a character whose rest is in the next piece
    return EndpointLogs(
        id=endpoint.id, deployment=one.id, start=start, text=text, offset=body.offset,
        next_offset=body.offset + len(data) - left, size=size,
    )  # fmt: skip
