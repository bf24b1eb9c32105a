"""Operations on lineage."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import service
from .schema import LineageGraph, LineageIn

routes = Operations("lineage")


@routes.get("/v1/lineage/{id}", "showLineage")
def show_lineage(unit: Unit, body: LineageIn) -> LineageGraph:
    """Show from what a thing was made, and what was made from it: data, code, runs, models, endpoints and apps."""
    return service.graph(unit, body)
