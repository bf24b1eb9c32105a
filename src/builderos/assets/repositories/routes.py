"""Doors of the repositories."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import catalogue, imports, moving

routes = Operations("repositories")


@routes.post("/v1/repos/import", "importRepo", status=201)
def import_repo(unit: Unit, body: imports.ImportIn) -> imports.RepositoryOut:
    """Import a repository, so that people can open sandboxes in it."""
    return imports.import_repository(unit, body)


@routes.post("/v1/repos", "createRepo", status=201)
def create_repo(unit: Unit, body: catalogue.RepoCreateIn) -> imports.RepositoryOut:
    """Make a new repository with a first commit."""
    return catalogue.create(unit, body)


@routes.get("/v1/repos", "listRepos")
def list_repos(unit: Unit, body: catalogue.RepoListIn) -> catalogue.RepoList:
    """List the repositories of your organisation."""
    return catalogue.listed(unit, body)


@routes.get("/v1/repos/{id}", "getRepo")
def get_repo(unit: Unit, body: catalogue.RepoIn) -> catalogue.RepoDetail:
    """Show a repository with its shared branches."""
    return catalogue.show(unit, body)


@routes.post("/v1/repos/{id}/project", "moveRepo", consequential=True)
def move_repo(unit: Unit, body: moving.MoveIn) -> moving.Moved:
    """Put a repository into a project, or out of every one."""
    return moving.move(unit, body)


@routes.post("/v1/repos/{id}/branches", "createDevBranch", status=201)
def create_dev_branch(unit: Unit, body: catalogue.DevBranchIn) -> catalogue.BranchLine:
    """Make a dev branch for a team."""
    return catalogue.add_dev_branch(unit, body)
