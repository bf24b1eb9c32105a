"""Doors of the memory."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import schema, service

routes = Operations("memory")


@routes.post("/memory/query", "memoryQuery", effect="read", profile="standard")
def memory_query(unit: Unit, body: schema.QueryIn) -> schema.QueryOut:
    """Search, list or count what is known of the files of a branch."""
    return service.query(unit, body)


@routes.post("/memory/manage", "memoryManage", profile="standard")
def memory_manage(unit: Unit, body: schema.ManageIn) -> schema.ManageOut:
    """Describe files, forget or pin entries, bring the memory up to date, or check it."""
    return service.manage(unit, body)
