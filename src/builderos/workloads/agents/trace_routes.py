"""Doors of records of who wrote which lines."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import trace

routes = Operations("traces")


@routes.get("/v1/provenance/{id}/trace", "traceCommit")
def trace_commit(unit: Unit, body: trace.TraceIn) -> trace.TraceOut:
    """Tell which session of which agent wrote which lines of a commit, as a record of Agent Trace."""
    return trace.trace(unit, body)
