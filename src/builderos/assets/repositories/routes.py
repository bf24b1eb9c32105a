"""Doors of the repositories."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import imports

routes = Operations("repositories")


@routes.post("/v1/repos/import", "importRepo", status=201)
def import_repo(unit: Unit, body: imports.ImportIn) -> imports.RepositoryOut:
    """Import a repository, so that people can open sandboxes in it."""
    return imports.import_repository(unit, body)
