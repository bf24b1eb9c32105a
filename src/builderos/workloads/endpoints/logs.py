"""What the processes of an endpoint printed."""

from builderos.core.files import piece_of
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
    text, following, size = piece_of(path, body.offset, body.limit)
    return EndpointLogs(
        id=endpoint.id, deployment=one.id, start=start, text=text, offset=body.offset,
        next_offset=following, size=size,
    )  # fmt: skip
