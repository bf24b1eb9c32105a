"""Doors of organisations as places, of workspaces, projects and grants."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import closing, granting, org_schema, organisations, places, routing
from . import place_schema as schema

place_routes = Operations("projects")


@place_routes.get("/v1/orgs/{id}", "getOrg")
def get_org(unit: Unit, body: org_schema.WhichOrg) -> org_schema.Org:
    """Show your organisation."""
    return organisations.show(unit, body)


@place_routes.post("/v1/orgs/{id}", "changeOrg", consequential=True)
def change_org(unit: Unit, body: org_schema.OrgChangeIn) -> org_schema.Org:
    """Rename your organisation, or open it to people without a credential, or no longer."""
    return organisations.change(unit, body)


@place_routes.post("/v1/orgs/{id}/close", "closeOrg", consequential=True)
def close_org(unit: Unit, body: org_schema.CloseIn) -> org_schema.Org:
    """Close your organisation: in thirty days everything in it is erased."""
    return closing.close(unit, body)


@place_routes.post("/v1/orgs/{id}/keep", "keepOrg", consequential=True)
def keep_org(unit: Unit, body: org_schema.WhichOrg) -> org_schema.Org:
    """Open a closing organisation again, with everything that was in it."""
    return closing.keep(unit, body)


@place_routes.post("/v1/orgs/{id}/routing", "routeOrg", consequential=True)
def route_org(unit: Unit, body: org_schema.RoutingIn) -> org_schema.Routing:
    """Say by which slug and which names of repositories an organisation is found."""
    return routing.route(unit, body)


@place_routes.post("/v1/workspaces", "createWorkspace", status=201)
def create_workspace(unit: Unit, body: schema.WorkspaceIn) -> schema.Workspace:
    """Make a workspace: some projects that belong together."""
    return places.create_workspace(unit, body)


@place_routes.get("/v1/workspaces", "listWorkspaces")
def list_workspaces(unit: Unit, body: schema.PlaceListIn) -> schema.WorkspaceList:
    """List the workspaces with their projects."""
    return places.list_workspaces(unit, body)


@place_routes.get("/v1/workspaces/{id}", "getWorkspace")
def get_workspace(unit: Unit, body: schema.PlaceIn) -> schema.Workspace:
    """Show a workspace with its projects."""
    return places.show_workspace(unit, body)


@place_routes.post("/v1/workspaces/{id}", "changeWorkspace")
def change_workspace(unit: Unit, body: schema.WorkspaceChangeIn) -> schema.Workspace:
    """Rename a workspace, put it away or get it back."""
    return places.change_workspace(unit, body)


@place_routes.post("/v1/projects", "createProject", status=201)
def create_project(unit: Unit, body: schema.ProjectIn) -> schema.Project:
    """Make a project in a workspace."""
    return places.create_project(unit, body)


@place_routes.get("/v1/projects", "listProjects")
def list_projects(unit: Unit, body: schema.ProjectListIn) -> schema.ProjectList:
    """List the projects."""
    return places.list_projects(unit, body)


@place_routes.get("/v1/projects/{id}", "getProject")
def get_project(unit: Unit, body: schema.PlaceIn) -> schema.Project:
    """Show a project."""
    return places.show_project(unit, body)


@place_routes.post("/v1/projects/{id}", "changeProject")
def change_project(unit: Unit, body: schema.ProjectChangeIn) -> schema.Project:
    """Rename, move or describe a project, put it away or get it back."""
    return places.change_project(unit, body)


@place_routes.post("/v1/grants", "createGrant", status=201, consequential=True)
def create_grant(unit: Unit, body: schema.GrantIn) -> schema.Grant:
    """Give a member a role in one place, perhaps in one environment alone."""
    return granting.give(unit, body)


@place_routes.get("/v1/grants", "listGrants")
def list_grants(unit: Unit, body: schema.GrantListIn) -> schema.GrantList:
    """List who has which role where; without the right to manage members: your own grants."""
    return granting.listed(unit, body)


@place_routes.delete("/v1/grants/{id}", "endGrant", consequential=True)
def end_grant(unit: Unit, body: schema.PlaceIn) -> schema.Grant:
    """End a grant."""
    return granting.take(unit, body)
